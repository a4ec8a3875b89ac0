"""Upload sessions and the videos that come out of them. Their state is computed from stored times when one looks."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any

from app.sandbox import faults
from app.sandbox.answering import Caller, tagged
from app.sandbox.faults import Fault
from app.sandbox.world import World, creator_of, digest, enter, reject
from app.sandbox.youtube.channels import NAME, names_of
from app.sandbox.youtube.rules import moment

OK = "ok"
DAY_S = 24 * 3600.0
# The sheet calls the lifetime finite and takes six days (section 3.2).
SESSION_LIFETIME_S = 6 * DAY_S
FAILURES = ("conversion", "invalidFile", "emptyFile", "tooSmall", "codec", "uploadAborted")
REJECTIONS = (
    "copyright", "inappropriate", "duplicate", "termsOfUse", "uploaderAccountSuspended", "length", "claim",
    "uploaderAccountClosed", "trademark", "legal",
)  # fmt: skip
PROCESSING_FAILURES = ("uploadFailed", "transcodeFailed", "streamingFailed", "other")
# A word in the title arms a fault for that video alone.
OUTCOME_TAGS = {
    "#sandbox-copyright": Fault("fail", reason="copyright"),
    "#sandbox-conversion": Fault("fail", reason="conversion"),
    "#sandbox-slow-processing": Fault("processing_delay", seconds=30.0),
}
LAST_CHUNK_TAGS = {
    "#sandbox-drop-last-chunk": Fault("drop_after", "last_chunk"),
    "#sandbox-error-last-chunk": Fault("error_after", "last_chunk"),
}


@dataclass(frozen=True)
class Session:
    """One accepted session start. `total_bytes` is None while nobody has said it."""

    id: int
    publish_id: str
    upload_digest: str
    client_key: str
    creator_id: int
    parts: str
    resource: str
    total_bytes: int | None
    received_bytes: int
    created_at: float
    expires_at: float
    finished_at: float | None
    video_id: str | None
    file_gone: int

    @property
    def file_name(self) -> str:
        return f"youtube-{self.id}"

    @property
    def title(self) -> str:
        return str(json.loads(self.resource).get("snippet", {}).get("title", ""))


@dataclass(frozen=True)
class Video:
    """One complete upload. `verdict` is None until somebody looked at the file, then `ok` or the reason."""

    number: int
    id: str
    session_id: int
    creator_id: int
    resource: str
    bytes: int
    sha256: str
    uploaded_at: float
    ready_at: float
    verdict: str | None
    duration_s: float | None
    width_px: int | None
    height_px: int | None
    shown_at: float | None
    deleted_at: float | None
    thumbnail: str | None

    @property
    def file_name(self) -> str:
        return f"youtube-{self.session_id}"

    @property
    def snippet(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.resource).get("snippet", {})
        return found

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.resource).get("status", {})
        return found

    @property
    def short(self) -> bool:
        """Whether people see it as a Short: square or taller, up to three minutes (section 4)."""
        known = self.width_px is not None and self.height_px is not None and self.duration_s is not None
        return known and (self.width_px or 0) <= (self.height_px or 0) and (self.duration_s or 0) <= 180

    def ready(self, at: float) -> bool:
        return self.verdict == OK and at >= self.ready_at

    def publish_at(self) -> float | None:
        planned = self.status.get("publishAt")
        return moment(planned) if planned else None

    def privacy(self, at: float) -> str:
        """Private turns public when its planned time has come; a time in the past counts at once (section 4)."""
        planned = self.publish_at()
        if planned is not None and at >= max(planned, self.ready_at):
            return "public"
        return str(self.status.get("privacyStatus", "public"))

    def public_since(self, at: float) -> float | None:
        """Since when everybody sees it; None while not everybody does."""
        if not self.ready(at) or self.privacy(at) != "public":
            return None
        return max(self.publish_at() or self.ready_at, self.ready_at, self.shown_at or 0)


def _session(row: sqlite3.Row | None) -> Session | None:
    return Session(**dict(row)) if row else None


def _video(row: sqlite3.Row | None) -> Video | None:
    return Video(**dict(row)) if row else None


def session_by_upload(conn: sqlite3.Connection, upload_id: str) -> Session | None:
    return _session(
        conn.execute("SELECT * FROM yt_sessions WHERE upload_digest = ?", (digest(upload_id),)).fetchone()
    )


def session_by_id(conn: sqlite3.Connection, session_id: int) -> Session | None:
    return _session(conn.execute("SELECT * FROM yt_sessions WHERE id = ?", (session_id,)).fetchone())


def unfinished(conn: sqlite3.Connection) -> list[Session]:
    rows = conn.execute("SELECT * FROM yt_sessions WHERE finished_at IS NULL ORDER BY id")
    return [Session(**dict(row)) for row in rows]


def by_id(conn: sqlite3.Connection, video_id: str) -> Video | None:
    """A deleted video is none."""
    return _video(
        conn.execute("SELECT * FROM yt_videos WHERE id = ? AND deleted_at IS NULL", (video_id,)).fetchone()
    )


def undecided(conn: sqlite3.Connection) -> list[Video]:
    rows = conn.execute("SELECT * FROM yt_videos WHERE verdict IS NULL ORDER BY number")
    return [Video(**dict(row)) for row in rows]


def of_channel(conn: sqlite3.Connection, creator_id: int) -> list[Video]:
    """Newest first, without the deleted ones."""
    rows = conn.execute(
        "SELECT * FROM yt_videos WHERE creator_id = ? AND deleted_at IS NULL ORDER BY number DESC",
        (creator_id,),
    )
    return [Video(**dict(row)) for row in rows]


def is_double(conn: sqlite3.Connection, video: Video) -> bool:
    """Whether this channel has the very same file already, in a video that was not turned down."""
    found = conn.execute(
        "SELECT 1 FROM yt_videos WHERE creator_id = ? AND sha256 = ? AND number < ? AND deleted_at IS NULL"
        " AND (verdict IS NULL OR verdict = 'ok')",
        (video.creator_id, video.sha256, video.number),
    ).fetchone()
    return found is not None


def begin(
    conn: sqlite3.Connection,
    caller: Caller,
    resource: dict[str, Any],
    parts: tuple[str, ...],
    total_bytes: int | None,
    at: float,
) -> str:
    """A new session; gives its upload_id, which is kept as a hash only. Its name is made of that hash."""
    upload_id = secrets.token_urlsafe(60)
    hashed = digest(upload_id)
    lifetime_s = float(caller.app.more.get("session_lifetime_s", SESSION_LIFETIME_S))
    conn.execute(
        "INSERT INTO yt_sessions (publish_id, upload_digest, client_key, creator_id, parts, resource,"
        " total_bytes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (f"yt-{hashed[:24]}", hashed, caller.app.client_key, caller.creator.id, ",".join(parts),
         json.dumps(resource), total_bytes, at, at + lifetime_s),
    )  # fmt: skip
    return upload_id


def store(
    conn: sqlite3.Connection,
    world: World,
    session: Session,
    start: int,
    stop: int,
    total_bytes: int | None,
    sha256: str | None,
    at: float,
) -> Session | None:
    """Count the bytes from `start` to `stop` (exclusive) if they are the next ones; None when they are not.

    With the last byte the video exists: its ledger entry is written in this same transaction.
    """
    changed = conn.execute(
        "UPDATE yt_sessions SET received_bytes = ?, total_bytes = coalesce(?, total_bytes)"
        " WHERE id = ? AND received_bytes = ? AND finished_at IS NULL",
        (stop, total_bytes, session.id, start),
    )
    if changed.rowcount != 1:
        return None
    if sha256 is not None:
        _finish(conn, world, session, stop, sha256, at)
    return session_by_id(conn, session.id)


def _finish(
    conn: sqlite3.Connection, world: World, session: Session, size: int, sha256: str, at: float
) -> None:
    creator = creator_of(conn, session.creator_id)
    assert creator is not None
    hits = faults.take_outcome(conn, NAME, names_of(creator)) + tagged(OUTCOME_TAGS, session.title)
    delay_s = sum(hit.seconds for hit in hits if hit.fault == "processing_delay")
    reason = next((hit.reason for hit in hits if hit.fault == "fail"), None)
    video_id = secrets.token_urlsafe(8)
    conn.execute(
        "UPDATE yt_sessions SET finished_at = ?, video_id = ? WHERE id = ?", (at, video_id, session.id)
    )
    conn.execute(
        "INSERT INTO yt_videos (id, session_id, creator_id, resource, bytes, sha256, uploaded_at, ready_at,"
        " verdict) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (video_id, session.id, creator.id, session.resource, size, sha256, at,
         at + world.settings.processing_s + delay_s, reason),
    )  # fmt: skip
    enter(
        conn, platform=NAME, publish_id=session.publish_id, id=video_id, account=creator.username,
        title=session.title, bytes=size, sha256=sha256, at=at, kind="video", rejected=reason,
    )  # fmt: skip


def decide(
    conn: sqlite3.Connection, video: Video, verdict: str, facts: tuple[float, int, int] | None
) -> None:
    """Write down once what the checks found; the ledger stops listing a video that was turned down."""
    if verdict == OK and is_double(conn, video):
        verdict = "duplicate"
    changed = conn.execute(
        "UPDATE yt_videos SET verdict = ?, duration_s = ?, width_px = ?, height_px = ?"
        " WHERE id = ? AND verdict IS NULL",
        (verdict, *(facts or (None, None, None)), video.id),
    ).rowcount
    session = session_by_id(conn, video.session_id)
    if changed and verdict != OK and session is not None:
        reject(conn, session.publish_id, verdict)


def change(conn: sqlite3.Connection, video: Video, resource: dict[str, Any]) -> None:
    """Put other words in place of the parts sent; what is not named in them is gone (section 4)."""
    merged = json.loads(video.resource) | resource
    conn.execute("UPDATE yt_videos SET resource = ? WHERE id = ?", (json.dumps(merged), video.id))


def delete(conn: sqlite3.Connection, video: Video, at: float) -> None:
    conn.execute("UPDATE yt_videos SET deleted_at = ? WHERE id = ?", (at, video.id))


def set_thumbnail(conn: sqlite3.Connection, video: Video, name: str) -> None:
    conn.execute("UPDATE yt_videos SET thumbnail = ? WHERE id = ?", (name, video.id))
