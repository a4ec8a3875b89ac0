"""Bad input at both doors, the API and the resumable upload: a clear reason, and no row, job or object left behind."""

from __future__ import annotations

import base64
import json
import subprocess
import zlib
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path

import httpx2
import pytest

from app import config, db, media
from tests.web.studio import NOTHING, OWN, Person, Studio, open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


def made(*options: str) -> bytes:
    argv = [str(media.program().path), "-hide_banner", "-loglevel", "error", "-nostdin", *options]
    return subprocess.run(argv, check=True, capture_output=True).stdout


@lru_cache(maxsize=1)
def truncated() -> bytes:
    """A file whose index stood at its end, and whose end is missing."""
    whole = clip(2.0)
    return whole[: len(whole) // 2]


@lru_cache(maxsize=1)
def sound_only() -> bytes:
    return made(
        "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", "-f", "mp4",
        "-movflags", "frag_keyframe+empty_moov", "-",
    )  # fmt: skip


@lru_cache(maxsize=1)
def huge() -> bytes:
    """A tiny file that claims pictures of 30,000 by 30,000."""
    small = made(
        "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25:duration=0.1", "-c:v", "png", "-f", "mov",
        "-movflags", "frag_keyframe+empty_moov", "-",
    )  # fmt: skip
    held = bytearray(small)
    at = held.index(b"png ", held.index(b"stsd"))
    held[at + 28 : at + 32] = (30_000).to_bytes(2, "big") * 2
    at = held.find(b"IHDR")
    while at >= 0:
        held[at + 4 : at + 12] = (30_000).to_bytes(4, "big") * 2
        held[at + 17 : at + 21] = zlib.crc32(held[at : at + 17]).to_bytes(4, "big")
        at = held.find(b"IHDR", at + 1)
    return bytes(held)


def playlist() -> bytes:
    return b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n" + b"#" * 5000


def picture() -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"\0" * 5000


BAD: list[tuple[str, Callable[[], bytes], str]] = [
    ("truncated", truncated, "cut"),
    ("only sound", sound_only, "sound only"),
    ("huge pictures", huge, "pixels"),
    ("a playlist called .mp4", playlist, "playlist"),
    ("a picture", picture, "PNG"),
    ("words", lambda: b"words " * 1000, "text"),
]


async def by_api(studio: Studio, person: Person, content: bytes, name: str = "bad.mp4") -> tuple[int, str]:
    account_id = await studio.account(person)
    answer = await person.api.post(
        "/api/videos",
        data={"accountId": str(account_id), "title": "Bad"},
        files={"file": (name, content, "video/mp4")},
    )
    return answer.status_code, answer.json()["error"]["message"] if answer.status_code >= 400 else ""


def metadata(name: str, wishes: dict[str, object]) -> str:
    words = {"filename": name, "wishes": json.dumps(wishes)}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in words.items())


async def open_upload(person: Person, total: int, name: str = "bad.mp4") -> httpx2.Response:
    headers = {
        **OWN, "tus-resumable": "1.0.0", "x-csrf-token": person.csrf, "upload-length": str(total),
        "upload-metadata": metadata(name, {"title": "Bad"}),
    }  # fmt: skip
    return await person.browser.post("/uploads", headers=headers)


async def send_piece(person: Person, location: str, offset: int, content: bytes) -> httpx2.Response:
    headers = {
        **OWN, "tus-resumable": "1.0.0", "x-csrf-token": person.csrf, "upload-offset": str(offset),
        "content-type": "application/offset+octet-stream",
    }  # fmt: skip
    return await person.browser.patch(location, content=content, headers=headers)


async def by_tus(person: Person, content: bytes, name: str = "bad.mp4") -> tuple[int, str]:
    opened = await open_upload(person, len(content), name)
    if opened.status_code != 201:
        return opened.status_code, opened.text
    sent = await send_piece(person, opened.headers["location"], 0, content)
    return sent.status_code, sent.text


@pytest.mark.parametrize(("what", "make", "word"), BAD, ids=[what for what, _, _ in BAD])
async def test_what_is_no_usable_video_is_refused_by_the_api(
    studio: Studio, what: str, make: Callable[[], bytes], word: str
) -> None:
    status, message = await by_api(studio, await studio.person(), make())
    assert status in (413, 415, 422), message
    assert word.lower() in message.lower(), message
    assert await studio.left_behind() == NOTHING


@pytest.mark.parametrize(("what", "make", "word"), BAD, ids=[what for what, _, _ in BAD])
async def test_what_is_no_usable_video_is_refused_by_the_resumable_upload(
    studio: Studio, what: str, make: Callable[[], bytes], word: str
) -> None:
    status, message = await by_tus(await studio.person(browser=True), make())
    assert status in (413, 415, 422), message
    assert word.lower() in message.lower(), message
    assert await studio.left_behind() == NOTHING


async def test_no_bytes_at_all_are_refused_at_both_doors(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    assert (await by_api(studio, maya, b""))[0] == 422
    assert (await by_tus(maya, b""))[0] == 422
    assert await studio.left_behind() == NOTHING


async def test_a_name_with_control_characters_is_shown_without_them_and_reaches_no_path(
    studio: Studio,
) -> None:
    maya = await studio.person(browser=True)
    status, message = await by_tus(maya, clip(), "../../\x1b[31mevil\r\n.mp4")
    assert status == 204, message
    async with db.house() as conn:
        rows = await db.rows(conn, "SELECT filename, source_key FROM videos")
    ((filename, key),) = rows
    assert filename == "[31mevil.mp4"
    assert "evil" not in key and ".." not in key


@pytest.mark.parametrize("door", ["api", "tus"])
async def test_more_than_the_workspace_may_keep_is_refused(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    assert account_id
    monkeypatch.setenv("STORAGE_QUOTA_BYTES", "100000")
    config.get.cache_clear()
    content = clip()
    assert len(content) > 100_000
    status, message = await (by_tus(maya, content) if door == "tus" else by_api(studio, maya, content))
    assert status == 413 and "may keep" in message
    assert await studio.left_behind() == NOTHING


async def test_an_upload_cut_in_the_middle_goes_on_and_until_then_is_no_video(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    content = clip()
    location = (await open_upload(maya, len(content))).headers["location"]
    half = len(content) // 2
    assert (await send_piece(maya, location, 0, content[:half])).status_code == 204
    assert {**await studio.left_behind(), "objects": 0} == NOTHING
    head = await maya.browser.head(location, headers={"tus-resumable": "1.0.0"})
    assert head.headers["upload-offset"] == str(half)
    last = await send_piece(maya, location, half, content[half:])
    assert last.headers["upload-video"].startswith("/videos/")
