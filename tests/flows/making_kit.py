"""Clips that are made into streams, and what the tests of the making look at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from app import config, db, media, storage, videos
from app.videos import streams
from tests.makers import Owner, an_account, pieces
from tests.media.clips import FAST, ffmpeg
from tests.worker import TestWorker

TITLED = media.Design(title=media.Title(text="Five knots"))
FPS = 25
# What the opening holds, and each further segment.
OPENING_FRAMES, SEGMENT_FRAMES = 50, 100
LOCK = 4711


@lru_cache(maxsize=8)
def film(seconds: float, size: str = "640x360") -> bytes:
    """An H.264/AAC file of exactly so many frames, 25 a second, its index at the end as cameras write it."""
    with TemporaryDirectory(prefix="backlot-film-") as folder:
        path = Path(folder) / "film.mp4"
        ffmpeg(
            *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={FPS}:duration={seconds}"),
            *("-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={seconds}"),
            *(*FAST, "-c:a", "aac", "-ac", "2", path),
        )
        return path.read_bytes()


async def take_in(
    owner: Owner,
    seconds: float,
    *,
    size: str = "640x360",
    posted: bool = False,
    design: media.Design | None = TITLED,
) -> videos.Video:
    """A film taken in as by `POST /api/videos`; its title makes it worth encoding."""
    account = await an_account(owner) if posted else None
    return await videos.uploads.take_in(
        pieces(film(seconds, size)),
        workspace_id=owner.workspace_id,
        user_id=owner.user_id,
        filename="knot.mp4",
        asked=videos.wishes.Wishes(title="A knot", account_id=account.id if account else None, design=design),
    )


async def run_queue(worker: TestWorker, *queues: str) -> None:
    """Run what waits in these queues, and nothing that it puts elsewhere."""
    await worker.worker(wait=False, listen_notify=False, queues=list(queues)).run()


async def newest(video_id: int) -> streams.Stream:
    async with db.house() as conn:
        return await db.one(
            conn,
            streams.Stream,
            "SELECT {columns} FROM streams WHERE video_id = %s ORDER BY id DESC LIMIT 1",
            [video_id],
        )


async def segments(stream: streams.Stream, track: str = "v0") -> list[streams.Segment]:
    async with db.house() as conn:
        return await streams.segments(conn, stream.id, track)


async def track_names(stream: streams.Stream) -> list[str]:
    async with db.house() as conn:
        return [track.name for track in await streams.tracks(conn, stream.id)]


async def frames_of(key: str, folder: Path) -> int:
    """How many pictures an MP4 in the storage really has: every one is decoded."""
    path = await storage.fetch(key, into=folder)
    said = ffmpeg("-i", path, "-map", "0:v:0", "-f", "framemd5", "-")
    return sum(1 for line in said.decode().splitlines() if line and not line.startswith("#"))


async def stream_frames(stream: streams.Stream, track: str = "v0") -> list[int]:
    """Pictures of each segment, as its row says."""
    async with db.house() as conn:
        timescale = await db.value(
            conn, "SELECT timescale FROM stream_tracks WHERE stream_id = %s AND name = %s", [stream.id, track]
        )
    return [segment.ticks * FPS // int(timescale) for segment in await segments(stream, track)]


def files() -> set[str]:
    """Keys of everything in the local storage."""
    root = config.get().backlot_home / "storage"
    found = (path.relative_to(root).as_posix() for path in root.rglob("tenants/**/*") if path.is_file())
    return {key[key.index("tenants/") :] for key in found}


async def unnamed() -> set[str]:
    """Stored files that no row names."""
    async with db.house() as conn:
        return set(await videos.orphans.unnamed(conn, files()))


async def job_rows(task: str) -> list[tuple[Any, ...]]:
    async with db.house() as conn:
        return await db.rows(
            conn, "SELECT status::text, args FROM procrastinate_jobs WHERE task_name = %s ORDER BY id", [task]
        )


class Held:
    """A line of the database at which whoever writes segment `number` waits, as long as this is held."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self.conn = conn

    async def reached(self, within_s: float = 60) -> None:
        """Until somebody waits there."""
        async with asyncio.timeout(within_s):
            while True:
                found = await self.conn.execute(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted",
                    [LOCK],
                )
                row = await found.fetchone()
                if row and row[0]:
                    return
                await asyncio.sleep(0.02)

    async def let_go(self) -> None:
        await self.conn.execute("SELECT pg_advisory_unlock_all()")


@contextlib.asynccontextmanager
async def held_at(dsn: str, table: str, when: str, event: str = "INSERT") -> AsyncIterator[Held]:
    """Everybody waits (5 s at most: `lock_timeout`) who writes a row of this table of which `when` holds."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        await conn.execute(
            f"""
            CREATE FUNCTION hold_here() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM pg_advisory_xact_lock({LOCK});
                RETURN NEW;
            END $$"""  # type: ignore[arg-type]  # a number of ours
        )
        await conn.execute(
            f"CREATE TRIGGER hold_here BEFORE {event} ON {table}"  # type: ignore[arg-type]  # words of the test
            f" FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION hold_here()"
        )
        try:
            yield Held(conn)
        finally:
            await conn.execute("SELECT pg_advisory_unlock_all()")
            await conn.execute(f"DROP TRIGGER hold_here ON {table}")  # type: ignore[arg-type]  # a table of ours
            await conn.execute("DROP FUNCTION hold_here")
