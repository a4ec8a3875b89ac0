"""What a person asks for beside the file: title, account, design, post and time. Read once, strictly, from
JSON words.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from app import media, platforms
from app.errors import Refused

# JSON word of the API → field of `platforms.Post`.
POST_WORDS = {
    "title": "title",
    "privacyLevel": "privacy_level",
    "disableComment": "disable_comment",
    "disableDuet": "disable_duet",
    "disableStitch": "disable_stitch",
    "coverMs": "cover_ms",
    "brandContent": "brand_content",
    "brandOrganic": "brand_organic",
    "aiGenerated": "ai_generated",
    "description": "description",
    "kind": "kind",
    "tags": "tags",
    "categoryId": "category_id",
    "madeForKids": "made_for_kids",
    "notify": "notify",
    "shareToFeed": "share_to_feed",
    "altText": "alt_text",
    "collaborators": "collaborators",
    "firstComment": "first_comment",
    "nativeAt": "native_at",
    "useCover": "use_cover",
}
# Said of every post, also where nothing else was chosen.
ALWAYS = tuple(POST_WORDS)[:9]
WORDS = ("title", "accountId", "design", "post", "publishAt", "zone", "formats")
STREAMED = ("hls", "dash")
FURTHEST = timedelta(days=366)


@dataclass(frozen=True)
class Wishes:
    title: str | None = None
    account_id: int | None = None
    # None: nobody said how it should look, so the workspace's default kit decides; `Design()` is a plain look, chosen.
    design: media.Design | None = None
    post: platforms.Post | None = None
    publish_at: datetime | None = None
    zone: str = "UTC"
    # What is made for players beside the MP4; None is what the house makes.
    formats: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The same words that `read` takes."""
        words = {field: word for word, field in POST_WORDS.items()}
        return {
            "title": self.title,
            "accountId": self.account_id,
            "design": None if self.design is None else self.design.to_json(),
            "post": None if self.post is None else _said(self.post, words),
            "publishAt": None if self.publish_at is None else self.publish_at.isoformat(),
            "zone": self.zone,
            **({} if self.formats is None else {"formats": list(self.formats)}),
        }


def _said(post: platforms.Post, words: Mapping[str, str]) -> dict[str, Any]:
    kept = post.to_json()
    return {
        word: kept.get(name, getattr(post, name))
        for name, word in words.items()
        if word in ALWAYS or name in kept
    }


def read(asked: Mapping[str, Any], *, now: datetime | None = None) -> Wishes:
    """The wishes in this JSON. Refused with every problem under its field's name; unknown words are problems
    too.
    """
    problems: dict[str, str] = {}
    for word in asked:
        if word not in WORDS:
            problems[str(word)[:50]] = "is not known"
        elif _unstorable(asked[word]):
            problems[word] = "holds a character that cannot be used"
    title = asked.get("title")
    if title is not None and not isinstance(title, str):
        problems["title"] = "must be a text"
    design = None
    try:
        if asked.get("design") is not None:
            design = media.read_design(asked["design"])
    except Refused as error:
        problems |= error.fields
    wishes = Wishes(
        title=title if isinstance(title, str) else None,
        account_id=_account_id(asked.get("accountId"), problems),
        design=design,
        post=_post(asked.get("post"), title if isinstance(title, str) else "", problems),
        publish_at=_publish_at(asked.get("publishAt"), now or datetime.now(UTC), problems),
        zone=_zone(asked.get("zone") or "UTC", problems),
        formats=_formats(asked.get("formats"), problems),
    )
    if problems:
        raise Refused("This cannot be used as it is.", code="invalid", fields=problems)
    return wishes


def _unstorable(value: object) -> bool:
    """Whether a text in it is none to the database: a zero byte, or half of a surrogate pair."""
    if isinstance(value, str):
        return any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, Mapping):
        return any(_unstorable(part) for pair in value.items() for part in pair)
    return isinstance(value, (list, tuple)) and any(map(_unstorable, value))


def from_json(kept: Mapping[str, Any]) -> Wishes:
    """Wishes that were checked before and kept; the time may have passed meanwhile."""
    return read({**kept, "publishAt": None}) if kept.get("publishAt") is None else _kept_time(kept)


def _kept_time(kept: Mapping[str, Any]) -> Wishes:
    at = datetime.fromisoformat(str(kept["publishAt"]))
    return read(kept, now=min(datetime.now(UTC), at - timedelta(seconds=1)))


def _account_id(given: object, problems: dict[str, str]) -> int | None:
    if given is None or given == "":
        return None
    try:
        number = int(str(given))
    except ValueError:
        number = 0
    if not 0 < number < 2**63:
        problems["accountId"] = "must be the number of an account"
        return None
    return number


def _post(given: object, title: str, problems: dict[str, str]) -> platforms.Post | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        problems["post"] = "must be an object"
        return None
    types = {field.name: field.type for field in fields(platforms.Post)}
    values: dict[str, Any] = {"title": title}
    for word, value in given.items():
        name = POST_WORDS.get(word)
        if name is None:
            problems[f"post.{str(word)[:50]}"] = "is not known"
        elif value is not None and not _fits(value, str(types[name])):
            problems[f"post.{word}"] = "has the wrong type"
        elif value is not None:
            values[name] = tuple(value) if isinstance(value, list) else value
    if not values.get("privacy_level"):
        problems.setdefault("post.privacyLevel", "choose who may see the post")
        return None
    return None if problems else platforms.Post(**values)


def _fits(value: object, kind: str) -> bool:
    if kind.startswith("bool"):
        return isinstance(value, bool)
    if kind.startswith("tuple"):
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind.startswith("int"):
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return isinstance(value, str)


def _publish_at(given: object, now: datetime, problems: dict[str, str]) -> datetime | None:
    if given is None or given == "":
        return None
    try:
        at = datetime.fromisoformat(str(given))
    except ValueError:
        problems["publishAt"] = "must be a time like 2026-03-01T09:00:00+02:00"
        return None
    if at.tzinfo is None:
        problems["publishAt"] = "must say its offset, for example +02:00 or Z"
    elif not now < at < now + FURTHEST:
        problems["publishAt"] = "must lie in the future, at most a year ahead"
    return at.astimezone(UTC) if at.tzinfo else None


def _formats(given: object, problems: dict[str, str]) -> tuple[str, ...] | None:
    if given is None:
        return None
    if not isinstance(given, (list, tuple)) or any(name not in STREAMED for name in given):
        problems["formats"] = f"must be a list of {', '.join(STREAMED)}"
        return None
    return tuple(name for name in STREAMED if name in given)


def _zone(given: object, problems: dict[str, str]) -> str:
    if str(given) not in zoneinfo.available_timezones():
        problems["zone"] = "must be the name of a time zone, for example Europe/Kyiv"
        return "UTC"
    return str(given)
