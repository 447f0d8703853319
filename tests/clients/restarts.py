"""The clients of docs/clients.md, while the daemon is killed again and again: no lease is lost, none is given twice.

    restarts.py ALLOTD WORK    WORK has the other clients, compiled; Python's is taken from the page.
"""

import collections
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

# What each client besides Python's is run with, and the file without which it is left out.
OTHERS = {
    "typescript": (["node", "{work}/restarts.js"], "restarts.js"),
    "go": (["{work}/page/go/restarts"], "page/go/restarts"),
    "java": (["java", "-cp", "{work}/page/java", "Restarts"], "page/java/Restarts.class"),
}
RESTARTS = 20
CALLERS = 8
TTL_SECONDS = 20
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "clients.md"

namespace: dict = {}
exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1], namespace)  # noqa: S102
Allotd, Lost = namespace["Allotd"], namespace["Lost"]


class Daemon:
    def __init__(self, program: str, data: str):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [program, "serve", "--data", data, "--listen", f"127.0.0.1:{self.port}", "--durability", "interval"]

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if line.startswith("listening on"):
                return
        raise SystemExit("the daemon does not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Book:
    """Who holds what, by the callers' own word."""

    def __init__(self):
        self.lock, self.held, self.faults = threading.Lock(), {}, []
        # By language.
        self.leases: collections.Counter = collections.Counter()

    def take(self, number: int, who: str) -> None:
        with self.lock:
            if (other := self.held.setdefault(number, who)) != who:
                self.faults.append(f"{number} is held by {other} and {who}")
            self.leases[who.split("-")[0]] += 1

    def leave(self, number: int) -> None:
        with self.lock:
            self.held.pop(number, None)


def python_caller(who: str, port: int, book: Book, stop: threading.Event) -> None:
    allotd, chance = Allotd("127.0.0.1", port, "p"), random.Random(who)
    while not stop.is_set():
        lease = allotd.lease(TTL_SECONDS)
        book.take(lease["number"], who)
        try:
            time.sleep(chance.uniform(0, 0.2))
            if chance.random() < 0.5:
                lease = allotd.renew(lease, TTL_SECONDS)
                time.sleep(chance.uniform(0, 0.1))
            # Before the return: from then on it may be somebody else's.
            book.leave(lease["number"])
            allotd.give_back(lease, "talked")
        except Lost as lost:
            book.faults.append(f"{who} lost {lease['number']}: {lost}")


def other_callers(command: list[str], port: int, book: Book) -> subprocess.Popen:
    """Callers in another language, which print what they take and leave: `+ NUMBER WHO`, `- NUMBER`, `! FAULT`."""
    command = [*command, f"http://127.0.0.1:{port}", str(CALLERS), str(TTL_SECONDS)]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(line: str) -> None:
        program.stdin.write(f"{line}\n")
        program.stdin.flush()

    def read() -> None:
        for line in program.stdout:
            sign, _, rest = line.strip().partition(" ")
            if sign == "+":
                number, who = rest.split()
                book.take(int(number), who)
                answer(number)
            elif sign == "-":
                book.leave(int(rest))
                answer(f"-{rest}")
            else:
                book.faults.append(line)

    threading.Thread(target=read, daemon=True).start()
    return program


def main(program: str, work: str) -> None:
    others = {}
    for language, (command, file) in OTHERS.items():
        if pathlib.Path(work, file).exists():
            others[language] = [part.format(work=work) for part in command]
    languages = ["python", *others]
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(program, f"{directory}/data")
        daemon.start()
        numbers = "".join(f"{79120000000 + index}\n" for index in range((len(languages) + 1) * CALLERS))
        url = f"http://127.0.0.1:{daemon.port}/v1/pools/p"
        subprocess.run(
            ["curl", "-sS", "--fail-with-body", "-X", "PUT", url, "-H", "content-type: text/plain", "--data-binary", "@-"],
            input=numbers, text=True, check=True, stdout=subprocess.DEVNULL,
        )
        book, stop = Book(), threading.Event()
        programs = [other_callers(command, daemon.port, book) for command in others.values()]
        arguments = [(f"python-{index}", daemon.port, book, stop) for index in range(CALLERS)]
        callers = [threading.Thread(target=python_caller, args=those, daemon=True) for those in arguments]
        for caller in callers:
            caller.start()
        # A runtime takes its time to start.
        for _ in range(300):
            if all(book.leases[language] for language in languages):
                break
            time.sleep(0.1)
        for _ in range(RESTARTS):
            time.sleep(random.uniform(0.2, 0.8))
            daemon.kill()
            daemon.start()
        time.sleep(0.5)
        stop.set()
        for other in programs:
            other.stdin.write("stop\n")
            other.stdin.flush()
        for caller in callers:
            caller.join(timeout=90)
        for other in programs:
            other.wait(timeout=90)
        daemon.kill()
        for language in languages:
            if book.leases[language] < 5 * CALLERS:
                book.faults.append(f"only {book.leases[language]} leases of {language}")
        if book.faults:
            raise SystemExit("\n".join(book.faults))
        counts = ", ".join(f"{count} of {language}" for language, count in sorted(book.leases.items()))
        print(f"leases over {RESTARTS} kills, {CALLERS} callers each: {counts}: none lost, none doubled")


main(sys.argv[1], sys.argv[2])
