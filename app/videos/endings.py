"""How the making of a stream ends: ready, failed, gone on with, found without a job, and at last swept away."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from app import db, jobs, live, log, publishing, queue, states, storage
from app.errors import Superseded
from app.videos import orphans, parts, rows, streams
from app.videos.rows import Video
from app.videos.streams import MACHINE, State, Stream

# A player that opened a stream holds its list of pieces: links to them live a quarter of an hour.
KEPT_AFTER = "1 hour"
# A person may let a failed one go on.
KEPT_FAILED = "7 days"
SWEPT_AT_ONCE = 500


@dataclass(frozen=True)
class Still:
    """A stored file beside the video: a still, a storyboard, captions. See `rows.Rendition` for kinds."""

    kind: str
    stored: storage.Stored
    width_px: int = 0
    height_px: int = 0


async def claim_join(conn: db.Conn, stream_id: int, run: int) -> Stream | None:
    """Take the joining of the stream for this run; None when nothing is to be joined any more."""
    return await db.maybe(
        conn,
        Stream,
        """
        UPDATE streams
           SET run = %(run)s
         WHERE id = %(id)s AND state = 'making' AND coalesce(run, 0) <= %(run)s
           AND NOT EXISTS (SELECT FROM stream_parts WHERE stream_id = %(id)s AND state <> 'done')
        RETURNING {columns}""",
        {"id": stream_id, "run": run},
    )


async def ready(
    conn: db.Conn, stream: Stream, run: int, mp4: storage.Stored | None, *, cpu_s: float
) -> Stream:
    """The stream is whole: from now on it is the one that plays. The caller holds its video."""
    changes: dict[str, Any] = {}
    if mp4 is not None:
        changes = {"mp4_key": mp4.key, "mp4_bytes": mp4.bytes, "mp4_sha256": mp4.sha256}
    made = await states.move(
        conn,
        MACHINE,
        Stream,
        stream.id,
        State.READY,
        run=run,
        progress=100,
        cpu_s=stream.cpu_s + cpu_s,
        detail={"bytes": stream.bytes, "cpu_s": round(stream.cpu_s + cpu_s, 2)},
        **changes,
    )
    if made.for_edit or made.played:
        await replace_older(conn, made.video_id, but=made.id)
    return made


async def replace_older(conn: db.Conn, video_id: int, *, but: int = 0) -> None:
    """What was ready before shows another design, or the same one twice: it plays no longer."""
    for (stream_id,) in await db.rows(
        conn,
        "SELECT id FROM streams WHERE video_id = %s AND state = 'ready' AND id <> %s FOR UPDATE",
        [video_id, but],
    ):
        await states.move(conn, MACHINE, Stream, int(stream_id), State.REPLACED)


async def keep_stills(conn: db.Conn, workspace_id: int, video_id: int, stills: Sequence[Still]) -> None:
    """Write the files beside the video down, each in the place of the one before; sheets that are no longer part
    of the storyboard go.
    """
    if not stills:
        return
    await conn.execute(
        """
        INSERT INTO renditions (workspace_id, video_id, kind, key, bytes, sha256, width_px, height_px,
                                content_type)
        SELECT %s, %s, kind, key, bytes, sha256, width_px, height_px, content_type
          FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::integer[], %s::integer[],
                      %s::text[]) AS given (kind, key, bytes, sha256, width_px, height_px, content_type)
            ON CONFLICT (workspace_id, video_id, kind)
            DO UPDATE SET key = excluded.key, bytes = excluded.bytes, sha256 = excluded.sha256,
                          width_px = excluded.width_px, height_px = excluded.height_px,
                          content_type = excluded.content_type""",
        [
            workspace_id,
            video_id,
            [still.kind for still in stills],
            [still.stored.key for still in stills],
            [still.stored.bytes for still in stills],
            [still.stored.sha256 for still in stills],
            [still.width_px for still in stills],
            [still.height_px for still in stills],
            [still.stored.content_type for still in stills],
        ],
    )
    kinds = [still.kind for still in stills]
    if any(kind.startswith("storyboard") for kind in kinds):
        await conn.execute(
            "DELETE FROM renditions WHERE video_id = %s AND kind LIKE 'storyboard-%%' AND kind <> ALL (%s)",
            [video_id, kinds],
        )


async def say(conn: db.Conn, stream_id: int, log_tail: str) -> None:
    """Keep the last lines of a run that failed, where the page of the video shows them."""
    await conn.execute(
        "UPDATE streams SET log = %s WHERE id = %s AND state = 'making'", [log_tail, stream_id]
    )


async def fail(conn: db.Conn, video: Video, stream: Stream, reason: str, code: str, *, but: int) -> None:
    """No try is left: the stream says why and what is stored stays for a retry; the jobs of its other parts are
    cancelled. The caller holds the video, and fails it if the stream is made for its edit.
    """
    if code == "cancelled":
        await streams.stop(conn, stream, reason, but=but)
        return
    await states.move(conn, MACHINE, Stream, stream.id, State.FAILED, reason=reason, reason_code=code)
    await streams.stop_jobs(conn, stream, "Another part of the video could not be made.", but=but)
    await live.tell(conn, video.topic)


async def give_up(
    conn: db.Conn, job_id: int, streamId: int, reason: str, code: str, part: int | None = None
) -> None:
    """The job of a part, or of the joining, has no try left: the stream fails, and the video that is edited by it.
    Only for a job that the stream still waits for.
    """
    found = await db.maybe(conn, Stream, "SELECT {columns} FROM streams WHERE id = %s", [streamId])
    if found is None:
        return
    video = await rows.hold(conn, found.video_id)
    stream = await streams.making(conn, video.id)
    if stream is None or stream.id != streamId or job_id not in await _waited_for(conn, stream):
        log.info("nothing left to give up", stream_id=streamId, part=part, job_id=job_id)
        return
    await fail(conn, video, stream, reason, code, but=job_id)
    if stream.for_edit:
        await fail_video(conn, video, reason, code, edit_log=stream.log)


async def _waited_for(conn: db.Conn, stream: Stream) -> set[int | None]:
    found = await db.rows(
        conn, "SELECT job_id FROM stream_parts WHERE stream_id = %s AND state <> 'done'", [stream.id]
    )
    return {stream.job_id, *(row[0] for row in found)}


async def fail_video(
    conn: db.Conn, video: Video, reason: str, code: str, *, edit_log: str | None = None
) -> None:
    """The video was not made: it says why, and what was planned with it does not go out."""
    to = rows.State.CANCELLED if code == "cancelled" else rows.State.FAILED
    if video.state not in (rows.State.EDITING_QUEUED, rows.State.EDITING):
        return
    kept: dict[str, Any] = {} if edit_log is None else {"edit_log": edit_log}
    await states.move(conn, rows.MACHINE, Video, video.id, to, reason=reason, reason_code=code, **kept)
    await publishing.stop_for_video(conn, video.id, "The video was not made.")


async def go_on(conn: db.Conn, failed: Stream) -> Stream:
    """A person let a job of a failed stream go on: the stream is made again from where it stood, and with it the
    video that is edited by it. Superseded when something else is made of the video meanwhile.
    """
    video = await rows.hold(conn, failed.video_id)
    if await streams.making(conn, video.id) is not None:
        raise Superseded("Something else is made of this video meanwhile.")
    if failed.for_edit and video.state == rows.State.FAILED:
        await states.move(conn, rows.MACHINE, Video, video.id, rows.State.EDITING)
        await publishing.resume_for_video(conn, video.id)
    stream = await states.move(conn, MACHINE, Stream, failed.id, State.MAKING, log=None)
    await parts.put_parts(conn, stream)
    return stream


@dataclass(frozen=True)
class _Stranded:
    """How far a stream is for which perhaps nobody works. `opened`: part 0 is done; `led`: the job that began it,
    or joins it, lives.
    """

    id: int
    opened: bool
    left: int
    parts: int
    led: bool


async def put_back_stranded(conn: db.Conn) -> int:
    """The net: whatever of an unfinished stream no job works for gets one; gives how many. An edit whose opening is
    not made is its video's own net's business.
    """
    found = await db.many(
        conn,
        _Stranded,
        """
        SELECT streams.id, parts.opened, parts.left, parts.parts,
               EXISTS (SELECT FROM procrastinate_jobs AS jobs
                        WHERE jobs.id IN (streams.job_id, parts.first_job) AND status IN ('todo', 'doing')) AS led
          FROM streams
         CROSS JOIN LATERAL (
               SELECT bool_or(number = 0 AND state = 'done') AS opened, count(*) AS parts,
                      count(*) FILTER (WHERE state <> 'done') AS left,
                      max(job_id) FILTER (WHERE number = 0) AS first_job
                 FROM stream_parts WHERE stream_id = streams.id) AS parts
         WHERE streams.state = 'making' AND streams.changed_at < now() - interval '5 min'
         ORDER BY streams.id""",
    )
    put = 0
    for stranded in found:
        stream = await db.maybe(
            conn,
            Stream,
            "SELECT {columns} FROM streams WHERE id = %s AND state = 'making' FOR NO KEY UPDATE SKIP LOCKED",
            [stranded.id],
        )
        if stream is None:
            continue
        given = await parts.put_parts(conn, stream)
        if stranded.left == 0 and stranded.parts > 1 and not stranded.led:
            await parts.put_join(conn, stream)
            given += 1
        elif not stream.for_edit and not stranded.led and (stranded.parts == 1 or not stranded.opened):
            await _process_again(conn, stream)
            given += 1
        if given:
            log.warning("a stream without a job was put back in line", stream_id=stream.id, jobs=given)
        put += given
    return put


async def _process_again(conn: db.Conn, stream: Stream) -> None:
    job_id = await queue.defer(
        conn,
        jobs.PROCESS_VIDEO,
        workspace_id=stream.workspace_id,
        videoId=stream.video_id,
        inputPath=stream.source_key,
        userId=stream.user_id,
        options=stream.options,
    )
    await conn.execute("UPDATE streams SET job_id = %s WHERE id = %s", [job_id, stream.id])


async def sweep() -> int:
    """Remove the pieces of streams that play no longer, a few hundred at a time; gives how many files. Rows go
    first: what a crash leaves then is a file without a row, which `sweep_orphans` removes. May run twice at once.
    """
    removed = 0
    while True:
        async with db.house() as conn:
            keys, more = await _forget(conn)
            unnamed = await orphans.unnamed(conn, keys)
        for key in unnamed:
            await storage.delete(key)
        removed += len(unnamed)
        if not more:
            return removed


async def _forget(conn: db.Conn) -> tuple[Collection[str], bool]:
    """Delete the rows of one batch; the keys they named, and whether there may be more."""
    params = {"after": KEPT_AFTER, "failed": KEPT_FAILED, "most": SWEPT_AT_ONCE}
    segments = await db.rows(
        conn,
        """
        DELETE FROM stream_segments
         WHERE (stream_id, track, number) IN (
               SELECT stream_id, track, number
                 FROM stream_segments AS pieces
                 JOIN streams ON streams.id = pieces.stream_id
                WHERE streams.state IN ('replaced', 'cancelled') AND streams.changed_at < now() - %(after)s::interval
                   OR streams.state = 'failed' AND streams.changed_at < now() - %(failed)s::interval
                   OR streams.state = 'ready' AND NOT formats && ARRAY['hls', 'dash']
                LIMIT %(most)s
                  FOR UPDATE OF pieces SKIP LOCKED)
        RETURNING key""",
        params,
    )
    if segments:
        return [str(row[0]) for row in segments], True
    rest = await db.rows(
        conn,
        """
        WITH over AS (
            SELECT id, mp4_key, logo_key
              FROM streams
             WHERE (state IN ('replaced', 'cancelled') AND changed_at < now() - %(after)s::interval
                    OR state = 'failed' AND changed_at < now() - %(failed)s::interval)
               AND NOT EXISTS (SELECT FROM stream_segments WHERE stream_id = streams.id)
             LIMIT %(most)s
               FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM streams WHERE id IN (SELECT id FROM over)
        )
        SELECT init_key FROM stream_tracks WHERE stream_id IN (SELECT id FROM over)
         UNION
        SELECT unnest(ARRAY[mp4_key, logo_key]) FROM over""",
        params,
    )
    return [str(row[0]) for row in rest if row[0] is not None], len(rest) >= SWEPT_AT_ONCE
