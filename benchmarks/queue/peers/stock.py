"""Procrastinate as it comes: its own `App`, connector and worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import procrastinate
from marks import mark as mark_began

# Address and database come from PGHOST and the like, as for every peer here.
app = procrastinate.App(connector=procrastinate.PsycopgConnector())


@app.task(name="mark", queue="bench")
async def mark(number: int) -> None:
    mark_began(number)


async def setup() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


class Line:
    async def add(self, number: int) -> None:
        await mark.defer_async(number=number)

    async def add_many(self, many: int) -> None:
        await mark.batch_defer_async(*({"number": 0} for _ in range(many)))

    async def bare(self) -> None:
        connector: Any = app.connector
        async with connector.pool.connection() as conn:
            await conn.execute("INSERT INTO bench_bare (note) VALUES (%s)", ["x"])


@asynccontextmanager
async def opened() -> AsyncIterator[Line]:
    async with app.open_async():
        yield Line()
