// The pictures of docs/operations/page.md: real ones, of a daemon under real load.

import assert from "node:assert/strict";
import { mkdir, stat } from "node:fs/promises";
import { test } from "node:test";
import { DESKTOP, Page, PHONE } from "./browser.js";
import { Daemon } from "./daemon.js";

const DIRECTORY = new URL("../../docs/screenshots/", import.meta.url).pathname;
const MAX_BYTES = 200_000;
/** How long the charts are filled before, in seconds. */
const LOAD_SECONDS = 75;
/** How long leases and rests need to end as fast as they begin, in seconds. */
const SETTLE_SECONDS = 45;
const TALL = { ...DESKTOP, height: 1080 };

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function take(page, name, options = {}) {
  const path = `${DIRECTORY}${name}.png`;
  await page.tab.bringToFront();
  await page.tab.screenshot({ path, ...options });
  const { size } = await stat(path);
  assert.ok(size < MAX_BYTES, `${name}: ${size} bytes`);
}

/** A daemon with a pool that has been in use: some numbers are done, some rest, some are retired. */
async function prepared() {
  const first = await Daemon.start();
  await first.createPool("ru", "79120000000-79121999999\n79150000000-79150999999\n79160300000-79161299999\n79180000000-79181499999", "ttl=20&rest=15");
  await first.call("PATCH", "/v1/pools/ru", JSON.stringify({ outcomes: { answered: "done", no_answer: { rest: 14_400 } } }), "application/json");
  await first.call("POST", "/v1/pools/ru/retire", "79160300000-79160399999\n79181400000-79181499999");
  for (let part = 0; part < 8; part++) {
    const { json } = await first.lease("ru", { count: 60_000, within: [`7918${part % 2}`] });
    await first.giveBack("ru", json.leases, part < 6 ? "done" : { rest: 7_200 });
  }
  await first.end();
  const daemon = await Daemon.start({ data: first.data, flags: ["--durability", "interval"] });
  daemon.own = first.own;
  return daemon;
}

export function screenshots(browser) {
  test("screenshots", async () => {
    await mkdir(DIRECTORY, { recursive: true });
    const daemon = await prepared();
    const loads = [
      daemon.load("ru", 600, ["--mix", "lease+return", "--rate", "900", "--connections", "16"]),
      daemon.load("ru", 600, ["--rate", "700", "--connections", "8"]),
    ];
    await pause(SETTLE_SECONDS);
    for (let call = 0; call < 7; call++) await daemon.lease("ru", { within: ["791603"] });
    await daemon.giveBack("ru", [{ number: 79_120_000_000, token: "AAAAAAAAAAA" }]);
    const light = await Page.open(browser(), daemon.url, { viewport: TALL });
    const dark = await Page.open(browser(), daemon.url, { scheme: "dark" });
    const phone = await Page.open(browser(), daemon.url, { viewport: PHONE });
    await pause(LOAD_SECONDS);
    await take(light, "light");
    await take(light, "daemon", { clip: await (await light.tab.$("#daemon")).boundingBox() });
    await take(dark, "dark");
    await take(phone, "phone");
    const map = await light.tab.$("section[aria-labelledby=map-head]");
    await light.tab.focus("#map");
    await light.tab.keyboard.press("End");
    for (let step = 0; step < 7; step++) await light.tab.keyboard.press("ArrowLeft");
    await light.tab.keyboard.press("Enter");
    await light.says("#map-trail", "–");
    const box = await map.boundingBox();
    await take(light, "map", { clip: box });
    for (const load of loads) load.stop();
    await Promise.all(loads.map(({ done }) => done));
    await daemon.createPool("small", "100-119", "ttl=4000&rest=3000");
    const { json } = await daemon.lease("small", { count: 20 });
    await daemon.giveBack("small", json.leases);
    await daemon.lease("small");
    await light.tab.evaluate(() => (location.hash = "#pool=small"));
    await light.says("#status", "all of its numbers are resting (20)");
    await light.says("#map-readout", "resting");
    await take(light, "resting");
    for (const page of [light, dark, phone]) await page.close();
    await daemon.stop();
  });
}
