// One number: its state, until when it lasts, and the actions on it.

import { call, explain, poolPath } from "./api.js";
import { byId, make } from "./dom.js";
import { clock, count, relative } from "./format.js";
import { STATES } from "./states.js";

const result = byId("lookup-result");
const input = byId("lookup-number");
let pool = null;

export function lookIn(name) {
  if (name === pool) return;
  pool = name;
  result.replaceChildren();
}

export async function lookUp(digits = input.value) {
  const asked = pool;
  const number = String(digits).replace(/[^0-9]/g, "");
  input.value = number;
  if (!number) {
    result.replaceChildren(make("p", { className: "problem" }, "Give the digits of a number."));
    input.focus();
    return;
  }
  try {
    const found = await call("GET", poolPath(asked, `/numbers/${number}`));
    if (asked === pool) result.replaceChildren(...describe(found));
  } catch (error) {
    if (asked === pool) result.replaceChildren(make("p", { className: "problem" }, explain(error)));
  }
}

const REASONS = {
  leased: () => "someone holds it",
  resting: () => "it rests",
  done: () => "it is done until the next round",
  retired: () => "it is retired until it is reinstated",
  blocked: ({ lists }) => `it is on ${lists.join(", ")} until it is taken off`,
  closed: ({ until }) => (until ? "it is outside its hours" : "its hours do not open it, or not soon"),
  paused: () => "the pool is paused",
};

function reasonInWords(reason) {
  const end = reason.until ? ` until ${clock(reason.until)} (${relative(reason.until)})` : "";
  return `${REASONS[reason.reason]?.(reason) ?? reason.reason}${end}`;
}

function describe({ number, state, generation, attempts, holder, leasable, reasons }) {
  const { name, means } = STATES.find(({ key }) => key === state);
  const facts = [`leased or reinstated ${generation === 1 ? "once" : `${count(generation)} times`}`];
  if (attempts !== undefined) facts.push(`${attempts === 1 ? "1 attempt" : `${attempts} attempts`} in this round`);
  if (holder) facts.unshift(`held by ${holder}`);
  const why = leasable
    ? make("p", {}, "It can be leased now.")
    : make("div", {}, make("p", {}, "It cannot be leased now:"), make("ul", { className: "found-why" }, ...reasons.map((reason) => make("li", {}, reasonInWords(reason)))));
  const act = state === "retired" ? "reinstate" : "retire";
  return [
    make("p", { className: "found" }, make("i", { className: `swatch ${state}`, "aria-hidden": "true" }), make("b", {}, String(number)), ` ${name}`, make("small", {}, ` ${means}`)),
    why,
    make("p", { className: "quiet" }, facts.join(" · ")),
    make("button", { type: "button", "data-act": act, "data-numbers": String(number) }, act === "retire" ? "Retire this number" : "Reinstate this number"),
  ];
}

byId("lookup").addEventListener("submit", (event) => {
  event.preventDefault();
  lookUp();
});
