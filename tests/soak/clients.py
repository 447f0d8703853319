"""Clients that lease, renew, return and look, and note what they are told."""

import http.client
import json
import random
import threading
import time

from ledger import HELD, SHORT, Broken

# Longer than any run, with the steps of its clock.
HELD_TTL_SECONDS = 30 * 86_400
MOST_HELD = 2_000
# 507 while the disk is full, 503 while a key or a start is under way: refusals for now.
FOR_NOW = (503, 507)


class Client(threading.Thread):
    def __init__(self, daemon, ledger, seed, stop):
        super().__init__()
        self.daemon_, self.ledger, self.random, self.stop = daemon, ledger, random.Random(seed), stop
        self.connection = None

    def send(self, method, path, body=None):
        """Status and object, or None if it is not known whether the call was executed."""
        try:
            if self.connection is None:
                host, port = self.daemon_.address.split(":")
                self.connection = http.client.HTTPConnection(host, int(port), timeout=60)
            headers = {"content-type": "application/json"} if body else {}
            self.connection.request(method, path, json.dumps(body) if body else None, headers)
            response = self.connection.getresponse()
            text = response.read().decode()
            return response.status, json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            if self.connection:
                self.connection.close()
            self.connection = None
            time.sleep(0.05)
            return None

    def run(self):
        steps = (self.lease, self.lease, self.renew, self.give_back, self.churn, self.look)
        while not self.stop.is_set():
            try:
                self.random.choice(steps)()
            except Exception as error:  # What a thread does not expect is a finding too.
                with self.ledger.lock:
                    self.ledger.broken.append(f"{type(error).__name__}: {error}")
                return

    def take_leases(self, pool, count):
        sent = self.send("POST", f"/v1/pools/{pool}/lease", {"count": count})
        if sent is None:
            with self.ledger.lock:
                self.ledger.lost_leases += count if pool == HELD else 0
            self.ledger.count("lease unanswered")
            return
        status, answer = sent
        self.ledger.count(f"lease {status}")
        if status == 200:
            self.ledger.leased(pool, answer["leases"])
        elif status not in (409, *FOR_NOW):
            raise Broken(f"a lease gets {status}: {answer}")

    def lease(self):
        if len(self.ledger.held) < MOST_HELD:
            self.take_leases(HELD, self.random.choice((1, 1, 1, 3, 20)))
        else:
            self.give_back()

    def churn(self):
        self.take_leases(SHORT, self.random.choice((1, 5)))

    def held_call(self, action, body):
        taken = self.ledger.take(self.random, self.random.choice((1, 2, 10)))
        if not taken:
            return
        leases = [{"number": number, "token": token} for number, (_, token) in taken.items()]
        sent = self.send("POST", f"/v1/pools/{HELD}/{action}", {"leases": leases, **body})
        if sent is None:
            self.ledger.count(f"{action} unanswered")
            if action == "renew":
                self.ledger.settle(taken, False)
            return
        status, answer = sent
        self.ledger.count(f"{action} {status}")
        if status == 200 and all(result["result"] != "stale" for result in answer["results"]):
            self.ledger.settle(taken, action == "return")
        elif status in FOR_NOW:
            # Of a part of them the return may be done.
            if action == "renew":
                self.ledger.settle(taken, False)
        else:
            raise Broken(f"{action} of what is held gets {status}: {answer}")

    def renew(self):
        self.held_call("renew", {"ttl": HELD_TTL_SECONDS})

    def give_back(self):
        self.held_call("return", {})

    def look(self):
        self.send("GET", self.random.choice(("/v1/stats", f"/v1/pools/{HELD}", f"/v1/pools/{HELD}/map?buckets=64")))
