// Incidents that are found on the page, with their cause, by somebody who has nothing else: the table in docs/operations/page.md.

import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Page } from "./browser.js";
import { BINARY, Daemon } from "./daemon.js";

const FAKETIME = ["x86_64", "aarch64"].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`).find(existsSync);
/** A page that asks for a token is refused once before. */
const REFUSED = /401|403|503/;
/** A trend needs five intervals of five seconds. */
const DRAIN_SECONDS = 32;

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
export const change = (daemon, pool, settings) => daemon.call("PATCH", `/v1/pools/${pool}`, JSON.stringify(settings), "application/json");

/** A daemon whose callers have tokens: by name a role and the other flags of `allotd token new`. */
export async function withTokens(principals) {
  const directory = mkdtempSync(join(tmpdir(), "allotd-tokens-"));
  const file = join(directory, "tokens.toml");
  const tokens = {};
  let entries = "";
  for (const [name, [role, ...flags]] of Object.entries(principals)) {
    const out = join(directory, name);
    entries += execFileSync(BINARY, ["token", "new", name, "--role", role, "--pools", "*", "--out", out, ...flags], { env: {} });
    tokens[name] = readFileSync(out, "utf8").trim();
  }
  writeFileSync(file, entries, { mode: 0o600 });
  const daemon = await Daemon.start({ flags: ["--tokens", file], token: tokens.root });
  await daemon.createPool("ru", "100-199");
  return { daemon, tokens, file, end: () => rmSync(directory, { recursive: true }) };
}

export async function openWith(browser, daemon, token) {
  const page = await Page.open(browser(), daemon.url, { live: false });
  await page.tab.waitForSelector("#token-dialog[open]");
  await page.tab.type("#token-field", token);
  await page.click("#token-form button");
  await page.tab.waitForSelector("#live[data-live=yes]");
  return page;
}

export function incidentsTests(browser) {
  test("incident: somebody paused a pool", async () => {
    const { daemon, tokens, end } = await withTokens({ root: ["admin"], night: ["operator"] });
    const page = await openWith(browser, daemon, tokens.root);
    daemon.token = tokens.night;
    await daemon.call("POST", "/v1/pools/ru/pause?reason=carrier%20is%20down");
    await page.says("#status", /the pool is paused[^]*Paused by night at \d\d:\d\d:\d\d\. The reason: “carrier is down”/);
    await page.close(REFUSED);
    await daemon.stop();
    end();
  });

  test("incident: a pool drains", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-2099", "ttl=3600");
    for (const end = Date.now() + 1000 * DRAIN_SECONDS; Date.now() < end; await pause(0.2)) await daemon.lease("ru", { count: 2 });
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /ru will have no number in about [^,]+, at the current pace\.\s+More are leased than come back/);
    await page.close();
    await daemon.stop();
  });

  test("incident: a list took every number", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "1000000-1000099");
    for (const list of ["dnc", "optouts"]) await daemon.call("PUT", `/v1/lists/${list}`);
    await change(daemon, "ru", { blocked_by: ["dnc", "optouts"] });
    await daemon.call("POST", "/v1/lists/dnc/numbers", "1000000-1000099");
    await daemon.lease("ru");
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /all of its numbers are blocked by lists \(100\)[^]*Its lists: dnc \(100, changed last at \d\d:\d\d:\d\d\), optouts \(0, /);
    await page.close();
    await daemon.stop();
  });

  test("incident: hours leave no number open", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119");
    const later = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + 3) % 7];
    await change(daemon, "ru", { hours: { rules: [{ days: later, from: "09:00", to: "21:00" }], zone: "UTC" } });
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /CLOSED[^]*ru is outside its hours until [^]*\d\d:00:00/);
    await page.says("#hours-rules", later);
    await page.says("#changes", /change pool: ru\s+.*(ago|now)[^]*hours: /);
    await page.close();
    await daemon.stop();
  });

  test("incident: a backup failed", async () => {
    const daemon = await Daemon.start({ flags: ["--backup-dir", "/proc/allotd"] });
    await daemon.createPool("ru", "100-119");
    await daemon.call("POST", "/v1/backup");
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /LOOK AT[^]*The last backup failed\.\s+\S+/);
    await page.says("#status", "There is no good one");
    await page.says("#process", /Last backup\s+failed (\d+ s ago|now); last good one: none/);
    await page.close();
    await daemon.stop();
  });

  test("incident: tokens end, and an unknown caller tries again and again", async () => {
    const { daemon, tokens, end } = await withTokens({ root: ["admin"], shop: ["client", "--expires", "2d"] });
    daemon.token = "alt_wrong";
    for (let call = 0; call < 80; call++) await daemon.lease("ru");
    daemon.token = tokens.root;
    const page = await openWith(browser, daemon, tokens.root);
    await page.says("#status", /The tokens of shop end at [^]*From then on its calls are refused/);
    await page.says("#status", /More than one call a second is refused with unauthorized: no token, or a wrong one[^]*access_refused/);
    await page.close(REFUSED);
    await daemon.stop();
    end();
  });

  test("incident: a reload failed", async () => {
    const { daemon, tokens, file, end } = await withTokens({ root: ["admin"] });
    writeFileSync(file, `${readFileSync(file, "utf8")}\n[[token]]\nname = "shop"\n`);
    daemon.child.kill("SIGHUP");
    const page = await openWith(browser, daemon, tokens.root);
    await page.says("#status", /The last reload of the configuration failed[^]*tokens\.toml[^]*shop/);
    await page.close(REFUSED);
    await daemon.stop();
    end();
  });

  test("incident: one holder has most leases", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-1099", "holders=true");
    await daemon.lease("ru", { count: 500, holder: "dialer-7" });
    for (let other = 1; other < 6; other++) await daemon.lease("ru", { count: 20, holder: `dialer-${other}` });
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /dialer-7 has more leases of ru than all others together[^]*allotd pool return-holder ru dialer-7[^]*max_per_holder/);
    await page.says("#holders", /dialer-7\s+500\s+83\.3 %/);
    await page.close();
    await daemon.stop();
  });

  test("incident: calls wait, and nobody returns", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119", "ttl=600");
    await daemon.lease("ru", { count: 20 });
    const calls = Array.from({ length: 30 }, () => daemon.lease("ru", { wait: 40 }).catch(() => {}));
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /all of its numbers are leased \(20\)[^]*Calls wait for a number: “Exhausted in” says how many/);
    await page.says("#fig-exhaustion-of", "30 calls waiting, the first for");
    await page.close();
    await daemon.stop();
    await Promise.all(calls);
  });

  test("incident: connections are nearly used up", async () => {
    const daemon = await Daemon.start({ flags: ["--max-connections", "100"] });
    await daemon.createPool("ru", "100-119");
    const [host, port] = daemon.address.split(":");
    const open = Array.from({ length: 62 }, (_, index) => {
      const socket = connect({ host, port: Number(port), localAddress: `127.0.0.${2 + (index % 2)}` });
      socket.on("error", () => {});
      socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
      return socket;
    });
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /Most of the 75 connections that the daemon serves over TCP are open[^]*Have callers keep theirs/);
    await page.says("#process", /Open connections[^]*6\d of 75/);
    await page.close();
    open.forEach((socket) => socket.destroy());
    await daemon.stop();
  });

  test("incident: the clock was set back", async (t) => {
    if (!FAKETIME) return t.skip("libfaketime is not there");
    const clock = join(mkdtempSync(join(tmpdir(), "allotd-clock-")), "clock");
    writeFileSync(clock, "+0\n");
    const tracer = ["/usr/bin/env", `LD_PRELOAD=${FAKETIME}`, `FAKETIME_TIMESTAMP_FILE=${clock}`, "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1"];
    const daemon = await Daemon.start({ tracer });
    await daemon.createPool("ru", "100-119");
    const page = await Page.open(browser(), daemon.url);
    writeFileSync(clock, "-7200\n");
    await page.says("#status", /The system's clock is 2 h behind the time that leases are counted in[^]*Hours of pools and times of leases, events and refusals follow that time; those of backups and of the log follow the system's clock/);
    await page.close();
    await daemon.stop();
    rmSync(join(clock, ".."), { recursive: true });
  });

  test("incident: damage has cost the states of numbers", async () => {
    const first = await Daemon.start();
    await first.createPool("ru", "100000-100999");
    await first.end();
    const words = openSync(join(first.data, "pools/ru/0001.words"), "r+");
    writeSync(words, Buffer.alloc(8, 0x55), 0, 8, 1048);
    closeSync(words);
    const daemon = await Daemon.start({ data: first.data, flags: ["--recover-damaged"] });
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /64 numbers of ru were retired, as damage has lost what they were[^]*on the list given-up-ru/);
    await page.close();
    await daemon.end();
    rmSync(first.own, { recursive: true });
  });
}
