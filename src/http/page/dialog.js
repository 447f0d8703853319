// The dialog of an action: what it will do and how to undo it, what it needs to know, a check, and only then the act.

import { explain } from "./api.js";
import { byId, make, setShown, setText } from "./dom.js";

const SAID_MILLISECONDS = 12_000;

const dialog = byId("dialog");
const fieldsPlace = byId("dialog-fields");
const numbers = byId("dialog-numbers");
const file = byId("dialog-file");
const region = byId("dialog-region");
const act = byId("dialog-do");
const check = byId("dialog-check");
const problem = byId("dialog-problem");
/** How a file is read, by the names that refusals give. */
const MORE = [
  { key: "column", label: "The column of a CSV with the numbers (column)", placeholder: "number" },
  { key: "encoding", label: "Its encoding (encoding)", placeholder: "UTF-8" },
];
let open = null;
let afterwards = () => {};
let saidTimer = 0;

/** Called after an action, when figures have changed. */
export const onDone = (callback) => (afterwards = callback);

/** Shows the result of an action, and announces it to screen readers. */
export function say(text) {
  clearTimeout(saidTimer);
  setText("said", text);
  saidTimer = setTimeout(() => setText("said", ""), SAID_MILLISECONDS);
}

const idOf = (key) => `dialog-${key}`;
const optionOf = (option) => (Array.isArray(option) ? option : [option, option]);

/** A field: its `key` and `label`, and its `kind`: text (unless it says otherwise), number, area, select, check, or checks, which
 *  has an array of values. */
function makeField({ key, label, kind = "text", value = "", options = [], placeholder = "", rows = 3 }) {
  const common = { id: idOf(key), autocomplete: "off" };
  if (kind === "check") return make("label", { className: "check" }, make("input", { ...common, type: "checkbox", checked: Boolean(value) }), label);
  if (kind === "checks") {
    const boxes = options.map(optionOf).map(([each, text]) => make("label", { className: "check" }, make("input", { type: "checkbox", value: each, checked: value.includes(each) }), text));
    return make("fieldset", { id: idOf(key) }, make("legend", {}, label), ...boxes);
  }
  if (kind === "select") {
    const choices = options.map(optionOf).map(([each, text]) => make("option", { value: each, selected: each === value }, text));
    return make("label", { className: "field" }, label, make("select", common, ...choices));
  }
  if (kind === "area") return make("label", { className: "field" }, label, make("textarea", { ...common, rows, value, placeholder }));
  return make("label", { className: "field" }, label, make("input", { ...common, value, placeholder, inputMode: kind === "number" ? "numeric" : "text" }));
}

function readField({ key, kind }) {
  const element = byId(idOf(key));
  if (kind === "check") return element.checked;
  if (kind === "checks") return [...element.querySelectorAll("input:checked")].map(({ value }) => value);
  return element.value.trim();
}

/**
 * Opens the dialog of an action:
 * `title`, `will`, `undo`, and `name`, the text of its button;
 * `fields`, see `makeField`; `numbers`: whether it takes a list of numbers, and `given` are some to begin with;
 * `check(given)`, if there is one, is the first press: it says what `would` happen, with `more` below, and the `name` of the second press, or none
 * if nothing would change;
 * `run(given)` acts, and returns what was done.
 */
export function openDialog(action, given = "") {
  if (dialog.open) return;
  const { title, will, undo = "", name, fields = [] } = action;
  open = { action, checked: null };
  setText("dialog-title", title);
  setText("dialog-will", will);
  setText("dialog-undo", undo);
  setText(problem, "");
  check.replaceChildren();
  fieldsPlace.replaceChildren(...fields.map(makeField));
  setShown(fieldsPlace, fields.length > 0);
  setShown("dialog-list", Boolean(action.numbers));
  [numbers.value, file.value, region.value] = [given, "", ""];
  byId("dialog-more").replaceChildren(...MORE.map(makeField));
  showChosen();
  act.disabled = false;
  setText(act, action.check ? "Check" : name);
  dialog.showModal();
  (fieldsPlace.querySelector("input, select, textarea") ?? (action.numbers ? numbers : act)).focus();
}

function givenList() {
  const [chosen] = file.files;
  region.value = region.value.toUpperCase();
  const query = [region, ...MORE.map(({ key }) => byId(idOf(key)))].filter(({ value }) => value.trim()).map(({ id, value }) => `${id.slice(7)}=${encodeURIComponent(value.trim())}`).join("&");
  if (chosen) {
    const type = chosen.name.toLowerCase().endsWith(".csv") ? "text/csv" : "text/plain";
    return { key: `${chosen.name} ${chosen.size} ${chosen.lastModified} ${query}`, body: chosen, type, query };
  }
  if (!numbers.value.trim()) throw new Error("Give at least one number.");
  return { key: `${numbers.value}\n${query}`, body: numbers.value, type: "text/plain", query };
}

/** Checks, or acts; the latter returns what was done. */
async function press(mine) {
  const { action, checked } = mine;
  const values = Object.fromEntries((action.fields ?? []).map((field) => [field.key, readField(field)]));
  const list = action.numbers ? givenList() : null;
  const key = JSON.stringify([values, list?.key]);
  if (!action.check || checked === key) return action.run({ ...values, list });
  const { would, more = [], name } = await action.check({ ...values, list });
  if (open !== mine) return null;
  mine.checked = name ? key : null;
  check.replaceChildren(would, ...more);
  setText(act, name ?? "Check");
  return null;
}

async function submit() {
  const mine = open;
  act.disabled = true;
  setText(problem, "");
  try {
    const result = await press(mine);
    if (result === null) return;
    dialog.close();
    say(result);
    afterwards();
  } catch (error) {
    setText(problem, error.constructor === Error ? error.message : explain(error));
  } finally {
    act.disabled = false;
  }
}

byId("dialog-form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("dialog-cancel").addEventListener("click", () => dialog.close());

/** A file is taken instead of what is typed. */
function showChosen() {
  numbers.disabled = file.files.length > 0;
  setShown("dialog-typed", numbers.disabled && Boolean(numbers.value.trim()));
}

/** What was checked is not what is given. */
byId("dialog-form").addEventListener("input", () => {
  showChosen();
  if (!open || open.checked === null) return;
  open.checked = null;
  setText(act, "Check");
  check.replaceChildren();
});
