// All tests of the page, one after the other in one browser. With --screenshots: makes the pictures of the
// documentation instead.

import { after, before } from "node:test";
import { accessTests } from "./access.js";
import { actionsTests } from "./actions.js";
import { launch } from "./browser.js";
import { causesTests } from "./causes.js";
import { endAll } from "./daemon.js";
import { eventsTests } from "./events.js";
import { figuresTests } from "./figures.js";
import { foreignTests } from "./foreign.js";
import { incidentsTests } from "./incidents.js";
import { listsTests } from "./lists.js";
import { operateTests } from "./operate.js";
import { screenshots } from "./screenshots.js";
import { tokenTests } from "./token.js";
import { troubleTests } from "./trouble.js";
import { warningsTests } from "./warnings.js";

let running = null;
const browser = () => running;

before(async () => {
  // The name of a page that was rebound to this machine.
  running = await launch(["--host-resolver-rules=MAP evil.test 127.0.0.1"]);
});
after(async () => {
  endAll();
  await running?.close();
});

if (process.argv.includes("--screenshots")) screenshots(browser);
else for (const tests of [figuresTests, actionsTests, causesTests, foreignTests, listsTests, eventsTests, accessTests, tokenTests, troubleTests, warningsTests, incidentsTests, operateTests]) tests(browser);
