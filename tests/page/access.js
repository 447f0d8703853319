// axe-core finds nothing against WCAG 2.2 AA, light and dark, on a desktop and on a phone, well and in trouble;
// and all of it works by keyboard.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { DESKTOP, Page, PHONE } from "./browser.js";
import { Daemon } from "./daemon.js";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Fails with every violation that axe-core finds. */
export async function check(page, what) {
  await page.tab.evaluate(axe);
  const violations = await page.tab.evaluate(async (values) => {
    const found = await globalThis.axe.run(document, { runOnly: { type: "tag", values } });
    return found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
  }, RULES);
  assert.deepEqual(violations, [], what);
}

export function accessTests(browser) {
  test("axe-core finds nothing", async () => {
    const daemon = await Daemon.start({ flags: ["--durability", "none"] });
    await daemon.createPool("ru", "79120000000-79120099999", "ttl=5&rest=5");
    await daemon.createPool("small", "100-119");
    await daemon.lease("small", { count: 20 });
    await daemon.lease("small");
    const load = daemon.load("ru", 60, ["--rate", "200", "--connections", "4"]);
    for (const [name, viewport] of Object.entries({ DESKTOP, PHONE })) {
      for (const scheme of ["light", "dark"]) {
        const what = `${name} ${scheme}`;
        const page = await Page.open(browser(), daemon.url, { viewport, scheme });
        await page.says("#status", "all of its numbers are leased");
        await page.says("#map-readout", "79120000000");
        await page.click("#map-details summary");
        await check(page, what);
        await page.click(".acts button[data-act=retire]");
        await page.tab.waitForSelector("#dialog[open]");
        await check(page, `${what}, dialog`);
        await page.tab.keyboard.press("Escape");
        await page.tab.evaluate(() => (location.hash = "#pool=small"));
        await page.says("#pool-name", "small");
        await page.tab.type("#lookup-number", "100\n");
        await page.says("#lookup-result", "Leased");
        await check(page, `${what}, exhausted`);
        assert.equal(await page.tab.evaluate(() => document.documentElement.scrollWidth), viewport.width, `${what}: nothing sticks out`);
        await page.close();
      }
    }
    load.stop();
    await load.done;
    await daemon.stop();
  });

  test("by keyboard alone: skip to the pool, pause it, and the focus is back where it was", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-199");
    const page = await Page.open(browser(), daemon.url);
    const focused = () => page.tab.evaluate(() => document.activeElement.id);
    const { keyboard } = page.tab;
    await keyboard.press("Tab");
    await keyboard.press("Enter");
    assert.equal(await focused(), "main");
    await keyboard.press("Tab");
    assert.equal(await focused(), "act-pause");
    await keyboard.press("Enter");
    assert.equal(await focused(), "dialog-reason");
    await keyboard.press("Enter");
    await page.says("#said", "ru is paused");
    assert.equal(await focused(), "act-pause");
    assert.equal((await daemon.stats()).pools.ru.paused, true);
    await page.close();
    await daemon.stop();
  });
}
