"""Videos and Reels on their way and what becomes of them; what one sees is worked out from stored times.

A video that was published stands in the ledger from the moment its last call was taken; one that the checks turn
down is listed apart. Facebook sheet, sections 3.1 to 3.5.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.sandbox import faults
from app.sandbox.answering import names_of, tagged
from app.sandbox.facebook.calls import OUTCOME_TAGS, Call
from app.sandbox.facebook.creators import NAME, user_id
from app.sandbox.meta import envelope, store
from app.sandbox.meta.envelope import DAY_S, Problem
from app.sandbox.world import World, creator_of, enter

OK = "ok"
LIFETIME_S = DAY_S
REELS_A_DAY = 30
LONGEST_TEXT = 63_206
LONGEST_TITLE = 255
MINUTE_S = 60.0
# Windows of scheduling, section 3.3.
SOONEST_S = 10 * MINUTE_S
LATEST_S = {"reel": 29 * DAY_S, "video": 183 * DAY_S, "feed": 30 * DAY_S}
NO_SESSION = 1363041
EDGES = {"reel": "video_reels", "video": "videos"}


@dataclass(frozen=True)
class Video:
    """One begun video. `verdict` is None until the file was looked at, then `ok` or a code of section 4."""

    number: int
    id: str
    page_id: str
    creator_id: int
    kind: str
    session_id: str | None
    total_bytes: int
    chunk_bytes: int
    created_at: float
    expires_at: float
    was_cut: int
    finished_at: float | None
    state: str
    title: str
    description: str
    publish_at: float | None
    ready_at: float | None
    verdict: str | None
    sha256: str | None
    post_id: str | None
    length_s: float | None
    cover_sha256: str | None
    file_gone: int

    def path(self, world: World) -> Path:
        return world.files / f"facebook-{self.id}"

    def received(self, world: World) -> int:
        """How many bytes are here; all of them once a finished file was swept away."""
        return self.total_bytes if self.file_gone else store.received(self.path(world))

    @property
    def by_the_schema(self) -> bool:
        """Whether this one's status is spelt as the SDK's schema has it; the others' as the docs have it."""
        return self.number % 2 == 0

    def ended(self, at: float) -> bool:
        return self.finished_at is None and at >= self.expires_at

    def judged(self, at: float) -> bool:
        return self.verdict is not None and at >= (self.ready_at or 0)

    def published(self, at: float) -> bool:
        """Whether people see it at this moment."""
        if self.verdict != OK or not self.judged(at):
            return False
        return self.state == "PUBLISHED" or (self.state == "SCHEDULED" and at >= (self.publish_at or 0))

    def shown_post_id(self, at: float) -> str | None:
        return self.post_id if self.judged(at) and self.verdict == OK else None

    def text(self) -> str:
        return self.description or self.title


def of_row(row: sqlite3.Row | None) -> Video | None:
    return Video(**dict(row)) if row else None


def by_id(conn: sqlite3.Connection, video_id: str) -> Video | None:
    return of_row(conn.execute("SELECT * FROM fb_videos WHERE id = ?", (video_id,)).fetchone())


def by_session(conn: sqlite3.Connection, session_id: str) -> Video | None:
    return of_row(conn.execute("SELECT * FROM fb_videos WHERE session_id = ?", (session_id,)).fetchone())


def listed(conn: sqlite3.Connection, where: str, values: tuple[Any, ...] = ()) -> list[Video]:
    rows = conn.execute(f"SELECT * FROM fb_videos WHERE {where} ORDER BY number", values)  # noqa: S608 - own text
    return [Video(**dict(row)) for row in rows]


def of_page(video: Video | None, page_id: str, name: str) -> Video:
    """The video, when it belongs to this Page; else it is not there for the caller."""
    if video is None or video.page_id != page_id:
        raise envelope.unknown_object(name)
    return video


def begin(conn: sqlite3.Connection, call: Call, kind: str, total_bytes: int = 0) -> Video:
    """A new video of this Page; it shows nobody anything."""
    switches = call.caller.creator.switches
    first = 900_000_000_000_000 if kind == "reel" else 901_000_000_000_000
    video_id = str(first + secrets.randbelow(900_000_000_000))
    session = None if kind == "reel" else str(55_000_000_000_000 + secrets.randbelow(900_000_000_000))
    conn.execute(
        "INSERT INTO fb_videos (id, page_id, creator_id, kind, session_id, total_bytes, chunk_bytes, created_at,"
        " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (video_id, call.page.id, call.caller.creator.id, kind, session, total_bytes, switches.chunk_bytes, call.at,
         call.at + LIFETIME_S),
    )  # fmt: skip
    video = by_id(conn, video_id)
    assert video is not None
    return video


def refuse_if_barred(call: Call) -> None:
    """The answers of a Page or person that may not post at this moment."""
    switches = call.caller.creator.switches
    if switches.too_fast:
        raise Problem(368, "(#368) The action attempted has been deemed abusive: posting too fast.", 1390008)
    if switches.blocked:
        raise Problem(368, "(#368) The action attempted has been deemed abusive or is otherwise disallowed")
    if switches.needs_page_authorization:
        raise Problem(1404078, "(#1404078) Page Publishing Authorization is required to publish content.")
    if switches.needs_identity:
        raise Problem(4854002, "(#4854002) You need to confirm your identity before you can publish.")


def reels_left(conn: sqlite3.Connection, call: Call) -> None:
    """Refuse when the Page had 30 Reels in the last 24 hours, those of other programs included."""
    (taken,) = conn.execute(
        "SELECT count(*) FROM fb_videos WHERE kind = 'reel' AND page_id = ? AND finished_at > ?"
        " AND state = 'PUBLISHED'",
        (call.page.id, call.at - DAY_S),
    ).fetchone()
    if taken + call.caller.creator.switches.reels_last_24h >= REELS_A_DAY:
        raise Problem(613, "(#613) Calls to this api have exceeded the rate limit of 30 Reels in 24 hours.")


def moment(call: Call, kind: str) -> float:
    """When a scheduled post is due; refused outside its edge's window (section 3.3)."""
    text = call.fields.get("scheduled_publish_time", "")
    try:
        at = float(text) if text.replace(".", "", 1).isdigit() else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise envelope.invalid("scheduled_publish_time is missing or no time.") from None
    if not call.at + SOONEST_S <= at <= call.at + LATEST_S[kind]:
        raise envelope.invalid("The specified scheduled publish time is invalid.")
    return at


def texts(call: Call) -> tuple[str, str]:
    """Title and description of the post, refused when they are too long."""
    title, description = call.fields.get("title", ""), call.fields.get("description", "")
    if _units(description) > LONGEST_TEXT or _units(title) > LONGEST_TITLE:
        raise envelope.invalid("The text of the post is too long.")
    return title, description


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def finish(
    conn: sqlite3.Connection,
    world: World,
    call: Call,
    video: Video,
    state: str,
    publish_at: float | None,
    sha256: str,
) -> Video:
    """Take the last call: from now on it is published, scheduled or a draft. A second one changes nothing."""
    title, description = texts(call)
    creator = creator_of(conn, video.creator_id)
    assert creator is not None
    names = names_of(creator, video.page_id, user_id(creator.id))
    hits = faults.take_outcome(conn, NAME, names) + tagged(OUTCOME_TAGS, description or title)
    slower = sum(hit.seconds for hit in hits if hit.fault != "fail")
    reason = next((hit.reason for hit in hits if hit.fault == "fail"), None)
    post_id = str(122_000_000_000_000 + secrets.randbelow(900_000_000_000))
    changed = conn.execute(
        "UPDATE fb_videos SET finished_at = ?, state = ?, title = ?, description = ?, publish_at = ?, ready_at = ?,"
        " verdict = ?, sha256 = ?, post_id = ? WHERE id = ? AND finished_at IS NULL",
        (call.at, state, title, description, publish_at, call.at + world.settings.processing_s + slower, reason,
         sha256, post_id, video.id),
    )  # fmt: skip
    if changed.rowcount == 1:
        enter(
            conn, platform=NAME, publish_id=video.id, id=f"{video.page_id}_{post_id}", account=creator.username,
            title=description or title, bytes=video.total_bytes, sha256=sha256, at=call.at, kind=video.kind,
            rejected=reason, draft=state != "PUBLISHED",
        )  # fmt: skip
    done = by_id(conn, video.id)
    assert done is not None
    return done


def decide(conn: sqlite3.Connection, video: Video, verdict: str, length_s: float | None) -> None:
    """Write down once what the checks found; the ledger stops listing a video that is turned down."""
    changed = conn.execute(
        "UPDATE fb_videos SET verdict = ?, length_s = ? WHERE id = ? AND verdict IS NULL",
        (verdict, length_s, video.id),
    ).rowcount
    if changed and verdict != OK:
        conn.execute("UPDATE ledger SET rejected = ? WHERE publish_id = ?", (verdict, video.id))


def status_of(world: World, video: Video, at: float) -> dict[str, Any]:
    """The object `status` of row 11, as section 3.4 shows it, in one of its two spellings."""
    spelt = Spelling(video.by_the_schema)
    received = video.received(world)
    whole = video.total_bytes > 0 and received >= video.total_bytes
    uploading: dict[str, Any] = {
        "status": spelt.done if whole else ("in_progress" if received else "not_started")
    }
    uploading |= {spelt.count: received}
    if video.total_bytes:
        uploading["source_file_size"] = video.total_bytes
    processing: dict[str, Any] = {"status": "not_started"}
    publishing: dict[str, Any] = {"status": "not_started"}
    if video.finished_at is None:
        state = "expired" if video.ended(at) else ("upload_complete" if whole else "uploading")
    elif not video.judged(at):
        # As the docs show it: the publishing phase does not tell whether the last call was taken.
        state, processing["status"] = "processing", "in_progress"
        publishing["publish_status"] = "draft"
    elif video.verdict != OK:
        state = video.verdict if video.verdict in ("expired", "upload_failed") else "error"
        phase = uploading if state == "upload_failed" else processing
        phase |= {"status": "error"} | spelt.failure(video.verdict or "")
    else:
        state, processing["status"] = "ready", spelt.done
        publishing |= {"publish_status": _published_as(video, at)}
        if publishing["publish_status"] == "published":
            publishing |= {
                "status": spelt.done,
                "publish_time": shown(max(video.ready_at or 0, video.publish_at or 0)),
            }
        elif publishing["publish_status"] == "scheduled":
            publishing["publish_time"] = shown(video.publish_at or 0)
    return {
        "video_status": state,
        "uploading_phase": uploading,
        "processing_phase": processing,
        "publishing_phase": publishing,
    }


def _published_as(video: Video, at: float) -> str:
    if video.published(at):
        return "published"
    return "scheduled" if video.state == "SCHEDULED" else "draft"


@dataclass(frozen=True)
class Spelling:
    """How Facebook spells the same thing: as in its docs, or as in the schema of its SDK."""

    by_the_schema: bool

    @property
    def done(self) -> str:
        return "completed" if self.by_the_schema else "complete"

    @property
    def count(self) -> str:
        return "bytes_transferred" if self.by_the_schema else "bytes_transfered"

    def failure(self, code: str) -> dict[str, Any]:
        told: dict[str, Any] = {"message": f"The video could not be processed ({code})."}
        if code.isdigit():
            told["code"] = int(code)
        return {"errors": [told]} if self.by_the_schema else {"error": told}


def shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
