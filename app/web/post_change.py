"""A publication in the composer: what is not out yet is changed, in words, choices and time, up to the last moment."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import db, platforms, publishing
from app.errors import HouseError, Refused, WrongState
from app.web import errors, guard, post_form
from app.web import words as said
from app.web.composer import ANOTHER_LOOK, send_ahead
from app.web.pages import page
from app.web.post_form import Typed
from app.web.post_sheet import Sheet, all_problems, judged, sheet_of, told_of, typed_of


async def edit(request: Request) -> Response:
    """GET /publications/7/edit: the composer with what is planned."""
    who = guard.who_acts(request)
    async with db.owned_by(who.workspace.id) as conn:
        publication = await publishing.publications.get(conn, request.path_params["publication_id"])
        sheet = await changed_sheet(conn, who, written(publication), publication)
    return page(request, "publications/compose.html", **_about(sheet, publication))


async def change(request: Request) -> Response:
    """POST /publications/7/edit: every post that can still be changed is what the form says, or none is."""
    who, publication_id = guard.who_acts(request), request.path_params["publication_id"]
    typed = await typed_of(request)
    async with db.owned_by(who.workspace.id) as conn:
        publication = await publishing.publications.get(conn, publication_id)
        sheet = await changed_sheet(conn, who, typed, publication)
    try:
        async with db.owned_by(who.workspace.id) as conn:
            await _save(conn, who, typed, publication_id)
    except (Refused, WrongState) as refused:
        if errors.wants_json(request) or refused.status == 404:
            raise
        return _again(request, sheet, publication, refused)
    return RedirectResponse(f"/publications/{publication_id}", 303)


async def check(request: Request) -> Response:
    """POST /publications/7/check: what each platform says of the changed form as it stands."""
    who, typed = guard.who_acts(request), await typed_of(request)
    async with db.owned_by(who.workspace.id) as conn:
        publication = await publishing.publications.get(conn, request.path_params["publication_id"])
        sheet = await changed_sheet(conn, who, typed, publication)
    return judged(request, sheet)


async def changed_sheet(
    conn: db.Conn, who: guard.Who, typed: Typed, publication: publishing.Publication
) -> Sheet:
    """The form over this publication: its own video, its own accounts, and no others."""
    fixed = {
        target.account_id: f"{said.state(target.state).text}. {target.reason or ''}".strip()
        for target in publication.targets
        if not target.can_change
    }
    # A panel that did not come with the form leaves its post as it is.
    for target in publication.targets:
        if not typed.opened(target.account_id):
            typed = typed.having(_written(target, typed.get("text")))
    kept = Typed({**typed.fields, "video": str(publication.video_id)}, _accounts(publication))
    open_ones = [target for target in publication.targets if target.can_change]
    own_time = open_ones[0].when if open_ones else publishing.When.now(who.person.zone)
    numbers = {target.account_id: target.id for target in publication.targets}
    return await sheet_of(conn, who, kept, own_time=own_time, fixed=fixed, targets=numbers)


def written(publication: publishing.Publication) -> Typed:
    """The form that would make this publication."""
    fields: dict[str, str] = {"text": publication.text, "when": "keep"}
    for target in publication.targets:
        fields |= _written(target, publication.text)
    return Typed(fields, _accounts(publication))


def _written(target: publishing.Target, text: str) -> dict[str, str]:
    offered = platforms.get(target.platform).FIELDS
    return post_form.written(target.choices, target.account_id, offered, text)


def _accounts(publication: publishing.Publication) -> tuple[int, ...]:
    return tuple(target.account_id for target in publication.targets)


async def _save(conn: db.Conn, who: guard.Who, typed: Typed, publication_id: int) -> None:
    publication = await publishing.publications.get(conn, publication_id)
    sheet = await changed_sheet(conn, who, typed, publication)
    if problems := all_problems(sheet):
        raise Refused(ANOTHER_LOOK, code="invalid", fields=problems)
    keep = typed.get("when", "keep") == "keep"
    changes = publishing.Changes(
        text=typed.get("text"),
        when=None if keep else sheet.chosen.when,
        posts={tab.account.id: tab.post for tab in sheet.tabs if tab.fixed is None},
    )
    changed = await publishing.edit(conn, publication_id, changes)
    if not keep:
        await send_ahead(conn, changed)


def _about(sheet: Sheet, publication: publishing.Publication) -> dict[str, Any]:
    return {
        **sheet.things,
        "publication": publication,
        "draft": None,
        "drafts": [],
        "library": [],
        "key": "",
        "problems": {},
        "refused": None,
        "told": [],
    }


def _again(
    request: Request, sheet: Sheet, publication: publishing.Publication, refused: HouseError
) -> Response:
    found = refused.fields if isinstance(refused, Refused) else {}
    about = _about(sheet, publication)
    return page(
        request,
        "publications/compose.html",
        status=refused.status,
        **{**about, "problems": found, "refused": refused, "told": told_of(sheet, found)},
    )
