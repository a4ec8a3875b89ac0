"""What is read and changed besides uploads: videos, channels, categories, counters, the search (section 1)."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.sandbox.answering import world_of
from app.sandbox.world import Creator, World, creator_of
from app.sandbox.youtube import checks, rules, shown, videos
from app.sandbox.youtube.calls import Call, said
from app.sandbox.youtube.channels import channel_id
from app.sandbox.youtube.problems import Problem, no_video
from app.sandbox.youtube.videos import DAY_S, Video

MOST_IDS = 50
MOST_THUMBNAIL_BYTES = 52_428_800
THUMBNAIL_TYPES = ("image/jpeg", "image/png", "application/octet-stream")
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
STATS_PARTS = ("id", "snippet", "statistics", "contentDetails")


def _page(kind: str, items: list[dict[str, Any]], per_page: int) -> Response:
    counted = {"totalResults": len(items), "resultsPerPage": per_page}
    return said(
        {"kind": f"youtube#{kind}", "etag": shown.etag(str(items)), "pageInfo": counted, "items": items}
    )


def _ids(call: Call) -> list[str]:
    ids = list(dict.fromkeys(filter(None, call.query.get("id", "").split(","))))
    if not ids:
        raise Problem(
            400,
            "missingRequiredParameter",
            "No filter selected. Expected one of: id",
            domain="youtube.parameter",
        )
    if len(ids) > MOST_IDS:
        raise Problem(400, "invalidFilters", f"At most {MOST_IDS} ids.", domain="youtube.parameter")
    return ids


async def list_videos(world: World, call: Call) -> Response:
    """An id of nobody, and one this token may not see, are just missing."""
    parts = rules.parts_of(call.query.get("part", ""))
    items = []
    for video_id in _ids(call):
        video = await world.read(videos.by_id, video_id)
        if video is None:
            continue
        video = await _looked_at(world, video)
        own = video.creator_id == call.caller.creator.id
        if not own and (video.privacy(call.at) == "private" or not video.ready(call.at)):
            continue
        if not own and "processingDetails" in parts:
            raise Problem(403, "forbidden", "The request cannot access processing information.")
        owner = await world.read(creator_of, video.creator_id)
        if owner is not None:
            items.append(shown.resource(video, owner, parts, call.at, call.base))
    return _page("videoListResponse", items, len(items))


async def _looked_at(world: World, video: Video) -> Video:
    try:
        return await checks.checked(world, video)
    except Exception:
        # The probe's own trouble decides nothing: the video is still being processed, and looked at again.
        return video


async def batch_stats(world: World, call: Call) -> Response:
    """Counters of many videos at once, durations in seconds with an s (section 6.1)."""
    parts = rules.parts_of(call.query.get("part", ""))
    if set(parts) - set(STATS_PARTS):
        raise Problem(400, "unknownPart", "This method knows id, snippet, statistics and contentDetails.")
    items = []
    for video_id in _ids(call):
        video = await world.read(videos.by_id, video_id)
        own = video is not None and video.creator_id == call.caller.creator.id
        if video is None or (not own and video.public_since(call.at) is None):
            continue
        known: dict[str, Any] = {
            "snippet": {"publishTime": shown.when(video.public_since(call.at) or video.uploaded_at)},
            "statistics": {name: str(n) for name, n in shown.counters(video, call.at).items()},
            "contentDetails": {"duration": f"{round(video.duration_s or 0)}s"},
        }
        picked = {name: known[name] for name in parts if name in known}
        items.append(
            {"kind": "youtube#videoStats", "etag": shown.etag(str(picked)), "id": video.id, **picked}
        )
    return said({"kind": "youtube#videoBatchGetStatsResponse", "items": items})


async def _own(world: World, call: Call, video_id: str) -> Video:
    video = await world.read(videos.by_id, video_id)
    if video is None:
        raise no_video()
    if video.creator_id != call.caller.creator.id:
        raise Problem(403, "forbidden", "The video belongs to another channel.")
    return video


async def update(world: World, call: Call) -> Response:
    parts = rules.parts_of(call.query.get("part", ""))
    body = call.body
    video = await _own(world, call, str(body.get("id", "")))
    resource = rules.resource_of(body, parts, updating=True)
    planned = resource.get("status", {}).get("publishAt")
    if planned and planned != video.status.get("publishAt") and video.public_since(call.at) is not None:
        raise Problem(400, "invalidPublishAt", "The video has been public already.")
    await world.write(videos.change, video, resource)
    changed = await world.read(videos.by_id, video.id) or video
    return said(shown.resource(changed, call.caller.creator, parts, call.at, call.base))


async def delete(world: World, call: Call) -> Response:
    video = await _own(world, call, call.query.get("id", ""))
    await world.write(videos.delete, video, call.at)
    return Response(status_code=204)


async def list_channels(world: World, call: Call) -> Response:
    rules.parts_of(call.query.get("part", ""))
    creator = call.caller.creator
    asked = call.query.get("id")
    if call.query.get("mine", "").lower() != "true" and not asked:
        raise Problem(
            400, "missingRequiredParameter", "No filter selected. Expected one of: id, mine",
            domain="youtube.parameter",
        )  # fmt: skip
    if not creator.switches.has_channel or (asked and channel_id(creator.id) not in asked.split(",")):
        return _page("channelListResponse", [], 5)
    parts = call.query.get("part", "").split(",")
    whole = await world.read(_channel, creator, call.at, call.base)
    return _page("channelListResponse", [{n: v for n, v in whole.items() if n in parts or n in BARE}], 5)


BARE = ("kind", "etag", "id")


def _channel(conn: sqlite3.Connection, creator: Creator, at: float, base: str) -> dict[str, Any]:
    own = videos.of_channel(conn, creator.id)
    public = [video for video in own if video.public_since(at) is not None]
    views = sum(shown.counters(video, at)["viewCount"] for video in public)
    name = channel_id(creator.id)
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:4], 16)
    subscribers = 100 + seed % 900 + int(5 * max(at - creator.created_at, 0) / DAY_S)
    picture = f"{base}/tiktok/avatars/{creator.username}.svg"
    return {
        "kind": "youtube#channel",
        "etag": shown.etag(f"{name}{views}{len(own)}"),
        "id": name,
        "snippet": {
            "title": creator.display_name,
            "description": "Lives in the simulator.",
            "customUrl": f"@{creator.username}",
            "publishedAt": shown.when(creator.created_at),
            "thumbnails": {"default": {"url": picture, "width": 88, "height": 88}},
            "country": "PT",
        },
        "statistics": {
            "viewCount": str(views),
            "subscriberCount": str(subscribers),
            "hiddenSubscriberCount": False,
            "videoCount": str(len(public)),
        },
        "status": {
            "privacyStatus": "public",
            "isLinked": True,
            "longUploadsStatus": creator.switches.long_uploads,
            "madeForKids": False,
        },
        "contentDetails": {"relatedPlaylists": {"likes": "", "uploads": f"UU{name[2:]}"}},
    }


async def categories(world: World, call: Call) -> Response:
    if not re.fullmatch(r"[A-Za-z]{2}", call.query.get("regionCode", "")) and not call.query.get("id"):
        raise Problem(400, "missingRequiredParameter", "No filter selected. Expected one of: id, regionCode")
    known = {**{n: (title, True) for n, title in rules.CATEGORIES.items()},
             **{n: (title, False) for n, title in rules.NOT_ASSIGNABLE.items()}}  # fmt: skip
    items = [
        {"kind": "youtube#videoCategory", "etag": shown.etag(number), "id": number,
         "snippet": {"title": title, "assignable": assignable, "channelId": "UCdemo0000000000000000aa"}}
        for number, (title, assignable) in sorted(known.items(), key=lambda each: int(each[0]))
        if not call.query.get("id") or number in call.query["id"].split(",")
    ]  # fmt: skip
    return _page("videoCategoryListResponse", items, len(items))


async def search(world: World, call: Call) -> Response:
    """Own videos and public ones of everybody whose title holds the words."""
    if "snippet" not in rules.parts_of(call.query.get("part", "")):
        raise Problem(400, "missingRequiredParameter", "part must be snippet.")
    words = call.query.get("q", "").lower()
    found = await world.read(_searched, call.caller.creator.id, call.query.get("forMine") == "true")
    items = []
    for video in found:
        own = video.creator_id == call.caller.creator.id
        if words in str(video.snippet.get("title", "")).lower() and (own or video.public_since(call.at)):
            owner = await world.read(creator_of, video.creator_id)
            if owner is not None:
                items.append(
                    {"kind": "youtube#searchResult", "etag": shown.etag(video.id),
                     "id": {"kind": "youtube#video", "videoId": video.id},
                     "snippet": shown.snippet(video, owner, call.at, call.base)}
                )  # fmt: skip
    return _page("searchListResponse", items[:MOST_IDS], 5)


def _searched(conn: sqlite3.Connection, creator_id: int, mine: bool) -> list[Video]:
    rows = conn.execute(
        "SELECT DISTINCT creator_id FROM yt_videos WHERE creator_id = ? OR NOT ?", (creator_id, mine)
    )
    return [video for row in rows.fetchall() for video in videos.of_channel(conn, row["creator_id"])]


async def set_thumbnail(world: World, call: Call) -> Response:
    """Section 4: JPEG or PNG, 50 MB, raw. A Short takes one only once it is processed (section 0)."""
    if call.query.get("uploadType", "media") != "media":
        raise Problem(400, "badRequest", "Only uploadType=media is offered here.", domain="global")
    video = await _own(world, call, call.query.get("videoId", ""))
    video = await _looked_at(world, video)
    if not call.raw:
        raise Problem(400, "mediaBodyRequired", "The request does not include the image content.")
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if (
        kind not in THUMBNAIL_TYPES
        or len(call.raw) > MOST_THUMBNAIL_BYTES
        or not call.raw.startswith(PICTURES)
    ):
        raise Problem(400, "invalidImage", "The provided image content is invalid.")
    if not call.caller.creator.switches.custom_thumbnails or (video.short and not video.ready(call.at)):
        raise Problem(
            403, "forbidden", "The authenticated user doesn't have permissions to upload and set custom video "
            "thumbnails.",
        )  # fmt: skip
    name = f"youtube-thumbnail-{video.number}"
    (world.files / name).write_bytes(call.raw)
    await world.write(videos.set_thumbnail, video, name)
    sizes = shown.thumbnails(video, call.base)
    return said({"kind": "youtube#thumbnailSetResponse", "etag": shown.etag(name), "items": [sizes]})


async def picture(request: Request) -> Response:
    """The thumbnail that was set, in whichever size it is asked for."""
    world = world_of(request)
    video = await world.read(videos.by_id, request.path_params["video_id"])
    if video is None or video.thumbnail is None or not (world.files / video.thumbnail).exists():
        return Response(status_code=404)
    content = (world.files / video.thumbnail).read_bytes()
    return Response(content, media_type="image/png" if content.startswith(PICTURES[1]) else "image/jpeg")
