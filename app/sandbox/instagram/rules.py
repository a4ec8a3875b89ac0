"""What a call that makes a container may say, and what a file must be (sections 4.1 and 5). Pure.

A parameter that a kind of container does not know is refused, where the platform may only ignore it: whoever
sends one expects something of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.sandbox.instagram.problems import known
from app.sandbox.meta.envelope import invalid
from app.sandbox.meta.look import Seen

MIB = 1024**2
MOST_CAPTION_UNITS, MOST_HASHTAGS, MOST_MENTIONS = 2200, 30, 20
MOST_ALT_TEXT, MOST_COLLABORATORS = 1000, 3
LEAST_CHILDREN, MOST_CHILDREN = 2, 10
MOST_IMAGE_BYTES = 8 * MIB
MOST_VIDEO_BYTES = {"REELS": 300 * MIB, "VIDEO": 300 * MIB, "STORIES": 100 * MIB}
MOST_VIDEO_S = {"REELS": 900.0, "VIDEO": 900.0, "STORIES": 60.0}
LEAST_VIDEO_S = 3.0
MOST_WIDTH_PX = 1920
ASPECTS = {"REELS": (0.01, 10.0), "VIDEO": (0.01, 10.0), "STORIES": (0.1, 10.0)}
# Rates are measured quotients: a hundredth of a frame or of a second is no difference.
SLACK = 0.01

_OF_VIDEO = {"video_url", "upload_type"}
_OF_FEED = {"caption", "collaborators", "is_ai_generated"}
ALLOWED: dict[str, set[str]] = {
    "REELS": {"share_to_feed", "cover_url", "thumb_offset", "audio_name", "user_tags", "trial_params"}
    | _OF_VIDEO
    | _OF_FEED,
    "STORIES": {"image_url", "user_tags", "is_ai_generated"} | _OF_VIDEO,
    "IMAGE": {"image_url", "user_tags", "alt_text"} | _OF_FEED,
    "CHILD VIDEO": {"thumb_offset", "user_tags"} | _OF_VIDEO,
    "CHILD IMAGE": {"image_url", "user_tags", "alt_text"},
    "CAROUSEL": {"children", "share_to_feed"} | _OF_FEED,
}
ALWAYS = {"media_type", "is_carousel_item", "access_token"}
HASHTAG = re.compile(r"(?<![\w&])#\w+")
MENTION = re.compile(r"(?<![\w.])@[\w.]+")


@dataclass(frozen=True)
class Wish:
    """An accepted call for a container. `surface` is REELS, STORIES, IMAGE, VIDEO (a child) or CAROUSEL;
    `source` is url, resumable or children.
    """

    surface: str
    video: bool
    child: bool
    source: str
    url: str = ""
    cover_url: str = ""
    thumb_offset: int | None = None
    caption: str = ""
    children: tuple[str, ...] = ()


def wish_of(fields: Mapping[str, str], *, resumable: bool = True) -> Wish:
    """What is wished for; raises Problem for what cannot be. `resumable`: whether uploads are offered here."""
    child = _flag(fields, "is_carousel_item")
    surface = _surface(fields, child)
    row = f"CHILD {surface}" if child else surface
    for name in fields:
        if name not in ALLOWED[row] | ALWAYS:
            raise invalid(f"The param {name} is not allowed for {row.lower()}")
    _check_words(fields)
    if surface == "CAROUSEL":
        return Wish(
            surface, False, child, "children", caption=fields.get("caption", ""), children=_children(fields)
        )
    source, url, video = _source(fields, surface, resumable)
    return Wish(
        surface,
        video,
        child,
        source,
        url,
        _address(fields, "cover_url"),
        _whole(fields, "thumb_offset"),
        fields.get("caption", ""),
    )


def _surface(fields: Mapping[str, str], child: bool) -> str:
    media_type = fields.get("media_type", "IMAGE")
    if media_type not in ("REELS", "STORIES", "IMAGE", "VIDEO", "CAROUSEL"):
        raise known(100, 2207023)
    if child and media_type not in ("IMAGE", "VIDEO"):
        raise invalid(f"A {media_type} cannot be a carousel item.")
    if media_type == "VIDEO" and not child:
        # Single feed videos are Reels since 2023-07 (section 4.1).
        raise known(100, 2207023)
    return media_type


def _check_words(fields: Mapping[str, str]) -> None:
    caption = fields.get("caption", "")
    if utf16(caption) > MOST_CAPTION_UNITS or len(HASHTAG.findall(caption)) > MOST_HASHTAGS:
        raise known(36004, 2207010)
    if len(MENTION.findall(caption)) > MOST_MENTIONS or len(_list(fields, "user_tags")) > MOST_MENTIONS:
        raise known(100, 2207040)
    if len(fields.get("alt_text", "")) > MOST_ALT_TEXT:
        raise invalid("alt_text must be at most 1000 characters.")
    if len(_list(fields, "collaborators")) > MOST_COLLABORATORS:
        raise invalid("At most 3 collaborators can be added.")
    for name in ("share_to_feed", "is_ai_generated"):
        _flag(fields, name)


def _source(fields: Mapping[str, str], surface: str, resumable: bool) -> tuple[str, str, bool]:
    """Where the bytes come from: source, address, and whether they are a video."""
    given = [name for name in ("video_url", "image_url", "upload_type") if name in fields]
    if len(given) != 1:
        wanted = "image_url" if surface == "IMAGE" else "video_url or upload_type"
        raise invalid(f"The parameter {wanted} is required, and only one of them.")
    if given == ["upload_type"]:
        if fields["upload_type"] != "resumable" or not resumable:
            raise invalid("upload_type is not supported here.")
        return "resumable", "", True
    return "url", _address(fields, given[0]), given == ["video_url"]


def _children(fields: Mapping[str, str]) -> tuple[str, ...]:
    found = tuple(str(each) for each in _list(fields, "children"))
    if not LEAST_CHILDREN <= len(found) <= MOST_CHILDREN:
        raise known(100, 2207028)
    if len(set(found)) != len(found):
        raise invalid("A child stands there twice.")
    return found


def _address(fields: Mapping[str, str], name: str) -> str:
    url = fields.get(name, "")
    if name in fields and (not url.isascii() or not re.match(r"^https?://[^\s]+$", url)):
        raise known(9004, 2207052)
    return url


def _flag(fields: Mapping[str, str], name: str) -> bool:
    text = fields.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise invalid(f"{name} must be a boolean.")
    return text in ("true", "1")


def _whole(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name)
    if text is not None and not re.fullmatch(r"\d{1,9}", text):
        raise invalid(f"{name} must be a whole number of 0 or more.")
    return None if text is None else int(text)


def _list(fields: Mapping[str, str], name: str) -> list[Any]:
    """A list as JSON or, of plain words, with commas between them."""
    text = fields.get(name, "")
    if not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = json.loads(text)
    except ValueError:
        raise invalid(f"{name} must be a list.") from None
    return list(found)


def utf16(text: str) -> int:
    """The length in UTF-16 units, the largest of the usual ways to count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def video_problem(
    surface: str, seen: Seen | None, size_bytes: int, moov_first: bool, thumb_offset: int | None
) -> str | None:
    """The subcode for a video that is not taken, or None (table of section 5)."""
    if seen is None or not seen.containers & {"mp4", "mov"} or seen.codec not in ("h264", "hevc", "h265"):
        return "2207026"
    low, high = ASPECTS[surface]
    fits = (
        moov_first
        and size_bytes <= MOST_VIDEO_BYTES[surface]
        and LEAST_VIDEO_S - SLACK <= seen.duration_s <= MOST_VIDEO_S[surface] + SLACK
        and 23 - SLACK <= seen.fps <= 60 + SLACK
        and 0 < seen.width_px <= MOST_WIDTH_PX
        and low <= seen.aspect <= high
    )
    if not fits:
        return "2207026"
    if thumb_offset is not None and thumb_offset > seen.duration_s * 1000:
        return "2207057"
    return None


def picture_problem(surface: str, found: tuple[str, int, int] | None, size_bytes: int) -> str | None:
    """The subcode for a picture that is not taken, or None. `found`: type, width and height in pixels."""
    if found is None or found[0] != "image/jpeg":
        return "2207005"
    if size_bytes > MOST_IMAGE_BYTES:
        return "2207004"
    _, width_px, height_px = found
    if surface == "IMAGE" and (width_px < 320 or not 0.8 - SLACK <= width_px / height_px <= 1.91 + SLACK):
        return "2207009"
    return None
