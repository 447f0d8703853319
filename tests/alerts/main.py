#!/usr/bin/env python3
"""Which alerts a real Prometheus raises while a daemon serves pools that are well, and pools that drain.

    tests/alerts/main.py --allotd target/release/allotd --minutes 60 --seed 1

Callers lease at random, independently of each other, and hold a number for a random time. Three pools stay 15, 50 and 95 %
taken that way, one leases and returns fast, and one is outside its hours while callers go on asking: no alert may fire of
them. One drains from the start until three quarters of the time are over, one is half taken and starts to drain after a third
of it: AllotdPoolNearlyExhausted must fire of each at least ten minutes before it is empty. Prometheus evaluates
docs/operations/alerts.yml, as it stands there. Fails if an alert fires that should not, is late, or does not come; with less
than 45 minutes the ten minutes are only printed.

Linux, Python 3.9 or later, no packages; prometheus.
"""

import argparse
import heapq
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

RULES = Path(__file__).resolve().parents[2] / "docs" / "operations" / "alerts.yml"
SCRAPE_SECONDS = 10
EVALUATION_SECONDS = 15
# Longer than any run: numbers come back because they are returned.
TTL_SECONDS = 86_400
IN_TIME_SECONDS = 600
# With a shorter run a pool drains too fast for ten minutes of notice.
JUDGED_MINUTES = 45
EXPECTED = {"drains": {"AllotdPoolNearlyExhausted", "AllotdPoolExhausted"}}
EXPECTED["turns"] = EXPECTED["drains"]

PROMETHEUS = """
global: {{ scrape_interval: {scrape}s, evaluation_interval: {evaluation}s }}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: allotd
    static_configs: [{{ targets: ["{daemon}"] }}]
"""


class Pool(threading.Thread):
    """A pool and its callers: `rate` numbers a second are leased, `batch` at a time, and come back, so that `taken` are held
    on average. From `drain_from` on as many more are leased and not returned that none is left at `empty_at`."""

    def __init__(self, name, seed, numbers, taken, rate, batch=1, drain_from=None, empty_at=None, settings=None):
        super().__init__(daemon=True)
        self.settings = settings
        self.label, self.numbers, self.taken, self.rate, self.batch = name, numbers, taken, rate, batch
        self.drain_from, self.empty_at = drain_from, empty_at
        self.random = random.Random(f"{seed} {name}")
        self.leased = self.returned = self.refused = 0
        self.exhausted_at, self.faults = None, []

    def prepare(self, address, begin, stop):
        self.begin, self.stop = begin, stop
        self.connection = http.client.HTTPConnection(*address.split(":"), timeout=60)
        first = 79_120_000_000
        body = f"{first}-{first + self.numbers - 1}\n"
        self.send("PUT", f"/v1/pools/{self.label}?ttl={TTL_SECONDS}", body, "text/plain")
        if self.settings:
            self.send("PATCH", f"/v1/pools/{self.label}", json.dumps(self.settings))
        self.returns = []
        for lease in self.lease(self.taken) if self.taken else []:
            self.hold([lease])

    def send(self, method, path, body, kind="application/json"):
        self.connection.request(method, path, body, {"content-type": kind})
        response = self.connection.getresponse()
        text = response.read().decode()
        if response.status not in (200, 201, 409):
            raise RuntimeError(f"{method} {path}: {response.status} {text}")
        return json.loads(text)

    def lease(self, count):
        leases = self.send("POST", f"/v1/pools/{self.label}/lease", json.dumps({"count": count})).get("leases", [])
        self.leased += len(leases)
        if not leases:
            self.refused += 1
            self.exhausted_at = self.exhausted_at or time.monotonic()
        return [{"number": lease["number"], "token": lease["token"]} for lease in leases]

    def hold(self, leases):
        if leases:
            until = time.monotonic() + self.random.expovariate(self.rate / self.taken)
            heapq.heappush(self.returns, (until, self.leased, self.random.random(), leases))

    def run(self):
        try:
            self.serve()
        except Exception as error:  # What a thread does not expect is a finding too.
            self.faults.append(f"{self.label}: {type(error).__name__}: {error}")

    def serve(self):
        never = float("inf")
        next_lease = time.monotonic()
        next_drain = self.begin + self.drain_from if self.empty_at else never
        # In the pool that is half taken, what is taken stays so while the rest drains.
        drain = (self.numbers - self.taken) / (self.empty_at - self.drain_from) if self.empty_at else None
        while not self.stop.is_set():
            due = min(next_lease, next_drain, self.returns[0][0] if self.returns else never)
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, 0.5))
            elif due == next_lease:
                next_lease += self.random.expovariate(self.rate / self.batch)
                self.hold(self.lease(self.batch))
            elif due == next_drain:
                next_drain += self.random.expovariate(drain)
                self.lease(1)
            else:
                leases = heapq.heappop(self.returns)[-1]
                self.send("POST", f"/v1/pools/{self.label}/return", json.dumps({"leases": leases}))
                self.returned += len(leases)


class Watch:
    """The alerts that Prometheus has, as they come and go."""

    def __init__(self, address, begin):
        self.address, self.begin, self.states, self.first = address, begin, {}, {}

    def look(self):
        with urllib.request.urlopen(f"http://{self.address}/api/v1/alerts", timeout=30) as response:
            alerts = json.load(response)["data"]["alerts"]
        now = time.monotonic()
        states = {}
        for alert in alerts:
            labels = alert["labels"]
            states[labels["alertname"], labels.get("pool", "-")] = alert["state"]
        for key in self.states.keys() | states.keys():
            was, state = self.states.get(key), states.get(key, "over")
            if was != state:
                print(f"{(now - self.begin) / 60:6.1f} min  {key[1]:10} {key[0]:28} {state}", flush=True)
                self.first.setdefault((*key, state), now)
        self.states = states


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def ready(address, path, process):
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=5):
                return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    sys.exit(f"{process.args[0]} does not start")


def summary(pools, watch, minutes):
    """Prints the table; what is wrong."""
    faults = [fault for pool in pools for fault in pool.faults]
    print(f"\n{'pool':10} {'leased':>8} {'refused':>8}  alerts that fired")
    for pool in pools:
        fired = sorted({name for name, label, state in watch.first if label == pool.label and state == "firing"})
        print(f"{pool.label:10} {pool.leased:8} {pool.refused:8}  {', '.join(fired) or 'none'}")
        faults += [f"{name} fires of {pool.label}" for name in set(fired) - EXPECTED.get(pool.label, set())]
        if pool.label not in EXPECTED:
            continue
        at = watch.first.get(("AllotdPoolNearlyExhausted", pool.label, "firing"))
        if at is None or pool.exhausted_at is None:
            faults.append(f"{pool.label}: {'not empty in time' if at else 'AllotdPoolNearlyExhausted does not fire'}")
            continue
        early, after = pool.exhausted_at - at, at - watch.begin - pool.drain_from
        print(f"{'':10} AllotdPoolNearlyExhausted after {after / 60:.1f} min of draining, {early / 60:.1f} min before the end")
        if early < IN_TIME_SECONDS and minutes >= JUDGED_MINUTES:
            faults.append(f"{pool.label}: AllotdPoolNearlyExhausted is only {early:.0f} s early")
    others = sorted({name for name, label, state in watch.first if label == "-" and state == "firing"})
    print(f"{'the daemon':28}  {', '.join(others) or 'none'}")
    return faults + [f"{name} fires" for name in others]


def run(options, work, processes):
    daemon, prometheus = free_address(), free_address()
    log = open(os.path.join(work, "log"), "w")
    command = [options.allotd, "serve", "--data", f"{work}/data", "--listen", daemon, "--durability", options.durability]
    processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log))
    ready(daemon, "/readyz", processes[-1])
    values = {"scrape": SCRAPE_SECONDS, "evaluation": EVALUATION_SECONDS, "rules": RULES, "daemon": daemon}
    Path(work, "prometheus.yml").write_text(PROMETHEUS.format(**values))
    command = ["prometheus", f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/series"]
    command += [f"--web.listen-address={prometheus}", "--log.level=warn"]
    processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    ready(prometheus, "/-/ready", processes[-1])

    seconds = options.minutes * 60
    yesterday = time.strftime("%a", time.gmtime(time.time() - 86_400)).lower()
    closed = {"hours": {"rules": [{"days": yesterday, "from": "09:00", "to": "17:00"}], "zone": "UTC"}}
    half = {"numbers": 20_000, "taken": 10_000, "rate": 20}
    pools = [
        Pool("steady-15", options.seed, 20_000, 3_000, 20),
        Pool("steady-50", options.seed, **half),
        Pool("steady-95", options.seed, 20_000, 19_000, 20),
        Pool("fast", options.seed, 10_000, 2_000, 300, batch=10),
        Pool("closed", options.seed, 1_000, 0, 1, settings=closed),
        Pool("drains", options.seed, 20_000, 400, 20, drain_from=0, empty_at=0.75 * seconds),
        Pool("turns", options.seed, **half, drain_from=seconds / 3, empty_at=0.75 * seconds),
    ]
    begin, stop = time.monotonic(), threading.Event()
    for pool in pools:
        pool.prepare(daemon, begin, stop)
    for pool in pools:
        pool.start()
    watch = Watch(prometheus, begin)
    while time.monotonic() < begin + seconds and not any(pool.faults for pool in pools):
        time.sleep(5)
        watch.look()
    stop.set()
    for pool in pools:
        pool.join(timeout=60)
    return summary(pools, watch, options.minutes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--allotd", required=True, help="the binary")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--durability", default="sync")
    options = parser.parse_args()
    processes = []
    with tempfile.TemporaryDirectory(prefix="allotd-alerts-") as work:
        try:
            faults = run(options, work, processes)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    if faults:
        sys.exit("\n".join(faults))


main()
