#!/usr/bin/env python3
"""Runs every command of every document against a real daemon, and compares what it prints with the page.

tests/documents/main.py [--allotd BINARY] [--bless] [PAGE...]

A block of `sh`, or of `console` with its commands behind `$ `, is run in the order of its page, as a reader would: in one shell
with a directory and a daemon of its own. What a block of `sh` prints must end with the next block of `text` or `json`, unless a heading or a table is between them. pages.py has what
a page takes for granted, and what is not run. Times, tokens and other figures that vary are compared as patterns; `…` on a page
stands for anything. --bless writes what was printed into the pages instead of failing.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pages

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(__file__).resolve().parent / "bin"
# No block takes longer, in seconds.
PATIENCE = 60
DEFAULT_PORT = "7979"
# Ports that pages use: those of the daemon, of TLS, and of proxies.
PORTS = (DEFAULT_PORT, "7443", "8080", "8081", "5432", "6379")
KNOWN_LANGUAGES = {"sh", "rust", "console", "text", "json", "toml", "yaml", "python", "ts", "go", "java", "nginx", "lua", "sql"}

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
TOKEN = r"[A-Za-z0-9_-]{11}"
# Where a token of a lease is printed: as JSON, and as the commands print it.
TOKENS = re.compile(rf'"token":"({TOKEN})"|\b\d+:({TOKEN})(?=\s|$)', re.M)
NUMBERS = re.compile(r'"number":(\d{11})\b|^(\d{11})(?=[:\t ])', re.M)
# What differs from run to run, and what it is compared as.
VARIES = [
    (re.compile(TIME), "TIME"),
    (re.compile(r"\balt_[A-Za-z0-9_-]+"), "ALT"),
    (re.compile(r'"(bytes|seq|peer_port|pid|took_ms|took_us|opening_ms|expires_in)":\d+'), r'"\1":N'),
    (re.compile(r'"(request_id|listen|data|peer)":"[^"]*"'), r'"\1":"X"'),
    (re.compile(r"^(bytes +)[\d,]+", re.M), r"\1N"),
    (re.compile(r"\b\d+ bytes\b"), "N bytes"),
    (re.compile(r"127\.0\.0\.1:\d{4,5}\b"), "ADDRESS"),
    (re.compile(r"\b[\d.]+ [KMGT]?i?B\b"), "SIZE"),
    (re.compile(r"\bup( \d+[dhms])+"), "up T"),
    (re.compile(r"\b\d+ of (\d+) are open"), r"N of \1 are open"),
    (re.compile(r"\b[\d.]+ (s|ms|µs)(?=$|[ ,])", re.M), "T"),
    (re.compile(r"(traceparent: 00-\w{32})-\w{16}"), r"\1-SPAN"),
    (re.compile(r"\bsha256:[0-9a-f]+"), "SHA"),
    (re.compile(r"date: .* GMT"), "DATE"),
    (re.compile(r"seq=\d+|--from \d+"), "SEQ"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" $", re.M), ""),
]


class Wrong(Exception):
    """A page does not say what happens."""


class Block:
    """A fenced block: its language, its lines, where it is, the section that it is in, and its part, which headings and tables
    end."""

    def __init__(self, language, section, part, line):
        self.language, self.section, self.part, self.line, self.lines = language, section, part, line, []

    @property
    def text(self):
        return "\n".join(self.lines)


def blocks_of(page):
    """The blocks of a page; what is indented in a list is not one."""
    found, block, section, part = [], None, "", 0
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        if line.startswith("```"):
            if block is None:
                block = Block(line[3:].strip(), section, part, number)
                if block.language not in KNOWN_LANGUAGES:
                    raise Wrong(f"{page}:{number}: a block has the language “{block.language}”: give one of {', '.join(sorted(KNOWN_LANGUAGES))}")
            else:
                found.append(block)
                block = None
        elif block is not None:
            block.lines.append(line)
        elif line.startswith("#"):
            section = line.lstrip("#").strip()
            part += 1
        elif line.startswith("|"):
            part += 1
    return found


def steps_of(page):
    """Each block that is run, with the block of what it prints, if there is one."""
    blocks = blocks_of(page)
    steps = []
    for index, block in enumerate(blocks):
        if block.language not in ("sh", "console"):
            continue
        after = blocks[index + 1] if index + 1 < len(blocks) else None
        prints = block.language == "sh" and after and after.part == block.part and after.language in ("text", "json")
        steps.append((block, after if prints else None))
    return steps


def commands_of(block):
    """The commands of a block, and for `console` what they print."""
    if block.language == "sh":
        # A reader goes on when the daemon is there; bin/allotd keeps it in the background.
        return re.sub(r"^(allotd (?:serve|demo)\b[^#\n]*?) *&", r"\1 ", block.text, flags=re.M), None
    commands = [line[2:] for line in block.lines if line.startswith("$ ")]
    return "\n".join(commands), "\n".join(line for line in block.lines if not line.startswith("$ "))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


class Session:
    """A reader of one page: a shell in a directory, with a port for its daemon."""

    def __init__(self, page, allotd):
        self.page = page
        self.directory = Path(tempfile.mkdtemp(prefix="allotd-documents-")).resolve()
        self.ports = {port: free_port() for port in PORTS}
        port = self.ports[DEFAULT_PORT]
        # What the page shows, and what it is here: tokens, and numbers drawn at random.
        self.here = {}
        self.last_lease = None
        environment = {
            "PATH": f"{BINARIES}:{os.environ['PATH']}:/usr/sbin",
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory),
            "LANG": "C.UTF-8",
            "ALLOTD": str(allotd),
            "DOCUMENTS_PORT": port,
            "DOCUMENTS_DIRECTORY": str(self.directory),
            "ROOT": str(ROOT),
            "ALLOTD_SERVER": f"http://127.0.0.1:{port}",
            "URL": f"http://127.0.0.1:{port}",
        }
        for name in ("work", "srv", "run"):
            (self.directory / name).mkdir()
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=self.directory / "work", env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )
        self.ran = 0

    def run(self, script, may_fail=False):
        """Runs commands; returns all that they print. Any command that fails makes the block fail."""
        self.ran += 1
        base = self.directory / f"step-{self.ran}"
        base.with_suffix(".sh").write_text(script + "\n")
        done = base.with_suffix(".done")
        self.shell.stdin.write(
            f"failed=0; trap 'failed=$?' ERR; . '{base}.sh' >'{base}.out' 2>&1 </dev/null; trap - ERR; echo $failed >'{done}.part'; mv '{done}.part' '{done}'\n"
        )
        self.shell.stdin.flush()
        end = time.monotonic() + PATIENCE
        while not done.exists():
            if time.monotonic() > end or self.shell.poll() is not None:
                raise Wrong(f"does not end:\n{script}\n{self.printed(base)}")
            time.sleep(0.02)
        printed = self.printed(base)
        if int(done.read_text()) and not may_fail:
            raise Wrong(f"fails:\n{script}\n{printed}")
        return printed

    def printed(self, base):
        text = base.with_suffix(".out").read_text() if base.with_suffix(".out").exists() else ""
        text = text.replace(f"{self.directory}/work/", "").replace(f"{self.directory}/allotd-demo", "/tmp/allotd-demo")
        for place in ("/srv/", "/run/"):
            text = text.replace(f"{self.directory}{place}", place)
        for shown, actual in self.ports.items():
            text = re.sub(rf"(?<!\d){actual}(?!\d)", shown, text)
        return text

    def replaced(self, text):
        """What a page shows, with the tokens and numbers of here."""
        for shown, actual in self.here.items():
            text = text.replace(shown, actual)
        if self.last_lease:
            text = re.sub(r"\bNUMBER\b", self.last_lease[0], re.sub(r"\bTOKEN\b", self.last_lease[1], text))
        return text

    def localized(self, text):
        """Commands of a page, with what is here."""
        text = self.replaced(text)
        for place in ("/srv/", "/run/"):
            text = text.replace(place, f"{self.directory}{place}")
        for shown, actual in self.ports.items():
            text = re.sub(rf"(?<!\d){shown}(?!\d)", actual, text)
        return text

    def learn(self, expected, printed):
        """Pairs the tokens and numbers that a page shows with those that are printed here."""
        tokens = [a or b for a, b in TOKENS.findall(printed)]
        numbers = [a or b for a, b in NUMBERS.findall(printed)]
        if tokens and numbers:
            self.last_lease = (numbers[-1], tokens[-1])
        for pattern, actual in ((TOKENS, tokens), (NUMBERS, numbers)):
            shown = [a or b for a, b in pattern.findall(expected or "")]
            if len(shown) == len(actual):
                self.here.update({a: b for a, b in zip(shown, actual) if a != b and len(a) == len(b)})

    def given(self):
        """What the setup has leased in the place of what the page shows."""
        path = self.directory / "given"
        for line in path.read_text().splitlines() if path.exists() else []:
            shown, actual = line.split()
            self.here[shown] = actual
        path.unlink(missing_ok=True)

    def end(self):
        for path in self.directory.glob("*.pid"):
            try:
                os.kill(int(path.read_text()), signal.SIGKILL)
            except (ProcessLookupError, ValueError):
                pass
        self.shell.stdin.close()
        self.shell.kill()
        self.shell.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def compared(text):
    for pattern, place in VARIES:
        text = pattern.sub(place, text)
    text = TOKENS.sub(lambda found: found[0].replace(found[1] or found[2], "TOKEN"), text)
    return text.strip()


def fits(expected, printed):
    """Whether what is printed ends with what the page shows; `…` there is anything."""
    expected, printed = compared(expected), compared(printed)
    return re.search(r"(?:\A|\n)" + ".*".join(re.escape(part) for part in expected.split("…")) + r"\Z", printed, re.S) is not None


def problem_in(printed):
    """An answer of the daemon that refuses, where the page shows none."""
    return re.search(r'"status":[45]\d\d,"code"', printed)


def setup_for(page, block, was_in):
    """What pages.py has for this place: for a section when it begins, and for the block."""
    scripts = []
    if block.section != was_in:
        scripts.append(pages.SETUP.get(f"{page}#{block.section}"))
    scripts.append(pages.SETUP.get(f"{page}: {block.lines[0]}"))
    return [script for script in scripts if script]


def check(page, allotd, bless):
    """Runs a page. Returns how many blocks were run, and what is wrong."""
    steps = steps_of(page)
    wrong, blessed, ran, section = [], [], 0, None
    if not any(not_run(page, block) is None for block, _ in steps):
        return 0, []
    missing = [program for program in pages.NEEDS.get(page, []) if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")]
    if missing:
        print(f"{page} is not run: install {', '.join(missing)}")
        return 0, []
    session = Session(page, allotd)
    try:
        session.run((BINARIES / "given.sh").read_text() + session.localized(pages.SETUP.get(page, "")))
        for block, output in steps:
            if not_run(page, block):
                continue
            try:
                for script in setup_for(page, block, section):
                    session.run(session.localized(script))
                section = block.section
                session.given()
                commands, prints = commands_of(block)
                if output:
                    prints = output.text
                expected = session.replaced(prints) if prints is not None else None
                fails = expected is not None and (expected.startswith("allotd: ") or "\nfault " in expected)
                printed = session.run(session.localized(commands), fails)
                ran += 1
                session.learn(prints, printed)
                expected = session.replaced(prints) if prints is not None else None
                if expected is None and problem_in(printed):
                    raise Wrong(f"is refused:\n{commands}\n{printed}")
                if expected is not None and not fits(expected, printed):
                    if bless and output:
                        lines = printed.rstrip("\n").split("\n")
                        blessed.append((output, lines[-len(output.lines):] if output.language == "json" else lines))
                    else:
                        raise Wrong(f"prints something else.\n{commands}\n--- the page\n{compared(expected)}\n--- printed\n{compared(printed)}")
            except Wrong as error:
                wrong.append(f"{page}:{block.line}: {error}")
    except Wrong as error:
        wrong.append(f"{page}: {error}")
    finally:
        session.end()
    if blessed:
        bless_page(page, blessed)
    return ran, wrong


def bless_page(page, blessed):
    lines = (ROOT / page).read_text().split("\n")
    for block, printed in sorted(blessed, key=lambda pair: -pair[0].line):
        lines[block.line:block.line + len(block.lines)] = printed
    (ROOT / page).write_text("\n".join(lines))


def not_run(page, block):
    """Why a block is not run; None if it is."""
    return pages.NOT_RUN.get(f"{page}: {block.lines[0]}") or pages.NOT_RUN.get(page)


def unused(documents):
    """What pages.py names and is not there."""
    there = set(documents)
    for page in documents:
        for block, _ in steps_of(page):
            there.update((f"{page}#{block.section}", f"{page}: {block.lines[0]}"))
    return [f"tests/documents/pages.py names “{place}”, which is not there" for place in [*pages.SETUP, *pages.NOT_RUN, *pages.NEEDS] if place not in there]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--allotd", type=Path, default=ROOT / "target/debug/allotd")
    parser.add_argument("--bless", action="store_true")
    parser.add_argument("pages", nargs="*")
    given = parser.parse_args()
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    documents = given.pages or listed
    began, count = time.monotonic(), 0
    wrong = unused(listed)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for ran, found in pool.map(lambda page: check(page, given.allotd.resolve(), given.bless), documents):
            count += ran
            wrong += found
    for each in wrong:
        print(f"\n{each}")
    print(f"\n{count} blocks of commands in {len(documents)} documents, {len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong or not (count or given.pages) else 0)


if __name__ == "__main__":
    main()
