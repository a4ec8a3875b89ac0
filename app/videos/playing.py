"""What players and pages read of a stream: what its playlists list, how large it became, where a piece lies.

Who makes a stream and how it moves is `streams`' business.
"""

from __future__ import annotations

from dataclasses import dataclass

from app import db, events
from app.videos.rows import Video
from app.videos.streams import State, Stream, TrackFacts, of_video


@dataclass(frozen=True)
class Made(TrackFacts):
    """A rung or a sound with what is there of it: how many segments, all their bytes, how long they play."""

    segments: int
    bytes: int
    seconds: float

    @property
    def kbps(self) -> int | None:
        """The average over what is there; None while there is nothing."""
        return round(self.bytes * 8 / 1000 / self.seconds) if self.seconds > 0 else None

    @property
    def short_px(self) -> int:
        """The shorter side: what people call 1080p, also where the picture stands upright."""
        return min(self.width_px, self.height_px)


@dataclass(frozen=True)
class Planned:
    """A stream as it will be: its rungs (name and shorter side), the segments each will have, how long it plays."""

    rungs: tuple[tuple[str, int], ...]
    pieces: int
    length_s: float


@dataclass(frozen=True)
class Track(TrackFacts):
    """One track as its playlist lists it: durations in ticks and sizes of the segments 0, 1, 2 … without a gap.

    A part that another worker makes may be there before the one in front of it; it is listed when the gap is
    closed, as a playlist only ever grows at its end (RFC 8216, section 6.2.1).
    """

    state: str
    ticks: list[int]
    bytes: list[int]


@dataclass(frozen=True)
class Text:
    """Captions of a video in one language."""

    kind: str
    language: str
    bytes: int


@dataclass(frozen=True)
class Piece:
    """A stored file of a video: where it lies and what it is."""

    key: str
    content_type: str


async def made(conn: db.Conn, stream_id: int) -> list[Made]:
    """The tracks of a stream with the sums of their segments, rungs first and tallest first."""
    return await db.many(
        conn,
        Made,
        """
        SELECT name, kind, codec, width_px, height_px, fps, language, label, timescale, target_kbps,
               coalesce(segments, 0) AS segments, coalesce(bytes, 0) AS bytes,
               coalesce(ticks, 0)::float8 / timescale AS seconds
          FROM stream_tracks AS tracks
          LEFT JOIN (SELECT track, count(*) AS segments, sum(bytes)::bigint AS bytes, sum(ticks) AS ticks
                       FROM stream_segments WHERE stream_id = %(stream_id)s GROUP BY track) AS sums
            ON sums.track = tracks.name
         WHERE stream_id = %(stream_id)s
         ORDER BY kind DESC, height_px DESC, name""",
        {"stream_id": stream_id},
    )


async def planned(conn: db.Conn, stream_id: int) -> Planned:
    """What is to become of a stream, from its plan."""
    [(rungs, clips, rate, pieces)] = await db.rows(
        conn,
        """
        SELECT plan -> 'rungs', plan -> 'clips', plan -> 'rate',
               (SELECT coalesce(max(last_segment) + 1, 0) FROM stream_parts WHERE stream_id = streams.id)
          FROM streams
         WHERE id = %s""",
        [stream_id],
    )
    frames = sum(clip["frames"] for clip in clips or ())
    return Planned(
        rungs=tuple((rung["name"], min(rung["width_px"], rung["height_px"])) for rung in rungs or ()),
        pieces=int(pieces),
        length_s=frames * rate["den"] / rate["num"] if rate else 0.0,
    )


async def tracks(conn: db.Conn, video_id: int, stream_id: int, name: str | None = None) -> list[Track]:
    """What the playlists of this stream (or of one track) list; nothing for a stream of another video."""
    return await db.many(
        conn,
        Track,
        """
        SELECT streams.state, tracks.name, tracks.kind, tracks.codec, tracks.width_px, tracks.height_px,
               tracks.fps, tracks.language, tracks.label, tracks.timescale, tracks.target_kbps,
               coalesce(listed.ticks, '{}') AS ticks, coalesce(listed.bytes, '{}') AS bytes
          FROM streams
          JOIN stream_tracks AS tracks ON tracks.stream_id = streams.id
          LEFT JOIN LATERAL (
                SELECT array_agg(ticks ORDER BY number) AS ticks, array_agg(bytes ORDER BY number) AS bytes
                  FROM (SELECT number, ticks, bytes, row_number() OVER (ORDER BY number) - 1 AS place
                          FROM stream_segments
                         WHERE stream_id = streams.id AND track = tracks.name) AS numbered
                 WHERE number = place) AS listed ON true
         WHERE streams.id = %(stream_id)s AND streams.video_id = %(video_id)s
           AND (%(name)s::text IS NULL OR tracks.name = %(name)s)
         ORDER BY tracks.kind DESC, tracks.height_px DESC, tracks.name""",
        {"video_id": video_id, "stream_id": stream_id, "name": name},
    )


async def texts(conn: db.Conn, video_id: int) -> list[Text]:
    """The captions there are beside this video."""
    return await db.many(
        conn,
        Text,
        """
        SELECT kind, substr(kind, 10) AS language, bytes
          FROM renditions
         WHERE video_id = %s AND kind LIKE 'captions-%%'
         ORDER BY kind""",
        [video_id],
    )


async def chosen(conn: db.Conn, video_id: int) -> Stream | None:
    """The stream that a player is given, or None while there is nothing to play.

    One that is being made has to offer all its sounds first: a player that begins without them stays silent.
    """
    found = await of_video(conn, video_id)
    if found is None or found.state != State.MAKING:
        return found
    return found if await begun(conn, found.id) else None


async def begun(conn: db.Conn, stream_id: int) -> bool:
    """Whether the first second of a stream that is being made is there, and the beginning of all its sounds."""
    return bool(
        await db.value(
            conn,
            """
            SELECT EXISTS (SELECT FROM stream_segments
                            WHERE stream_id = %(id)s AND track LIKE 'v%%' AND number = 0)
                   AND (SELECT count(*) FROM stream_segments
                         WHERE stream_id = %(id)s AND track LIKE 'a%%' AND number = 0)
                    >= jsonb_array_length(coalesce(plan -> 'sounds', '[]'))
              FROM streams
             WHERE id = %(id)s""",
            {"id": stream_id},
        )
    )


async def note_asked(conn: db.Conn, video: Video, name: str, job_id: int) -> None:
    """Write down that this job was asked for, so that pages tell of it before it begins; once for each job."""
    if await db.value(
        conn,
        "SELECT EXISTS (SELECT FROM events WHERE topic = %s AND name = %s AND detail ->> 'job_id' = %s)",
        [video.topic, name, str(job_id)],
    ):
        return
    await events.emit(conn, name, video.topic, workspace_id=video.workspace_id, job_id=job_id)


async def asked(conn: db.Conn, video_id: int) -> dict[str, int]:
    """What was asked for and is not over: by the event's name the newest such job."""
    found = await db.rows(
        conn,
        """
        SELECT events.name, max(owned_jobs.id)
          FROM events
          JOIN owned_jobs ON owned_jobs.id = (detail ->> 'job_id')::bigint AND status IN ('todo', 'doing')
         WHERE topic = %s AND name IN ('video.process_queued', 'video.poster_queued')
         GROUP BY 1""",
        [f"video-{video_id}"],
    )
    return {str(name): int(job_id) for name, job_id in found}


async def segment(conn: db.Conn, video_id: int, stream_id: int, track: str, number: int) -> Piece | None:
    """Where this segment lies."""
    return await db.maybe(
        conn,
        Piece,
        """
        SELECT segments.key,
               CASE WHEN track LIKE 'a%%' THEN 'audio/mp4' ELSE 'video/mp4' END AS content_type
          FROM stream_segments AS segments
          JOIN streams ON streams.id = segments.stream_id
         WHERE segments.stream_id = %s AND streams.video_id = %s AND track = %s AND number = %s""",
        [stream_id, video_id, track, number],
    )


async def beginning(conn: db.Conn, video_id: int, stream_id: int, track: str) -> Piece | None:
    """Where the first bytes of this track lie (its initialisation segment)."""
    return await db.maybe(
        conn,
        Piece,
        """
        SELECT tracks.init_key AS key,
               CASE WHEN kind = 'audio' THEN 'audio/mp4' ELSE 'video/mp4' END AS content_type
          FROM stream_tracks AS tracks
          JOIN streams ON streams.id = tracks.stream_id
         WHERE tracks.stream_id = %s AND streams.video_id = %s AND name = %s""",
        [stream_id, video_id, track],
    )


async def beside(conn: db.Conn, video_id: int, stream_id: int, kind: str) -> Piece | None:
    """Where a file beside the stream lies: `storyboard-0`, `storyboard-vtt`, `captions-en`, `chapters`."""
    return await db.maybe(
        conn,
        Piece,
        """
        SELECT renditions.key, renditions.content_type
          FROM renditions
          JOIN streams ON streams.video_id = renditions.video_id
         WHERE renditions.video_id = %s AND streams.id = %s AND kind = %s""",
        [video_id, stream_id, kind],
    )
