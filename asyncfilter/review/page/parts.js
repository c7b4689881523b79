// Small parts that several screens use.
import { html, useLayoutEffect, useRef } from "./vendor/preact.js";
import { WORDS, visible } from "./text.js";

/** Text of strangers: its direction stays its own, and its control characters are seen. */
export const Foreign = ({ text, ...rest }) => html`<bdi ...${rest}>${visible(text)}</bdi>`;

/** A key in two parts, so that the end, which tells images apart, is never cut. */
export function KeyText({ value, testid }) {
  const at = value.lastIndexOf("/") + 1;
  return html`<bdi class="key-text" data-testid=${testid} title=${visible(value)}>
    <span class="key-folder">${visible(value.slice(0, at))}</span><span class="key-name">${visible(value.slice(at))}</span>
  </bdi>`;
}

const PATHS = {
  keep: "M4.5 12.5l5 5L19.5 7",
  reject: "M6 6l12 12M18 6L6 18",
  unsure: "M8.5 9a3.5 3.5 0 1 1 5 3.200c-1 .6-1.5 1.200-1.5 2.300M12 18.400v.2",
  unresolved: "M4 9h16M4 15h16",
  review: "M12 5v7l4 3",
  undo: "M9 7L4.5 11.5 9 16M5 11.5h9a5 5 0 0 1 0 10h-2",
  group: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  boxes: "M5 8V5h3M16 5h3v3M19 16v3h-3M8 19H5v-3",
  full: "M14 5h5v5M10 19H5v-5M19 5l-6 6M5 19l6-6",
  help: "M8.5 9a3.5 3.5 0 1 1 5 3.200c-1 .6-1.5 1.200-1.5 2.300M12 18.400v.2",
  next: "M9 5l7 7-7 7",
  close: "M6 6l12 12M18 6L6 18",
};

/** A drawn sign; the words beside it carry the meaning. */
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

/** A verdict as shape and word, never as colour alone. */
export const Verdict = ({ verdict, bare = false }) =>
  verdict
    ? html`<span class="verdict ${verdict}">
        <${Icon} name=${verdict} /><span class=${bare ? "sr" : ""}>${WORDS[verdict]}</span>
      </span>`
    : null;

/** A modal dialog of the browser: it holds the focus, Esc closes it. */
export function Dialog({ testid, label, onClose, children, ...rest }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    return () => before?.focus?.({ preventScroll: true });
  }, []);
  const outside = (event) => event.target === element.current && onClose();
  return html`<dialog ref=${element} data-testid=${testid} aria-label=${label} onClose=${onClose} onClick=${outside} ...${rest}>
    <div class="dialog-body" tabindex="-1" autofocus>${children}</div>
  </dialog>`;
}
