// Pages of others in the same browser lease nothing: of another port, and of another name that is
// bound to the daemon's own address (DNS rebinding).

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { Page } from "./browser.js";
import { Daemon, until } from "./daemon.js";

/** What a page can try, each with what it got back, if the browser let it see. */
async function attack(target) {
  const tries = {
    simple: () => fetch(`${target}/v1/pools/ru/lease`, { method: "POST" }),
    opaque: () => fetch(`${target}/v1/pools/ru/lease`, { method: "POST", mode: "no-cors" }),
    text: () => fetch(`${target}/v1/pools/ru/lease`, { method: "POST", mode: "no-cors", body: "{}" }),
    json: () => fetch(`${target}/v1/pools/ru/lease`, { method: "POST", body: "{}", headers: { "content-type": "application/json" } }),
    beacon: async () => navigator.sendBeacon(`${target}/v1/pools/ru/lease`) && { status: 0 },
    pause: () => fetch(`${target}/v1/pools/ru/pause`, { method: "POST", mode: "no-cors" }),
    read: () => fetch(`${target}/v1/stats`),
  };
  const seen = {};
  for (const [name, attempt] of Object.entries(tries)) seen[name] = await attempt().then((answer) => answer.status, () => "blocked");
  // A form goes anywhere, and takes its page along.
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: `${target}/v1/pools/ru/lease`, target: "frame" });
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame, form);
  const loaded = new Promise((done) => frame.addEventListener("load", done, { once: true }));
  form.submit();
  await loaded;
  return seen;
}

/**
 * Fewest answers of the daemon to an attack that the browser reports: of a preflight that fails, of a beacon, and of what
 * Cross-Origin-Resource-Policy keeps from the page, it may report nothing.
 */
const MIN_ANSWERS = 2;

/** Runs the attack in a page of this address; what was answered, by the daemon's path. */
async function run(browser, from, target) {
  const context = await browser.createBrowserContext();
  const tab = await context.newPage();
  const answers = [];
  tab.on("response", (response) => response.url().includes("/v1/") && answers.push([response.request().method(), response.status()]));
  await tab.goto(from);
  const seen = await tab.evaluate(attack, target);
  // The browser reports an answer some time after the page has it.
  await until(`${MIN_ANSWERS} answers to ${from}`, () => answers.length >= MIN_ANSWERS);
  await context.close();
  return { seen, answers };
}

export function foreignTests(browser) {
  test("a name in the address that every object has is no pool", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-119", "");
    for (const name of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
      const page = await Page.open(browser(), daemon.url, { path: `/#pool=${name}` });
      await page.says("#gone", `There is no pool “${name}”`);
      assert.equal(await page.tab.$eval("#pool", (pool) => pool.hidden), true);
      assert.deepEqual(page.errors, []);
      await page.close();
    }
    await daemon.stop();
  });

  test("a page of another origin leases nothing", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-199");
    const server = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html><title>evil</title><body>"));
    // Should the test fail, it must not keep the others from ending.
    server.unref();
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    const foreign = `127.0.0.1:${server.address().port}`;
    for (const from of [`http://${foreign}/`, `http://evil.test:${server.address().port}/`]) {
      const { seen, answers } = await run(browser(), from, daemon.url);
      assert.equal(seen.read, "blocked", from);
      assert.deepEqual(answers.filter(([, status]) => status !== 403), [], from);
    }
    await check(daemon);
    server.closeAllConnections();
    server.close();
    await daemon.stop();
  });

  test("a page whose own name is bound to the daemon leases nothing", async () => {
    const daemon = await Daemon.start();
    await daemon.createPool("ru", "100-199");
    const rebound = `http://evil.test:${daemon.address.split(":")[1]}`;
    const context = await browser().createBrowserContext();
    const tab = await context.newPage();
    // Rebound after its page was loaded: the document of a probe stands for that page, of the same origin.
    const answer = await tab.goto(`${rebound}/`);
    assert.equal(answer.status(), 403);
    assert.equal(answer.headers()["content-type"], "application/problem+json");
    assert.equal((await tab.goto(`${rebound}/healthz`)).status(), 200);
    const seen = await tab.evaluate(attack, rebound);
    assert.deepEqual([seen.simple, seen.text, seen.json, seen.pause, seen.read], [403, 403, 403, 403, 403]);
    await context.close();
    await check(daemon);
    await daemon.stop();
  });

  /** The daemon was asked and has done nothing; its own clients still can. */
  async function check(daemon) {
    const { pools, refusals } = await daemon.stats();
    assert.ok(refusals.forbidden.count > 0);
    assert.deepEqual([pools.ru.totals.leases, pools.ru.leased, pools.ru.paused], [0, 0, false]);
    assert.equal((await daemon.lease("ru")).status, 200);
  }
}
