"""The engine's `App`, bound to our worker, our connector and the one database of the house."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import procrastinate
import psycopg_pool

from app import config, db, log
from app.queue import claim, outcome, policy
from app.queue.worker import HouseWorker


class Connector(procrastinate.PsycopgConnector):
    """Finds the database when it is opened, not when it is imported, and does not wait for it to answer."""

    async def open_async(self, pool: psycopg_pool.AsyncConnectionPool[Any] | None = None) -> None:
        if self._async_pool:
            return
        if pool is None:
            place = await asyncio.to_thread(db.locate)
            pool = psycopg_pool.AsyncConnectionPool(
                place.direct_dsn,
                # The engine's own statements (periodic ticks, its shell) act for the house, each in its own commit.
                kwargs={
                    **db.network(place.direct_dsn),
                    "autocommit": True,
                    "options": "-c app.house=on",
                    "application_name": "backlot engine",
                },
                min_size=0,
                max_size=2,
                timeout=10,
                open=False,
            )
        self._async_pool = pool
        await pool.open(wait=False)

    async def close_async(self) -> None:
        if self._async_pool is not None:
            await self._async_pool.close()
            self._async_pool = None
        await db.close_pools()


class HouseApp(procrastinate.App):
    """The engine's app. Its stock command line runs our worker, because `_worker` is the one place it asks."""

    def __init__(
        self, import_paths: list[str] | None = None, at_start: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """`at_start` is done once by each worker that starts, beside its first jobs."""
        super().__init__(connector=Connector(), import_paths=import_paths)
        self.at_start = at_start
        self.bound: dict[str, claim.Bound] = {}
        self.running_worker: HouseWorker | None = None

    def bind(
        self,
        job: policy.Job,
        *,
        gave_up: outcome.GaveUp | None = None,
        cron: str | None = None,
        idle_s: int | None = None,
    ) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
        """Decorator: this function does `job`; `gave_up(conn, job_id=, **args, reason=, code=)` runs when no
        try is left. With `cron` it is put at each tick; while nothing else moves in the house, at one in `idle_s`.
        """

        def keep(step: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
            self.bound[job.name] = claim.Bound(job, step, gave_up, idle_s)
            task = self.task(
                name=job.name,
                queue=job.queue.name,
                priority=policy.to_engine(job.priority),
                queueing_lock=job.once if job.once and "{" not in job.once else None,
            )(step)
            if cron is not None:
                self.periodic(cron=cron)(task)
            return step

        return keep

    def _worker(self, **options: Any) -> HouseWorker:
        settings = config.get()
        if not settings.queue_enabled:
            raise SystemExit("The queue is switched off (QUEUE_ENABLED=false): this worker does not start.")
        log.setup(settings)
        self.running_worker = self.make_worker(db.locate(), **{**self.worker_defaults, **options})
        return self.running_worker

    def make_worker(self, place: db.Place, **options: Any) -> HouseWorker:
        """A worker of this app on the database at `place`; options are the engine's own."""
        return HouseWorker(app=self, bound=self.bound, place=place, at_start=self.at_start, **options)
