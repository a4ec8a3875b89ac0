"""A worker's own small port: `/health` and `/metrics` of its process, for whoever watches one role (S2.43, S2.84)."""

from __future__ import annotations

import asyncio
import contextlib

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app import db, log, metrics, queue, vitals
from app.errors import HouseError
from app.queue.worker import HouseWorker

ASK_S = 3.0


class Sidecar:
    """Serves until `close`. A port that is taken is one warning; the worker works without it."""

    def __init__(self, port: int, name: str, engine: queue.HouseApp) -> None:
        self.port, self.name, self.engine = port, name, engine
        app = Starlette(routes=[Route("/health", self._health), Route("/metrics", self._metrics)])
        settings = uvicorn.Config(
            app,
            host="0.0.0.0",  # noqa: S104  # watched from outside, like the web's own port
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
        )
        self._server = uvicorn.Server(settings)
        # The worker has its own handling of signals; the server's would take them away.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]  # uvicorn has no option for it
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._serve(), name="sidecar")

    async def close(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    async def _serve(self) -> None:
        try:
            await self._server.serve()
        except SystemExit:
            log.warning("the health port is taken; the worker works without it", port=self.port)

    async def _health(self, request: Request) -> Response:
        """Healthy only if the database answers and the heartbeat is fresh; else 503 with the reason."""
        problem = await self._problem()
        told = {
            "status": "ok" if problem is None else "unhealthy",
            "worker": self.name,
            "uptime": vitals.uptime_s(),
            "memory": await asyncio.to_thread(vitals.memory),
        }
        return JSONResponse(told) if problem is None else JSONResponse(told | {"reason": problem}, 503)

    async def _problem(self) -> str | None:
        # The database first: without it no heartbeat stays fresh.
        try:
            async with asyncio.timeout(ASK_S), db.house() as conn:
                await db.value(conn, "SELECT 1")
        except (HouseError, TimeoutError):
            return "The database does not answer."
        worker = self.engine.running_worker
        return None if worker is not None and worker.lease.held else "The heartbeat is not fresh."

    async def _metrics(self, request: Request) -> Response:
        """What this process counted, and how it is now; figures of the whole house are the web's to tell."""
        figures = metrics.Figures()
        if (worker := self.engine.running_worker) is not None:
            _worker_figures(figures, worker)
        return Response(metrics.render(figures), media_type=metrics.CONTENT_TYPE)


def _worker_figures(figures: metrics.Figures, worker: HouseWorker) -> None:
    lines = [((name,), line) for name, line in sorted(worker.lines.items())]
    figures.gauge(
        "worker_lease_age_seconds",
        "How long ago its last heartbeat succeeded; beyond 20 it stops what it runs",
        (),
        [((), worker.lease.age_s)],
    )
    figures.gauge(
        "worker_listening", "1 while notices of new jobs arrive; else it polls", (), [((), worker.listening)]
    )
    figures.gauge(
        "worker_places",
        "Jobs of a queue it may run at once",
        ("queue",),
        [(label, line.limits.together) for label, line in lines],
    )
    figures.gauge(
        "worker_running",
        "Jobs of a queue it runs",
        ("queue",),
        [(label, line.running) for label, line in lines],
    )
    figures.gauge(
        "worker_ahead",
        "Jobs of a queue it has taken and not begun",
        ("queue",),
        [(label, len(line.ahead)) for label, line in lines],
    )
    figures.gauge(
        "worker_unwritten",
        "Outcomes it has not written yet",
        (),
        [((), len(worker.runner.saving))],
    )
