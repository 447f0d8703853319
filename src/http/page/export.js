// An export of a pool: which states, in which format, as a file of the browser.

import { call, poolPath } from "./api.js";
import { make } from "./dom.js";
import { bytes, count } from "./format.js";
import { STATES } from "./states.js";

/** The browser keeps the whole file in memory: from here on the command is recommended. */
const MANY_NUMBERS = 5_000_000;
const PATIENCE_MILLISECONDS = 600_000;
/** By format: its name, and the end of the file's name. */
const FORMATS = {
  "text/plain": ["one number per line", "txt"],
  "text/csv": ["CSV with state, generation and time, which a new pool can be restored from", "csv"],
  "application/octet-stream": ["Roaring bitmap, 64-bit", "roaring"],
};

function download(name, file) {
  const address = URL.createObjectURL(file);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), PATIENCE_MILLISECONDS);
}

export const exportOf = (pool, { numbers }) => ({
  title: `Export ${pool}`,
  will: `Its numbers as a file, of the states that are ticked. Leases continue meanwhile.${numbers > MANY_NUMBERS ? ` The pool has ${count(numbers)}; for that many, the command needs less memory than a browser: allotd pool export ${pool}` : ""}`,
  name: "Export",
  fields: [
    { key: "states", label: "States", kind: "checks", value: STATES.map(({ key }) => key), options: STATES.map(({ key, name }) => [key, name]) },
    { key: "format", label: "Format", kind: "select", value: "text/plain", options: Object.entries(FORMATS).map(([type, [name]]) => [type, name]) },
    { key: "within", label: "Only within these prefixes or ranges, separated by commas", placeholder: "all numbers" },
  ],
  async run({ states, format, within }) {
    if (!states.length) throw new Error("Choose at least one state.");
    const query = [];
    if (states.length < STATES.length) query.push(`state=${states.join(",")}`);
    if (within) query.push(`within=${encodeURIComponent(within.replace(/\s/g, ""))}`);
    const path = poolPath(pool, `/numbers${query.length ? `?${query.join("&")}` : ""}`);
    const file = await call("GET", path, { accept: format, patience: PATIENCE_MILLISECONDS, read: (response) => response.blob() });
    const name = `${pool}.${FORMATS[format][1]}`;
    download(name, file);
    return `${name}: ${bytes(file.size)}.`;
  },
});
