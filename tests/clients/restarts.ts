// Callers with the TypeScript client of docs/clients.md. What they hold is in the book of restarts.py: each line is answered
// once it stands there.
import { createInterface } from "node:readline";
import { Allotd } from "./client.js";

const [url, callers, ttl] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const sleep = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));
const waiting = new Map<string, () => void>();
let goesOn = true;
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "stop") goesOn = false;
  else waiting.get(line)?.();
});

function note(sign: string, number: number, who = ""): Promise<void> {
  return new Promise((done) => {
    waiting.set(sign === "-" ? `-${number}` : `${number}`, done);
    console.log(`${sign} ${number} ${who}`.trim());
  });
}

async function caller(who: string): Promise<void> {
  const allotd = new Allotd(url, "p");
  while (goesOn) {
    let held = await allotd.lease(ttl);
    await note("+", held.number, who);
    try {
      await sleep(Math.random() * 0.2);
      if (Math.random() < 0.5) {
        held = await allotd.renew(held, ttl);
        await sleep(Math.random() * 0.1);
      }
      await note("-", held.number);
      await allotd.giveBack(held, "talked");
    } catch (failure) {
      console.log(`! ${who} lost ${held.number}: ${failure}`);
    }
  }
}

await Promise.all(Array.from({ length: callers }, (_, index) => caller(`typescript-${index}`)));
process.exit();
