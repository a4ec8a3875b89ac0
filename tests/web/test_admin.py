"""The operators' pages: what they show, what they do, and that nobody else gets in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app import config, db, jobs, queue
from app.web.admin import alerts, queues, schedules
from app.web.routes import ROUTES
from tasks import procrastinate_app
from tests.web.operators import acts, operator, put, statuses
from tests.web.studio import Studio, open_studio

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


async def test_only_operators_hear_of_the_queues(studio: Studio) -> None:
    await operator(studio)
    noa = await studio.person("Noa", browser=True)
    assert (await noa.browser.get("/live?topic=queues")).status_code == 404


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


def shown(rule: dict[str, Any] | None = None, **changes: Any) -> queues.Line:
    values = {
        "queue": "video-edit", "together": None, "starts": None, "window_s": None, "each": None, "fair": None,
        "set_by": None, "set_at": datetime.now(UTC), "running": 0, "started": 0, "next_start_at": None,
    }  # fmt: skip
    return queues.Line(
        state=a_line(**changes),
        limits=jobs.VIDEO_EDIT.effective(),
        in_force=None if rule is None else queue.lately.LimitState(**(values | rule)),
        settings=(), hour=None, times=None, pause=None, paused_by="", paused_tasks=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "changes", "says", "tone"),
    [
        (None, {}, "Keeps up: nothing waits.", "done"),
        (None, {"running": 1}, "Keeps up: nothing waits.", "working"),
        (None, {"paused": True, "waiting": 3}, "Paused by an operator", "needs"),
        (None, {"workers": 0}, "Nobody serves it; nothing waits.", "needs"),
        (None, {"workers": 0, "waiting": 1}, "No worker is running for this queue.", "failed"),
        (None, {"workers": 0, "running": 1, "stalled": 1}, "No worker is running for this queue.", "failed"),
        (None, {"workers": 0, "scheduled": 1}, "No worker is running for this queue.", "needs"),
        (None, {"waiting": 1, "running": 1}, "Places are free", "working"),
        (None, {"waiting": 1, "running": 2}, "Saturated: all 2 places are taken.", "needs"),
        ({"together": 1}, {"waiting": 1, "running": 1}, "at most 1 run at once, over all workers", "needs"),
        (
            {"starts": 3, "window_s": 60.0, "started": 3, "next_start_at": datetime(2030, 1, 1, tzinfo=UTC)},
            {"waiting": 1},
            "Held by its limit: at most 3 starts in 60 s.",
            "needs",
        ),
        ({"starts": 3, "window_s": 60.0, "started": 2}, {"waiting": 1}, "Places are free", "done"),
    ],
)
def test_a_queue_says_what_holds_it_back(
    rule: dict[str, Any] | None, changes: dict[str, Any], says: str, tone: str
) -> None:
    line = shown(rule, **changes)
    assert says in line.holds_back
    assert line.tone == tone


def test_places_are_those_of_living_workers_within_the_limit_and_what_is_ahead_is_told_apart() -> None:
    line = shown(workers=3, running=9)
    assert (line.places, line.running, line.ahead, line.saturation) == (6, 6, 3, 100)
    line = shown({"together": 4}, workers=3, running=1)
    assert (line.places, line.running, line.ahead, line.saturation) == (4, 1, 0, 25)
    assert shown(workers=0, running=1).saturation == 0


def test_the_drawing_of_an_hour_shows_what_failed_however_little() -> None:
    hour = queue.lately.Hour((0,) * 10 + (1000, 0), (0,) * 10 + (1, 2), 0, 1003, 1.0)
    found = queues.bars(hour)
    assert [(bar.done_px, bar.failed_px) for bar in found[9:]] == [(1, 0), (38, 2), (0, 2)]
    assert all(0 <= bar.failed_y <= bar.done_y <= queues.HIGHEST_PX for bar in found)
    assert found[10].text == "5 to 10 min ago: 1,000 done, 1 failed"
    assert queues.bars(None) == ()


async def test_the_queues_page_tells_limits_of_operators_and_the_hours_figures(studio: Studio) -> None:
    olga = await operator(studio)
    async with db.house() as conn:
        await conn.execute(
            """
            INSERT INTO queue_limits (queue, together, starts, window_s, set_by)
            VALUES ('video-edit', 7, 5, 90, %s)""",
            [olga.user_id],
        )
        await conn.execute(
            """
            INSERT INTO queue_tallies (queue, task, outcome, many, ran_s)
            VALUES ('video-edit', 'edit-video', 'done', 1234, 9), ('video-edit', 'edit-video', 'gave_up', 3, 9);
            INSERT INTO queue_usage (month, operations)
            VALUES (date_trunc('month', now() AT TIME ZONE 'UTC'), 2474)"""
        )
    page = (await olga.browser.get("/admin/queues")).text
    for told in (
        "5 starts in 90 s, over all workers",
        "set by an operator, Olga",
        "1,234 done",
        "3 failed",
        "247 a minute",
        "2,474 statements",
        "2.00 a run",
    ):
        assert told in page, told


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
    assert "No worker is running for video-processing, video-upload, social-publishing, upkeep" in page
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
