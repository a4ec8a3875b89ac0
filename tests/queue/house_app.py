"""A tiny house for tests that need workers as processes: jobs that write into the table `marks` and linger."""

from __future__ import annotations

import asyncio
import os
import signal

from app import db, queue

LINE = queue.Queue("test-line", together=4, tries=3, first_wait_s=0)
LINGER = queue.Job("linger", LINE, ("name", "seconds"))
POISON = queue.Job("poison", LINE, ("name",))

procrastinate_app = queue.HouseApp()


async def gave_up(conn: db.Conn, job_id: int, name: str, reason: str, code: str, seconds: float = 0) -> None:
    await conn.execute("INSERT INTO marks (name, what) VALUES (%s, %s)", [name, f"gave up: {code}"])


async def mark(name: str, what: str) -> None:
    async with db.house() as conn:
        await conn.execute("INSERT INTO marks (name, what) VALUES (%s, %s)", [name, what])


@procrastinate_app.bind(LINGER, gave_up=gave_up)
async def linger(name: str, seconds: float) -> None:
    await mark(name, "started")
    await asyncio.sleep(seconds)
    await mark(name, "done")


@procrastinate_app.bind(POISON, gave_up=gave_up)
async def poison(name: str) -> None:
    await mark(name, "started")
    os.kill(os.getpid(), signal.SIGKILL)
