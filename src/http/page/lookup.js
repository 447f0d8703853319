// One number: its state, until when it lasts, and the actions on it.

import { call, explain, poolPath } from "./api.js";
import { byId, make } from "./dom.js";
import { clock, count, relative } from "./format.js";
import { STATES } from "./states.js";

const result = byId("lookup-result");
const input = byId("lookup-number");
let pool = null;

/** Sets the pool in which numbers are looked up. */
export function lookIn(name) {
  if (name === pool) return;
  pool = name;
  result.replaceChildren();
}

/** Looks up a number and shows it. */
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

function describe({ number, state, generation, until, holder, blocked_by: lists }) {
  const { name, means } = STATES.find(({ key }) => key === state);
  const facts = [`leased or reinstated ${generation === 1 ? "once" : `${count(generation)} times`}`];
  if (until) facts.unshift(`until ${clock(until)} (${relative(until)})`);
  if (holder) facts.unshift(`held by ${holder}`);
  if (lists) facts.unshift(`on ${lists.join(", ")}`);
  const act = state === "retired" ? "reinstate" : "retire";
  return [
    make("p", { className: "found" }, make("i", { className: `swatch ${state}`, "aria-hidden": "true" }), make("b", {}, String(number)), ` ${name}`, make("small", {}, ` ${means}`)),
    make("p", { className: "quiet" }, facts.join(" · ")),
    make("button", { type: "button", "data-act": act, "data-numbers": String(number) }, act === "retire" ? "Retire this number" : "Reinstate this number"),
  ];
}

byId("lookup").addEventListener("submit", (event) => {
  event.preventDefault();
  lookUp();
});
