"""Streams as rows: one making of a video, its tracks, its finished segments, and the parts that runs hold.

Locks are taken in one order everywhere: a video before its stream, a part before its stream; whoever holds a
stream locks neither. So the end of a part, a cancel and a failure never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app import db, live, queue, states


class State(StrEnum):
    MAKING = "making"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REPLACED = "replaced"


MACHINE = states.Machine(
    "stream",
    "streams",
    {
        "": frozenset({State.MAKING}),
        State.MAKING: frozenset({State.READY, State.FAILED, State.CANCELLED}),
        State.FAILED: frozenset({State.MAKING}),
        State.READY: frozenset({State.REPLACED}),
    },
)
# What a browser plays piece by piece; an MP4 alone needs no segments once it is joined.
PLAYED = ["hls", "dash"]
# Where the edit of a video stands when nothing and when everything of its stream is stored (0–100).
FROM_PERCENT, TO_PERCENT = 10.0, 95.0


@dataclass(frozen=True)
class Stream:
    """One making of a video. `job_id` is the job that began it, or joins it; parts have jobs of their own."""

    id: int
    workspace_id: int
    video_id: int
    user_id: int
    state: str
    formats: list[str]
    for_edit: bool
    only_rung: str | None
    thumbnails: bool
    source_key: str
    source_bytes: int
    source_sha256: str
    options: dict[str, Any]
    logo_key: str | None
    segments: int
    segments_made: int
    sound_done: bool
    progress: float
    bytes: int
    cpu_s: float
    command: str | None
    log: str | None
    mp4_key: str | None
    mp4_bytes: int | None
    reason: str | None
    reason_code: str | None
    job_id: int | None
    run: int | None
    changed_at: datetime
    created_at: datetime

    @property
    def topic(self) -> str:
        return f"stream-{self.id}"

    @property
    def played(self) -> bool:
        """Whether it is made to be played piece by piece."""
        return bool(set(self.formats) & set(PLAYED))


@dataclass(frozen=True)
class TrackFacts:
    """A rung (`v0`, tallest first) or a sound (`a0`), as it is described wherever it is read."""

    name: str
    kind: str
    codec: str
    width_px: int
    height_px: int
    fps: str
    language: str
    label: str
    timescale: int
    target_kbps: int


@dataclass(frozen=True)
class Track(TrackFacts):
    """A track as it is kept. `init_key` names its first bytes."""

    stream_id: int
    workspace_id: int
    init_key: str
    init_bytes: int
    init_sha256: str


@dataclass(frozen=True)
class Segment:
    """A finished piece of a track; `ticks` is how long it is in the track's timescale."""

    track: str
    number: int
    ticks: int
    bytes: int
    key: str


@dataclass(frozen=True)
class Part:
    """The segments `first_segment` to `last_segment` (inclusive), made by one run; 0 makes the sound, too."""

    stream_id: int
    number: int
    first_segment: int
    last_segment: int
    state: str
    job_id: int | None
    run: int | None
    cpu_s: float


def percent_of(progress: float) -> float:
    """How far the edit of a video is when its stream is so far (both 0–100)."""
    return FROM_PERCENT + (TO_PERCENT - FROM_PERCENT) * progress / 100


# Looking


async def get(conn: db.Conn, stream_id: int) -> Stream:
    return await db.one(conn, Stream, "SELECT {columns} FROM streams WHERE id = %s", [stream_id])


async def of_video(conn: db.Conn, video_id: int) -> Stream | None:
    """The one to play: the newest that is ready, else the one being made that has something to play."""
    return await db.maybe(
        conn,
        Stream,
        """
        SELECT {columns}
          FROM streams
         WHERE video_id = %s AND formats && %s AND (state = 'ready' OR state = 'making' AND segments_made > 0)
         ORDER BY state = 'ready' DESC, id DESC
         LIMIT 1""",
        [video_id, PLAYED],
    )


async def ready_of(conn: db.Conn, video_id: int) -> Stream | None:
    """The stream that plays now, whole; None while there is none."""
    found = await of_video(conn, video_id)
    return found if found is not None and found.state == State.READY else None


async def of_videos(conn: db.Conn, video_ids: Sequence[int]) -> list[Stream]:
    """What is made, being made or failed for these videos, oldest first."""
    return await db.many(
        conn,
        Stream,
        """
        SELECT {columns}
          FROM streams
         WHERE video_id = ANY (%s) AND state IN ('making', 'ready', 'failed')
         ORDER BY id""",
        [list(video_ids)],
    )


async def working_jobs(conn: db.Conn, stream_ids: Sequence[int]) -> dict[int, int]:
    """By stream the job that works for it, or will next: a part's, else the one that joins them."""
    found = await db.rows(
        conn,
        """
        SELECT DISTINCT ON (stream_id) stream_id, job_id
          FROM stream_parts
         WHERE stream_id = ANY (%s) AND state <> 'done' AND job_id IS NOT NULL
         ORDER BY stream_id, state = 'working' DESC, number""",
        [list(stream_ids)],
    )
    return {int(stream_id): int(job_id) for stream_id, job_id in found}


async def tracks(conn: db.Conn, stream_id: int) -> list[Track]:
    """Its rungs, tallest first, then its sounds."""
    return await db.many(
        conn,
        Track,
        "SELECT {columns} FROM stream_tracks WHERE stream_id = %s ORDER BY kind DESC, name",
        [stream_id],
    )


async def segments(conn: db.Conn, stream_id: int, track: str) -> list[Segment]:
    """The track's finished segments in order. While it is made there may be gaps: see `unbroken`."""
    return await db.many(
        conn,
        Segment,
        "SELECT {columns} FROM stream_segments WHERE stream_id = %s AND track = %s ORDER BY number",
        [stream_id, track],
    )


async def segment(conn: db.Conn, stream_id: int, track: str, number: int) -> Segment:
    return await db.one(
        conn,
        Segment,
        "SELECT {columns} FROM stream_segments WHERE stream_id = %s AND track = %s AND number = %s",
        [stream_id, track, number],
    )


def unbroken(found: Sequence[Segment]) -> list[Segment]:
    """Those from the beginning up to the first gap: what a playlist may list while parts are made side by side."""
    return [segment for at, segment in enumerate(found) if segment.number == at]


async def parts(conn: db.Conn, stream_id: int) -> list[Part]:
    return await db.many(
        conn, Part, "SELECT {columns} FROM stream_parts WHERE stream_id = %s ORDER BY number", [stream_id]
    )


async def stored(conn: db.Conn, stream_id: int, first: int, last: int) -> dict[int, set[str]]:
    """Which rungs of the segments `first` to `last` are stored already, by number."""
    found = await db.rows(
        conn,
        """
        SELECT number, array_agg(track)
          FROM stream_segments
         WHERE stream_id = %s AND number BETWEEN %s AND %s AND track LIKE 'v%%'
         GROUP BY number""",
        [stream_id, first, last],
    )
    return {int(number): set(names) for number, names in found}


async def keys_of(conn: db.Conn, stream_id: int, names: Sequence[str]) -> dict[str, dict[int | None, str]]:
    """The stored files of these tracks by number, in order; the first bytes of each come first, under None."""
    found = await db.rows(
        conn,
        """
        SELECT name, NULL::integer, init_key
          FROM stream_tracks WHERE stream_id = %(id)s AND name = ANY (%(names)s)
         UNION ALL
        SELECT track, number, key
          FROM stream_segments WHERE stream_id = %(id)s AND track = ANY (%(names)s)
         ORDER BY 1, 2 NULLS FIRST""",
        {"id": stream_id, "names": list(names)},
    )
    keys: dict[str, dict[int | None, str]] = {name: {} for name in names}
    for name, number, key in found:
        keys[str(name)][number] = str(key)
    return keys


async def plan_of(conn: db.Conn, stream_id: int) -> dict[str, Any]:
    """The plan it is made by, as JSON."""
    found: dict[str, Any] = await db.value(conn, "SELECT plan FROM streams WHERE id = %s", [stream_id])
    return found


async def making(conn: db.Conn, video_id: int) -> Stream | None:
    """What is being made of the video, held for this transaction."""
    return await db.maybe(
        conn,
        Stream,
        "SELECT {columns} FROM streams WHERE video_id = %s AND state = 'making' FOR NO KEY UPDATE",
        [video_id],
    )


async def begun_for_job(conn: db.Conn, video_id: int, job_id: int | None) -> bool:
    """Whether a stream of the video's original was begun beside its edit since this job was put."""
    return bool(
        await db.value(
            conn,
            """
            SELECT EXISTS (SELECT FROM streams
                             JOIN job_records ON job_records.job_id = %s
                            WHERE video_id = %s AND NOT for_edit AND state IN ('making', 'ready')
                              AND created_at > put_at)""",
            [job_id, video_id],
        )
    )


async def stop(conn: db.Conn, stream: Stream, reason: str, *, but: int | None = None) -> None:
    """Make no more of it: it is cancelled, and so is every job that works for it, except the job `but`."""
    await states.move(conn, MACHINE, Stream, stream.id, State.CANCELLED, reason=reason)
    await stop_jobs(conn, stream, reason, but=but)
    await live.tell(conn, f"video-{stream.video_id}")


async def stop_jobs(conn: db.Conn, stream: Stream, reason: str, *, but: int | None = None) -> None:
    """Cancel the jobs of its parts and of their joining; those that run are asked to stop."""
    found = await db.rows(
        conn,
        """
        SELECT job_id FROM stream_parts WHERE stream_id = %(id)s AND state <> 'done' AND job_id IS NOT NULL
         UNION
        SELECT job_id FROM streams WHERE id = %(id)s AND job_id IS NOT NULL
         ORDER BY 1""",
        {"id": stream.id},
    )
    for (job_id,) in found:
        if job_id != but:
            await queue.cancel(conn, int(job_id), reason)
