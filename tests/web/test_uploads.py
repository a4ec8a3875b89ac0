"""Resumable uploads as a browser's tus client sends them, over the whole app."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app import db
from tests.web.studio import NOTHING, OWN, Person, Studio, open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio
TUS = {"tus-resumable": "1.0.0"}
BYTES = {"content-type": "application/offset+octet-stream"}


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


def metadata(filename: str = "knot.mp4", **wishes: Any) -> str:
    pairs = {"filename": filename, "wishes": json.dumps(wishes)}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def said(person: Person, **more: str) -> dict[str, str]:
    return {**OWN, **TUS, "x-csrf-token": person.csrf, "accept": "application/json", **more}


async def begin(person: Person, size: int, **wishes: Any) -> httpx2.Response:
    headers = said(person) | {"upload-length": str(size), "upload-metadata": metadata(**wishes)}
    return await person.browser.post("/uploads", headers=headers)


async def add(person: Person, where: str, offset: int, content: bytes) -> httpx2.Response:
    headers = said(person) | BYTES | {"upload-offset": str(offset)}
    return await person.browser.patch(where, content=content, headers=headers)


async def test_a_video_sent_in_three_pieces_is_made_once(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    content = clip()
    opened = await begin(maya, len(content), title="A knot")
    assert (opened.status_code, opened.headers["tus-resumable"]) == (201, "1.0.0")
    where = opened.headers["location"]
    first = await add(maya, where, 0, content[:10_000])
    assert (first.status_code, first.headers["upload-offset"]) == (204, "10000")
    stands = await maya.browser.head(where, headers=said(maya))
    assert (stands.headers["upload-offset"], stands.headers["upload-length"]) == ("10000", str(len(content)))
    assert "upload-expires" in stands.headers
    await add(maya, where, 10_000, content[10_000:15_000])
    last = await add(maya, where, 15_000, content[15_000:])
    assert last.status_code == 204
    page = await maya.browser.get(last.headers["upload-video"])
    assert "A knot" in page.text
    left = await studio.left_behind()
    assert (left["videos"], left["jobs"], left["objects"]) == (1, 1, 1)


async def test_the_last_answer_can_be_asked_for_again(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    content = clip()
    where = (await begin(maya, len(content))).headers["location"]
    video = (await add(maya, where, 0, content)).headers["upload-video"]
    again = await add(maya, where, len(content), b"")
    assert (again.status_code, again.headers["upload-video"]) == (204, video)
    assert (await maya.browser.head(where, headers=said(maya))).headers["upload-video"] == video
    finished = await maya.browser.post(f"{where}/finish", headers=said(maya))
    assert finished.json()["video"]["url"] == video
    assert (await studio.left_behind())["videos"] == 1


async def test_a_piece_that_begins_elsewhere_is_a_conflict_and_changes_nothing(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    content = clip()
    where = (await begin(maya, len(content))).headers["location"]
    await add(maya, where, 0, content[:5000])
    assert (await add(maya, where, 4000, content[4000:])).status_code == 409
    assert (await maya.browser.head(where, headers=said(maya))).headers["upload-offset"] == "5000"


async def test_a_text_file_is_refused_with_what_it_is_and_leaves_nothing(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    text = b"this is not a video\n" * 1000
    where = (await begin(maya, len(text))).headers["location"]
    refused = await add(maya, where, 0, text)
    assert refused.status_code == 415
    assert "text file" in refused.json()["error"]["message"]
    assert await studio.left_behind() == NOTHING
    assert (await maya.browser.head(where, headers=said(maya))).status_code == 410
    assert (await maya.browser.get("/uploads", headers={"accept": "application/json"})).json() == {
        "uploads": []
    }


async def test_a_file_cut_in_the_middle_of_its_own_bytes_is_refused_at_the_end(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    cut = clip()[:3000]
    where = (await begin(maya, len(cut))).headers["location"]
    refused = await add(maya, where, 0, cut)
    assert refused.status_code in (415, 422), refused.text
    assert await studio.left_behind() == NOTHING


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("upload-length", "0", 422),
        ("upload-length", "many", 400),
        ("upload-length", str(10**17), 413),
        ("tus-resumable", "0.2.2", 412),
        ("upload-metadata", "wishes !!!", 400),
        ("upload-metadata", metadata(colour="red"), 422),
        ("upload-metadata", metadata(accountId=987654), 404),
        ("upload-defer-length", "1", 400),
    ],
)
async def test_what_could_never_become_a_video_is_refused_before_a_byte(
    studio: Studio, header: str, value: str, status: int
) -> None:
    maya = await studio.person(browser=True)
    headers = said(maya) | {"upload-length": "1000", "upload-metadata": metadata(), header: value}
    answer = await maya.browser.post("/uploads", headers=headers)
    assert answer.status_code == status, answer.text
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM uploads") == 0


async def test_bytes_of_another_type_are_refused(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    where = (await begin(maya, 1000)).headers["location"]
    headers = said(maya) | {"upload-offset": "0", "content-type": "video/mp4"}
    assert (await maya.browser.patch(where, content=b"x" * 1000, headers=headers)).status_code == 415


async def test_another_workspace_sees_nothing_of_an_upload(studio: Studio) -> None:
    maya, eve = await studio.person(browser=True), await studio.person("Eve", browser=True)
    content = clip()
    where = (await begin(maya, len(content))).headers["location"]
    assert (await eve.browser.head(where, headers=said(eve))).status_code == 404
    assert (await add(eve, where, 0, content)).status_code == 404
    assert (await eve.browser.delete(where, headers=said(eve))).status_code == 404
    assert (await eve.browser.post(f"{where}/finish", headers=said(eve))).status_code == 404
    assert (await maya.browser.head(where, headers=said(maya))).headers["upload-offset"] == "0"


async def test_an_upload_given_up_is_gone_with_its_bytes(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    content = clip()
    where = (await begin(maya, len(content))).headers["location"]
    await add(maya, where, 0, content[:8000])
    listed = (await maya.browser.get("/uploads", headers={"accept": "application/json"})).json()["uploads"]
    assert [(one["url"], one["bytesHere"]) for one in listed] == [(where, 8000)]
    assert (await maya.browser.delete(where, headers=said(maya))).status_code == 204
    assert (await maya.browser.head(where, headers=said(maya))).status_code == 404
    assert await studio.left_behind() == NOTHING


async def test_an_upload_can_be_given_up_without_script(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    where = (await begin(maya, 1000)).headers["location"]
    assert "Discard" in (await maya.browser.get("/videos")).text
    assert (await maya.post(f"{where}/drop")).status_code == 303
    assert (await maya.browser.head(where, headers=said(maya))).status_code == 404


async def test_a_change_without_the_pages_token_is_refused(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    headers = OWN | TUS | {"upload-length": "1000", "upload-metadata": metadata()}
    assert (await maya.browser.post("/uploads", headers=headers)).status_code == 403


async def test_what_the_server_can_do_is_told_to_anybody(studio: Studio) -> None:
    answer = await (await studio.client()).request("OPTIONS", "/uploads", headers=OWN)
    assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")
    assert answer.headers["tus-extension"] == "creation,termination,expiration"
    assert int(answer.headers["tus-max-size"]) == 4 * 1024**3
