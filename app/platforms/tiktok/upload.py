"""Sending a video's bytes to TikTok, chunk after chunk. Sheet, sections 4.2 and 4.3.

The last chunk is the irreversible call: when TikTok has taken it, the post is on its way. Every chunk before
it is harmless and may be sent again.
"""

from __future__ import annotations

from contextlib import aclosing

from app import http
from app.errors import HouseError, Retryable, Unsure
from app.platforms.base import App, BeforeLast, Grant, Handle, Media, OnCall, OnProgress, Post
from app.platforms.body import Body
from app.platforms.tiktok import calls, errors
from app.platforms.tiktok.chunks import end_of_chunk
from app.platforms.tiktok.publish import check_upload_address, status

CHUNK_S = 120.0
# reliability.md, section 2, step 4: the irreversible call ends within 60 s.
LAST_S = 60.0
SENDS_OF_ONE_CHUNK = 4
AGAIN_S = 10.0
# After these it is TikTok's count of bytes that says where to go on.
CUT = ("upload_cut", "range_mismatch", "no_answer", "not_reached")
REFUSALS = {403: "upload_expired", 404: "upload_expired", 416: "range_mismatch"}
# A plain no to any other call; about the last chunk only asking tells (reliability.md, section 2).
UNCLEAR = (403, 404, 408, 416, 425, 429)


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
    """Send what is missing from `from_byte` on, in order; returning means that TikTok has all of it.

    `from_byte` is 0 or what `status` gave as `bytes_received`. `before_last` is awaited right before the one
    irreversible call, and not at all when TikTok turns out to have everything already. That call is made
    once: Unsure means that only `status` can tell; any other error means that it has posted nothing. Chunks
    before it are repeated where TikTok's count says, up to four times, then Retryable `upload_cut`.
    `upload_expired` means that the handle is dead, but ask `status` before beginning anew. `on_progress` hears
    the bytes sent so far and nothing after the last one; an error of it, of `media.read` or of `before_last`
    ends the sending and comes through as it is.
    """
    check_upload_address(app, handle.upload_url)
    at_byte, sends = from_byte, 0
    while at_byte < media.bytes_total:
        end = end_of_chunk(media.bytes_total, at_byte)
        body = Body(errors.TABLE, media, at_byte, end, on_progress)
        if end == media.bytes_total:
            await before_last()
            await _send_last(handle, media, body, on_call)
            # Nothing of the caller's runs after this: what it raised would look like a definite no.
            return None
        sends += 1
        try:
            await _send_chunk(handle, media, body, on_call)
            arrived = end
        except HouseError as error:
            if error.code not in CUT:
                raise
            arrived = await _arrived(app, grant, handle, post, media, at_byte, on_call)
            if arrived <= at_byte and sends >= SENDS_OF_ONE_CHUNK:
                raise _cut_off() from error
        if arrived > at_byte:
            sends = 0
        at_byte = arrived
    return None


async def _send_chunk(handle: Handle, media: Media, body: Body, on_call: OnCall | None) -> None:
    def read(answer: http.Answer) -> None:
        if answer.status == 206:
            return
        if answer.status in REFUSALS:
            raise errors.error(REFUSALS[answer.status])
        if answer.status == 429:
            raise errors.error("rate_limit_exceeded")
        raise errors.error("upload_refused" if 400 <= answer.status < 500 else "upload_cut", answer.text)

    await _put("send", handle, media, body, read, on_call, irreversible=False)


async def _send_last(handle: Handle, media: Media, body: Body, on_call: OnCall | None) -> None:
    def read(answer: http.Answer) -> None:
        # A page in place of an answer comes from a gateway, which may or may not have passed the bytes on.
        if answer.status in (200, 201) and "html" not in answer.headers.get("content-type", ""):
            return
        if 400 <= answer.status < 500 and answer.status not in UNCLEAR:
            raise errors.error("upload_refused", answer.text)
        if answer.status in REFUSALS:
            raise errors.error(REFUSALS[answer.status], irreversible=True)
        if not body.complete:
            raise _cut_off()
        raise errors.classify(answer.status, "", "", irreversible=True)

    try:
        await _put("send_last", handle, media, body, read, on_call, irreversible=True)
    except Unsure as error:
        # The line broke while bytes were still missing, so TikTok cannot have taken the chunk.
        if error.code == "answer_lost" and not body.complete:
            raise _cut_off() from error
        raise


async def _put(
    step: str,
    handle: Handle,
    media: Media,
    body: Body,
    read: calls.Reader,
    on_call: OnCall | None,
    *,
    irreversible: bool,
) -> None:
    headers = {
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
        await calls.told(step, "PUT", handle.upload_url, sent, read, on_call)


async def _arrived(
    app: App,
    grant: Grant,
    handle: Handle,
    post: Post,
    media: Media,
    at_byte: int,
    on_call: OnCall | None,
) -> int:
    """Where to go on after a cut, by TikTok's own count."""
    now = await status(app, grant, handle, post, media, on_call=on_call)
    if now.state in ("published", "inbox"):
        return media.bytes_total
    if now.state == "gone":
        raise errors.error("upload_expired")
    if now.error is not None:
        raise now.error
    return at_byte if now.bytes_received is None else min(now.bytes_received, media.bytes_total)


def _cut_off() -> Retryable:
    return Retryable(errors.verdict("upload_cut").sentence, code="upload_cut", after_s=AGAIN_S)
