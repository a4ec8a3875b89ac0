"""Posts on their way and what becomes of them. The state is computed from stored times whenever one looks."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any

from app.sandbox import faults
from app.sandbox.answering import Caller, names_of, tagged
from app.sandbox.tiktok.calls import OUTCOME_TAGS
from app.sandbox.tiktok.creators import NAME
from app.sandbox.tiktok.rules import Wish
from app.sandbox.world import Creator, World, creator_of, digest, enter, reject

DAY_S = 24 * 3600
PREFIXES = {
    ("direct", "FILE_UPLOAD"): "v_pub_file~v2-1.",
    ("direct", "PULL_FROM_URL"): "v_pub_url~v2-1.",
    ("inbox", "FILE_UPLOAD"): "v_inbox_file~v2-1.",
    ("inbox", "PULL_FROM_URL"): "v_inbox_url~v2-1.",
    ("photo", "PULL_FROM_URL"): "p_pub_url~v2-1.",
    ("photo_inbox", "PULL_FROM_URL"): "p_inbox_url~v2-1.",
}
OK = "ok"


@dataclass(frozen=True)
class Post:
    """One accepted init. `verdict` is None until known, then `ok` or the fail_reason."""

    id: int
    publish_id: str
    upload_id: str | None
    upload_digest: str | None
    client_key: str
    creator_id: int
    open_id: str
    kind: str
    source: str
    urls: str
    wishes: str
    title: str
    privacy_level: str
    total_bytes: int
    chunk_bytes: int
    chunk_count: int
    received_bytes: int
    created_at: float
    expires_at: float
    finished_at: float | None
    ready_at: float | None
    public_at: float | None
    verdict: str | None
    decided_at: float | None
    post_id: str | None
    duration_s: float | None
    width_px: int | None
    height_px: int | None
    sent_on_at: float | None
    file_gone: int

    @property
    def file_name(self) -> str:
        return f"post-{self.id}"

    @property
    def draft(self) -> bool:
        return self.kind in ("inbox", "photo_inbox")

    def state(self, at: float) -> str:
        """The status an asker sees at this moment (section 4.4)."""
        if self.verdict not in (None, OK) and at >= (self.decided_at or 0):
            return "FAILED"
        if self.finished_at is None or self.verdict is None or at < (self.ready_at or 0):
            return "PROCESSING_UPLOAD" if self.source == "FILE_UPLOAD" else "PROCESSING_DOWNLOAD"
        if self.draft and self.sent_on_at is None:
            return "SEND_TO_USER_INBOX"
        return "PUBLISH_COMPLETE"

    def is_public(self, at: float) -> bool:
        """Whether everyone can see it: only then it has an id for others (section 4.4)."""
        complete = self.state(at) == "PUBLISH_COMPLETE"
        return complete and self.privacy_level == "PUBLIC_TO_EVERYONE" and at >= (self.public_at or 0)

    def expected(self) -> tuple[int, int]:
        """First and last byte of the next chunk; the last chunk takes the rest (section 4.2)."""
        number = self.received_bytes // self.chunk_bytes
        last = number >= self.chunk_count - 1
        end = self.total_bytes if last else self.received_bytes + self.chunk_bytes
        return self.received_bytes, end - 1


def _post(row: sqlite3.Row | None) -> Post | None:
    return Post(**dict(row)) if row else None


def by_publish_id(conn: sqlite3.Connection, publish_id: str) -> Post | None:
    return _post(conn.execute("SELECT * FROM posts WHERE publish_id = ?", (publish_id,)).fetchone())


def by_upload_id(conn: sqlite3.Connection, upload_id: str) -> Post | None:
    return _post(conn.execute("SELECT * FROM posts WHERE upload_id = ?", (upload_id,)).fetchone())


def of_creator(conn: sqlite3.Connection, creator_id: int) -> list[Post]:
    """Newest first."""
    rows = conn.execute("SELECT * FROM posts WHERE creator_id = ? ORDER BY id DESC", (creator_id,))
    return [Post(**dict(row)) for row in rows]


def undecided(conn: sqlite3.Connection) -> list[Post]:
    """Complete posts nobody has checked yet."""
    rows = conn.execute("SELECT * FROM posts WHERE finished_at IS NOT NULL AND verdict IS NULL ORDER BY id")
    return [Post(**dict(row)) for row in rows]


def unfinished(conn: sqlite3.Connection) -> list[Post]:
    rows = conn.execute("SELECT * FROM posts WHERE finished_at IS NULL ORDER BY id")
    return [Post(**dict(row)) for row in rows]


def make(
    conn: sqlite3.Connection, world: World, caller: Caller, wish: Wish, wishes: dict[str, Any], at: float
) -> tuple[Post, str]:
    """The accepted init and its upload token (empty for a pull)."""
    number = str(7_400_000_000_000_000_000 + secrets.randbelow(90_000_000_000_000_000))
    uploads = wish.source == "FILE_UPLOAD"
    upload_token = secrets.token_urlsafe(32) if uploads else ""
    publish_id = PREFIXES[wish.kind, wish.source] + number
    row = {
        "publish_id": publish_id,
        "upload_id": number if uploads else None,
        "upload_digest": digest(upload_token) if uploads else None,
        "client_key": caller.app.client_key,
        "creator_id": caller.creator.id,
        "open_id": caller.open_id,
        "kind": wish.kind,
        "source": wish.source,
        "urls": json.dumps(wish.urls),
        "wishes": json.dumps(wishes),
        "title": wish.title,
        "privacy_level": wish.privacy_level,
        "total_bytes": wish.total_bytes,
        "chunk_bytes": wish.chunk_bytes,
        "chunk_count": wish.chunk_count,
        "created_at": at,
        "expires_at": at + world.settings.upload_lifetime_s,
    }
    conn.execute(
        f"INSERT INTO posts ({', '.join(row)}) VALUES (:{', :'.join(row)})",  # noqa: S608 - names from above
        row,
    )
    post = by_publish_id(conn, publish_id)
    assert post is not None
    return post, upload_token


def store(
    conn: sqlite3.Connection, world: World, post: Post, start: int, stop: int, sha256: str | None, at: float
) -> Post | None:
    """Accept the bytes from `start` to `stop` (exclusive) if they are the next ones; None when they are not.

    With the last byte the world has the post: its ledger entry is written in this same transaction.
    """
    changed = conn.execute(
        "UPDATE posts SET received_bytes = ? WHERE id = ? AND received_bytes = ?"
        " AND finished_at IS NULL AND verdict IS NULL",
        (stop, post.id, start),
    )
    if changed.rowcount != 1:
        return None
    if stop == post.total_bytes and sha256 is not None:
        finish(conn, world, post, stop, sha256, at)
    return by_publish_id(conn, post.publish_id)


def finish(conn: sqlite3.Connection, world: World, post: Post, size: int, sha256: str, at: float) -> None:
    creator = creator_of(conn, post.creator_id)
    assert creator is not None
    hits = faults.take_outcome(conn, NAME, names_of(creator, post.open_id)) + tagged(OUTCOME_TAGS, post.title)
    extra = {name: sum(hit.seconds for hit in hits if hit.fault == name) for name in faults.OUTCOME}
    ready_at = at + world.settings.processing_s + extra["processing_delay"]
    public_at = ready_at + world.settings.moderation_s + extra["moderation_delay"]
    reason = next((hit.reason for hit in hits if hit.fault == "fail"), None)
    post_id = str(7_400_000_000_000_000_000 + secrets.randbelow(1_000_000_000_000_000_000))
    conn.execute(
        "UPDATE posts SET finished_at = ?, ready_at = ?, public_at = ?, verdict = ?, decided_at = ?,"
        " post_id = ?, total_bytes = ?, received_bytes = ? WHERE id = ?",
        (at, ready_at, public_at, reason, ready_at if reason else None, post_id, size, size, post.id),
    )
    enter(
        conn, platform=NAME, publish_id=post.publish_id, id=post_id, account=creator.username,
        title=post.title, bytes=size, sha256=sha256, at=at, kind=post.kind, rejected=reason, draft=post.draft,
    )  # fmt: skip


def decide(
    conn: sqlite3.Connection, post: Post, verdict: str, facts: tuple[float, int, int] | None, at: float
) -> bool:
    """Write down once what the checks found; the ledger stops listing a rejected post."""
    length = facts or (None, None, None)
    changed = conn.execute(
        "UPDATE posts SET verdict = ?, decided_at = ?, duration_s = ?, width_px = ?, height_px = ?"
        " WHERE id = ? AND verdict IS NULL",
        (verdict, at, *length, post.id),
    ).rowcount
    if changed and verdict != OK:
        reject(conn, post.publish_id, verdict)
    return changed == 1


def end_running(conn: sqlite3.Connection, client_key: str, creator_id: int, reason: str, at: float) -> None:
    """End everything of this person that is not yet complete or failed, at once."""
    for post in of_creator(conn, creator_id):
        # A post whose processing time has passed is complete, also while nobody has looked at it yet.
        settled = post.finished_at is not None and at >= (post.ready_at or 0)
        if post.client_key != client_key or settled or not post.state(at).startswith("PROCESSING"):
            continue
        conn.execute("UPDATE posts SET verdict = ?, decided_at = ? WHERE id = ?", (reason, at, post.id))
        reject(conn, post.publish_id, reason)


def posts_today(conn: sqlite3.Connection, creator: Creator, at: float) -> int:
    """Direct posts begun in the last 24 hours, those of other tools included."""
    (count,) = conn.execute(
        "SELECT count(*) FROM posts WHERE creator_id = ? AND kind IN ('direct', 'photo') AND created_at > ?",
        (creator.id, at - DAY_S),
    ).fetchone()
    return int(creator.switches.posts_last_24h + count)


def pending_drafts(conn: sqlite3.Connection, creator: Creator, at: float) -> int:
    """Drafts of the last 24 hours that the person has not finished; a failed one frees its place."""
    (count,) = conn.execute(
        "SELECT count(*) FROM posts WHERE creator_id = ? AND kind IN ('inbox', 'photo_inbox')"
        " AND created_at > ? AND sent_on_at IS NULL AND (verdict IS NULL OR verdict = 'ok')",
        (creator.id, at - DAY_S),
    ).fetchone()
    return int(creator.switches.pending_drafts + count)


def active_creators(conn: sqlite3.Connection, client_key: str, at: float) -> set[int]:
    """Whom this app has posted for in the last 24 hours."""
    rows = conn.execute(
        "SELECT DISTINCT creator_id FROM posts WHERE client_key = ? AND created_at > ?",
        (client_key, at - DAY_S),
    )
    return {row["creator_id"] for row in rows}


def send_on(conn: sqlite3.Connection, post: Post, at: float) -> None:
    """The person has posted the draft: it is a post from now on, and its place is free."""
    conn.execute("UPDATE posts SET sent_on_at = ? WHERE id = ? AND sent_on_at IS NULL", (at, post.id))
    conn.execute("UPDATE ledger SET draft = 0 WHERE publish_id = ?", (post.publish_id,))
