"""The upload host: a Reel's bytes, or the address to fetch them from. Facebook sheet, section 3.1, step 2."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.sandbox import faults, later
from app.sandbox.answering import expire_tokens, under, world_of
from app.sandbox.facebook import videos
from app.sandbox.facebook.calls import VERSIONS, Caller, caller_of
from app.sandbox.facebook.creators import NAME
from app.sandbox.facebook.publish import MOST_BYTES, POSTING, VIDEO_TYPES, mark_cut, set_size
from app.sandbox.facebook.videos import Video
from app.sandbox.faults import Fault
from app.sandbox.line import Cut
from app.sandbox.meta import envelope, fetch, store
from app.sandbox.meta.envelope import Problem
from app.sandbox.meta.store import Refused, Sent
from app.sandbox.world import World, count_call

LATER = "facebook_bytes"


@dataclass(frozen=True)
class Entry:
    fault: Fault | None
    caller: Caller | None
    problem: Problem | None
    video: Video | None


async def video_upload(request: Request) -> Response:
    """Bytes with `offset` and `file_size`, or a header `file_url` and no body. The token comes as `OAuth` only."""
    world = world_of(request)
    await later.settle(world)
    at = world.clock()
    video_id = request.path_params["object_id"]
    entry = await world.write(_enter, world, envelope.uploader_of(request.headers), video_id, at)
    if entry.fault is not None and entry.fault.fault in ("error_before", "rate_limit"):
        await _drained(request)

    async def acted() -> Response:
        try:
            video = _allowed(request, entry, at)
            if "file_url" in request.headers:
                return await _fetched(world, video, request.headers["file_url"])
            return await _received(world, request, entry, video)
        except Refused as no:
            await _drained(request)
            return no.answer()
        except store.Interrupted:
            await world.write(mark_cut, video_id)
            return Cut()

    async def put_off(due_at: float) -> None:
        part = world.files / f"part-{secrets.token_hex(12)}"
        try:
            video = _allowed(request, entry, at)
            sent = store.headers_of(request)
            await store.take(
                part, request.stream(), Sent(0, sent.file_size - sent.offset), most_bytes=MOST_BYTES
            )
        except Refused:
            return
        arguments = {
            "video_id": video.id,
            "part": part.name,
            "offset": sent.offset,
            "file_size": sent.file_size,
        }
        await world.write(later.put, LATER, due_at, arguments)

    broken = envelope.upload_problem("ServerError", "Something went wrong.", retriable=True, status=500)
    limited = envelope.app_full().answer()
    return await under(world, entry.fault, acted, put_off, broken=broken, limited=limited)


async def _drained(request: Request) -> None:
    try:
        async for _ in request.stream():
            pass
    except (RuntimeError, ClientDisconnect):
        # The body was read to its end before, or nobody is there any more.
        return


def _enter(conn: sqlite3.Connection, world: World, token: str, video_id: str, at: float) -> Entry:
    count_call(conn, NAME, "upload")
    caller, problem = caller_of(conn, world, token, at)
    names = caller.names if caller else ()
    fault = faults.take_line(conn, NAME, ("upload",), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        fault = None
        caller, problem = caller_of(conn, world, token, at)
    return Entry(fault, caller, problem, videos.by_id(conn, video_id))


def _allowed(request: Request, entry: Entry, at: float) -> Video:
    """The Reel these bytes are for; Refused in the upload host's own form when they cannot be taken."""
    if not VERSIONS.match(request.path_params["version"]):
        raise Refused("ProcessingFailedError", "There is no such version.", retriable=False)
    caller = entry.caller
    if caller is None or entry.problem is not None:
        message = entry.problem.message if entry.problem else "The token is missing."
        raise Refused("NotAuthorizedError", message, retriable=False, status=401)
    video = entry.video
    known = video is not None and caller.page is not None and video.page_id == caller.page.id
    if video is None or not known or video.kind != "reel":
        raise Refused("ProcessingFailedError", "There is no such upload.", retriable=False, status=404)
    if POSTING not in caller.scopes:
        raise Refused("NotAuthorizedError", f"Requires {POSTING} permission.", retriable=False, status=401)
    if video.ended(at) or video.finished_at is not None:
        raise Refused("ProcessingFailedError", "The upload is over.", retriable=False)
    return video


async def _received(world: World, request: Request, entry: Entry, video: Video) -> Response:
    sent = store.headers_of(request)
    await world.write(set_size, video.id, sent.file_size)
    now = await world.read(videos.by_id, video.id) or video
    if now.total_bytes != sent.file_size:
        raise Refused("ProcessingFailedError", "file_size is not what it was.", retriable=False)
    cut_at_byte = entry.caller.creator.switches.cut_at_byte if entry.caller else 0
    await store.take(
        video.path(world),
        request.stream(),
        sent,
        most_bytes=MOST_BYTES,
        cut_at_byte=cut_at_byte if cut_at_byte and not video.was_cut else None,
    )
    return envelope.said({"success": True, "message": "Upload successful."})


async def _fetched(world: World, video: Video, url: str) -> Response:
    try:
        found = await fetch.fetch(
            url,
            video.path(world),
            most_bytes=MOST_BYTES,
            types=VIDEO_TYPES,
            trust=world.settings.pull_ca,
        )
    except fetch.Unfetchable as failure:
        raise Refused(
            "ProcessingFailedError", str(failure), retriable=failure.reason == "unreachable"
        ) from failure
    await world.write(set_size, video.id, found.bytes)
    return envelope.said({"success": True})


async def _append_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    video = await world.read(videos.by_id, arguments["video_id"])
    part = world.files / arguments["part"]
    if video is None or not part.exists():
        return
    await world.write(set_size, video.id, arguments["file_size"])
    path = video.path(world)
    if video.finished_at is None and store.received(path) == arguments["offset"]:
        with path.open("ab") as file, part.open("rb") as piece:
            shutil.copyfileobj(piece, file)
    part.unlink(missing_ok=True)


later.knows(LATER, _append_later)
