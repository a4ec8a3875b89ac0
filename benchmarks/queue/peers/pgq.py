"""PgQueuer over asyncpg, its first driver, on uvloop, as its own command line runs it.

That command line itself (`pgq run`, 1.6.0) ends with an AttributeError on its log level under the typer of the day.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvloop
from marks import mark as mark_began
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

PAYLOAD = b"0"


async def setup() -> None:
    conn = await asyncpg.connect()
    await Queries.from_asyncpg_connection(conn).install()
    await conn.close()


async def run(batch_size: int) -> None:
    pgq = PgQueuer.from_asyncpg_connection(await asyncpg.connect())

    @pgq.entrypoint("mark")
    async def mark(job: Job) -> None:
        mark_began(int(job.payload or b"0"))

    await pgq.run(batch_size=batch_size)


def work(concurrency: int, **_: object) -> None:
    # It has no bound on what runs at once below twice its batch, and none by default; the batch is what it is given.
    uvloop.run(run(concurrency))


class Line:
    def __init__(self, conn: asyncpg.Connection) -> None:
        self.conn = conn
        self.queries = Queries.from_asyncpg_connection(conn)

    async def add(self, number: int) -> None:
        await self.queries.enqueue("mark", str(number).encode())

    async def add_many(self, many: int) -> None:
        await self.queries.enqueue(["mark"] * many, [PAYLOAD] * many, [0] * many)

    async def bare(self) -> None:
        await self.conn.execute("INSERT INTO bench_bare (note) VALUES ($1)", "x")


@asynccontextmanager
async def opened() -> AsyncIterator[Line]:
    conn = await asyncpg.connect()
    yield Line(conn)
    await conn.close()
