"""Containers and published media as rows. The state is computed from what is stored whenever one looks (4.4)."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.sandbox import faults
from app.sandbox.answering import Caller, names_of
from app.sandbox.instagram.creators import DAY_S, NAME
from app.sandbox.instagram.problems import SLOW_S, SLOW_TAG, known, tagged_reason
from app.sandbox.instagram.rules import Wish
from app.sandbox.meta.envelope import Problem, app_full
from app.sandbox.world import Creator, creator_of, enter

OK = "ok"
KINDS = {"REELS": "reel", "STORIES": "story", "IMAGE": "image", "CAROUSEL": "carousel"}


@dataclass(frozen=True)
class Container:
    """One accepted call for a container. `verdict` is None until known, then `ok` or a subcode."""

    id: str
    client_key: str
    creator_id: int
    surface: str
    video: int
    child: int
    source: str
    url: str
    cover_url: str
    thumb_offset: int | None
    caption: str
    children: str
    wishes: str
    created_at: float
    total_bytes: int | None
    sha256: str | None
    finished_at: float | None
    ready_at: float | None
    polls: int
    asked: int
    verdict: str | None
    published_at: float | None
    media_id: str | None

    @property
    def file_name(self) -> str:
        return f"ig-{self.id}"

    def state(self, at: float) -> str:
        if self.published_at is not None:
            return "PUBLISHED"
        if at >= self.created_at + DAY_S:
            return "EXPIRED"
        if self.verdict not in (None, OK):
            return "ERROR"
        ready = self.verdict == OK and self.asked >= self.polls and at >= (self.ready_at or 0)
        return "FINISHED" if ready else "IN_PROGRESS"

    def words(self, at: float) -> str:
        """The free text beside the state."""
        return {
            "PUBLISHED": "Published: Media has been successfully published.",
            "EXPIRED": "Expired: The container was not published within 24 hours.",
            "ERROR": f"Error: Media upload has failed with error code {self.verdict}",
            "FINISHED": "Finished: Media has been uploaded and it is ready to be published.",
            "IN_PROGRESS": "In Progress: Media is still being processed.",
        }[self.state(at)]


@dataclass(frozen=True)
class Medium:
    """What is visible on Instagram."""

    id: str
    container_id: str
    creator_id: int
    surface: str
    video: int
    caption: str
    shortcode: str
    at: float

    def is_live(self, at: float) -> bool:
        return self.surface != "STORIES" or at < self.at + DAY_S


def by_id(conn: sqlite3.Connection, container_id: str) -> Container | None:
    row = conn.execute("SELECT * FROM ig_containers WHERE id = ?", (container_id,)).fetchone()
    return Container(**dict(row)) if row else None


def mine(conn: sqlite3.Connection, caller: Caller, container_id: str) -> Container | None:
    """The caller's own container; another account's or app's is unknown to it."""
    found = by_id(conn, container_id)
    own = found is not None and (found.client_key, found.creator_id) == (
        caller.app.client_key,
        caller.creator.id,
    )
    return found if own else None


def undecided(conn: sqlite3.Connection) -> list[Container]:
    rows = conn.execute("SELECT * FROM ig_containers WHERE verdict IS NULL ORDER BY created_at, id")
    return [Container(**dict(row)) for row in rows]


def make(
    conn: sqlite3.Connection, caller: Caller, wish: Wish, wishes: Mapping[str, str], at: float
) -> Container:
    """The container of an accepted call; there is no idempotency key, so each call makes another."""
    (count,) = conn.execute(
        "SELECT count(*) FROM ig_containers WHERE creator_id = ? AND created_at > ?",
        (caller.creator.id, at - DAY_S),
    ).fetchone()
    if count >= caller.creator.switches.containers_a_day:
        # The sheet names the limit and no code for it; this world answers as for any other call too many.
        raise app_full()
    sizes = [_child(conn, caller, child_id, at) for child_id in wish.children]
    carousel = wish.surface == "CAROUSEL"
    row: dict[str, Any] = {
        "id": "179" + str(10**13 + secrets.randbelow(9 * 10**13)),
        "client_key": caller.app.client_key,
        "creator_id": caller.creator.id,
        "surface": wish.surface,
        "video": wish.video,
        "child": wish.child,
        "source": wish.source,
        "url": wish.url,
        "cover_url": wish.cover_url,
        "thumb_offset": wish.thumb_offset,
        "caption": wish.caption,
        "children": ",".join(wish.children),
        "wishes": json.dumps({name: value for name, value in wishes.items() if name != "access_token"}),
        "created_at": at,
        "polls": caller.creator.switches.polls if wish.video else 0,
    }
    if carousel:
        whole = hashlib.sha256("".join(child.sha256 or "" for child in sizes).encode()).hexdigest()
        total = sum(child.total_bytes or 0 for child in sizes)
        row |= {"total_bytes": total, "sha256": whole, "finished_at": at}
    conn.execute(
        f"INSERT INTO ig_containers ({', '.join(row)}) VALUES (:{', :'.join(row)})",  # noqa: S608 - names from above
        row,
    )
    if carousel:
        _give_outcome(conn, row["id"], at)
        decide(conn, row["id"], OK)
    found = by_id(conn, row["id"])
    assert found is not None
    return found


def _child(conn: sqlite3.Connection, caller: Caller, child_id: str, at: float) -> Container:
    found = mine(conn, caller, child_id)
    if found is None or not found.child:
        raise known(24, 2207006)
    state = found.state(at)
    if state == "IN_PROGRESS":
        # Field reports: a carousel of children that are not finished is refused.
        raise known(9007, 2207027)
    if state != "FINISHED":
        raise known(24, 2207008)
    return found


def note_size(conn: sqlite3.Connection, container_id: str, total_bytes: int) -> None:
    """Keep how long the file will be; what was said first stands."""
    conn.execute(
        "UPDATE ig_containers SET total_bytes = ? WHERE id = ? AND total_bytes IS NULL",
        (total_bytes, container_id),
    )


def finish(conn: sqlite3.Connection, container_id: str, size: int, sha256: str, at: float) -> None:
    """The bytes are here: from now on the container is worked on. A second time changes nothing."""
    changed = conn.execute(
        "UPDATE ig_containers SET total_bytes = ?, sha256 = ?, finished_at = ?"
        " WHERE id = ? AND finished_at IS NULL",
        (size, sha256, at, container_id),
    )
    if changed.rowcount == 1:
        _give_outcome(conn, container_id, at)


def _give_outcome(conn: sqlite3.Connection, container_id: str, at: float) -> None:
    found = by_id(conn, container_id)
    creator = creator_of(conn, found.creator_id) if found else None
    assert found is not None and creator is not None
    hits = faults.take_outcome(conn, NAME, names_of(creator))
    delay_s = sum(hit.seconds for hit in hits if hit.fault == "processing_delay")
    delay_s += SLOW_S if SLOW_TAG in found.caption.split() else 0
    conn.execute("UPDATE ig_containers SET ready_at = ? WHERE id = ?", (at + delay_s, container_id))
    reason = next((hit.reason for hit in hits if hit.fault == "fail"), None) or tagged_reason(found.caption)
    if reason is not None:
        decide(conn, container_id, reason)


def decide(conn: sqlite3.Connection, container_id: str, verdict: str) -> None:
    """Write down once what the checks found."""
    conn.execute(
        "UPDATE ig_containers SET verdict = ? WHERE id = ? AND verdict IS NULL", (verdict, container_id)
    )


def give_up(conn: sqlite3.Connection, at: float) -> list[str]:
    """End what was not complete within its life; gives the names of its files. To askers it stays EXPIRED."""
    rows = conn.execute(
        "UPDATE ig_containers SET verdict = 'expired' WHERE verdict IS NULL AND created_at <= ? RETURNING *",
        (at - DAY_S,),
    ).fetchall()
    return [Container(**dict(row)).file_name for row in rows]


def ask(conn: sqlite3.Connection, container_id: str) -> None:
    """A question that was answered with IN_PROGRESS while the bytes are in: one of `polls` is used up."""
    conn.execute(
        "UPDATE ig_containers SET asked = asked + 1 WHERE id = ? AND verdict IS NOT NULL", (container_id,)
    )


def posts_today(conn: sqlite3.Connection, creator: Creator, at: float) -> int:
    """Posts of the last 24 hours, those of other tools included; a carousel is one (section 5)."""
    (count,) = conn.execute(
        "SELECT count(*) FROM ig_media WHERE creator_id = ? AND at > ?", (creator.id, at - DAY_S)
    ).fetchone()
    return int(creator.switches.posts_last_24h + count)


def publish(conn: sqlite3.Connection, caller: Caller, creation_id: str, at: float) -> Medium:
    """Make the container's media visible; the one act that cannot be taken back. Raises Problem."""
    found = mine(conn, caller, creation_id)
    if found is None:
        raise known(24, 2207006)
    problem = _cannot_publish(found, at)
    if problem is not None:
        raise problem
    if posts_today(conn, caller.creator, at) >= caller.creator.switches.quota_total:
        raise known(9, 2207042)
    media_id = "180" + str(10**13 + secrets.randbelow(9 * 10**13))
    conn.execute(
        "INSERT INTO ig_media VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (media_id, found.id, found.creator_id, found.surface, found.video, found.caption,
         secrets.token_urlsafe(8), at),
    )  # fmt: skip
    conn.execute(
        "UPDATE ig_containers SET published_at = ?, media_id = ? WHERE id = ?", (at, media_id, found.id)
    )
    enter(
        conn, platform=NAME, publish_id=found.id, id=media_id, account=caller.creator.username,
        title=found.caption, bytes=found.total_bytes or 0, sha256=found.sha256 or "", at=at,
        kind=KINDS[found.surface],
    )  # fmt: skip
    medium = medium_of(conn, media_id)
    assert medium is not None
    return medium


def _cannot_publish(found: Container, at: float) -> Problem | None:
    if found.child:
        return Problem(100, "(#100) A carousel item cannot be published by itself.")
    state = found.state(at)
    if state == "IN_PROGRESS":
        return known(9007, 2207027)
    # What the platform answers for a container that is out already is not known (section 9, item 5).
    return None if state == "FINISHED" else known(24, 2207008)


def medium_of(conn: sqlite3.Connection, media_id: str) -> Medium | None:
    row = conn.execute("SELECT * FROM ig_media WHERE id = ?", (media_id,)).fetchone()
    return Medium(**dict(row)) if row else None


def media_of(conn: sqlite3.Connection, creator_id: int, *, stories: bool) -> list[Medium]:
    """This account's media, newest first: either its stories or everything else."""
    rows = conn.execute(
        "SELECT * FROM ig_media WHERE creator_id = ? AND (surface = 'STORIES') = ? ORDER BY at DESC, id DESC",
        (creator_id, stories),
    )
    return [Medium(**dict(row)) for row in rows]


def unfinished(conn: sqlite3.Connection) -> list[Container]:
    rows = conn.execute("SELECT * FROM ig_containers WHERE published_at IS NULL ORDER BY created_at, id")
    return [Container(**dict(row)) for row in rows]
