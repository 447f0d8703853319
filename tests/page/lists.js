// Lists, hours and additions on the page: what is shown, what a dry run tells before it is done, and that axe-core finds
// nothing in any of it.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "./access.js";
import { DESKTOP, Page, PHONE } from "./browser.js";
import { Daemon, until } from "./daemon.js";

/** `now` in a time zone that needs no clock of this machine's: the name of today in UTC, and of another day. */
const dayName = (days) => ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + days) % 7];
const patch = (daemon, pool, change) => daemon.call("PATCH", `/v1/pools/${pool}`, JSON.stringify(change), "application/json");

async function start(browser, options) {
  const daemon = await Daemon.start();
  await daemon.call("PUT", "/v1/lists/optouts", "1000\n1001\n");
  await daemon.createPool("ru", "1000-1999", "order=lowest&blocked_by=optouts");
  return { daemon, page: await Page.open(browser(), daemon.url, options) };
}

export function listsTests(browser) {
  test("lists are shown, and change after their dry run was shown", async () => {
    const { daemon, page } = await start(browser);
    await page.says("#lists-table tbody tr", /optouts\s+2\s+Add[^]*Delete\s+ru\s+.*(ago|now)/);
    await page.says("#states tbody tr:nth-child(6)", /Blocked[^]*2/);
    await page.click("#lists-table button[data-act=list-add]");
    await page.tab.type("#dialog-numbers", "1001\n1002\n1003\n5000\n");
    await page.click("#dialog-do");
    await page.says("#dialog-check", "Would be added: 3 numbers; 1 on it already");
    await page.says("#dialog-check", "in ru: 2 newly blocked");
    assert.equal((await daemon.stats()).lists.optouts.numbers, 2, "it only counted");
    await page.confirm("To optouts added: 3 numbers");
    await page.says("#lists-table tbody tr", /optouts\s+5/);
    assert.equal((await daemon.stats()).pools.ru.blocked, 4);
    await page.click("#lists-table button[data-act=list-remove]");
    await page.tab.type("#dialog-numbers", "5000");
    await page.click("#dialog-do");
    await page.says("#dialog-check", "no number of the pools that use it changes");
    await page.confirm("From optouts removed: 1 number; 0 not on it");
    await page.click("#lists-table button[data-act=list-replace]");
    await page.says("#dialog-will", "The list has 4 numbers");
    await page.tab.type("#dialog-numbers", "1002\n1500\n");
    await page.click("#dialog-do");
    await page.says("#dialog-check", /1 added, 3 removed; 1 stay[^]*in ru: 1 newly blocked, 3 no longer blocked/);
    await page.says("#dialog-do", "Change 4 numbers");
    await page.confirm("In optouts replaced: 1 added, 3 removed");
    assert.equal((await daemon.call("GET", "/v1/lists/optouts/numbers/1500")).json.listed, true);
    await page.close();
    await daemon.stop();
  });

  test("a list is made and deleted; one that pools use is not", async () => {
    const { daemon, page } = await start(browser);
    await page.click("#lists button[data-act=list-create]");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "Give a name");
    await page.tab.type("#dialog-name", "national");
    await page.confirm("The list national is there");
    await page.says("#lists-table tbody tr", /national\s+0\s+Add[^]*no pool/);
    await page.click("#lists-table button[data-act=list-delete][data-name=optouts]");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "list_in_use");
    await page.click("#dialog-cancel");
    await page.click("#lists-table button[data-act=list-delete][data-name=national]");
    await page.confirm("The list national is deleted");
    await until("it is gone", async () => !(await page.text("#lists-table")).includes("national"));
    await page.close(/409/);
    await daemon.stop();
  });

  test("numbers are added after what was read is shown", async () => {
    const { daemon, page } = await start(browser);
    await page.click(".acts button[data-act=add]");
    await page.tab.type("#dialog-numbers", "+44 20 7946 0018\n+44 20 7946 0019\n1500\n1500\n");
    await page.click("#dialog-do");
    await page.says("#dialog-check", /Would be added: 2 numbers; 1 in the pool already/);
    await page.says("#dialog-check", /3 numbers from 1500 to 442079460019/);
    await page.says("#dialog-check", /1 duplicate, counted once/);
    await page.says("#dialog-check", /\+44: 2/);
    await page.click("#dialog-check summary");
    await page.says("#dialog-check table", /1\s+\+44 20 7946 0018\s+442079460018/);
    await page.tab.type("#dialog-region", "gb");
    await page.says("#dialog-do", "Check");
    assert.equal(await page.text("#dialog-check"), "", "what was read is not what would be");
    await page.tab.$eval("#dialog-numbers", (field) => (field.value = ""));
    await page.tab.type("#dialog-numbers", "(020) 7946 0018\n");
    await page.click("#dialog-do");
    await page.says("#dialog-do", "Add 1 number");
    await page.confirm("To ru added: 1 number; 0 in the pool already");
    assert.equal((await daemon.stats()).pools.ru.numbers, 1001);

    const path = join(daemon.data, "..", "More.CSV");
    await writeFile(path, "name,number\nA,3000\nB,3001\nC,not one\n");
    await page.click(".acts button[data-act=add]");
    await (await page.tab.$("#dialog-file")).uploadFile(path);
    await page.click("#dialog-do");
    await page.says("#dialog-problem", /row 4|line 4/);
    await writeFile(path, "name,number\nA,3000\nB,3001\n");
    await (await page.tab.$("#dialog-file")).uploadFile(path);
    await page.click("#dialog-do");
    await page.says("#dialog-do", "Add 2 numbers");
    await page.confirm("To ru added: 2 numbers");
    assert.equal((await daemon.call("GET", "/v1/pools/ru/numbers/3001")).json.leasable, true);
    await page.close(/400/);
    await daemon.stop();
  });

  test("hours are a week's bar with what is open now, and a number says why it is closed", async () => {
    const { daemon, page } = await start(browser);
    assert.equal(await page.tab.$eval("#hours", (card) => card.hidden), true, "no hours");
    const rules = [{ days: "mon-sun", from: "00:00", to: "24:00" }];
    await patch(daemon, "ru", { hours: { rules, zone: "Etc/UTC" } });
    await page.tab.reload();
    await page.says("#hours-now", "1,000 of 1,000 open now (100 %)");
    await page.says("#hours-rules", "mon-sun 00:00–24:00");
    await page.well();
    // Over midnight, from another day on: closed now.
    await patch(daemon, "ru", { hours: { rules: [{ days: dayName(3), from: "22:00", to: "02:00" }], zone: "Etc/UTC", closed: ["2099-12-25"] } });
    await page.tab.reload();
    await page.says("#hours-now", /^0 of 1,000 open now \(0 %\) · changes in \d/);
    await page.says("#hours-rules", `${dayName(3)} 22:00–02:00 · closed on 2099-12-25`);
    const parts = await page.tab.$$eval("#hours-week .day", (days) => days.map((day) => [...day.querySelectorAll(".open")].map(({ style }) => [style.left, style.width])));
    const monday = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"].indexOf(dayName(3));
    const begins = (monday + 6) % 7;
    const expected = Array.from({ length: 7 }, () => []);
    expected[begins] = [["91.667%", "8.333%"]];
    expected[(begins + 1) % 7] = [["0%", "8.333%"]];
    assert.deepEqual(parts, expected);
    assert.equal(await page.tab.$$eval("#hours-week .now", (marks) => marks.length), 1);
    await page.says("#status", /CLOSED[^]*ru is outside its hours until/i);
    assert.ok(!(await page.text("#status")).includes("PROBLEM"), "as it should be");
    await page.says("#states tbody tr:nth-child(7)", /Closed[^]*998/);
    await page.says("#fig-next-of", "closed until");
    await page.tab.type("#lookup-number", "1001\n");
    await page.says("#lookup-result", /Blocked[^]*It cannot be leased now:[^]*on optouts until it is taken off[^]*outside its hours until .*\(in \d/);
    await patch(daemon, "ru", { hours: { rules: [], zone: "Etc/UTC" } });
    await page.says("#status", "its hours leave no number open, and that does not change soon");
    await page.close();
    await daemon.stop();
  });

  test("axe-core finds nothing in lists, hours and dialogs", async () => {
    const daemon = await Daemon.start();
    await daemon.call("PUT", "/v1/lists/optouts", "1000\n1001\n");
    await daemon.createPool("ru", "1000-1999", "order=lowest&blocked_by=optouts");
    await patch(daemon, "ru", { hours: { rules: [{ days: dayName(3), from: "09:00", to: "21:00" }], zone: "Etc/UTC" } });
    for (const [name, viewport] of Object.entries({ DESKTOP, PHONE })) {
      for (const scheme of ["light", "dark"]) {
        const what = `${name} ${scheme}`;
        const page = await Page.open(browser(), daemon.url, { viewport, scheme });
        await page.says("#lists-table tbody tr", "optouts");
        await page.says("#hours-now", "0 of 1,000 open");
        await page.tab.type("#lookup-number", "1001\n");
        await page.says("#lookup-result", "on optouts");
        await check(page, what);
        assert.equal(await page.tab.evaluate(() => document.documentElement.scrollWidth), viewport.width, `${what}: nothing sticks out`);
        await page.click(".acts button[data-act=add]");
        await page.tab.type("#dialog-numbers", "+44 20 7946 0018\n1500\n");
        await page.click("#dialog-do");
        await page.says("#dialog-check", "Would be added");
        await page.click("#dialog-check summary");
        await check(page, `${what}, addition`);
        await page.tab.keyboard.press("Escape");
        await page.click("#lists button[data-act=list-create]");
        await page.tab.waitForSelector("#dialog-name");
        await check(page, `${what}, new list`);
        await page.close();
      }
    }
    await daemon.stop();
  });
}
