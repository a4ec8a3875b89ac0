"""Videos by the JSON API: the form is read while it streams in, and a refusal leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import ClientDisconnect

from app import config, db, publishing, queue
from app.errors import Refused
from app.web.api import multipart
from tests.web.studio import NOTHING, Person, Studio, open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio
BOUNDARY = "a-line-between"
KIND = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
Part = tuple[str, str | bytes]


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


def form(parts: Sequence[Part], *, ended: bool = True, filename: str = "knot.mp4") -> bytes:
    """A form with these parts in this order; bytes are files."""
    said = b""
    for name, value in parts:
        extra = f'; filename="{filename}"' if isinstance(value, bytes) else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
        said += head.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return said + (f"--{BOUNDARY}--\r\n".encode() if ended else b"")


async def send(
    person: Person, parts: Sequence[Part], *, key: str | None = None, **options: Any
) -> httpx2.Response:
    headers = KIND | ({"idempotency-key": key} if key else {})
    return await person.api.post("/api/videos", content=form(parts, **options), headers=headers)


async def walk(studio: Studio, *, before: bool, name: str = "file") -> tuple[Person, dict[str, Any]]:
    maya = await studio.person()
    account_id = await studio.account(maya)
    fields: list[Part] = [("accountId", str(account_id)), ("title", "A knot")]
    file: list[Part] = [(name, clip())]
    answer = await send(maya, fields + file if before else file + fields)
    assert answer.status_code == 201, answer.text
    return maya, answer.json()["video"]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", ["file", "video"])
async def test_a_video_is_taken_in_with_fields_before_or_after_the_file(
    studio: Studio, before: bool, name: str
) -> None:
    _, video = await walk(studio, before=before, name=name)
    assert (video["status"], video["title"], video["failure"]) == ("EDITING_QUEUED", "A knot", None)
    assert video["waiting"]["kind"] == "no_worker"
    assert [target["status"] for target in video["targets"]] == ["scheduled"]
    assert [what["name"] for what in video["timeline"]] == ["video.uploaded", "video.editing_queued"]
    assert video["srcUrl"].startswith("https://studio.example/")
    left = await studio.left_behind()
    assert (left["videos"], left["jobs"], left["objects"]) == (1, 1, 1)


async def test_the_whole_walk_ends_posted_and_is_told(studio: Studio) -> None:
    maya, video = await walk(studio, before=True)
    await studio.worker.run_until_idle(ahead=True)
    told = (await maya.api.get(f"/api/videos/{video['id']}")).json()["video"]
    assert (told["status"], told["progress"], told["waiting"]) == ("POSTED", 100, None)
    [target] = told["targets"]
    assert target["url"] == told["postUrl"]
    assert target["url"].startswith("https://www.tiktok.com/@")
    assert [attempt["outcome"] for attempt in target["attempts"]] == ["published"]
    assert told["editedUrl"] is not None
    assert told["createdAt"].endswith("Z")
    [listed] = (await maya.api.get("/api/videos?status=POSTED")).json()["videos"]
    assert (listed["id"], listed["status"], listed["postUrl"]) == (video["id"], "POSTED", told["postUrl"])


async def test_every_wish_arrives(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    answer = await send(
        maya,
        [
            ("video", clip()),
            ("accountId", str(account_id)),
            ("title", "A knot"),
            ("design", json.dumps({"title": {"text": "Three knots"}})),
            ("post", json.dumps({"privacyLevel": "PUBLIC_TO_EVERYONE", "disableDuet": True})),
            ("publishAt", "2027-03-01T09:00:00+02:00"),
            ("zone", "Europe/Kyiv"),
        ],
    )
    assert answer.status_code == 201, answer.text
    video = answer.json()["video"]
    assert video["targets"][0]["publishAt"] == "2027-03-01T07:00:00Z"
    async with db.owned_by(maya.workspace_id) as conn:
        target = await publishing.get(conn, video["targets"][0]["id"])
        design = await db.value(conn, "SELECT design FROM videos WHERE id = %s", [video["id"]])
    assert (target.choices.privacy_level, target.choices.disable_duet, target.zone) == (
        "PUBLIC_TO_EVERYONE",
        True,
        "Europe/Kyiv",
    )
    assert design["title"]["text"] == "Three knots"


async def refused(
    studio: Studio, person: Person, answer: httpx2.Response, status: int, code: str, *fields: str
) -> None:
    """The answer says no in the API's form, and nothing is left behind."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert set(fields) <= set(error["fields"])
    assert error["message"]
    assert await studio.left_behind() == NOTHING


@pytest.mark.parametrize("before", [True, False])
async def test_a_missing_account_is_named(studio: Studio, before: bool) -> None:
    maya = await studio.person()
    parts: list[Part] = [("title", "A knot"), ("file", clip())]
    answer = await send(maya, parts if before else parts[::-1])
    await refused(studio, maya, answer, 422, "invalid", "accountId")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("foreign", [True, False])
async def test_a_foreign_account_is_not_found(studio: Studio, before: bool, foreign: bool) -> None:
    maya, noa = await studio.person(), await studio.person("Noa")
    account_id = await studio.account(noa) if foreign else 999_999
    parts: list[Part] = [("accountId", str(account_id)), ("title", "x"), ("file", clip())]
    answer = await send(maya, parts if before else parts[::-1])
    await refused(studio, maya, answer, 404, "not_found")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("accountId", "seven", "accountId"),
        ("design", "{", "design"),
        ("design", "[]", "design"),
        ("design", '{"title": {"text": ""}}', "design.title.text"),
        ("post", "{}", "post.privacyLevel"),
        ("publishAt", "tomorrow", "publishAt"),
        ("publishAt", "2020-01-01T00:00:00Z", "publishAt"),
        ("zone", "Mars/Olympus", "zone"),
        ("colour", "red", "colour"),
        ("title", "x" * 2201, "title"),
        ("title", "a\0b", "title"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
async def test_what_is_wrong_is_named_field_by_field(
    studio: Studio, field: str, value: str, named: str, before: bool
) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    fields: dict[str, str] = {"accountId": str(account_id), "title": "A knot", field: value}
    file: list[Part] = [("file", clip())]
    parts: list[Part] = list(fields.items())
    answer = await send(maya, parts + file if before else file + parts)
    await refused(studio, maya, answer, 422, "invalid", named)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "empty"),
        (b"just words, no video at all" * 400, 415, "not_a_video"),
        (b"#EXTM3U\n#EXTINF:1\nhttp://169.254.169.254/x.ts\n", 415, "not_a_video"),
    ],
)
async def test_what_is_no_video_is_refused(studio: Studio, content: bytes, status: int, code: str) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    answer = await send(maya, [("accountId", str(account_id)), ("title", "x"), ("file", content)])
    await refused(studio, maya, answer, status, code, "file")


async def test_a_form_without_a_file_says_so(studio: Studio) -> None:
    maya = await studio.person()
    answer = await send(maya, [("title", "A knot")])
    await refused(studio, maya, answer, 422, "invalid", "file", "accountId")


async def test_two_files_are_one_too_many(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    parts: list[Part] = [("accountId", str(account_id)), ("title", "x"), ("file", clip()), ("video", clip())]
    await refused(studio, maya, await send(maya, parts), 422, "invalid", "video")


async def test_a_field_given_twice_is_refused(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    parts: list[Part] = [("file", clip()), ("accountId", str(account_id)), ("title", "x"), ("title", "y")]
    await refused(studio, maya, await send(maya, parts), 422, "invalid", "title")


async def test_a_form_that_ends_in_the_middle_leaves_nothing(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    cut = form([("accountId", str(account_id)), ("title", "x"), ("file", clip())], ended=False)[:-1000]
    answer = await maya.api.post("/api/videos", content=cut, headers=KIND)
    await refused(studio, maya, answer, 400, "bad_form")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 415),
        ({"content-type": "multipart/form-data"}, 400),
        ({"content-type": "multipart/form-data; boundary=" + "x" * 100}, 400),
    ],
)
async def test_another_kind_of_body_is_refused(studio: Studio, headers: dict[str, str], status: int) -> None:
    maya = await studio.person()
    answer = await maya.api.post("/api/videos", content=b"{}", headers=headers)
    assert answer.status_code == status


async def test_with_the_queue_off_nothing_is_written(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    monkeypatch.setenv("QUEUE_ENABLED", "false")
    config.get.cache_clear()
    answer = await send(maya, [("accountId", str(account_id)), ("title", "x"), ("file", clip())])
    await refused(studio, maya, answer, 503, "queue_disabled")


async def test_an_account_that_must_be_connected_again_is_said_so(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    async with db.house() as conn:
        await conn.execute("UPDATE accounts SET state = 'needs_reconnect', reason = 'Connect again.'")
    answer = await send(maya, [("accountId", str(account_id)), ("title", "x"), ("file", clip())])
    await refused(studio, maya, answer, 409, "needs_reconnect")


async def test_the_same_key_gives_the_first_answer_and_keeps_one_file(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    parts: list[Part] = [("accountId", str(account_id)), ("title", "A knot"), ("file", clip())]
    first = await send(maya, parts, key="one")
    second = await send(maya, parts, key="one")
    assert (second.status_code, second.json()) == (201, first.json())
    left = await studio.left_behind()
    assert (left["videos"], left["jobs"], left["objects"]) == (1, 1, 1)
    other = await send(maya, [*parts[:1], ("title", "Another"), parts[2]], key="one")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert (await studio.left_behind())["objects"] == 1


async def test_a_foreign_video_cannot_be_seen_retried_or_cancelled(studio: Studio) -> None:
    _, video = await walk(studio, before=True)
    noa = await studio.person("Noa")
    assert (await noa.api.get(f"/api/videos/{video['id']}")).status_code == 404
    for verb in ("retry", "cancel"):
        answer = await noa.api.post(f"/api/videos/{video['id']}/{verb}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert (await noa.api.get("/api/videos")).json() == {"videos": [], "nextBefore": None}


async def test_a_cancelled_video_can_be_retried_once(studio: Studio) -> None:
    maya, video = await walk(studio, before=True)
    path = f"/api/videos/{video['id']}"
    cancelled = await maya.api.post(f"{path}/cancel")
    assert (cancelled.status_code, cancelled.json()["video"]["status"]) == (200, "CANCELLED")
    again = await maya.api.post(f"{path}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "too_late")
    retried = await maya.api.post(f"{path}/retry")
    assert (retried.status_code, retried.json()["video"]["status"]) == (200, "EDITING_QUEUED")
    assert (await maya.api.post(f"{path}/retry")).status_code == 409


async def test_a_retry_with_a_key_is_made_once(studio: Studio) -> None:
    maya, video = await walk(studio, before=True)
    path = f"/api/videos/{video['id']}"
    await maya.api.post(f"{path}/cancel")
    first = await maya.api.post(f"{path}/retry", headers={"idempotency-key": "again"})
    second = await maya.api.post(f"{path}/retry", headers={"idempotency-key": "again"})
    assert (first.status_code, second.json()) == (200, first.json())


async def test_a_failure_says_why_and_what_happens_next(studio: Studio) -> None:
    maya, video = await walk(studio, before=True)
    async with db.house() as conn:
        await queue.cancel(conn, await _job_of(conn), "stop")
        await conn.execute(
            "UPDATE videos SET state = 'FAILED', reason = 'The picture cannot be decoded.', reason_code = 'bad'"
        )
    told = (await maya.api.get(f"/api/videos/{video['id']}")).json()["video"]
    assert told["failure"]["code"] == "bad"
    assert told["failure"]["message"] == "The picture cannot be decoded."
    assert "Retry" in told["failure"]["next"]


async def _job_of(conn: db.Conn) -> int:
    return int(await db.value(conn, "SELECT id FROM procrastinate_jobs"))


async def test_lists_go_on_page_by_page(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    for number in range(3):
        await send(maya, [("accountId", str(account_id)), ("title", f"Knot {number}"), ("file", clip())])
    first = (await maya.api.get("/api/videos?limit=2")).json()
    assert [video["title"] for video in first["videos"]] == ["Knot 2", "Knot 1"]
    second = (await maya.api.get(f"/api/videos?limit=2&before={first['nextBefore']}")).json()
    assert ([video["title"] for video in second["videos"]], second["nextBefore"]) == (["Knot 0"], None)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "before=0", "status=LOST", "before=-1"])
async def test_a_question_that_makes_no_sense_is_refused(studio: Studio, query: str) -> None:
    maya = await studio.person()
    answer = await maya.api.get(f"/api/videos?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    assert query.partition("=")[0] in answer.json()["error"]["fields"]


# The reader itself


class Line:
    """A request whose body comes in pieces; counts how far it was read."""

    def __init__(self, body: bytes, size: int, *, cut: bool = False) -> None:
        self.headers = KIND
        self.pieces = [body[at : at + size] for at in range(0, len(body), size)]
        self.cut = cut
        self.read = 0

    async def stream(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.read += len(piece)
            yield piece
        if self.cut:
            raise ClientDisconnect
        yield b""


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
async def test_a_form_is_read_the_same_however_it_is_cut(size: int) -> None:
    content = bytes(range(256)) * 8 + b"\r\n--a-line-betwee\r\n--"
    body = form([("title", "Ünïcode"), ("file", content), ("zone", "UTC")], filename="knot (1).mp4")
    read = multipart.Form(Line(body, size), files=("file",))  # type: ignore[arg-type]  # what it needs of one
    file = await read.file()
    assert file is not None
    assert (file.name, file.filename, read.fields) == ("file", "knot (1).mp4", {"title": "Ünïcode"})
    assert b"".join([piece async for piece in file.chunks]) == content
    await read.rest()
    assert read.fields == {"title": "Ünïcode", "zone": "UTC"}


async def test_no_more_is_read_than_is_asked_for() -> None:
    line = Line(form([("title", "x"), ("file", b"z" * 1_000_000)]), 1000)
    read = multipart.Form(line, files=("file",))  # type: ignore[arg-type]  # what it needs of one
    file = await read.file()
    assert file is not None
    await anext(file.chunks)
    assert line.read <= 3000


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("title", "x" * (1024**2 + 1))], 413),
        ([(f"f{number}", "x") for number in range(multipart.MOST_FIELDS + 1)], 422),
        ([("title", b"\xff\xfe")], 422),
    ],
)
async def test_fields_are_bounded_and_text(parts: list[Part], status: int) -> None:
    read = multipart.Form(Line(form(parts), 65_536), files=("file",))  # type: ignore[arg-type]  # as above
    with pytest.raises(Refused) as caught:
        await read.file()
    assert caught.value.status == status


async def test_a_line_that_breaks_inside_the_file_leaves_no_object(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    body = form([("accountId", str(account_id)), ("title", "x"), ("file", clip())])[:-5000]

    async def broken() -> AsyncIterator[bytes]:
        yield body
        raise ClientDisconnect

    answer = await maya.api.post("/api/videos", content=broken(), headers=KIND)
    assert answer.status_code == 499
    assert await studio.left_behind() == NOTHING
