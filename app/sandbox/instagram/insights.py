"""Metrics of media and accounts: which may be asked for, and numbers that grow along a seeded curve (section 8)."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from app.sandbox.instagram import containers
from app.sandbox.instagram.calls import Call
from app.sandbox.instagram.containers import Medium
from app.sandbox.instagram.creators import DAY_S, HOUR_S, user_id
from app.sandbox.instagram.graph import PLACES, own_medium
from app.sandbox.meta.envelope import Problem, invalid
from app.sandbox.world import World

ALL = {"views", "reach", "shares", "total_interactions", "reposts"}
LIKED = {"likes", "comments", "saved"}
BY_PLACE: dict[str, set[str]] = {
    "FEED": ALL | LIKED | {"follows", "profile_visits", "profile_activity"},
    "REELS": ALL | LIKED | {"ig_reels_avg_watch_time", "ig_reels_video_view_total_time", "reels_skip_rate"},
    "STORY": ALL | {"follows", "profile_visits", "profile_activity", "replies", "navigation", "link_clicks"},
}
OF_FACEBOOK = {"FEED": {"total_likes", "total_comments", "total_views"}, "STORY": {"total_views"}}
OF_FACEBOOK["REELS"] = OF_FACEBOOK["FEED"]
OF_ACCOUNT = {
    "views", "reach", "accounts_engaged", "total_interactions", "likes", "comments", "saves", "shares", "replies",
    "reposts", "follows_and_unfollows", "profile_links_taps",
}  # fmt: skip
LEAST_OF_STORY = 5


async def of_medium(world: World, call: Call) -> dict[str, Any]:
    """One unknown metric fails the whole call; before the account's delay there is no data, which is not 0."""
    found = await own_medium(world, call)
    place = PLACES[found.surface]
    offered = BY_PLACE[place] | (OF_FACEBOOK[place] if call.login == "facebook" else set())
    metrics = _metrics(call, offered)
    if call.fields.get("period", "lifetime") != "lifetime":
        raise invalid("period must be lifetime.")
    age_s = call.at - found.at
    if age_s < call.caller.creator.switches.insights_after_s:
        return {"data": []}
    values = {metric: curve(found.id, metric, age_s) for metric in metrics}
    if place == "STORY" and min(values.values()) < LEAST_OF_STORY:
        raise Problem(10, "(#10) Not enough viewers for the media to show insights")
    return {"data": [_shown(found, metric, value) for metric, value in values.items()]}


def _shown(found: Medium, metric: str, value: int) -> dict[str, Any]:
    return {
        "name": metric,
        "period": "lifetime",
        "values": [{"value": value}],
        "title": metric.replace("_", " ").capitalize(),
        "description": "",
        "id": f"{found.id}/insights/{metric}/lifetime",
    }


async def of_account(world: World, call: Call) -> dict[str, Any]:
    """`total_value` is one number for the whole window; only `reach` has a `time_series`."""
    metrics = _metrics(call, OF_ACCOUNT)
    kind = call.fields.get("metric_type", "time_series")
    if call.fields.get("period") != "day":
        raise invalid("period must be day.")
    if kind not in ("total_value", "time_series") or (kind == "time_series" and metrics != ["reach"]):
        raise invalid("These metrics need metric_type=total_value.")
    until = _time(call, "until", call.at)
    since = _time(call, "since", until - DAY_S)
    if since >= until:
        raise invalid("since must be before until.")
    media = await world.read(containers.media_of, call.caller.creator.id, stories=False)

    def grown(metric: str, low: float, high: float) -> int:
        return sum(
            curve(each.id, metric, max(0.0, high - each.at)) - curve(each.id, metric, max(0.0, low - each.at))
            for each in media
        )

    owner = user_id(call.caller.creator)
    shown = []
    for metric in metrics:
        entry: dict[str, Any] = {"name": metric, "period": "day", "id": f"{owner}/insights/{metric}/day"}
        if kind == "total_value":
            entry["total_value"] = {"value": grown(metric, since, until)}
        else:
            days = max(1, round((until - since) / DAY_S))
            entry["values"] = [
                {"value": grown(metric, since + day * DAY_S, since + (day + 1) * DAY_S)}
                for day in range(days)
            ]
        shown.append(entry)
    return {"data": shown}


def _metrics(call: Call, offered: set[str]) -> list[str]:
    asked = [name.strip() for name in call.fields.get("metric", "").split(",") if name.strip()]
    wrong = [name for name in asked if name not in offered]
    if not asked or wrong:
        raise invalid(f"metric[0] must be one of the following values: {', '.join(sorted(offered))}")
    return asked


def _time(call: Call, name: str, default: float) -> float:
    text = call.fields.get(name)
    if text is not None and not text.isdigit():
        raise invalid(f"{name} must be a unix time.")
    return default if text is None else float(text)


def curve(media_id: str, metric: str, age_s: float) -> int:
    """How much of `metric` there is at this age: never falling, the same for the same medium."""
    seed = int.from_bytes(hashlib.sha256(f"{media_id}/{metric}".encode()).digest()[:4])
    most, half_s = 50 + seed % 5000, (2 + seed % 22) * HOUR_S
    return math.floor(most * (1.0 - math.pow(0.5, age_s / half_s)))
