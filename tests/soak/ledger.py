"""Who holds what, of the answers alone."""

import threading

HELD, SHORT = "held", "short"


class Broken(Exception):
    """A promise that was not kept."""


class Ledger:
    """What the clients were told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.held = {}  # number -> (generation, token), until its return is asked for
        self.seen = {}  # (pool, number) -> the last generation that was given out
        self.pairs = 0
        self.unsure = {}  # number -> generation, whose return was asked for and not answered
        self.lost_leases = 0  # numbers that a lease without an answer may have taken
        self.broken = []
        self.counts = {}

    def count(self, what, by=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + by

    def leased(self, pool, leases):
        with self.lock:
            for lease in leases:
                number, generation = lease["number"], lease["generation"]
                before = self.seen.get((pool, number), 0)
                if generation <= before:
                    self.broken.append(f"{pool} {number}: generation {generation} after {before}")
                self.seen[pool, number] = generation
                self.pairs += 1
                if pool == HELD:
                    if number in self.held:
                        self.broken.append(f"{number} is given out to a second holder: {lease}")
                    self.unsure.pop(number, None)
                    self.held[number] = (generation, lease["token"])

    def take(self, random_, count):
        """Some that are held, as of now without a holder in the ledger."""
        with self.lock:
            numbers = random_.sample(sorted(self.held), min(count, len(self.held)))
            taken = {number: self.held.pop(number) for number in numbers}
            self.unsure.update({number: generation for number, (generation, _) in taken.items()})
            return taken

    def settle(self, taken, are_returned):
        with self.lock:
            for number, (generation, token) in taken.items():
                if self.unsure.get(number) == generation:
                    del self.unsure[number]
                    if not are_returned:
                        self.held[number] = (generation, token)
