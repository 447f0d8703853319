// The daemon itself: its refusals and calls, its journal, disk, connections and memory.

import { byId, setFacts, setRows, setShown, setText } from "./dom.js";
import { bytes, count, duration, micros, rate, relative, share, usual } from "./format.js";
import { showRefusals } from "./refusals.js";
import { placesOf } from "./status.js";

const JOURNAL_STATES = {
  ok: "well",
  full: "the disk is full: changes are refused",
  poisoned: "failed: nothing more is confirmed",
};

export function showDaemon(stats) {
  setText("about", `${stats.version} · up ${duration(stats.uptime_seconds)} · durability ${stats.durability}`);
  showRefusals("refusals", stats.refusals);
  showRequests(stats.requests);
  showCallers(stats.principals);
  showJournal(stats.journal);
  const { disk } = stats;
  showDiskBar(disk);
  setFacts("process", [
    ["Free on the disk", bytes(disk?.free_bytes), "where the data directory is"],
    ["Size of the disk", bytes(disk?.total_bytes)],
    ["Memory", bytes(stats.memory.resident_bytes), "resident, mapped files included"],
    ...(stats.backup ? [["Last backup", backupInWords(stats.backup)]] : []),
    ["Open connections", `${count(stats.connections.open)} of ${count(placesOf(stats.connections))}`, "over TCP; more are kept for Unix sockets"],
    ["Accepted connections", count(stats.connections.accepted), "since the daemon started"],
  ]);
}

function backupInWords({ at, error, name, as_of: asOf }) {
  const good = asOf ? `${name}, ${relative(asOf)}` : "none";
  return error ? `failed ${relative(at)}; last good one: ${good}` : good;
}

function showRequests(requests) {
  const rows = Object.entries(requests)
    .filter(([, { count: all }]) => all > 0)
    .map(([name, { count: all, by_status: statuses, latency_us: latency }]) => {
      const good = Object.entries(statuses).filter(([status]) => status < 400).reduce((sum, [, value]) => sum + value, 0);
      return { key: name, cells: [name, count(good), count(all - good), micros(latency.p50), micros(latency.p99), micros(latency.max)] };
    });
  setRows("requests", rows);
}

/** Who calls, if the daemon has tokens: those that lease most first. */
function showCallers(principals) {
  setShown("callers-card", Boolean(principals));
  const rows = Object.entries(principals ?? {})
    .sort(([a, left], [b, right]) => right.leases - left.leases || right.requests - left.requests || a.localeCompare(b))
    .map(([name, { requests, refusals, leases }]) => ({ key: name, cells: [name, count(requests), count(refusals), count(leases)] }));
  setRows("callers", rows);
}

function showJournal(journal) {
  const { sync_1m_us: sync, commit_wait_1m_us: wait, checkpoint_age_seconds: age } = journal;
  setText("journal-state", JOURNAL_STATES[journal.state] ?? "");
  setFacts("journal", [
    ["A sync takes", usual(sync), "in the last minute, until the disk confirms what was written"],
    ["A response waits", usual(wait), "in the last minute, until its change is committed"],
    ["Records per sync", rate(journal.records_per_sync), "more under load, as changes share a sync"],
    ["Not yet synced", count(journal.unsynced_records)],
    ["Last checkpoint", age === null ? "none yet" : `${duration(age)} ago`, `${count(journal.checkpoints)} in all`],
    ["Written", `${bytes(journal.bytes)}, ${count(journal.files)} files`],
  ]);
}

function showDiskBar(disk) {
  const known = Boolean(disk?.total_bytes);
  const used = known ? disk.total_bytes - disk.free_bytes : 0;
  setText("disk-state", known ? `${share(used, disk.total_bytes)} of the disk used` : "");
  const width = known ? `${((100 * used) / disk.total_bytes).toFixed(1)}%` : "0";
  if (byId("disk-bar").style.width !== width) byId("disk-bar").style.width = width;
}
