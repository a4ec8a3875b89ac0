"""Backlot: a house with one job; its worker is `procrastinate --app=house.app worker`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from marks import mark as mark_began

from app import db, migrate, queue

# How many run at once is set by QUEUE_BENCH_TOGETHER, as an operator would.
LINE = queue.Queue("bench", together=10)
MARK = queue.Job("mark", LINE, ("number",))
app = queue.HouseApp()


@app.bind(MARK)
async def mark(number: int) -> None:
    mark_began(number)


async def setup() -> None:
    await migrate.run(os.environ["DATABASE_URL"])


class Line:
    async def add(self, number: int) -> None:
        async with db.house() as conn:
            await queue.defer(conn, MARK, workspace_id=None, number=number)

    async def add_many(self, many: int) -> None:
        async with db.house() as conn:
            # Older checkouts have no bulk call; the figure is then that of many `defer` in one transaction.
            defer_many: Any = getattr(queue, "defer_many", None)
            if defer_many is not None:
                await defer_many(conn, MARK, workspace_id=None, args=[{"number": 0}] * many)
                return
            for _ in range(many):
                await queue.defer(conn, MARK, workspace_id=None, number=0)

    async def bare(self) -> None:
        async with db.house() as conn:
            await conn.execute("INSERT INTO bench_bare (note) VALUES (%s)", ["x"])


@asynccontextmanager
async def opened() -> AsyncIterator[Line]:
    await db.open_pools(os.environ["DATABASE_URL"], pages=False)
    yield Line()
    await db.close_pools()
