"""Logos and clips of the workspace: the choice in the composer, taking new ones in, taking away what nothing needs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app import config, db, storage, videos
from app.errors import Refused, WrongState
from app.web import errors, guard, kits, words
from app.web.api import multipart
from app.web.pages import page


async def listed(request: Request) -> Response:
    """GET /assets: the choice of logos, as the composer shows it."""
    return await _choice(request, None)


async def take_in(request: Request) -> Response:
    """POST /assets?kind=logo or clip: keep a file. Gives the choice with the new logo picked, or a clip as JSON."""
    who, kind = guard.who_acts(request), _kind(request)
    form = multipart.Form(request, files=("file",))
    file = await form.file()
    if file is None or not file.filename:
        raise Refused("Choose a file first.", code="invalid", fields={"file": "is missing"})
    asset = await videos.assets.take_in(
        file.chunks, workspace_id=who.workspace.id, user_id=who.person.id, name=file.filename, kind=kind
    )
    if errors.wants_json(request):
        told = {"address": asset.address, "name": asset.name, "length": words.clock(asset.duration_s)}
        return JSONResponse({"asset": told}, 201)
    if errors.is_htmx(request):
        return await _choice(request, asset.address)
    return RedirectResponse("/kits#files", 303)


async def remove(request: Request) -> Response:
    """POST /assets/7/remove: gone for good, unless something still needs it."""
    try:
        async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
            asset = await videos.assets.delete(conn, request.path_params["asset_id"])
    except WrongState as error:
        if errors.wants_json(request):
            raise
        return await kits.shown(request, error)
    await storage.delete(asset.key)
    return RedirectResponse("/kits#files", 303)


def _kind(request: Request) -> videos.assets.Kind:
    kind = request.query_params.get("kind", "logo")
    for known in videos.assets.KINDS:
        if kind == known:
            return known
    raise Refused("There is no such kind of file.", code="invalid", fields={"kind": "is not known"})


async def _choice(request: Request, picked: str | None) -> Response:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.assets.list_for(conn)
    house_logo = config.get().watermark_enabled
    return page(request, "videos/_logos.html", logos=found, picked=picked, house_logo=house_logo)
