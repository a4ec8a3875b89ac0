"""How the house is doing, for machines: `/health`, `/ready`, `/metrics` and `/api/monitor/…`.

`/health` says whether this process works and does not ask the database: a process that waits for its database
must not be restarted for it. `/ready` asks it. `/metrics` answers on this machine itself without a sign-in, as
scrapers have none; from elsewhere it wants an operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app import config, db, jobs, metrics, migrate, queue, vitals
from app.errors import HouseError, Refused
from app.web import figures, guard
from app.web.api.body import Answer
from app.web.api.endpoint import gives

READY_WITHIN_S = 3.0
REDIS_WITHIN_S = 0.5
REDIS_PORT = 6379
LOCAL = ("127.0.0.1", "::1")


class Usage(Answer):
    total: int
    limit: int
    percentage: float
    status: str


class QueueState(Answer):
    """`depth` is what may start now and waits, `scheduled` what starts later. `at_least` names the figures that were
    counted up to a limit only: there are that many or more.
    """

    name: str
    depth: int
    scheduled: int
    running: int
    failed: int
    at_least: list[str]
    stalled: int
    oldest_wait_s: float | None
    live_workers: int
    paused: bool
    last_done_at: datetime | None


class WorkerState(Answer):
    """`healthy`: heard of within 30 s, and it is not stopping."""

    worker_id: int
    name: str
    host: str
    pid: int
    queues: list[str]
    healthy: bool
    heard_s: float
    running: int
    hears_notices: bool


class UsageShare(Answer):
    percentage: float


class Health(Answer):
    """`redis` is null when none is configured. `queues_active` have a living worker and are not paused. `workers` is
    for operators, null for others.
    """

    postgres: bool
    redis: bool | None
    queues_active: int
    usage: UsageShare
    queues: list[QueueState]
    workers: list[WorkerState] | None


async def health(request: Request) -> Response:
    """GET /health: S2.83."""
    stopping = request.app.state.stopping.is_set()
    told = {
        "status": "stopping" if stopping else "ok",
        "worker": "web",
        "uptime": vitals.uptime_s(),
        "memory": await asyncio.to_thread(vitals.memory),
    }
    return (
        JSONResponse(told | {"reason": "The process is stopping."}, 503) if stopping else JSONResponse(told)
    )


async def ready(request: Request) -> Response:
    """GET /ready: whether requests can be served: the database answers and has the shape this code expects."""
    try:
        async with asyncio.timeout(READY_WITHIN_S), db.house() as conn:
            started = time.perf_counter()
            await db.value(conn, "SELECT 1")
            took_s = time.perf_counter() - started
            missing = await migrate.missing(conn)
    except (HouseError, TimeoutError) as error:
        reason = error.message if isinstance(error, HouseError) else "The database does not answer."
        told = {"status": "not_ready", "reason": reason, "database": None, "migrationsMissing": None}
        return JSONResponse(told, 503, {"retry-after": "5"})
    body = {"database": {"roundTripMs": round(took_s * 1000, 2)}, "migrationsMissing": missing}
    if missing:
        reason = "The database lacks migrations: run `backlot migrate`."
        return JSONResponse({"status": "not_ready", "reason": reason} | body, 503)
    return JSONResponse({"status": "ready"} | body)


async def measured(request: Request) -> Response:
    """GET /metrics: S2.84, Prometheus text."""
    if guard.address_of(request) not in LOCAL:
        who = await guard.by_bearer(request)
        if who is None:
            raise guard.not_signed_in()
        if not who.person.is_operator:
            raise Refused("Only operators may see this.", code="operators_only", status=403)
    return Response(metrics.render(await figures.read()), media_type=metrics.CONTENT_TYPE)


@gives(Usage, summary="Queue operations of this month against the budget.")
async def usage(request: Request) -> Usage:
    """S1.51, also under its older path `redis-usage`."""
    async with db.house() as conn:
        return Usage(**await queue.usage(conn))


@gives(Health, summary="Whether the queues work: depth, oldest wait, living workers, stalled jobs.")
async def queue_health(request: Request) -> Health:
    """S1.52; for operators also each worker's own health, however it was started (S2.43)."""
    async with db.house() as conn:
        states = await queue.health(conn, [line.name for line in jobs.QUEUES])
        used = await queue.usage(conn)
        workers = await queue.workers(conn) if guard.who_acts(request).person.is_operator else None
    return Health(
        postgres=True,
        redis=await _redis(),
        queues_active=sum(1 for state in states if state.workers and not state.paused),
        usage=UsageShare(percentage=used["percentage"]),
        queues=[_queue_state(state) for state in states],
        workers=None if workers is None else [_worker_state(worker) for worker in workers],
    )


def _queue_state(state: queue.QueueHealth) -> QueueState:
    counts = {"depth": state.waiting, "scheduled": state.scheduled, "failed": state.failed}
    return QueueState(
        name=state.name,
        depth=int(state.waiting),
        scheduled=int(state.scheduled),
        running=state.running,
        failed=int(state.failed),
        at_least=[name for name, many in counts.items() if getattr(many, "more", False)],
        stalled=state.stalled,
        oldest_wait_s=state.oldest_wait_s,
        live_workers=state.workers,
        paused=state.paused,
        last_done_at=state.last_done_at,
    )


def _worker_state(worker: queue.Worker) -> WorkerState:
    return WorkerState(
        worker_id=worker.worker_id,
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        queues=worker.queues,
        healthy=worker.lives and not worker.stopping,
        heard_s=round(worker.age_s, 3),
        running=len(worker.jobs),
        hears_notices=worker.listening,
    )


async def _redis() -> bool | None:
    """Whether the optional cache answers at all; None when there is none."""
    address = config.get().redis
    if address is None:
        return None
    parts = urlsplit(address)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(REDIS_WITHIN_S):
            tls = True if parts.scheme == "rediss" else None
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or REDIS_PORT, ssl=tls)
            try:
                writer.write(b"PING\r\n")
                # +PONG, or -NOAUTH from one that wants a password first: it answers.
                return (await reader.read(1)) in (b"+", b"-")
            finally:
                writer.close()
    return False
