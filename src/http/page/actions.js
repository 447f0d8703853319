// Operators' actions on a pool, a list or the daemon. Each is confirmed in a dialog that says what will happen and how to undo it.

import { call, explain, listPath, poolPath } from "./api.js";
import { openDialog, say } from "./dialog.js";
import { exportOf } from "./export.js";
import { bytes, count, many } from "./format.js";
import { ofAddition, ofListChange } from "./preview.js";
import { askSettings } from "./settings.js";

const LIST_PATIENCE_MILLISECONDS = 600_000;
const BACKUP_PATIENCE_MILLISECONDS = 3_600_000;
const NAME = "Name: letters, digits and . _ -";

function needed(name) {
  if (!name) throw new Error("Give a name.");
  return name;
}

const send = (method, path, { body, type, query }, parameters = []) => {
  const all = [...parameters, query].filter(Boolean).join("&");
  return call(method, all ? `${path}?${all}` : path, { body, type, patience: LIST_PATIENCE_MILLISECONDS });
};

/** An action on a list of numbers, which is sent to a `path`, first in a dry run; `preview` shows what that tells. */
const ofNumbers = ({ path, where, told, changed, past, preview, name, ...texts }) => ({
  ...texts,
  name,
  numbers: true,
  async check({ list }) {
    const would = await send("POST", path, list, ["dry_run=true"]);
    const count = changed(would);
    const words = count ? `Would be ${past}: ${told(would)}.` : `Nothing would change: ${told(would)}.`;
    return { would: words, more: preview?.(would), name: count ? `${name} ${many(count, "number")}` : undefined };
  },
  run: async ({ list }) => `${where} ${past}: ${told(await send("POST", path, list))}.`,
});

const ON_POOL = {
  pause: (pool) => ({
    title: `Pause ${pool}?`,
    will: "New leases are refused with 409 paused. Existing leases continue: they can be renewed and returned.",
    undo: "To undo it: Resume.",
    name: "Pause",
    fields: [{ key: "reason", label: "Why: callers are told" }],
    run: async ({ reason }) => (await call("POST", poolPath(pool, `/pause${reason ? `?reason=${encodeURIComponent(reason)}` : ""}`)), `${pool} is paused.`),
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
  retire: (pool) => ofNumbers({
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
  reinstate: (pool) => ofNumbers({
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
  add: (pool) => ofNumbers({
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
  settings: askSettings,
  export: exportOf,
};

const ON_LIST = {
  "list-add": (list) => ofNumbers({
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
  "list-remove": (list) => ofNumbers({
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
  "list-replace": (list, { numbers: before }) => ofNumbers({
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
    fields: [{ key: "name", label: NAME }],
    run: async ({ name }) => (await call("PUT", listPath(needed(name))), `The list ${name} is there.`),
  }),
  "list-delete": (list, { numbers: on, pools }) => ({
    title: `Delete the list ${list}?`,
    will: `${many(on, "number")} ${on === 1 ? "is" : "are"} forgotten.${pools ? " It is refused while pools use the list." : ""}`,
    undo: `This cannot be undone. To keep what is on it, export it first: allotd list export ${list}`,
    name: "Delete",
    run: async () => (await call("DELETE", listPath(list)), `The list ${list} is deleted.`),
  }),
};

const parametersOf = ({ order, ttl, rest, on_expiry: end }) =>
  Object.entries({ order, ttl, rest, on_expiry: end }).filter(([, value]) => value).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);

/** Pauses are taken back one by one; those that fail are named, and the others resumed nevertheless. */
async function resumeAll(pools) {
  if (!pools.length) throw new Error("Choose at least one pool.");
  const failed = [];
  for (const pool of pools) await call("POST", poolPath(pool, "/resume")).catch((error) => failed.push(`${pool}: ${explain(error)}`));
  if (failed.length) throw new Error(`${many(pools.length - failed.length, "pool")} resumed. Not resumed: ${failed.join("; ")}`);
  return `${many(pools.length, "pool")} hand${pools.length === 1 ? "s" : ""} out numbers again.`;
}

const ON_DAEMON = {
  create: () => ({
    title: "Make a pool",
    will: "Its numbers can be leased as soon as it is there. Settings that are left out have their defaults, and can be changed later.",
    undo: "To undo it, while nothing is leased: allotd pool delete NAME",
    name: "Make it",
    fields: [
      { key: "name", label: NAME },
      { key: "order", label: "Order of leases", kind: "select", value: "random", options: ["random", "sequential", "lowest"] },
      { key: "ttl", label: "A lease lasts, in seconds", kind: "number", placeholder: "300" },
      { key: "rest", label: "A returned number rests, in seconds", kind: "number", placeholder: "0: available at once" },
      { key: "on_expiry", label: "A number whose lease ends without a return: available, rest:SECONDS, done or retired", placeholder: "available" },
    ],
    numbers: true,
    async check(given) {
      const would = await send("PUT", poolPath(needed(given.name)), given.list, [...parametersOf(given), "dry_run=true"]);
      return { would: `${given.name} would have ${many(would.numbers, "number")}.`, more: ofAddition(would), name: `Make it with ${many(would.numbers, "number")}` };
    },
    async run(given) {
      const { pool, numbers } = await send("PUT", poolPath(given.name), given.list, parametersOf(given));
      location.hash = `#pool=${encodeURIComponent(pool)}`;
      return `${pool} is there, with ${many(numbers, "number")}.`;
    },
  }),
  "resume-several": ({ pools }) => {
    const paused = Object.keys(pools).filter((name) => pools[name].paused);
    return {
      title: "Resume pools",
      will: "Those that are ticked hand out numbers again at once.",
      undo: "To undo it: Pause, each.",
      name: "Resume them",
      fields: [{ key: "pools", label: "Paused pools", kind: "checks", value: paused, options: paused }],
      run: ({ pools: chosen }) => resumeAll(chosen),
    };
  },
  backup: () => ({
    title: "Back up",
    will: "All pools and lists as they are at one instant, into a directory of the daemon's backup root. Leases continue meanwhile.",
    undo: "A backup that is no longer needed is a directory to delete on the daemon's machine.",
    name: "Back up",
    fields: [{ key: "name", label: NAME, placeholder: "the time" }],
    async run({ name }) {
      const options = { body: JSON.stringify(name ? { name } : {}), type: "application/json", patience: BACKUP_PATIENCE_MILLISECONDS };
      const made = await call("POST", "/v1/backup", options);
      return `Backup ${made.backup}: ${many(made.pools, "pool")}, ${many(made.numbers, "number")}, ${bytes(made.bytes)}.`;
    },
  }),
};

async function openOf(table, name, figures, target, given) {
  if (!Object.hasOwn(table, name)) return;
  try {
    openDialog(target === undefined ? table[name](figures) : await table[name](target, figures), given);
  } catch (error) {
    say(explain(error));
  }
}

/** Opens the dialog of an action on a pool; `given` are numbers to begin with. */
export const actOnPool = (name, pool, figures, given = "") => openOf(ON_POOL, name, figures, pool, given);

export const actOnList = (name, list, figures) => openOf(ON_LIST, name, figures, list);

export const actOnDaemon = (name, stats) => openOf(ON_DAEMON, name, stats);
