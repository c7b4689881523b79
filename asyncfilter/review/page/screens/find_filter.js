// Filters and orders of Find: plain functions over the cards that are loaded.
import { cardOf, changes, verdictOf } from "../cards.js";
import { visible } from "../text.js";

export const VERDICTS = { keep: "Keep", reject: "Reject", review: "Review", unsure: "Unsure", unresolved: "Disagreement", answered: "Answered", open: "Not answered", failed: "Failed" };

export const SORTS = { uncertainty: "Most uncertain", score: "Highest score", "-score": "Lowest score", key: "Key", answered: "Newest answer", run: "Order of the run" };

/** Text as people see it, and type it, in lower case. */
const shown = (text) => visible(text).toLowerCase();

/** The score that filters and orders use: of the label looked for, else of the rule. */
function scoreOf(card, label) {
  if (!label) return card.score ?? null;
  return card.labels?.find(({ name }) => shown(name) === label)?.confidence ?? null;
}

function hasVerdict(card, wanted) {
  const said = verdictOf(card);
  if (wanted === "answered") return said !== "";
  if (wanted === "open") return said === "";
  if (wanted === "failed") return card.failure != null || card.broken;
  // What stands now: the person's word, else the machine's.
  return (said || card.verdict) === wanted;
}

function hasLabel(card, label) {
  const names = [...(card.answer?.labels ?? []), ...(card.labels ?? []).map(({ name }) => name)];
  return names.some((name) => shown(name) === label);
}

const TESTS = {
  verdict: (card, wanted) => hasVerdict(card, wanted),
  label: (card, wanted) => hasLabel(card, wanted.toLowerCase()),
  reviewer: (card, wanted) => card.answer != null && visible(card.answer.reviewer) === wanted,
  text: (card, wanted) => shown(card.key).includes(wanted.toLowerCase()) || card.key.toLowerCase().includes(wanted.toLowerCase()),
  min: (card, wanted, { label }) => (scoreOf(card, label?.toLowerCase()) ?? -1) >= Number(wanted),
  max: (card, wanted, { label }) => (scoreOf(card, label?.toLowerCase()) ?? -1) <= Number(wanted),
};

const ORDERS = {
  key: (one, two) => (one.key < two.key ? -1 : one.key > two.key ? 1 : 0),
  score: (one, two) => (two.score ?? -1) - (one.score ?? -1),
  "-score": (one, two) => (one.score ?? 101) - (two.score ?? 101),
  answered: (one, two) => (two.answer?.serial ?? -1) - (one.answer?.serial ?? -1),
  run: (one, two) => one.id - two.id,
};

/** Whether any filter or order is set, for which all cards must be known. */
export const looksAtAll = (filters) => Object.entries(filters).some(([name, value]) => value && (TESTS[name] || ORDERS[filters.sort]));

/** The ids of the cards that pass all filters, in their order; `ids` are in the server's order, most uncertain first. */
export function filtered(ids, filters) {
  void changes.value; // decided again when any card changes
  const active = Object.entries(filters).filter(([name, value]) => TESTS[name] && value !== undefined && value !== "");
  const order = ORDERS[filters.sort];
  if (!active.length && !order) return ids;
  const cards = ids.map(cardOf).filter((card) => card && active.every(([name, value]) => TESTS[name](card, value, filters)));
  if (order) cards.sort(order);
  return cards.map(({ id }) => id);
}
