"""Sending a video's bytes into its session, chunk after chunk. Sheet, section 3.2.

The last chunk is the irreversible call: when YouTube has taken it, the video exists. Every chunk before it is
harmless, and after any stumble it is YouTube's own count that says where to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from app import http
from app.errors import HouseError, Unsure
from app.platforms.base import App, BeforeLast, Grant, Handle, Media, OnCall, OnProgress, Post
from app.platforms.body import Body
from app.platforms.youtube import calls, errors
from app.platforms.youtube.publish import Stored, check_upload_address, probe, stored

# 32 times the 262,144 bytes that a chunk must be a multiple of (section 3.2).
CHUNK_BYTES = 8_388_608
CHUNK_S = 120.0
# reliability.md, section 2, step 4: the irreversible call ends within 60 s.
LAST_S = 60.0
SENDS_OF_ONE_CHUNK = 4
# After these a probe says where to go on.
CUT = ("upload_cut", "no_answer", "not_reached", "unreadable_answer")
# No plain no to a chunk: it may mean the way to YouTube and not the bytes.
UNCLEAR = (401, 404, 408, 410, 425, 429)
T = TypeVar("T")


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
    on_call: OnCall | None = None,
) -> Handle | None:
    """Send what is missing from `from_byte` on, in order; gives the handle that knows the video's id.

    `from_byte` is 0 or what `status` gave as `bytes_received`. `before_last` is awaited right before the one
    irreversible call, and not at all when YouTube turns out to have everything already. That call is made once:
    Unsure means that only `status` can tell; any other error means that no video came of it. Chunks before it are
    repeated where YouTube's count says, up to four times, then Retryable `upload_cut`; `upload_wait` when YouTube
    names a wait of its own. Permanent `access_token_invalid` leaves the session as it is: renew and go on by its count.
    """
    check_upload_address(app, handle.upload_url)
    if handle.remote_id:
        return handle
    at_byte, sends = from_byte, 0
    if at_byte >= media.bytes_total:
        now = await probe(app, grant, handle, media, on_call=on_call)
        if now.video_id:
            return replace(handle, remote_id=now.video_id)
        at_byte = now.bytes_received
    while at_byte < media.bytes_total:
        end = min(at_byte + CHUNK_BYTES, media.bytes_total)
        body = Body(errors.TABLE, media, at_byte, end, on_progress)
        if end == media.bytes_total:
            await before_last()
            # Nothing of the caller's runs after this: what it raised would look like a definite no.
            return replace(handle, remote_id=await _send_last(grant, handle, media, body, on_call))
        sends += 1
        try:
            now = await _send_chunk(grant, handle, media, body, on_call)
        except HouseError as error:
            if error.code not in CUT:
                raise
            now = await probe(app, grant, handle, media, on_call=on_call)
            if now.bytes_received <= at_byte and sends >= SENDS_OF_ONE_CHUNK:
                raise errors.cut_off() from error
        if now.video_id:
            return replace(handle, remote_id=now.video_id)
        if now.bytes_received > at_byte:
            sends = 0
        elif sends >= SENDS_OF_ONE_CHUNK:
            raise errors.cut_off()
        at_byte = now.bytes_received
    # Everything is there and YouTube has not made a video of it yet: asking again will tell.
    raise errors.cut_off()


async def _send_chunk(
    grant: Grant, handle: Handle, media: Media, body: Body, on_call: OnCall | None
) -> Stored:
    def read(answer: http.Answer) -> Stored:
        if answer.status >= 500:
            raise errors.cut_off(answer)
        if answer.status == 308 and "range" not in answer.headers:
            # By the sheet nothing is stored then; a probe costs less than sending the file again.
            raise errors.error("upload_cut")
        return _read(answer, media, irreversible=False)

    return await _put("send", grant, handle, media, body, read, on_call, irreversible=False)


async def _send_last(grant: Grant, handle: Handle, media: Media, body: Body, on_call: OnCall | None) -> str:
    """The one irreversible call; gives the id of the video it made."""

    def read(answer: http.Answer) -> str:
        if answer.status >= 500 and not body.complete:
            raise errors.cut_off(answer)
        try:
            now = _read(answer, media, irreversible=True)
        except HouseError as error:
            if error.code == "unreadable_answer":
                # A page in place of an answer comes from a gateway, which may have passed the bytes on.
                raise errors.error("answer_lost") from error
            raise
        if not now.video_id:
            # It says itself that bytes are missing, so there is no video.
            raise errors.cut_off()
        return now.video_id

    try:
        return await _put("send_last", grant, handle, media, body, read, on_call, irreversible=True)
    except Unsure as error:
        # The line broke while bytes were still missing, so YouTube cannot have made a video of them.
        if error.code == "answer_lost" and not body.complete:
            raise errors.cut_off() from error
        raise


def _read(answer: http.Answer, media: Media, *, irreversible: bool) -> Stored:
    """As `stored`, but a refusal knows which call it answers."""
    if answer.status < 400:
        return stored(answer, media)
    if answer.status in (404, 410):
        raise errors.error("upload_expired", irreversible=irreversible)
    found = errors.refusal(answer, irreversible=irreversible)
    if (
        answer.status < 500
        and answer.status not in UNCLEAR
        and found.code in ("badRequest", f"http_{answer.status}")
    ):
        raise errors.error("upload_refused", answer.text)
    raise found


async def _put(
    step: str,
    grant: Grant,
    handle: Handle,
    media: Media,
    body: Body,
    read: Callable[[http.Answer], T],
    on_call: OnCall | None,
    *,
    irreversible: bool,
) -> T:
    headers = calls.bearer(grant) | {
        "Content-Type": media.content_type,
        "Content-Length": str(body.end - body.start),
        "Content-Range": f"bytes {body.start}-{body.end - 1}/{media.bytes_total}",
    }
    async with aclosing(body.pieces()) as pieces:
        sent = http.request(
            "PUT",
            handle.upload_url,
            headers=headers,
            content=pieces,
            timeout_s=LAST_S if irreversible else CHUNK_S,
            irreversible=irreversible,
        )
        return await calls.told(step, "PUT", handle.upload_url, sent, read, on_call)
