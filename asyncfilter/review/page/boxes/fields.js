// The selected box in numbers: for people who cannot drag, and for exact work.
import { html, useSignal } from "../vendor/preact.js";
import { Combobox, knownLabels } from "../screens/labels.js";
import { count } from "../text.js";
import { boxesOf, flush, selected, setBox, setLabel } from "./drafts.js";
import { bindings, keyName, keysOff } from "../keys.js";
import { addInTheMiddle, focusBox, removeBox } from "./editor.js";
import { atLeastOnePixel, moved, toPixels } from "./geometry.js";

const FIELDS = [["left", "x"], ["top", "y"], ["width", "w"], ["height", "h"]];

/** The box with one of its numbers changed, inside the picture. */
function changed(box, part, value, picture) {
  if (part === "x" || part === "y") return moved({ ...box, [part]: value }, 0, 0, picture);
  const most = part === "w" ? picture[0] - box.x : picture[1] - box.y;
  return atLeastOnePixel({ ...box, [part]: Math.min(Math.round(value), most) }, picture);
}

/**
 * One number of the box. What is typed stays in the field, whatever else is drawn anew meanwhile, and is sketched at
 * once; leaving the field makes it an answer.
 */
function NumberField({ name, value, least, most, onType }) {
  const typed = useSignal(null);
  const onInput = ({ target }) => {
    typed.value = target.value;
    if (target.value !== "" && Number.isFinite(target.valueAsNumber)) onType(target.valueAsNumber);
  };
  const onBlur = () => ((typed.value = null), flush());
  return html`<label class="number-field"><span>${name}</span>
    <input type="number" data-testid=${`box-${name}`} aria-label=${`Box ${name} in pixels`} min=${least} max=${most} step="1"
      value=${typed.value ?? Math.round(value)} onInput=${onInput} onChange=${flush} onBlur=${onBlur} /></label>`;
}

export function BoxFields({ card, picture, askedAs, onDone }) {
  const index = selected.value;
  const boxes = boxesOf(card);
  const box = boxes[index] && toPixels(boxes[index], picture);
  const set = (part) => (value) => setBox(card, index, changed(box, part, value, picture), picture, askedAs);
  return html`<div class="box-fields" role="group" aria-label="The selected box">
    ${box
      ? html`
        <${Combobox} key=${`label-${card.id}-${index}-${boxes[index].label}`} testid="box-label" id="box-label" label="Label of this box" clears=${false}
          value=${boxes[index].label} known=${knownLabels(card)} onChoose=${(label) => (setLabel(card, index, label.trim(), askedAs), focusBox(index))} />
        ${FIELDS.map(([name, part]) => html`<${NumberField} key=${`${name}-${card.id}-${index}`} name=${name} value=${box[part]}
          least=${part === "w" || part === "h" ? 1 : 0} most=${picture[part === "x" || part === "w" ? 0 : 1]} onType=${set(part)} />`)}
        <button class="quiet" data-testid="box-delete" onClick=${() => removeBox({ card, askedAs, index })}>Delete box</button>`
      : html`<p class="faint">${boxes.length ? `${count(boxes.length)} here. ` : ""}Drag on the picture for a new box.</p>`}
    <button class="quiet" data-testid="box-new" onClick=${() => addInTheMiddle({ card, picture, askedAs })}>New box ${!keysOff.value && html`<kbd>${keyName(bindings.value.newBox[0] ?? "")}</kbd>`}</button>
    <button data-testid="boxes-done" onClick=${() => (flush(), onDone())}>Done <kbd>Enter</kbd></button>
  </div>`;
}
