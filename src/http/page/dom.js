// Functions that every part uses on the document. They write only what has changed: figures arrive every
// second, and must not disturb a screen reader or a selection.

export const byId = (id) => document.getElementById(id);

/** An element with these properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setShown(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Fills a `dl` with rows of [name, value, meaning]; the rows are made once. */
export function setFacts(list, rows) {
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

/** Fills a table body with rows of texts by a key; a row is made once. `numeric` has the columns of numbers. */
export function setRows(body, rows, numeric) {
  const key = rows.map((row) => row.key).join("\n");
  if (body.dataset.key !== key) {
    body.dataset.key = key;
    body.replaceChildren(...rows.map((row) => make("tr", {}, ...row.cells.map((_, column) =>
      column === 0
        ? make("th", { scope: "row" }, make("span"), ...(row.means ? [make("small", {}, row.means)] : []))
        : make("td", { className: numeric.has(column) ? "num" : "" })))));
  }
  rows.forEach((row, index) => row.cells.forEach((text, column) => {
    const cell = body.children[index].children[column];
    setText(column === 0 ? cell.firstChild : cell, text);
  }));
}

/** The colours of the style sheet, which follow the light or dark scheme. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Calls back when the scheme changes to light or dark. */
export const onScheme = (changed) => matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
