// The last events on the page: live, newest first, and only where there are some.

import assert from "node:assert/strict";
import { test } from "node:test";
import { check } from "./access.js";
import { Page } from "./browser.js";
import { Daemon } from "./daemon.js";

const rows = "#events tbody tr";

export function eventsTests(browser) {
  test("the last events are shown as they happen, the newest first", async () => {
    const daemon = await Daemon.start({ flags: ["--events-keep", "1MiB,1h"] });
    await daemon.call("PUT", "/v1/lists/optouts", "5000\n");
    await daemon.createPool("ru", "1000-1999", "order=lowest&blocked_by=optouts&holders=true");
    const page = await Page.open(browser(), daemon.url);
    await page.says("#events-said", /events of all pools a second over 1 min, .* kept, 0 reading/);
    assert.equal(await page.tab.$$eval(rows, (all) => all.length), 0);
    const leased = await daemon.call("POST", "/v1/pools/ru/lease", JSON.stringify({ holder: "<b>anna</b>" }), "application/json");
    await page.says(`${rows}:nth-child(1)`, /1000\s*[\d:]+\s*leased\s*leased\s*<b>anna<\/b>/);
    const { number, token } = leased.json.leases[0];
    await daemon.call("POST", "/v1/pools/ru/return", JSON.stringify({ leases: [{ number, token }], outcome: "no_answer" }), "application/json");
    await daemon.call("POST", "/v1/lists/optouts/numbers", "1007\n");
    await daemon.call("POST", "/v1/pools/ru/rounds");
    await page.says(`${rows}:nth-child(1)`, /all\s*[\d:]+\s*round\s*round 2/);
    await page.says(`${rows}:nth-child(2)`, /1007\s*[\d:]+\s*blocked/);
    await page.says(`${rows}:nth-child(3)`, /1000\s*[\d:]+\s*returned\s*available\s*other\s*<b>anna<\/b>/);
    await daemon.call("POST", "/v1/pools/ru/retire", "1100\n1101\n1102\n1103\n1104\n1105\n1106\n1107\n");
    await page.says(`${rows}:nth-child(8)`, /1100\s*[\d:]+\s*retired/);
    assert.equal(await page.tab.$$eval(rows, (all) => all.length), 8, "the last ones only");
    await check(page, "last events");
    await page.close();
    await daemon.stop();
  });

  test("without events there is no card for them", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "1000-1999");
    const page = await Page.open(browser(), daemon.url);
    await page.says("#states-all", "1,000");
    assert.equal(await page.tab.$eval("#events-card", (card) => card.hidden), true);
    await page.close();
    await daemon.stop();
  });
}
