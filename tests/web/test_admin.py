"""The operators' pages: what they show, what they do, and that nobody else gets in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import config, db, jobs, queue, videos
from app.web.admin import alerts, queues, schedules
from app.web.routes import ROUTES
from tasks import procrastinate_app
from tests.makers import Owner, a_video, an_account
from tests.web.studio import Person, Studio, open_studio

pytestmark = pytest.mark.anyio
GET = [
    "/admin/queues", "/admin/queues/table", "/admin/jobs", "/admin/jobs/list", "/admin/workers",
    "/admin/workers/list", "/admin/schedules", "/admin/health", "/admin/audit",
    "/admin/batch?act=retry&state=failed",
]  # fmt: skip


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def put(status: str = "failed", *, many: int = 1, **columns: Any) -> list[int]:
    """Jobs as they stand after their runs, without the work."""
    ids = []
    async with db.house() as conn:
        for number in range(many):
            values = {
                "task": "settle-target",
                "queue": "social-publishing",
                "once": None,
                "reason": "No.",
                **columns,
            }
            job_id = await db.value(
                conn,
                """
                INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, status, queueing_lock)
                VALUES (%s, %s, -5, %s, %s::procrastinate_job_status, %s) RETURNING id""",
                [values["queue"], values["task"], f'{{"targetId": {number + 1000}}}', status, values["once"]],
            )
            await conn.execute(
                """
                INSERT INTO job_records (job_id, workspace_id, correlation_id, ended_at)
                VALUES (%s, %s, %s, CASE WHEN %s THEN now() END)""",
                [job_id, values.get("workspace_id"), f"trace-{job_id}", status != "todo"],
            )
            if status == "failed":
                await conn.execute(
                    """
                    INSERT INTO attempts (job_id, round, worker_id, queue, task, ended_at, outcome, error_kind,
                                          error_code, reason)
                    VALUES (%s, 1, 1, %s, %s, now(), 'gave_up', 'Permanent', 'no', %s)""",
                    [job_id, values["queue"], values["task"], values["reason"]],
                )
            ids.append(int(job_id))
    return ids


async def statuses(ids: list[int]) -> list[str]:
    async with db.house() as conn:
        found = await db.rows(
            conn, "SELECT status::text FROM procrastinate_jobs WHERE id = ANY (%s) ORDER BY id", [ids]
        )
    return [status for (status,) in found]


async def acts() -> list[tuple[str, str, int]]:
    async with db.house() as conn:
        return [(act.action, act.subject, act.many) for act in await queue.lately.acts(conn)]


async def operator(studio: Studio) -> Person:
    return await studio.person("Olga", browser=True)


async def stale(person: Person) -> None:
    """As if they had signed in an hour ago."""
    async with db.house() as conn:
        await conn.execute(
            "UPDATE sessions SET signed_in_at = now() - interval '1 hour' WHERE user_id = %s",
            [person.user_id],
        )


async def set_account(state: str) -> None:
    async with db.house() as conn:
        await conn.execute("UPDATE accounts SET state = %s, reason = 'Connect it again.'", [state])


# Who gets in


async def test_only_operators_get_in(studio: Studio) -> None:
    await operator(studio)
    noa = await studio.person("Noa", browser=True)
    stranger = await studio.client()
    [job_id] = await put()
    for path in [*GET, f"/admin/jobs/{job_id}", f"/admin/jobs/{job_id}/card"]:
        assert (await noa.browser.get(path)).status_code in (403, 404), path
        assert (await stranger.get(path)).status_code == 303, path
    for path in (
        f"/admin/jobs/{job_id}/retry",
        f"/admin/jobs/{job_id}/discard",
        "/admin/queues/upkeep/pause",
    ):
        assert (await noa.post(path)).status_code in (403, 404), path
    assert (await statuses([job_id]), await acts()) == (["failed"], [])


async def test_every_page_answers_an_operator(studio: Studio) -> None:
    olga = await operator(studio)
    await put("failed", many=2)
    await put("todo")
    for path in GET:
        answer = await olga.browser.get(path)
        assert answer.status_code == 200, path
        if "/table" not in path and "/list" not in path:
            assert 'house-test">test' in answer.text


async def test_every_admin_route_is_for_operators() -> None:
    admin = [door for door in ROUTES if door.path.startswith("/admin")]
    assert len(admin) >= 20
    assert {str(door.access) for door in admin} == {"operator"}


# Queues


async def test_a_queue_without_worker_says_so_and_counts_its_work(studio: Studio) -> None:
    olga = await operator(studio)
    await put("todo", many=3)
    page = (await olga.browser.get("/admin/queues")).text
    assert "no worker is running" in page
    assert "No worker is running for social-publishing" in page
    assert "state=waiting" in page


async def test_a_queue_is_paused_with_its_reason_and_goes_on(studio: Studio) -> None:
    olga = await operator(studio)
    answer = await olga.post("/admin/queues/video-edit/pause", {"reason": "New  disk"})
    assert answer.status_code == 303
    page = (await olga.browser.get("/admin/queues")).text
    assert "New disk" in page
    assert "Olga" in page
    await olga.post("/admin/queues/video-edit/resume")
    assert "New disk" not in (await olga.browser.get("/admin/queues")).text
    assert await acts() == [("queue.resumed", "video-edit", 1), ("queue.paused", "video-edit", 1)]
    assert (await olga.post("/admin/queues/nothing/pause")).status_code == 404


async def test_the_limits_in_force_name_what_set_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path))
    monkeypatch.setenv("QUEUE_VIDEO_EDIT_TRIES", "7")
    config.get.cache_clear()
    found = {setting.word: (setting.value, setting.by) for setting in queues.settings(jobs.VIDEO_EDIT)}
    config.get.cache_clear()
    assert found["Tries in all"] == ("7", "QUEUE_VIDEO_EDIT_TRIES")
    assert found["Together in one worker"] == ("2", "the queue itself")
    assert found["At most"] == ("3 starts in 60 s, over all workers", "the queue itself")


def a_line(**changes: Any) -> queue.QueueHealth:
    values: dict[str, Any] = {
        "name": "video-edit", "waiting": 0, "scheduled": 0, "running": 0, "failed": 0, "done": 0,
        "oldest_wait_s": None, "workers": 1, "paused": False, "pause_reason": None, "stalled": 0,
        "last_done_at": None, "last_error": None,
    }  # fmt: skip
    return queue.QueueHealth(**(values | changes))


def titles(line: queue.QueueHealth, **changes: Any) -> list[str]:
    values: dict[str, Any] = {
        "lines": [line], "workers": [], "failed": {}, "usage": {"percentage": 1.0, "limit": 100},
        "off_s": 0.0, "listening": True,
    }  # fmt: skip
    return [alert.title for alert in alerts.firing(alerts.Seen(**(values | changes)))]


def test_alerts_fire_at_their_limits_and_not_before() -> None:
    assert titles(a_line()) == []
    assert titles(a_line(waiting=1, workers=0)) == ["No worker is running for video-edit"]
    assert titles(a_line(waiting=1, workers=0, paused=True)) == []
    assert titles(a_line(waiting=1, oldest_wait_s=600.0)) == []
    assert titles(a_line(waiting=1, oldest_wait_s=600.1)) == ["video-edit is behind"]
    assert titles(a_line(), failed={"video-edit": 2}) == ["2 jobs of video-edit failed in the last hour"]
    assert titles(a_line(stalled=1)) == ["1 job of video-edit stalled"]
    assert titles(a_line(), off_s=2.1) == ["The clock is off"]
    assert titles(a_line(), listening=False) == ["Notices do not arrive"]
    assert titles(a_line(), usage={"percentage": 79.9, "limit": 1}) == []
    assert titles(a_line(), usage={"percentage": 80.0, "limit": 1}) == ["The month's queue budget runs low"]
    assert titles(a_line(), usage={"percentage": 100.0, "limit": 1}) == [
        "The month's queue budget is used up"
    ]


# Jobs


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
        await videos.give_up(conn, video.id, reason="The disk is full.", code="disk")
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


async def test_a_failed_post_that_is_retried_goes_out_by_the_same_job(studio: Studio) -> None:
    olga = await operator(studio)
    owner = Owner(olga.user_id, olga.workspace_id)
    video = await a_video(owner, await an_account(owner))
    await set_account("needs_reconnect")
    await studio.worker.run_until_idle(ahead=True)
    told = (await olga.api.get(f"/api/videos/{video.id}")).json()["video"]
    assert (told["status"], told["failure"]["code"]) == ("FAILED", "needs_reconnect")
    async with db.house() as conn:
        [job] = await queue.find(conn, queue.Filter(status="failed", task="upload-video"))
    refused = await olga.post(f"/admin/jobs/{job.id}/retry")
    assert (refused.status_code, await statuses([job.id]), await acts()) == (409, ["failed"], [])
    assert "Connect it again." in refused.text
    await set_account("connected")
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


# Workers, schedules, health, audit


async def test_a_worker_that_lives_and_one_that_is_lost_are_told_apart(studio: Studio) -> None:
    olga = await operator(studio)
    async with db.house() as conn:
        await conn.execute(
            """
            INSERT INTO worker_leases (worker_id, name, host, process, pid, queues, version, concurrency, seen_at,
                                       listening)
            VALUES (1, 'worker', 'alpha', '', 1, '{video-edit}', '3', 2, now(), true),
                   (2, 'worker', 'beta', '', 2, '{upkeep}', '3', 2, now() - interval '31 s', true)"""
        )
    page = (await olga.browser.get("/admin/workers")).text
    assert "alpha" in page
    assert "Ready" in page
    assert "Lost" in page
    assert "No worker is running for video-upload, social-publishing, upkeep" in page
    assert "went silent" in (await olga.browser.get("/admin/queues")).text


def test_the_schedules_are_those_of_the_tasks() -> None:
    procrastinate_app.perform_import_paths()
    real = {each.task.name: each.cron for each in procrastinate_app.periodic_registry.periodic_tasks.values()}
    assert {name: cron for name, (_, cron, _) in schedules.WORKS.items()} == real


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/10 * * * *", "every 10 minutes"),
        ("17 * * * *", "every hour, at 17 minutes past"),
        ("5 3 * * *", "every day at 03:05 UTC"),
        ("0 0 * * 1", "0 0 * * 1"),
    ],
)
def test_a_schedule_is_said_in_words(cron: str, words: str) -> None:
    assert schedules.in_words(cron) == words


async def test_a_timer_is_run_now_and_written_down(studio: Studio) -> None:
    olga = await operator(studio)
    answer = await olga.post("/admin/schedules/sweep/run")
    assert answer.status_code == 303
    async with db.house() as conn:
        [job] = await queue.find(conn, queue.Filter(task="sweep"))
    assert answer.headers["location"] == f"/admin/jobs/{job.id}"
    assert await acts() == [("schedule.run", "sweep", 1)]
    assert (await olga.post("/admin/schedules/edit-video/run")).status_code == 404


async def test_the_audit_is_shown_page_by_page_with_names(studio: Studio) -> None:
    olga = await operator(studio)
    async with db.house() as conn:
        for number in range(51):
            await queue.audit(conn, olga.user_id, "job.retried", f"job-{number}", reason="<b>why</b>")
    page = (await olga.browser.get("/admin/audit")).text
    assert "job-50" in page
    assert "job-0<" not in page
    assert "&lt;b&gt;why" in page
    older = re.search(r'href="(/admin/audit\?before=\d+)"', page)
    assert older
    assert "job-0<" in (await olga.browser.get(older[1])).text
