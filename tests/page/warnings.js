// What the page says that somebody who looks at it alone would read wrongly, if it said less.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "./access.js";
import { Page } from "./browser.js";
import { Daemon, until } from "./daemon.js";
import { change, openWith, withTokens } from "./incidents.js";

const NARROW = { width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const GONE = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_SOCKET|50[23]/;

/** A day of the week that is neither today nor next to it. */
const later = () => ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + 3) % 7];
const CLOSED = () => ({ hours: { rules: [{ days: later(), from: "09:00", to: "21:00" }], zone: "UTC" } });

/** A pool of 1,000 numbers and a list that blocks it, the page on it, and what the stats say changed by `alter`. */
async function start(browser, alter, settings = "") {
  const daemon = await Daemon.start();
  await daemon.call("PUT", "/v1/lists/dnc");
  await daemon.createPool("ru", "1000-1999", `order=lowest&blocked_by=dnc&${settings}`);
  const page = await Page.open(browser(), daemon.url);
  // The disk of this machine may be slow or full, which the page would say.
  const quiet = (stats) => Object.assign(stats, { disk: null, journal: { ...stats.journal, sync_1m_us: null, commit_wait_1m_us: null } });
  if (alter) await page.alter("/v1/stats", (stats) => alter(quiet(stats)));
  return { daemon, page };
}

const refused = (code, count) => ({ [code]: { count, count_1m: count, last_at: new Date().toISOString() } });

export function warningsTests(browser) {
  test("a role that may not see the stats is told so, and can use another token", async () => {
    const { daemon, tokens, end } = await withTokens({ root: ["admin"], shop: ["client"] });
    const page = await Page.open(browser(), daemon.url, { live: false });
    await page.tab.waitForSelector("#token-dialog[open]");
    await page.tab.type("#token-field", tokens.shop);
    await page.click("#token-form button");
    await page.says("#status", /The daemon refuses this page: .*role client.*\s+403 forbidden/);
    assert.ok(!/No response|check whether/i.test(await page.text("#status")));
    await page.says("#live", "refused since");
    await check(page, "refused");
    await page.click("#status button[data-act=token]");
    await page.says("#token-why", "role client");
    await page.tab.type("#token-field", tokens.root);
    await page.click("#token-form button");
    await page.tab.waitForSelector("#live[data-live=yes]");
    await page.says("#pool-name", "ru");
    await page.close(/401|403/);
    await daemon.stop();
    end();
  });

  test("a refusal for other reasons is no silence: its detail is shown, with the old figures", async () => {
    const body = { title: "Overloaded", detail: "as many connections of this address as it serves", code: "overloaded" };
    const { daemon, page } = await start(browser, () => ({ status: 503, body }));
    await page.says("#status", /The daemon refuses this page: as many connections of this address as it serves\.\s+503 overloaded[^]*The figures below are of \d\d:\d\d:\d\d/);
    await page.says("#fig-available", "1,000");
    assert.equal(await page.tab.$("#status button[data-act=token]"), null);
    await page.tab.$eval("#act-pause", (button) => button.click());
    await page.says("#said", "Nothing was done: the daemon refuses this page.");
    await page.close(GONE);
    await daemon.stop();
  });

  test("a daemon that runs and does not answer is not said to be gone", async () => {
    const { daemon, page } = await start(browser, () => null);
    await page.says("#status", /The daemon runs, but does not answer since \d\d:\d\d:\d\d\.[^]*Its disk may hang/);
    assert.ok(!/check whether it runs/i.test(await page.text("#status")));
    await page.close(GONE);
    await daemon.stop();
  });

  test("most are blocked, three are leased: the lists come first", async () => {
    const { daemon, page } = await start(browser, null, "ttl=600");
    await daemon.lease("ru", { count: 3 });
    await daemon.call("POST", "/v1/lists/dnc/numbers", "first,last\n1000,1999", "text/csv");
    const said = await page.says("#status", /997 of 1,000 are blocked by lists, 3 are leased\.[^]*Its lists: dnc \(1,000, /);
    assert.ok(!/--ttl|earliest/.test(said), "shorter leases would change nothing, and what is leased is on the list too");
    await page.says("#fig-next", "never");
    await page.says("#fig-next-of", "without an operator or a return");
    await daemon.call("POST", "/v1/lists/dnc/remove", "first,last\n1000,1002", "text/csv");
    await page.says("#status", /The first lease ends at \d\d:\d\d:\d\d at the earliest/);
    await page.says("#fig-next", /in \d+ min/);
    await page.close();
    await daemon.stop();
  });

  test("most are retired, or done: that comes first, with its button", async () => {
    const { daemon, page } = await start(browser, null, "ttl=600");
    const { json } = await daemon.lease("ru", { count: 203 });
    await daemon.giveBack("ru", json.leases.slice(0, 200), "done");
    await daemon.call("POST", "/v1/pools/ru/retire", "first,last\n1203,1999", "text/csv");
    await page.says("#status", /797 of 1,000 are retired, 200 are done, 3 are leased\.[^]*Reinstate some\. Start the next round: it makes 200 numbers available/);
    assert.ok(await page.tab.$("#status button[data-act=reinstate]"));
    await page.close();
    await daemon.stop();
  });

  test("hours that begin promise nothing, if every number is blocked", async () => {
    const { daemon, page } = await start(browser);
    await change(daemon, "ru", CLOSED());
    await page.says("#status", /CLOSED[^]*Leases are refused until then\./);
    await daemon.call("POST", "/v1/lists/dnc/numbers", "first,last\n1000,1999", "text/csv");
    const said = await page.says("#status", /all of its numbers are blocked by lists \(1,000\)[^]*Its hours, which are over too, do not change that/);
    assert.ok(!said.includes("until then"));
    await page.says("#fig-next", "never");
    await page.close();
    await daemon.stop();
  });

  test("hours that begin promise nothing of those that are leased then", async () => {
    const { daemon, page } = await start(browser, null, "ttl=600");
    await daemon.lease("ru", { count: 1000 });
    await change(daemon, "ru", CLOSED());
    await page.says("#status", /CLOSED[^]*Leases are refused until then, and longer unless a lease or a rest has ended/);
    await page.close();
    await daemon.stop();
  });

  test("the next number may be one that is closed now", async () => {
    const opens = new Date(Date.now() + 3_600_000).toISOString();
    const figures = { available: 0, closed: 400, blocked: 600, open: 600, next_available_at: null, next_open_at: opens };
    const { daemon, page } = await start(browser, ({ pools }) => void Object.assign(pools.ru, figures));
    await page.says("#status", /600 of 1,000 are blocked by lists, 400 are outside their hours\.[^]*The first of the closed ones open at/);
    await page.says("#fig-next", /in (59 min|1 h)/);
    await page.close();
    await daemon.stop();
  });

  test("many leases find none, though there are numbers", async () => {
    let many = 0;
    const { daemon, page } = await start(browser, ({ pools }) => void (pools.ru.refusals = refused("exhausted", many)));
    many = 9;
    await page.says("#pool-refusals", /exhausted\s+no number was available for the lease\s+9\s+9/);
    await page.says("#status", "ALL WELL");
    many = 40;
    await page.says("#status", /LOOK AT[^]*40 leases of ru found no number in the last minute, though 1,000 can be leased now[^]*prefixes \(within\)/);
    await page.says("#fig-next-of", "but not for every call");
    await page.close();
    await daemon.stop();
  });

  test("many calls are refused for what callers do wrong", async () => {
    const codes = { stale: "have them renew", bad_request: "made wrong", pool_not_found: "never was" };
    const { daemon, page } = await start(browser, (stats) => void Object.keys(codes).forEach((code) => Object.assign(stats.refusals, refused(code, 90))));
    for (const [code, todo] of Object.entries(codes)) await page.says("#status", new RegExp(`More than one call a second is refused with ${code}: [^]*${todo}`));
    await page.close();
    await daemon.stop();
  });

  test("a call too many waits: overloaded says so for the pool", async () => {
    const { daemon, page } = await start(browser, ({ pools }) => void (pools.ru.refusals = refused("overloaded", 1)));
    await page.says("#pool-refusals", /overloaded\s+as many calls wait for a number as max_waiters allows/);
    await page.close();
    await daemon.stop();
  });

  test("a slow disk, and one that hangs", async () => {
    const journal = {};
    const { daemon, page } = await start(browser, (stats) => void Object.assign(stats.journal, { sync_1m_us: { p50: 900, p99: 90_000 }, commit_wait_1m_us: null, waiting_seconds: 0 }, journal));
    await page.says("#status", "the journal and the disk are healthy");
    await page.says("#journal", /A sync takes[^]*900 µs, p99 90 ms[^]*A response waits[^]*–/);
    journal.sync_1m_us = { p50: 80_000, p99: 90_000 };
    await page.says("#status", /The disk is slow: a sync takes 80 ms, p99 90 ms, leases wait for it/);
    journal.sync_1m_us = null;
    journal.commit_wait_1m_us = { p50: 400_000, p99: 1_200_000 };
    await page.says("#status", /The disk is slow[^]*They waited 400 ms, p99 1\.2 s in the last minute/);
    journal.waiting_seconds = 7.2;
    await page.says("#status", /PROBLEM[^]*A write to the disk has not ended for 7 s: nothing is confirmed meanwhile[^]*leases go on when it ends/);
    await page.says("#fig-next", "not now");
    await page.close();
    await daemon.stop();
  });

  test("a daemon that begins again and again is said to", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119");
    const page = await Page.open(browser(), daemon.url);
    const { address, data } = daemon;
    let running = daemon;
    for (const told of ["1 time", "2 times"]) {
      await new Promise((done) => setTimeout(done, 3000));
      await running.end("SIGKILL");
      running = await Daemon.start({ address, data });
      await page.says("#status", new RegExp(`The daemon has been restarted ${told} since this page was opened, last at \\d\\d:\\d\\d:\\d\\d`));
    }
    await running.end();
    rmSync(daemon.own, { recursive: true });
    await page.close(GONE);
  });

  test("no backup, and how old the last good one is", async () => {
    const backup = { at: null, error: null, name: null, as_of: null };
    let uptime = 23 * 3600;
    const { daemon, page } = await start(browser, (stats) => void Object.assign(stats, { backup, uptime_seconds: uptime }));
    await page.says("#about", "up 23 h");
    await page.says("#status", "ALL WELL");
    uptime = 25 * 3600;
    await page.says("#status", /There is no backup\.\s+Make one each night/);
    const old = new Date(Date.now() - 3 * 86_400_000).toISOString();
    Object.assign(backup, { at: new Date().toISOString(), error: "no space", name: "monday", as_of: old });
    await page.says("#status", /The last backup failed\.\s+no space\. The newest good one is of \d+ \w+ \d{4} \d\d:\d\d:\d\d/);
    await page.says("#process", /failed (now|\d+ s ago); last good one: monday, 3 d ago/);
    await page.close();
    await daemon.stop();
  });

  test("one of three holders has nearly all", async () => {
    const { daemon, page } = await start(browser, null, "holders=true");
    await daemon.lease("ru", { count: 96, holder: "dialer-7" });
    for (const holder of ["dialer-1", "dialer-2"]) await daemon.lease("ru", { count: 2, holder });
    await page.says("#holders", /dialer-7\s+96/);
    assert.ok(!(await page.text("#status")).includes("dialer-7"), "of 1,000 numbers that is little");
    await daemon.lease("ru", { count: 10, holder: "dialer-7" });
    await page.says("#status", "dialer-7 has more leases of ru than all others together");
    await page.close();
    await daemon.stop();
  });

  test("what another operator changes is there with the next figures, and its age goes on", async () => {
    const { daemon, page } = await start(browser);
    await page.says("#settings", "5 min, at most");
    await change(daemon, "ru", { ttl: 777 });
    await page.says("#settings", "12 min 57 s, at most");
    await page.says("#changes", /change pool: ru\s+.*[4-9] s ago/);
    await daemon.call("PUT", "/v1/lists/second");
    await change(daemon, "ru", { blocked_by: ["dnc", "second"] });
    await page.says("#lists-table tbody tr:nth-child(2)", /second\s+0\s+[^]*ru/);
    await page.close();
    await daemon.stop();
  });

  test("on a phone, who changed what and the buttons of lists are in sight", async () => {
    const { daemon, page } = await start(browser);
    await change(daemon, "ru", { hours: { rules: ["mon", "tue", "wed", "thu"].map((days) => ({ days, from: "09:00", to: "21:00" })), zone: "Europe/Moscow" } });
    await page.says("#changes", "change pool: ru");
    const wide = (selector) => page.tab.$eval(selector, (cell) => cell.getBoundingClientRect().right <= cell.closest(".scroll").getBoundingClientRect().right);
    assert.ok(await wide("#changes tbody td:last-child"), "on a desktop all of it");
    await page.tab.setViewport(NARROW);
    await until("when and by whom", async () => (await wide("#changes tbody td:nth-child(3)")) && wide("#lists-table button[data-act=list-delete]"));
    await page.close();
    await daemon.stop();
  });

  test("with a token, no list in sight may be one that it does not see", async () => {
    const { daemon, tokens, end } = await withTokens({ root: ["admin"] });
    const page = await openWith(browser, daemon, tokens.root);
    await page.says("#lists-none", "There is no list, or your token does not see lists.");
    await page.close(/401|403/);
    await daemon.stop();
    end();
  });

  test("a CSV with a column and an encoding of its own; what is typed beside a file does not count, and is said not to", async () => {
    const { daemon, page } = await start(browser);
    const directory = mkdtempSync(join(tmpdir(), "allotd-page-"));
    const file = join(directory, "numbers.csv");
    writeFileSync(file, Buffer.from("имя;phone\nа;79120000001\nб;79120000002\n", "utf16le"));
    await page.click("#main button[data-act=add]");
    await page.tab.type("#dialog-numbers", "5\n");
    await (await page.tab.$("#dialog-file")).uploadFile(file);
    await page.says("#dialog-typed", "The file is taken, not what is typed");
    await page.click("#dialog-list summary");
    await page.tab.type("#dialog-region", "ru");
    await page.tab.type("#dialog-column", "phone");
    await page.tab.type("#dialog-encoding", "utf-16le");
    await check(page, "a file");
    await page.click("#dialog-do");
    await page.says("#dialog-check", /Would be added: 2 numbers[^]*from 79120000001 to 79120000002/);
    await page.close(/400/);
    await daemon.stop();
    rmSync(directory, { recursive: true });
  });

  test("returns are told by outcome beside the returns, and the axis of a pool that rests has whole numbers", async () => {
    const { daemon, page } = await start(browser, null, "holders=true");
    await change(daemon, "ru", { outcomes: { answered: "done" } });
    const { json } = await daemon.lease("ru");
    await daemon.call("POST", "/v1/pools/ru/return", JSON.stringify({ leases: json.leases.map(({ number, token }) => ({ number, token })), outcome: "answered" }), "application/json");
    await page.says("#totals", /Returns\s+1\s+Returns by outcome\s+answered 1/);
    await page.tab.evaluate(() => {
      globalThis.drawn = new Set();
      const { fillText } = CanvasRenderingContext2D.prototype;
      CanvasRenderingContext2D.prototype.fillText = function (text, ...where) {
        globalThis.drawn.add(text);
        return fillText.call(this, text, ...where);
      };
    });
    const axis = () => page.tab.evaluate(() => [...globalThis.drawn].filter((text) => /^[\d.,]+$/.test(text)));
    await until("the axis is drawn", async () => (await axis()).includes("4"));
    assert.deepEqual((await axis()).filter((text) => text.includes(".")), []);
    await page.close();
    await daemon.stop();
  });
}
