"""The operators' pages of the jobs: finding them, and what retry, cancel, discard and batches do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import db, http, jobs, queue, videos
from tests.makers import Owner, a_video, an_account
from tests.web.operators import acts, operator, put, stale, statuses
from tests.web.studio import Studio, open_studio

pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def set_account(state: str) -> None:
    async with db.house() as conn:
        await conn.execute("UPDATE accounts SET state = %s, reason = 'Connect it again.'", [state])


async def test_jobs_are_filtered_by_the_address(studio: Studio) -> None:
    olga = await operator(studio)
    [first] = await put(reason="The picture cannot be decoded.")
    [second] = await put(queue="video-edit", task="edit-video")
    for query, found, not_found in (
        ("state=failed&words=decoded", first, second),
        ("queue=video-edit", second, first),
        ("task=edit-video", second, first),
        (f"words=trace-{first}", first, second),
    ):
        page = (await olga.browser.get(f"/admin/jobs?{query}")).text
        assert f'id="job-row-{found}"' in page, query
        assert f'id="job-row-{not_found}"' not in page, query
    assert "No jobs here" in (await olga.browser.get("/admin/jobs?state=running")).text


@pytest.mark.parametrize(
    "query", ["state=x", "workspace=x", "before=-1", "workspace=99999999999999999999", "words="]
)
async def test_a_filter_that_makes_no_sense_counts_as_none(studio: Studio, query: str) -> None:
    olga = await operator(studio)
    [job_id] = await put()
    answer = await olga.browser.get(f"/admin/jobs?{query}")
    assert answer.status_code == 200
    assert f'id="job-row-{job_id}"' in answer.text


async def test_long_lists_go_on_by_key_and_counts_stop_at_a_limit(studio: Studio) -> None:
    olga = await operator(studio)
    ids = await put(many=51)
    page = (await olga.browser.get("/admin/jobs?state=failed")).text
    assert len(re.findall(r'id="job-row-', page)) == 50
    older = re.search(r'href="(/admin/jobs\?[^"]*before=\d+)"', page)
    assert older
    rest = (await olga.browser.get(older[1].replace("&amp;", "&"))).text
    assert re.findall(r'id="job-row-(\d+)"', rest) == [str(ids[0])]


async def test_a_job_page_tells_everything(studio: Studio) -> None:
    olga = await operator(studio)
    [job_id] = await put(reason="The picture <cannot> be decoded.", workspace_id=olga.workspace_id)
    page = (await olga.browser.get(f"/admin/jobs/{job_id}")).text
    for told in (
        "The picture &lt;cannot&gt; be decoded.",
        "Permanent · no",
        f"trace-{job_id}",
        "targetId",
        "Gave up",
    ):
        assert told in page, told
    assert (await olga.browser.get("/admin/jobs/999999")).status_code == 404


async def test_a_failed_edit_that_is_retried_takes_its_video_along(studio: Studio) -> None:
    """S1.18 and the administrators' walk: the same job, a fresh count, the video back in line and posted."""
    olga = await operator(studio)
    owner = Owner(olga.user_id, olga.workspace_id)
    video = await a_video(owner, await an_account(owner))
    async with db.house() as conn:
        assert video.job_id is not None
        await conn.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", [video.job_id])
        await videos.give_up(conn, video.job_id, video.id, reason="The disk is full.", code="disk")
    assert (await olga.post(f"/admin/jobs/{video.job_id}/retry")).status_code == 303
    told = (await olga.api.get(f"/api/videos/{video.id}")).json()["video"]
    assert (told["status"], told["failure"], told["targets"][0]["status"]) == (
        "EDITING_QUEUED",
        None,
        "scheduled",
    )
    assert await acts() == [("job.retried", f"job-{video.job_id}", 1)]
    await studio.worker.run_until_idle(ahead=True)
    assert (await olga.api.get(f"/api/videos/{video.id}")).json()["video"]["status"] == "POSTED"


async def ban(studio: Studio, handle: str, banned: bool) -> None:
    """Let TikTok refuse, or take again, what this creator posts."""
    asked = {"platform": "tiktok", "username": handle, "banned": banned}
    answer = await http.request("POST", f"{studio.world.base}/accounts", json=asked)
    assert answer.status == 200, answer.text


async def test_a_failed_post_that_is_retried_goes_out_by_the_same_job(studio: Studio) -> None:
    olga = await operator(studio)
    owner = Owner(olga.user_id, olga.workspace_id)
    account = await an_account(owner)
    video = await a_video(owner, account)
    await ban(studio, account.handle, True)
    await studio.worker.run_until_idle(ahead=True)
    told = (await olga.api.get(f"/api/videos/{video.id}")).json()["video"]
    assert (told["status"], told["failure"]["code"]) == ("FAILED", "spam_risk_user_banned_from_posting")
    await ban(studio, account.handle, False)
    await set_account("needs_reconnect")
    async with db.house() as conn:
        [job] = await queue.find(conn, queue.Filter(status="failed", task="upload-video"))
    refused = await olga.post(f"/admin/jobs/{job.id}/retry")
    assert (refused.status_code, await statuses([job.id]), await acts()) == (409, ["failed"], [])
    assert "Connect it again." in refused.text
    await set_account("connected")
    async with db.house() as conn:
        # The five minutes between two starts of one account are over.
        await conn.execute("DELETE FROM limit_grants")
    assert (await olga.post(f"/admin/jobs/{job.id}/retry")).status_code == 303
    await studio.worker.run_until_idle(ahead=True)
    assert (await olga.api.get(f"/api/videos/{video.id}")).json()["video"]["status"] == "POSTED"
    assert await statuses([job.id]) == ["succeeded"]
    assert len(await studio.world.posts()) == 1


async def test_a_retry_beside_the_same_work_is_explained_and_changes_nothing(studio: Studio) -> None:
    olga = await operator(studio)
    [old] = await put(once="settle-7")
    [twin] = await put("todo", once="settle-7")
    answer = await olga.post(f"/admin/jobs/{old}/retry")
    assert answer.status_code == 409
    assert "The same work already waits in line." in answer.text
    assert f"/admin/jobs/{twin}" in answer.text
    assert (await statuses([old, twin]), await acts()) == (["failed", "todo"], [])


async def test_a_waiting_job_that_is_cancelled_tells_its_video(studio: Studio) -> None:
    olga = await operator(studio)
    video = await a_video(Owner(olga.user_id, olga.workspace_id), None)
    await olga.post(f"/admin/jobs/{video.job_id}/cancel", {"reason": "Wrong file."})
    page = (await olga.browser.get(f"/admin/jobs/{video.job_id}")).text
    assert "Cancelling: Wrong file." in page
    assert "No worker is running" in page
    await studio.worker.run_until_idle()
    told = (await olga.api.get(f"/api/videos/{video.id}")).json()["video"]
    assert told["status"] == "CANCELLED"
    assert await acts() == [("job.cancelled", f"job-{video.job_id}", 1)]
    answer = await olga.post(f"/admin/jobs/{video.job_id}/cancel")
    assert (answer.status_code, len(await acts())) == (409, 1)


async def test_a_job_is_discarded_with_its_history_and_written_down(studio: Studio) -> None:
    olga = await operator(studio)
    [job_id] = await put()
    [waiting] = await put("todo")
    assert (await olga.post(f"/admin/jobs/{job_id}/discard")).status_code == 303
    assert await statuses([job_id]) == []
    assert (await olga.post(f"/admin/jobs/{waiting}/discard")).status_code == 409
    assert await acts() == [("job.discarded", f"job-{job_id}", 1)]


async def test_what_cannot_be_undone_wants_a_fresh_sign_in(studio: Studio) -> None:
    olga = await operator(studio)
    ids = await put(many=2)
    await stale(olga)
    for path, form in (
        (f"/admin/jobs/{ids[0]}/discard", {}),
        ("/admin/batch", {"act": "retry", "state": "failed"}),
        ("/admin/batch", {"act": "discard", "state": "failed", "typed": "discard"}),
    ):
        answer = await olga.post(path, form)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/admin/again"), path
    assert (await statuses(ids), await acts()) == (["failed", "failed"], [])
    page = (await olga.browser.get("/admin/batch?act=discard&state=failed")).text
    assert 'type="password"' in page
    assert 'name="typed"' not in page
    await olga.enter()
    assert 'name="typed"' in (await olga.browser.get("/admin/batch?act=discard&state=failed")).text


# Many at once


async def test_a_batch_is_shown_before_it_is_done_and_leaves_newcomers_alone(studio: Studio) -> None:
    olga = await operator(studio)
    ids = await put(many=3, reason="daily limit")
    page = (await olga.browser.get("/admin/batch?act=retry&state=failed&words=daily")).text
    assert '<strong class="num">3</strong>' in page
    newest = re.search(r'name="newest" value="(\d+)"', page)
    assert newest
    [late] = await put(reason="daily limit")
    form = {"act": "retry", "state": "failed", "words": "daily", "newest": newest[1]}
    answer = await olga.post("/admin/batch", form)
    assert answer.status_code == 303
    assert "3 jobs put back in line." in (await olga.browser.get(answer.headers["location"])).text
    assert await statuses([*ids, late]) == ["todo", "todo", "todo", "failed"]
    assert await acts() == [("jobs.retried", "jobs", 3)]


async def test_a_batch_counts_what_it_could_not_do(studio: Studio) -> None:
    olga = await operator(studio)
    await put(once="settle-1")
    await put("todo", once="settle-1")
    answer = await olga.post("/admin/batch", {"act": "retry", "state": "failed"})
    assert (
        "0 jobs put back in line. 1 could not be" in (await olga.browser.get(answer.headers["location"])).text
    )
    assert await acts() == []


async def test_all_failed_are_removed_in_batches_after_the_word_was_typed(studio: Studio) -> None:
    olga = await operator(studio)
    await put(many=501)
    [waiting] = await put("todo")
    form = {"act": "discard", "state": "failed", "typed": "discrad"}
    wrong = await olga.post("/admin/batch", form)
    assert (wrong.status_code, await acts()) == (422, [])
    await olga.post("/admin/batch", form | {"typed": " Discard "})
    assert await acts() == [("jobs.discarded", "jobs", 1), ("jobs.discarded", "jobs", 500)]
    async with db.house() as conn:
        assert await queue.batch.count(conn, queue.Filter(status="failed")) == 0
    assert await statuses([waiting]) == ["todo"]


async def test_a_queue_is_emptied_after_its_name_was_typed_and_rooms_are_told(studio: Studio) -> None:
    olga = await operator(studio)
    owner = Owner(olga.user_id, olga.workspace_id)
    made = [await a_video(owner, None, title=f"Knot {number}") for number in range(2)]
    async with db.house() as conn:
        await queue.defer(
            conn, jobs.EDIT_VIDEO, workspace_id=None, videoId=999, at=datetime.now(UTC) + timedelta(hours=1)
        )
    [other] = await put("todo")
    form = {"act": "empty", "queue": "video-edit"}
    assert (await olga.post("/admin/batch", form | {"typed": "yes"})).status_code == 422
    await olga.post("/admin/batch", form | {"typed": "video-edit"})
    assert sorted(await acts()) == [("queue.emptied", "video-edit", 1), ("queue.emptied", "video-edit", 2)]
    await studio.worker.run_until_idle()
    for video in made:
        told = (await olga.api.get(f"/api/videos/{video.id}")).json()["video"]
        assert told["status"] == "CANCELLED"
    async with db.house() as conn:
        assert (await queue.get(conn, other)).cancel_reason is None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("act=x", 404),
        ("act=empty", 404),
        ("act=retry&state=running", 422),
        ("act=discard&state=waiting", 422),
    ],
)
async def test_an_act_that_makes_no_sense_is_refused(studio: Studio, query: str, status: int) -> None:
    olga = await operator(studio)
    assert (await olga.browser.get(f"/admin/batch?{query}")).status_code == status
