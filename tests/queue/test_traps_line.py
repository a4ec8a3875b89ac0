"""The traps of the queue engine (reliability, section 3), second half: who is taken from the line, and what is left.

As in test_traps: first the engine as it comes, then ours.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import procrastinate
import pytest
from procrastinate import App

from app import db, queue
from app.errors import Retryable
from tests.queue import house_app
from tests.queue.plain_app import LISTENS, QUEUE, drain, stands, status, stock, value, working
from tests.queue.processes import workers
from tests.queue.test_faults import marked, marks
from tests.queue.test_traps import LOCKED, a_job_that_waits, at_work, bare, house, moment, once
from tests.queue.test_worker import WORK, House, put
from tests.worker import until

__all__ = ["bare", "house", "marks"]

pytestmark = pytest.mark.anyio


async def test_a_future_job_does_not_keep_its_lock_from_those_that_may_run_now(
    house: House, pools: str, bare: str
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    async with stock(bare) as app:
        await app.configure_task("locked", queue=QUEUE, lock="only", schedule_at=later).defer_async()
        job_id = await app.configure_task("locked", queue=QUEUE, lock="only").defer_async()
        await drain(app)
        assert await status(bare, job_id) == "todo"

    await put(1, LOCKED, at=later)
    job_id = await put(2, LOCKED)
    await once(house)
    assert (await status(pools, job_id), house.ran) == ("succeeded", [2])


async def test_a_job_that_waits_for_its_next_try_does_not_keep_its_lock(
    house: House, pools: str, bare: str
) -> None:
    async with stock(bare) as app:

        @app.task(name="locked", queue=QUEUE, lock="only", retry=procrastinate.RetryStrategy(wait=3600))
        async def locked(well: bool) -> None:
            if not well:
                raise ValueError

        await locked.defer_async(well=False)
        job_id = await locked.defer_async(well=True)
        await drain(app)
        assert await status(bare, job_id) == "todo"

    house.errors = [Retryable("away", after_s=3600)]
    await put(1, LOCKED)
    job_id = await put(2, LOCKED)
    await once(house)
    assert (await status(pools, job_id), house.ran) == ("succeeded", [1, 2])


BUSY = """
    WITH locks AS (SELECT number, 'lock-' || number AS lock FROM generate_series(1, 200) AS number)
    INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args, status)
    SELECT 'test-line', 'test-work', lock, '{"number": 1}'::jsonb, 'doing'::procrastinate_job_status FROM locks
     UNION ALL
    SELECT 'test-line', 'test-work', lock, '{"number": 1}'::jsonb, 'todo' FROM locks, generate_series(1, 25)"""
BLOCKS = """
    SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read
      FROM pg_statio_user_tables WHERE relname = 'procrastinate_jobs'"""


async def test_many_jobs_behind_busy_locks_do_not_slow_the_next_free_one(
    house: House, pools: str, bare: str
) -> None:
    """Counted in blocks of the table and its indexes that were looked at, from the first look to the last."""
    blocks = {}
    for dsn in (bare, pools):
        await value(dsn, BUSY)
        await value(dsn, "ANALYZE procrastinate_jobs")
    async with stock(bare) as app:

        @app.task(name="test-work", queue=QUEUE)
        async def work(number: int) -> None:
            pass

        job_id = await work.defer_async(number=2)
        before = await value(bare, BLOCKS)
        await drain(app)
    assert await status(bare, job_id) == "succeeded"
    blocks["bare"] = await value(bare, BLOCKS) - before
    await put(2)
    await db.close_pools()
    before = await value(pools, BLOCKS)
    await db.open_pools(pools, pages=False)
    await once(house)
    # Each session tells what it read when it ends.
    await db.close_pools()
    blocks["ours"] = await value(pools, BLOCKS) - before
    assert house.ran == [2]
    assert blocks["ours"] * 3 < blocks["bare"], blocks


async def test_a_job_that_comes_due_is_started_then_and_not_at_the_next_poll(
    house: House, pools: str, bare: str
) -> None:
    late = """
        SELECT extract(epoch FROM max(at) FILTER (WHERE type = 'started') - max(at) FILTER (WHERE type = 'scheduled'))
          FROM procrastinate_events WHERE job_id = %s"""
    async with stock(bare) as app:
        waits, go_on = a_job_that_waits(app)
        go_on.set()
        async with working(app, fetch_job_polling_interval=2.0):

            async def listens() -> bool:
                return bool(await value(bare, LISTENS))

            await until(listens)
            job_id = await waits.configure(
                schedule_at=datetime.now(UTC) + timedelta(seconds=0.3)
            ).defer_async()
            await until(stands(bare, job_id, "succeeded"))
        assert await value(bare, late, [job_id]) > 1.0

    house.errors = [Retryable("away", after_s=0.3)]
    async with at_work(house):
        retried = await put(1)
        await until(stands(pools, retried, "succeeded"))
        due = await put(2, at=datetime.now(UTC) + timedelta(seconds=0.3))
        await until(stands(pools, due, "succeeded"))
    assert await value(pools, late, [retried]) < 0.5
    assert await value(pools, late, [due]) < 0.5


@pytest.mark.storm
async def test_a_notice_that_is_lost_costs_one_poll(house: House, pools: str) -> None:
    worker = house.worker.worker(listen_notify=False)
    running = asyncio.create_task(worker.run())

    async def registered() -> bool:
        return bool(await value(pools, "SELECT count(*) FROM worker_leases"))

    await until(registered)
    await moment(1)
    job_id = await put(1)
    await until(stands(pools, job_id, "succeeded"), within_s=7)
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_a_late_clock_does_not_make_an_old_tick_again(house: House, pools: str, bare: str) -> None:
    async def ticks(app: App) -> list[bool]:
        found = []
        for at in (60, 120, 60):
            job = app.configure_task(WORK.name, queue=QUEUE, task_kwargs={"number": at, "timestamp": at}).job
            defer = app.job_manager.defer_periodic_job
            found.append(await defer(job=job, periodic_id="", defer_timestamp=at) is not None)
        return found

    async with stock(bare) as app:
        assert await ticks(app) == [True, True, True]
    connector = procrastinate.PsycopgConnector(conninfo=pools)
    with house.app.replace_connector(connector) as ours:
        async with ours.open_async():
            assert await ticks(ours) == [True, True, False]


# What is left of jobs.


async def test_old_jobs_go_in_batches(pools: str, bare: str) -> None:
    many = 6_000
    put_old = """
        WITH jobs AS (
            INSERT INTO procrastinate_jobs (queue_name, task_name, status, attempts)
            SELECT 'test-line', 'test-work', 'succeeded', 1 FROM generate_series(1, %s)
            RETURNING id)"""
    events = """
        INSERT INTO procrastinate_events (job_id, type, at)
        SELECT id, 'succeeded', now() - interval '40 d' FROM jobs"""
    await value(bare, f"{put_old} {events}", [many])
    async with stock(bare) as app:
        await app.job_manager.delete_old_jobs(nb_hours=1)
    assert await value(bare, "SELECT count(*) FROM procrastinate_jobs") == 0, "all in one statement"

    records = """,
        records AS (
            INSERT INTO job_records (job_id, correlation_id, put_at, ended_at)
            SELECT id, 'x', now() - interval '40 d', now() - interval '40 d' FROM jobs),
        runs AS (
            INSERT INTO attempts (job_id, round, worker_id, queue, task, started_at, ended_at, outcome)
            SELECT id, 1, 1, 'test-line', 'test-work', now() - interval '40 d', now() - interval '40 d', 'done'
              FROM jobs)"""
    await value(pools, f"{put_old} {records} {events}", [many])
    swept = []
    while not swept or swept[-1]:
        async with db.house() as conn:
            swept.append(await queue.sweep(conn))
    assert max(swept) <= 5_000
    assert (sum(swept), len(swept) > 2) == (many, True)
    for table in ("procrastinate_jobs", "procrastinate_events", "job_records", "attempts"):
        assert await value(pools, f"SELECT count(*) FROM {table}") == 0


async def test_arguments_are_not_written_into_the_log(
    marks: str, bare: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planted = "planted-4711"
    async with stock(bare) as app:

        @app.task(name="tells", queue=QUEUE)
        async def tells(name: str) -> str:
            return name

        await tells.defer_async(name=planted)
        with caplog.at_level(logging.INFO, logger="procrastinate"):
            await drain(app)
    assert planted in caplog.text

    with workers(1, marks, tmp_path) as (worker,):
        async with db.house() as conn:
            job_id = await queue.defer(conn, house_app.LINGER, workspace_id=None, name=planted, seconds=0.0)
        await until(stands(marks, job_id, "succeeded"))

        async def said() -> bool:
            return "job done" in worker.said()

        await until(said)
        assert planted not in worker.said()
    assert await marked(planted) == ["started", "done"]
