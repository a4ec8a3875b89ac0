"""Whether all is well: alerts, the self-check, the month's budget; and what operators did."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from app import checkup, db, queue, users
from app.web.admin import alerts, frame, queues
from app.web.admin.jobs import number

PAGE = 50


async def page(request: Request) -> Response:
    """GET /admin/health: looks at everything anew, which takes up to some seconds."""
    seen = (await queues.look(request)).seen
    return frame.show(
        request,
        "admin/health.html",
        alerts=alerts.firing(seen),
        findings=await checkup.look(),
        usage=seen.usage,
    )


async def audit(request: Request) -> Response:
    """GET /admin/audit"""
    async with db.house() as conn:
        acts = await queue.lately.acts(
            conn, before_id=number(request.query_params.get("before", "")), most=PAGE + 1
        )
        names = await users.names(conn, {act.user_id for act in acts if act.user_id})
    return frame.show(
        request,
        "admin/audit.html",
        acts=acts[:PAGE],
        names=names,
        more=acts[PAGE - 1].id if len(acts) > PAGE else None,
    )
