// What a list of numbers would become, as a dry run tells it.

import { make } from "./dom.js";
import { count, many } from "./format.js";

const MAX_POOLS_NAMED = 10;

const items = (texts, className = "") => (texts.length ? [make("ul", { className }, ...texts.map((text) => make("li", {}, text)))] : []);

const range = ({ first, last }) => (first === last ? String(first) : `${first} to ${last}`);

/** What is read of some lines, so that a wrong reading is seen. */
function sampleTable(samples) {
  const head = make("thead", {}, make("tr", {}, ...["Line", "Written", "Read as"].map((name) => make("th", { scope: "col" }, name))));
  const rows = samples.map((sample) => make("tr", {}, make("td", {}, count(sample.line)), make("td", {}, sample.text), make("td", {}, range(sample))));
  return make("details", {}, make("summary", {}, "How lines are read"), make("table", { className: "grid" }, head, make("tbody", {}, ...rows)));
}

function invalidLines(lines) {
  return items((lines ?? []).map(({ line, text, reason }) => `line ${count(line)}, “${text}”: ${reason}`));
}

export function ofAddition(would) {
  const { numbers, duplicates, invalid, first, last, country_codes: codes = {}, lengths = {}, samples = [], odd = [] } = would;
  const facts = [];
  if (numbers) facts.push(`${many(numbers, "number")} from ${first} to ${last}`);
  if (duplicates) facts.push(`${many(duplicates, "duplicate")}, counted once`);
  if (invalid) facts.push(`${many(invalid, "line")} cannot be read`);
  const shares = Object.entries(codes).map(([code, value]) => `${code === "none" ? "no country" : `+${code}`}: ${count(value)}`);
  if (shares.length) facts.push(`by country code ${shares.join(", ")}`);
  const digits = Object.keys(lengths);
  if (digits.length > 1) facts.push(`of ${digits.join(", ")} digits`);
  return [...items(facts), ...items(odd, "odd"), ...invalidLines(would.first_invalid), ...(samples.length ? [sampleTable(samples)] : [])];
}

/** A change of a list: what it means for the pools that are blocked by it. */
export function ofListChange(would) {
  const effect = ({ pool, blocked, unblocked, leased }) => {
    const held = leased ? `, ${count(leased)} of them leased now` : "";
    return `in ${pool}: ${count(blocked)} newly blocked${held}, ${count(unblocked)} no longer blocked`;
  };
  const changed = would.pools.filter(({ blocked, unblocked }) => blocked || unblocked);
  const texts = changed.slice(0, MAX_POOLS_NAMED).map(effect);
  const more = changed.length - texts.length;
  if (more > 0) texts.push(`in ${many(more, "more pool")}`);
  if (!changed.length) texts.push(would.pools.length ? "no number of the pools that use it changes" : "no pool is blocked by it");
  return [...items(texts), ...invalidLines(would.first_invalid)];
}
