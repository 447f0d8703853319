"""The calls of allotd that the phone bank makes."""

import json
from collections.abc import AsyncIterator

import httpx

# How long a volunteer's page waits for a number before it asks again.
WAIT_SECONDS = 20


class Refused(Exception):
    """A problem that allotd answered with."""

    def __init__(self, problem: dict):
        super().__init__(problem["detail"])
        self.code = problem["code"]
        self.problem = problem


class Allotd:
    def __init__(self, url: str, token: str):
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(base_url=url, headers=headers, timeout=WAIT_SECONDS + 10)

    async def call(self, method: str, path: str, **more) -> httpx.Response:
        answer = await self.http.request(method, path, **more)
        if answer.is_error:
            raise Refused(answer.json())
        return answer

    async def lease(self, pools: list[str], holder: str, key: str) -> dict:
        """One number of the first pool that has one. A repetition with the same key gets the same number."""
        body = {"pools": pools, "holder": holder, "wait": WAIT_SECONDS}
        answer = await self.call("POST", "/v1/lease", json=body, headers={"Idempotency-Key": key})
        return answer.json()["leases"][0]

    async def give_back(self, lease: dict, outcome: str) -> dict:
        path = f"/v1/pools/{lease['pool']}/numbers/{lease['number']}/return"
        answer = await self.call("POST", path, params={"outcome": outcome}, headers={"Lease-Token": lease["token"]})
        return answer.json()

    async def renew(self, lease: dict) -> dict:
        path = f"/v1/pools/{lease['pool']}/numbers/{lease['number']}/renew"
        return (await self.call("POST", path, headers={"Lease-Token": lease["token"]})).json()

    async def leave(self, pool: str, holder: str) -> int:
        """Returns all that a volunteer has."""
        answer = await self.call("POST", f"/v1/pools/{pool}/holders/{holder}/return")
        return answer.json()["returned"]

    async def note(self, pool: str) -> str:
        return (await self.call("GET", f"/v1/pools/{pool}/note")).text

    async def pools(self) -> list[dict]:
        return (await self.call("GET", "/v1/pools")).json()["pools"]

    async def list_numbers(self, name: str) -> int:
        return (await self.call("GET", f"/v1/lists/{name}")).json()["numbers"]

    async def holders(self, pool: str) -> dict:
        return (await self.call("GET", f"/v1/pools/{pool}/holders", params={"top": 20})).json()

    async def events(self, pool: str, after: int | None) -> AsyncIterator[dict]:
        """The changes of a pool after one, or from the oldest that is kept; ends after a while without any."""
        query = {"wait": WAIT_SECONDS} | ({} if after is None else {"from": after + 1})
        path = f"/v1/pools/{pool}/events"
        async with self.http.stream("GET", path, params=query) as answer:
            if answer.is_error:
                raise Refused(json.loads(await answer.aread()))
            async for line in answer.aiter_lines():
                if line:
                    yield json.loads(line)
