"""Starts allotd with a campaign in it, and the phone bank in front of it. Ctrl-C ends both.

    python3 run.py [--data DIR] [--port 8000] [--allotd PATH] [--any-hour]

The first start makes the campaign: tokens, lists, one pool a region, its hours and its note. Later starts go on with it.
"""

import argparse
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys

import uvicorn

import campaign
from app import make_app

HERE = pathlib.Path(__file__).resolve().parent


def find_allotd(given: str | None) -> str:
    """The allotd program: the given one, one on the PATH, or what `cargo build --release` made in this checkout."""
    built = HERE.parents[2] / "target" / "release" / "allotd"
    for path in (given, shutil.which("allotd"), built):
        if path and os.access(path, os.X_OK):
            return str(path)
    sys.exit("allotd is not on the PATH: give --allotd PATH, or build it with cargo build --release")


def main() -> None:
    parser = argparse.ArgumentParser(description="A phone bank on allotd.")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("phone-bank-data"))
    parser.add_argument("--port", type=int, default=8000, help="port of the phone bank (8000)")
    parser.add_argument("--allotd", help="path of the allotd program")
    parser.add_argument("--any-hour", action="store_true", help="for a try: call at any hour")
    parser.add_argument("--coordinator-password", default=os.environ.get("COORDINATOR_PASSWORD"))
    args = parser.parse_args()

    allotd = find_allotd(args.allotd)
    args.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    tokens = campaign.make_tokens(allotd, args.data)
    daemon, url = campaign.start(allotd, args.data, tokens)
    try:
        (args.data / "address").write_text(url)
        campaign.prepare(url, tokens.admin, any_hour=args.any_hour)
        password = args.coordinator_password or secrets.token_urlsafe(9)
        print(f"volunteers:  http://127.0.0.1:{args.port}/")
        print(f"coordinator: http://127.0.0.1:{args.port}/progress  (password {password})", flush=True)
        app = make_app(url, tokens.volunteers, tokens.coordinator, password, campaign.secret(args.data))
        uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="warning")
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(timeout=30)
        except subprocess.TimeoutExpired:
            daemon.kill()


if __name__ == "__main__":
    main()
