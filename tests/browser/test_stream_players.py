"""Streams in a real browser: real segments, real players, to the end, back and forth, up and down the rungs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from app.media.playlists import Listed, Text, master, media, text_media
from tests.browser.conftest import found_browser
from tests.browser.streams import LENGTH_S, SIZES, VTT, Shelf, make, served

pytestmark = pytest.mark.browser
WITHIN_MS = 30_000
HEIGHTS = {height for _, height in SIZES}
# A second reader of the manifest, for the long runs.
SHAKA = pytest.param("shaka", marks=pytest.mark.storm)
PLAYERS = pytest.mark.parametrize("player", ["hls", "dash", SHAKA])
# What hls.js says where it has played all that there is yet.
WAITS = "bufferStalledError fatal=false"
Open = Callable[..., Page]


@pytest.fixture(scope="session")
def stream(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Listed, ...]]:
    folder = tmp_path_factory.mktemp("stream") / "s"
    return folder, make(folder)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all of them and without the house: a stream is only files, and no test here has an event loop."""
    if (program := found_browser()) is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def shelf(stream: tuple[Path, tuple[Listed, ...]]) -> Shelf:
    folder, tracks = stream
    return Shelf(folder, tracks, texts=(Text("t0", "eng", 'Said "aloud" & <more>', bytes=len(VTT)),))


@pytest.fixture
def opened(chromium: Browser, shelf: Shelf) -> Iterator[Open]:
    """Opens a player's page on the shelf. Whatever the player or the browser complains about fails the test."""
    with ExitStack() as stack:
        page = chromium.new_page()
        page.set_default_timeout(WITHIN_MS)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def open_page(name: str) -> Page:
            page.goto(f"{stack.enter_context(served(shelf))}/{name}.html")
            page.wait_for_function("() => player.ready()")
            return page

        yield open_page
        complaints += [
            said for said in page.evaluate("player.trouble") if not (shelf.grows and WAITS in said)
        ]
        page.close()
        assert complaints == []
        assert shelf.missing == []


def play(page: Page, *, speed: float = 1) -> None:
    page.evaluate(f"film.playbackRate = {speed}; film.play()")


def until(page: Page, condition: str) -> None:
    page.wait_for_function(f"() => {condition}")


def seek(page: Page, to_s: float) -> None:
    page.evaluate(f"film.currentTime = {to_s}")
    until(page, f"!film.seeking && film.currentTime > {to_s + 0.2} && film.currentTime < {to_s + 3}")


def play_to_the_end(page: Page) -> None:
    play(page, speed=4)
    until(page, "film.ended")
    assert page.evaluate("film.currentTime") == pytest.approx(LENGTH_S, abs=0.1)


@PLAYERS
def test_a_stream_is_sought_in_both_ways_switched_and_played_to_its_end(
    opened: Open, shelf: Shelf, player: str
) -> None:
    page = opened(player)
    assert page.evaluate("film.duration") == pytest.approx(LENGTH_S, abs=0.1)
    assert set(page.evaluate("player.rungs()")) == HEIGHTS
    play(page)
    until(page, "film.currentTime > 0.3")
    seek(page, 8.5)
    seek(page, 2.5)
    for height, at_s in ((90, 6.5), (270, 0.5), (180, 3.5)):
        seek(page, at_s)
        page.evaluate(f"player.force({height})")
        until(page, f"film.videoHeight === {height}")
    assert page.evaluate("film.webkitAudioDecodedByteCount") > 0
    assert page.evaluate("film.webkitDecodedFrameCount") > 0
    play_to_the_end(page)
    assert {path.split("/")[1] for path in shelf.asked if path.endswith(".m4s")} >= {"v0", "v1", "v2", "a0"}


@PLAYERS
def test_sounds_and_captions_are_offered_by_the_names_people_gave_them(
    opened: Open, shelf: Shelf, player: str
) -> None:
    page = opened(player)
    loud = "The ”loud” one" if player == "hls" else 'The "loud" one'
    assert page.evaluate("player.sounds()") == [f"en {loud}", "fr Ton & Co"]
    said = "Said ”aloud” & <more>" if player == "hls" else 'Said "aloud" & <more>'
    assert page.evaluate("player.texts()") == [f"en {said}"]
    assert page.evaluate("player.heard()") == 0
    play(page)
    until(page, "film.currentTime > 0.3")
    page.evaluate("player.hear(1)")
    until(page, "player.heard() === 1")
    decoded = page.evaluate("film.webkitAudioDecodedByteCount")
    until(page, f"film.webkitAudioDecodedByteCount > {decoded}")
    play_to_the_end(page)
    assert any("/a1/" in path for path in shelf.asked)


@PLAYERS
def test_a_stream_that_is_still_being_made_plays_from_its_start_to_its_end(
    opened: Open, shelf: Shelf, player: str
) -> None:
    shelf.grows = True
    page = opened(player)
    assert page.evaluate("film.currentTime") < 0.5
    play(page)
    until(page, "film.currentTime > 0.3")
    assert page.evaluate("film.currentTime") < 3
    until(page, "film.currentTime > 2.5")
    play_to_the_end(page)


def test_a_strict_reader_of_hls_finds_nothing_wrong_with_any_list(chromium: Browser, shelf: Shelf) -> None:
    """hls-parser in its strict mode, which throws at what RFC 8216 forbids; it also throws at a list made wrong."""
    lists = {
        f"{name} {ended}": text
        for ended in (True, False)
        for name, text in (
            ("master", master(shelf.tracks, base="s/", texts=shelf.texts, ended=ended)),
            ("sound alone", master(shelf.tracks[3:], base="s/", ended=ended)),
            *((track.name, media(track, base="", ended=ended)) for track in shelf.tracks),
            *((text.name, text_media(text, base="", length_s=Fraction(LENGTH_S))) for text in shelf.texts),
        )
    }
    wrong = media(shelf.tracks[0], base="", ended=True).replace("TARGETDURATION:4", "TARGETDURATION:3")
    page = chromium.new_page()
    with served(shelf) as address:
        page.goto(f"{address}/strict.html")
        found = page.evaluate("lists => check(lists)", lists | {"wrong": wrong})
    page.close()
    assert "less than or equal to the target duration" in found.pop("wrong")
    assert len(found) == len(lists) == 16
    assert set(found.values()) == {"ok"}
