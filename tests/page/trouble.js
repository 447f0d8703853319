// What someone sees who opens the page in trouble: whose it is, why, and nothing that is not so.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { check } from "./access.js";
import { DESKTOP, Page, PHONE } from "./browser.js";
import { Daemon, until } from "./daemon.js";

const GONE = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_SOCKET/;
const seen = (page, selector) => page.tab.$eval(selector, (element) => element.checkVisibility());

/** Eight pools: one that is well, three that are paused, and one each that is leased, done, retired and empty of open numbers. */
async function eight() {
  const daemon = await Daemon.start();
  for (const name of ["well", "p1", "p2", "p3", "leased", "done", "retired", "resting"]) await daemon.createPool(name, "100-119", "ttl=5000");
  for (const name of ["p1", "p2", "p3"]) await daemon.call("POST", `/v1/pools/${name}/pause`);
  for (const name of ["leased", "done", "resting"]) {
    const { json } = await daemon.lease(name, { count: 20 });
    if (name !== "leased") await daemon.giveBack(name, json.leases, name === "done" ? "done" : { rest: 4000 });
  }
  await daemon.call("POST", "/v1/pools/retired/retire", "first,last\n100,119", "text/csv");
  return daemon;
}

export function troubleTests(browser) {
  test("a pool that is gone is said to be gone, and nothing of another pool is there", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119");
    const page = await Page.open(browser(), daemon.url, { path: "/#pool=gone" });
    await page.says("#gone", /There is no pool “gone”[^]*Choose one of the 1 pool in the list/);
    for (const selector of ["#pool", "#act-pause", "#lookup", "#settings-card"]) assert.equal(await seen(page, selector), false, selector);
    assert.equal(await page.tab.title(), "gone · allotd");
    await check(page, "gone");
    await page.click("#pools-list a");
    await page.says("#pool-name", "ru");
    assert.equal(await seen(page, "#gone"), false);
    // A pool that is deleted while it is looked at, and comes back.
    await page.tab.evaluate(() => (location.hash = "#pool=ru"));
    await page.says("#pool-name", "ru");
    await daemon.call("DELETE", "/v1/pools/ru");
    await page.says("#gone", /There is no pool “ru”[^]*There is no other pool/);
    await daemon.createPool("ru", "100-119");
    await until("it is shown", () => seen(page, "#act-pause"));
    await page.close(/404/);
    await daemon.stop();
  });

  test("with seven pools in trouble each one says why, and the others share a line", async () => {
    const daemon = await eight();
    const page = await Page.open(browser(), daemon.url, { path: "/#pool=well" });
    await page.says("#status", /Leases from 7 other pools fail: 1 all done, 1 all leased, 3 paused, 1 all resting, 1 all retired\./);
    assert.equal(await page.tab.$$eval("#status .trouble[data-level=bad]", (lines) => lines.length), 1, "one line");
    for (const [name, why, note] of [
      ["p1", "Leases from p1 fail: the pool is paused", "paused"],
      ["leased", "all of its numbers are leased (20)", "all leased"],
      ["done", "all of its numbers are done (20)", "all done"],
      ["retired", "all of its numbers are retired (20)", "all retired"],
      ["resting", "all of its numbers are resting (20)", "all resting"],
    ]) {
      await page.tab.evaluate((pool) => (location.hash = `#pool=${pool}`), name);
      await page.says("#pool-name", name);
      await page.says("#status", why);
      await page.says("#status", "Leases from 6 other pools fail");
      await page.says("#pools-list a[aria-current]", note);
    }
    await page.close();
    await daemon.stop();
  });

  test("several pools are resumed together", async () => {
    const daemon = await eight();
    const page = await Page.open(browser(), daemon.url);
    await page.click("#resume-several");
    await page.says("#dialog-fields", /p1\s*p2\s*p3/);
    await check(page, "resume several");
    await page.click("#dialog-pools input[value=p2]");
    await page.confirm("2 pools hand out numbers again");
    const { pools } = await daemon.stats();
    assert.deepEqual(["p1", "p2", "p3"].map((name) => pools[name].paused), [false, true, false]);
    await until("one is not several", async () => !(await seen(page, "#resume-several")));
    await page.close();
    await daemon.stop();
  });

  test("while the daemon is dead nothing is said of now, and no button opens", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119");
    await daemon.call("PUT", "/v1/lists/optouts", "5\n");
    const page = await Page.open(browser(), daemon.url);
    await page.says("#fig-next-of", "a lease succeeds at once");
    await page.says("#lists-table", "optouts");
    const { address, data } = daemon;
    await daemon.end("SIGKILL");
    await page.says("#status", "No response from the daemon");
    await page.says(".figures", /20[^]*when the daemon responded last[^]*not known now/);
    assert.ok(!/at once\b|hands? out numbers/.test(await page.text(".figures")));
    assert.ok(!(await page.text("#status")).includes("ALL WELL"));
    const acts = await page.tab.$$("button[data-act]");
    for (const button of acts) {
      if (!(await button.isVisible())) continue;
      assert.equal(await button.evaluate((element) => element.getAttribute("aria-disabled")), "true");
      await button.evaluate((element) => element.click());
      assert.equal(await page.tab.$("#dialog[open]"), null);
    }
    await page.says("#said", "Nothing was done: no response from the daemon since");
    await check(page, "dead");
    const again = await Daemon.start({ address, data });
    await page.well();
    await page.says("#fig-next-of", "a lease succeeds at once");
    await page.click("#act-pause");
    await page.confirm("ru is paused");
    await again.end();
    rmSync(daemon.own, { recursive: true });
    await page.close(GONE);
  });

  test("a dialog that was open when the daemon died says so", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119");
    const page = await Page.open(browser(), daemon.url);
    await page.click("#act-pause");
    await page.tab.waitForSelector("#dialog[open]");
    await daemon.end("SIGKILL");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "No response from the daemon");
    rmSync(daemon.own, { recursive: true });
    await page.close(GONE);
  });

  test("on a phone messages are folded and the pool is not pushed away", async () => {
    const daemon = await eight();
    const page = await Page.open(browser(), daemon.url, { viewport: PHONE, path: "/#pool=leased" });
    await page.says("#status", "all of its numbers are leased (20)");
    assert.equal(await page.tab.$$eval("#status > .trouble", (lines) => lines.length), 1);
    await page.says("#status summary", /more message/);
    const [status, name] = await page.tab.evaluate(() => ["#status", "#pool-name"].map((selector) => document.querySelector(selector).getBoundingClientRect().toJSON()));
    assert.ok(status.height < PHONE.height * 0.8, `the banner is ${status.height} high`);
    assert.ok(name.top < PHONE.height * 2, `the pool begins at ${name.top}`);
    await check(page, "phone, folded");
    await page.click("#status summary");
    await page.says("#status details", "Leases from 6 other pools fail");
    await check(page, "phone, unfolded");
    assert.equal(await page.tab.evaluate(() => document.documentElement.scrollWidth), PHONE.width, "nothing sticks out");
    await page.tab.setViewport(DESKTOP);
    await until("all is open", () => page.tab.$$eval("#status > .trouble", (lines) => lines.length > 1));
    await page.close();
    await daemon.stop();
  });
}
