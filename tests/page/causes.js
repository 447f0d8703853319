// Why leases fail is read from the page alone.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Page } from "./browser.js";
import { Daemon, until } from "./daemon.js";

const SMALL_DISK_BYTES = 24 << 20;
/** What the browser says of a daemon that is gone. */
const GONE = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_SOCKET|503/;

/** A pool of 20 numbers and the page on it. */
async function start(browser, settings) {
  const daemon = await Daemon.start();
  await daemon.createPool("ru", "100-119", settings);
  return { daemon, page: await Page.open(browser(), daemon.url) };
}

async function refused(daemon, page, code) {
  assert.equal((await daemon.lease("ru")).json.code, code);
  await page.says("#status", code);
  await page.says("#refusals", new RegExp(`${code}[^]*ago|${code}[^]*now`));
  await page.says("#pool-refusals", new RegExp(`${code}[^]*(ago|now)`));
  await page.says("#pool-latency", /half took at most [\d.,]+ (µs|ms)/);
}

export function causesTests(browser) {
  test("all leased: says when the next lease ends", async () => {
    const { daemon, page } = await start(browser, "ttl=500");
    await daemon.lease("ru", { count: 20 });
    await page.says("#status", /PROBLEM[^]*all of its numbers are leased \(20\)[^]*The first lease ends at ([^:]+ )?\d\d:\d\d:\d\d/);
    await page.says("#fig-next", /in 8 min/);
    await page.says("#fig-exhaustion", "now");
    await refused(daemon, page, "exhausted");
    await page.close();
    await daemon.stop();
  });

  test("all resting: says until when", async () => {
    const { daemon, page } = await start(browser, "ttl=900&rest=400");
    const { json } = await daemon.lease("ru", { count: 20 });
    await daemon.giveBack("ru", json.leases);
    await page.says("#status", /all of its numbers are resting \(20\)[^]*The first rest ends at ([^:]+ )?\d\d:\d\d:\d\d/);
    await page.says("#fig-next", /in 6 min/);
    await refused(daemon, page, "exhausted");
    await page.close();
    await daemon.stop();
  });

  test("leased and resting, some done: says both, and offers the next round", async () => {
    const { daemon, page } = await start(browser, "ttl=500");
    const { json } = await daemon.lease("ru", { count: 20 });
    await daemon.giveBack("ru", json.leases.slice(0, 5), { rest: 300 });
    await daemon.giveBack("ru", json.leases.slice(5, 9), "done");
    await page.says("#status", /11 of 20 are leased, 5 are resting, 4 are done[^]*it makes 4 numbers available/);
    await page.click("#status button[data-act=round]");
    await page.confirm("4 numbers available");
    await page.well();
    await page.close();
    await daemon.stop();
  });

  test("all done, all retired", async () => {
    const { daemon, page } = await start(browser);
    const { json } = await daemon.lease("ru", { count: 20 });
    await daemon.giveBack("ru", json.leases, "done");
    await page.says("#status", "all of its numbers are done (20)");
    await daemon.call("POST", "/v1/pools/ru/retire", "first,last\n100,119", "text/csv");
    await page.says("#status", "all of its numbers are retired (20)");
    await until("no time of a next number", async () => (await page.text("#fig-next")) === "never");
    await page.close();
    await daemon.stop();
  });

  test("paused", async () => {
    const { daemon, page } = await start(browser);
    await daemon.call("POST", "/v1/pools/ru/pause");
    await page.says("#status", "the pool is paused");
    await refused(daemon, page, "paused");
    await page.close();
    await daemon.stop();
  });

  test("many pools in trouble are told of together", async () => {
    const daemon = await Daemon.start();
    for (let index = 0; index < 9; index++) {
      await daemon.createPool(`p${index}`, "1-2");
      if (index > 3) await daemon.call("POST", `/v1/pools/p${index}/pause`);
    }
    const page = await Page.open(browser(), daemon.url);
    await page.says("#status", /Leases from 5 other pools fail: 5 paused\.[^]*See why: p4, p5, p6 and 2 more/);
    await page.click("#status button");
    await page.says("#pools-count", "5 of 9");
    await page.click("#status a");
    await page.says("#pool-name", "p4");
    await page.says("#status", /Leases from p4 fail: the pool is paused[^]*Leases from 4 other pools fail: 4 paused/);
    await page.close();
    await daemon.stop();
  });

  test("the daemon is gone, and comes back", async () => {
    const { daemon, page } = await start(browser);
    const { address, data } = daemon;
    await daemon.end("SIGKILL");
    await page.says("#status", /No response from the daemon since \d\d:\d\d:\d\d/);
    await page.says("#live", "no response since");
    const again = await Daemon.start({ address, data });
    await page.well();
    await again.end();
    rmSync(daemon.own, { recursive: true });
    await page.close(GONE);
  });

  test("the journal cannot be written", async (t) => {
    const strace = "/usr/bin/strace";
    try {
      execFileSync(strace, ["-f", "-o", "/dev/null", "true"], { stdio: "pipe" });
    } catch (error) {
      return t.skip(`strace is not there or may not trace: ${error}`);
    }
    // Injected errors of the disk, as in tests/daemon/io_faults.rs; the daemon is the child of this process.
    const fault = "pwrite64:error=EIO:when=40+";
    const daemon = await Daemon.start({ tracer: [strace, "-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", `inject=${fault}`] });
    await daemon.createPool("ru", "100-10099");
    const page = await Page.open(browser(), daemon.url);
    await page.well();
    const load = daemon.load("ru", 10, ["--connections", "2"]);
    await page.says("#status", /The journal cannot be written|No response from the daemon since [^]*if its disk failed, it has stopped/);
    await load.done;
    await until("the daemon has ended", () => daemon.child.exitCode === 1);
    await daemon.stop();
    await page.close(GONE);
  });

  test("the disk is full, and has room again", async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "allotd-page-"));
    const disk = join(directory, "disk");
    mkdirSync(disk);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${SMALL_DISK_BYTES}`, "tmpfs", disk], { stdio: "pipe" });
    } catch (error) {
      rmSync(directory, { recursive: true });
      return t.skip(`a file system cannot be mounted here, run as root: ${error.stderr}`);
    }
    try {
      await fullDisk(browser, disk);
    } finally {
      execFileSync("umount", ["--lazy", disk]);
      rmSync(directory, { recursive: true });
    }
  });
}

/** Fills the disk to its last byte and leases until the journal needs a new file. */
async function fullDisk(browser, disk) {
  const daemon = await Daemon.start({ data: join(disk, "data") });
  await daemon.createPool("ru", "100-60099", "ttl=60");
  const page = await Page.open(browser(), daemon.url);
  const ballast = openSync(join(disk, "ballast"), "w");
  const block = Buffer.alloc(4096, 1);
  try {
    for (;;) writeSync(ballast, block);
  } catch (error) {
    assert.equal(error.code, "ENOSPC");
  }
  await page.says("#status", "The disk of the data directory is nearly full");
  const load = daemon.load("ru", 60, ["--mix", "lease+return", "--connections", "32", "--count", "100"]);
  await page.says("#status", /The disk is full: leases fail\.[^]*Free some space/);
  await page.says("#refusals", "storage_full");
  load.stop();
  await load.done;
  ftruncateSync(ballast, 0);
  closeSync(ballast);
  await page.well();
  assert.equal((await daemon.lease("ru")).status, 200);
  await page.close();
  await daemon.end();
}
