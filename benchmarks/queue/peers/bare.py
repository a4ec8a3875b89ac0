"""What PostgreSQL itself allows: skip-locked claims in batches of 100 on one connection, no queue around them.

Variant `finish`: the claim is one statement and the outcome a second one, as for a queue whose jobs are known to be
taken while they run. Otherwise one statement takes and finishes.
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from marks import mark

BATCH = 100
TABLE = """
    CREATE TABLE bare_jobs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number integer NOT NULL, state text NOT NULL DEFAULT 'todo'
    );
    CREATE INDEX bare_jobs_todo_idx ON bare_jobs (id) WHERE state = 'todo';
    CREATE INDEX bare_jobs_doing_idx ON bare_jobs (id) WHERE state = 'doing'"""
TAKE = """
    UPDATE bare_jobs
       SET state = '{state}'
     WHERE id = ANY (ARRAY(
           SELECT id FROM bare_jobs WHERE state = 'todo' ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED))
    RETURNING id, number"""
FINISH = "UPDATE bare_jobs SET state = 'done' WHERE id = ANY (%s)"


async def setup() -> None:
    async with await psycopg.AsyncConnection.connect(autocommit=True) as conn:
        await conn.execute(TABLE)


def work(variant: str = "", **_: object) -> None:
    take = TAKE.format(state="doing" if variant == "finish" else "done")
    with psycopg.connect(autocommit=True) as conn:
        conn.execute("LISTEN bare_jobs")
        while True:
            taken = conn.execute(take, prepare=True).fetchall()
            if not taken:
                # Whatever the reason for waking up: claim again. 5 s is the usual net under a lost notice.
                select.select([conn.pgconn.socket], [], [], 5)
                conn.pgconn.consume_input()
                while conn.pgconn.notifies():
                    pass
                continue
            mark(taken[0][1], len(taken))
            if variant == "finish":
                conn.execute(FINISH, [[row[0] for row in taken]], prepare=True)


class Line:
    def __init__(self, conn: psycopg.AsyncConnection) -> None:
        self.conn = conn

    async def add(self, number: int) -> None:
        await self.conn.execute(
            "WITH put AS (INSERT INTO bare_jobs (number) VALUES (%s)) SELECT pg_notify('bare_jobs', '')",
            [number],
        )

    async def add_many(self, many: int) -> None:
        await self.conn.execute("INSERT INTO bare_jobs (number) SELECT 0 FROM generate_series(1, %s)", [many])

    async def bare(self) -> None:
        await self.conn.execute("INSERT INTO bench_bare (note) VALUES (%s)", ["x"])


@asynccontextmanager
async def opened() -> AsyncIterator[Line]:
    async with await psycopg.AsyncConnection.connect(autocommit=True) as conn:
        yield Line(conn)
