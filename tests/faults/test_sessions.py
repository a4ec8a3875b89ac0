"""Every session of the database is ended again and again while clients put jobs and workers run them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from app import db, postgres
from tests.faults.watch import Stream, all_ended, first_done_s, found, marked, put_at_last
from tests.queue.processes import workers
from tests.worker import until

pytestmark = pytest.mark.anyio

EVERY_S = 0.15


async def ask(pool: AsyncConnectionPool | None = None) -> None:
    """One short transaction that keeps its line long enough for others to need lines of their own."""
    if pool is None:
        async with db.house() as conn:
            await conn.execute("SELECT pg_sleep(0.05)")
        return
    async with pool.connection() as bare:
        await bare.execute("SELECT pg_sleep(0.05)")


async def test_the_bare_pool_hands_out_sessions_that_were_ended_while_nobody_used_them(
    server: postgres.Server,
) -> None:
    async with AsyncConnectionPool(server.dsn, min_size=4, open=False) as pool:
        await pool.wait()
        await end_all(server.dsn, lasting_s=0.01)
        failed = await asyncio.gather(*(ask(pool) for _ in range(4)), return_exceptions=True)
    assert any(isinstance(error, psycopg.OperationalError) for error in failed)


async def test_nobody_meets_a_session_that_was_ended_while_nobody_used_it(server: postgres.Server) -> None:
    await asyncio.gather(*(ask() for _ in range(4)))
    assert await end_all(server.dsn, lasting_s=0.01) >= 4
    await asyncio.gather(*(ask() for _ in range(4)))


async def end_all(dsn: str, lasting_s: float) -> int:
    """End every other session of this database each 150 ms; gives how many were ended."""
    ended = 0
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        until_s = time.monotonic() + lasting_s
        while time.monotonic() < until_s:
            cursor = await conn.execute(
                """
                SELECT count(pg_terminate_backend(pid))
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
            row = await cursor.fetchone()
            assert row is not None
            ended += row[0]
            await asyncio.sleep(EVERY_S)
    return ended


async def survive(server: postgres.Server, home: Path, *, lasting_s: float, jobs_every_s: float) -> None:
    with workers(2, server.dsn, home) as both:
        await put_at_last("first")

        async def warm() -> bool:
            return await marked("first")

        await until(warm, within_s=20)
        async with Stream(jobs_every_s, seconds=0.05) as stream:
            ended = await end_all(server.dsn, lasting_s)
        over_at = datetime.now(UTC)
        await put_at_last("after")
        back_s = await first_done_s(over_at, within_s=60)
        await until(all_ended, within_s=120)
        settled_s = (datetime.now(UTC) - over_at).total_seconds()
        assert [one.process.poll() for one in both] == [None, None], "a worker process ended"
    end = await found()
    print(f"sessions ended={ended} acknowledged={len(stream.acknowledged)} unanswered={stream.unanswered} "
          f"the next job done after {back_s:.2f} s, all after {settled_s:.1f} s "
          f"states={dict(end.states)} outcomes={dict(end.outcomes)}")  # fmt: skip
    assert ended > lasting_s
    assert set(end.states) == {"succeeded"}
    assert set(stream.acknowledged.values()) <= set(end.done), "an acknowledged job did not run"
    assert set(end.done.values()) == {1}, "a job was saved as done twice"
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'") == 0
    assert back_s < 5


async def test_every_job_runs_although_every_session_is_ended_each_150_ms(
    server: postgres.Server, tmp_path: Path
) -> None:
    await survive(server, tmp_path, lasting_s=5, jobs_every_s=0.05)


@pytest.mark.storm
async def test_every_job_runs_although_every_session_is_ended_each_150_ms_for_a_minute(
    server: postgres.Server, tmp_path: Path
) -> None:
    await survive(server, tmp_path, lasting_s=60, jobs_every_s=0.05)
