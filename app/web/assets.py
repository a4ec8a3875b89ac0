"""Logos of the workspace: the list in the composer, and taking a new one in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import config, db, videos
from app.errors import Refused
from app.web import errors, guard
from app.web.api import multipart
from app.web.pages import page


async def listed(request: Request) -> Response:
    """GET /assets: the choice of logos, as the composer shows it."""
    return await _choice(request, None)


async def take_in(request: Request) -> Response:
    """POST /assets: keep a logo; gives the choice with the new one picked."""
    who = guard.who_acts(request)
    form = multipart.Form(request, files=("file",))
    file = await form.file()
    if file is None or not file.filename:
        raise Refused("Choose a picture first.", code="invalid", fields={"file": "is missing"})
    asset = await videos.assets.take_in(
        file.chunks, workspace_id=who.workspace.id, user_id=who.person.id, name=file.filename
    )
    if errors.is_htmx(request):
        return await _choice(request, asset.address)
    return RedirectResponse(f"/videos/new?logo={asset.id}", 303)


async def _choice(request: Request, picked: str | None) -> Response:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.assets.list_for(conn)
    house_logo = config.get().watermark_enabled
    return page(request, "videos/_logos.html", logos=found, picked=picked, house_logo=house_logo)
