// The real daemon on a port of its own, with calls, pools and load.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const BINARY = process.env.ALLOTD_BINARY ?? new URL("../../target/debug/allotd", import.meta.url).pathname;
/** No wait of a test is longer, in milliseconds. */
export const PATIENCE_MILLISECONDS = 20_000;

/** Waits until `check` gives something; fails with `what` after the patience. */
export async function until(what, check) {
  const end = Date.now() + PATIENCE_MILLISECONDS;
  let seen;
  while (Date.now() < end) {
    seen = await check();
    if (seen) return seen;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`not in ${PATIENCE_MILLISECONDS} ms: ${what}`);
}

/** What runs, to be ended when a test has failed before it did. */
const running = new Set();

/** Ends what failed tests have left. */
export const endAll = () => running.forEach((child) => child.kill("SIGKILL"));

function start(args, options, tracer = []) {
  const [program, ...all] = [...tracer, BINARY, ...args];
  const child = spawn(program, all, { ...options, env: {} });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

const ended = (child) => new Promise((done) => (child.exitCode ?? child.signalCode) !== null ? done(child.exitCode) : child.once("exit", done));

export class Daemon {
  /** Starts on an address (port 0 picks one) with data in a directory, which is made and removed if it is not given; `tracer` is a command that
   *  runs it. */
  static async start({ address = "127.0.0.1:0", data, flags = [], tracer = [], token } = {}) {
    const daemon = new Daemon();
    daemon.token = token;
    daemon.own = data ? null : await mkdtemp(join(tmpdir(), "allotd-page-"));
    daemon.data = data ?? join(daemon.own, "data");
    const args = ["serve", "--listen", address, "--data", daemon.data, "--journal-file-mib", "2", ...flags];
    daemon.child = start(args, { stdio: ["ignore", "pipe", "inherit"] }, tracer);
    for await (const line of createInterface({ input: daemon.child.stdout })) {
      daemon.address = line.replace("listening on ", "");
      break;
    }
    if (!daemon.address) throw new Error(`the daemon ended with ${daemon.child.exitCode}`);
    daemon.url = `http://${daemon.address}`;
    return daemon;
  }

  async call(method, path, text, type = "text/plain") {
    const shown = this.token ? { authorization: `Bearer ${this.token}` } : {};
    const options = { method, headers: shown, ...(text === undefined ? {} : { body: text, headers: { "content-type": type, ...shown } }) };
    const response = await fetch(this.url + path, options);
    return { status: response.status, json: await response.json() };
  }

  /** Numbers and ranges such as `100-199`, one per line. A text list would not take a range that short. */
  async createPool(name, numbers, settings = "") {
    const row = (line) => `${line.split("-")[0]},${line.split("-").at(-1)}`;
    const csv = ["first,last", ...numbers.split("\n").filter(Boolean).map(row)].join("\n");
    const { status, json } = await this.call("PUT", `/v1/pools/${name}?${settings}`, csv, "text/csv");
    if (status !== 201) throw new Error(JSON.stringify(json));
  }

  lease = (pool, body) => this.call("POST", `/v1/pools/${pool}/lease`, body && JSON.stringify(body), body && "application/json");

  giveBack = (pool, leases, then) =>
    this.call("POST", `/v1/pools/${pool}/return`, JSON.stringify({ leases: leases.map(({ number, token }) => ({ number, token })), then }), "application/json");

  stats = async () => (await this.call("GET", "/v1/stats")).json;

  /** Real load for a time in seconds; resolves at its end. `stop` ends it before. */
  load(pool, seconds, flags = []) {
    const args = ["bench", pool, "--server", this.url, "--seconds", String(seconds), "--warm-up-seconds", "0", ...flags];
    const child = start(args, { stdio: "ignore" });
    return { done: ended(child), stop: () => child.kill("SIGTERM") };
  }

  /** SIGTERM, or another; resolves when it has ended. */
  async end(signal = "SIGTERM") {
    this.child.kill(signal);
    await ended(this.child);
  }

  async stop() {
    await this.end();
    if (this.own) await rm(this.own, { recursive: true });
  }
}
