"""What the storms share: putting things and their jobs, reading what became of them, and what has to be true then."""

from __future__ import annotations

import os
import statistics
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from app import db, queue
from tests.queue import storm_app

HURRY = {"STORM_HURRY": "1"}

OVER = "SELECT NOT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
# A write of a run after a later one had made the thing its own.
LATE = """
    SELECT old.thing, old.run, old.what, later.run
      FROM writes AS old
      JOIN writes AS later ON later.thing = old.thing AND later.run > old.run AND later.id < old.id"""
DOUBLES = "SELECT thing, count(*) FROM effects GROUP BY thing HAVING count(*) > 1"
PERMITS_ANEW = """
    SELECT count(*) FROM (SELECT FROM writes WHERE what = 'permit' GROUP BY thing HAVING count(*) > 1) AS again"""
TWICE_DONE = "SELECT thing FROM writes WHERE what = 'done' GROUP BY thing HAVING count(*) > 1"
# The history has a row for each turn; one that gave up because of its deaths has one more, which says so.
MISCOUNTED = """
    SELECT jobs.id, jobs.attempts, count(attempts.run), array_agg(attempts.outcome ORDER BY attempts.run)
      FROM procrastinate_jobs AS jobs
      LEFT JOIN attempts ON attempts.job_id = jobs.id
     GROUP BY jobs.id
    HAVING jobs.attempts <> count(attempts.run)
                            - count(*) FILTER (WHERE attempts.error_code = 'stops_worker')
        OR count(*) FILTER (WHERE attempts.outcome IN ('done', 'gave_up')) > 1"""
# What the job says and what its thing says.
LIES = """
    SELECT jobs.id, jobs.status, things.name, things.done_at, things.reason
      FROM procrastinate_jobs AS jobs
      JOIN things ON things.name = jobs.args ->> 'name'
     WHERE (jobs.status = 'succeeded') <> (things.done_at IS NOT NULL)
        OR (jobs.status = 'failed') <> (things.reason IS NOT NULL)"""


OLD_EFFECTS = """
    SELECT effects.thing, effects.run FROM effects
     WHERE EXISTS (SELECT FROM writes
                    WHERE writes.thing = effects.thing AND writes.run > effects.run AND writes.at < effects.at)"""


async def ask(sql: Any, params: list[object] | None = None) -> list[tuple[Any, ...]]:
    async with db.house() as conn:
        return list(await db.rows(conn, sql, params or []))


async def one(sql: Any, params: list[object] | None = None) -> Any:
    return (await ask(sql, params))[0][0]


async def true_to_the_world() -> None:
    """Nothing late, nothing twice, the history complete, and job, thing and world of one mind."""
    assert await ask(LATE) == [], "a run wrote after another had taken over"
    assert await ask(DOUBLES) == [], "the world saw it twice"
    assert await ask(TWICE_DONE) == []
    assert await ask(MISCOUNTED) == []
    assert await ask(LIES) == []


async def lay_ground(dsn: str) -> None:
    """The tables of the storm's house."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute(storm_app.TABLES)


async def put(job: queue.Job, name: str, **args: object) -> int:
    """A thing and its job, in one transaction."""
    async with db.house() as conn:
        await conn.execute("INSERT INTO things (name, kind) VALUES (%s, %s)", [name, job.name])
        return await queue.defer(conn, job, workspace_id=None, name=name, **args)  # type: ignore[arg-type]  # the job's own arguments


def yes(sql: Any, params: list[object] | None = None) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bool(await one(sql, params))

    return check


async def outcomes() -> dict[str, int]:
    return {
        str(name): int(many)
        for name, many in await ask(
            "SELECT outcome || coalesce(' ' || error_code, ''), count(*) FROM attempts GROUP BY 1 ORDER BY 1"
        )
    }


def told(name: str, **figures: object) -> None:
    words = " ".join(f"{key}={value}" for key, value in figures.items())
    print(f"\n{name}: {words} load={os.getloadavg()}")


def spread(seconds: list[float]) -> str:
    return f"p50 {statistics.median(seconds):.2f} max {max(seconds):.2f} of {len(seconds)}"
