"""Jobs that harm their workers: poison, a blocked event loop, too little memory. They end with a reason, and alone.

Small sizes are part of the gate, full ones wait for `--storm`; `-s` shows the figures (reliability.md, Q11, F13, F26).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app import db, queue
from app.queue import rescue
from tests.queue import storm_app
from tests.queue.processes import crew, descendants, encodes
from tests.queue.storms import HURRY, OVER, ask, lay_ground, one, outcomes, put, told, true_to_the_world, yes
from tests.worker import until

pytestmark = pytest.mark.anyio

full = pytest.mark.storm


@pytest.fixture
async def ground(pools: str) -> str:
    await lay_ground(pools)
    return pools


# Q11: poison


async def test_a_poison_job_harms_no_other(ground: str, tmp_path: Path) -> None:
    await poisoned(ground, tmp_path, poisons=1, innocents=20)


@full
async def test_five_poison_jobs_among_two_hundred_harm_no_other(ground: str, tmp_path: Path) -> None:
    await poisoned(ground, tmp_path, poisons=5, innocents=200)


async def poisoned(dsn: str, home: Path, *, poisons: int, innocents: int) -> None:
    every = innocents // poisons
    for number in range(innocents):
        if number % every == every // 2:
            await put(storm_app.POISON, f"poison {number}")
        await put(storm_app.LONG, f"innocent {number}", seconds=0.5)
    began = time.monotonic()
    with crew(dsn, home) as ours:
        ours.start_many(2)
        keeping = asyncio.create_task(ours.keep())
        with contextlib.suppress(TimeoutError):
            await until(yes(OVER), within_s=200)
        keeping.cancel()
    deaths = dict(
        await ask(
            "SELECT args ->> 'name', count(*) FROM attempts JOIN procrastinate_jobs ON id = job_id"
            " WHERE task = 'poison' AND outcome = 'lost' GROUP BY 1"
        )
    )
    told(
        "Q11", poisons=poisons, innocents=innocents, seconds=round(time.monotonic() - began, 1),
        exits=dict(Counter(ours.exits)), deaths_of_each=deaths, outcomes=await outcomes(),
        innocents_hit=await one("SELECT count(*) FROM things WHERE kind = 'long' AND claims > 1"),
        most_runs_of_an_innocent=await one("SELECT max(claims) FROM things WHERE kind = 'long'"),
    )  # fmt: skip
    ends = await ask("SELECT DISTINCT split_part(reason, ':', 1) FROM things WHERE kind = 'poison'")
    assert ends == [("stops_worker",)]
    assert await one("SELECT count(*) FROM things WHERE kind = 'long' AND done_at IS NOT NULL") == innocents
    assert max(deaths.values()) <= rescue.MOST_RESCUES
    await true_to_the_world()


# Suspects: jobs whose worker has died once


async def suspect(name: str, job: queue.Job = storm_app.SHORT, rescues: int = 1) -> None:
    """A job that waits and whose worker has died so often."""
    async with db.house() as conn:
        await conn.execute("INSERT INTO things (name, kind) VALUES (%s, %s)", [name, job.name])
        job_id = await queue.defer(conn, job, workspace_id=None, name=name)
        await conn.execute("UPDATE job_records SET rescues = %s WHERE job_id = %s", [rescues, job_id])


async def test_who_waits_behind_a_poison_job_does_not_die_with_it(ground: str, tmp_path: Path) -> None:
    await suspect("poison", storm_app.POISON)
    for number in range(3):
        # One more death and they are given up.
        await suspect(f"innocent {number}", rescues=rescue.MOST_RESCUES - 1)
    with crew(ground, tmp_path) as ours:
        ours.start_many(1)
        keeping = asyncio.create_task(ours.keep())
        await until(yes(OVER), within_s=18)
        keeping.cancel()
    assert await ask("SELECT name FROM things WHERE done_at IS NULL") == [("poison",)]
    await true_to_the_world()


async def test_a_suspect_does_not_wait_for_the_end_of_long_work(ground: str, tmp_path: Path) -> None:
    with crew(ground, tmp_path) as ours:
        ours.start("busy")
        await put(storm_app.LONG, "long", seconds=60)
        await until(yes("SELECT claims = 1 FROM things WHERE name = 'long'"), within_s=15)
        await suspect("suspect")
        await put(storm_app.SHORT, "innocent")
        began = time.monotonic()
        await until(yes("SELECT count(*) = 2 FROM things WHERE done_at IS NOT NULL"), within_s=18)
    told("suspect beside long work", waited_s=round(time.monotonic() - began, 1))


async def test_a_suspect_that_arrives_at_a_stopping_worker_goes_back(ground: str, tmp_path: Path) -> None:
    with crew(ground, tmp_path) as ours:
        worker = ours.start("worker")
        await until(yes("SELECT count(*) = 1 FROM worker_leases"), within_s=15)
        async with await psycopg.AsyncConnection.connect(ground) as holder:
            # The claim waits for this row; meanwhile the worker is told to stop.
            await holder.execute("INSERT INTO queue_limits (queue, together) VALUES ('storm', 10)")
            await holder.commit()
            await holder.execute("SELECT FROM queue_limits FOR UPDATE")
            await suspect("suspect")
            await until(claiming(holder), within_s=10)
            worker.send(signal.SIGTERM)

            async def heard() -> bool:
                return "asked to stop" in worker.said()

            await until(heard)
            await holder.rollback()
        began = time.monotonic()
        code = await asyncio.to_thread(worker.process.wait, 20)
    assert (code, time.monotonic() - began < 5) == (0, True)
    assert await ask("SELECT status::text, attempts FROM procrastinate_jobs") == [("todo", 0)]


def claiming(holder: psycopg.AsyncConnection[Any]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        await holder.execute("SELECT pg_stat_clear_snapshot()")
        found = await holder.execute(
            """
            SELECT EXISTS (SELECT FROM pg_stat_activity
                            WHERE application_name = 'backlot pump' AND wait_event_type = 'Lock'
                              AND datname = current_database())"""
        )
        row = await found.fetchone()
        return bool(row and row[0])

    return check


# F13: the event loop stands still


async def test_a_job_that_stands_on_the_loop_ends_its_worker_and_no_other_job(
    ground: str, tmp_path: Path
) -> None:
    await blocked(ground, tmp_path, for_ever=False, seconds=7.0, exit_s=(3.5, 6.5), hurry=True)


@full
async def test_a_job_that_stands_on_the_loop_for_35_s(ground: str, tmp_path: Path) -> None:
    await blocked(ground, tmp_path, for_ever=True, seconds=35.0, exit_s=(24.0, 28.0), hurry=False)


async def blocked(
    dsn: str, home: Path, *, for_ever: bool, seconds: float, exit_s: tuple[float, float], hurry: bool
) -> None:
    with crew(dsn, home, **(HURRY if hurry else {})) as ours:
        ours.start_many(2)
        await until(yes("SELECT count(*) = 2 FROM worker_leases"), within_s=20)
        keeping = asyncio.create_task(ours.keep())
        await put(storm_app.BLOCK, "once", seconds=seconds, times=1)
        if for_ever:
            await put(storm_app.BLOCK, "always", seconds=seconds, times=1000)
        for number in range(20):
            await put(storm_app.LONG, f"innocent {number}", seconds=0.5)
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await until(yes(OVER), within_s=300)
        keeping.cancel()
        said = ours.said()
    stood = await ask(
        """
        SELECT extract(epoch FROM ended_at - started_at)::float8 FROM attempts
         WHERE task = 'block' AND outcome = 'lost' ORDER BY run"""
    )
    told(
        "F13", seconds=round(time.monotonic() - began, 1), exits=dict(Counter(ours.exits)),
        outcomes=await outcomes(), from_start_to_rescue_s=[round(row[0], 1) for row in stood],
        said=said.count("the event loop stood still"),
    )  # fmt: skip
    assert set(ours.exits) == {70}
    assert said.count("the event loop stood still") == len(ours.exits)
    assert all(exit_s[0] <= row[0] for row in stood)
    assert await one("SELECT done_at IS NOT NULL FROM things WHERE name = 'once'")
    if for_ever:
        assert str(await one("SELECT reason FROM things WHERE name = 'always'")).startswith("stops_worker")
    assert await one("SELECT count(*) FROM things WHERE kind = 'long' AND done_at IS NOT NULL") == 20
    await true_to_the_world()


# F26: memory


async def test_a_job_that_gets_no_memory_fails_and_its_worker_lives(ground: str, tmp_path: Path) -> None:
    with crew(ground, tmp_path) as ours:
        worker = ours.start("worker", before=["prlimit", f"--as={3 * 1024 * storm_app.MIB}"])
        greedy = await put(storm_app.GREEDY, "greedy", mib=4096)
        await put(storm_app.SHORT, "modest")
        await until(yes(OVER), within_s=30)
        assert not worker.gone
    assert await one("SELECT done_at IS NOT NULL FROM things WHERE name = 'modest'")
    rows = await ask(
        "SELECT outcome, error_code, reason FROM attempts WHERE job_id = %s ORDER BY run", [greedy]
    )
    told("F26 worker's memory", rows=rows)
    assert [row[0] for row in rows] == ["failed", "failed", "failed", "gave_up"]


async def test_a_child_killed_for_memory_is_one_failed_try(ground: str, tmp_path: Path) -> None:
    with crew(ground, tmp_path) as ours:
        worker = ours.start("worker")
        job_id = await put(storm_app.ENCODE, "film")
        await until(encodes(worker, 1), within_s=20)
        for pid in descendants(worker.pid, of=b"film.mp4"):
            os.kill(pid, signal.SIGKILL)
        await until(
            yes("SELECT EXISTS (SELECT FROM attempts WHERE job_id = %s AND outcome = 'failed')", [job_id]),
            within_s=10,
        )
        await until(encodes(worker, 1), within_s=20)
        assert not worker.gone
    rows = await ask(
        "SELECT outcome, error_code, reason FROM attempts WHERE job_id = %s ORDER BY run", [job_id]
    )
    told("F26 child killed", rows=rows)
    assert rows[0][:2] == ("failed", "killed")
