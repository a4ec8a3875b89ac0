"""The tester's page of this platform: what each project used up today, and changing it (section 7.4)."""

from __future__ import annotations

import re
import sqlite3
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.sandbox import pages
from app.sandbox.answering import body_of, world_of
from app.sandbox.world import World, app_of
from app.sandbox.youtube import quota
from app.sandbox.youtube.channels import LABEL


async def counters(request: Request) -> Response:
    """GET shows, POST {client_id, bucket, used} sets a counter of today; a form is sent back to the page.

    The world's clock is not set here: it belongs to whoever runs the world.
    """
    world = world_of(request)
    client_id = request.query_params.get("client_id", world.settings.client_key)
    if request.method == "POST":
        form = dict(parse_qsl((await body_of(request)).decode(errors="replace")))
        client_id = form.get("client_id", client_id)
        bucket, used = form.get("bucket", ""), form.get("used", "")
        if bucket not in quota.MOST or not re.fullmatch(r"\d{1,9}", used):
            return pages.problem(request, LABEL, "bucket", f"One of {', '.join(quota.MOST)}, and a number.")
        await world.write(quota.put, client_id, bucket, int(used), world.clock())
        return RedirectResponse(request.url.path, 303)
    found = await world.read(_found, world, client_id)
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(found)
    return pages.page(request, "youtube_counters.html", {"label": LABEL, **found})


def _found(conn: sqlite3.Connection, world: World, client_id: str) -> dict[str, Any]:
    at, app = world.clock(), app_of(conn, world.settings, client_id)
    return {
        "client_id": client_id,
        "day": quota.day_of(at),
        "buckets": [
            {"name": bucket, "used": quota.used(conn, client_id, bucket, at),
             "most": quota.most(app, bucket) if app else most}
            for bucket, most in quota.MOST.items()
        ],
    }  # fmt: skip
