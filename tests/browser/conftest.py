"""A real browser on the real house: web and worker as processes of their own, Debian's Chromium in front.

Where there is no Chromium the tests are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.world import clip, free_port

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
WEB = "from app.main import create; from app.web.server import serve; serve(create(), '127.0.0.1', {port})"
# What page.js says where a fragment wants to run code.
NOT_RUN = "code from a page is not run"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def found_browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class House:
    """Where the house answers, and what its processes wrote."""

    address: str
    log: Path


@pytest.fixture
def playwright(house: House, videos: dict[str, Path]) -> Iterator[Playwright]:
    """Started last and for one test only: while it runs, no other event loop can in this thread."""
    with sync_playwright() as running:
        yield running


@pytest.fixture
def chromium(playwright: Playwright) -> Iterator[Browser]:
    # Chromium's own sandbox does not run as root (parts, section 9, pitfall 9).
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = playwright.chromium.launch(executable_path=found_browser(), args=arguments)
    yield browser
    browser.close()


@pytest.fixture
def needs_chromium() -> None:
    if found_browser() is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")


@pytest.fixture
def house(needs_chromium: None, tmp_path: Path, database: str) -> Iterator[House]:
    """Web and worker on a database of this test's own, with the simulators."""
    port = free_port()
    settings = {
        "DATABASE_URL": database,
        "APP_ENV": "development",
        "BACKLOT_HOME": str(tmp_path / "home"),
        "TEMP_DIR": str(tmp_path / "temp"),
        "PORT": str(port),
        "FFMPEG_PRESET": "ultrafast",
        "SIMULATORS": "on",
        "QUEUE_VIDEO_EDIT_MOST": "none",
        "QUEUE_VIDEO_UPLOAD_MOST": "none",
        "PYTHONPATH": str(ROOT),
    }
    log = tmp_path / "house.log"
    worker = "from procrastinate.cli import main; import sys; sys.argv[1:] = {arguments}; main()"
    lines = (
        WEB.format(port=port),
        worker.format(arguments=["--app=tasks.procrastinate_app", "worker"]),
    )
    with log.open("wb") as out:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", line], cwd=ROOT, env=os.environ | settings, stdout=out, stderr=out
            )
            for line in lines
        ]
        try:
            wait_for(f"http://localhost:{port}/ready", log)
            yield House(f"http://localhost:{port}", log)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()


def wait_for(address: str, log: Path, within_s: float = 40) -> None:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"the house did not come up: {log.read_text()[-2000:]}")


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    opened = chromium.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    opened.set_default_timeout(20_000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, house: House) -> Iterator[Page]:
    """A signed-up creator's page. Whatever the browser complains about fails the test."""
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console",
        lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None,
    )
    opened.goto(f"{house.address}/sign-up")
    opened.fill("#name", "Maya Makes")
    opened.fill("#email", "maya@example.org")
    opened.fill("#password", PASSWORD)
    opened.click("main button")
    opened.wait_for_url(f"{house.address}/")
    yield opened
    assert [said for said in complaints if NOT_RUN not in said] == []


@pytest.fixture
def videos(tmp_path: Path) -> dict[str, Path]:
    """Files a creator has lying about: a short clip, a larger one, and a text that calls itself a video."""
    files = {"short": clip(2.0), "large": clip(20.0, "1280x720"), "text": b"These are only words.\n" * 3000}
    for name, content in files.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
    return {name: tmp_path / f"{name}.mp4" for name in files}
