"""What the Graph calls of an account do: profile, containers, publishing, limits, lists, comments (section 2)."""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime
from typing import Any

from app.sandbox import later
from app.sandbox.answering import caller_of
from app.sandbox.instagram import checks, containers
from app.sandbox.instagram.calls import Call, listed, picked
from app.sandbox.instagram.containers import Container, Medium
from app.sandbox.instagram.creators import DAY_S, user_id
from app.sandbox.instagram.oauth import profile_values
from app.sandbox.instagram.rules import MOST_CAPTION_UNITS, utf16, wish_of
from app.sandbox.meta.envelope import Problem, invalid, unknown_object
from app.sandbox.world import Creator, World

KINDS = {"REELS": "VIDEO", "CAROUSEL": "CAROUSEL_ALBUM", "IMAGE": "IMAGE"}
PLACES = {"REELS": "REELS", "STORIES": "STORY", "IMAGE": "FEED", "CAROUSEL": "FEED"}
PATHS = {"REELS": "reel", "IMAGE": "p", "CAROUSEL": "p"}


async def profile(world: World, call: Call) -> dict[str, Any]:
    creator = call.caller.creator
    if call.node not in ("me", user_id(creator)):
        raise unknown_object(call.node)
    values = profile_values(call.base, creator, call.login)
    media = await world.read(containers.media_of, creator.id, stories=False)
    values["media_count"] = len(media)
    default = "id,user_id" if call.login == "instagram" else "id"
    return picked(call.fields, "IGUser" if call.login == "instagram" else "ShadowIGUser", values, default)


async def create(world: World, call: Call) -> dict[str, Any]:
    """Another container each time; nothing of it is seen by anybody."""
    made = await world.write(_create, call)
    await checks.sweep(world)
    answer = {"id": made.id}
    if made.source == "resumable":
        answer["uri"] = f"{call.base}/instagram/upload/ig-api-upload/{call.version}/{made.id}"
    return answer


def _create(conn: sqlite3.Connection, call: Call) -> Container:
    wish = wish_of(call.fields, resumable=call.caller.creator.switches.resumable)
    return containers.make(conn, call.caller, wish, call.fields, call.at)


async def container(world: World, call: Call) -> dict[str, Any]:
    """The state, worked out by looking: while it is worked on, each question uses up one of the account's `polls`."""
    found = await world.read(containers.mine, call.caller, call.node)
    if found is None:
        raise unknown_object(call.node)
    found = await checks.checked(world, found)
    at = world.clock()
    state = found.state(at)
    uploads = found.source == "resumable"
    values = {
        "id": found.id,
        "status_code": state,
        "status": found.words(at),
        "video_status": _video_status(found, checks.received(world, found)) if uploads else None,
        "copyright_check_status": None,
    }
    answer = picked(call.fields, "IGContainer", values, "id")
    if state == "IN_PROGRESS":
        await world.write(containers.ask, found.id)
    return answer


def _video_status(found: Container, here: int) -> dict[str, Any]:
    complete = found.finished_at is not None
    return {
        "uploading_phase": {
            "status": "complete" if complete else "in_progress" if here else "not_started",
            # The documentation's own spelling.
            "bytes_transfered": here,
            "source_file_size": found.total_bytes or 0,
        },
        "processing_phase": {"status": "in_progress" if complete else "not_started"},
    }


async def publish(world: World, call: Call) -> dict[str, Any]:
    creation_id = call.fields.get("creation_id", "")
    if not creation_id:
        raise invalid("The parameter creation_id is required.")
    found = await world.read(containers.mine, call.caller, creation_id)
    if found is not None:
        await checks.checked(world, found)
    medium = await world.write(containers.publish, call.caller, creation_id, world.clock())
    return {"id": medium.id}


async def limit(world: World, call: Call) -> dict[str, Any]:
    creator = call.caller.creator
    if not creator.switches.limit_readable:
        raise Problem(100, "(#100) Unsupported get request.", 33)
    since = call.fields.get("since", "")
    if since and (not since.isdigit() or float(since) < call.at - DAY_S):
        raise invalid("since must be a time of the last 24 hours.")
    used = await world.read(containers.posts_today, creator, call.at)
    values = {
        "quota_usage": used,
        "config": {"quota_total": creator.switches.quota_total, "quota_duration": int(DAY_S)},
    }
    return {"data": [picked(call.fields, "ContentPublishingLimit", values, "quota_usage")]}


async def medium(world: World, call: Call) -> dict[str, Any]:
    found = await own_medium(world, call)
    count = await world.read(_comment_count, found.id)
    return picked(call.fields, "IGMedia", _values(found, call.caller.creator, count), "id")


async def own_medium(world: World, call: Call) -> Medium:
    """The medium in the path, if the caller may see it; raises Problem."""
    found = await world.read(containers.medium_of, call.node)
    if found is None or found.creator_id != call.caller.creator.id or not found.is_live(call.at):
        raise unknown_object(call.node)
    return found


def _values(found: Medium, creator: Creator, comments: int) -> dict[str, Any]:
    if found.surface == "STORIES":
        permalink = f"https://www.instagram.com/stories/{creator.username}/{found.id}"
    else:
        permalink = f"https://www.instagram.com/{PATHS[found.surface]}/{found.shortcode}/"
    return {
        "id": found.id,
        "permalink": permalink,
        "media_type": KINDS.get(found.surface, "VIDEO" if found.video else "IMAGE"),
        "media_product_type": PLACES[found.surface],
        "timestamp": datetime.fromtimestamp(found.at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
        "caption": found.caption or None,
        "shortcode": found.shortcode,
        "username": creator.username,
        "like_count": 0,
        "comments_count": comments,
    }


async def media_list(world: World, call: Call) -> dict[str, Any]:
    return await _list(world, call, stories=False)


async def stories(world: World, call: Call) -> dict[str, Any]:
    return await _list(world, call, stories=True)


async def _list(world: World, call: Call, *, stories: bool) -> dict[str, Any]:
    creator = call.caller.creator
    found = await world.read(containers.media_of, creator.id, stories=stories)
    low, high = _moment(call.fields.get("since", "0")), _moment(call.fields.get("until", "inf"))
    shown = [each for each in found if each.is_live(call.at) and low <= each.at <= high]
    items = [picked(call.fields, "IGMedia", _values(each, creator, 0), "id") for each in shown]
    root = "api" if call.login == "instagram" else "facebook_api"
    edge = "stories" if stories else "media"
    return listed(call, f"/instagram/{root}/{call.version}/{call.node}/{edge}", items)


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise invalid("since and until must be unix times.") from None


async def comment(world: World, call: Call) -> dict[str, Any]:
    found = await own_medium(world, call)
    text = call.fields.get("message", "")
    if not text.strip() or utf16(text) > MOST_CAPTION_UNITS:
        raise invalid("message must be 1 to 2200 characters.")
    if found.surface == "STORIES":
        raise invalid("A story takes no comments.")
    return {"id": await world.write(_comment, found.id, text, call.at)}


def _comment(conn: sqlite3.Connection, media_id: str, text: str, at: float) -> str:
    comment_id = "178" + str(10**13 + secrets.randbelow(9 * 10**13))
    conn.execute("INSERT INTO ig_comments VALUES (?, ?, ?, ?)", (comment_id, media_id, text, at))
    return comment_id


async def comments(world: World, call: Call) -> dict[str, Any]:
    found = await own_medium(world, call)
    items = [
        picked(
            call.fields,
            "IGComment",
            {
                "id": row["id"],
                "text": row["text"],
                "timestamp": datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
                "username": call.caller.creator.username,
            },
            "id,text,timestamp",
        )
        for row in await world.read(_comments, found.id)
    ]
    root = "api" if call.login == "instagram" else "facebook_api"
    return listed(call, f"/instagram/{root}/{call.version}/{call.node}/comments", items)


def _comments(conn: sqlite3.Connection, media_id: str) -> list[sqlite3.Row]:
    return conn.execute(
        "SELECT * FROM ig_comments WHERE media_id = ? ORDER BY at DESC, id DESC", (media_id,)
    ).fetchall()


def _comment_count(conn: sqlite3.Connection, media_id: str) -> int:
    (count,) = conn.execute("SELECT count(*) FROM ig_comments WHERE media_id = ?", (media_id,)).fetchone()
    return int(count)


# Acts that a fault puts off


async def _create_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    await world.write(_create_once, world, arguments, due_at)


def _create_once(conn: sqlite3.Connection, world: World, arguments: dict[str, Any], due_at: float) -> None:
    caller = caller_of(conn, world, arguments["grant_id"])
    if later.done(conn, arguments["later_id"]) and caller is not None:
        call = Call(caller, arguments["login"], arguments["fields"], arguments["node"], due_at)
        try:
            _create(conn, call)
        except Problem:
            return


async def _publish_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    found = await world.read(containers.by_id, arguments["fields"].get("creation_id", ""))
    if found is not None:
        await checks.checked(world, found)
    await world.write(_publish_once, world, arguments, due_at)


def _publish_once(conn: sqlite3.Connection, world: World, arguments: dict[str, Any], due_at: float) -> None:
    caller = caller_of(conn, world, arguments["grant_id"])
    if later.done(conn, arguments["later_id"]) and caller is not None:
        try:
            containers.publish(conn, caller, arguments["fields"].get("creation_id", ""), due_at)
        except Problem:
            return


later.knows("ig_create", _create_later)
later.knows("ig_publish", _publish_later)
