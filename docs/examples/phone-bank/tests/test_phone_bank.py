"""The phone bank as people use it: in Chromium, on the real daemon."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

HERE = pathlib.Path(__file__).resolve().parents[1]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
NUMBER = re.compile(r"\+(\d+)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Bank:
    """The two programs, and the admin's view of allotd."""

    def __init__(self, data: pathlib.Path, *flags: str):
        self.port = free_port()
        command = [sys.executable, str(HERE / "run.py"), "--data", str(data), "--port", str(self.port)]
        command += ["--coordinator-password", "guess", *flags]
        if allotd := os.environ.get("ALLOTD_PROGRAM"):
            command += ["--allotd", allotd]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert "volunteers" in self.process.stdout.readline()
        self.url = f"http://127.0.0.1:{self.port}"
        for _ in range(100):
            try:
                httpx.get(self.url)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        token = (data / "admin.token").read_text().strip()
        address = (data / "address").read_text().strip()
        self.allotd = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def pool(self, name: str) -> dict:
        return self.allotd.get(f"/v1/pools/{name}").json()

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=30) == 0


@pytest.fixture
def bank(tmp_path):
    bank = Bank(tmp_path / "data", "--any-hour")
    yield bank
    bank.close()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def volunteer(browser, bank, name):
    """A volunteer's own browser, with a number on the page."""
    page = browser.new_context().new_page()
    page.goto(bank.url)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Start").click()
    return page


def number(page) -> str:
    link = page.get_by_role("link", name=NUMBER)
    expect(link).to_be_visible(timeout=15_000)
    return NUMBER.search(link.inner_text()).group(1)


def press(page, button: str) -> None:
    before = page.locator("#lease h1").inner_text()
    page.get_by_role("button", name=button).click()
    expect(page.locator("#lease h1")).not_to_have_text(before, timeout=15_000)


def coordinator(browser, bank):
    context = browser.new_context(http_credentials={"username": "c", "password": "guess"})
    page = context.new_page()
    page.goto(f"{bank.url}/progress")
    return page


def test_a_volunteer_calls_one_after_another_and_the_coordinator_sees_it(bank, browser):
    page = volunteer(browser, bank, "Ann")
    called = [number(page)]
    expect(page.get_by_text("What to say")).to_be_visible()
    expect(page.locator("#left")).to_have_text(re.compile(r"[45]:\d\d"))
    for button in ("We talked", "No answer", "Busy"):
        press(page, button)
        called.append(number(page))
    assert len(set(called)) == 4
    expect(page.get_by_text("3 calls so far")).to_be_visible()
    told = coordinator(browser, bank)
    for _ in range(50):
        if told.locator("#volunteers tbody tr", has_text="ann-").count():
            break
        time.sleep(0.1)
        told.reload()
    expect(told.locator("#volunteers tbody tr", has_text="ann-")).to_have_text(re.compile(r"ann-\w+\s*1\s*1\s*1\s*0\s*0"))
    expect(told.locator("#calling")).to_contain_text("ann-")


def test_two_volunteers_never_have_one_number(bank, browser):
    pages = [volunteer(browser, bank, name) for name in ("Ben", "Cho", "Dee")]
    seen = set()
    for _ in range(4):
        numbers = [number(page) for page in pages]
        assert len(set(numbers)) == len(numbers) and seen.isdisjoint(numbers)
        seen.update(numbers)
        for page in pages:
            press(page, "We talked")


def test_who_asks_not_to_be_called_is_not(bank, browser):
    page = volunteer(browser, bank, "Eva")
    asked = number(page)
    press(page, "Do not call again")
    on_list = bank.allotd.get(f"/v1/lists/optouts/numbers/{asked}")
    assert on_list.status_code == 200, on_list.text
    told = coordinator(browser, bank)
    expect(told.locator("#opt-outs")).to_have_text("1")


def test_stopping_gives_the_number_back(bank, browser):
    page = volunteer(browser, bank, "Fay")
    number(page)
    leased = lambda: sum(bank.pool(region)["leased"] for region in ("london", "berlin", "new-york"))
    assert leased() == 1
    page.get_by_role("button", name="Stop for today").click()
    expect(page.get_by_label("Your name")).to_be_visible()
    assert leased() == 0


def test_the_page_says_when_the_time_has_run_out_and_longer_helps(bank, browser):
    for region in ("london", "berlin", "new-york"):
        assert bank.allotd.patch(f"/v1/pools/{region}", json={"ttl": 4}).status_code == 200
    page = volunteer(browser, bank, "Gil")
    number(page)
    page.get_by_role("button", name="I need longer").click()
    expect(page.locator("#over")).to_be_hidden()
    expect(page.locator("#over")).to_be_visible(timeout=10_000)


def test_at_night_the_page_says_when_numbers_open(tmp_path, browser):
    bank = Bank(tmp_path / "data")
    try:
        never = {"rules": [{"days": "mon-sun", "from": "09:00", "to": "21:00"}], "closed": []}
        # Closed today and tomorrow, wherever that is.
        days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() + day * 86_400)) for day in (-1, 0, 1)]
        for region in ("london", "berlin", "new-york"):
            answer = bank.allotd.patch(f"/v1/pools/{region}", json={"hours": never | {"closed": days}})
            assert answer.status_code == 200, answer.text
        page = volunteer(browser, bank, "Hal")
        expect(page.locator("#why")).to_contain_text("too early or too late", timeout=40_000)
    finally:
        bank.close()


def test_names_are_checked_and_the_progress_needs_a_password(bank, browser):
    page = browser.new_context().new_page()
    page.goto(bank.url)
    page.get_by_label("Your name").fill("   ")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert httpx.get(f"{bank.url}/progress").status_code == 401
    assert httpx.get(f"{bank.url}/progress", auth=("c", "wrong")).status_code == 401
