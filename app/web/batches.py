"""Several videos in one job: the batch's page, and the three doors into it (files, a choice of videos, a retry)."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app import accounts, batches, config, db, dedup, videos
from app.errors import Refused
from app.web import compose, errors, forms, guard
from app.web.pages import page
from app.web.videos import composer

A_PAGE = 20
MOST_UNDER_WAY = 5
# Shown states of items that wait in line, and so can say why.
IN_LINE = ("EDITING_QUEUED", "UPLOAD_QUEUED")


async def listed(request: Request) -> Response:
    """GET /batches?before=: newest first; the list alone for its live update."""
    before = request.query_params.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) <= 18 else None
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await batches.list_for(conn, before_id=before_id, most=A_PAGE + 1)
        names = await account_names(conn)
    older = found[A_PAGE - 1].batch.id if len(found) > A_PAGE else None
    template = "batches/_list.html" if errors.is_htmx(request) else "batches/list.html"
    return page(request, template, found=found[:A_PAGE], older=older, before=before_id, names=names)


async def under_way(request: Request) -> Response:
    """GET /batches/under-way: the newest ones that are not over, for the dashboard."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = [one for one in await batches.list_for(conn, most=A_PAGE) if not one.over]
        names = await account_names(conn) if found else {}
    return page(request, "batches/_under_way.html", found=found[:MOST_UNDER_WAY], names=names)


async def account_names(conn: db.Conn) -> dict[int, str]:
    """What the workspace's accounts are called, by id, for titles of batches."""
    return {account.id: account.display_name for account in await accounts.list_for(conn)}


# ---- opening one ----


async def new(request: Request) -> Response:
    """GET /batches/new?video=7&video=9: where, with which words and when these videos are posted."""
    return page(request, "batches/new.html", **await _about_new(request, _chosen(request.query_params)))


async def create(request: Request) -> Response:
    """POST /batches with act=upload, post, retry or cancel; act=choose leads on to the form of a post.

    The same `key` again leads to the same batch.
    """
    form = await forms.read(request)
    act = forms.text(form, "act")
    if act == "choose":
        query = urlencode([("video", video_id) for video_id in _chosen(form)])
        return RedirectResponse(f"/batches/new?{query}", 303)
    if act not in list(batches.Act):
        raise Refused("There is no such act.", code="invalid", fields={"act": "is not known"})
    make = _upload if act == batches.Act.UPLOAD else _act_on
    try:
        batch_id = await _once(request, form, lambda conn: make(request, conn, form))
    except Refused as refused:
        if act != batches.Act.POST or not refused.fields or errors.wants_json(request):
            raise
        about = await _about_new(request, _chosen(form), refused.fields)
        return page(request, "batches/new.html", status=refused.status, **about)
    if not errors.wants_json(request):
        return RedirectResponse(f"/batches/{batch_id}", 303)
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        shown = await batches.show(conn, batch_id)
    told = {"id": batch_id, "url": f"/batches/{batch_id}", "items": [one.item.id for one in shown.items]}
    return JSONResponse({"batch": told}, 201)


async def _once(request: Request, form: FormData, make: Callable[[db.Conn], Awaitable[batches.Batch]]) -> int:
    """The batch of this form. A form sent twice, also at once, makes one (R13): its page gave it a key."""
    who, key = guard.who_acts(request), forms.text(form, "key")
    said = json.dumps([[name, str(value)] for name, value in form.multi_items() if name != "csrf"])
    async with db.owned_by(who.workspace.id) as conn:
        if not key:
            return (await make(conn)).id

        async def first() -> dedup.Kept:
            return dedup.Kept(201, {"batch": (await make(conn)).id})

        digest = hashlib.sha256(f"{who.person.id} POST /batches {said}".encode()).digest()
        kept = await dedup.once(conn, who.workspace.id, f"batch-{key}", digest, first)
    return int(kept.answer["batch"])


async def _upload(request: Request, conn: db.Conn, form: FormData) -> batches.Batch:
    """Places for the files that the composer is about to send."""
    who = guard.who_acts(request)
    asked = videos.wishes.read(await compose.unpacked(conn, _object(form, "wishes", dict)))
    files = []
    for number, given in enumerate(_object(form, "files", list)):
        fields = given if isinstance(given, dict) else {}
        name, size, title = fields.get("filename"), fields.get("bytes"), fields.get("title")
        if not isinstance(name, str) or type(size) is not int or not isinstance(title, str | None):
            raise Refused(
                "This cannot be used.", code="invalid", fields={f"files.{number}": "cannot be read"}
            )
        files.append(batches.File(name, size, title or batches.title_of(asked.title, compose.stem(name))))
    return await batches.upload_all(
        conn, workspace_id=who.workspace.id, user_id=who.person.id, files=files, asked=asked
    )


def _object(form: FormData, name: str, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    try:
        found = json.loads(forms.text(form, name))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise Refused("This cannot be used.", code="invalid", fields={name: "cannot be read"})
    return found


async def _act_on(request: Request, conn: db.Conn, form: FormData) -> batches.Batch:
    """The same act for every chosen video."""
    who, act = guard.who_acts(request), batches.Act(forms.text(form, "act"))
    asked = None
    if act == batches.Act.POST:
        said = {name: value for name, value in form.items() if isinstance(value, str)}
        asked = await compose.read(conn, {**said, "title": said.get("title", "").strip() or "{name}"})
    return await batches.act_on(
        conn,
        workspace_id=who.workspace.id,
        user_id=who.person.id,
        act=act,
        video_ids=_chosen(form),
        asked=asked,
    )


def _chosen(given: Any) -> list[int]:
    """The videos that were ticked."""
    texts = [text for text in given.getlist("video") if isinstance(text, str)]
    numbers = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) <= 18]
    if not numbers or len(numbers) < len(texts):
        raise Refused("Choose at least one video first.", code="invalid", fields={"video": "is missing"})
    return numbers


async def _about_new(
    request: Request, chosen: list[int], problems: dict[str, str] | None = None
) -> dict[str, Any]:
    if len(set(chosen)) > batches.MOST:
        raise Refused(
            f"A batch holds at most {batches.MOST} videos; these are {len(set(chosen))}.",
            code="too_many",
            fields={"video": f"at most {batches.MOST}"},
        )
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.show_many(conn, chosen)
    return {
        **await composer(request, problems, platform="tiktok"),
        "chosen": [found[video_id] for video_id in dict.fromkeys(chosen) if video_id in found],
        "key": secrets.token_hex(16),
        "form": dict(await forms.read(request)),
    }


# ---- one batch ----


async def batch(request: Request) -> Response:
    """GET /batches/7: one bar over all, and each item with its state, reason and link."""
    return page(request, "batches/batch.html", **await _about(request))


async def view(request: Request) -> Response:
    return page(request, "batches/_batch.html", **await _about(request))


async def _about(request: Request) -> dict[str, Any]:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await batches.show(conn, request.path_params["batch_id"])
        return {
            "found": found,
            "waits": await _waits(conn, found),
            "names": await account_names(conn),
            "most_bytes": config.get().max_upload_bytes,
        }


async def _waits(conn: db.Conn, found: batches.ShownBatch) -> list[dict[str, Any]]:
    """Why those in line wait: asked for the first of each line, as it holds for all behind it. That it is soon its
    turn is no news here.
    """
    reasons: dict[str, dict[str, Any]] = {}
    for state in IN_LINE:
        first = next((one.shown for one in found.items if one.state == state and one.shown), None)
        waiting = None if first is None else (await videos.show(conn, first.video.id)).waiting
        if waiting is not None and waiting["kind"] != "turn":
            reasons.setdefault(waiting["text"], waiting)
    return list(reasons.values())


async def retry(request: Request) -> Response:
    """POST /batches/7/retry: what failed goes on where it ended."""
    return await _act(request, batches.retry)


async def cancel(request: Request) -> Response:
    """POST /batches/7/cancel: what is not posted yet is called off."""
    return await _act(request, batches.cancel, then=batches.clear_away)


async def _act(
    request: Request,
    verb: Callable[[db.Conn, int], Awaitable[int]],
    then: Callable[[int, int], Awaitable[None]] | None = None,
) -> Response:
    workspace_id, batch_id = guard.who_acts(request).workspace.id, request.path_params["batch_id"]
    async with db.owned_by(workspace_id) as conn:
        await verb(conn, batch_id)
    if then is not None:
        await then(workspace_id, batch_id)
    return await _again(request, batch_id)


async def remove(request: Request) -> Response:
    """POST /batches/7/items/9/remove: give up a place that has no video."""
    workspace_id, batch_id = guard.who_acts(request).workspace.id, request.path_params["batch_id"]
    async with db.owned_by(workspace_id) as conn:
        upload_id = await batches.remove(conn, batch_id, request.path_params["item_id"])
    if upload_id is not None:
        await videos.uploads.drop(workspace_id, upload_id)
    return await _again(request, batch_id)


async def _again(request: Request, batch_id: int) -> Response:
    """The piece of the page that shows it, or the whole page where there is no script."""
    return await view(request) if errors.is_htmx(request) else RedirectResponse(f"/batches/{batch_id}", 303)
