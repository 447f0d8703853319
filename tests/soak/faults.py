"""What happens to the daemon meanwhile."""

import os
import random
import socket
import time

from ledger import HELD, Broken

MODES = ("sync", "interval", "none")
FAULT_SECONDS = 3.0


class Faults:
    def __init__(self, daemon, ledger, seed, has_disk):
        self.daemon, self.ledger, self.random = daemon, ledger, random.Random(seed)
        self.kinds = [self.kill, self.flood, self.slow_clients]
        self.kinds += [self.full_disk] if has_disk else []
        self.kinds += [self.clock_step] if daemon.preload else []
        self.peak_mib = 0

    def one(self):
        self.peak_mib = max(self.peak_mib, self.daemon.memory_mib())
        kind = self.random.choice(self.kinds)
        self.ledger.count(f"fault {kind.__name__}")
        kind()
        if self.daemon.process.poll() is not None:
            raise Broken(f"the daemon has ended with {self.daemon.process.returncode} at {kind.__name__}")

    def kill(self):
        self.daemon.kill()
        self.daemon.start(self.random.choice(MODES))

    def full_disk(self):
        path = os.path.join(self.daemon.work, "disk", "ballast")
        with open(path, "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"\1" * 65_536)
            except OSError:
                pass
        time.sleep(FAULT_SECONDS)
        if self.random.random() < 0.3:
            self.daemon.kill()
            os.remove(path)
            self.daemon.start(self.random.choice(MODES))
        else:
            os.remove(path)

    def clock_step(self):
        self.daemon.set_clock(self.random.choice((-3_600, -60, -1, 0, 1, 60, 3_600, 86_400)))
        if self.random.random() < 0.5:
            time.sleep(FAULT_SECONDS / 2)
            self.daemon.kill()
            self.daemon.start(self.random.choice(MODES))

    def sockets(self, count):
        host, port = self.daemon.address.split(":")
        for _ in range(count):
            try:
                yield socket.create_connection((host, int(port)), timeout=5)
            except OSError:
                return

    def flood(self):
        """Pipelined requests that nobody reads, and bytes that are no HTTP."""
        head = f"GET /v1/pools/{HELD} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        opened = []
        for stream in self.sockets(40):
            opened.append(stream)
            stream.setblocking(False)
            try:
                stream.send(head * 2_000 if len(opened) % 2 else os.urandom(20_000))
            except OSError:
                pass
        time.sleep(FAULT_SECONDS / 2)
        for stream in opened:
            stream.close()

    def slow_clients(self):
        """Heads and bodies that come a byte at a time."""
        opened = list(self.sockets(400))
        texts = (b"POST /v1/pools/held/lease HTTP/1.1\r\nhost: lo", b"POST /v1/pools/held/renew HTTP/1.1\r\n"
                 b"host: localhost\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{")
        for index, stream in enumerate(opened):
            stream.setblocking(False)
            try:
                stream.send(texts[index % 2])
            except OSError:
                pass
        time.sleep(FAULT_SECONDS)
        for stream in opened:
            stream.close()
