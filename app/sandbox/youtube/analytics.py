"""Reports of the analytics API (section 6.2): rows up to three days ago, columns in the order they were asked for."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from datetime import UTC, date, datetime, timedelta
from typing import Any

from starlette.responses import Response

from app.sandbox.world import Creator, World
from app.sandbox.youtube import videos
from app.sandbox.youtube.calls import Call, said
from app.sandbox.youtube.channels import MONEY
from app.sandbox.youtube.problems import Problem
from app.sandbox.youtube.videos import Video

METRICS = {
    "views": 1.0, "engagedViews": 0.8, "estimatedMinutesWatched": 0.6, "averageViewDuration": 0.0,
    "averageViewPercentage": 0.0, "likes": 0.05, "dislikes": 0.002, "comments": 0.007, "shares": 0.01,
    "subscribersGained": 0.004, "subscribersLost": 0.001, "estimatedRevenue": 0.0, "viewerPercentage": 0.0,
}  # fmt: skip
DIMENSIONS = ((), ("day",), ("video",), ("country",), ("deviceType",), ("insightTrafficSourceType",),
              ("creatorContentType",), ("ageGroup", "gender"), ("day", "creatorContentType"))  # fmt: skip
KINDS: dict[str, tuple[str, ...]] = {
    "country": ("PT", "US", "BR"),
    "deviceType": ("MOBILE", "DESKTOP", "TV"),
    "insightTrafficSourceType": ("SHORTS", "YT_SEARCH", "EXT_URL"),
    "creatorContentType": ("shorts", "videoOnDemand"),
}
LAG = timedelta(days=3)


async def reports(world: World, call: Call) -> Response:
    query = call.query
    metrics = tuple(filter(None, query.get("metrics", "").split(",")))
    dimensions = tuple(filter(None, query.get("dimensions", "").split(",")))
    first, last = _day(query.get("startDate", "")), _day(query.get("endDate", ""))
    people = dimensions == ("ageGroup", "gender")
    wrong = (
        not metrics
        or bool(set(metrics) - set(METRICS))
        or dimensions not in DIMENSIONS
        or (metrics == ("viewerPercentage",)) is not people
        or first is None
        or last is None
        or query.get("ids") not in ("channel==MINE", "channel==mine")
        or not _sorted_well(query.get("sort", ""), metrics + dimensions)
    )
    if not wrong and "video" in dimensions:
        # A top list needs its order and its length (section 6.2).
        most = query.get("maxResults", "")
        wrong = not query.get("sort", "").startswith("-") or not most.isdigit() or not 1 <= int(most) <= 200
    wanted = _filtered(query.get("filters", ""))
    if wrong or wanted is None or first is None or last is None:
        raise Problem(400, "badRequest", "The query is not supported.", domain="global")
    if "estimatedRevenue" in metrics and MONEY not in call.caller.scopes:
        raise Problem(403, "forbidden", "Forbidden", domain="global")
    rows = await world.read(_rows, call.caller.creator, metrics, dimensions, wanted, first, last, call.at)
    columns = [{"name": name, "columnType": "DIMENSION", "dataType": "STRING"} for name in dimensions] + [
        {"name": name, "columnType": "METRIC", "dataType": "FLOAT" if "ercentage" in name else "INTEGER"}
        for name in metrics
    ]
    answer: dict[str, Any] = {"kind": "youtubeAnalytics#resultTable", "columnHeaders": columns}
    order = query.get("sort", "")
    if order:
        place = [column["name"] for column in columns].index(order.removeprefix("-"))
        rows.sort(key=lambda row: row[place], reverse=order.startswith("-"))
    if rows:
        answer["rows"] = rows[: int(query.get("maxResults", "200") or 200)]
    return said(answer)


def _sorted_well(order: str, columns: tuple[str, ...]) -> bool:
    return not order or order.removeprefix("-") in columns


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


def _filtered(text: str) -> set[str] | None:
    """The videos asked for, empty for all; None for a filter this world does not know."""
    found: set[str] = set()
    for each in filter(None, text.split(";")):
        name, _, value = each.partition("==")
        if name != "video" or not value:
            return None
        found |= set(value.split(","))
    return found


def _rows(
    conn: sqlite3.Connection,
    creator: Creator,
    metrics: tuple[str, ...],
    dimensions: tuple[str, ...],
    wanted: set[str],
    first: date,
    last: date,
    at: float,
) -> list[list[Any]]:
    today = datetime.fromtimestamp(at, UTC).date()
    until = min(last, today - LAG)
    own = [video for video in videos.of_channel(conn, creator.id) if not wanted or video.id in wanted]
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for video in own:
        since = video.public_since(at)
        if since is None:
            continue
        day = max(first, datetime.fromtimestamp(since, UTC).date())
        while day <= until:
            for key, share in _keys(video, day, dimensions):
                group = groups.setdefault(key, dict.fromkeys(METRICS, 0.0))
                for name, part in METRICS.items():
                    group[name] += _views(video.id, day) * share * part
            day += timedelta(days=1)
    return [[*key, *(_figure(name, group) for name in metrics)] for key, group in sorted(groups.items())]


def _views(video_id: str, day: date) -> int:
    return 20 + int(hashlib.sha256(f"{video_id}|{day}".encode()).hexdigest()[:4], 16) % 400


def _keys(video: Video, day: date, dimensions: tuple[str, ...]) -> list[tuple[tuple[str, ...], float]]:
    if dimensions == ("ageGroup", "gender"):
        return [(("age25-34", "female"), 0.5), (("age25-34", "male"), 0.5)]
    content = "shorts" if video.short else "videoOnDemand"
    fixed = {"day": day.isoformat(), "video": video.id, "creatorContentType": content}
    if all(name in fixed for name in dimensions):
        return [(tuple(fixed[name] for name in dimensions), 1.0)]
    kinds = KINDS[dimensions[0]]
    return [((kind,), 1 / len(kinds)) for kind in kinds]


def _figure(name: str, group: dict[str, float]) -> float | int:
    if name == "averageViewDuration":
        return 36
    if name == "averageViewPercentage":
        return 61.5
    if name == "viewerPercentage":
        return 50.0
    return int(group[name])
