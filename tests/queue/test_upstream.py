"""The engine stays the engine: its tables are its own plus what is named here, and its own app, worker and shell
work on a database of the house.

Whatever the engine's own tables would show after the same calls, ours must show, too: most tests do the same on
both and compare. A new version of the package that changes its tables fails the first test by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import procrastinate
import procrastinate.exceptions
import procrastinate.jobs
import procrastinate.schema
import psycopg
import pytest
from procrastinate import App
from psycopg.rows import dict_row

from app import db, postgres, queue
from app.errors import NotYet, Permanent, Retryable
from tests.queue import plain_app
from tests.queue.plain_app import QUEUE, drain, stands, stock, told, working
from tests.queue.test_worker import LINE, WORK, House, outcomes, put
from tests.test_owners import one_role
from tests.worker import until

__all__ = ["one_role"]

pytestmark = pytest.mark.anyio

LOCKED = queue.Job("test-locked", LINE, ("number",), lock="only")

# Ours beside the engine's: at the end of its table, so that its own statements do not see it.
MORE = {
    "column procrastinate_jobs owner bigint NOT NULL DEFAULT 0",
    "option procrastinate_events autovacuum_vacuum_scale_factor=0.01",
    "option procrastinate_jobs autovacuum_analyze_scale_factor=0.02",
    "option procrastinate_jobs autovacuum_vacuum_cost_delay=0",
    "option procrastinate_jobs autovacuum_vacuum_scale_factor=0.01",
}
# Indexes that refuse no row, and triggers once a statement; their names begin with `house_`.
MORE_BY_NAME = (
    "index CREATE INDEX house_",
    "trigger CREATE TRIGGER house_",
)
# Done by statement-level triggers of ours instead; a worker that is gone is forgotten by what it ran, not by what
# it ended.
LESS = {
    "constraint procrastinate_jobs procrastinate_jobs_worker_id_fkey"
    " FOREIGN KEY (worker_id) REFERENCES procrastinate_workers(id) ON DELETE SET NULL",
    "constraint procrastinate_events procrastinate_events_job_id_fkey"
    " FOREIGN KEY (job_id) REFERENCES procrastinate_jobs(id) ON DELETE CASCADE",
}
SWITCHED_OFF = {
    "procrastinate_jobs_notify_queue_job_aborted_v1",
    "procrastinate_jobs_notify_queue_job_inserted_v1",
    "procrastinate_trigger_abort_requested_events_v1",
    "procrastinate_trigger_scheduled_events_v1",
    "procrastinate_trigger_status_events_insert_v1",
    "procrastinate_trigger_status_events_update_v1",
}


def switched_off(line: str) -> str:
    name = line.split()[3] if line.startswith("trigger ") else ""
    return line.replace(" enabled O", " enabled D") if name in SWITCHED_OFF else line


def test_our_tables_are_the_engines_own_plus_what_is_named_here(pg: postgres.Server, database: str) -> None:
    with plain_app.database(pg) as bare:
        engine = plain_app.shape(bare)
    ours = plain_app.shape(database)
    more = ours - {switched_off(line) for line in engine}
    less = {switched_off(line) for line in engine} - ours
    assert len(engine) > 80, "the catalogs were read"
    assert {line for line in more if not line.startswith(MORE_BY_NAME)} == MORE
    assert less == LESS
    assert {line.split()[3] for line in more if line.startswith("trigger ")} == {
        "house_jobs_changed",
        "house_jobs_gone",
        "house_jobs_put",
        "house_tick_rings",
        "house_workers_gone",
    }
    assert all(
        "FOR EACH STATEMENT" in line
        for line in more
        if line.startswith("trigger ") and "house_tick_rings" not in line
    ), "nothing of ours is asked for each job"


def test_the_engines_steps_from_version_to_version_lead_to_its_schema(pg: postgres.Server) -> None:
    """We apply its migrations, new installations of the engine its schema: one must not know less than the other."""
    folder = Path(procrastinate.schema.SchemaManager.get_migrations_path())
    steps = [path.read_text() for path in sorted(folder.glob("*.sql"))]
    with plain_app.database(pg) as at_once, plain_app.database(pg, migrations=steps) as by_step:
        assert plain_app.shape(at_once) == plain_app.shape(by_step)


# The same calls on the engine's tables and on ours.


async def rows_after(calls: plain_app.Calls, dsn: str) -> dict[str, Any]:
    """What stands in the engine's tables after these calls and which kinds of notice were sent on the way."""
    async with (
        stock(dsn) as app,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=dict_row) as conn,
    ):
        for channel in ("procrastinate_any_queue_v1", f"procrastinate_queue_v1#{QUEUE}"):
            await conn.execute(f'LISTEN "{channel}"'.encode())
        seen: dict[str, Any] = {"answer": await calls(app, dsn)}
        seen["notices"] = {
            (notice.channel, json.loads(notice.payload)["type"])
            async for notice in conn.notifies(timeout=0.1)
        }
        # Of one transaction the order is nobody's promise. What is scheduled has its own time, and the engine's
        # triggers tell it once more when the row's key to its worker is cleared.
        for name, statement in {
            "jobs": """
                SELECT id, queue_name, task_name, priority, lock, queueing_lock, args, status::text, attempts,
                       abort_requested, status = 'doing' AND worker_id IS NOT NULL AS has_worker,
                       scheduled_at IS NOT NULL AS has_time
                  FROM procrastinate_jobs ORDER BY id""",
            "events": """
                SELECT job_id, array_agg(type::text ORDER BY type = 'scheduled', at, type::text) AS told
                  FROM (SELECT *, lag(at) OVER (PARTITION BY job_id, type ORDER BY id) AS last_at
                          FROM procrastinate_events) AS events
                 WHERE type <> 'scheduled' OR at IS DISTINCT FROM last_at
                 GROUP BY job_id ORDER BY job_id""",
            "ticks": """
                SELECT task_name, periodic_id, defer_timestamp, job_id
                  FROM procrastinate_periodic_defers ORDER BY id""",
            "workers": "SELECT count(*) FROM procrastinate_workers",
        }.items():
            seen[name] = await (await conn.execute(statement.encode())).fetchall()
    return seen


@pytest.mark.parametrize(
    "calls",
    plain_app.CALLS,
    ids=lambda calls: calls.__name__,
)
async def test_the_engines_own_app_leaves_the_same_rows_on_our_tables(
    pg: postgres.Server, database: str, calls: plain_app.Calls
) -> None:
    with plain_app.database(pg) as bare:
        expected = await rows_after(calls, bare)
    assert expected["jobs"] or expected["workers"], "the calls did something"
    assert await rows_after(calls, database) == expected


# Jobs of ours, run by the engine's own worker.


@pytest.fixture
async def house(pools: str) -> House:
    return House(pools)


@contextlib.asynccontextmanager
async def stock_with_work(
    dsn: str, step: Callable[[int], Awaitable[None]], **options: Any
) -> AsyncIterator[App]:
    async with stock(dsn) as app:
        app.task(name=WORK.name, queue=QUEUE, **options)(step)
        yield app


async def shown(job_id: int) -> str:
    async with db.house() as conn:
        return (await queue.get(conn, job_id)).shown


async def test_the_engines_own_worker_runs_our_jobs_and_our_pages_show_it(pools: str) -> None:
    ran: list[int] = []
    tries = 0

    async def step(number: int) -> None:
        nonlocal tries
        tries += 1
        if number == 2 and tries < 3:
            raise ValueError
        if number == 3:
            raise KeyError
        ran.append(number)

    first = await put(1, priority=queue.LOW)
    second = await put(2, priority=queue.HIGH)
    third = await put(3)
    later = await put(4, at=datetime.now(UTC) + timedelta(hours=1))
    strategy = procrastinate.RetryStrategy(max_attempts=3, retry_exceptions=[ValueError])
    async with stock_with_work(pools, step, retry=strategy) as app:
        await drain(app)
    assert ran == [2, 1]
    assert [await shown(job_id) for job_id in (first, second, third, later)] == [
        "done",
        "done",
        "failed",
        "scheduled",
    ]
    assert await told(pools, first) == ["deferred", "started", "succeeded"]
    assert await told(pools, second) == [
        "deferred",
        *["started", "deferred_for_retry", "scheduled"] * 2,
        "started",
        "succeeded",
    ]
    assert await told(pools, third) == ["deferred", "started", "failed"]
    assert await told(pools, later) == ["deferred", "scheduled"]
    async with db.house() as conn:
        assert {job.id for job in await queue.find(conn, queue.Filter(status="done"))} == {first, second}
        await queue.retry(conn, third)
    assert await shown(third) == "waiting"
    assert (await told(pools, third))[-1] == "retried"


async def test_our_cancel_stops_a_job_that_the_engines_own_worker_runs(pools: str) -> None:
    async def step(number: int) -> None:
        await asyncio.Event().wait()

    job_id = await put(1)
    async with (
        stock_with_work(pools, step) as app,
        working(app, abort_job_polling_interval=0.1),
    ):
        await until(stands(pools, job_id, "doing"))
        assert await shown(job_id) == "running"
        async with db.house() as conn:
            assert await queue.cancel(conn, job_id, "not wanted")
        await until(stands(pools, job_id, "aborted"))
    assert await shown(job_id) == "cancelled"
    assert await told(pools, job_id) == ["deferred", "started", "abort_requested", "aborted"]
    async with db.house() as conn:
        assert (await queue.get(conn, job_id)).over
        await queue.retry(conn, job_id)
    assert await shown(job_id) == "waiting"


async def test_our_slow_net_leaves_alone_what_the_engines_own_worker_runs(pools: str) -> None:
    go_on = asyncio.Event()
    ran: list[int] = []

    async def step(number: int) -> None:
        ran.append(number)
        await go_on.wait()

    job_id = await put(1)
    async with stock_with_work(pools, step) as app, working(app):
        await until(stands(pools, job_id, "doing"))
        async with db.house() as conn:
            await queue.put_back_unowned(conn)
        assert await shown(job_id) == "running"
        go_on.set()
        await until(stands(pools, job_id, "succeeded"))
    assert ran == [1]


async def test_workers_of_both_kinds_share_a_queue_and_each_job_runs_once(house: House, pools: str) -> None:
    ran: list[int] = []

    async def step(number: int) -> None:
        ran.append(number)
        await asyncio.sleep(0)

    ids = [await put(number) for number in range(100)]
    async with stock_with_work(pools, step) as app:
        await asyncio.gather(
            drain(app, concurrency=4),
            *(house.worker.worker(wait=False, listen_notify=False).run() for _ in range(2)),
        )
    assert sorted(ran + house.ran) == list(range(100))
    assert {await shown(job_id) for job_id in ids} == {"done"}
    assert {tuple(await told(pools, job_id)) for job_id in ids} == {("deferred", "started", "succeeded")}


async def test_where_a_provider_gives_one_role_the_engines_own_worker_works_too(one_role: str) -> None:
    """Its login is no superuser and says nothing of the house: row rules apply to it."""
    ran: list[int] = []

    async def step(number: int) -> None:
        ran.append(number)

    await db.open_pools(one_role, pages=True)
    try:
        job_id = await put(1)
        async with stock_with_work(one_role, step) as app:
            await app.configure_task(WORK.name).defer_async(number=2)
            await drain(app)
            assert ran == [2, 1], "what it defers has priority 0, before any of ours"
            assert await shown(job_id) == "done"
            job_id = await put(3)
            await drain(app, delete_jobs="always")
        async with db.house() as conn:
            left = "SELECT count(*) FROM job_records WHERE job_id = %s"
            assert await db.value(conn, left, [job_id]) == 0, "what we know of a job goes with it"
    finally:
        await db.close_pools()


# Jobs of the engine's own app, run by our worker.


async def test_our_worker_runs_what_the_engines_own_app_deferred(house: House, pools: str) -> None:
    async with stock(pools) as app:
        work = app.configure_task(WORK.name, queue=QUEUE, allow_unknown=True)
        ids = [await work.defer_async(number=1)]
        high = app.configure_task(WORK.name, queue=QUEUE, priority=9, allow_unknown=True)
        ids += await high.batch_defer_async({"number": 2}, {"number": 3})
        soon = datetime.now(UTC) + timedelta(seconds=0.1)
        timed = app.configure_task(WORK.name, queue=QUEUE, schedule_at=soon, allow_unknown=True)
        ids.append(await timed.defer_async(number=4))
        job = app.configure_task(WORK.name, queue=QUEUE, task_kwargs={"number": 5, "timestamp": 60}).job
        tick = await app.job_manager.defer_periodic_job(job=job, periodic_id="", defer_timestamp=60)
        assert tick is not None
        elsewhere = await app.configure_task(WORK.name, queue="elsewhere").defer_async(number=6)
        await house.worker.run_until_idle(ahead=True)
        assert house.ran[:2] == [2, 3]
        assert sorted(house.ran) == [1, 2, 3, 4, 5]
        done = procrastinate.jobs.Status.SUCCEEDED
        assert {await app.job_manager.get_job_status_async(job_id) for job_id in [*ids, tick]} == {done}
    assert await told(pools, ids[0]) == ["deferred", "started", "succeeded"]
    assert await told(pools, tick) == ["deferred", "started", "succeeded"]
    assert set(await told(pools, ids[3])) == {"deferred", "scheduled", "started", "succeeded"}
    assert await shown(elsewhere) == "waiting"
    assert await outcomes(ids[0]) == ["done"]


@pytest.mark.parametrize(
    ("error", "history"),
    [
        (Retryable("away"), ["deferred", "started", "deferred_for_retry", "started", "succeeded"]),
        (NotYet("later", after_s=60), ["deferred", "started", "deferred_for_retry", "started", "succeeded"]),
        (Permanent("no"), ["deferred", "started", "failed"]),
    ],
)
async def test_our_worker_tells_the_engines_history_how_its_runs_ended(
    house: House, pools: str, error: Exception, history: list[str]
) -> None:
    house.errors = [error]
    job_id = await put(1)
    await house.worker.run_until_idle(ahead=True)
    # A return to the line may have a time or none.
    assert [kind for kind in await told(pools, job_id) if kind != "scheduled"] == history


async def test_the_engines_cancel_stops_a_job_that_our_worker_runs(house: House, pools: str) -> None:
    house.block = asyncio.Event()
    async with stock(pools) as app:
        job_id = await app.configure_task(WORK.name, queue=QUEUE, allow_unknown=True).defer_async(number=1)
        worker = house.worker.worker()
        running = asyncio.create_task(worker.run())
        await asyncio.wait_for(house.started.wait(), 5)
        while not worker.listening:
            await asyncio.sleep(0.02)
        assert await app.job_manager.cancel_job_by_id_async(job_id, abort=True)
        await until(stands(pools, job_id, "aborted"), within_s=2)
        worker.stop()
        await asyncio.wait_for(running, 5)
    assert await shown(job_id) == "cancelled"
    assert await told(pools, job_id) == ["deferred", "started", "abort_requested", "aborted"]
    assert house.gave_up == [(1, "cancelled")]


# What its own acceptance tests ask of a worker, asked of ours.


@pytest.mark.parametrize("listen", [True, False])
async def test_our_worker_that_is_not_to_wait_ends_when_nothing_is_ready(house: House, listen: bool) -> None:
    for number in range(3):
        await put(number)
    await put(3, at=datetime.now(UTC) + timedelta(hours=1))
    worker = house.worker.worker(wait=False, listen_notify=listen)
    await asyncio.wait_for(worker.run(), 5)
    assert house.ran == [0, 1, 2]


@pytest.mark.parametrize("listen", [True, False])
async def test_our_worker_ends_when_it_is_stopped_or_cancelled(
    house: House, pools: str, listen: bool
) -> None:
    for cancel in (False, True):
        worker = house.worker.worker(listen_notify=listen)
        running = asyncio.create_task(worker.run())
        job_id = await put(1)
        await until(stands(pools, job_id, "succeeded"))
        if cancel:
            running.cancel()
        else:
            worker.stop()
        await asyncio.wait({running}, timeout=4)
        assert (running.done(), running.done() and running.cancelled()) == (True, cancel)


@pytest.mark.parametrize("by_engine", [True, False])
async def test_a_cancel_that_meets_a_failure_of_the_same_run_is_not_lost(
    house: House, pools: str, by_engine: bool
) -> None:
    async def step(number: int) -> None:
        house.ran.append(number)
        job_id = queue.current().job_id
        if by_engine:
            async with stock(pools) as app:
                await app.job_manager.cancel_job_by_id_async(job_id, abort=True)
        else:
            async with db.house() as conn:
                await queue.cancel(conn, job_id, "not wanted")
        raise Retryable("away")

    house.app.bind(LOCKED)(step)
    job_id = await put(1, LOCKED)
    await house.worker.run_until_idle(ahead=True)
    assert (house.ran, await shown(job_id)) == ([1], "cancelled")


async def test_jobs_of_one_lock_run_one_after_the_other_on_our_workers_the_highest_first(
    house: House, pools: str
) -> None:
    at_once: list[int] = []

    async def step(number: int) -> None:
        at_once.append(number)
        await asyncio.sleep(0.05)
        assert at_once == [number], "nobody else has the lock"
        at_once.remove(number)
        house.ran.append(number)

    house.app.bind(LOCKED)(step)
    ids = [await put(number, LOCKED, priority=priority) for number, priority in ((1, 8), (2, 3), (3, 5))]
    workers = [house.worker.worker() for _ in range(2)]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    for job_id in ids:
        await until(stands(pools, job_id, "succeeded"))
    for worker in workers:
        worker.stop()
    await asyncio.wait_for(asyncio.gather(*running), 5)
    assert house.ran == [2, 3, 1]
