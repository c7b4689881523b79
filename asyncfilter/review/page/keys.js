// Keys: one table of actions, which people can change and switch off (WCAG 2.1.4).
//
// Letters are found by what they type and digits by where they are, so that both work on every layout. Whatever lies on
// top is asked first: an editor before its screen, a screen before the frame.
import { signal, useLayoutEffect, useRef } from "./vendor/preact.js";

const PLACE = "asyncfilter-keys";
const OFF = "asyncfilter-keys-off";

/** Every action in the order of the help, with its words and its keys; `within`: only there, before the others. */
export const ACTIONS = {
  keep: { words: "Keep", keys: ["k", "a"] },
  reject: { words: "Reject", keys: ["r", "x"] },
  unsure: { words: "Unsure", keys: ["u", " "] },
  undo: { words: "Undo", keys: ["z", "Backspace"] },
  next: { words: "Next without answering", keys: ["ArrowRight", "j"] },
  back: { words: "Back", keys: ["ArrowLeft"] },
  group: { words: "Group of look-alikes", keys: ["g"] },
  boxes: { words: "Draw boxes", keys: ["b"] },
  newBox: { words: "New box, while boxes are drawn", keys: ["n"], within: "boxes" },
  machine: { words: "Show the machine's boxes", keys: ["m"] },
  label: { words: "Add a label", keys: ["l"] },
  note: { words: "Write a note", keys: ["n"] },
  full: { words: "Full size", keys: ["f"] },
  sheet: { words: "Sheet", keys: ["s"] },
  find: { words: "Find", keys: ["/"] },
  help: { words: "Help", keys: ["?"] },
};

const NAMES = { " ": "Space", ArrowRight: "→", ArrowLeft: "←", ArrowUp: "↑", ArrowDown: "↓", Backspace: "Backspace" };

/** A key as it is shown. */
export const keyName = (key) => NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);

function stored() {
  try {
    return JSON.parse(localStorage.getItem(PLACE)) ?? {};
  } catch {
    return {};
  }
}

const defaults = () => Object.fromEntries(Object.entries(ACTIONS).map(([action, { keys }]) => [action, keys]));

/** The keys of each action as they are now. */
export const bindings = signal({ ...defaults(), ...stored() });

/** True while single keys are switched off. */
export const keysOff = signal(localStorage.getItem(OFF) === "yes");

/** Switch single keys off or on. */
export function switchKeys(off) {
  keysOff.value = off;
  localStorage.setItem(OFF, off ? "yes" : "no");
}

/** Give an action one key of the person's own; another action that had it loses it. */
export function bind(action, key) {
  const { within } = ACTIONS[action];
  const rest = Object.entries(bindings.value).map(([name, keys]) => [name, keys.filter((one) => one !== key || ACTIONS[name]?.within !== within)]);
  bindings.value = { ...Object.fromEntries(rest), [action]: [key] };
  localStorage.setItem(PLACE, JSON.stringify(bindings.value));
}

/** Back to the keys that everybody has. */
export function resetKeys() {
  bindings.value = defaults();
  localStorage.removeItem(PLACE);
}

const PLACE_OF_LETTER = /^Key([A-Z])$/;

/** The key of an event as bindings hold it. A layout without Latin letters has them where everybody else has. */
export function keyOf({ key, code }) {
  if (key.length !== 1) return key;
  const typed = key.toLowerCase();
  const place = PLACE_OF_LETTER.exec(code ?? "");
  const isBound = Object.values(bindings.value).some((keys) => keys.includes(typed));
  return place && typed > "\u007f" && !isBound ? place[1].toLowerCase() : typed;
}

/** The digit of an event (1 to 9) or null: by place, as a French keyboard has letters on its row of digits. */
export function digitOf(event) {
  const found = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  return found ? Number(found[1]) : /^[1-9]$/.test(event.key) ? Number(event.key) : null;
}

const TYPING = "input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select, [contenteditable]";
const PRESSING = "button, a, summary, [role=switch], [role=tab]";

/** Whether an element takes what is typed. */
export const isTyping = (element) => element instanceof Element && element.matches(TYPING);

/** Whether a key presses the control that has the focus: it must not mean anything else then. */
const isPressing = ({ key, target }) => (key === " " || key === "Enter") && target instanceof Element && target.matches(PRESSING);

/** The action that an event means, or null; `within`: one that there is only there. */
export function actionOf(event, within = undefined) {
  if (keysOff.value || event.ctrlKey || event.metaKey || event.altKey) return null;
  const key = keyOf(event);
  return Object.keys(ACTIONS).find((action) => ACTIONS[action].within === within && bindings.value[action].includes(key)) ?? null;
}

// A mouse that presses a control takes no focus, so that keys go on to mean decisions; who was typing has ended.
addEventListener("mousedown", (event) => {
  if (!(event.target instanceof Element && event.target.closest("button, .tile"))) return;
  event.preventDefault();
  if (isTyping(document.activeElement)) document.activeElement.blur();
});

const listeners = [];

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || isTyping(event.target) || isPressing(event)) return;
  const action = actionOf(event);
  for (const { call } of [...listeners].sort((one, two) => two.level - one.level)) {
    if (!call(event, action)) continue;
    event.preventDefault();
    return;
  }
});

/** What lies on what. */
export const LEVEL = { frame: 0, screen: 1, editor: 2, dialog: 3 };

/** Listen from the moment a component is in the document: `listener(event, action)` returns true for what it took. */
export function useKeys(listener, level = LEVEL.screen) {
  const newest = useRef(listener);
  newest.current = listener;
  useLayoutEffect(() => {
    const entry = { level, call: (event, action) => newest.current(event, action) };
    listeners.push(entry);
    return () => void listeners.splice(listeners.indexOf(entry), 1);
  }, []);
}
