"""The campaign in allotd: who may call it, which numbers there are, when they may be called, and what to say.

The numbers are reserved for fiction: Ofcom's for London, those of the Bundesnetzagentur for Berlin, 555-01xx for New York.
"""

import dataclasses
import pathlib
import secrets
import subprocess

import httpx

REGIONS = {
    "london": ("442079460000", "442079460999"),
    "berlin": ("493023125000", "493023125999"),
    "new-york": ("12125550100", "12125550199"),
}
OPT_OUTS = "optouts"
TTL_SECONDS = 300
OUTCOMES = {
    "talked": "done",
    "no_answer": {"rest": 4 * 3600},
    "busy": {"rest": 15 * 60},
    "wrong_number": "retired",
    "do_not_call": {"list": OPT_OUTS},
}
HOURS = {"rules": [{"days": "mon-sun", "from": "09:00", "to": "21:00"}]}
NOTE = """# What to say

*Good day, my name is … and I am a volunteer.* May I take a few minutes of your time?

- Listen first. There is no script to finish.
- If they do not want to be called: say thank you, and press **Do not call again**.
"""


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The tokens file of the daemon, and the tokens in it."""

    file: pathlib.Path
    volunteers: str
    coordinator: str
    admin: str


# Who calls allotd: name, role, and what its token may do.
CALLERS = {
    "volunteers": ["--role", "client", "--pools", "*"],
    "coordinator": ["--role", "viewer", "--pools", "*", "--numbers"],
    "admin": ["--role", "admin", "--pools", "*"],
}


def make_tokens(allotd: str, data: pathlib.Path) -> Tokens:
    """The tokens of a campaign; made at the first start, and kept."""
    file = data / "tokens.toml"
    entries = []
    for name, flags in CALLERS.items():
        secret = data / f"{name}.token"
        if not secret.exists():
            command = [allotd, "token", "new", name, *flags, "--out", str(secret)]
            entries.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if entries:
        with open(file, "a", opener=private) as out:
            out.write("\n".join(entries))
    return Tokens(file, *((data / f"{name}.token").read_text().strip() for name in CALLERS))


def secret(data: pathlib.Path) -> str:
    """What signs the volunteers' cookies."""
    path = data / "cookie-secret"
    if not path.exists():
        with open(path, "w", opener=private) as out:
            out.write(secrets.token_urlsafe(32))
    return path.read_text()


def private(path: str, flags: int) -> int:
    import os

    return os.open(path, flags, 0o600)


def start(allotd: str, data: pathlib.Path, tokens: Tokens) -> tuple[subprocess.Popen, str]:
    """Starts the daemon on a free port, and returns it with its URL."""
    command = [allotd, "serve", "--data", str(data / "allotd"), "--listen", "127.0.0.1:0", "--tokens", str(tokens.file)]
    command += ["--events-keep", "64MiB,24h"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in daemon.stdout:
        if line.startswith("listening on "):
            address = line.split()[-1]
            return daemon, address if "://" in address else f"http://{address}"
    raise SystemExit(f"allotd ended with {daemon.wait()}: its log says why")


def prepare(url: str, admin: str, *, any_hour: bool) -> None:
    """Makes what is missing of the campaign."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {admin}"}, timeout=60) as allotd:
        text = {"Content-Type": "text/plain"}
        if allotd.get(f"/v1/lists/{OPT_OUTS}").status_code == 404:
            check(allotd.put(f"/v1/lists/{OPT_OUTS}", content="", headers=text))
        for pool, (first, last) in REGIONS.items():
            if allotd.get(f"/v1/pools/{pool}").status_code == 404:
                query = {"ttl": TTL_SECONDS, "ttl_max": 3600, "holders": "true", "blocked_by": OPT_OUTS}
                check(allotd.put(f"/v1/pools/{pool}", params=query, content=f"{first}-{last}\n", headers=text))
                check(allotd.put(f"/v1/pools/{pool}/zones", params={"builtin": "phone"}))
            settings = {
                "outcomes": OUTCOMES,
                "attempts": {"max": 3, "then": "done"},
                "max_per_holder": 1,
                "hours": None if any_hour else HOURS,
                "note": NOTE,
            }
            check(allotd.patch(f"/v1/pools/{pool}", json=settings))


def check(answer: httpx.Response) -> None:
    if answer.is_error:
        raise SystemExit(f"{answer.request.method} {answer.request.url.path}: {answer.json()['detail']}")
