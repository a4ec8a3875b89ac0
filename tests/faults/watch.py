"""What a test of faults puts in line and looks at afterwards, past the product's own pools where they are away."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from app import db, queue
from app.errors import HouseError
from tests.queue import house_app

MARKS = """
CREATE TABLE marks (id bigint GENERATED ALWAYS AS IDENTITY, name text, what text,
                    at timestamptz NOT NULL DEFAULT clock_timestamp());
GRANT ALL ON marks TO PUBLIC"""


async def put(name: str, seconds: float = 0.0) -> int:
    async with db.house() as conn:
        return await queue.defer(conn, house_app.LINGER, workspace_id=None, name=name, seconds=seconds)


async def put_at_last(name: str, seconds: float = 0.0, *, within_s: float = 60) -> int:
    """Put it, as often as it takes; what got no answer may be in line twice, under one name."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                return await put(name, seconds)
            except HouseError:
                await asyncio.sleep(0.05)


async def marked(name: str, what: str = "done") -> bool:
    """Whether that mark was made; False also while the database is away."""
    try:
        async with db.house() as conn:
            return bool(
                await db.value(conn, "SELECT count(*) FROM marks WHERE name = %s AND what = %s", [name, what])
            )
    except HouseError:
        return False


async def first_done_s(since: datetime, *, within_s: float) -> float:
    """Seconds from then to the first job that a worker ended; jobs wait in line, so no certain one says it."""
    async with asyncio.timeout(within_s):
        while True:
            with contextlib.suppress(HouseError):
                async with db.house() as conn:
                    at = await db.value(
                        conn, "SELECT min(at) FROM marks WHERE what = 'done' AND at > %s", [since]
                    )
                if at is not None:
                    return float((at - since).total_seconds())
            await asyncio.sleep(0.05)


async def all_ended() -> bool:
    """Whether no job of the test's line is in line or running any more."""
    try:
        async with db.house() as conn:
            return not await db.value(
                conn,
                """
                SELECT count(*)
                  FROM procrastinate_jobs
                 WHERE queue_name = 'test-line' AND status IN ('todo', 'doing')""",
            )
    except HouseError:
        return False


@dataclass
class Found:
    """How the jobs of the test's line ended: by state, by outcome of their runs, and how often each was done."""

    states: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    done: Counter[int] = field(default_factory=Counter)


async def found() -> Found:
    async with db.house() as conn:
        states = await db.rows(
            conn,
            "SELECT status::text, count(*) FROM procrastinate_jobs WHERE queue_name = 'test-line' GROUP BY 1",
        )
        runs = await db.rows(conn, "SELECT job_id, outcome FROM attempts WHERE queue = 'test-line'")
    return Found(
        Counter(dict(states)),
        Counter(outcome for _, outcome in runs),
        Counter(job_id for job_id, outcome in runs if outcome == "done"),
    )


class Stream:
    """A client that puts jobs as fast as it is told, and remembers which puts were acknowledged: id by name."""

    def __init__(self, every_s: float, seconds: float = 0.0) -> None:
        self.every_s, self.seconds = every_s, seconds
        self.acknowledged: dict[str, int] = {}
        self.unanswered = 0
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Stream:
        self._task = asyncio.create_task(self._put_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task

    async def _put_all(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                self.acknowledged[f"job {number}"] = await put(f"job {number}", self.seconds)
            except HouseError:
                self.unanswered += 1
            await asyncio.sleep(self.every_s)
