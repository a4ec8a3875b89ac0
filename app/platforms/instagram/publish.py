"""Sending a post to Instagram and asking what became of it. Sheet, sections 4.3 to 4.5.

`media_publish` is the one call that cannot be taken back: before it a container is invisible, after it the
container's own state says whether it counted.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from app.errors import HouseError, NotYet
from app.platforms.base import (
    App,
    BeforeLast,
    Found,
    Grant,
    Handle,
    Media,
    OnCall,
    OnProgress,
    Post,
    Status,
)
from app.platforms.instagram import calls, containers, errors
from app.platforms.instagram.containers import LIFETIME, Container, lacks_whole, look
from app.platforms.instagram.errors import TABLE
from app.platforms.meta import hosts, rupload

# Section 4.4: every 10 s at first, then each minute up to half an hour; after that it is in no hurry.
FIRST_S, THEN_S, LATE_S = 10.0, 60.0, 300.0
YOUNG, OLD = timedelta(minutes=2), timedelta(minutes=30)
# Their clock and ours may differ by this much.
CLOCKS_DIFFER = timedelta(minutes=2)
MOST_LISTED = 50
PLACES = {"reel": "REELS", "story": "STORY", "image": "FEED", "carousel": "FEED"}


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
    """Send what is missing of the bytes, and publish once Instagram has worked on them; gives the handle with the
    published post's id.

    While the container is not finished: NotYet, before `before_last`, with nothing shown to anybody; call again.
    `before_last` is awaited right before the one irreversible call, and not at all when the container is published
    already (then None: `status` tells the rest). That call is made once: Unsure means that only `status` can tell,
    any other error that nothing was published. `upload_expired` means that the handle is dead. The bytes go on at
    Instagram's own count where it tells one, else at `from_byte`.
    """
    if lacks_whole(handle):
        # `status` joins the children and gives the whole's handle to keep; without that nothing may be published.
        raise _not_ready(handle)
    now = await _alive(app, grant, handle, on_call)
    if now.state == "PUBLISHED":
        return None
    if now.state == "IN_PROGRESS" and handle.upload_url:
        start = from_byte if now.received_bytes is None else now.received_bytes
        if start < media.bytes_total:
            await _upload(app, grant, handle, media, start, on_progress, on_call)
            now = await _alive(app, grant, handle, on_call)
    if now.state == "PUBLISHED":
        return None
    if now.state != "FINISHED":
        raise _not_ready(handle)
    await before_last()
    return await _publish(app, grant, handle, on_call)


async def _alive(app: App, grant: Grant, handle: Handle, on_call: OnCall | None) -> Container:
    """The container, if it may still be published; raises what became of it otherwise."""
    now = await look(app, grant, handle.publish_id, uploads=bool(handle.upload_url), on_call=on_call)
    if now.state in ("EXPIRED", "GONE"):
        raise TABLE.error("upload_expired")
    if now.state == "ERROR":
        raise errors.failed(now.reason)
    return now


async def _upload(
    app: App,
    grant: Grant,
    handle: Handle,
    media: Media,
    start: int,
    on_progress: OnProgress,
    on_call: OnCall | None,
) -> None:
    hosts.check(TABLE, app, handle.upload_url)

    async def arrived() -> int:
        now = await _alive(app, grant, handle, on_call)
        if now.state != "IN_PROGRESS":
            return media.bytes_total
        return start if now.received_bytes is None else now.received_bytes

    await rupload.send(
        TABLE,
        "upload",
        handle.upload_url,
        grant.token,
        media,
        start,
        arrived,
        on_progress=on_progress,
        on_call=on_call,
    )


async def _publish(app: App, grant: Grant, handle: Handle, on_call: OnCall | None) -> Handle:
    found = await calls.ask(
        app,
        grant,
        "publish",
        f"{grant.remote_id}/media_publish",
        method="POST",
        json={"creation_id": handle.publish_id},
        irreversible=True,
        on_call=on_call,
    )
    if not found.get("id"):
        raise TABLE.error("answer_lost")
    return replace(handle, remote_id=str(found["id"]))


def _not_ready(handle: Handle) -> NotYet:
    return NotYet(TABLE.rows["not_ready"].sentence, code="not_ready", after_s=_again_s(handle))


def _again_s(handle: Handle) -> float:
    age = datetime.now(UTC) - (handle.expires_at - LIFETIME)
    return FIRST_S if age < YOUNG else THEN_S if age < OLD else LATE_S


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
    """Where the post stands, by its container. Publishes nothing and may be asked at any time.

    `unpublished` is a definite no for a finished container. A published one whose id was lost gives the account's
    own media of the same caption and time as `candidates`, never a choice among them. For a carousel whose
    children are finished only now, the whole is made, which nobody sees, and its handle is given to keep.
    """
    if lacks_whole(handle):
        return await _join(app, grant, handle, post, on_call)
    now = await look(app, grant, handle.publish_id, uploads=bool(handle.upload_url), on_call=on_call)
    if now.state == "PUBLISHED":
        return await _published(app, grant, handle, post, since, on_call)
    if now.state == "FINISHED":
        return Status("unpublished", bytes_received=media.bytes_total)
    if now.state == "EXPIRED":
        # It was never published and cannot be any more: a definite no (section 4.5).
        return Status("failed", reason=now.state, error=TABLE.error("upload_expired"))
    if now.state == "GONE":
        return Status("gone", reason=now.reason or now.state)
    if now.state == "ERROR":
        return Status("failed", reason=now.reason, error=errors.failed(now.reason))
    return Status("processing", bytes_received=now.received_bytes, after_s=_again_s(handle))


async def _join(app: App, grant: Grant, handle: Handle, post: Post, on_call: OnCall | None) -> Status:
    try:
        whole = await containers.join_children(app, grant, handle, post, on_call)
    except HouseError as error:
        if error.code == "upload_expired":
            return Status("gone", reason=error.code)
        if error.code.startswith("22") or error.code == "container_failed":
            return Status("failed", reason=error.code, error=error)
        raise
    if whole is None:
        return Status("processing", after_s=_again_s(handle))
    return Status("processing", handle=whole, after_s=1.0)


async def _published(
    app: App, grant: Grant, handle: Handle, post: Post, since: datetime | None, on_call: OnCall | None
) -> Status:
    """The post is out, whatever can be read about it: a failure of reading is none of the post's (section 4.5)."""
    if handle.remote_id:
        return Status(
            "published",
            post_ids=(handle.remote_id,),
            url=await _permalink(app, grant, handle.remote_id, on_call),
        )
    begun = since or handle.expires_at - LIFETIME
    try:
        return Status("published", candidates=await _own_media(app, grant, handle, post, begun, on_call))
    except HouseError:
        return Status("published", after_s=THEN_S)


async def _permalink(app: App, grant: Grant, media_id: str, on_call: OnCall | None) -> str | None:
    try:
        found = await calls.ask(
            app, grant, "media", media_id, params={"fields": "id,permalink"}, on_call=on_call
        )
    except HouseError:
        return None
    return _address(found)


async def _own_media(
    app: App, grant: Grant, handle: Handle, post: Post, since: datetime, on_call: OnCall | None
) -> tuple[Found, ...]:
    """Own media of this caption since then. Stories have no caption and stand in a list of their own."""
    earliest = since - CLOCKS_DIFFER
    story = handle.kind == "story"
    query = {
        "fields": "id,caption,timestamp,media_product_type,permalink",
        "limit": str(MOST_LISTED),
    }
    if not story:
        query["since"] = str(int(earliest.timestamp()))
    said = await calls.ask(
        app,
        grant,
        "list",
        f"{grant.remote_id}/{'stories' if story else 'media'}",
        params=query,
        on_call=on_call,
    )
    listed = said.get("data")
    wanted = "" if story else _plain(post.title)
    return tuple(
        Found(str(each["id"]), _address(each))
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict)
        and each.get("id")
        and _plain(each.get("caption")) == wanted
        and each.get("media_product_type", PLACES[handle.kind]) == PLACES[handle.kind]
        and _moment(each.get("timestamp")) >= earliest
    )


def _plain(text: Any) -> str:
    """The caption as far as Instagram keeps it: white space is folded."""
    return " ".join(str(text or "").split())


def _moment(text: Any) -> datetime:
    """A time as Instagram writes it; one that cannot be read is as early as can be, so it matches nothing."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _address(found: dict[str, Any]) -> str | None:
    url = found.get("permalink")
    return str(url) if isinstance(url, str) and url.startswith("https://") else None


def link(handle_name: str, post_id: str | None = None) -> str:
    """The account's page. Instagram's post addresses hold a short code that only `Status.url` knows."""
    return f"https://www.instagram.com/{quote(handle_name.removeprefix('@'), safe='')}/"


async def after(
    app: App, grant: Grant, handle: Handle, post: Post, media: Media, *, on_call: OnCall | None = None
) -> None:
    """Nothing is left to do once a post is out: its cover went with the container."""
