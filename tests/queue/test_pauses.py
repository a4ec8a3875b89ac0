"""What an operator pauses stays still and says why, and goes on at once when it is let go; ageing of low jobs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import config, db, http, jobs, platforms, publishing, queue
from tasks import procrastinate_app
from tests.makers import Owner, a_video, an_account, an_owner, shown
from tests.worker import TestWorker, until
from tests.world import World, free_port, open_world

pytestmark = pytest.mark.anyio

OBEYED_S = 5.0
ONE, TWO = queue.Queue("test-one", together=2), queue.Queue("test-two", together=2)
WORK, MORE = queue.Job("test-work", ONE, ("number",)), queue.Job("test-more", ONE, ("number",))
LOW = queue.Job("test-low", TWO, ("number",), priority=queue.LOW)


def test_what_may_be_paused_has_names_of_its_own() -> None:
    lines, tasks = {line.name for line in jobs.QUEUES}, {job.name for job in jobs.JOBS}
    kinds = [lines, tasks, set(platforms.NAMES)]
    assert sum(map(len, kinds)) == len(set.union(*kinds)) >= 9
    assert not [name for names in kinds for name in names if re.fullmatch(r"account-\d+", name)]


async def operator() -> int:
    return (await an_owner("Olga")).user_id


@contextlib.asynccontextmanager
async def running(worker: TestWorker) -> AsyncIterator[None]:
    """A worker that waits for work, as in production; it listens before anything happens."""
    made = worker.worker()
    task = asyncio.create_task(made.run())

    async def listens() -> bool:
        return bool(made.listening)

    try:
        await until(listens, within_s=20)
        yield
    finally:
        made.stop()
        await asyncio.wait_for(task, 15)


async def taken_s(condition: Callable[[], Awaitable[bool]]) -> float:
    began = time.monotonic()
    await until(condition, within_s=30)
    return time.monotonic() - began


# A queue and a task


async def test_a_paused_task_stands_while_the_others_of_its_queue_go_on(pools: str) -> None:
    ran: list[str] = []
    app = queue.HouseApp()

    async def work(number: int) -> None:
        ran.append(f"work {number}")

    async def more(number: int) -> None:
        ran.append(f"more {number}")

    app.bind(WORK)(work)
    app.bind(MORE)(more)
    by = await operator()

    async def put(job: queue.Job, number: int) -> None:
        async with db.house() as conn:
            await queue.defer(conn, job, workspace_id=None, number=number)

    def has(what: str) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return what in ran

        return check

    async with running(TestWorker(app, pools)):
        async with db.house() as conn:
            assert await queue.pause(conn, WORK.name, by=by, kind="task", reason="A bad deploy")
            assert not await queue.pause(conn, WORK.name, by=by, kind="task"), "twice is once"
        await put(WORK, 1)
        await put(MORE, 2)
        # The later job of the same queue has run, so the earlier one was passed over.
        await until(has("more 2"))
        assert ran == ["more 2"]
        async with db.house() as conn:
            assert not await queue.resume(conn, WORK.name), "of another kind"
            assert await queue.resume(conn, WORK.name, kind="task")
        assert await taken_s(has("work 1")) < OBEYED_S
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM attempts") == 2


# A platform and an account


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Settings of a bare laptop in a folder of the test's own; gives the port of the simulator."""
    port = free_port()
    for name, value in {
        "BACKLOT_HOME": str(tmp_path / "home"),
        "TEMP_DIR": str(tmp_path / "temp"),
        "PORT": str(port),
        "FFMPEG_PRESET": "ultrafast",
        "QUEUE_VIDEO_EDIT_MOST": "none",
        "QUEUE_VIDEO_UPLOAD_MOST": "none",
    }.items():
        monkeypatch.setenv(name, value)
    config.get.cache_clear()
    yield port
    config.get.cache_clear()


@pytest.fixture
async def world(port: int, pools: str, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "world", port) as opened:
        yield opened
    await http.close()


@pytest.fixture
def worker(pools: str) -> TestWorker:
    procrastinate_app.perform_import_paths()
    return TestWorker(procrastinate_app, pools)


async def target_of(video_id: int) -> publishing.Target:
    async with db.house() as conn:
        return (await publishing.of_videos(conn, [video_id]))[video_id][0]


def state_is(video_id: int, *states: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return (await target_of(video_id)).state in states

    return check


def put_off(video_id: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        target = await target_of(video_id)
        return target.state == "queued" and (await upload(video_id))["waiting_for"] is not None

    return check


async def upload(video_id: int) -> dict[str, Any]:
    """The upload job of this video: what it waits for, and its ended runs."""
    async with db.house() as conn:
        job = await queue.get(conn, (await target_of(video_id)).job_id or 0)
        tried = await queue.attempts(conn, job.id)
    return {
        "shown": job.shown, "waiting_for": job.waiting_for, "tries": job.tries,
        "runs": [(attempt.outcome, attempt.error_code) for attempt in tried],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["platform", "account"])
async def test_nothing_is_posted_while_paused_and_what_waits_goes_on_at_once(
    world: World, worker: TestWorker, kind: str
) -> None:
    owner, by = await an_owner(), await operator()
    account = await an_account(owner)
    name, label = ("tiktok", "TikTok") if kind == "platform" else (f"account-{account.id}", "maya.makes")
    async with db.house() as conn:
        await queue.pause(conn, name, by=by, kind=kind, label=label, reason="New keys")
    video = await a_video(owner, account)
    async with running(worker):
        await until(put_off(video.id), within_s=60)
        what = "posting to TikTok" if kind == "platform" else "the account maya.makes"
        sentence = f"An operator has paused {what}. “New keys”"
        assert await upload(video.id) == {
            "shown": "waiting", "waiting_for": sentence, "tries": 0, "runs": [("waiting", "paused")],
        }  # fmt: skip
        told = (await shown(owner, video.id)).waiting
        assert told is not None and told["text"] == sentence
        assert (await world.ledger())["posts"] == []
        async with db.house() as conn:
            assert await db.value(conn, "SELECT count(*) FROM limit_grants WHERE key LIKE 'account-%'") == 0
            assert await queue.resume(conn, name, kind=kind)
        assert await taken_s(state_is(video.id, "publishing", "unconfirmed", "published")) < OBEYED_S
        await until(state_is(video.id, "published"), within_s=30)
    assert len(await world.posts()) == 1


async def test_a_pause_during_an_upload_is_obeyed_before_the_bytes_that_count(
    world: World, worker: TestWorker
) -> None:
    owner, by = await an_owner(), await operator()
    await world.arm("slow", step="init", seconds=1.5)
    video = await a_video(owner, await an_account(owner))
    async with running(worker):
        await until(state_is(video.id, "publishing"), within_s=60)
        async with db.house() as conn:
            await queue.pause(conn, "tiktok", by=by, kind="platform", label="TikTok")
        assert await taken_s(put_off(video.id)) < OBEYED_S
        assert (await upload(video.id))["runs"] == [("waiting", "paused")]
        assert await world.posts() == []
        async with db.house() as conn:
            await queue.resume(conn, "tiktok", kind="platform")
        await until(state_is(video.id, "published"), within_s=30)
    assert len(await world.posts()) == 1


async def put_off_job(owner: Owner, sentence: str) -> int:
    """A job as a run leaves it that found something paused."""
    async with db.house() as conn:
        job_id = await queue.defer(conn, WORK, workspace_id=owner.workspace_id, number=1)
        await conn.execute(
            "UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 hour' WHERE id = %s", [job_id]
        )
        await conn.execute(
            "UPDATE job_records SET waiting_for = %s, waiting_until = now() + interval '1 hour' WHERE job_id = %s",
            [sentence, job_id],
        )
    return job_id


async def ready(job_id: int) -> bool:
    async with db.house() as conn:
        return bool(
            await db.value(
                conn, "SELECT scheduled_at IS NULL FROM procrastinate_jobs WHERE id = %s", [job_id]
            )
        )


async def test_only_those_who_wait_for_this_pause_come_forward(pools: str) -> None:
    owner = await an_owner()
    async with db.house() as conn:
        for name in ("tiktok", "account-7"):
            await queue.pause(
                conn, name, by=owner.user_id, kind="platform" if name == "tiktok" else "account"
            )
        first, second = [pause.sentence for pause in await queue.pauses(conn)]
    waits = await put_off_job(owner, first), await put_off_job(owner, second)
    later = await put_off_job(owner, "The platform asked this account to wait.")
    async with db.house() as conn:
        await queue.resume(conn, "tiktok", kind="platform")
    assert sorted([await ready(waits[0]), await ready(waits[1])]) == [False, True]
    assert not await ready(later)


async def test_a_job_put_off_for_a_pause_that_has_ended_meanwhile_does_not_wait(pools: str) -> None:
    owner = await an_owner()
    assert await ready(await put_off_job(owner, "An operator has paused posting to TikTok."))


async def test_a_pause_that_ends_while_a_job_is_being_put_off_sees_that_job(pools: str) -> None:
    owner = await an_owner()
    async with db.house() as conn:
        await queue.pause(conn, "tiktok", by=owner.user_id, kind="platform")
        [pause] = await queue.pauses(conn)
        job_id = await queue.defer(conn, WORK, workspace_id=None, number=1)

    async def let_go() -> None:
        async with db.house() as conn:
            await queue.resume(conn, "tiktok", kind="platform")

    async with db.house() as conn:
        await conn.execute("UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 hour'")
        await conn.execute("UPDATE job_records SET waiting_for = %s", [pause.sentence])
        going = asyncio.create_task(let_go())

        async def blocked() -> bool:
            await conn.execute("SELECT pg_stat_clear_snapshot()")
            return bool(await db.value(conn, WAITS_FOR_A_LOCK))

        await until(blocked)
    await going
    assert await ready(job_id)


WAITS_FOR_A_LOCK = """
    SELECT count(*)
      FROM pg_locks
     WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"""


# Ageing


async def priorities() -> list[int]:
    async with db.house() as conn:
        found = await db.rows(conn, "SELECT priority FROM procrastinate_jobs ORDER BY id")
    return [-priority for (priority,) in found]


async def test_low_gains_a_step_for_each_ten_minutes_up_to_normal_and_nothing_else_moves(pools: str) -> None:
    waited_min = [0, 9, 10, 19, 20, 29, 30, 500]
    async with db.house() as conn:
        low = await queue.defer_many(
            conn, LOW, workspace_id=None, args=[{"number": number} for number in range(len(waited_min))]
        )
        for job_id, minutes in zip(low, waited_min, strict=True):
            await conn.execute(
                "UPDATE job_records SET put_at = now() - make_interval(mins => %s) WHERE job_id = %s",
                [minutes, job_id],
            )
        for priority in (queue.NORMAL, queue.HIGH):
            await queue.defer(conn, WORK, workspace_id=None, priority=priority, number=1)
        later = await queue.defer(conn, LOW, workspace_id=None, number=99)
        await conn.execute(
            "UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 h' WHERE id = %s", [later]
        )
        await conn.execute(
            "UPDATE job_records SET put_at = now() - interval '1 day' WHERE job_id = %s", [later]
        )
        assert await queue.age_low(conn) == 6
        assert await queue.age_low(conn) == 0, "twice is once"
    assert await priorities() == [8, 8, 7, 7, 6, 6, 5, 5, 5, 3, 8]


async def test_ageing_goes_on_in_batches(pools: str) -> None:
    async with db.house() as conn:
        await queue.defer_many(
            conn, LOW, workspace_id=None, args=[{"number": number} for number in range(2500)]
        )
        await conn.execute("UPDATE job_records SET put_at = now() - interval '31 min'")
        assert [await queue.age_low(conn) for _ in range(4)] == [1000, 1000, 500, 0]
    assert set(await priorities()) == {5}


async def test_ageing_reads_its_index_only(pools: str) -> None:
    async with db.house() as conn:
        await queue.defer_many(
            conn, WORK, workspace_id=None, args=[{"number": number} for number in range(3000)]
        )
        await conn.execute("ANALYZE procrastinate_jobs")
        before = int(await db.value(conn, SCANNED))
        assert await queue.age_low(conn) == 0
        await conn.execute("SELECT pg_stat_force_next_flush()")
    async with db.house() as conn:
        assert int(await db.value(conn, SCANNED)) - before <= 10


SCANNED = """
    SELECT coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0)
      FROM pg_stat_all_tables WHERE relname IN ('procrastinate_jobs', 'job_records')"""
