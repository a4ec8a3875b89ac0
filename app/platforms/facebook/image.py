"""A picture: stored unseen, then shown by one call that makes the post. Sheet, section 1, row 14."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.errors import HouseError
from app.platforms.base import App, BeforeLast, Grant, Handle, Media, OnCall, Post, Status
from app.platforms.facebook.errors import TABLE
from app.platforms.facebook.form import Form
from app.platforms.facebook.page import text_of
from app.platforms.facebook.reel import LAST_S, LOST, whole_id
from app.platforms.meta import graph

# The sheet names no lifetime of an unseen picture; a day is enough to make the post, and another costs nothing.
LIFETIME = timedelta(hours=24)
STORE_S = 120.0
GONE = ("100/33", "803")


async def begin(app: App, grant: Grant, post: Post, media: Media, on_call: OnCall | None) -> Handle:
    """Store the picture unseen: it is on no page and in no feed."""
    fields = {"published": "false"} | ({"alt_text_custom": post.alt_text} if post.alt_text else {})
    form = Form(fields, "source", media, 0, media.bytes_total)
    try:
        async with aclosing(form.pieces()) as content:
            found = await graph.ask(
                TABLE,
                "begin",
                "POST",
                f"{app.api_base}/{app.version}/{grant.remote_id}/photos",
                token=grant.token,
                content=content,
                headers=form.headers,
                timeout_s=STORE_S,
                on_call=on_call,
            )
    except HouseError as error:
        if error.code in LOST or error.code.startswith("http_5"):
            raise TABLE.error("init_answer_lost") from error
        raise
    if not found.get("id"):
        raise TABLE.error("init_answer_lost")
    return Handle(str(found["id"]), "", datetime.now(UTC) + LIFETIME, kind="image")


async def send(
    app: App,
    grant: Grant,
    handle: Handle,
    post: Post,
    *,
    before_last: BeforeLast,
    on_call: OnCall | None,
) -> Handle | None:
    """Make the post that shows the stored picture."""
    await before_last()
    found = await graph.ask(
        TABLE,
        "send_last",
        "POST",
        f"{app.api_base}/{app.version}/{grant.remote_id}/feed",
        token=grant.token,
        json={"message": text_of(post), "attached_media": [{"media_fbid": handle.publish_id}]},
        irreversible=True,
        timeout_s=LAST_S,
        on_call=on_call,
    )
    if not found.get("id"):
        raise TABLE.error("answer_lost")
    return replace(handle, remote_id=whole_id(grant.remote_id, str(found["id"])))


async def status(app: App, grant: Grant, handle: Handle, on_call: OnCall | None) -> Status:
    """Whether a post shows the picture: it then has the id of that post's story."""
    try:
        found = await graph.ask(
            TABLE,
            "status",
            "GET",
            f"{app.api_base}/{app.version}/{handle.publish_id}",
            token=grant.token,
            params={"fields": "id,link,page_story_id"},
            on_call=on_call,
        )
    except HouseError as error:
        if error.code in GONE:
            return Status("gone", reason=error.code)
        raise
    story = str(found.get("page_story_id") or "")
    if not story:
        return Status("unpublished")
    post_id = whole_id(grant.remote_id, story)
    return Status("published", post_ids=(post_id,), url=f"https://www.facebook.com/{post_id}")
