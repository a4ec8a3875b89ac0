"""What is looked at once a video's bytes are in (sections 3.4 and 7.8). Done when somebody first looks, and written
down: a kill in between loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time

from app.sandbox.world import World, creator_of, fact
from app.sandbox.youtube import videos
from app.sandbox.youtube.videos import OK, Video

# What plays after any conversion there is; the sheet names none, so this list is our own.
CODECS = {
    "h264", "hevc", "h265", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video", "h263", "flv1", "prores",
    "dnxhd", "mjpeg", "theora", "wmv1", "wmv2", "wmv3", "vc1", "msmpeg4v2", "msmpeg4v3",
}  # fmt: skip
LEAST_BYTES = 1000
SHORT_UPLOAD_S, LONG_UPLOAD_S = 15 * 60, 12 * 3600
PART_LIFETIME_S = 2 * 3600


async def checked(world: World, video: Video) -> Video:
    """The video with its verdict. Asked twice at once it looks once."""
    if video.verdict is None:
        key = f"youtube-{video.id}"
        looking = world.looking.get(key)
        if looking is None:
            looking = asyncio.get_running_loop().create_task(_look(world, video))
            world.looking[key] = looking
            looking.add_done_callback(lambda _: world.looking.pop(key, None))
        await asyncio.shield(looking)
    return await world.read(videos.by_id, video.id) or video


async def check_all(world: World) -> None:
    """Look at what nobody has looked at yet. A file that cannot be probed now is left for the next time."""
    for video in await world.read(videos.undecided):
        try:
            await checked(world, video)
        except Exception:
            logging.getLogger(__name__).exception("the simulator could not probe a video")


async def _look(world: World, video: Video) -> None:
    creator = await world.read(creator_of, video.creator_id)
    long_allowed = creator is not None and creator.switches.long_uploads == "allowed"
    if video.bytes < LEAST_BYTES:
        await world.write(videos.decide, video, "emptyFile" if not video.bytes else "tooSmall", None)
    else:
        probed = await world.probe(world.files / video.file_name)
        if probed is None:
            await world.write(videos.decide, video, "invalidFile", None)
        else:
            codec, duration_s = str(fact(probed, "video_codec") or ""), float(fact(probed, "duration_s") or 0)
            facts = (duration_s, int(fact(probed, "width_px") or 0), int(fact(probed, "height_px") or 0))
            verdict = judged(codec, duration_s, LONG_UPLOAD_S if long_allowed else SHORT_UPLOAD_S)
            await world.write(videos.decide, video, verdict, facts)
    await sweep(world)


def judged(video_codec: str, duration_s: float, most_s: int) -> str:
    """`ok`, the failureReason or the rejectionReason. Pure."""
    if duration_s <= 0:
        return "invalidFile"
    if video_codec.lower() not in CODECS:
        return "codec"
    return OK if duration_s <= most_s else "length"


async def sweep(world: World) -> None:
    """Delete the bytes nobody will look at again: older videos, dead sessions, orphaned parts."""
    names = await world.write(_stale, world.settings.kept_files, world.clock())

    def delete() -> None:
        for name in names:
            (world.files / name).unlink(missing_ok=True)
            (world.files / f"{name}.lock").unlink(missing_ok=True)
        for part in world.files.glob("part-*"):
            try:
                if part.stat().st_mtime < time.time() - PART_LIFETIME_S:
                    part.unlink(missing_ok=True)
            except FileNotFoundError:
                continue

    await asyncio.to_thread(delete)


def _stale(conn: sqlite3.Connection, kept: int, at: float) -> list[str]:
    rows = conn.execute(
        "SELECT s.id FROM yt_sessions s JOIN yt_videos v ON v.session_id = s.id"
        " WHERE s.file_gone = 0 AND v.verdict IS NOT NULL AND v.number NOT IN"
        "  (SELECT number FROM yt_videos WHERE verdict IS NOT NULL ORDER BY number DESC LIMIT ?)"
        " UNION SELECT id FROM yt_sessions WHERE file_gone = 0 AND finished_at IS NULL AND expires_at < ?",
        (kept, at - PART_LIFETIME_S),
    ).fetchall()
    conn.executemany("UPDATE yt_sessions SET file_gone = 1 WHERE id = ?", [(row["id"],) for row in rows])
    return [f"youtube-{row['id']}" for row in rows]
