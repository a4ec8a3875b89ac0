"""Containers: what a post is while nobody sees it. Making them, and asking after them. Sheet, sections 4.1 to 4.4.

A container that is never published is invisible and harmless; it lives 24 hours.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.errors import HouseError
from app.platforms.base import App, Grant, Handle, Media, OnCall, Post
from app.platforms.instagram import calls
from app.platforms.instagram.creator import is_picture, kind_of
from app.platforms.instagram.errors import GONE, TABLE, failed, subcode_of
from app.platforms.meta import hosts

LIFETIME = timedelta(hours=24)
# Pictures are finished at once or soon; what takes longer is waited for outside (status makes the carousel then).
ASK_CHILDREN_S = (0.0, 1.0, 2.0, 4.0, 8.0)
# The upload of a resumable container is refused with these where only addresses are taken (section 1: contradictory).
NOT_RESUMABLE = ("100", "3")
LOST = ("no_answer", "unreadable_answer", "internal_error", "1", "2")


@dataclass(frozen=True)
class Container:
    """What Instagram says of a container. `state` is its `status_code`, or `GONE` when it is no longer known.

    `received_bytes` is None when nothing is uploaded into it, or Instagram does not say.
    """

    state: str
    reason: str = ""
    received_bytes: int | None = None


async def begin(app: App, grant: Grant, post: Post, media: Media, *, on_call: OnCall | None = None) -> Handle:
    """Make the container of a post. Each call makes another; none is seen by anybody before it is published.

    Unsure `init_answer_lost` when one may have been made that we cannot name. The bytes of a video are sent with
    `send`; where Instagram takes no uploads, and for pictures, it is given `media.link()` instead. A carousel's
    children are made first; while they are not finished its handle names them only, and `status` gives the handle
    of the whole.
    """
    kind = kind_of(post, media)
    if kind == "carousel":
        return await _begin_carousel(app, grant, post, media, on_call)
    fields = _words(post, kind) | await _cover(post, kind, media)
    if is_picture(media):
        if kind == "story":
            fields["media_type"] = "STORIES"
        found = await _make(app, grant, fields | {"image_url": await _address(media)}, on_call)
        return _handle(kind, found, "", {"by": "link"})
    fields["media_type"] = "STORIES" if kind == "story" else "REELS"
    return await _begin_video(app, grant, kind, fields, media, on_call)


async def _begin_video(
    app: App, grant: Grant, kind: str, fields: dict[str, Any], media: Media, on_call: OnCall | None
) -> Handle:
    try:
        found = await _make(app, grant, fields | {"upload_type": "resumable"}, on_call)
        uri = found.get("uri")
        if isinstance(uri, str) and uri:
            hosts.check(TABLE, app, uri)
            return _handle(kind, found, uri, {"by": "upload"})
    except HouseError as error:
        if error.code not in NOT_RESUMABLE or media.link is None:
            raise
    # No address to upload to: the container that was made, if any, is left to expire.
    found = await _make(app, grant, fields | {"video_url": await _address(media)}, on_call)
    return _handle(kind, found, "", {"by": "link"})


async def _begin_carousel(app: App, grant: Grant, post: Post, media: Media, on_call: OnCall | None) -> Handle:
    children = []
    for each in (media, *media.more):
        fields: dict[str, Any] = {"is_carousel_item": True}
        if is_picture(each):
            fields |= {"image_url": await _address(each)}
            fields |= {"alt_text": post.alt_text} if post.alt_text and each is media else {}
        else:
            fields |= {"media_type": "VIDEO", "video_url": await _address(each)}
        children.append(str((await _make(app, grant, fields, on_call))["id"]))
    begun = Handle(
        publish_id=children[0],
        upload_url="",
        expires_at=datetime.now(UTC) + LIFETIME,
        kind="carousel",
        extra={"by": "link", "children": json.dumps(children), "whole": ""},
    )
    for wait_s in ASK_CHILDREN_S:
        await asyncio.sleep(wait_s)
        whole = await join_children(app, grant, begun, post, on_call)
        if whole is not None:
            return whole
    return begun


def lacks_whole(handle: Handle) -> bool:
    """Whether this handle names a carousel's children only."""
    return handle.kind == "carousel" and not handle.extra.get("whole")


async def join_children(
    app: App, grant: Grant, handle: Handle, post: Post, on_call: OnCall | None
) -> Handle | None:
    """The handle of the whole carousel once all its children are finished; None while they are not.

    Making the whole shows nothing to anybody, so doing it again does no harm. A child that failed fails it.
    """
    children = json.loads(handle.extra["children"])
    for child in children:
        found = await look(app, grant, child, uploads=False, on_call=on_call)
        if found.state == "ERROR":
            raise failed(found.reason)
        if found.state in ("EXPIRED", "GONE"):
            raise TABLE.error("upload_expired")
        if found.state != "FINISHED":
            return None
    fields = _words(post, "carousel") | {"media_type": "CAROUSEL", "children": ",".join(children)}
    made = await _make(app, grant, fields, on_call)
    whole = _handle("carousel", made, "", {**handle.extra, "whole": "yes"})
    # It lives no longer than its children.
    return Handle(whole.publish_id, "", handle.expires_at, whole.kind, "", whole.extra)


async def look(
    app: App, grant: Grant, container_id: str, *, uploads: bool, on_call: OnCall | None
) -> Container:
    """Ask after a container. `uploads`: also for the count of its bytes, where Instagram knows that field."""
    fields = "id,status_code,status"
    try:
        found = await _look(
            app, grant, container_id, f"{fields},video_status" if uploads else fields, on_call
        )
    except HouseError as error:
        if error.code in GONE:
            return Container("GONE", error.code)
        if error.code != "100" or not uploads:
            raise
        # An unknown name among the fields fails the whole call (section 3).
        found = await _look(app, grant, container_id, fields, on_call)
    state = str(found.get("status_code") or "")
    if state not in ("IN_PROGRESS", "FINISHED", "PUBLISHED", "ERROR", "EXPIRED"):
        raise TABLE.error("unreadable_answer")
    reason = subcode_of(str(found.get("status") or "")) if state == "ERROR" else ""
    return Container(state, reason, _received(found) if uploads else None)


async def _look(
    app: App, grant: Grant, container_id: str, fields: str, on_call: OnCall | None
) -> dict[str, Any]:
    return await calls.ask(app, grant, "container", container_id, params={"fields": fields}, on_call=on_call)


def _received(found: dict[str, Any]) -> int | None:
    """The count of bytes, in the documents' spelling or the schema's (section 4.3)."""
    status = found.get("video_status")
    phase = status.get("uploading_phase") if isinstance(status, dict) else None
    if not isinstance(phase, dict):
        return None
    for name in ("bytes_transfered", "bytes_transferred"):
        count = phase.get(name)
        if isinstance(count, int) or (isinstance(count, str) and count.isdigit()):
            return int(count)
    return None


async def _make(app: App, grant: Grant, fields: dict[str, Any], on_call: OnCall | None) -> dict[str, Any]:
    path = f"{grant.remote_id}/media"
    try:
        found = await calls.ask(app, grant, "create", path, method="POST", json=fields, on_call=on_call)
    except HouseError as error:
        if error.code in LOST or error.code.startswith("http_5"):
            raise TABLE.error("init_answer_lost") from error
        raise
    if not isinstance(found.get("id"), str) or not found["id"]:
        raise TABLE.error("init_answer_lost")
    return found


def _words(post: Post, kind: str) -> dict[str, Any]:
    """What is said about the post; a story takes none of it, a carousel's children neither (section 4.1)."""
    found: dict[str, Any] = {"is_ai_generated": True} if post.ai_generated else {}
    if kind == "story":
        return found
    if post.title:
        found["caption"] = post.title
    if post.collaborators:
        found["collaborators"] = [name.removeprefix("@") for name in post.collaborators]
    if kind == "reel":
        found["share_to_feed"] = post.share_to_feed
    if kind == "image" and post.alt_text:
        found["alt_text"] = post.alt_text
    return found


async def _cover(post: Post, kind: str, media: Media) -> dict[str, Any]:
    """A picture goes before a moment of the video, so only one of them is sent."""
    if kind != "reel":
        return {}
    if post.use_cover and media.cover is not None:
        return {"cover_url": await _address(media.cover)}
    return {} if post.cover_ms is None else {"thumb_offset": post.cover_ms}


async def _address(media: Media) -> str:
    """A public address of the file; Instagram takes US-ASCII only (section 4.1)."""
    url = await media.link() if media.link is not None else ""
    if not url or not url.isascii():
        raise TABLE.error("no_public_address")
    return url


def _handle(kind: str, found: dict[str, Any], uri: str, extra: dict[str, str]) -> Handle:
    return Handle(str(found["id"]), uri, datetime.now(UTC) + LIFETIME, kind, "", extra)
