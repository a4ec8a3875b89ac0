"""Procrastinate as it comes: a database with nothing but its own tables, its own `App` and its own worker.

What the house keeps of it is shown against this (test_upstream), and what the house adds to it (test_traps).
`procrastinate_app` is for its command line; it finds the database in PLAIN_DSN.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import procrastinate
import procrastinate.exceptions
import procrastinate.schema
import procrastinate.worker
import psycopg
import pytest
from psycopg import sql

from app import postgres
from tests.worker import until

QUEUE = "test-line"

procrastinate_app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ.get("PLAIN_DSN", ""))
)


@procrastinate_app.task(name="test-work", queue=QUEUE)
async def work(number: int) -> None:
    print(f"worked on {number}")


@contextlib.contextmanager
def database(pg: postgres.Server, *, migrations: list[str] | None = None) -> Iterator[str]:
    """Address of a new database with the engine's tables: its whole schema at once, or step by step by these."""
    plain = f"plain_{uuid.uuid4().hex}"
    name = sql.Identifier(plain)
    with psycopg.connect(pg.dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} STRATEGY FILE_COPY").format(name))
    try:
        with psycopg.connect(pg.dsn_of(plain), autocommit=True) as conn:
            conn.execute("SET client_min_messages = warning")
            for step in migrations or [procrastinate.schema.SchemaManager.get_schema()]:
                conn.execute(step.encode())
        yield pg.dsn_of(plain)
    finally:
        with psycopg.connect(pg.dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


@contextlib.asynccontextmanager
async def stock(dsn: str, **pool: Any) -> AsyncIterator[procrastinate.App]:
    """The engine's own app on this database, open."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, **pool))
    async with app.open_async():
        yield app


@contextlib.asynccontextmanager
async def working(app: procrastinate.App, **options: Any) -> AsyncIterator[procrastinate.worker.Worker]:
    """The engine's own worker of this app, at work; asked to stop at the end."""
    worker = app._worker(**{"install_signal_handlers": False, "shutdown_graceful_timeout": 2.0, **options})
    loop = asyncio.get_running_loop()
    heard = loop.get_exception_handler()
    # A run whose end cannot be saved ends with an error that this worker never looks at.
    loop.set_exception_handler(lambda *_: None)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait({running}, timeout=10)
        assert running.done()
        # What it died of is for the test to look at.
        if not running.cancelled():
            running.exception()
        gc.collect()
        loop.set_exception_handler(heard)


async def drain(app: procrastinate.App, **options: Any) -> None:
    """Run the engine's own worker until nothing is ready."""
    await app.run_worker_async(wait=False, listen_notify=False, install_signal_handlers=False, **options)


async def value(dsn: str, statement: str, params: Any = None) -> Any:
    """The first column of the first row, asked past every door of the house; None when there is none."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        cursor = await conn.execute(statement.encode(), params)
        row = await cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


async def status(dsn: str, job_id: int) -> str | None:
    found = await value(dsn, "SELECT status::text FROM procrastinate_jobs WHERE id = %s", [job_id])
    return None if found is None else str(found)


def stands(dsn: str, job_id: int, wanted: str) -> Callable[[], Awaitable[bool]]:
    """For `until`: the job has come to this status of the engine."""

    async def check() -> bool:
        return await status(dsn, job_id) == wanted

    return check


async def told(dsn: str, job_id: int) -> list[str]:
    """What the engine's own history says of the job, in order."""
    found = await value(
        dsn,
        "SELECT coalesce(array_agg(type::text ORDER BY id), '{}') FROM procrastinate_events WHERE job_id = %s",
        [job_id],
    )
    return list(found)


# Everything the catalogs say of what the engine owns, a line each.
SHAPE = """
SELECT concat_ws(' ', 'table', relname, 'kind', relkind, relpersistence,
                 CASE WHEN relrowsecurity OR relforcerowsecurity THEN 'ROW RULES' END)
  FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'procrastinate%' AND relkind <> 'i'
UNION ALL
SELECT concat_ws(' ', 'option', relname, unnest(reloptions))
  FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'procrastinate%'
UNION ALL
SELECT concat_ws(' ', 'column', relname, attname, format_type(atttypid, atttypmod),
                 CASE WHEN attnotnull THEN 'NOT NULL' END,
                 'IDENTITY ' || nullif(attidentity::text, ''), 'GENERATED ' || nullif(attgenerated::text, ''),
                 'DEFAULT ' || pg_get_expr(adbin, adrelid))
  FROM pg_class
  JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'procrastinate%' AND relkind NOT IN ('i', 'S', 'c')
UNION ALL
SELECT concat_ws(' ', 'composite', relname,
                 string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum))
  FROM pg_class
  JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
 WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'procrastinate%' AND relkind = 'c'
 GROUP BY relname
UNION ALL
SELECT concat_ws(' ', 'enum', typname, string_agg(enumlabel, ', ' ORDER BY enumsortorder))
  FROM pg_enum
  JOIN pg_type ON pg_type.oid = enumtypid
 WHERE typname LIKE 'procrastinate%'
 GROUP BY typname
UNION ALL
SELECT concat_ws(' ', 'sequence', seqrelid::regclass, seqtypid::regtype, 'by', seqincrement,
                 'of', (SELECT refobjid::regclass || '.' || refobjsubid FROM pg_depend
                         WHERE objid = seqrelid AND deptype IN ('a', 'i')))
  FROM pg_sequence
 WHERE seqrelid::regclass::text LIKE 'procrastinate%'
UNION ALL
SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), CASE WHEN NOT indisvalid THEN 'INVALID' END)
  FROM pg_index
 WHERE indrelid::regclass::text LIKE 'procrastinate%'
UNION ALL
SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
  FROM pg_constraint
 WHERE (conrelid::regclass::text LIKE 'procrastinate%' OR confrelid::regclass::text LIKE 'procrastinate%')
   AND contype <> 'n'
UNION ALL
SELECT concat_ws(' ', 'function', oid::regprocedure, 'RETURNS', pg_get_function_result(oid), prokind, provolatile,
                 CASE WHEN prosecdef THEN 'SECURITY DEFINER' END, proconfig, 'body', md5(prosrc))
  FROM pg_proc
 WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'procrastinate%'
UNION ALL
SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(oid), 'enabled', tgenabled)
  FROM pg_trigger
 WHERE tgrelid::regclass::text LIKE 'procrastinate%' AND NOT tgisinternal
UNION ALL
SELECT concat_ws(' ', 'rule', pg_get_ruledef(pg_rewrite.oid))
  FROM pg_rewrite
 WHERE ev_class::regclass::text LIKE 'procrastinate%'
"""


def shape(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as conn:
        return {str(row[0]) for row in conn.execute(SHAPE)}


# What people do with it. Each gives what it was answered; what it leaves in the tables is compared by others.

Calls = Callable[[procrastinate.App, str], Awaitable[object]]


async def runs_what_it_was_given(app: procrastinate.App, dsn: str) -> object:
    ran: list[int] = []

    @app.task(name="asynchronous", queue=QUEUE)
    async def asynchronous(number: int) -> None:
        ran.append(number)

    @app.task(name="in a thread", queue=QUEUE, pass_context=True)
    def in_a_thread(context: procrastinate.JobContext, number: int) -> None:
        assert context.job.task_name == "in a thread"
        ran.append(number)

    await asynchronous.defer_async(number=1)
    await asynchronous.configure(priority=5).defer_async(number=2)
    await app.configure_task("in a thread").defer_async(number=3)
    await asynchronous.batch_defer_async({"number": 4}, {"number": 5})
    await in_a_thread.configure(queue="elsewhere").defer_async(number=6)
    await drain(app, queues=[QUEUE])
    assert ran == [2, 1, 3, 4, 5]
    return ran


async def retries_and_fails(app: procrastinate.App, dsn: str) -> object:
    tries = {"recovers": 0, "never": 0}
    strategy = procrastinate.RetryStrategy(max_attempts=2, retry_exceptions=[ValueError])

    @app.task(name="fails", queue=QUEUE, retry=strategy)
    async def fails(which: str) -> None:
        tries[which] += 1
        if which == "never" or tries[which] < 3:
            raise ValueError
        if which == "surprise":
            raise KeyError

    tries["surprise"] = 5
    for which in tries:
        await fails.defer_async(which=which)
    await drain(app)
    # The strategy takes the whole second before as the time of the retry.
    assert tries == {"recovers": 3, "never": 3, "surprise": 6}
    return tries


async def cancels_what_waits(app: procrastinate.App, dsn: str) -> object:
    ids = [await app.configure_task("unknown", queue=QUEUE).defer_async() for _ in range(4)]
    cancel = app.job_manager.cancel_job_by_id_async
    answers = [
        await cancel(ids[0]),
        await cancel(ids[1], abort=True),
        await cancel(ids[2], delete_job=True),
        await cancel(ids[0]),
        await cancel(ids[3] + 1),
    ]
    assert answers == [True, True, True, False, False]
    return answers


def aborts_what_runs(listen: bool) -> Calls:
    async def calls(app: procrastinate.App, dsn: str) -> object:
        @app.task(name="for ever", queue=QUEUE)
        async def for_ever() -> None:
            await asyncio.Event().wait()

        job_id = await for_ever.defer_async()
        interval_s = 60.0 if listen else 0.1
        async with working(app, listen_notify=listen, abort_job_polling_interval=interval_s):
            await until(stands(dsn, job_id, "doing"))
            # The engine's worker hears of nothing that was said before it listened.
            while listen and not await value(dsn, LISTENS):
                await asyncio.sleep(0.02)
            assert await app.job_manager.cancel_job_by_id_async(job_id, abort=True)
            await until(stands(dsn, job_id, "aborted"), within_s=3)
        return await app.job_manager.get_job_status_async(job_id)

    calls.__name__ = "aborts_what_runs_by_" + ("notice" if listen else "poll")
    return calls


LISTENS = """
    SELECT count(*) > 0 FROM pg_stat_activity
     WHERE datname = current_database() AND query LIKE 'LISTEN "procrastinate_any_queue_v1"%' AND state = 'idle'"""


async def hands_back_or_aborts_at_a_stop(app: procrastinate.App, dsn: str) -> object:
    @app.task(name="with retry", queue=QUEUE, retry=1)
    async def with_retry() -> None:
        await asyncio.Event().wait()

    @app.task(name="without", queue=QUEUE)
    async def without() -> None:
        await asyncio.Event().wait()

    ids = [await with_retry.defer_async(), await without.defer_async()]
    async with working(app, concurrency=2, shutdown_graceful_timeout=0.1):
        for job_id in ids:
            await until(stands(dsn, job_id, "doing"))
    return [await app.job_manager.get_job_status_async(job_id) for job_id in ids]


async def keeps_locks(app: procrastinate.App, dsn: str) -> object:
    ran: list[str] = []
    at_once = 0

    @app.task(name="locked", queue=QUEUE, lock="one")
    async def locked(name: str) -> None:
        nonlocal at_once
        at_once += 1
        assert at_once == 1
        await asyncio.sleep(0.02)
        at_once -= 1
        ran.append(name)

    often: dict[str, Any] = {"concurrency": 3, "fetch_job_polling_interval": 0.02}
    for name, priority in (("low", 1), ("high", 9), ("middle", 5)):
        await locked.configure(priority=priority).defer_async(name=name)
    async with working(app, **often) as one, working(app, **often) as two:
        while len(ran) < 3:
            await asyncio.sleep(0.02)
        assert one.worker_id != two.worker_id
    assert ran == ["high", "middle", "low"]
    return ran


async def keeps_queueing_locks(app: procrastinate.App, dsn: str) -> object:
    twin = app.configure_task("unknown", queue=QUEUE, queueing_lock="one")
    await twin.defer_async()
    with pytest.raises(procrastinate.exceptions.AlreadyEnqueued):
        await twin.defer_async()
    with pytest.raises(procrastinate.exceptions.AlreadyEnqueued):
        await twin.batch_defer_async({}, {})
    return await app.job_manager.list_queues_async()


async def waits_for_its_time(app: procrastinate.App, dsn: str) -> object:
    soon = datetime.now(UTC) + timedelta(hours=1)
    job_id = await app.configure_task("unknown", queue=QUEUE, schedule_at=soon).defer_async()
    await drain(app)
    at = await value(
        dsn, "SELECT at FROM procrastinate_events WHERE type = 'scheduled' AND job_id = %s", [job_id]
    )
    assert at == soon
    return await app.job_manager.get_job_status_async(job_id)


async def defers_a_tick_once(app: procrastinate.App, dsn: str) -> object:
    @app.task(name="tick", queue=QUEUE)
    async def tick(timestamp: int) -> None:
        pass

    async def at(timestamp: int) -> bool:
        job = tick.configure(task_kwargs={"timestamp": timestamp}).job
        defer = app.job_manager.defer_periodic_job
        return await defer(job=job, periodic_id="minute", defer_timestamp=timestamp) is not None

    answers = [await at(60), await at(60), await at(120)]
    await drain(app)
    assert answers == [True, False, True]
    return answers


async def deletes_what_ended(app: procrastinate.App, dsn: str) -> object:
    @app.task(name="ends", queue=QUEUE)
    async def ends(well: bool, timestamp: int = 0) -> None:
        if not well:
            raise ValueError

    await ends.batch_defer_async({"well": True}, {"well": False})
    await drain(app, delete_jobs="successful")
    await ends.batch_defer_async({"well": True}, {"well": False})
    await drain(app, delete_jobs="always")
    job = ends.configure(task_kwargs={"well": True, "timestamp": 60}).job
    await app.job_manager.defer_periodic_job(job=job, periodic_id="", defer_timestamp=60)
    await drain(app)
    await value(dsn, "UPDATE procrastinate_events SET at = now() - interval '2 h'")
    await app.job_manager.delete_old_jobs(nb_hours=1)
    return len(list(await app.job_manager.list_jobs_async()))


async def takes_over_from_the_dead(app: procrastinate.App, dsn: str) -> object:
    await app.configure_task("unknown", queue=QUEUE).defer_async()
    manager = app.job_manager
    worker_id = await manager.register_worker()
    job = await manager.fetch_job(queues=None, worker_id=worker_id)
    assert job is not None and list(await manager.get_stalled_jobs()) == []
    await value(dsn, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 min'")
    assert [stalled.id for stalled in await manager.get_stalled_jobs()] == [job.id]
    assert await manager.prune_stalled_workers(30) == [worker_id]
    (stalled,) = await manager.get_stalled_jobs()
    await manager.retry_job(stalled)
    await manager.update_heartbeat(worker_id)
    return [stalled.id, await manager.get_job_status_async(job.id or 0)]


async def retries_by_hand(app: procrastinate.App, dsn: str) -> object:
    job_id = await app.configure_task("unknown", queue=QUEUE).defer_async()
    await drain(app)
    await app.job_manager.retry_job_by_id_async(job_id, retry_at=datetime.now(UTC), priority=3, lock="new")
    return await app.job_manager.get_job_status_async(job_id)


async def defers_in_the_callers_transaction(app: procrastinate.App, dsn: str) -> object:
    job = app.configure_task("unknown", queue=QUEUE).job
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await app.job_manager.defer_job_async(job, connection=conn)
        await conn.rollback()
        kept = await app.job_manager.defer_job_async(job, connection=conn)
        await conn.commit()
        await app.job_manager.cancel_job_by_id_async(kept.id or 0, connection=conn)
        await conn.rollback()
    return kept.status


CALLS = [
    runs_what_it_was_given,
    retries_and_fails,
    cancels_what_waits,
    aborts_what_runs(listen=True),
    aborts_what_runs(listen=False),
    hands_back_or_aborts_at_a_stop,
    keeps_locks,
    keeps_queueing_locks,
    waits_for_its_time,
    defers_a_tick_once,
    deletes_what_ended,
    takes_over_from_the_dead,
    retries_by_hand,
    defers_in_the_callers_transaction,
]
