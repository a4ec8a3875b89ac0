"""PULL_FROM_URL: the platform fetches the media itself, follows no redirect, for up to an hour (section 4.5).

A pull runs in the process that was asked; if that one dies, the next look at the post starts it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sqlite3
import ssl
from pathlib import Path

import httpx2

from app.sandbox.tiktok import posts
from app.sandbox.tiktok.pictures import picture_problem
from app.sandbox.tiktok.posts import Post
from app.sandbox.tiktok.rules import MOST_VIDEO_BYTES
from app.sandbox.world import World

MOST_PICTURE_BYTES = 20_000_000


class Unreachable(Exception):
    """The media cannot be had; the message is the fail_reason."""


def start(world: World, post: Post) -> None:
    """Begin or go on fetching in the background. Called again while it runs it does nothing."""
    if post.publish_id not in world.pulls:
        task = asyncio.get_running_loop().create_task(_pull(world, post))
        world.pulls[post.publish_id] = task
        task.add_done_callback(lambda _: world.pulls.pop(post.publish_id, None))


async def _pull(world: World, post: Post) -> None:
    whole = hashlib.sha256()
    size = 0
    part = world.files / f"part-{secrets.token_hex(12)}"
    photo = post.kind in ("photo", "photo_inbox")
    try:
        for url in json.loads(post.urls):
            size += await _fetched(
                world, post, url, part, whole, MOST_PICTURE_BYTES if photo else MOST_VIDEO_BYTES
            )
            problem = picture_problem(part) if photo else None
            if problem is not None:
                raise Unreachable(problem)
        if not photo:
            part.replace(world.files / post.file_name)
        await world.write(_finish, world, post, size, whole.hexdigest())
    except Unreachable as failure:
        await world.write(posts.decide, post, str(failure), None, world.clock())
    finally:
        part.unlink(missing_ok=True)


def _finish(conn: sqlite3.Connection, world: World, post: Post, size: int, sha256: str) -> None:
    now = posts.by_publish_id(conn, post.publish_id)
    if now is not None and now.finished_at is None and now.verdict is None:
        posts.finish(conn, world, now, size, sha256, world.clock())


async def _fetched(
    world: World, post: Post, url: str, part: Path, whole: hashlib._Hash, most_bytes: int
) -> int:
    failed = Unreachable("photo_pull_failed" if post.kind.startswith("photo") else "video_pull_failed")
    trust = ssl.create_default_context(cafile=world.settings.pull_ca)
    size = 0
    try:
        async with (
            httpx2.AsyncClient(trust_env=False, verify=trust, timeout=30) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                raise failed
            with part.open("wb") as file:
                async for piece in answer.aiter_raw():
                    size += len(piece)
                    if size > most_bytes or world.clock() > post.expires_at:
                        raise failed
                    file.write(piece)
                    whole.update(piece)
    except httpx2.HTTPError as cause:
        raise failed from cause
    if size == 0:
        raise failed
    return size
