"""The daemon under test, its clock, and single calls of it."""

import glob
import http.client
import os
import signal
import subprocess
import time

from ledger import Broken

START_SECONDS = 60


class Daemon:
    def __init__(self, options, work):
        self.options, self.work, self.process, self.address = options, work, None, None
        self.clock = os.path.join(work, "clock")
        self.starts = 0
        self.preload = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None)
        self.set_clock(0)

    def set_clock(self, seconds):
        with open(self.clock + ".next", "w") as file:
            file.write(f"{seconds:+d}\n")
        os.replace(self.clock + ".next", self.clock)

    def start(self, mode):
        environment = {"PATH": os.environ["PATH"]}
        if self.preload:
            environment |= {
                "LD_PRELOAD": self.preload,
                "FAKETIME_TIMESTAMP_FILE": self.clock,
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }
        listen = self.address or "127.0.0.1:0"
        command = [self.options.allotd, "serve", "--listen", listen, "--data", self.data(), "--durability", mode]
        command += ["--journal-file-mib", "2", "--workers", "2"]
        self.log = open(os.path.join(self.work, "log"), "a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise Broken(f"the daemon does not start: {self.process.wait()}")
        self.address = line.split()[-1]
        self.starts += 1
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit:
            try:
                if call(self.address, "GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise Broken("the daemon is not ready in time")

    def data(self):
        return os.path.join(self.work, "disk", "data")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=START_SECONDS) != 0:
            raise Broken(f"the daemon ends with {self.process.returncode}")

    def memory_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            peak = next(line for line in status if line.startswith("VmHWM"))
        return int(peak.split()[1]) // 1024


def call(address, method, path, body=None, kind="application/json", accept=None):
    """One call on a connection of its own."""
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        headers = {"content-type": kind} if body else {}
        if accept:
            headers["accept"] = accept
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
