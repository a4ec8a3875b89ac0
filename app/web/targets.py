"""What is done with posts from the calendar and from a publication's page: moving, letting go, skipping, retrying.

A plain form is led back to the page it stood on, htmx gets the publication's piece, and a caller that wants JSON is
told in words where the post stands now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app import db, publishing, videos
from app.errors import Refused, WrongState
from app.web import errors, forms, guard, publications
from app.web.calendar import ACTS, MOST_IN_LANE
from app.web.pages import safe_next

LONGEST_GAP_MIN = 1440


# ---- one post ----


async def move(request: Request) -> Response:
    """POST /publications/targets/9/move with at, zone and fold: plan it for another time, row and alarm together."""
    form, target_id = await forms.read(request), request.path_params["target_id"]
    when = _when(form)
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        before = await publishing.get(conn, target_id)
        after = await publishing.move_target(conn, target_id, when)
    if errors.wants_json(request):
        told = {"id": after.id, "at": after.publish_at.isoformat(), "words": when.words(), "note": when.note}
        return JSONResponse({"moved": told})
    was = before.when if before.when.wall else publishing.When.instant(before.publish_at, before.zone)
    undo = {"moved": after.id, "was": was.wall[:16], "was-zone": was.zone, "was-fold": was.fold}
    return await _back(request, after.publication_id, after.id, told=undo)


async def post_now(request: Request) -> Response:
    """POST …/post-now: what is held back, or missed its time, goes out after all."""
    return await _act(request, publishing.approve_held)


async def skip(request: Request) -> Response:
    """POST …/skip: what is held back, or missed its time, does not go out."""
    return await _act(request, publishing.skip)


async def stop(request: Request) -> Response:
    """POST …/stop: cancel one post that is not out."""
    return await _act(request, publishing.cancel)


async def again(request: Request) -> Response:
    """POST …/again: try a post again that failed or was cancelled."""

    async def retry(conn: db.Conn, target_id: int) -> Any:
        target = await publishing.get(conn, target_id)
        return await videos.retry_target(conn, target.video_id, target_id)

    return await _act(request, retry)


async def settled(request: Request) -> Response:
    """POST …/settled with published=yes or no: the person has looked at the platform."""
    answer = forms.text(await forms.read(request), "published")
    if answer not in ("yes", "no"):
        raise Refused("Say whether it went out.", code="invalid", fields={"published": "say yes or no"})

    async def settle(conn: db.Conn, target_id: int) -> publishing.Target:
        return await publishing.settle_by_hand(conn, target_id, published=answer == "yes")

    return await _act(request, settle)


async def _act(request: Request, verb: Callable[[db.Conn, int], Awaitable[Any]]) -> Response:
    target_id = request.path_params["target_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        target = await publishing.get(conn, target_id)
        await verb(conn, target_id)
    return await _back(request, target.publication_id, target_id)


# ---- a whole publication ----


async def retry_failed(request: Request) -> Response:
    """POST /publications/7/retry: only what failed is tried again."""
    return await _act_on_all(request, publishing.retry_failed)


async def cancel_all(request: Request) -> Response:
    """POST /publications/7/cancel: what is not out yet does not go out."""
    return await _act_on_all(request, publishing.cancel_all)


async def move_all(request: Request) -> Response:
    """POST /publications/7/move: all that is not out yet, to one other time."""
    when = _when(await forms.read(request))
    return await _act_on_all(request, lambda conn, number: publishing.move(conn, number, when))


async def _act_on_all(request: Request, verb: Callable[[db.Conn, int], Awaitable[Any]]) -> Response:
    publication_id = request.path_params["publication_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await verb(conn, publication_id)
    return await _back(request, publication_id)


async def _back(
    request: Request, publication_id: int, target_id: int | None = None, told: dict[str, Any] | None = None
) -> Response:
    """The piece of the publication's page, or the page where the form stood; `told` goes along to the calendar."""
    if errors.is_htmx(request):
        return await publications.piece(request, publication_id)
    where = forms.text(await forms.read(request), "next")
    if not where:
        place = f"#target-{target_id}" if target_id is not None else ""
        return RedirectResponse(f"/publications/{publication_id}{place}", 303)
    return RedirectResponse(_with(safe_next(where), told or {}), 303)


def _with(path: str, told: dict[str, Any]) -> str:
    """A path of ours with something said in its query."""
    parts = urlsplit(path)
    query = "&".join(part for part in (parts.query, urlencode(told)) if part)
    return f"{parts.path}?{query}" if query else parts.path


def _when(form: FormData) -> publishing.When:
    """The day and time of a form, as the clocks of its zone have it."""
    fold = forms.text(form, "fold") == "1"
    return publishing.When.on(forms.text(form, "at"), forms.text(form, "zone"), int(fold)).check()


# ---- all that waits for a word ----


async def lane(request: Request) -> Response:
    """POST /calendar/lane with act=post, skip or move and the posts: each by itself; what is too late for one stops
    none of the others. `move` gives the first the time `at`, and each next one `every` minutes more.
    """
    form = await forms.read(request)
    act = forms.text(form, "act")
    if act not in ACTS:
        raise Refused("There is no such act.", code="invalid", fields={"act": "is not known"})
    chosen = _chosen(form)
    first, gap = (_when(form), _gap(form)) if act == "move" else (None, timedelta())
    done = 0
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        for target_id in chosen:
            try:
                async with conn.transaction():
                    await _decide(conn, act, target_id, first, gap * done)
            except (WrongState, Refused):
                continue
            done += 1
    told = {"did": act, "many": done, "left": len(chosen) - done}
    return RedirectResponse(_with(safe_next(forms.text(form, "next") or "/calendar"), told), 303)


async def _decide(
    conn: db.Conn, act: str, target_id: int, first: publishing.When | None, later: timedelta
) -> None:
    if act == "post":
        await publishing.approve_held(conn, target_id)
    elif act == "skip":
        await publishing.skip(conn, target_id)
    elif first is not None and first.at is not None:
        await publishing.move_target(conn, target_id, publishing.When.instant(first.at + later, first.zone))


def _gap(form: FormData) -> timedelta:
    given = forms.text(form, "every")
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:5]) <= LONGEST_GAP_MIN):
        said = f"Give 1 to {LONGEST_GAP_MIN} minutes between two posts."
        raise Refused(said, code="invalid", fields={"every": said})
    return timedelta(minutes=int(given))


def _chosen(form: FormData) -> list[int]:
    texts = [text for text in form.getlist("target") if isinstance(text, str)]
    numbers = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) <= 18]
    if not numbers or len(numbers) < len(texts) or len(numbers) > MOST_IN_LANE:
        raise Refused("Choose the posts first.", code="invalid", fields={"target": "is missing"})
    return list(dict.fromkeys(numbers))
