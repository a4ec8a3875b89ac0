"""Puts the web process together: `create()` gives the Starlette app that `web.server.serve` runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from app import accounts, config, db, http, live, log, media, migrate, sandbox, storage
from app.errors import HouseError, Refused, Retryable
from app.web import errors
from app.web.headers import Around
from app.web.routes import ROUTES
from app.web.static import Static

# A database that starts beside us may need a moment; a supervisor tries again after that.
WAIT_FOR_DATABASE_S = 60


def create() -> Starlette:
    """The app with everything in it. Reads the settings; connects to nothing before its lifespan begins."""
    app = Starlette(
        routes=_routes(config.get()),
        middleware=[Middleware(Around)],
        exception_handlers={
            HouseError: errors.answer,
            HTTPException: errors.answer,
            ClientDisconnect: errors.answer,
        },
        lifespan=lifespan,
    )
    # An address has one spelling; and a redirect would be made from a header that the caller chose.
    app.router.redirect_slashes = False
    app.state.stopping = asyncio.Event()
    return app


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Database, live notices and storage are there while requests are answered."""
    settings = config.get()
    log.setup(settings)
    place = await _database()
    hub = live.Hub(place.direct_dsn)
    app.state.hub = hub
    await hub.start()
    await storage.start()
    await accounts.apps.look(now=True)
    log.info(
        "API listening",
        port=settings.port,
        database="connected",
        simulated=settings.any_simulated,
        storage=settings.storage_provider,
    )
    try:
        yield
    finally:
        app.state.stopping.set()
        await hub.stop()
        await http.close()
        await db.close_pools()
        log.info("web has stopped")


async def _database() -> db.Place:
    """The database, with its pools open; the embedded one is brought up to date first."""
    place = await asyncio.to_thread(db.locate)
    if place.server is not None:
        await migrate.run(place.direct_dsn)
    for left in range(WAIT_FOR_DATABASE_S // 5, -1, -1):
        try:
            await db.open_pools(place.dsn, pages=True, pooled=place.pooled, wait_s=5)
            break
        except Retryable as error:
            if left == 0:
                raise
            log.warning("waiting for the database", reason=error.message)
    return place


def _routes(settings: config.Config) -> list[BaseRoute]:
    # Only these: they are the same for everybody, so their length tells a listener nothing.
    static = Mount(
        "/static",
        Static(),
        name="static",
        middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=6)],
    )
    routes: list[BaseRoute] = [*ROUTES, static]
    if settings.any_simulated:
        world = sandbox.create(settings.backlot_home / "sandbox", settings.base_url, _look)
        routes += [Route("/sandbox", _to_sandbox), Mount("/sandbox", world, name="sandbox")]
    return routes


async def _to_sandbox(request: Request) -> Response:
    return RedirectResponse("/sandbox/", 307)


async def _look(path: Path) -> Any:
    """What the simulated world sees of a file; None when it is no video."""
    try:
        return await media.probe(path)
    except Refused:
        return None
