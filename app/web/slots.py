"""The weekly slots of an account: at which hours of the week it posts, shown as a week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import accounts, db, publishing
from app.errors import NotFound, Refused, WrongState
from app.web import forms, guard
from app.web.pages import page

LAST_WEEKDAY = 6
SAY = {
    "weekday": "Choose at least one day.",
    "wall": "Give a time of day.",
    "zone": "Choose a time zone.",
}


@dataclass(frozen=True)
class Day:
    """One day of the week with its slots, earliest first."""

    name: str
    slots: tuple[publishing.slots.Slot, ...]


async def listed(request: Request) -> Response:
    """GET /accounts/7/slots"""
    return page(request, "publications/slots.html", **await _about(request))


async def add(request: Request) -> Response:
    """POST /accounts/7/slots with weekday (several), wall and zone. One that is there already is no mistake."""
    form, account_id = await forms.read(request), request.path_params["account_id"]
    picked = [text for text in form.getlist("weekday") if isinstance(text, str)]
    wall, zone = forms.text(form, "wall"), forms.text(form, "zone")
    try:
        async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
            await accounts.get(conn, account_id)
            for weekday in _weekdays(picked):
                try:
                    await publishing.slots.add(
                        conn, account_id=account_id, weekday=weekday, wall=wall, zone=zone
                    )
                except WrongState:
                    continue
    except NotFound:
        raise
    except Refused as refused:
        problems = {name: SAY.get(name, text) for name, text in refused.fields.items()}
        about = await _about(request)
        return page(
            request,
            "publications/slots.html",
            status=refused.status,
            **about
            | {
                "picked": picked,
                "wall": wall,
                "zone": zone,
                "problems": problems or {"wall": refused.message},
            },
        )
    return RedirectResponse(f"/accounts/{account_id}/slots", 303)


async def remove(request: Request) -> Response:
    """POST /accounts/7/slots/9/remove: what is planned there stays."""
    account_id, slot_id = request.path_params["account_id"], request.path_params["slot_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        if slot_id not in {one.id for one in await publishing.slots.weekly(conn, account_id)}:
            raise NotFound
        await publishing.slots.remove(conn, slot_id)
    return RedirectResponse(f"/accounts/{account_id}/slots", 303)


async def _about(request: Request) -> dict[str, Any]:
    who, account_id = guard.who_acts(request), request.path_params["account_id"]
    async with db.owned_by(who.workspace.id) as conn:
        account = await accounts.get(conn, account_id)
        found = await publishing.slots.weekly(conn, account_id)
        free = await publishing.slots.next_free(conn, account_id)
    week = [
        Day(name, tuple(one for one in found if one.weekday == number))
        for number, name in enumerate(publishing.slots.WEEKDAYS)
    ]
    return {
        "account": account,
        "week": week,
        "next_free": free[0].words() if free else None,
        "zones": sorted(publishing.zones()),
        "zone": who.person.zone,
        "wall": "",
        "picked": [],
        "problems": {},
    }


def _weekdays(texts: list[str]) -> list[int]:
    if not texts or any(text not in map(str, range(LAST_WEEKDAY + 1)) for text in texts):
        raise Refused(SAY["weekday"], code="invalid", fields={"weekday": SAY["weekday"]})
    return [int(text) for text in dict.fromkeys(texts)]
