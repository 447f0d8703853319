// Headless Chromium, and the page in it. A page that writes an error to its console fails its test.

import assert from "node:assert/strict";
import puppeteer from "puppeteer-core";
import { PATIENCE_MILLISECONDS, until } from "./daemon.js";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const DESKTOP = { width: 1360, height: 900 };
export const PHONE = { width: 320, height: 640, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

export const launch = (args = []) =>
  puppeteer.launch({
    executablePath: EXECUTABLE,
    // Root, as in containers, may not use the sandbox.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb", ...args],
  });

export class Page {
  /** Opens the page of a daemon in a context of its own and waits for its figures, unless not `live`. */
  static async open(browser, url, { viewport = DESKTOP, scheme = "light", path = "/", live = true } = {}) {
    const page = new Page();
    page.context = await browser.createBrowserContext();
    page.tab = await page.context.newPage();
    page.tab.setDefaultTimeout(PATIENCE_MILLISECONDS);
    page.errors = [];
    page.tab.on("console", (message) => message.type() === "error" && page.errors.push(`${message.text()} ${message.location().url}`));
    page.tab.on("pageerror", (error) => page.errors.push(String(error)));
    await page.tab.setViewport(viewport);
    await page.tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.tab.goto(url + path);
    if (live) await page.tab.waitForSelector("#live[data-live=yes]");
    return page;
  }

  /** The text of what a selector finds, as it is seen. */
  text = (selector) => this.tab.$eval(selector, (element) => element.innerText.trim());

  /** Waits until the text of a selector has these words, or fits the pattern. */
  says = (selector, words) =>
    until(`${selector} says ${words}`, async () => {
      const text = await this.text(selector).catch(() => "");
      return (words instanceof RegExp ? words.test(text) : text.includes(words)) && text;
    });

  /** Waits until no lease fails. The page also reports that the disk of this machine is nearly full, if it is. */
  well = () =>
    until("all is well", async () => {
      const text = await this.text("#status");
      return text && !text.includes("PROBLEM");
    });

  click = (selector) => this.tab.locator(selector).click();

  /** Confirms the dialog of an action and waits for its result. */
  async confirm(words) {
    await this.tab.waitForSelector("#dialog[open]");
    await this.click("#dialog-do");
    return this.says("#said", words);
  }

  /** From then on, what the daemon says at a path is changed: `change` gets it and changes it, or gives another `{ status, body }`,
   *  or null, so that no answer comes. */
  async alter(path, change) {
    await this.tab.setRequestInterception(true);
    this.tab.on("request", async (request) => {
      if (new URL(request.url()).pathname !== path) return request.continue();
      const said = await (await fetch(request.url())).json();
      const other = change(said);
      if (other === null) return;
      const { status, body } = other ?? { status: 200, body: said };
      await request.respond({ status, contentType: "application/json", body: JSON.stringify(body) });
    });
  }

  /** Ends; `expected` are console errors that the test itself has caused. */
  async close(expected = /^$/) {
    await this.context.close();
    assert.deepEqual(this.errors.filter((error) => !expected.test(error)), []);
  }
}
