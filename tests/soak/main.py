#!/usr/bin/env python3
"""Mixed load with faults for as long as told, and the books at the end.

    tests/soak/main.py --allotd target/release/allotd --minutes 60 --seed 1

Clients lease, renew, return and look at figures over kept connections, and note outside the daemon what each answer
said. Meanwhile, in a random order: SIGKILL and a start in another durability mode, a full disk, steps of the clock forwards
and back, floods of requests that nobody reads, and hundreds of slow clients. While it runs and at the end:

- a number that an answer gave out is not given out again before its return was asked for;
- a pair of number and generation is given out once, and the generations of a number grow;
- what is held is renewed and returned, never `stale`;
- after the last stop, `allotd check` finds nothing, the export says `leased` with the right generation of every number that
  is held, and of no other but those of calls whose answers were lost.

Linux, Python 3.9 or later, no packages. The full disk needs root (a tmpfs), the clock libfaketime; without them these faults
are left out, and the summary says so.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time

from clients import HELD_TTL_SECONDS, Client
from daemon import Daemon, call
from faults import Faults
from ledger import HELD, SHORT, Broken, Ledger

NUMBERS = {HELD: (79_120_000_000, 20_000), SHORT: (79_130_000_000, 2_000)}
SHORT_TTL_SECONDS = 2
CLIENTS = 6
DISK_MIB = 160
PAUSE_SECONDS = (2.0, 8.0)


def close_books(daemon, ledger, options):
    """What the daemon says after the last stop, against the ledger."""
    daemon.stop()
    checked = subprocess.run([options.allotd, "check", daemon.data()], capture_output=True, text=True)
    if checked.returncode != 0:
        raise Broken(f"allotd check: {checked.stdout}{checked.stderr}")
    daemon.start("sync")
    status, text = call(daemon.address, "GET", f"/v1/pools/{HELD}/numbers?state=leased", accept="text/csv")
    if status != 200:
        raise Broken(f"the export gets {status}")
    leased = {}
    for row in text.splitlines()[1:]:
        number, state, generation, _ = row.split(",")
        leased[int(number)] = int(generation)
    for number, (generation, _) in ledger.held.items():
        if leased.get(number) != generation:
            ledger.broken.append(f"{number} is held with generation {generation}, the daemon has {leased.get(number)}")
    others = set(leased) - set(ledger.held)
    unsure = {number for number in others if ledger.unsure.get(number) == leased[number]}
    others -= unsure
    if len(others) > ledger.lost_leases:
        ledger.broken.append(f"{len(others)} are leased that nobody holds, {ledger.lost_leases} may be")
    daemon.stop()
    return len(leased), len(unsure), len(others)


def mount_disk(path):
    os.mkdir(path)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", path], capture_output=True
    )
    return mounted.returncode == 0


def run(options, work, has_disk):
    ledger, daemon = Ledger(), Daemon(options, work)
    daemon.start("sync")
    for pool, (first, count) in NUMBERS.items():
        ttl = HELD_TTL_SECONDS if pool == HELD else SHORT_TTL_SECONDS
        path = f"/v1/pools/{pool}?ttl={ttl}&ttl_max={HELD_TTL_SECONDS}"
        status, text = call(daemon.address, "PUT", path, f"first,last\n{first},{first + count - 1}\n", "text/csv")
        if status != 201:
            raise Broken(f"the pool gets {status}: {text}")
    stop = threading.Event()
    clients = [Client(daemon, ledger, f"{options.seed}/{index}", stop) for index in range(CLIENTS)]
    faults = Faults(daemon, ledger, options.seed, has_disk)
    for client in clients:
        client.start()
    try:
        end = time.monotonic() + options.minutes * 60
        while time.monotonic() < end and not ledger.broken:
            time.sleep(faults.random.uniform(*PAUSE_SECONDS))
            faults.one()
    finally:
        stop.set()
        for client in clients:
            client.join()
    peak_mib = max(faults.peak_mib, daemon.memory_mib())
    leased, unsure, lost = close_books(daemon, ledger, options) if not ledger.broken else (0, 0, 0)
    for name, count in sorted(ledger.counts.items()):
        print(f"{name:24} {count:>10,}")
    print(f"{'starts':24} {daemon.starts:>10,}")
    print(f"{'numbers given out':24} {ledger.pairs:>10,}")
    print(f"{'leased at the end':24} {leased:>10,}  held {len(ledger.held):,}, return unsure {unsure}, lease unsure {lost}")
    print(f"{'peak memory, MiB':24} {peak_mib:>10,}")
    for kind, is_there in (("full_disk", has_disk), ("clock_step", daemon.preload)):
        if not is_there:
            print(f"LEFT OUT: {kind}")
    return ledger.broken


def main():
    parser = argparse.ArgumentParser(description="Mixed load with faults, and the books at the end.")
    parser.add_argument("--allotd", required=True, type=os.path.realpath)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    work = tempfile.mkdtemp(prefix="allotd-soak-")
    disk = os.path.join(work, "disk")
    has_disk = mount_disk(disk)
    broken = ["it did not end"]
    try:
        broken = run(options, work, has_disk)
    except Broken as error:
        broken = [str(error)]
    finally:
        if broken:
            print(f"kept: {work}")
        else:
            if has_disk:
                subprocess.run(["umount", disk], check=True)
            subprocess.run(["rm", "-r", work], check=True)
    for what in broken:
        print(f"BROKEN: {what}", file=sys.stderr)
    print("FAILED" if broken else "passed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
