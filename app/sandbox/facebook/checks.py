"""What is checked once the last call was taken, and what time does to what was scheduled. Section 3.1, section 7.

Done when somebody looks, and written down: a kill in between loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from app.sandbox.facebook import videos
from app.sandbox.facebook.videos import OK, Video
from app.sandbox.meta import look
from app.sandbox.meta.look import Seen
from app.sandbox.world import World

CONTAINERS = frozenset(("mp4", "mov"))
REEL_CODECS = ("h264", "hevc", "h265", "vp9", "av1")
CODECS = (*REEL_CODECS, "vp8", "mpeg4")
UPRIGHT = 9 / 16
ASPECT_SLACK = 0.01
# Rates and lengths are measured quotients.
FPS_SLACK, LENGTH_SLACK_S = 0.03, 0.05
MOST_VIDEO_S = 40 * 60.0


def judged(kind: str, seen: Seen | None) -> str:
    """`ok` or the code of section 4. Pure."""
    if seen is None or not CONTAINERS.intersection(seen.containers):
        return "1363024"
    if seen.codec not in (REEL_CODECS if kind == "reel" else CODECS):
        return "1363031"
    if kind == "reel":
        if abs(seen.aspect - UPRIGHT) > ASPECT_SLACK:
            return "1363040"
        if seen.width_px < 540 or seen.height_px < 960:
            return "1363127"
        if not 3 - LENGTH_SLACK_S <= seen.duration_s <= 90 + LENGTH_SLACK_S:
            return "1363128"
        if not 24 - FPS_SLACK <= seen.fps <= 60 + FPS_SLACK:
            return "1363129"
        return OK
    if seen.duration_s < 1:
        return "1363025"
    if seen.duration_s > MOST_VIDEO_S:
        return "1363026"
    if not UPRIGHT - ASPECT_SLACK <= seen.aspect <= 1 / UPRIGHT + ASPECT_SLACK:
        return "1363032"
    return OK


async def checked(world: World, video: Video) -> Video:
    """The video with its verdict, once its last call was taken. Asked twice at once it looks once."""
    if video.finished_at is not None and video.verdict is None:
        key = f"facebook-{video.id}"
        looking = world.looking.get(key)
        if looking is None:
            looking = asyncio.get_running_loop().create_task(_look(world, video))
            world.looking[key] = looking
            looking.add_done_callback(lambda _: world.looking.pop(key, None))
        await asyncio.shield(looking)
    return await world.read(videos.by_id, video.id) or video


async def _look(world: World, video: Video) -> None:
    seen = await look.seen(world, video.path(world))
    await world.write(videos.decide, video, judged(video.kind, seen), seen.duration_s if seen else None)


async def settle(world: World) -> None:
    """Look at what nobody has looked at, show what is due, and let go of files nobody will look at again."""
    for video in await world.read(videos.listed, "finished_at IS NOT NULL AND verdict IS NULL"):
        try:
            await checked(world, video)
        except Exception:
            # A file that cannot be probed now is left for the next time.
            logging.getLogger(__name__).exception("the simulator could not probe a video")
    at = world.clock()
    await world.write(_show_due, at)
    for video in await world.write(_stale, world.settings.kept_files, at):
        video.path(world).unlink(missing_ok=True)
        video.path(world).with_suffix(".lock").unlink(missing_ok=True)


def _show_due(conn: sqlite3.Connection, at: float) -> None:
    """What was scheduled is seen from its time on: the ledger lists it with the rest."""
    conn.execute(
        "UPDATE ledger SET draft = 0 WHERE platform = 'facebook' AND draft = 1 AND publish_id IN ("
        " SELECT id FROM fb_videos WHERE state = 'SCHEDULED' AND publish_at <= ? AND verdict = 'ok'"
        " UNION SELECT publish_id FROM fb_posts WHERE publish_at <= ?)",
        (at, at),
    )


def _stale(conn: sqlite3.Connection, kept: int, at: float) -> list[Video]:
    found = videos.listed(
        conn,
        "file_gone = 0 AND (verdict IS NOT NULL AND id NOT IN (SELECT id FROM fb_videos WHERE verdict IS NOT NULL"
        " ORDER BY finished_at DESC LIMIT ?) OR finished_at IS NULL AND expires_at < ?)",
        (kept, at),
    )
    conn.executemany("UPDATE fb_videos SET file_gone = 1 WHERE id = ?", [(video.id,) for video in found])
    return found
