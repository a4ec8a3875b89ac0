"""Brand kits: the page of looks, logos and clips, the form of one look, and the section of forms that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import config, db, videos
from app.errors import HouseError, Refused
from app.web import forms, guard, look_form
from app.web.pages import page

# Width and height of a kit's small picture, by its frame.
PICTURES = {"9:16": (360, 640), "4:5": (512, 640), "1:1": (640, 640)}
USUAL_PICTURE = (1138, 640)


@dataclass(frozen=True)
class Choice:
    """A kit as a form offers it."""

    id: int
    name: str
    is_default: bool
    fields: Mapping[str, str]


async def section(
    conn: db.Conn, *, fields: Mapping[str, str] | None = None, kit: str = "", again: bool = False
) -> dict[str, Any]:
    """What the section of the look shows: its fields, and the kits, logos and clips to choose from.

    Without `fields` it begins with the kit of this number, else with the default. `again` is for a video that has
    its look already.
    """
    kits = [_choice(one) for one in await videos.kits.list_for(conn)]
    picked = next((one for one in kits if str(one.id) == kit or (not kit and one.is_default)), None)
    if fields is None:
        fields = picked.fields if picked else look_form.USUAL
    return {
        "look": fields,
        "usual": fields if again else look_form.USUAL,
        "kits": kits,
        "kit": picked.id if picked and not again else None,
        "logos": await videos.assets.list_for(conn),
        "clips": await videos.assets.list_for(conn, kind="clip"),
        "house_logo": config.get().watermark_enabled,
        "for_kit": False,
        "again": again,
    }


def _choice(kit: videos.kits.Kit) -> Choice:
    return Choice(kit.id, kit.name, kit.is_default, look_form.fields_of(kit.design))


# ---- the page ----


async def listed(request: Request) -> Response:
    """GET /kits: the kits, and the logos and clips they are made of."""
    return await shown(request)


async def shown(request: Request, problem: HouseError | None = None) -> Response:
    """The page, with what could not be done on it."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        kits = await videos.kits.list_for(conn)
        logos = await videos.assets.list_for(conn)
        clips = await videos.assets.list_for(conn, kind="clip")
    pictures = {asset.address: asset.url for asset in logos}
    return page(
        request,
        "kits/list.html",
        kits=kits,
        fields={kit.id: look_form.fields_of(kit.design) for kit in kits},
        pictures=pictures,
        logos=logos,
        clips=clips,
        frames=PICTURES,
        usual_frame=USUAL_PICTURE,
        problem=problem,
        status=problem.status if problem else 200,
    )


async def new(request: Request) -> Response:
    """GET /kits/new: the form, with what most people want."""
    return await _form(request, None, {})


async def add(request: Request) -> Response:
    """POST /kits."""
    who, form = guard.who_acts(request), await _asked(request)
    try:
        async with db.owned_by(who.workspace.id) as conn:
            await videos.kits.add(
                conn,
                workspace_id=who.workspace.id,
                user_id=who.person.id,
                name=form.get("name", ""),
                design=look_form.design_of(form, style=True),
                is_default=bool(form.get("isDefault")),
            )
    except Refused as refused:
        return await _form(request, None, form, refused)
    return RedirectResponse("/kits", 303)


async def one(request: Request) -> Response:
    """GET /kits/3: the form of this kit."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        kit = await videos.kits.get(conn, request.path_params["kit_id"])
    return await _form(request, kit, {})


async def change(request: Request) -> Response:
    """POST /kits/3."""
    form = await _asked(request)
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        kit = await videos.kits.get(conn, request.path_params["kit_id"])
    try:
        async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
            await videos.kits.change(
                conn,
                kit.id,
                name=form.get("name", ""),
                design=look_form.design_of(form, style=True),
                is_default=bool(form.get("isDefault")),
            )
    except Refused as refused:
        return await _form(request, kit, form, refused)
    return RedirectResponse("/kits", 303)


async def remove(request: Request) -> Response:
    """POST /kits/3/remove."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await videos.kits.remove(conn, request.path_params["kit_id"])
    return RedirectResponse("/kits", 303)


async def make_default(request: Request) -> Response:
    """POST /kits/3/default."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await videos.kits.make_default(conn, request.path_params["kit_id"])
    return RedirectResponse("/kits", 303)


async def _asked(request: Request) -> dict[str, str]:
    return {name: text for name, text in (await forms.read(request)).items() if isinstance(text, str)}


async def _form(
    request: Request, kit: videos.kits.Kit | None, form: Mapping[str, str], refused: Refused | None = None
) -> Response:
    """The form of a kit, with what was written and what is wrong with it where it was refused."""
    if refused is not None and not refused.fields:
        raise refused
    fields = look_form.fields_of(kit.design) if kit else look_form.USUAL
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        about = await section(conn, fields=look_form.written(form) if form else fields)
    about |= {"for_kit": True, "kit": kit, "problems": look_form.named(refused.fields) if refused else {}}
    about |= {
        "name": form.get("name", kit.name if kit else ""),
        # The first kit is meant for every video more often than not.
        "is_default": bool(form.get("isDefault")) if form else (kit.is_default if kit else not about["kits"]),
    }
    return page(request, "kits/kit.html", status=refused.status if refused else 200, **about)
