// A daemon with tokens: the page asks for one, keeps it for its tab, and asks again when it is refused.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { Page } from "./browser.js";
import { BINARY, Daemon } from "./daemon.js";

const run = promisify(execFile);

/** Makes tokens for names with roles, writes the tokens file, and returns the tokens. */
async function issue(directory, roles) {
  const tokens = {};
  let entries = "";
  for (const [name, role] of Object.entries(roles)) {
    const out = join(directory, `${name}.token`);
    const { stdout } = await run(BINARY, ["token", "new", name, "--role", role, "--pools", "*", "--out", out], { env: {} });
    entries += stdout;
    tokens[name] = (await readFile(out, "utf8")).trim();
  }
  await writeFile(join(directory, "tokens.toml"), entries, { mode: 0o600 });
  return tokens;
}

export function tokenTests(browser) {
  test("the page asks for a token, keeps it for its tab, and asks again when it is refused", async () => {
    const directory = await mkdtemp(join(tmpdir(), "allotd-token-"));
    const { root, board } = await issue(directory, { root: "admin", board: "viewer" });
    const daemon = await Daemon.start({ flags: ["--tokens", join(directory, "tokens.toml")], token: root });
    await daemon.createPool("ru", "100-199");
    const page = await Page.open(browser(), daemon.url, { live: false });
    const answer = async (token) => {
      await page.tab.waitForSelector("#token-dialog[open]");
      await page.tab.type("#token-field", token);
      await page.click("#token-form button");
    };
    await answer("alt_wrong");
    await page.says("#token-why", "not an access token");
    await page.tab.keyboard.press("Escape");
    await page.tab.keyboard.press("Escape");
    await answer(board);
    await page.tab.waitForSelector("#live[data-live=yes]");
    await page.says("#pool-name", "ru");
    // Who calls: the operator made the pool, the viewer has asked for figures only.
    await page.says("#callers", /board\s+[\d,]+\s+\d+\s+0/);
    await page.says("#callers", /root\s+1\s+0\s+0/);
    // Kept over a reload, in this tab alone, and not in a cookie.
    await page.tab.reload();
    await page.tab.waitForSelector("#live[data-live=yes]");
    assert.equal(await page.tab.evaluate(() => document.cookie), "");
    assert.deepEqual(await page.tab.evaluate(() => Object.keys(localStorage)), []);
    const other = await page.context.newPage();
    await other.goto(daemon.url);
    await other.waitForSelector("#token-dialog[open]");
    await other.close();
    // A viewer may not pause.
    await page.click(".acts button[data-act=pause]");
    await page.tab.waitForSelector("#dialog[open]");
    await page.click("#dialog-do");
    await page.says("#dialog-problem", "not for the role viewer");
    await page.click("#dialog-cancel");
    // Its token is removed: the page asks again.
    const entries = await readFile(join(directory, "tokens.toml"), "utf8");
    await writeFile(join(directory, "tokens.toml"), `[[token]]${entries.split("[[token]]")[1]}`);
    daemon.child.kill("SIGHUP");
    await page.says("#token-why", "not known");
    await answer(root);
    await page.tab.waitForSelector("#live[data-live=yes]");
    await page.click(".acts button[data-act=pause]");
    await page.confirm("paused");
    await page.close(/401|403/);
    await daemon.stop();
    await rm(directory, { recursive: true });
  });
}
