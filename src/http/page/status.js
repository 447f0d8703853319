// What is wrong and what to do, derived from the stats alone.

import { byId, make, setText } from "./dom.js";
import { bytes, clock, count, duration, many } from "./format.js";

/** The disk is nearly full if less than this share of it is free. */
const DISK_NEARLY_FULL = 0.05;
/** A backup is old after this many milliseconds, */
const BACKUP_OLD_MS = 2 * 24 * 3600 * 1000;
/** and the clock is off by more than this many seconds. */
const CLOCK_OFF_SECONDS = 60;
/** A pool is nearly exhausted if less time than this is left, in seconds. */
const SOON_SECONDS = 3600;
/** If more pools than this have a problem, they share one line. */
const MAX_POOLS_TOLD = 3;

/** Whether the hours of a pool leave no number open. */
export const isClosed = (pool) => pool.open === 0 && pool.numbers > 0;

/** A pool that is closed: as it should be, unless it never opens. */
function closed(name, { next_open_at: opens }) {
  if (opens) return { level: "warn", word: "Closed", pool: name, code: "exhausted", title: `${name} is outside its hours until ${clock(opens)}.`, todo: "Leases are refused until then." };
  return { level: "bad", pool: name, code: "exhausted", title: `Leases from ${name} fail: its hours leave no number open, and that does not change soon.`, todo: `Look at its rules and at the time zones of its numbers: allotd pool show ${name}, allotd pool zones ${name}` };
}

/** Why leases of a pool fail, if they do: { level, title, todo, act }. */
export function troubleOf(name, pool) {
  const bad = (title, todo, act, code = "exhausted") => ({ level: "bad", pool: name, title: `Leases from ${name} fail: ${title}`, todo, act, code });
  if (pool.paused) return bad("the pool is paused.", "Existing leases can be renewed and returned. Resume it to hand out numbers again.", "resume", "paused");
  if (isClosed(pool)) return closed(name, pool);
  if (pool.available > 0) return soon(name, pool);
  if (pool.numbers === 0) return bad("it has no numbers.", `Add some: allotd pool add ${name} FILE`);
  const { leased, resting, done } = pool;
  if (pool.closed && pool.next_open_at) {
    return bad(`no open number is available, ${count(pool.closed)} are outside their hours.`,
      `The first of them open at ${clock(pool.next_open_at)}. If that is too late, add numbers that are open now: allotd pool add ${name} FILE.`);
  }
  const round = done ? ` Or start the next round: it makes ${many(done, "number")} available that ${done === 1 ? "is" : "are"} done.` : "";
  const act = done ? "round" : undefined;
  const add = `allotd pool add ${name} FILE.`;
  const next = pool.next_available_at ? clock(pool.next_available_at) : null;
  if (leased && resting) {
    return bad(`none is available, ${count(leased)} are leased and ${count(resting)} are resting.`,
      `${next ? `The first of them can become available at ${next}, or sooner if one is returned.` : "Wait for one."} If that is too late, add numbers: ${add}${round}`, act);
  }
  if (resting) {
    return bad(`none is available, all of its numbers are resting (${count(resting)}).`,
      `${next ? `The first rest ends at ${next} at the earliest.` : "Wait for a rest to end."} If that is too late, add numbers: ${add} The pool's rest, an outcome's rule or the return itself decides how long a number rests: allotd pool show ${name}${round}`, act);
  }
  if (leased) {
    return bad(`none is available, all of its numbers are leased (${count(leased)}).`,
      `${next ? `The first of these leases ends at ${next} at the earliest, unless a number is returned sooner.` : "Wait for one to be returned."} Add numbers: ${add} If holders forget to return numbers, make new leases shorter: allotd pool set ${name} --ttl SECONDS.${round}`, act);
  }
  if (done) return bad(`every number that is in use is done (${count(done)}).`, "Start the next round: all done numbers become available again.", "round");
  if (pool.blocked) {
    return bad(`every number that is in use is blocked by lists (${count(pool.blocked)}).`, `Add numbers: ${add} Which lists block the pool: allotd pool show ${name}`);
  }
  return bad(`every number is retired (${count(pool.retired)}).`, "Reinstate some, or add numbers.", "reinstate");
}

function soon(name, pool) {
  const left = pool.exhaustion_seconds;
  if (left === null || left === undefined || left > SOON_SECONDS) return null;
  return { level: "warn", pool: name, title: `${name} will have no number in about ${duration(left)}, at the current pace.`, todo: "Add numbers, shorten its rests, or have holders return what they no longer need." };
}

/** Everything that is wrong, the worst first. `lostSince` is a time, or null. */
export function troubles(stats, lostSince) {
  const found = [];
  if (lostSince) {
    found.push({ level: "bad", title: `No response from the daemon since ${clock(lostSince)}.`, todo: `${stats ? "The figures below are of that time. " : ""}Check whether it runs (systemctl status allotd) and read its log: if its disk failed, it has stopped and the log says so. This page continues when the daemon responds again.` });
  }
  if (!stats) return found;
  const { state, disk, pools } = stats;
  const full = state === "storage_full";
  if (state === "poisoned") found.push({ level: "bad", code: "not_ready", title: "The journal cannot be written: nothing more is confirmed, and the daemon stops.", todo: "The disk failed. Check it, run allotd check on the data directory, then start the daemon again. All that was confirmed is kept." });
  if (full) found.push({ level: "bad", code: "storage_full", title: "The disk is full: leases fail.", todo: `${disk ? `${bytes(disk.free_bytes)} are free. ` : ""}Free some space on the disk of the data directory; leases then work again without a restart. Nothing that was confirmed is lost.` });
  if (state === "draining") found.push({ level: "warn", code: "not_ready", title: "The daemon is shutting down.", todo: "Requests in progress are finished, new connections are refused. Start it again if this was not intended." });
  found.push(...poolTroubles(pools));
  if (!full && disk?.total_bytes && disk.free_bytes < DISK_NEARLY_FULL * disk.total_bytes) found.push({ level: "warn", title: `The disk of the data directory is nearly full: ${bytes(disk.free_bytes)} of ${bytes(disk.total_bytes)} are free.`, todo: "Leases still work in the space that the journal has; when it needs more, every change is refused. Free some space or enlarge the disk." });
  found.push(...upkeepTroubles(stats));
  return found;
}

/** What does not keep leases from working, and should not stay so. */
function upkeepTroubles({ reload, backup, clock: system }) {
  const found = [];
  const warn = (title, todo) => found.push({ level: "warn", word: "Look at", title, todo });
  if (reload?.error) warn("The last reload of the configuration failed: the daemon goes on with what it had.", `The next start will fail too: ${reload.error}`);
  if (backup?.error) warn("The last backup failed.", backup.error);
  else if (backup?.as_of && Date.now() - Date.parse(backup.as_of) > BACKUP_OLD_MS) warn(`The newest backup is of ${clock(backup.as_of)}.`, "Make one each night: allotd backup --verify --keep 14");
  if (Math.abs(system?.ahead_seconds ?? 0) > CLOCK_OFF_SECONDS) {
    warn(`The system's clock is ${duration(Math.abs(system.ahead_seconds))} ${system.ahead_seconds > 0 ? "ahead of" : "behind"} the time that leases are counted in.`, "Leases last as long as they were given, but the times that are shown are off. Check the clock: timedatectl");
  }
  return found;
}

function poolTroubles(pools) {
  const each = Object.entries(pools).map(([name, pool]) => troubleOf(name, pool)).filter(Boolean);
  return ["bad", "warn"].flatMap((level) => {
    const those = each.filter((trouble) => trouble.level === level);
    if (those.length <= MAX_POOLS_TOLD) return those;
    const names = those.slice(0, MAX_POOLS_TOLD).map((trouble) => trouble.pool).join(", ");
    const what = level === "bad" ? `Leases from ${count(those.length)} pools fail` : `${count(those.length)} pools are closed, or will soon have no number`;
    return [{ level, title: `${what}: ${names} and ${count(those.length - MAX_POOLS_TOLD)} more.`, todo: "Choose one in the list to see why.", act: level === "bad" ? "only-trouble" : undefined }];
  });
}

const ACTS = { resume: "Resume", round: "Next round", reinstate: "Reinstate", "only-trouble": "Show them" };
const WORDS = { bad: "Problem", warn: "Soon", ok: "All well" };

/** Shows what is wrong, and announces changes to screen readers. Returns whether anything fails. */
export function showStatus(stats, lostSince) {
  const found = troubles(stats, lostSince);
  if (stats && found.length === 0) {
    const pools = Object.keys(stats.pools).length;
    found.push({ level: "ok", title: pools ? `${pools === 1 ? "The pool hands" : `All ${count(pools)} pools hand`} out numbers, and the journal and the disk are healthy.` : "The daemon runs and has no pool yet.", todo: "" });
  }
  const section = byId("status");
  const failing = found.some(({ level }) => level === "bad");
  const key = JSON.stringify(found);
  if (section.dataset.key === key) return failing;
  section.dataset.key = key;
  section.replaceChildren(...found.map(line));
  setText(byId("status-said"), found.map((trouble) => trouble.title).join(" "));
  return failing;
}

function line({ level, word, title, todo, act, pool, code }) {
  const words = make("div", { className: "trouble-words" }, make("p", { className: "trouble-title" }, title));
  if (todo) words.append(make("p", {}, todo));
  const parts = [make("strong", { className: "trouble-word" }, word ?? WORDS[level]), words];
  if (code) words.firstChild.append(" ", make("code", {}, code));
  if (act) parts.push(make("button", { type: "button", "data-act": act, "data-pool": pool ?? "" }, ACTS[act]));
  return make("div", { className: "trouble", "data-level": level }, ...parts);
}
