"""Several videos in one batch by the JSON API: a result for each, one progress, and a retry of what failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app import batches, config, db, storage
from tests.web.batch_kit import WORDS, a_video, begin, failed, opened, rows_left, seen, send, statuses, three
from tests.web.studio import NOTHING, Studio, open_studio
from tests.web.test_uploads import add
from tests.world import clip

NO_ROWS = {"batches": 0, "items": 0, "uploads": 0}
pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    # One account's pause between two posts is a limit of its own; here it would only be waited for.
    monkeypatch.setenv("ACCOUNT_UPLOADS_MOST", "none")
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


# ---- opening one ----


async def test_a_batch_of_files_waits_for_each_of_them_under_the_common_title(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    batch = await opened(maya, accountId=account_id, title="Knots: {name}")
    assert (batch["status"], batch["progress"], batch["act"]) == ("needs_files", 0, "upload")
    assert [item["title"] for item in batch["items"]] == [
        "Knots: red knot",
        "Knots: blue knot",
        "Knots: words",
    ]
    assert statuses(batch) == ["WAITING_FOR_FILE"] * 3
    assert (batch["counts"]["total"], batch["counts"]["waiting"]) == (3, 3)


async def test_what_is_sent_goes_its_way_and_the_percent_follows(studio: Studio) -> None:
    maya = await studio.person()
    batch = await opened(maya, accountId=await studio.account(maya))
    for at in (0, 1):
        answer = await send(maya, batch, at)
        assert answer.status_code == 201, answer.text
    now = await seen(maya, batch)
    assert statuses(now) == ["EDITING_QUEUED", "EDITING_QUEUED", "WAITING_FOR_FILE"]
    # Two of three files are here, each a third of what has to be done for it.
    assert (now["status"], now["progress"]) == ("running", pytest.approx(22.2, abs=0.1))
    await studio.worker.run_until_idle(ahead=True)
    now = await seen(maya, batch)
    assert statuses(now) == ["POSTED", "POSTED", "WAITING_FOR_FILE"]
    assert (now["status"], now["progress"]) == ("needs_files", pytest.approx(66.7, abs=0.1))
    assert all(item["postUrl"] and item["posterUrl"] for item in now["items"][:2])
    assert len(await studio.world.posts()) == 2


async def test_a_bad_file_tells_its_reason_stops_no_other_and_can_be_sent_again(studio: Studio) -> None:
    maya = await studio.person()
    batch = await opened(maya)
    refused = await send(maya, batch, 2, WORDS)
    assert (refused.status_code, refused.json()["error"]["code"]) == (415, "not_a_video")
    assert (await send(maya, batch, 0)).status_code == 201
    now = await seen(maya, batch)
    assert statuses(now) == ["EDITING_QUEUED", "WAITING_FOR_FILE", "REFUSED"]
    assert "text file" in now["items"][2]["failure"]["message"]
    assert "again" in now["items"][2]["failure"]["next"]
    left = await studio.left_behind()
    assert (left["videos"], left["jobs"], left["objects"]) == (1, 1, 1)
    for at in (1, 2):
        assert (await send(maya, batch, at)).status_code == 201
    await studio.worker.run_until_idle()
    now = await seen(maya, batch)
    assert (now["status"], now["progress"], statuses(now)) == ("done", 100, ["EDITED"] * 3)


async def test_a_place_takes_one_file_whoever_sends_twice(studio: Studio) -> None:
    maya = await studio.person()
    batch = await opened(maya)
    both = await asyncio.gather(send(maya, batch, 0), send(maya, batch, 0))
    assert sorted(answer.status_code for answer in both) == [201, 422]
    left = await studio.left_behind()
    assert (left["videos"], left["jobs"], left["objects"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"files"}),
        ({"files": []}, {"files"}),
        ({"files": [{"filename": "a.mp4", "bytes": 10}] * 51}, {"files"}),
        ({"files": [{"filename": "a.mp4", "bytes": 0}]}, {"files.0.bytes"}),
        ({"files": [{"filename": "a.mp4", "bytes": 10**15}]}, {"files.0.bytes"}),
        ({"files": [{"filename": "a.mp4"}]}, {"files.0.bytes"}),
        (three(title="x" * 2194 + "{name}"), {"files.0.title", "files.1.title"}),
        (three(colour="red"), {"colour"}),
        (three(design={"title": {"text": ""}}), {"design.title.text"}),
        (three(design={"title": {"text": "a\0b"}}), {"design"}),
        (three(post={}), {"post.privacyLevel"}),
        (three(publishAt="tomorrow", zone="Mars/Olympus"), {"publishAt", "zone"}),
        (three(videoIds=[1]), {"videoIds"}),
        ({"act": "post", "videoIds": [1]}, {"accountId", "post"}),
        ({"act": "retry", "videoIds": []}, {"videoIds"}),
        ({"act": "retry", "videoIds": [1], "title": "x"}, {"title"}),
        ({"act": "sing"}, {"act"}),
    ],
)
async def test_bad_input_is_named_field_by_field_and_leaves_nothing(
    studio: Studio, body: dict[str, Any], fields: set[str]
) -> None:
    maya = await studio.person()
    answer = await maya.api.post("/api/batches", json=body)
    assert answer.status_code == 422, answer.text
    assert fields <= set(answer.json()["error"]["fields"])
    assert await rows_left() == NO_ROWS
    assert await studio.left_behind() == NOTHING


async def test_fifty_fit_and_one_more_is_said_clearly(studio: Studio) -> None:
    maya = await studio.person()
    files = [{"filename": f"{number}.mp4", "bytes": 10} for number in range(51)]
    answer = await maya.api.post("/api/batches", json={"files": files})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "too_many")
    assert answer.json()["error"]["message"] == "A batch holds at most 50 videos; these are 51."
    answer = await maya.api.post("/api/batches", json={"files": files[:50]})
    assert (answer.status_code, len(answer.json()["batch"]["items"])) == (201, 50)


async def test_what_the_workspace_may_not_have_leaves_nothing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    maya, noor = await studio.person(), await studio.person("Noor")
    theirs = await studio.account(noor)
    video_id = await a_video(noor)
    before = await studio.left_behind()
    assert (await maya.api.post("/api/batches", json=three(accountId=theirs))).status_code == 404
    for act in ("retry", "cancel"):
        answer = await maya.api.post("/api/batches", json={"act": act, "videoIds": [video_id]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    monkeypatch.setenv("STORAGE_QUOTA_BYTES", "1000")
    config.get.cache_clear()
    answer = await maya.api.post("/api/batches", json=three())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "quota")
    monkeypatch.setenv("QUEUE_ENABLED", "false")
    config.get.cache_clear()
    answer = await maya.api.post("/api/batches", json=three())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_disabled")
    assert (await rows_left())["batches"] == 0
    assert await studio.left_behind() == before


async def test_the_same_key_opens_one_batch(studio: Studio) -> None:
    maya = await studio.person()
    answers = [
        await maya.api.post("/api/batches", json=three(), headers={"idempotency-key": "one"})
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert (await rows_left())["batches"] == 1
    other = await maya.api.post("/api/batches", json=three(title="x"), headers={"idempotency-key": "one"})
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_another_owner_finds_no_batch(studio: Studio) -> None:
    maya, noor = await studio.person(), await studio.person("Noor")
    batch = await opened(maya)
    assert (await noor.api.get(f"/api/batches/{batch['id']}")).status_code == 404
    assert (await send(noor, batch, 0)).status_code == 404
    for verb in ("retry", "cancel"):
        assert (await noor.api.post(f"/api/batches/{batch['id']}/{verb}")).status_code == 404
    # An item of one's own under somebody else's batch, or the other way round, is none either.
    own = await opened(noor)
    assert (await send(noor, {**batch, "items": own["items"]}, 0)).status_code == 404
    assert (await send(noor, {**own, "items": batch["items"]}, 0)).status_code == 404
    assert await studio.left_behind() == NOTHING


# ---- retry and cancel ----


async def test_a_retry_touches_only_what_failed_and_the_second_one_nothing(studio: Studio) -> None:
    maya = await studio.person()
    batch = await opened(maya)
    for at in range(3):
        await send(maya, batch, at)
    ids = [item["videoId"] for item in (await seen(maya, batch))["items"]]
    await failed(ids[1])
    await studio.worker.run_until_idle()
    now = await seen(maya, batch)
    assert (now["status"], statuses(now)) == ("partly_failed", ["EDITED", "FAILED", "EDITED"])
    # The failed one counts its upload, which need not be done again.
    assert now["progress"] == pytest.approx(83.3, abs=0.1)
    assert now["items"][1]["failure"]["message"] == "The picture cannot be decoded."
    first = await maya.api.post(f"/api/batches/{batch['id']}/retry")
    assert (first.status_code, first.json()["acted"]) == (200, 1)
    assert statuses(first.json()["batch"]) == ["EDITED", "EDITING_QUEUED", "EDITED"]
    second = await maya.api.post(f"/api/batches/{batch['id']}/retry")
    assert (second.status_code, second.json()["acted"]) == (200, 0)
    assert (await studio.left_behind())["jobs"] == 3
    await studio.worker.run_until_idle()
    assert (await seen(maya, batch))["status"] == "done"


async def test_two_retries_at_once_put_one_job(studio: Studio) -> None:
    maya = await studio.person()
    batch = await opened(maya)
    await send(maya, batch, 0)
    await failed((await seen(maya, batch))["items"][0]["videoId"])
    both = await asyncio.gather(*(maya.api.post(f"/api/batches/{batch['id']}/retry") for _ in range(2)))
    assert sorted(answer.json()["acted"] for answer in both) == [0, 1]
    assert (await studio.left_behind())["jobs"] == 1
    # The second one waited and found nothing to do; it was not refused in the middle.
    assert (await seen(maya, batch))["items"][0]["note"] is None


async def test_a_cancel_stops_all_that_is_not_posted_and_what_is_posted_stays(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    batch = await opened(maya, accountId=await studio.account(maya))
    await send(maya, batch, 0)
    await studio.worker.run_until_idle(ahead=True)
    await send(maya, batch, 1)
    # The third one is half here.
    upload = await begin(maya, batch["items"][2]["id"], len(clip()))
    await add(maya, upload.headers["location"], 0, clip()[:20_000])
    now = await seen(maya, batch)
    assert statuses(now) == ["POSTED", "EDITING_QUEUED", "RECEIVING"]
    answer = await maya.api.post(f"/api/batches/{batch['id']}/cancel")
    assert (answer.status_code, answer.json()["acted"]) == (200, 2)
    now = await seen(maya, batch)
    assert (now["status"], statuses(now)) == ("done", ["POSTED", "CANCELLED", "CANCELLED"])
    assert now["progress"] == 100
    assert (await add(maya, upload.headers["location"], 20_000, clip()[20_000:])).status_code in (404, 410)
    assert (await rows_left())["uploads"] == 0
    again = await maya.api.post(f"/api/batches/{batch['id']}/cancel")
    assert (again.status_code, again.json()["acted"]) == (200, 0)
    assert (await send(maya, batch, 2)).status_code == 410
    await studio.worker.run_until_idle(ahead=True)
    assert len(await studio.world.posts()) == 1
    originals = [key async for key in storage.keys("tenants/") if "/originals/" in key]
    assert len(originals) == 2


async def test_a_file_that_ends_its_way_as_the_batch_is_cancelled_makes_no_video(studio: Studio) -> None:
    """The upload outlives the cancel, as when the process died before it cleared away."""
    maya = await studio.person(browser=True)
    batch = await opened(maya)
    upload = await begin(maya, batch["items"][0]["id"], len(clip()))
    async with db.owned_by(maya.workspace_id) as conn:
        await batches.cancel(conn, batch["id"])
    answer = await add(maya, upload.headers["location"], 0, clip())
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "cancelled")
    assert await studio.left_behind() == NOTHING


async def test_whatever_meets_the_cancel_nothing_of_it_goes_on(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    for _ in range(6):
        batch = await opened(maya)
        upload = await begin(maya, batch["items"][0]["id"], len(clip()))
        await asyncio.gather(
            add(maya, upload.headers["location"], 0, clip()),
            maya.api.post(f"/api/batches/{batch['id']}/cancel"),
        )
        now = await seen(maya, batch)
        assert (now["status"], statuses(now)) == ("cancelled", ["CANCELLED"] * 3)
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM uploads WHERE state IN ('open', 'finishing')") == 0
        assert await db.value(conn, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'") == 0


async def test_one_item_that_cannot_go_on_keeps_its_note_and_the_others_go(studio: Studio) -> None:
    maya = await studio.person()
    account_id = await studio.account(maya)
    batch = await opened(maya, accountId=account_id)
    for at in range(2):
        await send(maya, batch, at)
    await studio.world.arm("spam_risk_text")
    await studio.worker.run_until_idle(ahead=True)
    now = await seen(maya, batch)
    [lost] = [item for item in now["items"] if item["status"] == "FAILED"]
    async with db.house() as conn:
        await conn.execute("UPDATE accounts SET state = 'needs_reconnect', reason = 'Connect it again.'")
    answer = (await maya.api.post(f"/api/batches/{batch['id']}/retry")).json()
    assert answer["acted"] == 0
    [same] = [item for item in answer["batch"]["items"] if item["id"] == lost["id"]]
    assert (same["status"], same["note"]) == ("FAILED", "Connect it again.")
    async with db.house() as conn:
        await conn.execute("UPDATE accounts SET state = 'connected', reason = NULL")
    answer = (await maya.api.post(f"/api/batches/{batch['id']}/retry")).json()
    assert answer["acted"] == 1
    await studio.worker.run_until_idle(ahead=True)
    assert [item["note"] for item in (await seen(maya, batch))["items"]] == [None] * 3
    assert len(await studio.world.posts()) == 2
