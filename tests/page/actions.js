// What operators do on the page is done by the daemon, after it was said what will happen.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Page, PHONE } from "./browser.js";
import { Daemon, until } from "./daemon.js";

async function start(browser, settings = "order=lowest") {
  const daemon = await Daemon.start();
  await daemon.createPool("ru", "1000-2999", settings);
  return { daemon, page: await Page.open(browser(), daemon.url) };
}

const state = async (daemon, number) => (await daemon.call("GET", `/v1/pools/ru/numbers/${number}`)).json.state;

export function actionsTests(browser) {
  test("pause and resume", async () => {
    const { daemon, page } = await start(browser);
    await page.click("#act-pause");
    await page.says("#dialog", "409 paused");
    await page.click("#dialog-cancel");
    assert.equal((await daemon.lease("ru")).status, 200, "cancelled: nothing was done");
    await page.click("#act-pause");
    await page.confirm("ru is paused");
    assert.equal((await daemon.lease("ru")).json.code, "paused");
    await page.says("#status", "Leases from ru fail: the pool is paused.");
    await page.click("#status button[data-act=resume]");
    await page.confirm("hands out numbers again");
    assert.equal((await daemon.lease("ru")).status, 200);
    await page.well();
    await page.close();
    await daemon.stop();
  });

  test("the next round", async () => {
    const { daemon, page } = await start(browser);
    const { json } = await daemon.lease("ru", { count: 30 });
    await daemon.giveBack("ru", json.leases, "done");
    await page.says("#states tbody tr:nth-child(4)", "30");
    await page.click("button[data-act=round]");
    await page.says("#dialog", "30 numbers that are done become available");
    await page.confirm("Round 2 of ru has begun: 30 numbers");
    assert.equal((await daemon.stats()).pools.ru.round, 2);
    await page.says("#pool-about", "round 2");
    await page.close();
    await daemon.stop();
  });

  test("retire and reinstate: first what would happen, then that", async () => {
    const { daemon, page } = await start(browser);
    await daemon.lease("ru");
    await page.click(".acts button[data-act=retire]");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "at least one number");
    await page.tab.type("#dialog-numbers", `${Array.from({ length: 10 }, (_, index) => 1000 + index).join("\n")}\n5000\n`);
    await page.click("#dialog-do");
    await page.says("#dialog-check", "10 numbers, 1 of them leased now; 0 retired already, 1 not in the pool");
    assert.equal((await daemon.stats()).pools.ru.retired, 0, "it only counted");
    await page.says("#dialog-do", "Retire 10 numbers");
    await page.tab.type("#dialog-numbers", "1010\n");
    await page.says("#dialog-do", "Check");
    await page.click("#dialog-do");
    await page.says("#dialog-do", "Retire 11 numbers");
    await page.confirm("In ru retired: 11 numbers");
    assert.equal((await daemon.stats()).pools.ru.retired, 11);
    await page.click(".acts button[data-act=reinstate]");
    await page.tab.type("#dialog-numbers", "not a number");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "line 1");
    await page.tab.keyboard.press("Escape");
    await page.tab.waitForSelector("#dialog:not([open])");
    await page.close(/400/);
    await daemon.stop();
  });

  test("look up a number, retire it and take that back", async () => {
    const { daemon, page } = await start(browser);
    const { json } = await daemon.lease("ru", { ttl: 500 });
    const { number } = json.leases[0];
    await page.tab.type("#lookup-number", `${number}\n`);
    await page.says("#lookup-result", /Leased[^]*until .* \(in 8 min/);
    await page.click("#lookup-result button[data-act=retire]");
    await page.says("#dialog-do", "Check");
    await page.click("#dialog-do");
    await page.says("#dialog-do", "Retire 1 number");
    await page.confirm("retired: 1 number");
    await page.says("#lookup-result", "Retired");
    assert.equal(await state(daemon, number), "retired");
    await page.click("#lookup-result button[data-act=reinstate]");
    await page.click("#dialog-do");
    await page.says("#dialog-do", "Reinstate 1 number");
    await page.confirm("reinstated: 1 number");
    await page.says("#lookup-result", "Available");
    assert.equal(await state(daemon, number), "available");
    await page.tab.$eval("#lookup-number", (input) => (input.value = ""));
    await page.tab.type("#lookup-number", "4242\n");
    await page.says("#lookup-result", "4242 is not in the pool");
    await page.close(/404/);
    await daemon.stop();
  });

  test("zoom into the number space by keys, by the mouse and in the table", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "79000000000-79000999999\n79500000000-79500000999", "order=lowest");
    await daemon.lease("ru", { count: 500 });
    const page = await Page.open(browser(), daemon.url);
    await page.says("#map-readout", /^79000000000 to \d+: .*leased 500/);
    await page.tab.focus("#map");
    await page.tab.keyboard.press("ArrowRight");
    await page.says("#map-readout", /^790\d+ to/);
    await page.tab.keyboard.press("Home");
    await page.tab.keyboard.press("Enter");
    await page.says("#map-trail", "79000000000 –");
    await page.tab.keyboard.press("Enter");
    await page.says("#map-readout", "leased");
    await page.says("#map-in", "Look it up");
    await page.tab.keyboard.press("Enter");
    await page.says("#lookup-result", /79000000000\s+Leased/);
    await page.tab.focus("#map");
    await page.tab.keyboard.press("Escape");
    await page.tab.keyboard.press("Escape");
    await until("zoomed out", async () => (await page.text("#map-trail")) === "All numbers");
    await page.tab.locator("#map").click({ offset: { x: 3, y: 3 } });
    await page.says("#map-trail", "79000000000 –");
    await page.click("#map-trail button");
    await page.click("#map-details summary");
    await page.says("#map-table tbody tr", "Zoom in");
    await page.click("#map-table tbody tr button");
    await page.says("#map-trail", "79000000000 –");
    await page.tab.select("#map-mode", "leased");
    await page.close();
    await daemon.stop();
  });

  test("a finger chooses a part first", async () => {
    const { daemon, page: desktop } = await start(browser);
    await desktop.close();
    const page = await Page.open(browser(), daemon.url, { viewport: PHONE });
    await page.says("#map-readout", "1000");
    await page.tab.$eval("#map", (canvas) => canvas.scrollIntoView({ block: "center" }));
    const box = await (await page.tab.$("#map")).boundingBox();
    await page.tab.touchscreen.tap(box.x + box.width / 2, box.y + 30);
    await until("another part", async () => !(await page.text("#map-readout")).startsWith("1000 "));
    assert.equal(await page.text("#map-trail"), "All numbers");
    assert.equal(await page.tab.evaluate(() => document.documentElement.scrollWidth), PHONE.width, "nothing sticks out");
    await page.click("#map-in");
    await page.says("#map-trail", "–");
    await page.close();
    await daemon.stop();
  });
}
