"""Beginning an upload to YouTube and asking what became of it. Sheet, sections 3.1 to 3.4.

Nothing here is irreversible: a video exists only when the last byte of its session has been taken, and an abandoned
session leaves nothing behind. So a lost answer to `begin` is a plain failure; only a place in the day's quota is gone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from app import http
from app.errors import HouseError
from app.platforms import calls as line
from app.platforms.base import App, Grant, Handle, Media, OnCall, Post, Status
from app.platforms.youtube import calls, errors
from app.platforms.youtube.channel import PRIVATE, moment

# How long a session lives is nowhere said; 404 is the truth, and six days are what we count on (section 3.2).
SESSION_LIFETIME = timedelta(days=6)
UPLOAD_DOMAIN = ".googleapis.com"
RANGE = re.compile(r"^bytes=0-(\d{1,15})$")
VIDEO_ID = re.compile(r"^[\w-]{1,64}$")
# A video that was just taken may not be listed yet.
LISTED_AFTER = timedelta(minutes=10)
# Section 3.4: at 30 s, 60 s and 2 min, then every 5 min.
ASK_AFTER_S = ((30.0, 30.0), (90.0, 60.0), (210.0, 120.0))
ASK_LATER_S = 300.0


@dataclass(frozen=True)
class Stored:
    """What a session has: so many bytes, or everything, and then it is the video of this id."""

    bytes_received: int
    video_id: str = ""


async def begin(app: App, grant: Grant, post: Post, media: Media, *, on_call: OnCall | None = None) -> Handle:
    """Announce a video and get the session for its bytes. Each call takes one of the day's uploads.

    YouTube judges title, tags and all else here, before a byte is sent. Commit the handle before anything is sent.
    """
    url = f"{app.bases['upload']}/upload/youtube/v3/videos"
    params = {
        "uploadType": "resumable",
        "part": "snippet,status",
        "notifySubscribers": "true" if post.notify else "false",
    }
    headers = calls.bearer(grant) | {
        "Content-Type": "application/json; charset=UTF-8",
        "X-Upload-Content-Type": media.content_type,
        "X-Upload-Content-Length": str(media.bytes_total),
    }
    sent = http.request(
        "POST", url, headers=headers, params=params, json=resource(post), timeout_s=line.READ_S
    )

    def read(answer: http.Answer) -> str:
        if answer.status >= 400:
            raise errors.refusal(answer)
        location = answer.headers.get("location", "")
        if answer.status != 200 or not location:
            raise errors.error("unreadable_answer")
        return location

    location = await calls.told("begin", "POST", url, sent, read, on_call)
    check_upload_address(app, location)
    return Handle(name_of(location), location, datetime.now(UTC) + SESSION_LIFETIME, kind="video")


def resource(post: Post) -> dict[str, Any]:
    """The words of the video as YouTube wants them. Who may see it is always said: it would be everybody."""
    snippet: dict[str, Any] = {"title": post.title, "description": post.description}
    if post.tags:
        snippet["tags"] = list(post.tags)
    if post.category_id:
        snippet["categoryId"] = post.category_id
    status: dict[str, Any] = {
        "privacyStatus": post.privacy_level,
        "containsSyntheticMedia": post.ai_generated,
    }
    if post.made_for_kids is not None:
        status["selfDeclaredMadeForKids"] = post.made_for_kids
    if post.native_at:
        status["publishAt"] = post.native_at
    return {"snippet": snippet, "status": status}


def name_of(location: str) -> str:
    """A name for a session that is no key to it: the address itself is one."""
    named = parse_qs(urlsplit(location).query).get("upload_id", [location])
    return f"yt-{hashlib.sha256(named[0].encode()).hexdigest()[:24]}"


async def probe(
    app: App, grant: Grant, handle: Handle, media: Media, *, on_call: OnCall | None = None
) -> Stored:
    """What arrived, by YouTube's own count. Reads only; costs no quota. Retryable `upload_expired` at the end."""
    check_upload_address(app, handle.upload_url)
    headers = calls.bearer(grant) | {
        "Content-Length": "0",
        "Content-Range": f"bytes */{media.bytes_total}",
    }
    sent = http.request("PUT", handle.upload_url, headers=headers, timeout_s=line.READ_S)
    return await calls.told(
        "probe", "PUT", handle.upload_url, sent, lambda answer: stored(answer, media), on_call
    )


def stored(answer: http.Answer, media: Media) -> Stored:
    """Read an answer of the session (section 3.2); raises what anything but 308 and success means."""
    if answer.status == 308:
        said = answer.headers.get("range")
        found = RANGE.match(said) if said else None
        if said and found is None:
            raise errors.error("unreadable_answer")
        return Stored(min(int(found[1]) + 1, media.bytes_total) if found else 0)
    if answer.status in (200, 201):
        video_id = line.mapping(errors.TABLE, answer).get("id")
        if not isinstance(video_id, str) or not VIDEO_ID.match(video_id):
            raise errors.error("unreadable_answer")
        return Stored(media.bytes_total, video_id)
    if answer.status in (404, 410):
        raise errors.error("upload_expired")
    if answer.status < 400:
        raise errors.error("unreadable_answer")
    raise errors.refusal(answer)


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
    """Where the post stands: first its session, and once that is complete the video. Reads only.

    `handle` of the answer knows the video's id: keep it, for a session ends after some days. A processed video is
    published, also one that YouTube keeps private until its own time; then `reason` says so.
    """
    newer: Handle | None = None
    if not handle.remote_id:
        try:
            found = await probe(app, grant, handle, media, on_call=on_call)
        except HouseError as error:
            if error.code == "upload_expired":
                return Status("gone", reason=error.code)
            raise
        if not found.video_id:
            return Status("processing", bytes_received=found.bytes_received)
        newer = replace(handle, remote_id=found.video_id)
    video_id = newer.remote_id if newer else handle.remote_id
    asked = {"part": "status,processingDetails", "id": video_id}
    listed = await calls.ask(app, grant, "status", "/youtube/v3/videos", asked, on_call=on_call)
    items = listed.get("items", [])
    if not isinstance(items, list) or (items and not isinstance(items[0], dict)):
        raise errors.error("unreadable_answer")
    seen = Status(
        "processing",
        bytes_received=media.bytes_total,
        post_ids=(video_id,),
        url=link("", video_id),
        handle=newer,
    )
    if not items:
        return _missing(app, seen, since)
    return _judged(app, seen, items[0], post, since)


def _missing(app: App, seen: Status, since: datetime | None) -> Status:
    """Not listed: too new, or deleted. Never `gone`, for its session was complete and must not be begun anew."""
    if since is None or datetime.now(UTC) - since < LISTED_AFTER:
        return replace(seen, after_s=_ask_after_s(app, since))
    return _failed(seen, "videoNotFound")


def _judged(app: App, seen: Status, item: dict[str, Any], post: Post, since: datetime | None) -> Status:
    told, work = item.get("status"), item.get("processingDetails")
    if not isinstance(told, dict):
        raise errors.error("unreadable_answer")
    state = told.get("uploadStatus")
    processing = work.get("processingStatus") if isinstance(work, dict) else None
    if state == "rejected":
        return _failed(seen, str(told.get("rejectionReason") or "rejected"))
    if state == "failed":
        return _failed(seen, str(told.get("failureReason") or "conversion"))
    if state == "deleted":
        return _failed(seen, "videoNotFound")
    if state == "processed" or (state == "uploaded" and processing == "succeeded"):
        return replace(seen, state="published", reason=_note(told, post))
    if processing in ("failed", "terminated"):
        why = work.get("processingFailureReason") if isinstance(work, dict) else None
        return _failed(seen, str(why or "other"))
    if state != "uploaded":
        raise errors.error("unreadable_answer")
    return replace(seen, after_s=_ask_after_s(app, since))


def _failed(seen: Status, reason: str) -> Status:
    return replace(seen, state="failed", post_ids=(), url=None, reason=reason, error=errors.failed(reason))


def _note(told: dict[str, Any], post: Post) -> str | None:
    """What people should know of a published video: that its time is still to come, or who sees it after all.

    By what YouTube says it will do, not by what we asked for.
    """
    privacy, planned = told.get("privacyStatus"), moment(str(told.get("publishAt") or ""))
    if privacy == PRIVATE and planned is not None:
        return f"YouTube has it and makes it public by itself on {planned.astimezone(UTC):%d %b %Y at %H:%M} UTC."
    if post.native_at and privacy == PRIVATE:
        return "YouTube has it, but keeps it private and names no time for it. Look into YouTube Studio."
    if not post.native_at and privacy != post.privacy_level:
        return f"YouTube shows it as {privacy}, not as {post.privacy_level}. Look into YouTube Studio."
    return None


def _ask_after_s(app: App, since: datetime | None) -> float | None:
    """When to ask again; the simulator is done in seconds, and its caller's own pace will do."""
    if app.simulated or since is None:
        return None
    age_s = (datetime.now(UTC) - since).total_seconds()
    return next((wait_s for until_s, wait_s in ASK_AFTER_S if age_s < until_s), ASK_LATER_S)


def link(handle_name: str, post_id: str | None = None) -> str:
    """The address people open: the video's, or the channel's."""
    if post_id:
        return f"https://www.youtube.com/watch?v={quote(post_id, safe='')}"
    name = handle_name.removeprefix("@")
    by_id = name.startswith("UC") and len(name) == 24
    return f"https://www.youtube.com/{'channel/' if by_id else '@'}{quote(name, safe='')}"


def check_upload_address(app: App, upload_url: str) -> None:
    """Permanent unless the address is Google's, or the simulator's while it stands in (sheet, section 1).

    Video and token go wherever it says, so this is asked again whenever bytes are sent.
    """
    url = urlsplit(upload_url)
    if app.simulated:
        known = url[:2] == urlsplit(app.bases["upload"])[:2]
    else:
        host = url.hostname or ""
        known = host.endswith(UPLOAD_DOMAIN) and url.scheme == "https" and url.netloc in (host, f"{host}:443")
    if not known:
        raise errors.error("upload_address_refused")
