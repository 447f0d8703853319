"""The phone bank: volunteers get numbers one after another, a coordinator sees how it goes."""

import asyncio
import contextlib
import hmac
import pathlib
import random
import re
import secrets
from collections import Counter, defaultdict

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from allotd import Allotd, Refused
from campaign import OPT_OUTS, OUTCOMES, REGIONS

HERE = pathlib.Path(__file__).resolve().parent
PAGES = Jinja2Templates(HERE / "templates")
MAX_NAME = 40
# What the buttons say, in their order.
BUTTONS = {
    "talked": "We talked",
    "no_answer": "No answer",
    "busy": "Busy",
    "wrong_number": "Not in service",
    "do_not_call": "Do not call again",
}
assert set(BUTTONS) == set(OUTCOMES)
RETRY_SECONDS = 2


class Tally:
    """Who reached whom, counted from the events of all regions."""

    def __init__(self, allotd: Allotd):
        self.allotd = allotd
        self.by_region = defaultdict(Counter)
        self.by_volunteer = defaultdict(Counter)

    async def follow(self, pool: str) -> None:
        """Counts a region's events as they happen, each once."""
        last = None
        while True:
            try:
                async for event in self.allotd.events(pool, last):
                    last = event["seq"]
                    if event["event"] == "returned" and event.get("outcome"):
                        self.by_region[pool][event["outcome"]] += 1
                        self.by_volunteer[event.get("holder") or "?"][event["outcome"]] += 1
            except Refused as refused:
                # What is no longer kept cannot be counted: go on with the oldest that is.
                last = refused.problem["oldest"] - 1 if refused.code == "gone" else last
                await asyncio.sleep(RETRY_SECONDS)
            except httpx.HTTPError:
                await asyncio.sleep(RETRY_SECONDS)


def make_app(url: str, volunteers_token: str, coordinator_token: str, password: str, cookie_secret: str) -> Starlette:
    allotd = Allotd(url, volunteers_token)
    watch = Allotd(url, coordinator_token)
    tally = Tally(watch)

    @contextlib.asynccontextmanager
    async def running(_app):
        async with asyncio.TaskGroup() as tasks:
            followers = [tasks.create_task(tally.follow(pool)) for pool in REGIONS]
            yield
            for follower in followers:
                follower.cancel()

    def page(request, template, **values):
        return PAGES.TemplateResponse(request, template, values, headers={"Cache-Control": "no-store"})

    async def home(request):
        if "volunteer" not in request.session:
            return page(request, "sign_in.html", wrong=None)
        lease = request.session.get("lease")
        note = await allotd.note(lease["pool"]) if lease else None
        return page(
            request,
            "call.html",
            name=request.session["name"],
            lease=lease,
            note=note,
            buttons=BUTTONS,
            told=request.session.pop("told", None),
            done=request.session.get("done", 0),
        )

    async def sign_in(request):
        name = " ".join((await request.form()).get("name", "").split())
        if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            return page(request, "sign_in.html", wrong=f"Give your name, with up to {MAX_NAME} letters.")
        # The holder in allotd: readable for the coordinator, and one of its own for each volunteer.
        short = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "volunteer"
        request.session.update(volunteer=f"{short}-{secrets.token_hex(3)}", name=name, done=0)
        return RedirectResponse("/", 303)

    async def next_number(request):
        """Leases a number, and waits for one if all are taken: the page calls it again until it has one."""
        session = request.session
        if "volunteer" not in session:
            return JSONResponse({"ready": True})
        if not session.get("lease"):
            # Volunteers spread over the regions; one without a number now is passed over.
            pools = random.sample(list(REGIONS), len(REGIONS))
            key = session.setdefault("key", secrets.token_urlsafe(16))
            try:
                session["lease"] = await allotd.lease(pools, session["volunteer"], key)
                del session["key"]
            except Refused as refused:
                if refused.code != "exhausted":
                    session.pop("key", None)
                regions = refused.problem.get("pools", [])
                opens = min((p["next_open_at"] for p in regions if p.get("next_open_at")), default=None)
                closed = any(p.get("closed") for p in regions)
                return JSONResponse({"ready": False, "closed": closed, "opens": opens, "why": str(refused)})
            except httpx.HTTPError:
                return JSONResponse({"ready": False, "closed": False, "opens": None, "why": "allotd does not answer"})
        return JSONResponse({"ready": True})

    async def outcome(request):
        session = request.session
        said = (await request.form()).get("outcome", "")
        lease = session.get("lease")
        if said in BUTTONS and lease:
            try:
                await allotd.give_back(lease, said)
                session["done"] = session.get("done", 0) + 1
            except Refused as refused:
                session["told"] = (
                    "Your time with this number had run out, so somebody else may have it now: your answer was not kept."
                    if refused.code == "stale"
                    else str(refused)
                )
            except httpx.HTTPError:
                # The number is still the volunteer's: nothing is lost by pressing again.
                session["told"] = "That did not get through. Press the button again."
                return RedirectResponse("/", 303)
            session["lease"] = None
        return RedirectResponse("/", 303)

    async def renew(request):
        lease = request.session.get("lease")
        if not lease:
            return JSONResponse({"renewed": False})
        try:
            lease["expires_at"] = (await allotd.renew(lease))["expires_at"]
        except (Refused, httpx.HTTPError):
            return JSONResponse({"renewed": False})
        request.session["lease"] = lease
        return JSONResponse({"renewed": True, "expires_at": lease["expires_at"]})

    async def leave(request):
        if "volunteer" in request.session:
            for pool in REGIONS:
                with contextlib.suppress(Refused, httpx.HTTPError):
                    await allotd.leave(pool, request.session["volunteer"])
        request.session.clear()
        return RedirectResponse("/", 303)

    async def progress(request):
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(basic_password(given), password):
            return PlainTextResponse(
                "Sign in as coordinator", 401, headers={"WWW-Authenticate": 'Basic realm="phone bank"'}
            )
        try:
            pools = [pool for pool in await watch.pools() if pool["pool"] in REGIONS]
            opt_outs = await watch.list_numbers(OPT_OUTS)
            calling = {region: await watch.holders(region) for region in REGIONS}
        except (Refused, httpx.HTTPError) as error:
            return PlainTextResponse(f"allotd does not answer: {error}", 503)
        return page(
            request,
            "progress.html",
            pools=pools,
            opt_outs=opt_outs,
            calling=calling,
            outcomes=BUTTONS,
            by_region=tally.by_region,
            by_volunteer=sorted(tally.by_volunteer.items(), key=lambda one: -one[1].total()),
        )

    return Starlette(
        routes=[
            Route("/", home),
            Route("/sign-in", sign_in, methods=["POST"]),
            Route("/next", next_number, methods=["POST"]),
            Route("/outcome", outcome, methods=["POST"]),
            Route("/renew", renew, methods=["POST"]),
            Route("/leave", leave, methods=["POST"]),
            Route("/progress", progress),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(SessionMiddleware, secret_key=cookie_secret, same_site="strict", max_age=14 * 3600)],
        lifespan=running,
    )


def basic_password(header: str) -> str:
    """The password of an `Authorization: Basic` header; empty for any other."""
    import base64
    import binascii

    scheme, _, rest = header.partition(" ")
    try:
        text = base64.b64decode(rest, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text.partition(":")[2] if scheme.lower() == "basic" else ""
