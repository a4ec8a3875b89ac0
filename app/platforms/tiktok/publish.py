"""Beginning a TikTok post and asking what became of it. Sheet, sections 4.1 and 4.4.

Nothing here is irreversible: a begun post with no byte sent publishes nothing. It counts against TikTok's
limits all the same (6 a minute, about 15 a day), so a lost answer is told apart from a plain failure.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from app.errors import HouseError
from app.platforms.base import App, Grant, Handle, Media, OnCall, Post, State, Status
from app.platforms.tiktok import calls, errors
from app.platforms.tiktok.chunks import plan

UPLOAD_LIFETIME = timedelta(hours=1)
UPLOAD_HOST = "open.tiktokapis.com"
UPLOAD_DOMAIN = ".tiktokapis.com"
STATES: dict[str, State] = {
    "PROCESSING_UPLOAD": "processing",
    "PROCESSING_DOWNLOAD": "processing",
    "SEND_TO_USER_INBOX": "inbox",
    "PUBLISH_COMPLETE": "published",
    "FAILED": "failed",
}
INBOX = "inbox"
IN_INBOX = "It waits in the TikTok app's inbox: open the app there, finish it and post it."
# TikTok no longer shows us the post; what was last heard of it stands (sheet, sections 4.4 and 7).
GONE = ("invalid_publish_id", "token_not_authorized_for_specified_publish_id")


async def begin(app: App, grant: Grant, post: Post, media: Media, *, on_call: OnCall | None = None) -> Handle:
    """Announce a post and get the address for its bytes. Each call begins another post; none is shown yet.

    Unsure `init_answer_lost` when TikTok may have begun one that we cannot name. Commit the handle before
    anything is sent.
    """
    chunks = plan(media.bytes_total)
    body: dict[str, Any] = {
        "source_info": {
            "source": "FILE_UPLOAD",
            "video_size": media.bytes_total,
            "chunk_size": chunks.chunk_bytes,
            "total_chunk_count": chunks.count,
        },
    }
    # A draft's words and choices are made in TikTok's own app (sheet, section 4.6).
    path = "/v2/post/publish/inbox/video/init/"
    if post.kind != INBOX:
        path = "/v2/post/publish/video/init/"
        body["post_info"] = _post_info(post)
    try:
        found = await calls.ask(app, grant, "begin", path, json=body, on_call=on_call)
    except HouseError as error:
        if error.code in ("no_answer", "unreadable_answer") or error.code.startswith("http_5"):
            raise errors.error("init_answer_lost") from error
        raise
    publish_id, upload_url = found.get("publish_id"), found.get("upload_url")
    if not isinstance(publish_id, str) or not isinstance(upload_url, str) or not publish_id:
        raise errors.error("init_answer_lost")
    check_upload_address(app, upload_url)
    return Handle(publish_id, upload_url, datetime.now(UTC) + UPLOAD_LIFETIME)


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
    """Where the post stands. Reads only; at most 30 a minute and account.

    `post_ids` stays empty for posts only their creator sees, and until moderation is through. `error` of a
    failed post says what to do; its code is TikTok's reason.
    """
    asked = {"publish_id": handle.publish_id}
    try:
        found = await calls.ask(
            app, grant, "status", "/v2/post/publish/status/fetch/", json=asked, on_call=on_call
        )
    except HouseError as error:
        if error.code in GONE:
            return Status("gone", reason=error.code)
        raise
    state = STATES.get(str(found.get("status")))
    if state is None:
        raise errors.error("unreadable_answer")
    # The first spelling is TikTok's own.
    ids = found.get("publicaly_available_post_id") or found.get("publicly_available_post_id") or []
    received = found.get("uploaded_bytes")
    reason = str(found.get("fail_reason") or "unknown") if state == "failed" else None
    if state == "inbox":
        return Status(
            "inbox", bytes_received=received if isinstance(received, int) else None, reason=IN_INBOX
        )
    return Status(
        state=state,
        bytes_received=received if isinstance(received, int) else None,
        post_ids=tuple(str(post_id) for post_id in ids),
        reason=reason,
        error=errors.failed(reason) if reason else None,
    )


async def after(
    app: App, grant: Grant, handle: Handle, post: Post, media: Media, *, on_call: OnCall | None = None
) -> None:
    """Nothing is left to do on TikTok once a post is out."""


async def comment(app: App, grant: Grant, remote_id: str, text: str, *, on_call: OnCall | None = None) -> str:
    """TikTok takes no comments from other programs (`COMMENTS` is False)."""
    raise errors.error("comments_not_offered")


async def comments(
    app: App, grant: Grant, remote_id: str, *, on_call: OnCall | None = None
) -> list[tuple[str, str]]:
    """TikTok tells no comments to other programs."""
    return []


def link(handle_name: str, post_id: str | None = None) -> str:
    """The address people open: the post's, or the creator's profile while TikTok has given no id."""
    profile = f"https://www.tiktok.com/@{quote(handle_name.removeprefix('@'), safe='')}"
    return f"{profile}/video/{quote(post_id, safe='')}" if post_id else profile


def check_upload_address(app: App, upload_url: str) -> None:
    """Permanent unless the address is TikTok's, or the simulator's while it stands in (sheet, section 1).

    The video goes wherever it says, so this is asked again whenever bytes are sent.
    """
    if app.simulated:
        known = urlsplit(upload_url)[:2] == urlsplit(app.api_base)[:2]
    else:
        url = urlsplit(upload_url)
        host = url.hostname or ""
        named = host == UPLOAD_HOST or host.endswith(UPLOAD_DOMAIN)
        known = named and url.scheme == "https" and url.netloc in (host, f"{host}:443")
    if not known:
        raise errors.error("upload_address_refused")


def _post_info(post: Post) -> dict[str, Any]:
    cover = {} if post.cover_ms is None else {"video_cover_timestamp_ms": post.cover_ms}
    return cover | {
        "title": post.title,
        "privacy_level": post.privacy_level,
        "disable_comment": post.disable_comment,
        "disable_duet": post.disable_duet,
        "disable_stitch": post.disable_stitch,
        "brand_content_toggle": post.brand_content,
        "brand_organic_toggle": post.brand_organic,
        "is_aigc": post.ai_generated,
    }
