"""Who works: heartbeats, what each one runs, and who went silent."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from app import db, jobs, queue
from app.web.admin import frame


async def page(request: Request) -> Response:
    """GET /admin/workers"""
    return await _show(request, "admin/workers.html")


async def listed(request: Request) -> Response:
    """GET /admin/workers/list: the part that lives."""
    return await _show(request, "admin/_workers.html")


async def _show(request: Request, template: str) -> Response:
    async with db.house() as conn:
        found = await queue.workers(conn)
        tasks = await queue.lately.tasks(conn, [job_id for worker in found for job_id in worker.jobs])
    served = {name for worker in found if worker.lives and not worker.stopping for name in worker.queues}
    unserved = [line.name for line in jobs.QUEUES if line.name not in served]
    return frame.show(request, template, workers=found, tasks=tasks, unserved=unserved)
