"""Watching in a browser: streams, quality, captions, chapters, little pictures, keys, and what happens when it breaks.

The web is a process of its own; streams are put there as rows and files, so no test waits for an encoder.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from psycopg.types.json import Jsonb

from app import config, db, live, videos
from tests.browser.conftest import ROOT, WEB, House, wait_for
from tests.makers import pieces
from tests.web import streams_kit as kit
from tests.world import clip, free_port

pytestmark = pytest.mark.browser
T = TypeVar("T")
SLOW_MS = 30_000
SECONDS = 12
FIRST_LOAD_BYTES = 150_000


class Studio:
    """What a test puts into the house, from its own process."""

    def __init__(self, database: str) -> None:
        self.database = database

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on an event loop beside the browser's, which lives in this thread."""
        found: list[T] = []
        failed: list[BaseException] = []

        async def with_pools() -> T:
            await db.open_pools(self.database, pages=True)
            try:
                return await work
            finally:
                await db.close_pools()

        def run() -> None:
            try:
                found.append(asyncio.run(with_pools()))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return found[0]

    def video(self, *, title: str = "Three knots", edited: bool = True, **stream: Any) -> tuple[int, int]:
        """A video of the one person there is, branded; with `state` also a stream of it."""
        return self.do(self._video(title, edited, stream))

    async def _video(self, title: str, edited: bool, stream: dict[str, Any]) -> tuple[int, int]:
        async with db.house() as conn:
            [(user_id, workspace_id)] = await db.rows(conn, "SELECT user_id, workspace_id FROM members")
        asked = videos.wishes.Wishes(title=title)
        content = clip(float(SECONDS))
        video = await videos.uploads.take_in(
            pieces(content), workspace_id=workspace_id, user_id=user_id, filename="knots.mp4", asked=asked
        )
        if edited:
            key = await kit.keep(workspace_id, content, "mp4", "video/mp4")
            async with db.house() as conn:
                await conn.execute("UPDATE videos SET state = 'EDITING' WHERE id = %s", [video.id])
                await conn.execute(
                    "UPDATE videos SET state = 'EDITED', progress = 100, edited_key = %s, edited_bytes = %s,"
                    " edited_sha256 = %s, edited_probe = %s WHERE id = %s",
                    [key, len(content) * 7 // 10, video.source_sha256, Jsonb(video.source_probe), video.id],
                )
        stream_id = 0
        if "state" in stream:
            given = {"seconds": SECONDS, **stream}
            stream_id = await kit.a_stream(workspace_id, user_id, video.id, **given)
            if edited:
                await kit.put_beside(workspace_id, video.id, seconds=SECONDS)
        return video.id, stream_id

    def stream(self, video_id: int) -> None:
        """A stream of a video that had none, told to whoever has its page open."""

        async def work() -> None:
            async with db.house() as conn:
                video = await videos.get(conn, video_id)
            await kit.a_stream(video.workspace_id, video.user_id, video_id, seconds=SECONDS)
            async with db.house() as conn:
                await live.tell(conn, video.topic)

        self.do(work())

    def finish(self, video_id: int, stream_id: int) -> None:
        """What is missing of the small size arrives, the large one as a whole, and the stream is ready."""

        async def work() -> None:
            async with db.house() as conn:
                workspace_id = (await videos.get(conn, video_id)).workspace_id
            await kit.a_track(workspace_id, stream_id, "v0", seconds=SECONDS)
            rest = tuple(range(2, SECONDS // kit.PIECE_S))
            await kit.more(workspace_id, stream_id, "v1", rest, seconds=SECONDS)
            async with db.house() as conn:
                await kit.move(conn, stream_id, "ready")
                await live.tell(conn, f"video-{video_id}", f"stream-{stream_id}")

        self.do(work())


@pytest.fixture
def house(
    needs_chromium: None, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    """The web alone: nobody touches what a test puts there."""
    port = free_port()
    for name, value in {
        "DATABASE_URL": database,
        "APP_ENV": "development",
        "ENCRYPTION_KEY": "k" * 32,
        "BACKLOT_HOME": str(tmp_path / "home"),
        "TEMP_DIR": str(tmp_path / "temp"),
        "PORT": str(port),
        "SIMULATORS": "on",
        "PYTHONPATH": str(ROOT),
    }.items():
        monkeypatch.setenv(name, value)
    config.get.cache_clear()
    log = tmp_path / "house.log"
    with log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-c", WEB.format(port=port)],
            cwd=ROOT,
            env=dict(os.environ),
            stdout=out,
            stderr=out,
        )
        try:
            wait_for(f"http://localhost:{port}/ready", log)
            yield House(f"http://localhost:{port}", log)
        finally:
            running.terminate()
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()
            config.get.cache_clear()


@pytest.fixture
def studio(house: House, database: str) -> Studio:
    return Studio(database)


def at(page: Page) -> float:
    return float(page.evaluate("document.querySelector('video').currentTime"))


def plays_past(page: Page, seconds: float) -> None:
    page.wait_for_function(
        "(past) => document.querySelector('video').currentTime > past", arg=seconds, timeout=SLOW_MS
    )


def height_px(page: Page) -> int:
    return int(page.evaluate("document.querySelector('video').videoHeight"))


def seek(page: Page, seconds: float) -> None:
    page.evaluate("(to) => { document.querySelector('video').currentTime = to; }", seconds)


def choose(page: Page, word: str) -> Locator:
    page.locator(".player-settings").click()
    item = page.locator(".player-menu").get_by_role("menuitemradio", name=re.compile(rf"^{re.escape(word)}"))
    item.click()
    return item


def test_a_stream_plays_to_its_end_in_the_size_that_was_chosen_and_the_choice_is_kept(
    page: Page, house: House, studio: Studio
) -> None:
    video_id, _ = studio.video(state="ready")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{house.address}/videos/{video_id}")
    page.wait_for_load_state("networkidle")
    weight = page.evaluate(
        "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
        ".filter((one) => !/media|file/.test(one.name)).reduce((sum, one) => sum + one.encodedBodySize, 0)"
    )
    assert 50_000 < weight < FIRST_LOAD_BYTES
    assert not [url for url in asked if "hls" in url or "/stream/" in url], "nobody came near the player yet"
    page.locator(".player-big").click()
    plays_past(page, 0.5)
    assert [url for url in asked if url.endswith(".m4s")]
    choose(page, "180p")
    page.wait_for_function("() => document.querySelector('video').videoHeight === 180", timeout=SLOW_MS)
    assert at(page) < 5
    choose(page, "360p")
    page.wait_for_function("() => document.querySelector('video').videoHeight === 360", timeout=SLOW_MS)
    choose(page, "180p")
    seek(page, SECONDS - 1.5)
    page.wait_for_function("() => document.querySelector('video').ended", timeout=SLOW_MS)
    assert at(page) == pytest.approx(SECONDS, abs=0.2)
    page.reload()
    page.locator(".player-big").click()
    plays_past(page, 0.3)
    assert height_px(page) == 180
    page.locator(".player-settings").click()
    expect(page.get_by_role("menuitemradio", name="180p")).to_have_attribute("aria-checked", "true")


def test_keys_captions_chapters_and_little_pictures(page: Page, house: House, studio: Studio) -> None:
    video_id, _ = studio.video(state="ready")
    page.goto(f"{house.address}/videos/{video_id}")
    page.locator(".player-big").focus()
    page.keyboard.press("Enter")
    plays_past(page, 0.2)
    page.locator("video").focus()
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('video').paused")
    for key, wanted in (
        ("5", SECONDS / 2),
        ("ArrowRight", SECONDS / 2 + 5),
        ("Home", 0.0),
        ("ArrowLeft", 0.0),
    ):
        page.keyboard.press(key)
        page.wait_for_function(
            "(to) => Math.abs(document.querySelector('video').currentTime - to) < 0.2",
            arg=wanted,
            timeout=SLOW_MS,
        )
    page.keyboard.press("m")
    expect(page.locator(".player-mute")).to_have_attribute("aria-label", "Sound on")
    page.keyboard.press("c")
    expect(page.locator(".player-captions")).to_have_attribute("aria-pressed", "true")
    page.wait_for_function(
        "() => document.querySelector('track').track.activeCues?.length === 1", timeout=SLOW_MS
    )
    line = page.locator(".player-line")
    box = line.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 7.5 / SECONDS, box["y"] + 12)
    preview = page.locator(".player-preview")
    expect(preview).to_contain_text("0:07 · The knot")
    picture = preview.locator("span").first
    assert "storyboard-0.jpg" in str(picture.evaluate("(node) => node.style.backgroundImage"))
    # Number 7 of five in a row: the third of the second row.
    assert picture.evaluate("(node) => node.style.backgroundPosition") == "-320px -90px"
    page.mouse.move(5, 5)
    expect(preview).to_be_hidden()
    page.get_by_label("Position").focus()
    page.keyboard.press("3")
    expect(preview).to_contain_text("0:03 · The knot")
    settings = page.locator(".player-settings")
    settings.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="The knot")).to_be_focused()
    page.keyboard.press("Home")
    expect(page.get_by_role("menuitemradio", name=re.compile("^Auto"))).to_be_focused()
    page.keyboard.press("Escape")
    expect(settings).to_be_focused()
    expect(page.locator(".player-menu")).to_be_hidden()
    page.click("summary:has-text('Poster frame')")
    page.locator("[data-frames] button").nth(4).click()
    expect(page.get_by_label("At second")).to_have_value("4.00")
    page.click("text=Use this frame")
    expect(page.locator(f"#streams-{video_id}")).to_contain_text("The new poster is being made")


def test_a_stream_plays_from_its_beginning_while_it_is_made_and_goes_on_when_more_is_there(
    page: Page, house: House, studio: Studio
) -> None:
    pieces_ = SECONDS // kit.PIECE_S
    there = {"v1": (0, 1), "a0": tuple(range(pieces_))}
    video_id, stream_id = studio.video(edited=False, state="making", there=there, for_edit=True)
    page.goto(f"{house.address}/videos/{video_id}")
    page.evaluate("window.sameDocument = true")
    page.locator(".player-big").click()
    plays_past(page, 0.3)
    assert at(page) < 3, "it began at the newest piece"
    expect(page.locator(".player-time")).to_contain_text("/ 0:12")
    expect(page.locator(".player-note")).to_contain_text("Still being made: 0:04 of 0:12", timeout=SLOW_MS)
    studio.finish(video_id, stream_id)
    plays_past(page, 5)
    page.locator(".player-settings").click()
    expect(page.get_by_role("menuitemradio", name="360p", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(f"#streams-{video_id}")).to_contain_text("Ready to stream")
    page.wait_for_function("() => document.querySelector('video').ended", timeout=SLOW_MS)
    assert page.evaluate("window.sameDocument") is True


def test_what_cannot_be_streamed_plays_from_the_file_and_a_new_stream_takes_over_by_itself(
    page: Page, house: House, studio: Studio
) -> None:
    video_id, _ = studio.video(state="ready")
    page.route("**/*.m3u8*", lambda route: route.abort())
    page.goto(f"{house.address}/videos/{video_id}")
    page.locator(".player-big").click()
    plays_past(page, 0.3)
    assert "/file" in page.evaluate("document.querySelector('video').src")
    page.unroute("**/*.m3u8*")
    plain_id, _ = studio.video(title="Plain")
    page.goto(f"{house.address}/videos/{plain_id}")
    page.locator(".player-big").click()
    plays_past(page, 0.3)
    page.locator("video").press("k")
    studio.stream(plain_id)
    page.wait_for_function("() => document.querySelector('video').src.startsWith('blob:')", timeout=SLOW_MS)
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.2", timeout=SLOW_MS)
    assert at(page) < 5, "it lost its place"
    page.locator("video").press("k")
    plays_past(page, 1.0)


def test_without_script_the_browsers_own_controls_play_and_every_act_is_a_form(
    context: BrowserContext, page: Page, house: House, studio: Studio
) -> None:
    video_id, _ = studio.video(title="Plain")
    browser = context.browser
    assert browser is not None
    plain = browser.new_context(java_script_enabled=False, storage_state=context.storage_state())
    bare = plain.new_page()
    bare.goto(f"{house.address}/videos/{video_id}")
    expect(bare.locator("video[controls]")).to_have_attribute("src", re.compile(rf"^/videos/{video_id}/file"))
    bare.click("text=Make streaming versions")
    expect(bare.locator(f"#streams-{video_id}")).to_contain_text("The streaming versions are asked for")
    plain.close()
