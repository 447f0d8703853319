// The number space as a heat map: each cell is a part of it, filled in proportion to the states in it.

import { call, explain, poolPath } from "./api.js";
import { byId, colour, make, onScheme, setShown, setText } from "./dom.js";
import { count, many, share } from "./format.js";
import { colourOf, STATES } from "./states.js";

const ROWS = 16;
const WIDE_COLUMNS = 64;
const NARROW_COLUMNS = 32;
/** Places narrower than this have fewer columns, in CSS pixels. */
const NARROW = 420;
const CELL_HEIGHT = 15;
const REFRESH_MILLISECONDS = 5_000;

const canvas = byId("map");
const readout = byId("map-readout");
const mode = byId("map-mode");

let pool = null;
/** The parts zoomed into, outermost first, as [first, last]. */
let trail = [];
let map = null;
let cell = 0;
let problem = "";
let columns = WIDE_COLUMNS;
let asked = 0;
let onNumber = () => {};

export const onOpenNumber = (callback) => (onNumber = callback);

/** Shows the map of a pool; of another pool than before, the whole map. */
export function showMap(name) {
  if (name === pool) return;
  pool = name;
  go([]);
}

function go(parts) {
  trail = parts;
  cell = 0;
  refresh();
}

/** Requests the part that is shown. Drops a response if a later request was made meanwhile. */
export async function refresh() {
  if (!pool || document.hidden) return;
  const turn = ++asked;
  columns = canvas.parentElement.clientWidth < NARROW ? NARROW_COLUMNS : WIDE_COLUMNS;
  const part = trail.at(-1);
  const within = part ? `&within=${part[0]}-${part[1]}` : "";
  try {
    const answer = await call("GET", poolPath(pool, `/map?buckets=${columns * ROWS}${within}`));
    if (turn !== asked) return;
    [map, problem] = [answer, ""];
  } catch (error) {
    if (turn !== asked) return;
    problem = explain(error);
  }
  show();
}

const total = (bucket) => STATES.reduce((sum, { key }) => sum + bucket[key], 0);
const endOf = (bucket) => Math.min(bucket.first + map.bucket_width - 1, map.last);

function show() {
  cell = Math.min(cell, Math.max(0, (map?.buckets.length ?? 0) - 1));
  showTrail();
  showReadout();
  draw();
  showTable();
}

function draw() {
  const width = canvas.parentElement.clientWidth - byId("map-rows").offsetWidth;
  const buckets = map?.buckets ?? [];
  const rows = Math.max(1, Math.ceil(buckets.length / columns));
  const [height, scale] = [rows * CELL_HEIGHT, devicePixelRatio || 1];
  canvas.style.height = `${height}px`;
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const side = width / columns;
  const colours = new Map(STATES.map(({ key }) => [key, colourOf(key)]));
  const back = colour("--empty");
  const shown = mode.value;
  buckets.forEach((bucket, index) => {
    const box = { x: (index % columns) * side, y: Math.floor(index / columns) * CELL_HEIGHT, w: Math.max(1, side - 1), h: CELL_HEIGHT - 1 };
    pen.fillStyle = back;
    pen.fillRect(box.x, box.y, box.w, box.h);
    if (shown === "mix") mix(pen, box, bucket, colours);
    else shade(pen, box, bucket, shown, colours);
  });
  if (document.activeElement === canvas && buckets.length) {
    pen.strokeStyle = colour("--text");
    pen.lineWidth = 2;
    pen.strokeRect((cell % columns) * side, Math.floor(cell / columns) * CELL_HEIGHT, side - 1, CELL_HEIGHT - 1);
  }
  const labels = Array.from({ length: rows }, (_, row) => String(buckets[row * columns]?.first ?? ""));
  if (byId("map-rows").dataset.key !== labels.join()) {
    byId("map-rows").dataset.key = labels.join();
    byId("map-rows").replaceChildren(...labels.map((label) => make("span", {}, label)));
    // The labels take the width that they need; the cells get the rest.
    if (byId("map-rows").offsetWidth + width !== canvas.parentElement.clientWidth) draw();
  }
}

/** Fills a cell from below with the shares of the states; a share above zero is at least a line. */
function mix(pen, { x, y, w, h }, bucket, colours) {
  const all = total(bucket);
  if (!all) return;
  const heights = STATES.map(({ key }) => (bucket[key] ? Math.max(1.5, (h * bucket[key]) / all) : 0));
  const fit = h / heights.reduce((sum, each) => sum + each, 0);
  let top = y + h;
  STATES.forEach(({ key }, index) => {
    const part = heights[index] * fit;
    top -= part;
    pen.fillStyle = colours.get(key);
    pen.fillRect(x, top, w, part);
  });
}

function shade(pen, { x, y, w, h }, bucket, key, colours) {
  const all = total(bucket);
  if (!all || !bucket[key]) return;
  pen.globalAlpha = 0.15 + 0.85 * Math.sqrt(bucket[key] / all);
  pen.fillStyle = colours.get(key);
  pen.fillRect(x, y, w, h);
  pen.globalAlpha = 1;
}

function words(bucket) {
  const all = total(bucket);
  const end = endOf(bucket);
  const where = bucket.first === end ? `${bucket.first}` : `${bucket.first} to ${end}`;
  if (!all) return `${where}: not in the pool`;
  const states = STATES.filter(({ key }) => bucket[key]).map(({ key, name }) => `${name.toLowerCase()} ${count(bucket[key])} (${share(bucket[key], all)})`);
  return `${where}: ${many(all, "number")}, ${states.join(", ")}`;
}

function showReadout() {
  const bucket = map?.buckets[cell];
  setText(readout, problem || (bucket ? words(bucket) : "There are no numbers here."));
  byId("map-in").disabled = !bucket;
  byId("map-out").disabled = !trail.length;
  setText("map-in", bucket && map.bucket_width === 1 ? "Look it up" : "Zoom in");
}

function showTrail() {
  const parts = [["All numbers", 0], ...trail.map(([first, last], index) => [`${first} – ${last}`, index + 1])];
  const key = JSON.stringify(parts);
  const place = byId("map-trail");
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...parts.map(([name, depth], index) => {
    const button = make("button", { type: "button", className: "link" }, name);
    if (index === parts.length - 1) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => go(trail.slice(0, depth)));
    return button;
  }));
}

function zoomIn(index = cell) {
  const bucket = map?.buckets[index];
  if (!bucket) return;
  if (map.bucket_width === 1) onNumber(bucket.first);
  else go([...trail, [bucket.first, endOf(bucket)]]);
}

const zoomOut = () => trail.length && go(trail.slice(0, -1));

/** The rows of the map as a table, for people who cannot see the map. */
function showTable() {
  if (!byId("map-details").open || !map) return;
  const table = byId("map-table");
  if (!table.tHead.rows.length) {
    const heads = ["From", "To", ...STATES.map(({ name }) => name)].map((name, column) => make("th", { scope: "col", className: column > 1 ? "num" : "" }, name));
    table.tHead.append(make("tr", {}, ...heads, make("td")));
  }
  const rows = [];
  for (let at = 0; at < map.buckets.length; at += columns) {
    const part = map.buckets.slice(at, at + columns);
    const [first, last] = [part[0].first, endOf(part.at(-1))];
    const sums = STATES.map(({ key }) => make("td", { className: "num" }, count(part.reduce((sum, bucket) => sum + bucket[key], 0))));
    const button = make("button", { type: "button", "aria-label": `Zoom in: ${first} to ${last}` }, "Zoom in");
    button.addEventListener("click", () => go([...trail, [first, last]]));
    rows.push(make("tr", {}, make("th", { scope: "row" }, String(first)), make("td", {}, String(last)), ...sums, make("td", {}, ...(first < last ? [button] : []))));
  }
  if (!table.contains(document.activeElement)) table.tBodies[0].replaceChildren(...rows);
}

function at(event) {
  const box = canvas.getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
  const index = Math.floor((event.clientY - box.top) / CELL_HEIGHT) * columns + Math.min(column, columns - 1);
  return index >= 0 && index < (map?.buckets.length ?? 0) ? index : null;
}

function choose(index) {
  if (index === null || index === undefined || !map?.buckets[index]) return;
  cell = index;
  showReadout();
  draw();
}

const KEYS = {
  ArrowLeft: () => choose(cell - 1),
  ArrowRight: () => choose(cell + 1),
  ArrowUp: () => choose(cell - columns),
  ArrowDown: () => choose(cell + columns),
  Home: () => choose(0),
  End: () => choose(map.buckets.length - 1),
  Enter: () => zoomIn(),
  Escape: zoomOut,
  Backspace: zoomOut,
};

canvas.addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && choose(at(event)));
// A tap only selects, as cells are small; a mouse click zooms, as hovering has selected already.
canvas.addEventListener("pointerup", (event) => {
  const index = at(event);
  if (event.pointerType === "mouse" && event.button === 0 && index !== null) zoomIn(index);
  else choose(index);
});
canvas.addEventListener("focus", draw);
canvas.addEventListener("blur", draw);
byId("map-in").addEventListener("click", () => zoomIn());
byId("map-out").addEventListener("click", zoomOut);
byId("map-details").addEventListener("toggle", showTable);
mode.append(...STATES.map(({ key, name }) => make("option", { value: key }, name.toLowerCase())));
mode.addEventListener("change", draw);
onScheme(draw);
let lastWidth = 0;
new ResizeObserver(() => {
  const width = canvas.parentElement.clientWidth;
  if (width === lastWidth) return;
  lastWidth = width;
  const wanted = width < NARROW ? NARROW_COLUMNS : WIDE_COLUMNS;
  if (wanted !== columns) refresh();
  else draw();
}).observe(canvas.parentElement);
setInterval(refresh, REFRESH_MILLISECONDS);
document.addEventListener("visibilitychange", refresh);
