"""Several videos in one batch by the pages: the composer's files, the batch's own page, a choice in the library."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import db, publishing, videos
from app.web import batches as web_batches
from tests.web.batch_kit import (
    HTMX,
    WORDS,
    a_video,
    act,
    begin,
    composed,
    failed,
    opened,
    result,
    rows_left,
    seen,
    send,
    statuses,
)
from tests.web.studio import Studio, open_studio
from tests.web.test_uploads import add
from tests.world import clip

pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    # One account's pause between two posts is a limit of its own; here it would only be waited for.
    monkeypatch.setenv("ACCOUNT_UPLOADS_MOST", "none")
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


# ---- several files ----


async def test_the_composers_files_become_a_batch_each_with_the_same_choices(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    choices = {"accountId": str(account_id), "privacyLevel": "MUTUAL_FOLLOW_FRIENDS", "title": "{name}!"}
    answer = await composed(maya, ["one_knot.mp4", "two.mp4"], **choices)
    assert answer.status_code == 201, answer.text
    again = await composed(maya, ["one_knot.mp4", "two.mp4"], **choices)
    assert again.json() == answer.json()
    batch = answer.json()["batch"]
    for item_id in batch["items"]:
        upload = await begin(maya, item_id, len(clip()))
        assert upload.status_code == 201, upload.text
        done = await add(maya, upload.headers["location"], 0, clip())
        assert done.headers["upload-video"].startswith("/videos/")
    now = await seen(maya, batch)
    assert [item["title"] for item in now["items"]] == ["one knot!", "two!"]
    async with db.owned_by(maya.workspace_id) as conn:
        found = await publishing.of_videos(conn, [item["videoId"] for item in now["items"]])
    assert [
        (target.post["title"], target.post["privacy_level"], target.account_id) for [target] in found.values()
    ] == [("one knot!", "MUTUAL_FOLLOW_FRIENDS", account_id), ("two!", "MUTUAL_FOLLOW_FRIENDS", account_id)]


async def test_the_page_shows_one_bar_and_each_items_state_and_moves_by_notices(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    batch = await opened(maya)
    await send(maya, batch, 0)
    await send(maya, batch, 2, WORDS)
    upload = await begin(maya, batch["items"][1]["id"], len(clip()))
    await add(maya, upload.headers["location"], 0, clip()[:20_000])
    page = (await maya.browser.get(f"/batches/{batch['id']}")).text
    assert page.count("data-batch-bar") == 1
    for word in ("In line for branding", "Uploading", "Not accepted", "text file", "No worker is running"):
        assert word in page, word
    live = re.search(r'id="batch-\d+"[^>]* data-live="([^"]+)"', page)
    video_id = (await seen(maya, batch))["items"][0]["videoId"]
    assert live is not None and live[1].split() == [f"workspace-{maya.workspace_id}", f"video-{video_id}"]
    view = (await maya.browser.get(f"/batches/{batch['id']}/view", headers=HTMX)).text
    assert view.lstrip().startswith(f'<section id="batch-{batch["id"]}"')
    assert "<span data-here>20.0 kB</span> of" in view
    # It waits at the batch's own page, not among the single uploads.
    assert "data-unfinished" not in (await maya.browser.get("/videos")).text


async def test_a_refused_upload_keeps_its_reason_on_the_page_until_another_file_is_sent(
    studio: Studio,
) -> None:
    maya = await studio.person(browser=True)
    batch = await opened(maya)
    item_id = batch["items"][2]["id"]
    upload = await begin(maya, item_id, len(WORDS))
    assert (await add(maya, upload.headers["location"], 0, WORDS)).status_code == 415
    too_large = await begin(maya, batch["items"][1]["id"], 10**15)
    assert too_large.status_code == 413
    async with db.house() as conn:
        await conn.execute("UPDATE uploads SET changed_at = now() - interval '3 days'")
    await videos.uploads.sweep()
    page = (await maya.browser.get(f"/batches/{batch['id']}")).text
    assert "This is a text file" in page and "A file may have" in page and page.count("Add another file") == 2
    upload = await begin(maya, item_id, len(clip()), "better.mp4")
    assert (await add(maya, upload.headers["location"], 0, clip())).status_code == 204
    now = await seen(maya, batch)
    assert statuses(now) == ["WAITING_FOR_FILE", "REFUSED", "EDITING_QUEUED"]
    assert now["items"][2]["filename"] == "better.mp4"
    second = await begin(maya, item_id, len(clip()))
    assert (second.status_code, second.json()["error"]["code"]) == (422, "item_filled")


async def test_a_place_can_be_taken_out_until_the_batch_is_whole_or_empty(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    batch = await opened(maya)
    await send(maya, batch, 0)
    path = f"/batches/{batch['id']}/items"
    upload = await begin(maya, batch["items"][1]["id"], len(clip()))
    await add(maya, upload.headers["location"], 0, clip()[:20_000])
    answer = await maya.post(f"{path}/{batch['items'][1]['id']}/remove", headers=HTMX)
    assert answer.status_code == 200 and "blue_knot" not in answer.text
    assert (await rows_left())["uploads"] == 0
    assert (await maya.post(f"{path}/{batch['items'][1]['id']}/remove", headers=HTMX)).status_code == 404
    assert (await maya.post(f"{path}/{batch['items'][0]['id']}/remove")).status_code == 409
    assert (await maya.post(f"{path}/{batch['items'][2]['id']}/remove")).status_code == 303
    assert len((await seen(maya, batch))["items"]) == 1
    empty = await opened(maya)
    for item in empty["items"]:
        await maya.post(f"/batches/{empty['id']}/items/{item['id']}/remove")
    assert "Nothing is in this batch any more" in (await maya.browser.get(f"/batches/{empty['id']}")).text
    assert (await seen(maya, empty))["status"] == "empty"


# ---- a choice in the library ----


async def test_chosen_videos_are_retried_each_with_its_own_result(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    one, two = await a_video(maya), await a_video(maya)
    await failed(one)
    now = await result(maya, await act(maya, "retry", [one, two]))
    assert statuses(now) == ["EDITING_QUEUED", "SKIPPED"]
    assert now["items"][1]["note"] == "This video is EDITING_QUEUED: there is nothing to retry."
    again = await maya.api.post(f"/api/batches/{now['id']}/retry")
    assert again.json()["acted"] == 0
    await studio.worker.run_until_idle()
    now = await seen(maya, now)
    assert (statuses(now), now["status"], now["progress"]) == (["EDITED", "SKIPPED"], "done", 100)


async def test_chosen_videos_are_cancelled_where_that_is_possible(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    one = await a_video(maya)
    await studio.worker.run_until_idle()
    two = await a_video(maya)
    now = await result(maya, await act(maya, "cancel", [one, two]))
    assert (statuses(now), now["status"], now["progress"]) == (["SKIPPED", "CANCELLED"], "done", 100)
    assert now["items"][0]["note"] == "There is nothing left to cancel."
    assert (now["counts"]["done"], now["counts"]["skipped"]) == (1, 1)


async def test_chosen_videos_are_posted_together_and_never_twice_to_one_account(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    ready, broken = await a_video(maya, title="Ready"), await a_video(maya, title="Broken")
    await failed(broken)
    posted = await a_video(maya, account_id, title="Out")
    await studio.worker.run_until_idle(ahead=True)
    chosen = [ready, broken, posted]
    form = {"accountId": str(account_id), "privacyLevel": "SELF_ONLY", "title": "{name} · 1", "key": "k1"}
    answer = await act(maya, "post", chosen, **form)
    assert (await act(maya, "post", chosen, **form)).headers["location"] == answer.headers["location"]
    now = await result(maya, answer)
    assert statuses(now) == ["UPLOAD_QUEUED", "EDITING_QUEUED", "SKIPPED"]
    assert "posted on this account already" in now["items"][2]["note"]
    other = await result(maya, await act(maya, "post", [ready], **(form | {"key": "k2"})))
    assert "on its way to this account already" in other["items"][0]["note"]
    await studio.worker.run_until_idle(ahead=True)
    now = await seen(maya, now)
    assert (statuses(now), now["status"]) == (["POSTED", "POSTED", "SKIPPED"], "done")
    assert [post["title"] for post in await studio.world.posts()] == ["Out", "Ready · 1", "Broken · 1"]
    # A later post elsewhere is not this batch's.
    assert (await seen(maya, other))["items"][0]["status"] == "SKIPPED"


async def test_the_choice_leads_to_a_form_that_names_its_problems(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    ids = [await a_video(maya, title="Red"), await a_video(maya, title="Blue")]
    answer = await act(maya, "choose", ids)
    assert answer.headers["location"] == f"/batches/new?video={ids[0]}&video={ids[1]}"
    page = (await maya.browser.get(answer.headers["location"])).text
    assert "Red" in page and "Blue" in page and "{name}" in page and "Post 2 videos" in page
    wrong = await act(maya, "post", ids, accountId=str(account_id), title="x")
    assert wrong.status_code == 422 and "hoose who may see" in wrong.text
    assert wrong.text.count('type="hidden" name="video"') == 2
    assert (await rows_left())["batches"] == 0
    for query in ("", "?video=x", "?" + "&".join(f"video={number}" for number in range(1, 60))):
        assert (await maya.browser.get(f"/batches/new{query}")).status_code == 422, query
    assert (await act(maya, "retry", [])).status_code == 422
    assert (await act(maya, "dance", ids)).status_code == 422


async def test_the_library_offers_the_choice_and_the_list_of_batches(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    maya = await studio.person(browser=True)
    assert "No batches yet" in (await maya.browser.get("/batches")).text
    video_id = await a_video(maya)
    page = (await maya.browser.get("/videos")).text
    assert f'form="bulk" name="video" value="{video_id}"' in page and 'id="bulk"' in page
    monkeypatch.setattr(web_batches, "A_PAGE", 2)
    made = [await opened(maya) for _ in range(3)]
    first = (await maya.browser.get("/batches")).text
    assert f'"/batches/{made[2]["id"]}"' in first and f'"/batches/{made[0]["id"]}"' not in first
    piece = (await maya.browser.get("/batches", headers=HTMX)).text
    assert "<html" not in piece and '<div id="batches"' in piece
    older = re.search(r'href="(/batches\?before=\d+)"', first)
    assert older is not None
    assert f'"/batches/{made[0]["id"]}"' in (await maya.browser.get(older[1])).text
    await maya.api.post(f"/api/batches/{made[2]['id']}/cancel")
    open_ones = (await maya.browser.get("/batches/under-way", headers=HTMX)).text
    assert f'"/batches/{made[1]["id"]}"' in open_ones and f'"/batches/{made[2]["id"]}"' not in open_ones


async def test_retry_and_cancel_on_the_page_give_it_again_and_a_second_click_is_harmless(
    studio: Studio,
) -> None:
    maya = await studio.person(browser=True)
    batch = await opened(maya)
    await send(maya, batch, 0)
    await failed((await seen(maya, batch))["items"][0]["videoId"])
    path = f"/batches/{batch['id']}"
    assert "Retry the failed one" in (await maya.browser.get(path)).text
    for _ in range(2):
        answer = await maya.post(f"{path}/retry", headers=HTMX)
        assert answer.status_code == 200 and "In line for branding" in answer.text
    for _ in range(2):
        answer = await maya.post(f"{path}/cancel", headers=HTMX)
        assert answer.status_code == 200 and '<b class="num">3</b> cancelled' in answer.text
    assert (await maya.post(f"{path}/cancel")).headers["location"] == path


async def test_text_of_people_is_shown_as_text(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    evil = '<script>alert(1)</script>"'
    answer = await maya.api.post(
        "/api/batches", json={"files": [{"filename": f"{evil}.mp4", "bytes": 10, "title": evil}]}
    )
    batch = answer.json()["batch"]
    for path in (f"/batches/{batch['id']}", "/batches", "/batches/under-way"):
        assert "<script>alert" not in (await maya.browser.get(path)).text, path
