"""How a stream comes to be: begun by one run, made in parts by any, each finished segment kept once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from app import db, events, jobs, live, queue, states
from app.errors import Cancelled, NotYet, Refused, Retryable, Superseded
from app.videos.streams import MACHINE, Part, Segment, State, Stream, Track, making, ready_of, stop

# An edit goes before: its video waits to be posted.
AFTER_EDIT_S = 30.0
# Until a worker like the one that began takes the job.
ANOTHER_ENCODER_S = 30.0
OTHER_ENCODER = "other_encoder"


@dataclass(frozen=True)
class Asked:
    """What is to be made of a video; two runs that ask for the same go on with the same stream."""

    formats: tuple[str, ...]
    for_edit: bool
    thumbnails: bool
    source_key: str
    source_bytes: int
    source_sha256: str
    plan: Mapping[str, Any]
    # Ranges of segment numbers, the first of them the opening's.
    parts: tuple[tuple[int, int], ...]
    rungs: int
    options: Mapping[str, Any] = field(default_factory=dict)
    only_rung: str | None = None


async def begin(
    conn: db.Conn, *, workspace_id: int, video_id: int, user_id: int, asked: Asked, job_id: int
) -> Stream:
    """The stream that this run goes on with: an unfinished one that was asked for in the same words, a failed one of
    those, else a new one. The other parts of a new one are put in line (`put_parts`) when there is something to play.

    An edit takes the place of whatever is being made of the video; anything else waits for an edit (NotYet). The
    video's row must be held by the caller's transaction.
    """
    unfinished = await making(conn, video_id)
    before = await _begun_before(conn, video_id, asked)
    if unfinished is not None and (before is None or before.id != unfinished.id):
        if unfinished.for_edit and not asked.for_edit:
            raise NotYet(
                "The video is being edited; this waits until it is.",
                after_s=AFTER_EDIT_S,
                code="being_edited",
            )
        await stop(conn, unfinished, "Something else is made of this video.", but=job_id)
    if before is None:
        return await _new(conn, workspace_id, video_id, user_id, asked, job_id)
    if before.state == State.FAILED:
        before = await states.move(conn, MACHINE, Stream, before.id, State.MAKING, log=None, job_id=job_id)
    await put_parts(conn, before)
    return before


async def keep_logo(conn: db.Conn, stream_id: int, key: str) -> str:
    """Remember the logo that every part burns in; gives the one that was kept first."""
    return str(
        await db.value(
            conn,
            "UPDATE streams SET logo_key = coalesce(logo_key, %s) WHERE id = %s RETURNING logo_key",
            [key, stream_id],
        )
    )


async def _begun_before(conn: db.Conn, video_id: int, asked: Asked) -> Stream | None:
    """The unfinished stream that was asked for in the same words, else the newest that failed: what it has stored
    is not made again.
    """
    return await db.maybe(
        conn,
        Stream,
        """
        SELECT {columns}
          FROM streams
         WHERE video_id = %(video_id)s AND state IN ('making', 'failed')
           AND formats = %(formats)s AND for_edit = %(for_edit)s AND thumbnails = %(thumbnails)s
           AND source_key = %(source_key)s AND plan = %(plan)s
           AND only_rung IS NOT DISTINCT FROM %(only_rung)s
           -- What another ffmpeg began cannot be gone on with: a person who retries gets a new one.
           AND (state = 'making' OR reason_code IS DISTINCT FROM %(other_encoder)s)
         ORDER BY state = 'making' DESC, id DESC
         LIMIT 1""",
        {**_words(asked), "video_id": video_id, "other_encoder": OTHER_ENCODER},
    )


def _words(asked: Asked) -> dict[str, Any]:
    return {
        "formats": sorted(asked.formats),
        "for_edit": asked.for_edit,
        "thumbnails": asked.thumbnails,
        "source_key": asked.source_key,
        "plan": Jsonb(asked.plan),
        "only_rung": asked.only_rung,
    }


async def _new(
    conn: db.Conn, workspace_id: int, video_id: int, user_id: int, asked: Asked, job_id: int
) -> Stream:
    spans = asked.parts[-1][1] + 1
    stream = await db.one(
        conn,
        Stream,
        """
        INSERT INTO streams (workspace_id, video_id, user_id, state, formats, for_edit, only_rung, thumbnails,
                             source_key, source_bytes, source_sha256, plan, options, job_id, segments)
        VALUES (%(workspace_id)s, %(video_id)s, %(user_id)s, 'making', %(formats)s, %(for_edit)s, %(only_rung)s,
                %(thumbnails)s, %(source_key)s, %(source_bytes)s, %(source_sha256)s, %(plan)s,
                %(options)s, %(job_id)s, %(segments)s)
        RETURNING {columns}""",
        {
            **_words(asked),
            "workspace_id": workspace_id,
            "video_id": video_id,
            "user_id": user_id,
            "source_bytes": asked.source_bytes,
            "source_sha256": asked.source_sha256,
            "options": Jsonb(asked.options),
            "job_id": job_id,
            "segments": spans * (1 if asked.only_rung else asked.rungs),
        },
    )
    await conn.execute(
        """
        INSERT INTO stream_parts (stream_id, workspace_id, number, first_segment, last_segment)
        SELECT %s, %s, place - 1, first, last
          FROM unnest(%s::integer[], %s::integer[]) WITH ORDINALITY AS given (first, last, place)""",
        [stream.id, workspace_id, [part[0] for part in asked.parts], [part[1] for part in asked.parts]],
    )
    if asked.only_rung is not None:
        await _take_over(conn, stream, asked.only_rung)
    await events.emit(conn, "stream.making", stream.topic, workspace_id=workspace_id)
    await live.tell(conn, f"video-{video_id}")
    return stream


async def _take_over(conn: db.Conn, stream: Stream, but: str) -> None:
    """Everything of the ready stream that this one does not make anew, under the same keys."""
    ready = await ready_of(conn, stream.video_id)
    if ready is None:
        raise Refused("There is no stream of this video whose rung could be made again.", code="no_stream")
    params = {"id": stream.id, "ready": ready.id, "but": but}
    await conn.execute(
        """
        INSERT INTO stream_tracks (stream_id, workspace_id, name, kind, codec, width_px, height_px, fps, language,
                                   label, timescale, target_kbps, init_key, init_bytes, init_sha256)
        SELECT %(id)s, workspace_id, name, kind, codec, width_px, height_px, fps, language, label, timescale,
               target_kbps, init_key, init_bytes, init_sha256
          FROM stream_tracks
         WHERE stream_id = %(ready)s AND name <> %(but)s""",
        params,
    )
    await conn.execute(
        """
        INSERT INTO stream_segments (stream_id, workspace_id, track, number, ticks, bytes, key)
        SELECT %(id)s, workspace_id, track, number, ticks, bytes, key
          FROM stream_segments
         WHERE stream_id = %(ready)s AND track <> %(but)s""",
        params,
    )
    await conn.execute(
        """
        UPDATE streams
           SET mp4_key = ready.mp4_key, mp4_bytes = ready.mp4_bytes, mp4_sha256 = ready.mp4_sha256,
               bytes = (SELECT coalesce(sum(bytes), 0) FROM stream_segments WHERE stream_id = %(id)s)
          FROM streams AS ready
         WHERE streams.id = %(id)s AND ready.id = %(ready)s""",
        params,
    )


async def put_parts(conn: db.Conn, stream: Stream) -> int:
    """A job for each part that is not done and has no living one; gives how many. The opening, part 0, is made by
    the job that began the stream.
    """
    lacking = await db.rows(
        conn,
        """
        SELECT number
          FROM stream_parts
         WHERE stream_id = %s AND number > 0 AND state <> 'done'
           AND NOT EXISTS (SELECT FROM procrastinate_jobs AS jobs
                            WHERE jobs.id = stream_parts.job_id AND status IN ('todo', 'doing'))
         ORDER BY number""",
        [stream.id],
    )
    numbers = [int(row[0]) for row in lacking]
    if not numbers:
        return 0
    priority = jobs.HIGH if stream.for_edit else jobs.NORMAL
    args: list[dict[str, Any]] = [{"streamId": stream.id, "part": number} for number in numbers]
    ids = await queue.defer_many(
        conn, jobs.ENCODE_PART, workspace_id=stream.workspace_id, priority=priority, args=args
    )
    if len(ids) < len(numbers):
        # A job that nobody wrote down waits for one of them.
        ids = [
            await queue.defer(
                conn, jobs.ENCODE_PART, workspace_id=stream.workspace_id, priority=priority, **given
            )
            for given in args
        ]
    await conn.execute(
        """
        UPDATE stream_parts
           SET job_id = put.job_id
          FROM unnest(%s::integer[], %s::bigint[]) AS put (number, job_id)
         WHERE stream_id = %s AND stream_parts.number = put.number""",
        [numbers, ids, stream.id],
    )
    return len(ids)


async def put_join(conn: db.Conn, stream: Stream) -> None:
    """The job that joins what the parts have made; remembered as the one that works for the stream."""
    job_id = await queue.defer(
        conn,
        jobs.JOIN_STREAM,
        workspace_id=stream.workspace_id,
        priority=jobs.HIGH if stream.for_edit else jobs.NORMAL,
        streamId=stream.id,
    )
    await conn.execute("UPDATE streams SET job_id = %s WHERE id = %s", [job_id, stream.id])


async def claim(conn: db.Conn, stream_id: int, number: int, *, run: int, job_id: int) -> Part | None:
    """Take the part for this run; None when it is done. Superseded when a later run holds it, Cancelled when
    nothing is made of the stream any more.
    """
    part = await db.maybe(
        conn,
        Part,
        """
        UPDATE stream_parts
           SET state = 'working', run = %(run)s, job_id = %(job)s
         WHERE stream_id = %(id)s AND number = %(number)s AND state <> 'done' AND coalesce(run, 0) <= %(run)s
           AND EXISTS (SELECT FROM streams WHERE id = %(id)s AND state = 'making')
        RETURNING {columns}""",
        {"run": run, "job": job_id, "id": stream_id, "number": number},
    )
    if part is not None:
        return part
    found = await db.rows(
        conn,
        """
        SELECT streams.state, stream_parts.state
          FROM streams JOIN stream_parts ON stream_parts.stream_id = streams.id
         WHERE streams.id = %s AND number = %s""",
        [stream_id, number],
    )
    if not found or found[0][0] not in (State.MAKING, State.READY):
        raise Cancelled("Nothing is made of this stream any more.")
    if found[0][1] == "done":
        return None
    raise Superseded("Another run has taken over this part.")


async def keep_track(conn: db.Conn, track: Track) -> Track:
    """Keep a track with its first bytes, or give the one that was kept before. Retryable when a worker with another
    encoder began it: the first bytes differ, and its segments would not play behind the others'.
    """
    await conn.execute(
        """
        INSERT INTO stream_tracks (stream_id, workspace_id, name, kind, codec, width_px, height_px, fps, language,
                                   label, timescale, target_kbps, init_key, init_bytes, init_sha256)
        VALUES (%(stream_id)s, %(workspace_id)s, %(name)s, %(kind)s, %(codec)s, %(width_px)s, %(height_px)s,
                %(fps)s, %(language)s, %(label)s, %(timescale)s, %(target_kbps)s, %(init_key)s, %(init_bytes)s,
                %(init_sha256)s)
            ON CONFLICT DO NOTHING""",
        vars(track),
    )
    kept = await db.one(
        conn,
        Track,
        "SELECT {columns} FROM stream_tracks WHERE stream_id = %s AND name = %s",
        [track.stream_id, track.name],
    )
    if kept.init_sha256 != track.init_sha256:
        raise Retryable(
            "This worker's ffmpeg encodes differently from the one that began; a worker like that goes on.",
            code=OTHER_ENCODER,
            after_s=ANOTHER_ENCODER_S,
        )
    return kept


@dataclass(frozen=True)
class Kept:
    """The tracks whose segment was kept just now, and how far the stream is (0–100)."""

    tracks: frozenset[str]
    progress: float


async def keep(conn: db.Conn, stream: Stream, part: int, run: int, made: Sequence[Segment]) -> Kept:
    """Keep finished segments that no run has kept before, and count them. Superseded when another run holds the
    part, Cancelled when nothing is made of the stream any more: the caller's transaction then has to go, too.
    """
    found = await db.rows(
        conn,
        """
        WITH held AS (
            SELECT FROM stream_parts WHERE stream_id = %(id)s AND number = %(part)s AND run = %(run)s FOR UPDATE
        ), kept AS (
            INSERT INTO stream_segments (stream_id, workspace_id, track, number, ticks, bytes, key)
            SELECT %(id)s, %(workspace_id)s, track, number, ticks, bytes, key
              FROM unnest(%(tracks)s::text[], %(numbers)s::integer[], %(ticks)s::bigint[], %(bytes)s::bigint[],
                          %(keys)s::text[]) AS made (track, number, ticks, bytes, key)
             WHERE EXISTS (SELECT FROM held)
                ON CONFLICT DO NOTHING
            RETURNING track, bytes
        ), counted AS (
            SELECT count(*) FILTER (WHERE track LIKE 'v%%') AS pictures, coalesce(sum(bytes), 0) AS bytes,
                   coalesce(array_agg(track), '{}') AS tracks
              FROM kept
        )
        UPDATE streams
           SET segments_made = segments_made + pictures, bytes = streams.bytes + counted.bytes,
               progress = least(99, 100.0 * (segments_made + pictures) / greatest(segments, 1))
          FROM counted
         WHERE id = %(id)s AND state = 'making' AND EXISTS (SELECT FROM held)
        RETURNING counted.tracks, progress""",
        {
            "id": stream.id,
            "workspace_id": stream.workspace_id,
            "part": part,
            "run": run,
            "tracks": [segment.track for segment in made],
            "numbers": [segment.number for segment in made],
            "ticks": [segment.ticks for segment in made],
            "bytes": [segment.bytes for segment in made],
            "keys": [segment.key for segment in made],
        },
    )
    if not found:
        raise await _why_not(conn, stream.id)
    return Kept(frozenset(found[0][0]), float(found[0][1]))


async def sound_done(conn: db.Conn, stream_id: int) -> None:
    """All the sound is stored: nobody makes it again."""
    await conn.execute("UPDATE streams SET sound_done = true WHERE id = %s", [stream_id])


async def done(
    conn: db.Conn, stream: Stream, part: int, run: int, *, cpu_s: float, command: str, log: str
) -> bool:
    """The part is made; gives whether it was the last. Of parts that end at once exactly one is the last, since
    they are counted under the stream's lock. Superseded and Cancelled as by `keep`.
    """
    ours = await db.run(
        conn,
        """
        UPDATE stream_parts SET state = 'done', cpu_s = %(cpu_s)s
         WHERE stream_id = %(id)s AND number = %(part)s AND run = %(run)s AND state = 'working'""",
        {"id": stream.id, "part": part, "run": run, "cpu_s": cpu_s},
    )
    if not ours:
        raise Superseded("Another run has taken over this part.")
    going = await db.run(
        conn,
        """
        UPDATE streams
           SET cpu_s = cpu_s + %(cpu_s)s, command = coalesce(nullif(%(command)s, ''), command),
               log = coalesce(nullif(%(log)s, ''), log)
         WHERE id = %(id)s AND state = 'making'""",
        {"id": stream.id, "cpu_s": cpu_s, "command": command if part == 0 else "", "log": log},
    )
    if not going:
        raise await _why_not(conn, stream.id)
    left = await db.value(
        conn, "SELECT count(*) FROM stream_parts WHERE stream_id = %s AND state <> 'done'", [stream.id]
    )
    return int(left) == 0


async def _why_not(conn: db.Conn, stream_id: int) -> Exception:
    state = await db.value(conn, "SELECT state FROM streams WHERE id = %s", [stream_id])
    if state == State.MAKING:
        return Superseded("Another run has taken over this part.")
    return Cancelled("Nothing is made of this stream any more.")
