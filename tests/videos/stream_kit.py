"""Streams as rows, made without an encoder: begun, claimed, kept and ended by hand."""

from __future__ import annotations

from typing import Any

from app import db, states, videos
from app.videos import parts, streams
from app.videos.parts import Asked
from app.videos.streams import Segment, Stream
from tests.makers import Owner

# Jobs that are over long ago.
LEAD = 900
LONG = ((0, 0), (1, 2), (3, 4))
ASKED = Asked(
    formats=("hls", "mp4"),
    for_edit=True,
    thumbnails=True,
    source_key="tenants/1/originals/x.mp4",
    source_bytes=10,
    source_sha256="-",
    plan={"rate": "25/1"},
    parts=LONG,
    rungs=2,
)


async def a_row(owner: Owner, state: str = "EDITING_QUEUED") -> videos.Video:
    """A video as a row, without its file."""
    async with db.house() as conn:
        video_id = await db.value(
            conn,
            """
            INSERT INTO videos (workspace_id, user_id, title, filename, source_key, source_bytes, source_sha256,
                                source_type, state)
            VALUES (%s, %s, 'A knot', 'knot.mp4', 'tenants/1/originals/x.mp4', 10, '-', 'video/mp4', 'EDITING_QUEUED')
            RETURNING id""",
            [owner.workspace_id, owner.user_id],
        )
        if state != "EDITING_QUEUED":
            await states.move(conn, videos.MACHINE, videos.Video, int(video_id), "EDITING")
        if state == "EDITED":
            await states.move(conn, videos.MACHINE, videos.Video, int(video_id), "EDITED")
        return await videos.get(conn, int(video_id))


async def begun(video: videos.Video, asked: Asked = ASKED, *, job_id: int = LEAD) -> Stream:
    """A stream that was begun, its parts in line as after the first sizes of its opening."""
    async with db.house() as conn:
        stream = await parts.begin(
            conn,
            workspace_id=video.workspace_id,
            video_id=video.id,
            user_id=video.user_id,
            asked=asked,
            job_id=job_id,
        )
        await parts.put_parts(conn, stream)
        return stream


async def claimed(stream: Stream, number: int, run: int) -> streams.Part | None:
    async with db.house() as conn:
        return await parts.claim(conn, stream.id, number, run=run, job_id=LEAD + run)


def a_segment(track: str, number: int) -> Segment:
    return Segment(track, number, 1000, 5, f"tenants/1/streams/{track}-{number}.m4s")


async def kept(stream: Stream, number: int, run: int, *made: Segment) -> parts.Kept:
    async with db.house() as conn:
        return await parts.keep(conn, stream, number, run, made)


async def ended(stream: Stream, number: int, run: int) -> bool:
    async with db.house() as conn:
        return await parts.done(conn, stream, number, run, cpu_s=1, command="ffmpeg", log="")


async def part_jobs(stream: Stream) -> list[tuple[Any, ...]]:
    async with db.house() as conn:
        return await db.rows(
            conn,
            """
            SELECT args ->> 'part', status::text
              FROM procrastinate_jobs
             WHERE task_name = 'encode-part' AND args ->> 'streamId' = %s
             ORDER BY id""",
            [str(stream.id)],
        )


async def read(stream: Stream) -> Stream:
    async with db.house() as conn:
        return await streams.get(conn, stream.id)
