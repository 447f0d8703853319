// Functions that every part uses on the document. They write only what has changed: figures arrive every
// second, and must not disturb a screen reader or a selection.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

// The tables: the document has the names of their columns, with # before those of numbers.
for (const place of document.querySelectorAll("[data-table]")) {
  const { table, heads } = place.dataset;
  const cells = heads ? heads.split(", ").map((head) => make("th", { scope: "col", className: head[0] === "#" ? "num" : "" }, head.replace("#", ""))) : [];
  place.append(make("table", { id: table, className: "grid" }, make("thead", {}, make("tr", {}, ...cells)), make("tbody")));
  place.tabIndex = 0;
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", place.closest("[aria-label]").getAttribute("aria-label"));
}

// The heads of cards: their label, and a note or # with the id of its place.
for (const card of document.querySelectorAll("[data-note]")) {
  const { note } = card.dataset;
  const beside = note[0] === "#" ? make("p", { className: "quiet", id: note.slice(1) }) : make("p", { className: "quiet" }, note);
  card.prepend(make("div", { className: "card-head" }, make("h3", {}, card.getAttribute("aria-label")), beside));
}

const found = (place) => (typeof place === "string" ? byId(place) : place);

/** The places of these three are elements, or their ids. */
export function setText(place, text) {
  const element = found(place);
  if (element.textContent !== text) element.textContent = text;
}

export function setShown(place, shown) {
  const element = found(place);
  if (element.hidden === shown) element.hidden = !shown;
}

/** Fills a `dl` with rows of [name, value, meaning]; the rows are made once. */
export function setFacts(place, rows) {
  const list = found(place);
  const key = rows.map(([name]) => name).join("\n");
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...rows.map(([name, , means]) => {
      const term = make("dt", {}, name);
      if (means) term.append(make("small", {}, means));
      return make("div", {}, term, make("dd"));
    }));
  }
  rows.forEach(([, value], index) => setText(list.children[index].lastChild, value));
}

/** Fills a table with rows of texts by a key; a row is made once. */
export function setRows(id, rows) {
  const { tHead: head, tBodies: [body] } = byId(id);
  const key = rows.map((row) => row.key).join("\n");
  if (body.dataset.key !== key) {
    body.dataset.key = key;
    body.replaceChildren(...rows.map((row) => make("tr", {}, ...row.cells.map((_, column) =>
      column === 0
        ? make("th", { scope: "row" }, make("span"), ...(row.means ? [make("small", {}, row.means)] : []))
        : make("td", { className: head.rows[0].cells[column].className })))));
  }
  // In place of an empty table there are words, if it has some.
  setShown(body.parentElement.parentElement, rows.length > 0);
  if (byId(`${id}-none`)) setShown(`${id}-none`, rows.length === 0);
  rows.forEach((row, index) => row.cells.forEach((text, column) => {
    const cell = body.children[index].children[column];
    setText(column === 0 ? cell.firstChild : cell, text);
  }));
}

/** The colours of the style sheet, which follow the light or dark scheme. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const onScheme = (changed) => matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
