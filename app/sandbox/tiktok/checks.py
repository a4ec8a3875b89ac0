"""What is checked once a post's bytes are in: container, codec, frame rate, size, length (section 5).

Done when somebody first looks at the post, and written down: a kill in between loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time

from app.sandbox.tiktok import posts
from app.sandbox.tiktok.posts import OK, Post
from app.sandbox.tiktok.rules import MOST_SECONDS
from app.sandbox.world import World, creator_of, fact

CONTAINERS = {"mp4", "mov", "webm"}
CODECS = {"h264", "hevc", "h265", "vp8", "vp9"}
PART_LIFETIME_S = 2 * 3600


async def checked(world: World, post: Post) -> Post:
    """The post with its verdict, if its bytes are complete. Asked twice at once it looks once."""
    if post.finished_at is not None and post.verdict is None:
        looking = world.looking.get(post.publish_id)
        if looking is None:
            looking = asyncio.get_running_loop().create_task(_look(world, post))
            world.looking[post.publish_id] = looking
            looking.add_done_callback(lambda _: world.looking.pop(post.publish_id, None))
        await asyncio.shield(looking)
    return await world.read(posts.by_publish_id, post.publish_id) or post


async def check_all(world: World) -> None:
    """Check what nobody has checked yet. A file that cannot be probed now is left for the next time."""
    for post in await world.read(posts.undecided):
        try:
            await checked(world, post)
        except Exception:
            logging.getLogger(__name__).exception("the simulator could not probe a post")


async def _look(world: World, post: Post) -> None:
    if post.kind in ("photo", "photo_inbox"):
        verdict, facts = OK, None  # each picture was looked at when it was pulled
    else:
        verdict, facts = await _looked_at(world, post)
    await world.write(posts.decide, post, verdict, facts, post.ready_at or world.clock())
    await sweep(world)


async def _looked_at(world: World, post: Post) -> tuple[str, tuple[float, int, int] | None]:
    probed = await world.probe(world.files / post.file_name)
    if probed is None:
        return "file_format_check_failed", None

    creator = await world.read(creator_of, post.creator_id)
    most_s = min(creator.switches.max_duration_s if creator else MOST_SECONDS, MOST_SECONDS)
    duration_s, fps = float(fact(probed, "duration_s") or 0), float(fact(probed, "fps") or 0)
    width_px, height_px = int(fact(probed, "width_px") or 0), int(fact(probed, "height_px") or 0)
    verdict = judged(
        str(fact(probed, "container") or ""),
        str(fact(probed, "video_codec") or ""),
        duration_s,
        fps,
        width_px,
        height_px,
        most_s,
    )
    return verdict, (duration_s, width_px, height_px)


def judged(
    container: str,
    video_codec: str,
    duration_s: float,
    fps: float,
    width_px: int,
    height_px: int,
    most_s: int,
) -> str:
    """`ok` or the fail_reason. `container` may be one name or ffmpeg's comma list. Pure."""
    if not CONTAINERS.intersection(container.lower().split(",")) or video_codec.lower() not in CODECS:
        return "file_format_check_failed"
    if duration_s <= 0 or duration_s > most_s:
        return "duration_check_failed"
    # Rates are measured quotients: a hundredth of a frame is no difference.
    if not 23 - 0.01 <= fps <= 60 + 0.01:
        return "frame_rate_check_failed"
    if not all(360 <= side <= 4096 for side in (width_px, height_px)):
        return "picture_size_check_failed"
    return OK


async def sweep(world: World) -> None:
    """Delete the bytes nobody will look at again: older finished files, dead uploads, orphaned parts."""
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
        "SELECT * FROM posts WHERE file_gone = 0 AND verdict IS NOT NULL AND id NOT IN ("
        " SELECT id FROM posts WHERE verdict IS NOT NULL AND finished_at IS NOT NULL"
        "  ORDER BY finished_at DESC LIMIT ?)"
        " UNION SELECT * FROM posts WHERE file_gone = 0 AND finished_at IS NULL AND expires_at < ?",
        (kept, at - PART_LIFETIME_S),
    )
    stale = [Post(**dict(row)) for row in rows]
    conn.executemany("UPDATE posts SET file_gone = 1 WHERE id = ?", [(post.id,) for post in stale])
    return [post.file_name for post in stale]
