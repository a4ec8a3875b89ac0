"""Posting to a Page: begun harmlessly, sent, published by one call, asked about. Sheet, section 3.

Each kind of post has a harmless thing with an id before its point of no return, so a lost answer is always settled
by reading that id: a Reel's or video's own, a picture's.
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from urllib.parse import quote

from app.platforms.base import App, BeforeLast, Grant, Handle, Media, OnCall, OnProgress, Post, Status
from app.platforms.facebook import image, reel, video
from app.platforms.facebook import status as asked
from app.platforms.facebook.errors import TABLE
from app.platforms.facebook.form import Form
from app.platforms.facebook.page import kind_of
from app.platforms.meta import graph

HOME = "https://www.facebook.com"
THUMBNAIL_S = 60.0


async def begin(app: App, grant: Grant, post: Post, media: Media, *, on_call: OnCall | None = None) -> Handle:
    """Begin a Reel or a video, or store a picture unseen. Each call begins another one; none is shown.

    Unsure `init_answer_lost` when Facebook may have begun one that we cannot name. Commit the handle before
    anything is sent. NotYet `reels_quota` when the Page has had its Reels of the day.
    """
    kind = kind_of(post, media)
    if kind == "image":
        return await image.begin(app, grant, post, media, on_call)
    if kind == "video":
        return await video.begin(app, grant, post, media, on_call)
    return await reel.begin(app, grant, post, media, on_call)


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
    """Send what is missing from `from_byte` on, then publish; gives the handle with the post's id if it was named.

    `from_byte` is 0 or what `status` gave as `bytes_received`; a picture has none to send. `before_last` is awaited
    right before the one irreversible call, which is made once: Unsure means that only `status` can tell; any other
    error means that nothing was published. What breaks off before it goes on at Facebook's own count, up to four
    times, then Retryable `upload_cut`. `upload_expired` means that the handle is dead, but ask `status` before
    beginning anew. An error of `on_progress`, of `media.read` or of `before_last` comes through as it is.
    """
    if handle.kind == "image":
        return await image.send(app, grant, handle, post, before_last=before_last, on_call=on_call)
    if handle.kind == "video":
        return await video.send(
            app,
            grant,
            handle,
            post,
            media,
            from_byte,
            on_progress=on_progress,
            before_last=before_last,
            on_call=on_call,
        )

    async def arrived() -> int:
        now = await status(app, grant, handle, post, media, on_call=on_call)
        if now.state == "gone":
            raise TABLE.error("upload_expired")
        if now.error is not None:
            raise now.error
        if now.bytes_received is None:
            return media.bytes_total if now.state in ("unpublished", "published") else 0
        return now.bytes_received

    return await reel.send(
        app,
        grant,
        handle,
        post,
        media,
        from_byte,
        arrived,
        on_progress=on_progress,
        before_last=before_last,
        on_call=on_call,
    )


async def status(
    app: App,
    grant: Grant,
    handle: Handle,
    post: Post,
    media: Media,
    *,
    since: datetime | None = None,
    on_call: OnCall | None = None,
) -> Status:
    """Where the post stands. Reads only; asks by the id of the handle, so nothing has to be guessed.

    `unpublished` is a definite no: send again with the same handle, and only the last call is made.
    """
    if handle.kind == "image":
        return await image.status(app, grant, handle, on_call)
    return await asked.of_video(app, grant, handle, on_call)


def link(handle_name: str, post_id: str | None = None) -> str:
    """The address people open: the post's, or the Page's while Facebook has given no id."""
    return f"{HOME}/{quote(post_id or handle_name.removeprefix('@'), safe='')}"


async def after(
    app: App,
    grant: Grant,
    handle: Handle,
    post: Post,
    media: Media,
    *,
    on_call: OnCall | None = None,
) -> None:
    """Give a Reel or a video the cover that was chosen for it; Facebook takes it afterwards only (section 3.1).

    May be repeated: the last one counts.
    """
    if handle.kind == "image" or not post.use_cover or media.cover is None:
        return
    form = Form({"is_preferred": "true"}, "source", media.cover, 0, media.cover.bytes_total)
    async with aclosing(form.pieces()) as content:
        await graph.ask(
            TABLE,
            "thumbnail",
            "POST",
            f"{app.api_base}/{app.version}/{handle.publish_id}/thumbnails",
            token=grant.token,
            content=content,
            headers=form.headers,
            timeout_s=THUMBNAIL_S,
            on_call=on_call,
        )


async def comment(app: App, grant: Grant, remote_id: str, text: str, *, on_call: OnCall | None = None) -> str:
    """Write a comment as the Page and give its id. A lost answer may hide a comment: look with `comments` first.

    Unsure `answer_lost` when it may have been written.
    """
    found = await graph.ask(
        TABLE,
        "comment",
        "POST",
        f"{app.api_base}/{app.version}/{remote_id}/comments",
        token=grant.token,
        json={"message": text},
        irreversible=True,
        on_call=on_call,
    )
    if not found.get("id"):
        raise TABLE.error("answer_lost")
    return str(found["id"])


async def comments(
    app: App, grant: Grant, remote_id: str, *, on_call: OnCall | None = None
) -> list[tuple[str, str]]:
    """The newest hundred comments of a post as (id, text), newest first."""
    found = await graph.ask(
        TABLE,
        "comments",
        "GET",
        f"{app.api_base}/{app.version}/{remote_id}/comments",
        token=grant.token,
        params={"fields": "id,message", "order": "reverse_chronological", "limit": "100"},
        on_call=on_call,
    )
    listed = found.get("data")
    if not isinstance(listed, list):
        raise TABLE.error("unreadable_answer")
    return [
        (str(each["id"]), str(each.get("message") or ""))
        for each in listed
        if isinstance(each, dict) and each.get("id")
    ]
