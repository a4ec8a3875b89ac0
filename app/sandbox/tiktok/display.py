"""Profile and public videos with their counters: section 6 of the platform's sheet."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

from app.sandbox.tiktok import checks, posts
from app.sandbox.tiktok.calls import Call, Problem, invalid
from app.sandbox.world import World

USER_FIELDS = {
    "user.info.basic": (
        "open_id",
        "union_id",
        "avatar_url",
        "avatar_url_100",
        "avatar_large_url",
        "display_name",
    ),
    "user.info.profile": ("bio_description", "profile_deep_link", "is_verified", "username"),
    "user.info.stats": ("follower_count", "following_count", "likes_count", "video_count"),
}
VIDEO_FIELDS = (
    "id", "create_time", "cover_image_url", "share_url", "video_description", "duration", "height", "width",
    "title", "embed_html", "embed_link", "like_count", "comment_count", "share_count", "view_count",
)  # fmt: skip
MOST_VIDEOS = 20


async def user_info(world: World, call: Call) -> dict[str, Any]:
    scope_of = {name: scope for scope, names in USER_FIELDS.items() for name in names}
    wanted = _fields(call.fields, tuple(scope_of))
    missing = sorted({scope_of[name] for name in wanted} - call.caller.scopes)
    if missing:
        raise Problem(401, "scope_not_authorized", f"The user did not authorize {', '.join(missing)}.")
    creator = call.caller.creator
    videos = await _public(world, call)
    avatar = f"{call.base}/tiktok/avatars/{creator.username}.svg"
    days = (call.at - creator.created_at) / posts.DAY_S
    profile: dict[str, Any] = {
        "open_id": call.caller.open_id,
        "union_id": "uid-" + hashlib.sha256(f"union|{creator.id}".encode()).hexdigest()[:28],
        "avatar_url": avatar,
        "avatar_url_100": avatar,
        "avatar_large_url": avatar,
        "display_name": creator.display_name,
        "bio_description": "Lives in the simulator.",
        "profile_deep_link": f"https://www.tiktok.com/@{creator.username}",
        "is_verified": False,
        "username": creator.username,
        "follower_count": int(100 + _seed(creator.username) % 900 + 10 * days),
        "following_count": _seed(creator.username) % 300,
        "likes_count": sum(_counters(video, call.at)["like_count"] for video in videos),
        "video_count": len(videos),
    }
    return {"user": {name: profile[name] for name in wanted}}


async def video_list(world: World, call: Call) -> dict[str, Any]:
    wanted = _fields(call.fields, VIDEO_FIELDS)
    if set(call.body) - {"cursor", "max_count"}:
        raise invalid("Only cursor and max_count are known here.")
    cursor, most = call.body.get("cursor", 0), call.body.get("max_count", 10)
    if type(cursor) is not int or cursor < 0 or type(most) is not int or not 1 <= most <= MOST_VIDEOS:
        raise invalid("cursor must be UTC milliseconds and max_count 1 to 20.")
    older = [v for v in await _public(world, call) if not cursor or _created_ms(v) < cursor]
    page = older[:most]
    return {
        "videos": [_video(video, wanted, call) for video in page],
        "cursor": _created_ms(page[-1]) if page else cursor,
        "has_more": len(older) > len(page),
    }


async def video_query(world: World, call: Call) -> dict[str, Any]:
    """Those of the videos asked for that are this person's and public; the others are silently absent."""
    wanted = _fields(call.fields, VIDEO_FIELDS)
    filters = call.body.get("filters")
    ids = filters.get("video_ids") if isinstance(filters, dict) else None
    if (
        not isinstance(ids, list)
        or not 1 <= len(ids) <= MOST_VIDEOS
        or not all(type(each) is str for each in ids)
    ):
        raise invalid("filters.video_ids must be a list of 1 to 20 ids as text.")
    videos = {video.post_id: video for video in await _public(world, call)}
    return {"videos": [_video(videos[each], wanted, call) for each in dict.fromkeys(ids) if each in videos]}


def _fields(asked: str, known: tuple[str, ...]) -> list[str]:
    names = [each.strip() for each in asked.split(",") if each.strip()]
    unknown = [name for name in names if name not in known]
    if not names or unknown:
        raise invalid(f"fields is missing or has an unknown name: {', '.join(unknown)}.")
    return names


async def _public(world: World, call: Call) -> list[posts.Post]:
    await checks.check_all(world)
    mine = await world.read(_videos_of, call.caller.creator.id)
    return [post for post in mine if post.is_public(call.at)]


def _videos_of(conn: sqlite3.Connection, creator_id: int) -> list[posts.Post]:
    found = [post for post in posts.of_creator(conn, creator_id) if not post.draft and post.finished_at]
    return sorted(found, key=_created_ms, reverse=True)


def _created_ms(post: posts.Post) -> int:
    return int((post.finished_at or 0) * 1000)


def _video(post: posts.Post, wanted: list[str], call: Call) -> dict[str, Any]:
    share_url = f"https://www.tiktok.com/@{call.caller.creator.username}/video/{post.post_id}"
    whole: dict[str, Any] = {
        "id": post.post_id,
        "create_time": int(post.finished_at or 0),
        "cover_image_url": f"{call.base}/tiktok/avatars/{call.caller.creator.username}.svg",
        "share_url": share_url,
        "video_description": post.title,
        "duration": int(post.duration_s or 0),
        "height": post.height_px or 0,
        "width": post.width_px or 0,
        "title": str(json.loads(post.wishes).get("title", "")),
        "embed_html": f'<blockquote cite="{share_url}"></blockquote>',
        "embed_link": share_url,
        **_counters(post, call.at),
    }
    return {name: whole[name] for name in wanted}


def _counters(post: posts.Post, at: float) -> dict[str, int]:
    """Counters that only grow, the same for everyone who asks at the same moment."""
    seed = _seed(post.publish_id)
    age_s = max(0.0, at - (post.public_at or at))
    views = int(age_s * (1 + seed % 50) / 60)
    return {
        "view_count": views,
        "like_count": views * (3 + seed % 7) // 100,
        "comment_count": views * (1 + seed % 3) // 400,
        "share_count": views * (1 + seed % 5) // 900,
    }


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
