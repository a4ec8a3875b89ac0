"""Runs the real worker inside a test until nothing is left to do."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from app import db, queue


class TestWorker:
    """`run_until_idle` runs what is ready; with `ahead=True` scheduled jobs are brought forward until none is left."""

    __test__ = False

    def __init__(self, app: queue.HouseApp, dsn: str) -> None:
        self.app = app
        self.place = db.Place(dsn, dsn, False)

    def worker(self, **options: Any) -> Any:
        return self.app.make_worker(self.place, install_signal_handlers=False, **options)

    async def run_until_idle(self, *, ahead: bool = False, most_rounds: int = 50) -> None:
        for _ in range(most_rounds):
            began = await self._clock()
            await self.worker(wait=False, listen_notify=False).run()
            if not ahead or not await self._bring_forward(began):
                return
        raise AssertionError(f"still not idle after {most_rounds} rounds")

    async def _clock(self) -> datetime:
        async with db.house() as conn:
            return await db.value(conn, "SELECT now()")

    async def _bring_forward(self, began: datetime) -> int:
        """Also counts what became due while the round went on: the round may have looked just before."""
        async with db.house() as conn:
            return await db.run(
                conn,
                "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo' AND scheduled_at > %s",
                [began],
            )


async def until(condition: Any, *, within_s: float = 10.0) -> None:
    """Wait for something that another process or task brings about; fails after `within_s`."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.02)
