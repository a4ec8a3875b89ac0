"""Reading one object by its id: a Page, a video, a picture, a post. Facebook sheet, section 1, rows 11 and 14.

An unknown name inside `fields` fails the whole call with code 100.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Any

from app.sandbox.facebook import checks, videos
from app.sandbox.facebook.calls import Call
from app.sandbox.facebook.creators import creator_number, page_of
from app.sandbox.facebook.oauth import picture
from app.sandbox.facebook.videos import Video, shown, status_of
from app.sandbox.meta import envelope, look
from app.sandbox.meta.envelope import Problem
from app.sandbox.world import World, creator_of

HOME = "https://www.facebook.com"


async def read(world: World, call: Call) -> dict[str, Any]:
    """The object that the path names, with the fields asked for; one of another Page is not there."""
    video = await world.read(videos.by_id, call.object_id)
    if video is not None:
        return await _video(world, call, videos.of_page(video, _own(call), call.object_id))
    photo = await world.read(_row, "fb_photos", call.object_id)
    if photo is not None:
        return _photo(call, photo)
    post = await world.read(_row, "fb_posts", call.object_id)
    if post is not None:
        return _post(call, post)
    return await _page(world, call)


def _own(call: Call) -> str:
    if call.caller.page is None:
        raise envelope.unknown_object(call.object_id)
    return call.caller.page.id


def _row(conn: sqlite3.Connection, table: str, object_id: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = conn.execute(
        f"SELECT * FROM {table} WHERE id = ?",  # noqa: S608 - one of our own two tables
        (object_id,),
    ).fetchone()
    return found


def _picked(call: Call, everything: dict[str, Any], *usual: str) -> dict[str, Any]:
    names = call.only(*everything) or list(usual)
    return {"id": everything["id"]} | {
        name: everything[name] for name in names if everything.get(name) is not None
    }


async def _page(world: World, call: Call) -> dict[str, Any]:
    number = creator_number(call.object_id)
    person = await world.read(creator_of, number) if number is not None else None
    page = page_of(person, call.object_id) if person else None
    if page is None:
        raise envelope.unknown_object(call.object_id)
    everything = {
        "id": page.id,
        "name": page.name,
        "username": page.username,
        "link": f"{HOME}/{page.username}",
        "picture": picture(call.base, page.id),
        "fan_count": 1204,
        "tasks": list(page.tasks),
    }
    return _picked(call, everything, "name")


async def _video(world: World, call: Call, video: Video) -> dict[str, Any]:
    video = await checks.checked(world, video)
    out = video.published(call.at)
    path = f"/reel/{video.id}/" if video.kind == "reel" else f"/{video.page_id}/videos/{video.id}/"
    # The permalink is a path for some and whole for others (section 3.4), and none before it is out.
    permalink = (path if video.by_the_schema else HOME + path) if out else None
    everything = {
        "id": video.id,
        "status": status_of(world, video, call.at),
        "published": out,
        "permalink_url": permalink,
        "post_id": video.shown_post_id(call.at),
        "scheduled_publish_time": shown(video.publish_at) if video.publish_at else None,
        "length": video.length_s,
        "title": video.title or None,
        "description": video.description or None,
        "created_time": shown(video.created_at),
    }
    return _picked(call, everything, "description", "created_time")


def _photo(call: Call, photo: sqlite3.Row) -> dict[str, Any]:
    gone = photo["post_id"] is None and call.at >= photo["expires_at"]
    if photo["page_id"] != _own(call) or gone:
        raise envelope.unknown_object(call.object_id)
    everything = {
        "id": photo["id"],
        "page_story_id": photo["post_id"],
        "link": f"{HOME}/photo.php?fbid={photo['id']}",
        "alt_text_custom": photo["alt"] or None,
        "created_time": shown(photo["created_at"]),
    }
    return _picked(call, everything, "created_time")


def _post(call: Call, post: sqlite3.Row) -> dict[str, Any]:
    if post["page_id"] != _own(call):
        raise envelope.unknown_object(call.object_id)
    out = call.at >= (post["publish_at"] or 0)
    everything = {
        "id": post["id"],
        "message": post["message"] or None,
        "permalink_url": f"{HOME}/{post['id'].replace('_', '/posts/')}" if out else None,
        "is_published": out,
        "created_time": shown(post["created_at"]),
    }
    return _picked(call, everything, "message", "created_time")


async def thumbnail(world: World, call: Call) -> dict[str, Any]:
    """A cover for a video that is there already; the preferred one replaces an earlier one."""
    found = await world.read(videos.by_id, call.object_id)
    video = videos.of_page(found, _own(call), call.object_id)
    source = call.files.get("source")
    content = await source.read() if source is not None else b""
    if look.picture(content) is None:
        raise Problem(324, "(#324) Missing or invalid image file")
    if call.fields.get("is_preferred") == "true":
        await world.write(_cover, video.id, hashlib.sha256(content).hexdigest())
    return {"success": True}


def _cover(conn: sqlite3.Connection, video_id: str, sha256: str) -> None:
    conn.execute("UPDATE fb_videos SET cover_sha256 = ? WHERE id = ?", (sha256, video_id))
