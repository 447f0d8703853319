#!/usr/bin/env python3
"""What a cluster costs against one daemon, and how long it takes to fill a standby and to take over, all on this machine.

    cargo build --release --features cluster && benches/cluster.py target/release/allotd

Starts three nodes of etcd and daemons on loopback, and stops them. Prints a table a question:

- leases a second and their latency, of one daemon with `sync` and of a cluster of two members, by turns;
- the time from the start of a standby with an empty directory until it follows a pool of 40 million numbers, beside load,
  and the load's latency before and meanwhile;
- the time without a primary after a kill, with that pool, and after a hand-over.

Linux, Python 3.9 or later, no packages; `etcd`.
"""

import argparse
import http.client
import json
import math
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NUMBERS = 40_000_000
MIXES = [(1, 1), (16, 1), (64, 1), (64, 100)]  # connections, numbers a lease
TURNS = 3
SECONDS = 4
KILLS = 10
HANDOVERS = 100
# A standby counts as following when at most so many entries are on the way to it.
MAX_LAG = 5
PATIENCE_SECONDS = 120


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


def wait_until(what, true):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        result = true()
        if result:
            return result
        time.sleep(0.005)
    sys.exit(f"after {PATIENCE_SECONDS} s not yet: {what}")


def get(port, path):
    """The status and body of an answer; nothing if none comes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return None, b""
    finally:
        connection.close()


class Programs:
    """Every process that was started, to be stopped."""

    def __init__(self, allotd, root):
        self.allotd, self.root, self.all = allotd, root, []

    def start(self, name, *command):
        with open(self.root / f"{name}.log", "a") as log:
            child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        self.all.append(child)
        return child

    def stop(self):
        for child in self.all:
            child.kill()
        for child in self.all:
            child.wait()

    def etcd(self):
        """Starts three nodes, and returns their URLs."""
        ports = free_ports(6)
        initial = ",".join(f"n{node}=http://127.0.0.1:{ports[node + 3]}" for node in range(3))
        for node in range(3):
            client, peer = f"http://127.0.0.1:{ports[node]}", f"http://127.0.0.1:{ports[node + 3]}"
            self.start(
                f"etcd{node}", "etcd", "--name", f"n{node}", "--data-dir", self.root / f"etcd{node}",
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", initial, "--log-level", "error",
            )
        for port in ports[:3]:
            wait_until("etcd has a leader", lambda port=port: b"true" in get(port, "/health")[1])
        return [f"http://127.0.0.1:{port}" for port in ports[:3]]


class Member:
    """A member of the cluster on a port of its own."""

    def __init__(self, programs, name, etcd):
        self.programs, self.name, self.etcd = programs, name, etcd
        self.port = free_ports(1)[0]
        self.data = programs.root / name
        self.child = None

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        nodes = [part for url in self.etcd for part in ("--etcd", url)]
        self.child = self.programs.start(
            self.name, self.programs.allotd, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}",
            "--cluster", "bench", *nodes, "--advertise", self.url(), "--member", self.name,
        )

    def leads(self):
        return get(self.port, "/readyz")[0] == 200


def bench(programs, server, pool, connections, count, seconds, pid=None, rate=None):
    """What `allotd bench` measures of leases and returns."""
    command = [
        programs.allotd, "bench", pool, "--mix", "lease+return", "--connections", connections, "--count", count,
        "--seconds", seconds, "--server", server, "--json",
    ]
    command += ["--server-pid", pid] if pid else []
    command += ["--rate", rate] if rate else []
    output = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout
    return json.loads(output)


def members_of(port):
    status, body = get(port, "/v1/cluster")
    return json.loads(body) if status == 200 else {}


def follows(port, name):
    """Whether the primary sees this member as one that could take over now."""
    found = [member for member in members_of(port).get("members", []) if member["member"] == name]
    return bool(found) and found[0].get("lag", 1_000_000) <= MAX_LAG


def alone(programs):
    """One daemon with `sync`, and a pool."""
    port = free_ports(1)[0]
    child = programs.start(
        "alone", programs.allotd, "serve", "--data", programs.root / "alone", "--listen", f"127.0.0.1:{port}",
        "--durability", "sync",
    )
    wait_until("the daemon alone is ready", lambda: get(port, "/readyz")[0] == 200)
    return port, child


def create(programs, port):
    numbers = programs.root / "numbers.csv"
    numbers.write_text("first,last\n79000000000,79000999999\n")
    command = [programs.allotd, "pool", "create", "bench", numbers, "--server", f"http://127.0.0.1:{port}"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def cost(programs, primary):
    port, child = alone(programs)
    create(programs, port)
    create(programs, primary.port)
    print("| connections, numbers a lease | | leases and returns a second | p50 | p99 | daemon's CPU each |")
    print("| --- | --- | --- | --- | --- | --- |")
    for connections, count in MIXES:
        results = {"one daemon, `sync`": [], "cluster": []}
        for _ in range(TURNS):
            for what, (to, pid) in zip(results, [(port, child.pid), (primary.port, primary.child.pid)]):
                results[what].append(bench(programs, f"http://127.0.0.1:{to}", "bench", connections, count, SECONDS, pid))
        for what, found in results.items():
            middle = lambda of: statistics.median(of(report) for report in found)
            print(
                f"| {connections}, {count} | {what} | {middle(lambda r: r['numbers_per_second']):,.0f} "
                f"| {middle(lambda r: r['latency_us']['p50']) / 1000:.2f} ms "
                f"| {middle(lambda r: r['latency_us']['p99']) / 1000:.2f} ms "
                f"| {middle(lambda r: r['server_cpu']['us_per_operation']):.0f} µs |",
                flush=True,
            )
    child.terminate()
    child.wait()


def fill(programs, primary, standby):
    """How long an empty member takes to follow, beside load."""
    quiet = bench(programs, primary.url(), "demo", 4, 1, 10, rate=500)
    load = subprocess.Popen(
        [str(programs.allotd), "bench", "demo", "--mix", "lease+return", "--connections", "4", "--rate", "500",
         "--seconds", "15", "--server", primary.url(), "--json"],
        stdout=subprocess.PIPE, text=True,
    )
    time.sleep(1)
    begun = time.monotonic()
    standby.start()
    wait_until("the standby follows", lambda: follows(primary.port, standby.name))
    took = time.monotonic() - begun
    beside = json.loads(load.communicate()[0])
    milliseconds = lambda report: " / ".join(f"{report['latency_us'][p] / 1000:.1f}" for p in ("p50", "p99"))
    print(f"\na standby of {NUMBERS:,} numbers is filled and follows after {took:.1f} s;", end=" ")
    print(f"500 calls a second before: p50 / p99 {milliseconds(quiet)} ms, meanwhile {milliseconds(beside)} ms", flush=True)


def gap(old, new, act):
    """Seconds from an act until the other member leads."""
    begun = time.monotonic()
    act()
    wait_until("the other member leads", new.leads)
    return time.monotonic() - begun


def told(what, times):
    if not times:
        return
    times = sorted(times)
    at = lambda share: times[math.ceil(share * len(times)) - 1]
    print(f"{what}, {len(times)} times: p50 {at(0.5):.2f} s, p99 {at(0.99):.2f} s, longest {times[-1]:.2f} s", flush=True)


def take_overs(programs, members, kills, handovers):
    old, new = members
    times = []
    for _ in range(handovers):
        wait_until("the standby follows", lambda: follows(old.port, new.name))
        command = [str(programs.allotd), "cluster", "handover", new.name, "--server", old.url()]
        times.append(gap(old, new, lambda: subprocess.run(command, check=True, capture_output=True)))
        old, new = new, old
    told("a hand-over", times)
    times = []
    for _ in range(kills):
        wait_until("the standby follows", lambda: follows(old.port, new.name))

        def kill():
            old.child.send_signal(signal.SIGKILL)
            old.child.wait()

        times.append(gap(old, new, kill))
        old.start()
        old, new = new, old
    told("a kill", times)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("allotd", type=Path, help="the program, built with the feature cluster")
    options.add_argument("--kills", type=int, default=KILLS)
    options.add_argument("--handovers", type=int, default=HANDOVERS)
    options.add_argument("--without-cost", action="store_true", help="leave out the first table")
    options = options.parse_args()
    root = Path(tempfile.mkdtemp(prefix="allotd-cluster-"))
    programs = Programs(options.allotd.resolve(), root)
    try:
        etcd = programs.etcd()
        first, second = (Member(programs, name, etcd) for name in ("a", "b"))
        # The first member makes the cluster of the data that it has.
        port = free_ports(1)[0]
        demo = programs.start(
            "demo", programs.allotd, "demo", "--data", first.data, "--listen", f"127.0.0.1:{port}", "--numbers", NUMBERS,
        )
        wait_until("the pool of the demo is there", lambda: get(port, "/v1/pools/demo")[0] == 200)
        demo.send_signal(signal.SIGTERM)
        demo.wait()
        first.start()
        wait_until("the first member leads", first.leads)
        fill(programs, first, second)
        if not options.without_cost:
            print()
            cost(programs, first)
            print()
        take_overs(programs, (first, second), options.kills, options.handovers)
    finally:
        programs.stop()
        shutil.rmtree(root, ignore_errors=True) if not os.environ.get("ALLOTD_KEEP") else print(root)


main()
