"""The traps of the queue engine (reliability, section 3): each is first shown on the engine as it comes, on its own
tables and with its own worker, and then closed on ours.

When a new version of the engine has closed one itself, the first half of its test fails: then the rule may go.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import procrastinate
import procrastinate.exceptions
import psycopg
import pytest
from procrastinate import App, JobContext
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from app import db, postgres, queue
from app.errors import Retryable
from app.queue import rescue
from tests.queue import house_app, plain_app
from tests.queue.plain_app import LISTENS, QUEUE, drain, stands, status, stock, value, working
from tests.queue.processes import workers
from tests.queue.test_faults import marked, marks
from tests.queue.test_worker import LINE, House, outcomes, put
from tests.worker import until

__all__ = ["marks"]

pytestmark = pytest.mark.anyio

LOCKED = queue.Job("test-locked", LINE, ("number",), lock="only")
HEARTBEAT_AGE = (
    "SELECT extract(epoch FROM clock_timestamp() - max(last_heartbeat)) FROM procrastinate_workers"
)


@pytest.fixture
def bare(pg: postgres.Server) -> Iterator[str]:
    """A database with the engine's own tables and nothing else."""
    with plain_app.database(pg) as dsn:
        yield dsn


@pytest.fixture
async def house(pools: str) -> House:
    house = House(pools)
    house.app.bind(LOCKED)(house._step)
    return house


@contextlib.asynccontextmanager
async def at_work(house: House) -> AsyncIterator[asyncio.Task[None]]:
    """Our worker, listening; asked to stop at the end and seen to do so."""
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())

    async def listens() -> bool:
        return bool(worker.listening)

    await until(listens)
    try:
        yield running
    finally:
        worker.stop()
        await asyncio.wait_for(running, 10)


async def once(house: House) -> None:
    await house.worker.worker(wait=False, listen_notify=False).run()


@contextlib.contextmanager
def away(pg: postgres.Server, dsn: str) -> Iterator[None]:
    """This one database ends every connection and takes none, as at a restart."""
    name = conninfo_to_dict(dsn)["dbname"]
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(pg.dsn, autocommit=True) as conn:
        conn.execute(allow.format(sql.Identifier(str(name)), sql.Literal(False)))
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            conn.execute(allow.format(sql.Identifier(str(name)), sql.Literal(True)))


async def moment(seconds: float) -> None:
    """How long a fault lasts; nothing is waited for."""
    await asyncio.sleep(seconds)


def a_job_that_waits(
    app: App, **options: object
) -> tuple[procrastinate.tasks.Task[..., None, ...], asyncio.Event]:
    go_on = asyncio.Event()

    @app.task(name="waits", queue=QUEUE, **options)  # type: ignore[call-overload]  # options are the engine's own
    async def waits() -> None:
        await go_on.wait()

    return waits, go_on


# The worker and its proof of life.


async def test_the_engines_heartbeat_ends_at_the_stop_while_its_job_still_runs(bare: str) -> None:
    async with stock(bare) as app:
        waits, go_on = a_job_that_waits(app)
        job_id = await waits.defer_async()
        async with working(app, update_heartbeat_interval=0.05, shutdown_graceful_timeout=None) as worker:
            await until(stands(bare, job_id, "doing"))
            worker.stop()

            async def looks_dead() -> bool:
                return float(await value(bare, HEARTBEAT_AGE)) > 0.5

            await until(looks_dead)
            assert await status(bare, job_id) == "doing"
            assert [
                job.id for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=0.4)
            ] == [job_id]
            go_on.set()


@pytest.mark.storm
async def test_our_heartbeat_goes_on_until_the_last_job_has_ended(house: House, pools: str) -> None:
    go_on = asyncio.Event()

    async def stubborn(number: int) -> None:
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()

    house.app.bind(queue.Job("test-stubborn", LINE, ("number",)))(stubborn)
    job_id = await put(1, queue.Job("test-stubborn", LINE, ("number",)))
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())
    await until(stands(pools, job_id, "doing"))
    worker.stop()
    stopped_at = datetime.now(UTC)
    async with at_work(house):
        for beat in range(1, 5):

            async def beats(beat: int = beat) -> bool:
                seen = await value(pools, "SELECT min(seen_at) FROM worker_leases")
                return bool(seen > stopped_at + timedelta(seconds=9 * beat))

            await until(beats, within_s=15)
        assert await status(pools, job_id) == "doing"
        go_on.set()
        await asyncio.wait_for(running, 10)
    assert await value(pools, "SELECT count(*) FROM worker_leases") == 0


async def test_the_engines_worker_goes_on_without_a_heartbeat_when_it_has_no_periodic_task(bare: str) -> None:
    async with stock(bare) as app:
        waits, go_on = a_job_that_waits(app)
        go_on.set()
        await value(bare, "ALTER FUNCTION procrastinate_update_heartbeat_v1 RENAME TO away")
        async with working(app, update_heartbeat_interval=0.05, fetch_job_polling_interval=0.05):

            async def silent() -> bool:
                return float(await value(bare, HEARTBEAT_AGE) or 0) > 0.5

            await until(silent)
            await value(bare, "ALTER FUNCTION away RENAME TO procrastinate_update_heartbeat_v1")
            job_id = await waits.defer_async()
            await until(stands(bare, job_id, "succeeded"))
            assert await silent(), "it works, and never says again that it lives"


@pytest.mark.storm
async def test_our_heartbeat_comes_back_after_it_failed(
    pg: postgres.Server, house: House, pools: str
) -> None:
    async with at_work(house):
        with away(pg, pools):
            await moment(12)
        back_at = datetime.now(UTC)

        async def beats() -> bool:
            return bool(await value(pools, "SELECT max(seen_at) FROM worker_leases") > back_at)

        await until(beats, within_s=15)


@pytest.mark.parametrize("listen", [True, False])
async def test_the_engines_worker_is_ended_by_an_outage(pg: postgres.Server, bare: str, listen: bool) -> None:
    """By a failed side task as if all were well, by a failed fetch with an error."""
    async with stock(bare, timeout=0.3) as app:

        @app.periodic(cron="0 0 1 1 *")
        @app.task(name="seldom", queue=QUEUE)
        async def seldom(timestamp: int) -> None:
            pass

        often_s = 60.0 if listen else 0.1
        options = {
            "listen_notify": listen,
            "fetch_job_polling_interval": often_s,
            "install_signal_handlers": False,
        }
        worker = app._worker(**options)
        running = asyncio.create_task(worker.run())

        async def is_up() -> bool:
            wanted = LISTENS if listen else "SELECT count(*) > 0 FROM procrastinate_workers"
            return bool(await value(bare, wanted))

        await until(is_up)
        with away(pg, bare):
            await asyncio.wait({running}, timeout=5)
            ended = running.done()
        await asyncio.wait({running}, timeout=5)
        assert running.done()
        assert ended or listen
        # At the end it signs off, which fails or not as the database is back or not.
        assert running.exception() is None or isinstance(
            running.exception(), procrastinate.exceptions.ConnectorException
        )


async def test_an_outage_does_not_end_our_worker(pg: postgres.Server, house: House, pools: str) -> None:
    async with at_work(house) as running:
        with away(pg, pools):
            await moment(1.0)
        job_id = await put_when_back(1)
        await until(stands(pools, job_id, "succeeded"))
        assert not running.done()


async def put_when_back(number: int) -> int:
    while True:
        with contextlib.suppress(Retryable):
            return await put(number)
        await asyncio.sleep(0.1)


async def test_a_worker_that_another_one_took_for_dead_works_on(house: House, pools: str, bare: str) -> None:
    async with stock(bare) as app:
        waits, _ = a_job_that_waits(app)
        worker = app._worker(install_signal_handlers=False, fetch_job_polling_interval=0.05)
        running = asyncio.create_task(worker.run())

        async def registered() -> bool:
            return bool(await app.job_manager.prune_stalled_workers(0))

        await until(registered)
        await waits.defer_async()
        with pytest.raises(procrastinate.exceptions.ConnectorException):
            await asyncio.wait_for(running, 5)

    async with at_work(house), stock(pools) as app:
        assert await app.job_manager.prune_stalled_workers(0)
        job_id = await put(1)
        await until(stands(pools, job_id, "succeeded"))


async def test_a_thread_that_does_not_end_holds_the_engines_worker_and_not_ours(
    house: House, bare: str
) -> None:
    go_on = threading.Event()
    async with stock(bare) as app:

        @app.task(name="thread", queue=QUEUE)
        def thread() -> None:
            go_on.wait(20)

        job_id = await thread.defer_async()
        worker = app._worker(install_signal_handlers=False, shutdown_graceful_timeout=0.1)
        running = asyncio.create_task(worker.run())
        await until(stands(bare, job_id, "doing"))
        worker.stop()
        await asyncio.wait({running}, timeout=2)
        assert not running.done()
        go_on.set()
        await asyncio.wait_for(running, 5)

    go_on.clear()

    async def in_a_thread(number: int) -> None:
        house.started.set()
        await asyncio.to_thread(go_on.wait, 20)

    job = queue.Job("test-thread", LINE, ("number",))
    house.app.bind(job)(in_a_thread)
    job_id = await put(1, job)
    async with at_work(house) as running:
        await asyncio.wait_for(house.started.wait(), 5)
    assert running.done() and not go_on.is_set()
    assert await outcomes(job_id) == ["handed_back"]
    go_on.set()


# The end of a run.


async def test_a_run_that_lost_its_job_cannot_end_it(house: House, pools: str, bare: str) -> None:
    async with stock(bare) as app:
        await app.configure_task("unknown", queue=QUEUE).defer_async()
        manager = app.job_manager
        old, new = await manager.register_worker(), await manager.register_worker()
        first = await manager.fetch_job(queues=None, worker_id=old)
        assert first is not None
        await manager.retry_job(first)
        second = await manager.fetch_job(queues=None, worker_id=new)
        assert second is not None and second.id == first.id
        await manager.finish_job(first, procrastinate.jobs.Status.SUCCEEDED, delete_job=False)
        assert await status(bare, first.id or 0) == "succeeded", "the old run ended the job of the new one"

    turns = [asyncio.Event(), asyncio.Event()]

    async def step(number: int) -> None:
        house.ran.append(number)
        await turns[len(house.ran) - 1].wait()

    house.app.bind(queue.Job("test-turns", LINE, ("number",)))(step)
    job_id = await put(1, queue.Job("test-turns", LINE, ("number",)))
    first_run = asyncio.create_task(once(house))
    await until(stands(pools, job_id, "doing"))
    await value(pools, "UPDATE attempts SET outcome = 'lost', ended_at = now() WHERE job_id = %s", [job_id])
    async with stock(pools) as app:
        await app.job_manager.retry_job_by_id_async(job_id, retry_at=datetime.now(UTC))
    second_run = asyncio.create_task(once(house))
    await until(stands(pools, job_id, "doing"))
    turns[0].set()
    await asyncio.wait_for(first_run, 10)
    assert (await status(pools, job_id), house.ran) == ("doing", [1, 1])
    turns[1].set()
    await asyncio.wait_for(second_run, 10)
    assert (await status(pools, job_id), (await outcomes(job_id)).count("done")) == ("succeeded", 1)


async def test_an_outcome_that_cannot_be_saved_at_once_is_saved_later(
    pg: postgres.Server, house: House, pools: str, bare: str
) -> None:
    async with stock(bare, kwargs={"options": "-c lock_timeout=50ms"}) as app:
        waits, go_on = a_job_that_waits(app)
        job_id = await waits.defer_async()
        async with working(app, concurrency=2, fetch_job_polling_interval=0.1):
            await until(stands(bare, job_id, "doing"))
            async with await psycopg.AsyncConnection.connect(bare) as conn:
                await conn.execute("SELECT FROM procrastinate_jobs WHERE id = %s FOR UPDATE", [job_id])
                go_on.set()
                await moment(0.3)
            other = await waits.defer_async()
            await until(stands(bare, other, "succeeded"))
            assert await status(bare, job_id) == "doing", "its worker lives, and nobody will ever end it"
            assert list(await app.job_manager.get_stalled_jobs()) == []

    house.block = asyncio.Event()
    job_id = await put(1)
    async with at_work(house):
        await asyncio.wait_for(house.started.wait(), 5)
        with away(pg, pools):
            house.block.set()
            await moment(0.8)
        await until(stands(pools, job_id, "succeeded"))
    assert house.ran == [1]


async def test_a_retry_beside_a_waiting_twin_ends_this_job_and_the_twin_does_the_work(
    house: House, pools: str, bare: str
) -> None:
    async with stock(bare) as app:

        @app.task(name="single", queue=QUEUE, queueing_lock="one", retry=3)
        async def single() -> None:
            if not await has_twin():
                await single.defer_async()
                raise ValueError

        async def has_twin() -> bool:
            return bool(await value(bare, "SELECT count(*) = 2 FROM procrastinate_jobs"))

        job_id = await single.defer_async()
        async with working(app, fetch_job_polling_interval=60, listen_notify=False, concurrency=1):
            await until(stands(bare, job_id, "doing"))
            await until(has_twin)
            await until(stands(bare, job_id + 1, "succeeded"))
        assert await status(bare, job_id) == "doing", "the unique index refused its return to the line"

    async def twin_then_fail(number: int) -> None:
        house.ran.append(number)
        if len(house.ran) == 1:
            await put(7, again)
            raise Retryable("away")

    again = queue.Job("test-again", LINE, ("number",), once="again-{number}")
    house.app.bind(again)(twin_then_fail)
    job_id = await put(7, again)
    await house.worker.run_until_idle(ahead=True)
    assert house.ran == [7, 7]
    assert (
        await value(pools, "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')") == 0
    )
    assert await status(pools, job_id) == "aborted"


async def test_a_cancel_of_a_job_with_tries_left_is_a_cancel(house: House, pools: str, bare: str) -> None:
    async with stock(bare) as app:

        @app.task(name="cancelled", queue=QUEUE, retry=3, pass_context=True)
        async def cancelled(context: JobContext) -> None:
            await app.job_manager.cancel_job_by_id_async(context.job.id or 0, abort=True)
            raise ValueError

        job_id = await cancelled.defer_async()
        await drain(app, abort_job_polling_interval=60)
        assert await status(bare, job_id) == "failed"
        assert await value(bare, "SELECT abort_requested FROM procrastinate_jobs")
        with pytest.raises(procrastinate.exceptions.ConnectorException) as refused:
            await app.job_manager.retry_job_by_id_async(job_id, retry_at=datetime.now(UTC))
        assert isinstance(refused.value.__cause__, psycopg.errors.CheckViolation)

    house.block = asyncio.Event()
    job_id = await put(1)
    async with at_work(house):
        await asyncio.wait_for(house.started.wait(), 5)
        async with db.house() as conn:
            await queue.cancel(conn, job_id, "not wanted")
        await until(stands(pools, job_id, "aborted"))
    async with db.house() as conn:
        assert (await queue.get(conn, job_id)).shown == "cancelled"
        await queue.retry(conn, job_id)
    house.block = None
    await once(house)
    assert await status(pools, job_id) == "succeeded"


@pytest.mark.parametrize(
    "retry", [False, procrastinate.RetryStrategy(max_attempts=3, retry_exceptions=[ValueError])]
)
async def test_a_stop_of_the_worker_is_no_end_of_its_job(
    house: House, pools: str, bare: str, retry: object
) -> None:
    async with stock(bare) as app:
        waits, _ = a_job_that_waits(app, retry=retry)
        job_id = await waits.defer_async()
        async with working(app, shutdown_graceful_timeout=0.1):
            await until(stands(bare, job_id, "doing"))
        assert await status(bare, job_id) == "aborted", "it never runs again"

    house.block = asyncio.Event()
    job_id = await put(1)
    async with at_work(house):
        await asyncio.wait_for(house.started.wait(), 5)
    assert await outcomes(job_id) == ["handed_back"]
    house.block.set()
    await once(house)
    assert await status(pools, job_id) == "succeeded"


async def test_a_job_that_kills_its_worker_is_given_up(marks: str, bare: str, tmp_path: Path) -> None:
    async with stock(bare) as app:
        waits, _ = a_job_that_waits(app, retry=procrastinate.RetryStrategy(max_attempts=2))
        job_id = await waits.defer_async()
        manager = app.job_manager
        for _ in range(6):
            worker_id = await manager.register_worker()
            assert await manager.fetch_job(queues=None, worker_id=worker_id) is not None
            await manager.unregister_worker(worker_id)
            for job in await manager.get_stalled_jobs():
                await manager.retry_job(job)
        assert await status(bare, job_id) == "todo"
        assert await value(bare, "SELECT attempts FROM procrastinate_jobs") == 6, "of two allowed"

    async with db.house() as conn:
        job_id = await queue.defer(conn, house_app.POISON, workspace_id=None, name="poison")
    for _ in range(rescue.MOST_RESCUES + 2):
        with workers(1, marks, tmp_path) as (worker,):

            async def over() -> bool:
                return worker.process.poll() is not None or await status(marks, job_id) == "failed"

            await until(over, within_s=30)
        if await status(marks, job_id) == "failed":
            break
    assert await status(marks, job_id) == "failed"
    assert (await marked("poison")).count("started") <= rescue.MOST_RESCUES


async def test_a_task_that_nobody_knows_yet_waits_for_the_deploy(house: House, pools: str, bare: str) -> None:
    async with stock(bare) as app:
        job_id = await app.configure_task("from a newer deploy", queue=QUEUE).defer_async()
        await drain(app)
        assert await status(bare, job_id) == "failed"

    job_id = await put(1, queue.Job("from a newer deploy", LINE, ("number",)))
    await once(house)
    assert (await status(pools, job_id), await outcomes(job_id)) == ("todo", ["waiting"])
