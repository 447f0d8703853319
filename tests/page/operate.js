// What an operator does to whole pools and to the daemon: settings, a new pool, an export, a backup.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "./access.js";
import { DESKTOP, Page, PHONE } from "./browser.js";
import { Daemon, until } from "./daemon.js";

/** Writes a field anew. */
async function write(page, selector, text) {
  await page.tab.$eval(selector, (field) => (field.value = ""));
  await page.tab.type(selector, text);
}

const settingsOf = async (daemon, pool) => (await daemon.call("GET", `/v1/pools/${pool}`)).json.settings;

/** Downloads of the page go to a directory. */
async function downloads(page, directory) {
  const session = await page.tab.createCDPSession();
  await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: directory, browserContextId: page.context.id });
}

export function operateTests(browser) {
  test("settings and outcome rules are shown, and changed after what would change is shown", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119", "ttl=600&rest=60");
    await daemon.call("PUT", "/v1/lists/optouts", "5\n");
    const page = await Page.open(browser(), daemon.url);
    await page.says("#settings", /A lease lasts[^]*10 min, at most 1 d[^]*A returned number[^]*rests 1 min/);
    await page.says("#outcomes-none", "There is no rule");
    await page.click("button[data-act=settings]");
    await page.tab.waitForSelector("#dialog[open]");
    await page.click("#dialog-do");
    await page.says("#dialog-check", "Nothing would change");
    await write(page, "#dialog-ttl", "900");
    await page.tab.type("#dialog-outcomes", "answered=done\nno_answer=rest:14400\nno=list:optouts");
    await page.tab.type("#dialog-attempts", "3:done");
    await page.tab.type("#dialog-hours", "mon-fri 00:00-24:00\nsat-sun 00:00-24:00");
    await page.tab.type("#dialog-zone", "Europe/Moscow");
    await page.click("#dialog-holders");
    await page.tab.type("#dialog-max_per_holder", "7");
    await page.click("#dialog-do");
    await page.says("#dialog-check", /A lease lasts, in seconds: 600 → 900[^]*now answered=done[^]*now no_answer=rest:14400[^]*Most leases of a holder: none → 7/);
    assert.equal((await settingsOf(daemon, "ru")).ttl, 600, "nothing is done yet");
    await page.says("#dialog-do", "Change 7 settings");
    await page.confirm("ru: 7 settings changed");
    const { ttl, ttl_max: most, outcomes, attempts, hours, holders, max_per_holder: each } = await settingsOf(daemon, "ru");
    assert.deepEqual({ ttl, most, outcomes, attempts, hours, holders, each }, {
      ttl: 900, most: 86_400, outcomes: { answered: "done", no: { list: "optouts" }, no_answer: { rest: 14_400 } }, attempts: { max: 3, then: "done" },
      hours: { rules: [{ days: "mon-fri", from: "00:00", to: "24:00" }, { days: "sat-sun", from: "00:00", to: "24:00" }], zone: "Europe/Moscow" }, holders: true, each: 7,
    });
    await page.says("#outcomes", /answered\s+done[^]*no\s+goes onto optouts[^]*no_answer\s+rests 4 h/);
    await page.says("#settings", /Attempts in a round[^]*3, then done[^]*Holders[^]*at most 7 each/);
    // What it was is what the next change begins with; what is refused is said, and nothing of it is done.
    await page.click("button[data-act=settings]");
    await page.tab.waitForSelector("#dialog[open]");
    assert.equal(await page.tab.$eval("#dialog-outcomes", (field) => field.value), "answered=done\nno=list:optouts\nno_answer=rest:14400");
    await write(page, "#dialog-outcomes", "answered=done");
    await write(page, "#dialog-hours", " ");
    await write(page, "#dialog-zone", " ");
    await write(page, "#dialog-rest", "999999999");
    await page.click("#dialog-do");
    await page.says("#dialog-check", /no longer no=list:optouts[^]*no longer mon-fri 00:00-24:00/);
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "400 bad_request");
    await write(page, "#dialog-rest", "0");
    await page.says("#dialog-do", "Check");
    await page.click("#dialog-do");
    await page.says("#dialog-do", "Change 4 settings");
    await page.confirm("4 settings changed");
    const after = await settingsOf(daemon, "ru");
    assert.deepEqual([after.outcomes, after.hours, after.rest], [{ answered: "done" }, undefined, 0]);
    await page.click("button[data-act=settings]");
    await page.tab.waitForSelector("#dialog[open]");
    await page.tab.type("#dialog-outcomes", "\nnonsense");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "“nonsense” is no outcome rule");
    await page.close(/400/);
    await daemon.stop();
  });

  test("a pool is made after what was read is shown", async () => {
    const daemon = await Daemon.start();
    const page = await Page.open(browser(), daemon.url);
    await page.click("#empty button[data-act=create]");
    await page.tab.type("#dialog-numbers", "+7 912 345-67-89\n79120000000-79120000999\n");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "Give a name");
    await page.tab.type("#dialog-name", "ru");
    await page.tab.select("#dialog-order", "lowest");
    await page.tab.type("#dialog-ttl", "60");
    await page.tab.type("#dialog-on_expiry", "rest:30");
    await page.click("#dialog-do");
    await page.says("#dialog-check", /ru would have 1,001 numbers[^]*from 79120000000 to 79123456789[^]*\+7: 1,001/);
    assert.deepEqual((await daemon.stats()).pools, {}, "nothing is done yet");
    await page.confirm("ru is there, with 1,001 numbers");
    const { order, ttl, on_expiry: end } = await settingsOf(daemon, "ru");
    assert.deepEqual({ order, ttl, end }, { order: "lowest", ttl: 60, end: { rest: 30 } });
    await page.says("#pool-name", "ru");
    await page.says("#fig-available", "1,001");
    await page.click("#daemon button[data-act=create]");
    await page.tab.type("#dialog-name", "ru");
    await page.tab.type("#dialog-numbers", "5");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "409 pool_exists");
    await page.close(/409/);
    await daemon.stop();
  });

  test("an export is a file with the states that were chosen", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-104", "order=lowest");
    await daemon.lease("ru", { count: 2 });
    const page = await Page.open(browser(), daemon.url);
    await downloads(page, daemon.own);
    await page.click("button[data-act=export]");
    await page.tab.waitForSelector("#dialog[open]");
    await page.confirm("ru.txt: 20 B");
    const read = (name) => until(name, () => existsSync(join(daemon.own, name)) && readFile(join(daemon.own, name), "utf8"));
    assert.equal(await read("ru.txt"), "100\n101\n102\n103\n104\n");
    await page.click("button[data-act=export]");
    await page.tab.waitForSelector("#dialog[open]");
    for (const box of await page.tab.$$("#dialog-states input:not([value=leased])")) await box.click();
    await page.tab.select("#dialog-format", "text/csv");
    await page.tab.type("#dialog-within", "101, 102-104");
    await page.confirm("ru.csv");
    assert.match(await read("ru.csv"), /^number,state,generation,until\n101,leased,1,20.*Z\n$/);
    await page.close();
    await daemon.stop();
  });

  test("what was changed is shown with who did it, when and why", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-104");
    const page = await Page.open(browser(), daemon.url);
    await page.click("#act-pause");
    await page.tab.type("#dialog-reason", "the carrier is down");
    await page.confirm("ru is paused");
    await page.says("#changes tbody tr", /pause: ru\s+“the carrier is down”\s+.*(ago|now)\)\s+127\.0\.0\.1:\d+\s+paused: false → true/);
    await page.says("#status", /Paused by 127\.0\.0\.1:\d+ at [^]*The reason: “the carrier is down”/);
    assert.match((await daemon.lease("ru")).json.detail + (await daemon.lease("ru")).json.reason, /the carrier is down/);
    await check(page, "changes");
    await page.close();
    await daemon.stop();
  });

  test("a backup is made, and its name is told", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-104");
    const page = await Page.open(browser(), daemon.url);
    await page.click("button[data-act=backup]");
    await page.tab.type("#dialog-name", "monday");
    await page.confirm(/Backup monday: 1 pool, 5 numbers, .*B\./);
    await page.says("#process", /Last backup\s+monday, (now|\d+ s ago)/);
    await page.click("button[data-act=backup]");
    await page.tab.type("#dialog-name", "monday");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "409 backup_exists");
    await page.close(/409/);
    await daemon.stop();
  });

  test("axe-core finds nothing in the dialogs of settings, a new pool, an export and a backup", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119");
    for (const [name, viewport] of Object.entries({ DESKTOP, PHONE })) {
      for (const scheme of ["light", "dark"]) {
        const page = await Page.open(browser(), daemon.url, { viewport, scheme });
        for (const act of ["settings", "create", "export", "backup"]) {
          await page.tab.$eval(`#main button[data-act=${act}]:not(#empty button)`, (button) => button.click());
          await page.tab.waitForSelector("#dialog[open]");
          await check(page, `${name} ${scheme}, ${act}`);
          const inside = await page.tab.$eval("#dialog", (dialog) => dialog.scrollWidth <= dialog.clientWidth);
          assert.ok(inside, `${name}, ${act}: nothing sticks out`);
          await page.tab.keyboard.press("Escape");
          await page.tab.waitForSelector("#dialog:not([open])");
        }
        await page.close();
      }
    }
    await daemon.stop();
  });
}
