"""What a post must look like to be accepted: sections 4.1, 4.2, 4.5, 4.6 and 5 of the platform's sheet. Pure.

Where the sheet leaves a doubt the narrower reading counts, so nothing that passes here fails there.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.sandbox.answering import Caller
from app.sandbox.tiktok.calls import Problem, invalid

MOST_SECONDS = 600
MOST_VIDEO_BYTES = 4 * 1024**3
MOST_CHUNK_BYTES = 64_000_000
LEAST_CHUNK_BYTES = 5_242_880
MOST_CHUNKS = 1000
MOST_PHOTOS = 35
PRIVACY_LEVELS = ("PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY")


@dataclass(frozen=True)
class Wish:
    """An accepted init: what is to be posted and from where."""

    kind: str  # direct, inbox, photo, photo_inbox
    source: str
    title: str = ""
    privacy_level: str = ""
    total_bytes: int = 0
    chunk_bytes: int = 0
    chunk_count: int = 0
    urls: tuple[str, ...] = ()


def utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def wish_of(kind: str, body: dict[str, Any], caller: Caller) -> Wish:
    """The checked wish; raises Problem 400 for a malformed one, 403 for a place that is not this app's."""
    if kind == "content":
        return _photos(body, caller)
    _only(body, {"source_info", "post_info"} if kind == "direct" else {"source_info"}, "")
    title, privacy_level = "", ""
    if kind == "direct":
        title, privacy_level = _video_post(_object(body, "post_info"))
    source = _object(body, "source_info")
    if source.get("source") == "PULL_FROM_URL":
        _only(source, {"source", "video_url"}, "source_info.")
        url = _text(source, "video_url", required=True)
        _owned(url, caller)
        return Wish(kind, "PULL_FROM_URL", title, privacy_level, urls=(url,))
    if source.get("source") != "FILE_UPLOAD":
        raise invalid("source_info.source must be FILE_UPLOAD or PULL_FROM_URL.")
    _only(source, {"source", "video_size", "chunk_size", "total_chunk_count"}, "source_info.")
    size, chunk, count = (_whole(source, name) for name in ("video_size", "chunk_size", "total_chunk_count"))
    check_chunks(size, chunk, count)
    return Wish(kind, "FILE_UPLOAD", title, privacy_level, size, chunk, count)


def check_chunks(video_size: int, chunk_size: int, total_chunk_count: int) -> None:
    if not 1 <= video_size <= MOST_VIDEO_BYTES:
        raise invalid("The video size is invalid")
    if not 1 <= total_chunk_count <= MOST_CHUNKS:
        raise invalid("The total chunk count is invalid")
    if chunk_size < 1 or chunk_size > MOST_CHUNK_BYTES:
        raise invalid("The chunk size is invalid")
    if total_chunk_count == 1 and chunk_size != video_size:
        raise invalid("The chunk size is invalid")
    if total_chunk_count != video_size // chunk_size:
        raise invalid("The total chunk count is invalid")
    if total_chunk_count > 1 and chunk_size < LEAST_CHUNK_BYTES:
        raise invalid("The chunk size is invalid")


def _video_post(post: dict[str, Any]) -> tuple[str, str]:
    flags = ("disable_comment", "disable_duet", "disable_stitch", "is_aigc")
    brands = ("brand_content_toggle", "brand_organic_toggle")
    _only(post, {"title", "privacy_level", "video_cover_timestamp_ms", *flags, *brands}, "post_info.")
    title = _text(post, "title")
    if utf16_units(title) > 2200:
        raise invalid("post_info.title is longer than 2200 UTF-16 code units.")
    cover = post.get("video_cover_timestamp_ms", 0)
    if type(cover) is not int or not -(2**31) <= cover < 2**31:
        raise invalid("post_info.video_cover_timestamp_ms must be an int32.")
    for name in flags:
        _flag(post, name)
    return title, _privacy(post, brands)


def _photos(body: dict[str, Any], caller: Caller) -> Wish:
    _only(body, {"media_type", "post_mode", "post_info", "source_info"}, "")
    if body.get("media_type") != "PHOTO":
        raise invalid("media_type must be PHOTO.")
    mode = body.get("post_mode")
    if mode not in ("DIRECT_POST", "MEDIA_UPLOAD"):
        raise invalid("post_mode must be DIRECT_POST or MEDIA_UPLOAD.")
    scope = "video.publish" if mode == "DIRECT_POST" else "video.upload"
    if scope not in caller.scopes:
        raise Problem(401, "scope_not_authorized", f"The user did not authorize {scope}.")
    source = _object(body, "source_info")
    _only(source, {"source", "photo_images", "photo_cover_index"}, "source_info.")
    if source.get("source") != "PULL_FROM_URL":
        raise invalid("source_info.source must be PULL_FROM_URL for photos.")
    urls = source.get("photo_images")
    if (
        not isinstance(urls, list)
        or not 1 <= len(urls) <= MOST_PHOTOS
        or not all(type(u) is str for u in urls)
    ):
        raise invalid(f"source_info.photo_images must be a list of 1 to {MOST_PHOTOS} addresses.")
    if not 0 <= _whole(source, "photo_cover_index") < len(urls):
        raise invalid("source_info.photo_cover_index is out of range.")
    post = _object(body, "post_info")
    flags, brands = ("disable_comment", "auto_add_music"), ("brand_content_toggle", "brand_organic_toggle")
    _only(post, {"title", "description", "privacy_level", *flags, *brands}, "post_info.")
    title, description = _text(post, "title"), _text(post, "description")
    if utf16_units(title) > 90 or utf16_units(description) > 4000:
        raise invalid("post_info.title may have 90 and post_info.description 4000 UTF-16 code units.")
    for name in flags:
        _flag(post, name)
    privacy_level = _privacy(post, brands) if mode == "DIRECT_POST" else ""
    for url in urls:
        _owned(url, caller)
    kind = "photo" if mode == "DIRECT_POST" else "photo_inbox"
    return Wish(
        kind, "PULL_FROM_URL", " ".join(filter(None, (title, description))), privacy_level, urls=tuple(urls)
    )


def _privacy(post: dict[str, Any], brands: tuple[str, ...]) -> str:
    level = post.get("privacy_level")
    if level not in PRIVACY_LEVELS:
        raise invalid("post_info.privacy_level is missing or unknown.")
    for name in brands:
        _flag(post, name, required=True)
    if post["brand_content_toggle"] and level == "SELF_ONLY":
        # The platform's own answer is not documented: section 9, item 5, chose this one.
        raise invalid("Branded content cannot be SELF_ONLY.", "invalid_param")
    return str(level)


def _owned(url: str, caller: Caller) -> None:
    """The address must stand under a domain or prefix verified for this app (section 4.5)."""
    unverified = Problem(403, "url_ownership_unverified", "The URL ownership of this media is not verified.")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise unverified from None
    if parts.scheme != "https" or parts.username or parts.fragment or not host or "/.." in parts.path:
        raise unverified
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        raise unverified
    for verified in caller.app.verified_url_prefixes:
        if "/" not in verified and (host == verified or host.endswith("." + verified)):
            return
        if verified.startswith("https://") and url.startswith(verified):
            return
    raise unverified


def _only(values: dict[str, Any], names: set[str], where: str) -> None:
    unknown = sorted(set(values) - names)
    if unknown:
        raise invalid(f"Unknown field: {where}{unknown[0]}.")


def _object(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    if not isinstance(found, dict):
        raise invalid(f"{name} is missing or not an object.")
    return found


def _text(values: dict[str, Any], name: str, *, required: bool = False) -> str:
    found = values.get(name, None if required else "")
    if not isinstance(found, str):
        raise invalid(f"{name} is missing or not a string.")
    return found


def _whole(values: dict[str, Any], name: str) -> int:
    found = values.get(name)
    if type(found) is not int or not 0 <= found < 2**63:
        raise invalid(f"{name} is missing or not a whole number.")
    return found


def _flag(values: dict[str, Any], name: str, *, required: bool = False) -> None:
    if type(values.get(name, None if required else False)) is not bool:
        raise invalid(f"post_info.{name} is missing or not true or false.")
