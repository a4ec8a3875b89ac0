"""The simulated world: platforms that behave by their sheets, on their own address, with their own memory.

It knows nothing of the product. `create` gives a Starlette app for the root or to be mounted under a path.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox import control, facebook, instagram, pages, tiktok, world, youtube
from app.sandbox.world import Platform, Probe, Settings, World

__all__ = ["PLATFORMS", "Probe", "Settings", "World", "create"]

# A platform that is added stands here, and nowhere else in the world.
PLATFORMS: tuple[Platform, ...] = (tiktok, youtube, instagram, facebook)
for platform in PLATFORMS:
    world.knows(platform.NAME, platform.DEFAULTS)


def create(
    home: Path,
    base_url: str,
    probe: Probe,
    *,
    clock: Callable[[], float] = time.time,
    settings: Settings | None = None,
) -> Starlette:
    """The world whose memory is in `home` (made on first use; an older memory goes on).

    `base_url` is the install's own address, the one besides localhost that OAuth may return to. `probe(path)`
    tells container, duration_s, width_px, height_px, fps and video_codec of a file; None if it is no video.
    """
    app = Starlette(
        routes=[
            Route("/", control.index, methods=["GET"]),
            Route("/accounts", control.accounts, methods=["POST"]),
            Route("/apps", control.apps, methods=["POST"]),
            Route("/faults", control.armed_faults, methods=["GET", "POST", "DELETE"]),
            Route("/ledger", control.ledger, methods=["GET"]),
            Route(pages.STYLESHEET, pages.stylesheet, methods=["GET"]),
            *(route for platform in PLATFORMS for route in platform.routes()),
        ],
        exception_handlers={HTTPException: _refused},
    )
    app.router.redirect_slashes = False  # the platforms know each address in one spelling only
    app.state.world = World(
        home, base_url.rstrip("/"), probe, clock, settings or Settings(), platforms=PLATFORMS
    )
    return app


async def _refused(request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    for platform in PLATFORMS:
        if f"/{platform.NAME}/" in request.url.path and hasattr(platform, "no_such_address"):
            refused: Response = platform.no_such_address(status)
            return refused
    return JSONResponse(
        {"error": {"code": "not_found", "message": "There is nothing here.", "fields": {}}}, status
    )
