"""Pictures and posts of a Page's feed, and comments on what it posted. Facebook sheet, sections 1 and 3.3."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from typing import Any

from app.sandbox.facebook import videos
from app.sandbox.facebook.calls import Call
from app.sandbox.facebook.creators import NAME
from app.sandbox.facebook.videos import LONGEST_TEXT, shown
from app.sandbox.meta import envelope, fetch, look
from app.sandbox.meta.envelope import DAY_S, Problem
from app.sandbox.world import World, enter

MOST_PICTURE_BYTES = 10_000_000
PICTURE_TYPES = ("image/jpeg", "image/png")


async def photos(world: World, call: Call) -> dict[str, Any]:
    """Row 14: a picture, from its bytes (`source`) or its address (`url`); shown at once unless `published=false`."""
    page = call.page
    videos.refuse_if_barred(call)
    content = await _picture(world, call)
    if len(content) > MOST_PICTURE_BYTES:
        raise Problem(1, "Photos should be smaller than 10 MB.", 1366046)
    found = look.picture(content)
    if found is None or found[0] not in PICTURE_TYPES:
        raise Problem(324, "(#324) Missing or invalid image file")
    unseen = call.fields.get("published", "true").lower() == "false"
    photo_id = await world.write(_store_photo, call, content)
    if unseen:
        return {"id": photo_id}
    post_id = await world.write(_post, call, call.fields.get("caption", ""), (photo_id,), None)
    return {"id": photo_id, "post_id": post_id, "page": page.id}


async def _picture(world: World, call: Call) -> bytes:
    source = call.files.get("source")
    if source is not None:
        return await source.read()
    if "url" not in call.fields:
        raise envelope.invalid("source or url is missing.")
    part = world.files / f"part-{secrets.token_hex(12)}"
    try:
        await fetch.fetch(
            call.fields["url"],
            part,
            most_bytes=MOST_PICTURE_BYTES,
            types=PICTURE_TYPES,
            trust=world.settings.pull_ca,
        )
        return part.read_bytes()
    except fetch.Unfetchable as failure:
        raise Problem(389, f"(#389) Unable to fetch the file from its URL. {failure}") from failure
    finally:
        part.unlink(missing_ok=True)


def _store_photo(conn: sqlite3.Connection, call: Call, content: bytes) -> str:
    photo_id = str(123_000_000_000_000 + secrets.randbelow(900_000_000_000))
    conn.execute(
        "INSERT INTO fb_photos (id, page_id, creator_id, bytes, sha256, alt, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (photo_id, call.page.id, call.caller.creator.id, len(content), hashlib.sha256(content).hexdigest(),
         call.fields.get("alt_text_custom", ""), call.at, call.at + DAY_S),
    )  # fmt: skip
    return photo_id


async def feed(world: World, call: Call) -> dict[str, Any]:
    """Row 14: a post of text, a link or stored pictures; at once, or at a time in its window (section 3.3)."""
    videos.refuse_if_barred(call)
    message = call.fields.get("message", "")
    attached = _attached(call.fields.get("attached_media", "[]"))
    link = call.fields.get("link", "")
    if not message and not attached and not link:
        raise envelope.invalid("A post needs a message, a link or attached_media.")
    if len(message.encode("utf-16-le", "surrogatepass")) // 2 > LONGEST_TEXT:
        raise envelope.invalid("The text of the post is too long.")
    if link and not link.startswith(("http://", "https://")):
        raise Problem(1500, "(#1500) The url you supplied is invalid")
    if ".invalid/" in f"{link}/":
        raise Problem(1609005, "(#1609005) The link could not be scraped.")
    unseen = call.fields.get("published", "true").lower() == "false"
    due_at = videos.moment(call, "feed") if unseen else None
    return {"id": await world.write(_post, call, message, attached, due_at)}


def _attached(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(each["media_fbid"]) for each in json.loads(text))
    except (ValueError, TypeError, KeyError):
        raise envelope.invalid("attached_media must be a list of objects with media_fbid.") from None


def _post(
    conn: sqlite3.Connection, call: Call, message: str, attached: tuple[str, ...], due_at: float | None
) -> str:
    page, creator = call.page, call.caller.creator
    size, whole, publish_id = 0, hashlib.sha256(), ""
    for photo_id in attached:
        photo = conn.execute("SELECT * FROM fb_photos WHERE id = ?", (photo_id,)).fetchone()
        if (
            photo is None
            or photo["page_id"] != page.id
            or (call.at >= photo["expires_at"] and not photo["post_id"])
        ):
            raise envelope.unknown_object(photo_id)
        size += photo["bytes"]
        whole.update(bytes.fromhex(photo["sha256"]))
        publish_id = publish_id or photo_id
    if not attached and _said_before(conn, page.id, message, call.at):
        raise Problem(506, "(#506) Duplicate status message")
    post_id = f"{page.id}_{124_000_000_000_000 + secrets.randbelow(900_000_000_000)}"
    # A picture may stand in a second post: people see it twice, so the ledger does, too.
    again = conn.execute(
        "SELECT count(*) FROM fb_posts WHERE publish_id LIKE ?", (f"{publish_id or post_id}%",)
    )
    (before,) = again.fetchone()
    own_id = (publish_id or post_id) + (f"#{before + 1}" if before else "")
    conn.execute(
        "INSERT INTO fb_posts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (post_id, page.id, creator.id, message, own_id, call.at, due_at, len(attached)),
    )
    for photo_id in attached:
        conn.execute("UPDATE fb_photos SET post_id = ? WHERE id = ? AND post_id IS NULL", (post_id, photo_id))
    one = conn.execute("SELECT sha256 FROM fb_photos WHERE id = ?", (publish_id,)).fetchone()
    enter(
        conn, platform=NAME, publish_id=own_id, id=post_id, account=creator.username, title=message, bytes=size,
        sha256=one["sha256"] if one and len(attached) == 1 else whole.hexdigest(), at=call.at,
        kind="image" if attached else "post", draft=due_at is not None,
    )  # fmt: skip
    return post_id


def _said_before(conn: sqlite3.Connection, page_id: str, message: str, at: float) -> bool:
    row = conn.execute(
        "SELECT 1 FROM fb_posts WHERE page_id = ? AND message = ? AND media = 0 AND created_at > ?",
        (page_id, message, at - DAY_S),
    ).fetchone()
    return row is not None


async def comment(world: World, call: Call) -> dict[str, Any]:
    """Write a comment as the Page. The same text again is another comment, which all can see."""
    message = call.fields.get("message", "")
    if not message:
        raise envelope.invalid("message is missing.")
    await owned(world, call)
    return {"id": await world.write(_comment, call, message)}


def _comment(conn: sqlite3.Connection, call: Call, message: str) -> str:
    comment_id = (
        f"{call.object_id.rpartition('_')[2]}_{125_000_000_000_000 + secrets.randbelow(900_000_000_000)}"
    )
    page = call.caller.page
    assert page is not None
    conn.execute(
        "INSERT INTO fb_comments (id, object_id, page_id, message, at) VALUES (?, ?, ?, ?, ?)",
        (comment_id, call.object_id, page.id, message, call.at),
    )
    return comment_id


async def comments(world: World, call: Call) -> dict[str, Any]:
    names = call.only("id", "message", "created_time", "from")
    await owned(world, call)
    found = await world.read(_comments, call.object_id)
    if call.fields.get("order") == "reverse_chronological":
        found.reverse()
    listed = [
        {"id": row["id"], "message": row["message"], "created_time": shown(row["at"])}
        for row in found[: int(call.fields.get("limit", "25"))]
    ]
    return {"data": [{k: v for k, v in each.items() if not names or k in names} for each in listed]}


def _comments(conn: sqlite3.Connection, object_id: str) -> list[sqlite3.Row]:
    return conn.execute(
        "SELECT * FROM fb_comments WHERE object_id = ? ORDER BY number", (object_id,)
    ).fetchall()


async def owned(world: World, call: Call) -> None:
    """Refuse unless what the call names is a post, a video or a picture of the caller's Page that people can see."""
    page = call.caller.page
    if page is None or not await world.read(_owned, call.object_id, page.id, call.at):
        raise envelope.unknown_object(call.object_id)


def _owned(conn: sqlite3.Connection, object_id: str, page_id: str, at: float) -> bool:
    post = conn.execute(
        "SELECT 1 FROM fb_posts WHERE id = ? AND page_id = ? AND coalesce(publish_at, 0) <= ?"
        " UNION SELECT 1 FROM fb_photos WHERE id = ? AND page_id = ? AND post_id IS NOT NULL",
        (object_id, page_id, at, object_id, page_id),
    ).fetchone()
    if post is not None:
        return True
    found = videos.listed(
        conn, "page_id = ? AND (id = ? OR page_id || '_' || post_id = ?)", (page_id, object_id, object_id)
    )
    return any(video.published(at) for video in found)
