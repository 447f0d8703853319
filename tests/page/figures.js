// The page shows what the daemon does: under load figures move, and they agree with the stats.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Page } from "./browser.js";
import { Daemon, until } from "./daemon.js";

/** The value of a figure such as "1,234". */
const figure = async (page, selector) => Number((await page.text(selector)).replaceAll(",", ""));

export function figuresTests(browser) {
  test("figures move under load and agree with the stats", async () => {
    const daemon = await Daemon.start({ flags: ["--durability", "none"] });
    await daemon.createPool("ru", "79120000000-79120099999", "ttl=600");
    const page = await Page.open(browser(), daemon.url);
    await page.well();
    assert.equal(await figure(page, "#fig-available"), 100_000);
    const load = daemon.load("ru", 8, ["--rate", "500", "--connections", "8"]);
    await until("a rate near the load's", async () => Math.abs((await figure(page, "#fig-rate")) - 500) < 150);
    const before = await figure(page, "#fig-available");
    await until("fewer available", async () => (await figure(page, "#fig-available")) < before);
    await page.says("#latency-now", /p50 .+ p99 /);
    await page.says("#rate-now", /now \d/);
    assert.ok(await drawn(page, "#rate-chart canvas"), "the chart of the rate is drawn");
    assert.ok(await drawn(page, "#latency-chart canvas"), "the chart of the latency is drawn");
    await load.done;
    const { pools, journal, disk } = await daemon.stats();
    await until("the same as the stats", async () => (await figure(page, "#fig-available")) === pools.ru.available);
    assert.equal(await figure(page, "#states tbody tr:nth-child(2) td"), pools.ru.leased);
    await page.says("#totals", pools.ru.totals.leases.toLocaleString("en-US"));
    assert.equal(journal.state, "ok");
    assert.ok(disk.total_bytes > 0);
    await page.says("#process", /\d (G|T|M)iB/);
    assert.equal(await page.tab.evaluate(() => document.querySelectorAll("[style]").length > 0 && document.querySelectorAll("style").length), 0, "no style of its own");
    await page.close();
    await daemon.stop();
  });

  test("nothing of the document is written that has not changed", async () => {
    const daemon = await Daemon.start();
    for (let index = 0; index < 200; index++) await daemon.createPool(`pool-${index}`, `${10_000 + index}`);
    const page = await Page.open(browser(), `${daemon.url}/#pool=pool-150`, { path: "" });
    await page.says("#pool-name", "pool-150");
    const [changes, rows] = await page.tab.evaluate(async () => {
      let changes = 0;
      const watch = new MutationObserver((records) => (changes += records.length));
      watch.observe(document.querySelector("#pools"), { subtree: true, childList: true, characterData: true, attributes: true });
      const polls = performance.getEntriesByType("resource").length;
      while (performance.getEntriesByType("resource").length < polls + 3) await new Promise((done) => setTimeout(done, 50));
      return [changes, document.querySelectorAll("#pools-list li").length];
    });
    assert.deepEqual([changes, rows], [0, 200]);
    await page.tab.type("#pools-filter", "pool-19");
    await page.says("#pools-count", "11 of 200");
    await page.tab.locator("#pools-list li:not([hidden]) a").click();
    await page.says("#pool-name", "pool-19");
    assert.equal(await page.tab.evaluate(() => location.hash), "#pool=pool-19");
    await daemon.call("POST", "/v1/pools/pool-77/pause");
    await page.tab.$eval("#pools-filter", (input) => ((input.value = ""), input.dispatchEvent(new Event("input"))));
    await page.click("#pools-trouble");
    await page.says("#pools-count", "1 of 200");
    await page.says("#pools-list", "pool-77");
    await page.close();
    await daemon.stop();
  });

  test("a daemon without a pool says what to do", async () => {
    const daemon = await Daemon.start();
    const page = await Page.open(browser(), daemon.url);
    await page.says("#empty", "allotd pool create");
    await daemon.createPool("late", "1-9");
    await page.says("#pool-name", "late");
    await page.close();
    await daemon.stop();
  });
}

/** Whether anything is drawn on a canvas. */
const drawn = (page, selector) =>
  page.tab.$eval(selector, (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0));
