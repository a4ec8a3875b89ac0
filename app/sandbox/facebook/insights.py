"""Numbers of Pages, posts and videos: the names that still work, and values that grow with time. Section 6.

One name that is gone fails the whole request with 100, as on the platform.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Any

from app.sandbox.facebook import videos
from app.sandbox.facebook.calls import Call
from app.sandbox.facebook.posts import owned
from app.sandbox.facebook.videos import shown
from app.sandbox.meta import envelope
from app.sandbox.meta.envelope import DAY_S, HOUR_S, Problem
from app.sandbox.world import World

PAGE = {
    "page_follows": ("day",),
    "page_daily_follows": ("day",),
    "page_daily_follows_unique": ("day",),
    "page_daily_unfollows_unique": ("day",),
    "page_media_view": ("day",),
    "page_total_media_view_unique": ("day", "days_28"),
    "page_post_engagements": ("day", "days_28"),
    "page_views_total": ("day",),
    "page_total_actions": ("day",),
}
POST = (
    "post_media_view",
    "post_total_media_view_unique",
    "post_clicks",
    "post_clicks_by_type",
    "post_reactions_by_type_total",
    "post_reactions_like_total",
    "post_video_views",
    "post_activity_by_action_type",
)
VIDEO = (
    "blue_reels_play_count",
    "fb_reels_total_plays",
    "post_video_avg_time_watched",
    "post_video_view_time",
    "post_video_likes_by_reaction_type",
    "post_video_social_actions",
    "total_video_views",
)
BY_TYPE = {
    "post_clicks_by_type": ("other clicks", "link clicks"),
    "post_reactions_by_type_total": ("like", "love"),
    "post_activity_by_action_type": ("share", "comment"),
    "post_video_likes_by_reaction_type": ("REACTION_LIKE", "REACTION_LOVE"),
}
LONGEST_WINDOW_S = 93 * DAY_S


async def of_object(world: World, call: Call) -> dict[str, Any]:
    """`/insights` of a Page (by the day) or of a post (for its life)."""
    if call.caller.page is not None and call.object_id == call.caller.page.id:
        return {"data": _page(call)}
    begun_at = await world.read(_born, call.object_id)
    if begun_at is None:
        raise envelope.unknown_object(call.object_id)
    await owned(world, call)
    return {"data": [_lifetime(call, name, begun_at) for name in _names(call, POST)]}


def _born(conn: sqlite3.Connection, post_id: str) -> float | None:
    """When a post was made, by its own id `{page}_{post}`; a bare video id is not one (section 6)."""
    row = conn.execute(
        "SELECT created_at AS at FROM fb_posts WHERE id = ?"
        " UNION SELECT finished_at FROM fb_videos WHERE page_id || '_' || post_id = ?",
        (post_id, post_id),
    ).fetchone()
    return row["at"] if row else None


async def of_video(world: World, call: Call) -> dict[str, Any]:
    found = await world.read(videos.by_id, call.object_id)
    page = call.caller.page
    video = videos.of_page(found, page.id if page else "", call.object_id)
    return {"data": [_lifetime(call, name, video.finished_at or call.at) for name in _names(call, VIDEO)]}


def _names(call: Call, known: Any) -> list[str]:
    names = [name for name in call.fields.get("metric", "").split(",") if name]
    if not names or any(name not in known for name in names):
        raise Problem(100, "(#100) The value must be a valid insights metric")
    return names


def _page(call: Call) -> list[dict[str, Any]]:
    names, period = _names(call, PAGE), call.fields.get("period", "day")
    if any(period not in PAGE[name] for name in names):
        raise Problem(100, "(#100) The value must be a valid insights metric for this period")
    try:
        until = float(call.fields.get("until", call.at))
        since = float(call.fields.get("since", until - 2 * DAY_S))
    except ValueError:
        raise envelope.invalid("since and until must be times.") from None
    if not 0 < until - since <= LONGEST_WINDOW_S:
        raise envelope.invalid("There cannot be more than 93 days between since and until.")
    ends = [since + DAY_S * day for day in range(1, int((until - since) / DAY_S) + 1)]
    return [
        {
            "name": name,
            "period": period,
            "values": [
                {"value": _grown(call.object_id, name, end / DAY_S), "end_time": shown(end)} for end in ends
            ],
            "id": f"{call.object_id}/insights/{name}/{period}",
        }
        for name in names
    ]


def _lifetime(call: Call, name: str, since: float) -> dict[str, Any]:
    whole = _grown(call.object_id, name, max(0.0, call.at - since) / HOUR_S)
    kinds = BY_TYPE.get(name)
    value: Any = {kinds[0]: whole - whole // 4, kinds[1]: whole // 4} if kinds else whole
    return {
        "name": name,
        "period": "lifetime",
        "values": [{"value": value}],
        "id": f"{call.object_id}/insights/{name}/lifetime",
    }


def _pace(object_id: str, name: str) -> int:
    return int(hashlib.sha256(f"{object_id}/{name}".encode()).hexdigest()[:4], 16) % 90 + 10


def _of_day(object_id: str, name: str, end: float) -> int:
    """A little more every day."""
    return _pace(object_id, name) * 10 + int(end / DAY_S)


def _grown(object_id: str, name: str, hours: float) -> int:
    """The same for the same moment, never less later."""
    return int(_pace(object_id, name) * hours**0.5)
