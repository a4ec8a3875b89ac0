"""What becomes of jobs when workers die, freeze or are told to stop, and when the database goes away."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from app import db, migrate, postgres, queue
from app.queue import rescue
from tests.queue import house_app
from tests.queue.processes import Process, workers
from tests.worker import until

pytestmark = pytest.mark.anyio

MARKS = """
CREATE TABLE marks (id bigint GENERATED ALWAYS AS IDENTITY, name text, what text);
GRANT ALL ON marks TO PUBLIC"""


@pytest.fixture
async def marks(pools: str) -> str:
    async with await psycopg.AsyncConnection.connect(pools, autocommit=True) as conn:
        await conn.execute(MARKS)
    return pools


async def put(job: queue.Job, **args: object) -> int:
    async with db.house() as conn:
        return await queue.defer(conn, job, workspace_id=None, **args)  # type: ignore[arg-type]  # the job's own arguments


async def marked(name: str) -> list[str]:
    async with db.house() as conn:
        return [
            row[0]
            for row in await db.rows(conn, "SELECT what FROM marks WHERE name = %s ORDER BY id", [name])
        ]


async def outcomes(job_id: int) -> list[str | None]:
    async with db.house() as conn:
        return [attempt.outcome for attempt in await queue.attempts(conn, job_id)][::-1]


async def shown(job_id: int) -> str:
    async with db.house() as conn:
        return (await queue.get(conn, job_id)).shown


def running(name: str) -> object:
    async def check() -> bool:
        return "started" in await marked(name)

    return check


async def test_a_killed_workers_job_is_done_by_another_within_seconds(marks: str, tmp_path: Path) -> None:
    with workers(1, marks, tmp_path) as (victim,):
        job_id = await put(house_app.LINGER, name="a", seconds=1.0)
        await until(running("a"))
        victim.send(signal.SIGKILL)
        victim.process.wait()
        began = time.monotonic()
        with workers(1, marks, tmp_path):

            async def done() -> bool:
                return await shown(job_id) == "done"

            await until(done, within_s=45)
    assert time.monotonic() - began < 30, "a death on the same machine is known for certain"
    assert await outcomes(job_id) == ["lost", "done"]
    assert await marked("a") == ["started", "started", "done"]


async def test_sigterm_hands_work_back_and_ends_within_nine_seconds(marks: str, tmp_path: Path) -> None:
    with workers(1, marks, tmp_path) as (worker,):
        job_id = await put(house_app.LINGER, name="a", seconds=60)
        await until(running("a"))
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        code = worker.process.wait(timeout=15)
        assert (code, time.monotonic() - began < 9) == (0, True)
    assert await outcomes(job_id) == ["handed_back"]
    assert await shown(job_id) == "waiting"
    async with db.house() as conn:
        assert (await queue.get(conn, job_id)).tries == 0
        assert await queue.workers(conn) == []


async def test_a_job_that_kills_its_workers_ends_with_a_reason_and_harms_no_other(
    marks: str, tmp_path: Path
) -> None:
    poison = await put(house_app.POISON, name="poison")
    rounds = 0
    while await shown(poison) in ("waiting", "running") and rounds < rescue.MOST_RESCUES + 3:
        rounds += 1
        with workers(1, marks, tmp_path) as (worker,):
            if rounds == 1:
                other = await put(house_app.LINGER, name="other", seconds=0.2)

            async def over(worker: Process = worker) -> bool:
                return worker.process.poll() is not None or await shown(poison) == "failed"

            await until(over, within_s=30)
    assert await shown(poison) == "failed"
    assert (await marked("poison")).count("started") == rescue.MOST_RESCUES
    assert "gave up: stops_worker" in await marked("poison")
    with workers(1, marks, tmp_path):

        async def done() -> bool:
            return await shown(other) == "done"

        await until(done, within_s=30)


async def test_a_run_that_was_taken_over_saves_no_outcome(marks: str, tmp_path: Path) -> None:
    job_id = await put(house_app.LINGER, name="a", seconds=1.5)
    with workers(1, marks, tmp_path) as (worker,):
        await until(running("a"))
        async with db.house() as conn:
            await conn.execute(
                "UPDATE procrastinate_jobs SET attempts = attempts + 1 WHERE id = %s", [job_id]
            )

        async def finished() -> bool:
            return "taken over" in worker.said()

        await until(finished, within_s=10)
    async with db.house() as conn:
        assert (
            await db.value(conn, "SELECT status::text FROM procrastinate_jobs WHERE id = %s", [job_id])
            == "doing"
        )


@pytest.fixture
async def own_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[postgres.Server]:
    """A server of this test alone, to be stopped and started."""
    home = Path("/tmp") / f"backlot-outage-{time.monotonic_ns()}"
    home.mkdir(mode=0o711)
    # Durable, unlike the server of the other tests: what was committed must survive its immediate stop.
    server = postgres.start(home)
    await migrate.run(server.dsn)
    async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as conn:
        await conn.execute(MARKS)
    await db.open_pools(server.dsn, pages=True)
    yield server
    await db.close_pools()
    server.release()


@pytest.mark.parametrize(
    "away_s", [2, pytest.param(15, marks=pytest.mark.storm), pytest.param(40, marks=pytest.mark.storm)]
)
async def test_the_database_may_vanish_and_the_same_process_goes_on(
    own_server: postgres.Server, tmp_path: Path, away_s: int
) -> None:
    with workers(1, own_server.dsn, tmp_path) as (worker,):
        before = await put(house_app.LINGER, name="before", seconds=1.0)
        await until(running("before"))
        own_server.stop("immediate")
        time.sleep(away_s)
        own_server.restart()
        back = time.monotonic()

        async def put_after() -> bool:
            try:
                await put(house_app.LINGER, name="after", seconds=0.0)
            except Exception:
                return False
            return True

        await until(put_after, within_s=10)
        await until(running("after"), within_s=10)
        assert time.monotonic() - back < 5
        assert worker.process.poll() is None

        async def done() -> bool:
            return await shown(before) == "done"

        await until(done, within_s=60)
