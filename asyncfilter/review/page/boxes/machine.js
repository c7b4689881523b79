// The machine's boxes: dashed, behind those of people; never there on a blind card.
import { html } from "../vendor/preact.js";
import { Foreign } from "../parts.js";
import { percent } from "../text.js";

export function MachineBoxes({ card, picture: [width, height] }) {
  const boxes = card.machine_boxes ?? [];
  if (!boxes.length) return null;
  return html`<svg class="over machine" viewBox=${`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      ${boxes.map((box) => html`<rect x=${box.left * width} y=${box.top * height} width=${box.width * width} height=${box.height * height} />`)}
    </svg>
    <ul class="tags machine" aria-label="The machine's boxes">
      ${boxes.map((box) => html`<li style=${{ left: `${box.left * 100}%`, top: `${box.top * 100}%` }}>
        <${Foreign} text=${box.label ?? box.name} /> ${box.confidence == null ? "" : percent(box.confidence)}</li>`)}
    </ul>`;
}
