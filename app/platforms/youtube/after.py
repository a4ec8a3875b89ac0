"""What follows a video that is out: its thumbnail. Sheet, section 4.

It may be set as often as one likes; whatever goes wrong with it never fails the post.
"""

from __future__ import annotations

from app import http
from app.platforms.base import App, Grant, Handle, Media, OnCall, Post
from app.platforms.youtube import calls, errors
from app.platforms.youtube.channel import MOST_COVER_BYTES

SEND_S = 60.0


async def after(
    app: App, grant: Grant, handle: Handle, post: Post, media: Media, *, on_call: OnCall | None = None
) -> None:
    """Set the chosen cover as thumbnail; nothing to do without one, or before the video's id is known.

    For a Short only once it is processed, which is when it counts as published. NotYet after too many thumbnails
    of one channel.
    """
    cover = media.cover
    if not post.use_cover or cover is None or not handle.remote_id or cover.bytes_total > MOST_COVER_BYTES:
        return
    picture = b"".join([piece async for piece in cover.read(0, cover.bytes_total)])
    url = f"{app.bases['upload']}/upload/youtube/v3/thumbnails/set"
    sent = http.request(
        "POST",
        url,
        headers=calls.bearer(grant) | {"Content-Type": cover.content_type},
        params={"videoId": handle.remote_id},
        content=picture,
        timeout_s=SEND_S,
    )
    await calls.told("thumbnail", "POST", url, sent, calls.said, on_call)


async def comment(app: App, grant: Grant, remote_id: str, text: str, *, on_call: OnCall | None = None) -> str:
    """Comments need a wider permission than we ask for (`COMMENTS` is False)."""
    raise errors.error("comments_not_offered")


async def comments(
    app: App, grant: Grant, remote_id: str, *, on_call: OnCall | None = None
) -> list[tuple[str, str]]:
    """None are read, as none are written."""
    return []
