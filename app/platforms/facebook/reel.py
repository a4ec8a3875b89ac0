"""A Reel: begun, its bytes sent to the upload host, published by one call. Sheet, section 3.1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from app.errors import HouseError
from app.platforms.base import App, BeforeLast, Grant, Handle, Media, OnCall, OnProgress, Post
from app.platforms.facebook.errors import AT_REELS, TABLE
from app.platforms.facebook.page import text_of, title_of
from app.platforms.meta import graph, hosts, rupload

# The sheet names no lifetime of a begun Reel; a day is what Meta gives a container of Instagram.
LIFETIME = timedelta(hours=24)
# reliability.md, section 2, step 4: the irreversible call ends within 60 s.
LAST_S = 60.0
# After these a Reel may have been begun that we cannot name; it shows nobody anything.
LOST = ("no_answer", "unreadable_answer", "internal_error", "1", "2")


async def begin(app: App, grant: Grant, post: Post, media: Media, on_call: OnCall | None) -> Handle:
    try:
        found = await graph.ask(
            TABLE,
            "begin",
            "POST",
            _edge(app, grant),
            token=grant.token,
            json={"upload_phase": "start"},
            meanings=AT_REELS,
            on_call=on_call,
        )
    except HouseError as error:
        if error.code in LOST or error.code.startswith("http_5"):
            raise TABLE.error("init_answer_lost") from error
        raise
    video_id, upload_url = found.get("video_id"), found.get("upload_url")
    if not isinstance(video_id, str) or not video_id or not isinstance(upload_url, str):
        raise TABLE.error("init_answer_lost")
    hosts.check(TABLE, app, upload_url)
    return Handle(video_id, upload_url, datetime.now(UTC) + LIFETIME, kind="reel")


async def send(
    app: App,
    grant: Grant,
    handle: Handle,
    post: Post,
    media: Media,
    from_byte: int,
    arrived: Callable[[], Awaitable[int]],
    *,
    on_progress: OnProgress,
    before_last: BeforeLast,
    on_call: OnCall | None,
) -> Handle | None:
    """Send what is missing, then publish. `arrived` asks Facebook for its count of bytes."""
    hosts.check(TABLE, app, handle.upload_url)
    await rupload.send(
        TABLE,
        "send",
        handle.upload_url,
        grant.token,
        media,
        from_byte,
        arrived,
        on_progress=on_progress,
        on_call=on_call,
    )
    await before_last()
    wish = {
        "upload_phase": "finish",
        "video_id": handle.publish_id,
        "video_state": "PUBLISHED",
        "description": text_of(post),
    }
    found = await graph.ask(
        TABLE,
        "send_last",
        "POST",
        _edge(app, grant),
        token=grant.token,
        json=wish | ({"title": title_of(post)} if title_of(post) else {}),
        meanings=AT_REELS,
        irreversible=True,
        timeout_s=LAST_S,
        on_call=on_call,
    )
    return taken(grant, handle, found)


def taken(grant: Grant, handle: Handle, found: dict[str, object]) -> Handle | None:
    """The handle with the post's id where the answer to the last call named one. Unsure unless it says success."""
    if found.get("success") is not True:
        raise TABLE.error("answer_lost")
    post_id = str(found.get("post_id") or "")
    if not post_id:
        return None
    return Handle(
        handle.publish_id,
        handle.upload_url,
        handle.expires_at,
        handle.kind,
        whole_id(grant.remote_id, post_id),
        handle.extra,
    )


def whole_id(page_id: str, post_id: str) -> str:
    """A post's id as its edges take it, `{page}_{post}`; some answers leave the Page's part out (section 3.4)."""
    return post_id if "_" in post_id else f"{page_id}_{post_id}"


def _edge(app: App, grant: Grant) -> str:
    return f"{app.api_base}/{app.version}/{grant.remote_id}/video_reels"
