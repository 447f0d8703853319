// The seven states of a number: their order, names and colours are the same everywhere on the page.

import { colour } from "./dom.js";

export const STATES = [
  { key: "available", name: "Available", means: "free to be leased" },
  { key: "leased", name: "Leased", means: "someone holds it until its lease ends" },
  { key: "resting", name: "Resting", means: "available again when its rest ends" },
  { key: "done", name: "Done", means: "finished until the next round" },
  { key: "retired", name: "Retired", means: "out of use until it is reinstated" },
  { key: "blocked", name: "Blocked", means: "on a list that blocks the pool" },
  { key: "closed", name: "Closed", means: "free, but outside its hours" },
];

export const colourOf = (key) => colour(`--state-${key}`);

export function makeBar(bar) {
  bar.replaceChildren(...STATES.map(({ key }) => {
    const part = document.createElement("i");
    part.className = `part ${key}`;
    return part;
  }));
}

/** Sets the widths of a stacked bar; a state with any number in it is at least a line. */
export function setBar(bar, counts) {
  STATES.forEach(({ key }, index) => {
    const part = bar.children[index];
    const grow = counts.numbers ? (counts[key] / counts.numbers).toFixed(4) : "0";
    if (part.dataset.grow === grow && part.hidden === !counts[key]) return;
    part.dataset.grow = grow;
    part.hidden = !counts[key];
    part.style.flexGrow = grow;
  });
}
