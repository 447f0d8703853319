// Uses the types that openapi-typescript makes of the daemon's OpenAPI document, with openapi-fetch, against a daemon.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./allotd.js";

type LeaseProblem = components["schemas"]["Exhausted"] | components["schemas"]["PausedProblem"];

const FIRST = 79120000000;
const api = createClient<paths>({ baseUrl: process.argv[2] });
const text = { headers: { "Content-Type": "text/plain" }, bodySerializer: (body: unknown) => body as string };
const pool = { path: { pool: "ts" } };

// The compiler follows the code: each branch knows its own members.
function whyNot(problem: LeaseProblem): string {
  return problem.code === "exhausted" ? `${problem.leased} are leased` : problem.detail;
}

const list = [0, 1, 2].map((index) => `${FIRST + index}\n`).join("");
const created = await api.PUT("/v1/pools/{pool}", { params: { ...pool, query: { ttl: 60 } }, body: list, ...text });
assert.equal(created.response.status, 201);
const exists = await api.PUT("/v1/pools/{pool}", { params: pool, body: list, ...text });
assert.equal(exists.error?.code, "pool_exists");

const once = { params: { ...pool, header: { "Idempotency-Key": "k" } }, body: { count: 2, ttl: 30 } };
const leased = await api.POST("/v1/pools/{pool}/lease", once);
const again = await api.POST("/v1/pools/{pool}/lease", once);
// The same leases, of which a little less is left.
const tokens = (answer: typeof leased) => answer.data?.leases.map(({ number, token }) => ({ number, token }));
assert.equal(tokens(again)?.length, 2);
assert.deepEqual(tokens(again), tokens(leased));
const [one, other] = leased.data!.leases;
assert.ok(one.number > 2 ** 32);
const { number, token } = one;
const renewed = await api.POST("/v1/pools/{pool}/renew", { params: pool, body: { leases: [{ number, token }], ttl: 600 } });
assert.equal(renewed.data?.results[0].result, "renewed");

assert.equal((await api.POST("/v1/pools/{pool}/lease", { params: pool, body: { count: 9 } })).data?.leases.length, 1);
const exhausted = await api.POST("/v1/pools/{pool}/lease", { params: pool });
assert.equal(exhausted.response.status, 409);
assert.equal(whyNot(exhausted.error as LeaseProblem), "3 are leased");
assert.equal((await api.DELETE("/v1/pools/{pool}", { params: pool })).error?.code, "in_use");
await api.POST("/v1/pools/{pool}/pause", { params: pool });
const paused = await api.POST("/v1/pools/{pool}/lease", { params: pool });
assert.equal((paused.error as LeaseProblem).code, "paused");
await api.POST("/v1/pools/{pool}/resume", { params: pool });

const back = { leases: [{ number, token, outcome: "talked" }] };
const returned = await api.POST("/v1/pools/{pool}/return", { params: pool, body: back });
assert.equal(returned.data?.results[0].result, "returned");
const alone = { path: { pool: "ts", number: other.number }, header: { "Lease-Token": other.token } };
const second = await api.POST("/v1/pools/{pool}/numbers/{number}/return", { params: alone });
assert.equal(second.data?.result, "returned");
const wrong = { ...alone, header: { "Lease-Token": "A".repeat(11) } };
const stale = await api.POST("/v1/pools/{pool}/numbers/{number}/return", { params: wrong });
assert.equal(stale.error?.code, "stale");

const shown = await api.GET("/v1/pools");
assert.ok(shown.data?.pools.some((one) => one.pool === "ts" && one.leased === 1));
const stats = await api.GET("/v1/stats");
assert.equal(stats.data?.pools["ts"].totals.leases, 3);
const deleted = await api.DELETE("/v1/pools/{pool}", { params: { ...pool, query: { force: true } } });
assert.equal(deleted.response.status, 200);
console.log("the generated TypeScript client works");
