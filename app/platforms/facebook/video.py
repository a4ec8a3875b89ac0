"""An ordinary video: begun, sent in chunks that Facebook cuts, published by one call. Sheet, section 3.2 a."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.errors import HouseError
from app.platforms.base import App, BeforeLast, Grant, Handle, Media, OnCall, OnProgress, Post
from app.platforms.facebook.errors import IN_UPLOAD, TABLE
from app.platforms.facebook.form import Form
from app.platforms.facebook.page import text_of, title_of
from app.platforms.facebook.reel import LAST_S, LOST, taken
from app.platforms.meta import graph

# The sheet names no lifetime; Facebook says by 1363041 that a session is over, whenever that is.
LIFETIME = timedelta(hours=24)
CHUNK_S = 120.0
SLOWEST_BYTES_PER_S = 250_000
SENDS_WITHOUT_PROGRESS = 4
# What the official SDK waits before it repeats a chunk that met a passing trouble (section 3.2).
PASSING_S = 1.0
WRONG_START = "1363037"
# After these the same chunk is sent again: Facebook answers a wrong start with the right one.
AGAIN = (
    "no_answer",
    "not_reached",
    "unreadable_answer",
    "internal_error",
    "1",
    "2",
    "1363019",
    "1363021",
    "1363030",
    "1363033",
)


@dataclass(frozen=True)
class Part:
    """The bytes that Facebook wants next, `end` exclusive; none when both are the same."""

    start: int
    end: int


async def begin(app: App, grant: Grant, post: Post, media: Media, on_call: OnCall | None) -> Handle:
    try:
        found = await graph.ask(
            TABLE,
            "begin",
            "POST",
            _edge(app, grant),
            token=grant.token,
            json={"upload_phase": "start", "file_size": str(media.bytes_total)},
            meanings=IN_UPLOAD,
            on_call=on_call,
        )
    except HouseError as error:
        if error.code in LOST or error.code.startswith("http_5"):
            raise TABLE.error("init_answer_lost") from error
        raise
    session, video_id, part = found.get("upload_session_id"), found.get("video_id"), _part(found, media)
    if not session or not video_id or part is None:
        raise TABLE.error("init_answer_lost")
    return Handle(
        publish_id=str(video_id),
        upload_url="",
        expires_at=datetime.now(UTC) + LIFETIME,
        kind="video",
        extra={"session": str(session), "chunk": str(part.end - part.start)},
    )


async def send(
    app: App,
    grant: Grant,
    handle: Handle,
    post: Post,
    media: Media,
    from_byte: int,
    *,
    on_progress: OnProgress,
    before_last: BeforeLast,
    on_call: OnCall | None,
) -> Handle | None:
    """Send what is missing as Facebook cuts it, then publish.

    `from_byte` is where we believe it goes on, and the first cut is as long as the first one was: where Facebook
    counts otherwise it says so, and its numbers are taken.
    """
    await _send_chunks(app, grant, handle, media, from_byte, on_progress, on_call)
    await before_last()
    wish = {
        "upload_phase": "finish",
        "upload_session_id": handle.extra.get("session", ""),
        "published": "true",
        "description": text_of(post),
    }
    found = await graph.ask(
        TABLE,
        "send_last",
        "POST",
        _edge(app, grant),
        token=grant.token,
        json=wish | ({"title": title_of(post)} if title_of(post) else {}),
        irreversible=True,
        timeout_s=LAST_S,
        on_call=on_call,
    )
    return taken(grant, handle, found)


async def _send_chunks(
    app: App,
    grant: Grant,
    handle: Handle,
    media: Media,
    from_byte: int,
    on_progress: OnProgress,
    on_call: OnCall | None,
) -> None:
    total = media.bytes_total
    length = max(int(handle.extra.get("chunk") or 0), 1)
    part = Part(from_byte, min(from_byte + length, total))
    furthest, sends = from_byte, 0
    while part.start < part.end:
        sends += 1
        told: list[Part] = []

        def hear(refusal: Mapping[str, Any], told: list[Part] = told) -> None:
            if (found := _part(graph.details(refusal), media)) is not None:
                told.append(found)

        try:
            following = await _transfer(app, grant, handle, media, part, hear, on_progress, on_call)
            sends = 0 if following.start > part.start else sends
        except HouseError as error:
            passing = error.code in AGAIN or error.code.startswith("http_5")
            if not passing and error.code != WRONG_START:
                raise
            if sends >= SENDS_WITHOUT_PROGRESS:
                raise TABLE.error("upload_cut") from error
            # Without numbers the same part is as good as any.
            following = told[-1] if told and error.code == WRONG_START else part
            if passing:
                await asyncio.sleep(PASSING_S)
        part = following
        if part.start > furthest:
            furthest, sends = part.start, 0


async def _transfer(
    app: App,
    grant: Grant,
    handle: Handle,
    media: Media,
    part: Part,
    hear: Callable[[Mapping[str, Any]], None],
    on_progress: OnProgress,
    on_call: OnCall | None,
) -> Part:
    fields = {
        "upload_phase": "transfer",
        "upload_session_id": handle.extra.get("session", ""),
        "start_offset": str(part.start),
    }
    form = Form(fields, "video_file_chunk", media, part.start, part.end)
    async with aclosing(form.pieces(on_progress)) as content:
        found = await graph.ask(
            TABLE,
            "send",
            "POST",
            _edge(app, grant),
            token=grant.token,
            content=content,
            headers=form.headers,
            meanings=IN_UPLOAD,
            timeout_s=CHUNK_S + (part.end - part.start) / SLOWEST_BYTES_PER_S,
            on_refusal=hear,
            on_call=on_call,
        )
    following = _part(found, media)
    if following is None:
        raise TABLE.error("unreadable_answer")
    return following


def _part(said: Mapping[str, Any], media: Media) -> Part | None:
    """The offsets of an answer, which are numbers or their text; None when they cannot be meant."""
    try:
        part = Part(int(said["start_offset"]), int(said["end_offset"]))
    except (KeyError, TypeError, ValueError):
        return None
    return part if 0 <= part.start <= part.end <= media.bytes_total else None


def _edge(app: App, grant: Grant) -> str:
    return f"{app.bases.get('video', app.api_base)}/{app.version}/{grant.remote_id}/videos"
