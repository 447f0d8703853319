// Operators' actions on a pool. Each is confirmed in a dialog that says what will happen and how to undo it.

import { call, explain, poolPath } from "./api.js";
import { byId, setShown, setText } from "./dom.js";
import { count, many } from "./format.js";

const SAID_MILLISECONDS = 12_000;
const dialog = byId("dialog");
const numbers = byId("dialog-numbers");
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

/** Each action: what the dialog says, and what is done. Those with `list` take numbers. */
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
    list: "retire",
    told: ({ retired, already, unknown, leased }) => `${many(retired, "number")}${leased ? `, ${count(leased)} of them leased now` : ""}; ${count(already)} retired already, ${count(unknown)} not in the pool`,
    changed: ({ retired }) => retired,
    past: "retired",
  }),
  reinstate: (pool) => ({
    title: `Reinstate numbers of ${pool}`,
    will: "Retired numbers become available again and can be leased at once.",
    undo: "To undo it: Retire the same numbers.",
    name: "Reinstate",
    list: "reinstate",
    told: ({ reinstated, already, unknown }) => `${many(reinstated, "number")}; ${count(already)} not retired, ${count(unknown)} not in the pool`,
    changed: ({ reinstated }) => reinstated,
    past: "reinstated",
  }),
};

/** Opens the dialog of an action on a pool; `given` are numbers to begin with. */
export function openAction(name, pool, figures, given = "") {
  const action = ACTIONS[name]?.(pool, figures);
  if (!action || dialog.open) return;
  open = { action, pool, checked: null };
  setText(byId("dialog-title"), action.title);
  setText(byId("dialog-will"), action.will);
  setText(byId("dialog-undo"), action.undo);
  setText(byId("dialog-problem"), "");
  setText(byId("dialog-check"), "");
  setShown(byId("dialog-list"), Boolean(action.list));
  numbers.value = given;
  act.disabled = false;
  setText(act, action.list ? "Check" : action.name);
  dialog.showModal();
  (action.list ? numbers : act).focus();
}

/** At the first press says what would happen to the numbers; at the second does it. */
async function runList({ action, pool, checked }) {
  const text = numbers.value;
  if (!text.trim()) throw new Error("Give at least one number.");
  const path = poolPath(pool, `/${action.list}`);
  if (checked !== text) {
    const would = await call("POST", `${path}?dry_run=true`, { text });
    const any = action.changed(would) > 0;
    open.checked = any ? text : null;
    setText(byId("dialog-check"), any ? `Would be ${action.past}: ${action.told(would)}.` : `Nothing would change: ${action.told(would)}.`);
    setText(act, any ? `${action.name} ${many(action.changed(would), "number")}` : "Check");
    return null;
  }
  const did = await call("POST", path, { text });
  return `In ${pool} ${action.past}: ${action.told(did)}.`;
}

async function run() {
  const { action } = open;
  act.disabled = true;
  setText(byId("dialog-problem"), "");
  try {
    const result = action.list ? await runList(open) : await action.run();
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
numbers.addEventListener("input", () => {
  if (!open || open.checked === null) return;
  open.checked = null;
  setText(act, "Check");
  setText(byId("dialog-check"), "");
});
