"""Our registrations at the platforms: which are set up, by what, and entering them while everything runs (S2.70).

What is entered is sealed and never shown again; each act wants a fresh sign-in and is written down without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from app import accounts, config, db, platforms, queue, users
from app.errors import Refused
from app.web import forms, guard
from app.web.account_card import UNAUDITED, Door, doors
from app.web.admin import frame
from app.web.words import Word

ENTERED = Word("Entered here", "done", "key-round")
ENVIRONMENT = Word("From the settings", "done", "circle-check")
SIMULATED = Word("Simulator", "needs", "flask-conical")
MISSING = Word("Not set up", "off", "circle-dashed")


@dataclass(frozen=True)
class Line:
    """A platform as its card shows it. `by` and `at` tell of what was entered here."""

    door: Door
    redirect_uri: str
    scopes: tuple[tuple[str, str], ...]
    in_environment: bool
    note: str
    by: str = ""
    at: datetime | None = None

    @property
    def word(self) -> Word:
        if self.door.simulated:
            return SIMULATED
        if self.at is not None:
            return ENTERED
        return ENVIRONMENT if self.in_environment else MISSING


async def page(request: Request) -> Response:
    """GET /admin/platforms"""
    return await _show(request)


async def enter(request: Request) -> Response:
    """POST /admin/platforms/{platform}: `client_key` and `client_secret`, in place of what was entered before."""
    name = _platform(request)
    if (first := _fresh(request)) is not None:
        return first
    form = await forms.read(request)
    by = guard.who_acts(request).person.id
    try:
        await accounts.apps.enter(
            name, forms.text(form, "client_key"), forms.text(form, "client_secret"), by=by
        )
    except Refused as error:
        return await _show(request, wrong={name: error.fields})
    async with db.house() as conn:
        await queue.audit(conn, by, "platform.credentials_entered", name)
    return frame.back(request, "admin_platforms")


async def remove(request: Request) -> Response:
    """POST /admin/platforms/{platform}/remove: what the settings say counts again."""
    name = _platform(request)
    if (first := _fresh(request)) is not None:
        return first
    if await accounts.apps.remove(name):
        async with db.house() as conn:
            await queue.audit(conn, guard.who_acts(request).person.id, "platform.credentials_removed", name)
    return frame.back(request, "admin_platforms")


async def _show(request: Request, wrong: Mapping[str, Mapping[str, str]] | None = None) -> Response:
    await accounts.apps.look()
    async with db.house() as conn:
        entered = await accounts.apps.entered(conn)
        names = await users.names(conn, {each.set_by for each in entered.values() if each.set_by is not None})
    lines = []
    for door in doors():
        adapter, found = platforms.get(door.platform), entered.get(door.platform)
        lines.append(
            Line(
                door,
                adapter.app().redirect_uri,
                tuple((scope, adapter.SCOPE_WORDS.get(scope, "")) for scope in adapter.SCOPES),
                bool(config.get().registration(door.platform).client_key),
                UNAUDITED.get(door.platform, ""),
                names.get(found.set_by or 0, "somebody") if found else "",
                found.set_at if found else None,
            )
        )
    return frame.show(
        request,
        "admin/platforms.html",
        status=422 if wrong else 200,
        lines=lines,
        wrong=wrong or {},
        simulators=config.get().simulators,
    )


def _platform(request: Request) -> str:
    """NotFound for a platform that we do not know."""
    return platforms.get(str(request.path_params["platform"])).NAME


def _fresh(request: Request) -> Response | None:
    return frame.needs_sign_in(request, str(request.app.url_path_for("admin_platforms")))
