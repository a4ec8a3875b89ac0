"""The creator's videos: library, composer, one video's page, and everything that can be done there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app import accounts, config, db, publishing, storage, videos
from app.errors import NotFound, Refused
from app.web import compose, errors, forms, guard, kits, look_form, renditions
from app.web.api import multipart
from app.web.pages import page

A_PAGE = 24
LONGEST_WORDS = 200
NEWEST = 10**18


# ---- library ----


async def library(request: Request) -> Response:
    """GET /videos?state=&words=&before=: the filters live in the address."""
    return page(request, "videos/library.html", **await _found(request))


async def cards(request: Request) -> Response:
    """GET /videos/cards: the list alone, for its live update."""
    return page(request, "videos/_cards.html", **await _found(request))


async def _found(request: Request) -> dict[str, Any]:
    query = request.query_params
    state = query.get("state") or None
    if state is not None and state not in videos.SHOWN:
        raise Refused("There is no such state.", code="invalid", fields={"state": "is not known"}, status=404)
    looked_for = query.get("words", "").strip()[:LONGEST_WORDS] or None
    before = query.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) <= 18 else None
    who = guard.who_acts(request)
    async with db.owned_by(who.workspace.id) as conn:
        found = await videos.list_for(
            conn, state=state, words=looked_for, before_id=before_id, most=A_PAGE + 1
        )
        counts = await videos.counts(conn)
        unfinished = await videos.uploads.unfinished(conn, who.person.id)
        shown = [await with_waiting(conn, one) for one in found[:A_PAGE]]
    return {
        "found": shown,
        "counts": {name: counts[name] for name in videos.SHOWN if counts.get(name)},
        "total": sum(counts.values()),
        "state": state,
        "looked_for": looked_for,
        "before": before_id,
        "older": shown[-1].video.id if len(found) > A_PAGE else None,
        "uploads": unfinished,
    }


async def with_waiting(conn: db.Conn, shown: videos.Shown) -> videos.Shown:
    """The same with the reason why it waits, where it moves at all; lists come without."""
    return await videos.show(conn, shown.video.id) if shown.moving else shown


# ---- composer ----


async def new(request: Request) -> Response:
    """GET /videos/new: the whole page, or the form alone for a dialog."""
    template = "videos/_composer.html" if errors.is_htmx(request) else "videos/new.html"
    return page(request, template, **await composer(request))


async def composer(
    request: Request,
    problems: dict[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    *,
    platform: str | None = None,
) -> dict[str, Any]:
    """What the composer shows: accounts, the panel of the picked one, the look, a first time. `form` is what was
    filled in before; `platform` leaves only its accounts to choose from.
    """
    who = guard.who_acts(request)
    async with db.owned_by(who.workspace.id) as conn:
        connected = [
            one for one in await accounts.list_for(conn) if platform is None or one.platform == platform
        ]
        look = await kits.section(
            conn,
            fields=look_form.written(form) if form else None,
            kit=request.query_params.get("kit", ""),
        )
        unfinished = await videos.uploads.unfinished(conn, who.person.id)
    wanted = request.query_params.get("account", "")
    picked = next((one for one in connected if str(one.id) == wanted), None)
    usable = [one for one in connected if one.usable]
    if picked is None and wanted != "none" and usable:
        picked = usable[0]
    return {
        **look,
        "connected": connected,
        "account": picked,
        "creator": accounts.creator_of(picked) if picked else None,
        "most_bytes": config.get().max_upload_bytes,
        "first_moment": compose.first_moment(datetime.now(UTC), who.person.zone),
        "uploads": unfinished,
        "problems": problems or {},
        "refused": None,
    }


async def panel(request: Request) -> Response:
    """GET /videos/new/panel?accountId=7: the platform's own choices for one account."""
    given = request.query_params.get("accountId", "")
    composing = compose.is_composed(given)
    given = given.removeprefix(compose.COMPOSED).removeprefix("-")
    account = None
    if given.isascii() and given.isdigit() and len(given) <= 18:
        async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
            account = await accounts.get(conn, int(given))
    creator = accounts.creator_of(account) if account else None
    return page(
        request, "videos/_panel.html", account=account, creator=creator, composing=composing, problems={}
    )


async def when(request: Request) -> Response:
    """GET /videos/new/when?at=&zone=: the chosen time in words, with its distance."""
    zone = request.query_params.get("zone", "UTC")
    try:
        chosen = compose.moment(request.query_params.get("at", ""), zone)
    except Refused as refused:
        return page(request, "videos/_when.html", chosen=None, zone=zone, problem=_one(refused), past=False)
    past = chosen.at <= datetime.now(UTC)
    return page(request, "videos/_when.html", chosen=chosen, zone=zone, problem=None, past=past)


async def check(request: Request) -> Response:
    """POST /videos/check: the form as the wishes an upload carries, or every problem by its field."""
    who = guard.who_acts(request)
    form = {name: value for name, value in (await forms.read(request)).items() if isinstance(value, str)}
    async with db.owned_by(who.workspace.id) as conn:
        asked = (await compose.read(conn, form)).to_json()
        return JSONResponse({"wishes": await compose.packed(conn, who.workspace.id, asked)})


async def take_in(request: Request) -> Response:
    """POST /videos: the form with its file in one request, for a browser without script."""
    who = guard.who_acts(request)
    form = multipart.Form(request, files=("file",))
    file = await form.file()
    if file is None:
        raise Refused("Choose a video first.", code="invalid", fields={"file": "is missing"})

    async def asked() -> videos.wishes.Wishes:
        await form.rest()
        async with db.owned_by(who.workspace.id) as conn:
            return await compose.read(conn, form.fields, filename=file.filename)

    try:
        video = await videos.uploads.take_in(
            file.chunks,
            workspace_id=who.workspace.id,
            user_id=who.person.id,
            filename=file.filename,
            asked=asked,
        )
    except Refused as refused:
        if errors.wants_json(request):
            raise
        about = await composer(request, refused.fields, form.fields)
        return page(request, "videos/new.html", status=refused.status, **{**about, "refused": refused})
    return RedirectResponse(compose.next_page(video.id, form.fields.get("accountId", "")), 303)


# ---- one video ----


async def video(request: Request) -> Response:
    """GET /videos/7: the player, where it stands and why, its posts, and all that happened."""
    return page(request, "videos/video.html", **await _about(request, with_parts=True, with_files=True))


async def view(request: Request) -> Response:
    return page(request, "videos/_video.html", **await _about(request, with_files=True))


async def card(request: Request) -> Response:
    return page(request, "videos/_card.html", **await _about(request))


async def row(request: Request) -> Response:
    return page(request, "videos/_row.html", **await _about(request))


async def targets(request: Request) -> Response:
    return page(request, "videos/_targets.html", **await _about(request, with_parts=True))


async def timeline(request: Request) -> Response:
    return page(request, "videos/_timeline.html", **await _about(request, with_parts=True))


async def target(request: Request) -> Response:
    """GET /videos/7/targets/9: one post with every attempt and every call to the platform."""
    about = await _about(request, with_parts=True)
    found = _target_of(request, about["shown"])
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        calls = await publishing.calls(conn, found.id)
    return page(request, "videos/target.html", target=found, calls=calls, **about)


async def file(request: Request) -> Response:
    """GET /videos/7/file?which=edited&download=1: on to a fresh signed link, so a player's address stays good."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await videos.get(conn, request.path_params["video_id"])
    edited = request.query_params.get("which") != "source"
    made = ("jpg", "image/jpeg") if found.is_picture else ("mp4", "video/mp4")
    key, kind = (found.edited_key, made[1]) if edited else (found.source_key, found.source_type)
    if key is None:
        raise NotFound("This video is not branded yet.")
    download = request.query_params.get("download") == "1"
    name = (
        f"{compose.stem(found.filename)}-{'fit' if found.is_picture else 'branded'}.{made[0]}"
        if edited
        else found.filename
    )
    link = storage.link(key, content_type=kind, filename=name if download else None, download=download)
    return RedirectResponse(link, 303, headers={"cache-control": "private, max-age=240"})


async def cancel(request: Request) -> Response:
    return await _act(request, videos.cancel)


async def retry(request: Request) -> Response:
    return await _act(request, videos.retry)


async def target_cancel(request: Request) -> Response:
    return await _act_on_target(request, publishing.cancel)


async def target_retry(request: Request) -> Response:
    async def again(conn: db.Conn, target_id: int) -> videos.Shown:
        return await videos.retry_target(conn, request.path_params["video_id"], target_id)

    return await _act_on_target(request, again)


async def target_settle(request: Request) -> Response:
    """POST …/settle with published=yes or no: the person has looked at the platform."""
    answer = forms.text(await forms.read(request), "published")
    if answer not in ("yes", "no"):
        raise Refused("Say whether it went out.", code="invalid", fields={"published": "say yes or no"})

    async def settle(conn: db.Conn, target_id: int) -> publishing.Target:
        return await publishing.settle_by_hand(conn, target_id, published=answer == "yes")

    return await _act_on_target(request, settle)


async def publish_form(request: Request) -> Response:
    """GET /videos/7/publish: the same video to a further account."""
    about = await _about(request)
    return page(request, "videos/publish.html", **about, **await composer(request, platform="tiktok"))


async def publish(request: Request) -> Response:
    """POST /videos/7/publish: plan a further post of this video."""
    who, video_id = guard.who_acts(request), request.path_params["video_id"]
    form = {name: value for name, value in (await forms.read(request)).items() if isinstance(value, str)}
    try:
        async with db.owned_by(who.workspace.id) as conn:
            found = await videos.get(conn, video_id)
            wishes = await compose.read(conn, {"title": found.title, **form})
            if wishes.account_id is None or wishes.post is None:
                raise Refused(
                    "Choose an account.", code="invalid", fields={"accountId": "Choose an account."}
                )
            await videos.publish_to(
                conn,
                video_id,
                user_id=who.person.id,
                account_id=wishes.account_id,
                post=wishes.post,
                publish_at=wishes.publish_at,
                zone=wishes.zone,
            )
    except Refused as refused:
        if not refused.fields:
            raise
        about = {**await _about(request), **await composer(request, refused.fields, platform="tiktok")}
        return page(request, "videos/publish.html", status=refused.status, **about)
    return RedirectResponse(f"/videos/{video_id}", 303)


async def _about(request: Request, *, with_parts: bool = False, with_files: bool = False) -> dict[str, Any]:
    """What the page of a video and its pieces show."""
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        shown = await videos.show(conn, request.path_params["video_id"])
        about: dict[str, Any] = {"shown": shown}
        if with_files:
            about["files"] = await renditions.of(conn, shown)
        if with_parts:
            about["happened"] = await videos.timeline(conn, shown)
            about["attempts"] = {one.id: await publishing.attempts(conn, one.id) for one in shown.targets}
            about["accounts"] = {
                one.account_id: await accounts.get(conn, one.account_id) for one in shown.targets
            }
    return about


def _target_of(request: Request, shown: videos.Shown) -> publishing.Target:
    target_id = request.path_params["target_id"]
    found = next((one for one in shown.targets if one.id == target_id), None)
    if found is None:
        raise NotFound
    return found


async def _act(request: Request, verb: Callable[[db.Conn, int], Awaitable[Any]]) -> Response:
    """Do it; give the piece of the page that shows it, or the whole page where there is no script."""
    video_id = request.path_params["video_id"]
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        await verb(conn, video_id)
    if errors.is_htmx(request):
        piece = {"card": card, "row": row}.get(request.query_params.get("as", ""), view)
        return await piece(request)
    return RedirectResponse(f"/videos/{video_id}", 303)


async def _act_on_target(request: Request, verb: Callable[[db.Conn, int], Awaitable[Any]]) -> Response:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        shown = await videos.show(conn, request.path_params["video_id"])
        await verb(conn, _target_of(request, shown).id)
    if errors.is_htmx(request):
        return await targets(request)
    return RedirectResponse(f"/videos/{request.path_params['video_id']}", 303)


def _one(refused: Refused) -> str:
    return next(iter(refused.fields.values()), refused.message)
