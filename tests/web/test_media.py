"""Files of the local folder behind signed links: whole, in part, and not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import storage
from tests.web.studio import Studio, open_studio

pytestmark = pytest.mark.anyio
CONTENT = bytes(range(256)) * 4000


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def stored() -> str:
    key = storage.key_for(1, "renders", "mp4")

    async def chunks() -> AsyncIterator[bytes]:
        yield CONTENT

    await storage.put_stream(chunks(), key, "video/mp4", most_bytes=len(CONTENT))
    return key


async def test_a_link_gives_the_whole_file_to_whoever_holds_it(studio: Studio) -> None:
    link = storage.link(await stored(), content_type="video/mp4")
    answer = await (await studio.client()).get(link)
    assert (answer.status_code, answer.content == CONTENT) == (200, True)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "inline"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=1023999-", 1_023_999, 1_024_000),
        ("bytes=-5", 1_023_995, 1_024_000),
        ("bytes=1000000-9999999", 1_000_000, 1_024_000),
    ],
)
async def test_a_range_gives_just_that_part(studio: Studio, asked: str, start: int, end: int) -> None:
    link = storage.link(await stored(), content_type="video/mp4")
    answer = await (await studio.client()).get(link, headers={"range": asked})
    assert (answer.status_code, answer.content == CONTENT[start:end]) == (206, True)
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


async def test_a_range_behind_the_end_is_told_the_size(studio: Studio) -> None:
    link = storage.link(await stored(), content_type="video/mp4")
    answer = await (await studio.client()).get(link, headers={"range": "bytes=1024000-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


async def test_head_tells_the_size_and_sends_nothing(studio: Studio) -> None:
    link = storage.link(await stored(), content_type="video/mp4")
    answer = await (await studio.client()).head(link)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))


async def test_a_range_of_another_version_gives_the_whole(studio: Studio) -> None:
    link = storage.link(await stored(), content_type="video/mp4")
    browser = await studio.client()
    tag = (await browser.head(link)).headers["etag"]
    same = await browser.get(link, headers={"range": "bytes=0-9", "if-range": tag})
    other = await browser.get(link, headers={"range": "bytes=0-9", "if-range": '"other"'})
    assert (same.status_code, other.status_code) == (206, 200)


async def test_a_download_is_called_what_its_owner_called_it(studio: Studio) -> None:
    link = storage.link(await stored(), content_type="video/mp4", filename="ключ.mp4", download=True)
    told = (await (await studio.client()).head(link)).headers["content-disposition"]
    assert told.startswith("attachment;") and "filename*=UTF-8''%D0%BA" in told


async def test_forged_damaged_and_dead_links_are_not_found(studio: Studio) -> None:
    key = await stored()
    link = storage.link(key, content_type="video/mp4")
    browser = await studio.client()
    for bad in (link[:-2], link.replace("/media/", "/media/x"), "/media/nothing"):
        assert (await browser.get(bad)).status_code == 404
    await storage.delete(key)
    assert (await browser.get(link)).status_code == 404
