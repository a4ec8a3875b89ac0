"""The composer: one video, one text, several accounts, each as its platform wants it.

Every answer is made from the whole form, so a browser without script gets the same page with what it typed, and one
with script the same judgements piece by piece. What is right is decided by the platforms' adapters and by
`publishing`; here is only the form.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app import accounts, db, dedup, publishing, videos
from app.errors import HouseError, NotFound, Refused, WrongState
from app.web import errors, forms, guard, post_form
from app.web.pages import page
from app.web.post_form import Typed
from app.web.post_sheet import Sheet, all_problems, judged, sheet_of, told_of, typed_of

MOST_OFFERED = 12
LOOKED_AT = 36
LONGEST_DRAFT_TITLE = 80
ANOTHER_LOOK = "Some of this needs another look."
SENT_BEFORE = "This form was sent before, with other words. Look at what it made, or send this as a new post."


@dataclass(frozen=True)
class DraftLine:
    """A draft in the list of drafts."""

    id: int
    words: str
    about: str
    saved_at: datetime
    link: str


# ---- the page ----


def _asked_for(request: Request) -> Typed:
    """What the address asks for: /compose?video=7&account=3&account=4&at=2026-03-03T09:00&zone=Europe/Kyiv."""
    query = request.query_params
    typed = post_form.read(
        (name, value)
        for name, value in query.multi_items()
        if name in ("video", "account", "at", "zone", "text")
    )
    return typed.having({"when": "later"}) if typed.get("at") else typed


async def new(request: Request) -> Response:
    """GET /compose?video=&account=&at=&draft=: an empty form, or a draft, or one with this much filled in."""
    who, asked = guard.who_acts(request), _asked_for(request)
    draft_id = post_form.number(request.query_params.get("draft", ""))
    async with db.owned_by(who.workspace.id) as conn:
        draft = None if draft_id is None else await publishing.drafts.get(conn, draft_id)
        typed = Typed() if draft is None else await _still_here(conn, Typed.from_json(draft.form))
        sheet = await sheet_of(conn, who, typed.having(asked.fields, asked.accounts))
        about = await _about(conn, sheet, draft)
    return page(request, "publications/compose.html", **about)


async def _still_here(conn: db.Conn, typed: Typed) -> Typed:
    """A draft without the video and the accounts that are gone since."""
    there = {account.id for account in await accounts.list_for(conn)}
    fields = dict(typed.fields)
    if typed.video_id is not None and not await videos.show_many(conn, [typed.video_id]):
        del fields["video"]
    return Typed(fields, tuple(one for one in typed.accounts if one in there))


async def _about(
    conn: db.Conn, sheet: Sheet, draft: publishing.drafts.Draft | None = None, key: str = ""
) -> dict[str, Any]:
    """What the page of a new post shows besides its form."""
    found = await videos.list_for(conn, most=LOOKED_AT)
    offered = [one for one in found if one.video.state not in ("FAILED", "CANCELLED")][:MOST_OFFERED]
    if sheet.shown is not None and sheet.shown.video.id not in [one.video.id for one in offered]:
        offered = [sheet.shown, *offered[: MOST_OFFERED - 1]]
    return {
        **sheet.things,
        "library": offered,
        "drafts": await _draft_lines(conn, without=draft.id if draft else None),
        "draft": draft,
        "publication": None,
        "key": key or secrets.token_hex(16),
        "problems": {},
        "refused": None,
        "told": [],
    }


async def _draft_lines(conn: db.Conn, without: int | None = None) -> list[DraftLine]:
    names = {account.id: account.display_name for account in await accounts.list_for(conn)}
    lines = []
    for draft in await publishing.drafts.list_for(conn):
        if draft.id == without:
            continue
        typed = Typed.from_json(draft.form)
        said = typed.get("text").strip().split("\n")[0][:LONGEST_DRAFT_TITLE]
        on = [names[one] for one in typed.accounts if one in names]
        about = ", ".join(on) if on else "no account yet"
        lines.append(
            DraftLine(draft.id, said or "Without words", about, draft.saved_at, f"/compose?draft={draft.id}")
        )
    return lines


# ---- sending ----


async def send(request: Request) -> Response:
    """POST /compose with act=send, look, keep or slot-7; what is typed stays, whatever comes of it."""
    who, typed = guard.who_acts(request), await typed_of(request)
    act = forms.text(await forms.read(request), "act") or "send"
    if act == "keep":
        draft = await _keep(who, typed)
        return RedirectResponse(f"/compose?draft={draft.id}", 303)
    if act.startswith("slot-"):
        return await _look(request, await _with_slot(who, typed, act.removeprefix("slot-")))
    if act == "look":
        return await _look(request, typed)
    if act != "send":
        raise Refused("There is no such act.", code="invalid", fields={"act": "is not known"})
    try:
        publication_id = await _once(who, typed)
    except (Refused, WrongState) as refused:
        if errors.wants_json(request):
            raise
        return await _look(request, typed, refused)
    return RedirectResponse(f"/publications/{publication_id}", 303)


async def _once(who: guard.Who, typed: Typed) -> int:
    """The publication of this form. A form sent twice, also at once, makes one (R13): its page gave it a key."""
    key = typed.get("key")
    async with db.owned_by(who.workspace.id) as conn:
        if not key:
            return await _make(conn, who, typed)

        async def first() -> dedup.Kept:
            return dedup.Kept(201, {"publication": await _make(conn, who, typed)})

        said = json.dumps(typed.to_json(), sort_keys=True)
        digest = hashlib.sha256(f"{who.person.id} POST /compose {said}".encode()).digest()
        try:
            kept = await dedup.once(conn, who.workspace.id, f"compose-{key}", digest, first)
        except Refused as refused:
            if refused.code != "idempotency_key_reused":
                raise
            raise Refused(SENT_BEFORE, code=refused.code) from refused
    return int(kept.answer["publication"])


async def _make(conn: db.Conn, who: guard.Who, typed: Typed) -> int:
    sheet = await sheet_of(conn, who, typed)
    if problems := all_problems(sheet):
        raise Refused(ANOTHER_LOOK, code="invalid", fields=problems)
    assert sheet.shown is not None
    publication = await publishing.compose_all(
        conn,
        workspace_id=who.workspace.id,
        user_id=who.person.id,
        video_id=sheet.shown.video.id,
        wanted=[publishing.Wanted(tab.account.id, tab.post) for tab in sheet.tabs],
        when=sheet.chosen.when,
        text=sheet.typed.get("text"),
        draft_id=await _own_draft(conn, typed),
    )
    await send_ahead(conn, publication)
    return publication.id


async def send_ahead(conn: db.Conn, publication: publishing.Publication) -> None:
    """Where the platform itself keeps the time, it gets the file as soon as it is ready."""
    for target in publication.targets:
        if target.choices.native_at and target.can_change:
            await publishing.move_target(conn, target.id, publishing.When.now(target.zone))


async def _own_draft(conn: db.Conn, typed: Typed) -> int | None:
    """The draft that ends with this post; None when it was removed meanwhile."""
    draft_id = post_form.number(typed.get("draft"))
    return draft_id if draft_id in [draft.id for draft in await publishing.drafts.list_for(conn)] else None


async def _look(request: Request, typed: Typed, refused: HouseError | None = None) -> Response:
    """The page again with all that was typed; with what is wrong where it was to be sent."""
    who = guard.who_acts(request)
    async with db.owned_by(who.workspace.id) as conn:
        sheet = await sheet_of(conn, who, typed)
        draft_id = post_form.number(typed.get("draft"))
        drafts = {draft.id: draft for draft in await publishing.drafts.list_for(conn)}
        sent_before = refused is not None and refused.code == "idempotency_key_reused"
        about = await _about(
            conn, sheet, drafts.get(draft_id or 0), key="" if sent_before else typed.get("key")
        )
    return _again(request, sheet, about, refused)


def _again(request: Request, sheet: Sheet, about: dict[str, Any], refused: HouseError | None) -> Response:
    if refused is None:
        return page(request, "publications/compose.html", **about)
    found = refused.fields if isinstance(refused, Refused) else {}
    return page(
        request,
        "publications/compose.html",
        status=refused.status,
        **{**about, "problems": found, "refused": refused, "told": told_of(sheet, found)},
    )


# ---- as it is typed ----


async def check(request: Request) -> Response:
    """POST /compose/check: what each platform says of the form as it stands."""
    who, typed = guard.who_acts(request), await typed_of(request)
    async with db.owned_by(who.workspace.id) as conn:
        sheet = await sheet_of(conn, who, typed)
    return judged(request, sheet)


async def panel(request: Request) -> Response:
    """POST /compose/panel with the form and `show`: the tab and the panel of one more account."""
    who, typed = guard.who_acts(request), await typed_of(request)
    account_id = post_form.number(forms.text(await forms.read(request), "show"))
    if account_id is None:
        raise NotFound
    async with db.owned_by(who.workspace.id) as conn:
        sheet = await sheet_of(conn, who, typed.having({}, [account_id]))
    tab = next(tab for tab in sheet.tabs if tab.account.id == account_id)
    return page(request, "publications/compose_one.html", **{**sheet.things, "problems": {}, "tab": tab})


async def slot(request: Request) -> Response:
    """GET /compose/slot?account=7: the account's next free slot as the fields of the time."""
    account_id = post_form.number(request.query_params.get("account", ""))
    if account_id is None:
        raise NotFound
    return JSONResponse((await _with_slot(guard.who_acts(request), Typed(), str(account_id))).fields)


async def _with_slot(who: guard.Who, typed: Typed, account: str) -> Typed:
    """The form with the next free slot of this account as its time; Refused when it has no slots."""
    account_id = post_form.number(account)
    async with db.owned_by(who.workspace.id) as conn:
        if account_id is None:
            raise NotFound
        found = await accounts.get(conn, account_id)
        free = await publishing.slots.next_free(conn, account_id)
    if not free:
        raise Refused(
            f"{found.display_name} has no weekly slots yet.", code="no_slots", fields={"at": "none"}
        )
    first = free[0]
    return typed.having({"when": "later", "at": first.wall, "zone": first.zone, "fold": str(first.fold)})


# ---- drafts ----


async def keep(request: Request) -> Response:
    """POST /compose/drafts with the form: it is kept as a draft, and the answer names it."""
    who = guard.who_acts(request)
    draft = await _keep(who, await typed_of(request))
    return JSONResponse({"id": draft.id, "savedAt": draft.saved_at.isoformat()})


async def _keep(who: guard.Who, typed: Typed) -> publishing.drafts.Draft:
    async with db.owned_by(who.workspace.id) as conn:
        return await publishing.drafts.save(
            conn,
            workspace_id=who.workspace.id,
            user_id=who.person.id,
            form=typed.to_json(),
            draft_id=post_form.number(typed.get("draft")),
        )


async def drop(request: Request) -> Response:
    """POST /compose/drafts/7/remove."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await publishing.drafts.remove(conn, request.path_params["draft_id"])
        lines = await _draft_lines(conn)
    if not errors.is_htmx(request):
        return RedirectResponse("/compose", 303)
    return page(request, "publications/compose_drafts.html", drafts=lines, typed=Typed(), shown=None)
