// Operators' actions on a pool or a list. Each is confirmed in a dialog that says what will happen and how to undo it.

import { call, explain, listPath, poolPath } from "./api.js";
import { byId, setShown, setText } from "./dom.js";
import { count, many } from "./format.js";
import { ofAddition, ofListChange } from "./preview.js";

const SAID_MILLISECONDS = 12_000;
/** A file may be large. */
const LIST_PATIENCE_MILLISECONDS = 600_000;
const dialog = byId("dialog");
const numbers = byId("dialog-numbers");
const file = byId("dialog-file");
const region = byId("dialog-region");
const named = byId("dialog-name");
const act = byId("dialog-do");
let open = null;
let afterwards = () => {};
let saidTimer = 0;

/** Called after an action, when figures have changed. */
export const onDone = (callback) => (afterwards = callback);

/** Shows the result of an action, and announces it to screen readers. */
function say(text) {
  clearTimeout(saidTimer);
  setText(byId("said"), text);
  saidTimer = setTimeout(() => setText(byId("said"), ""), SAID_MILLISECONDS);
}

/** Each action: what the dialog says, and what is done. Those with a `path` take numbers, which are sent there, first in a dry
 *  run; `preview` has what that tells. Those with a `named` take a name. */
const ACTIONS = {
  pause: (pool) => ({
    title: `Pause ${pool}?`,
    will: "New leases are refused with 409 paused. Existing leases continue: they can be renewed and returned.",
    undo: "To undo it: Resume.",
    name: "Pause",
    run: async () => (await call("POST", poolPath(pool, "/pause")), `${pool} is paused.`),
  }),
  resume: (pool) => ({
    title: `Resume ${pool}?`,
    will: "The pool hands out numbers again at once.",
    undo: "To undo it: Pause.",
    name: "Resume",
    run: async () => (await call("POST", poolPath(pool, "/resume")), `${pool} hands out numbers again.`),
  }),
  round: (pool, { done, round }) => ({
    title: `Start round ${count(round + 1)} of ${pool}?`,
    will: `${many(done, "number")} that ${done === 1 ? "is" : "are"} done become available again. Leased, resting and retired numbers stay as they are.`,
    undo: `This cannot be undone. To keep a list of the done numbers, export it first: allotd pool export ${pool} --state done`,
    name: `Start round ${count(round + 1)}`,
    run: async () => {
      const { round: begun, available } = await call("POST", poolPath(pool, "/rounds"));
      return `Round ${count(begun)} of ${pool} has begun: ${many(available, "number")} available.`;
    },
  }),
  retire: (pool) => ({
    title: `Retire numbers of ${pool}`,
    will: "They are no longer leased, also in later rounds. Existing leases of them cannot be renewed.",
    undo: "To undo it: Reinstate the same numbers. They are then available, whatever state they had before.",
    name: "Retire",
    path: poolPath(pool, "/retire"),
    where: `In ${pool}`,
    told: ({ retired, already, unknown, leased }) => `${many(retired, "number")}${leased ? `, ${count(leased)} of them leased now` : ""}; ${count(already)} retired already, ${count(unknown)} not in the pool`,
    changed: ({ retired }) => retired,
    past: "retired",
  }),
  reinstate: (pool) => ({
    title: `Reinstate numbers of ${pool}`,
    will: "Retired numbers become available again and can be leased at once.",
    undo: "To undo it: Retire the same numbers.",
    name: "Reinstate",
    path: poolPath(pool, "/reinstate"),
    where: `In ${pool}`,
    told: ({ reinstated, already, unknown }) => `${many(reinstated, "number")}; ${count(already)} not retired, ${count(unknown)} not in the pool`,
    changed: ({ reinstated }) => reinstated,
    past: "reinstated",
  }),
  add: (pool) => ({
    title: `Add numbers to ${pool}`,
    will: "They can be leased at once, unless a list blocks them or their hours are over. Numbers that are in the pool already keep their state.",
    undo: "To undo it: Retire the same numbers.",
    name: "Add",
    path: poolPath(pool, "/numbers"),
    where: `To ${pool}`,
    told: ({ added, existing }) => `${many(added, "number")}; ${count(existing)} in the pool already`,
    changed: ({ added }) => added,
    past: "added",
    preview: ofAddition,
  }),
  "list-add": (list) => ({
    title: `Put numbers on ${list}`,
    will: "No pool that is blocked by the list leases them any more. Live leases go on, and cannot be renewed.",
    undo: "To undo it: Remove the same numbers.",
    name: "Add",
    path: listPath(list, "/numbers"),
    where: `To ${list}`,
    told: ({ added, existing }) => `${many(added, "number")}; ${count(existing)} on it already`,
    changed: ({ added }) => added,
    past: "added",
    preview: ofListChange,
  }),
  "list-remove": (list) => ({
    title: `Take numbers off ${list}`,
    will: "Pools that no other list keeps from it can lease them again at once.",
    undo: "To undo it: Add the same numbers.",
    name: "Remove",
    path: listPath(list, "/remove"),
    where: `From ${list}`,
    told: ({ removed, unknown }) => `${many(removed, "number")}; ${count(unknown)} not on it`,
    changed: ({ removed }) => removed,
    past: "removed",
    preview: ofListChange,
  }),
  "list-replace": (list, { numbers: before }) => ({
    title: `Replace all numbers of ${list}`,
    will: `The list has ${many(before, "number")}. From then on it has those given here, and no others.`,
    undo: `This cannot be undone. To keep what is on it, export it first: allotd list export ${list}`,
    name: "Change",
    path: listPath(list, "/replace"),
    where: `In ${list}`,
    told: ({ added, removed, existing }) => `${count(added)} added, ${count(removed)} removed; ${count(existing)} stay`,
    changed: ({ added, removed }) => added + removed,
    past: "replaced",
    preview: ofListChange,
  }),
  "list-create": () => ({
    title: "Make a list",
    will: "It begins empty, and blocks no pool before a pool names it: allotd pool set POOL --blocked-by LIST",
    undo: "To undo it: Delete.",
    name: "Make it",
    named: true,
    run: async (name) => (await call("PUT", listPath(name)), `The list ${name} is there.`),
  }),
  "list-delete": (list, { numbers: on, pools }) => ({
    title: `Delete the list ${list}?`,
    will: `${many(on, "number")} ${on === 1 ? "is" : "are"} forgotten.${pools ? " It is refused while pools use the list." : ""}`,
    undo: `This cannot be undone. To keep what is on it, export it first: allotd list export ${list}`,
    name: "Delete",
    run: async () => (await call("DELETE", listPath(list)), `The list ${list} is deleted.`),
  }),
};

/** Opens the dialog of an action on a pool or a list; `given` are numbers to begin with. */
export function openAction(name, target, figures, given = "") {
  const action = ACTIONS[name]?.(target, figures);
  if (!action || dialog.open) return;
  open = { action, checked: null };
  setText(byId("dialog-title"), action.title);
  setText(byId("dialog-will"), action.will);
  setText(byId("dialog-undo"), action.undo);
  setText(byId("dialog-problem"), "");
  byId("dialog-check").replaceChildren();
  setShown(byId("dialog-list"), Boolean(action.path));
  setShown(byId("dialog-named"), Boolean(action.named));
  [numbers.value, file.value, region.value, named.value] = [given, "", "", ""];
  numbers.disabled = false;
  act.disabled = false;
  setText(act, action.path ? "Check" : action.name);
  dialog.showModal();
  (action.path ? numbers : action.named ? named : act).focus();
}

/** What is given, and what tells whether that has changed. */
function given() {
  const [chosen] = file.files;
  const country = region.value.trim().toUpperCase();
  const query = country ? `region=${encodeURIComponent(country)}` : "";
  if (chosen) {
    const type = chosen.name.toLowerCase().endsWith(".csv") ? "text/csv" : "text/plain";
    return { key: `${chosen.name} ${chosen.size} ${chosen.lastModified} ${query}`, body: chosen, type, query };
  }
  if (!numbers.value.trim()) throw new Error("Give at least one number.");
  return { key: `${numbers.value}\n${query}`, body: numbers.value, type: "text/plain", query };
}

/** At the first press says what would happen to the numbers; at the second does it. */
async function runList({ action, checked }) {
  const { key, query, ...sent } = given();
  const send = (parameters) => {
    const all = [...parameters, query].filter(Boolean).join("&");
    return call("POST", all ? `${action.path}?${all}` : action.path, { ...sent, patience: LIST_PATIENCE_MILLISECONDS });
  };
  if (checked !== key) {
    const would = await send(["dry_run=true"]);
    const any = action.changed(would) > 0;
    open.checked = any ? key : null;
    const told = any ? `Would be ${action.past}: ${action.told(would)}.` : `Nothing would change: ${action.told(would)}.`;
    byId("dialog-check").replaceChildren(told, ...(action.preview?.(would) ?? []));
    setText(act, any ? `${action.name} ${many(action.changed(would), "number")}` : "Check");
    return null;
  }
  const did = await send([]);
  return `${action.where} ${action.past}: ${action.told(did)}.`;
}

async function runNamed({ action }) {
  const name = named.value.trim();
  if (!name) throw new Error("Give a name.");
  return action.run(name);
}

async function run() {
  const { action } = open;
  act.disabled = true;
  setText(byId("dialog-problem"), "");
  try {
    const result = action.path ? await runList(open) : action.named ? await runNamed(open) : await action.run();
    if (result === null) return;
    dialog.close();
    say(result);
    afterwards();
  } catch (error) {
    setText(byId("dialog-problem"), error.constructor === Error ? error.message : explain(error));
  } finally {
    act.disabled = false;
  }
}

byId("dialog-form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
byId("dialog-cancel").addEventListener("click", () => dialog.close());

/** What was checked is not what is given. */
function forget() {
  numbers.disabled = file.files.length > 0;
  if (!open || open.checked === null) return;
  open.checked = null;
  setText(act, "Check");
  byId("dialog-check").replaceChildren();
}
for (const field of [numbers, file, region]) field.addEventListener("input", forget);
