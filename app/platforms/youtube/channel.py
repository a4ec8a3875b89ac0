"""Whose channel it is, what may be posted to it, and how YouTube counts. Sheet, sections 1, 2.3 and 4."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.platforms.base import App, Count, Creator, Grant, Media, OnCall, Post, Profile, Quota
from app.platforms.youtube import calls, errors

TITLE_UNITS, DESCRIPTION_BYTES, TAGS_UNITS = 100, 5000, 500
MOST_BYTES = 256 * 1024**3
MOST_COVER_BYTES = 52_428_800
# Until the channel's phone number is confirmed, and after.
SHORT_UPLOAD_S, LONG_UPLOAD_S = 15 * 60, 12 * 3600
UPLOADS_A_DAY = 100
PACIFIC = "America/Los_Angeles"
PUBLIC, UNLISTED, PRIVATE = "public", "unlisted", "private"
CATEGORY = re.compile(r"^\d{1,3}$")
# As YouTube takes it; Python alone would read more.
RFC_3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")


async def profile(app: App, grant: Grant, *, on_call: OnCall | None = None) -> Profile:
    """Whose channel this is; Refused `youtubeSignupRequired` when the sign-in has none. One unit of quota."""
    channel = await _channel(app, grant, "profile", on_call)
    return _shown(channel)


async def creator(app: App, grant: Grant, *, on_call: OnCall | None = None) -> Creator:
    """What may be posted now: 15 minutes until the channel's phone number is confirmed. One unit of quota."""
    channel = await _channel(app, grant, "creator", on_call)
    shown = _shown(channel)
    long_allowed = _part(channel, "status").get("longUploadsStatus") == "allowed"
    note = "YouTube takes 15 minutes at most until the channel's phone number is confirmed at youtube.com/verify."
    return Creator(
        handle=shown.handle,
        display_name=shown.display_name,
        avatar_url=shown.avatar_url,
        privacy_levels=(PUBLIC, UNLISTED, PRIVATE),
        max_duration_s=LONG_UPLOAD_S if long_allowed else SHORT_UPLOAD_S,
        notes=() if long_allowed else (note,),
    )


async def _channel(app: App, grant: Grant, step: str, on_call: OnCall | None) -> dict[str, Any]:
    asked = {"part": "snippet,status", "mine": "true"}
    found = await calls.ask(app, grant, step, "/youtube/v3/channels", asked, on_call=on_call)
    items = found.get("items", [])
    if not isinstance(items, list):
        raise errors.error("unreadable_answer")
    if not items:
        raise errors.error("youtubeSignupRequired")
    if not isinstance(items[0], dict) or not items[0].get("id"):
        raise errors.error("unreadable_answer")
    return items[0]


def _part(channel: dict[str, Any], name: str) -> dict[str, Any]:
    found = channel.get(name)
    return found if isinstance(found, dict) else {}


def _shown(channel: dict[str, Any]) -> Profile:
    snippet = _part(channel, "snippet")
    picture = _part(_part(snippet, "thumbnails"), "default").get("url")
    channel_id = str(channel["id"])
    return Profile(
        remote_id=channel_id,
        # A channel that never chose a name has none behind the @: its id leads to it as well.
        handle=str(snippet.get("customUrl") or channel_id).removeprefix("@"),
        display_name=str(snippet.get("title") or channel_id),
        avatar_url=str(picture) if picture else None,
    )


def utf16_units(text: str) -> int:
    """YouTube does not say how it counts; UTF-16 units are the cautious reading (sheet, section 4)."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def tags_units(tags: tuple[str, ...]) -> int:
    """Their lengths, a comma between two, and two quotation marks around a tag with a space."""
    quoted = sum(2 for tag in tags if " " in tag)
    return sum(map(utf16_units, tags)) + max(len(tags) - 1, 0) + quoted


def counted(post: Post) -> tuple[Count, ...]:
    """How long the words are as YouTube counts them: the description in bytes of UTF-8."""
    return (
        Count("title", utf16_units(post.title), TITLE_UNITS),
        Count("description", _bytes(post.description), DESCRIPTION_BYTES, "bytes"),
        Count("tags", tags_units(post.tags), TAGS_UNITS),
    )


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def quotas(creator: Creator | None) -> tuple[Quota, ...]:
    """What all channels of this installation share: the uploads of one Pacific day (sheet, section 0).

    The units of reading are not counted here, for a post takes an unknown number of them: YouTube's own no
    (`quotaExceeded`) holds the installation until the day is over.
    """
    return (
        Quota(
            "uploads",
            "app",
            UPLOADS_A_DAY,
            errors.DAY_S,
            f"YouTube takes {UPLOADS_A_DAY} uploads a day from one installation, for all its channels together.",
            zone=PACIFIC,
        ),
    )


def fit(creator: Creator, post: Post) -> Post:
    """The same post as YouTube takes it: tags without empty ones, private as long as it waits for its own time."""
    tags = tuple(dict.fromkeys(tag.strip() for tag in post.tags if tag.strip()))
    return replace(post, tags=tags, privacy_level=PRIVATE if post.native_at else post.privacy_level)


def check(creator: Creator, post: Post, media: Media) -> dict[str, str]:
    """What YouTube would refuse, as sentences by field of Post, or under `media`; empty when all is well.

    Ask with a fresh Creator and a post that went through `fit`.
    """
    problems: dict[str, str] = {}
    title, description, tags = counted(post)
    if not post.title.strip():
        problems["title"] = "A video on YouTube needs a title."
    elif title.used > title.most:
        problems["title"] = (
            f"The title may have {title.most} characters on YouTube; this one has {title.used}."
        )
    if description.used > description.most:
        problems["description"] = (
            f"The description may have {description.most} bytes on YouTube; this one has {description.used} "
            "(letters outside English count two to four)."
        )
    if tags.used > tags.most:
        problems["tags"] = (
            f"All tags together may have {tags.most} characters on YouTube; these have {tags.used}."
        )
    for field, text in (
        ("title", post.title),
        ("description", post.description),
        ("tags", "".join(post.tags)),
    ):
        if field not in problems and ("<" in text or ">" in text):
            problems[field] = "YouTube takes no < and no >."
    if post.privacy_level not in creator.privacy_levels:
        problems["privacy_level"] = f"Choose who may see the video: {', '.join(creator.privacy_levels)}."
    if post.category_id and not CATEGORY.match(post.category_id):
        problems["category_id"] = "Choose one of YouTube's categories."
    if post.native_at and moment(post.native_at) is None:
        problems["native_at"] = "Give the time as 2026-12-01T09:00:00Z, with its zone."
    if post.kind not in ("", "video"):
        problems["kind"] = (
            "YouTube takes videos; a square or tall one of up to 3 minutes is shown as a Short."
        )
    if found := _media_problem(creator, post, media):
        problems["media"] = found
    return problems


def _media_problem(creator: Creator, post: Post, media: Media) -> str | None:
    if not media.content_type.startswith("video/") and media.content_type != "application/octet-stream":
        return "YouTube takes videos only."
    if not 0 < media.bytes_total <= MOST_BYTES:
        return "YouTube takes videos of up to 256 GiB; export it smaller."
    if creator.max_duration_s and media.duration_s > creator.max_duration_s:
        return (
            f"This channel may post videos of up to {creator.max_duration_s // 60} minutes; this one has "
            f"{media.duration_s / 60:.1f}. Confirm the channel's phone number at youtube.com/verify, or shorten it."
        )
    if post.use_cover and media.cover is not None and media.cover.bytes_total > MOST_COVER_BYTES:
        return "YouTube takes thumbnails of up to 50 MB; choose another picture."
    return None


def moment(text: str) -> datetime | None:
    """The time that an RFC 3339 text names; None when it is no such text."""
    if not RFC_3339.match(text):
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
