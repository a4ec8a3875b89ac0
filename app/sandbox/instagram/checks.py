"""What happens to a container's bytes: fetched or received, looked at with ffprobe, judged (sections 4.2 and 5).

Done when somebody first looks at the container, and written down: a kill in between loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from pathlib import Path

from app.sandbox.instagram import containers
from app.sandbox.instagram.containers import OK, Container
from app.sandbox.instagram.rules import (
    MOST_IMAGE_BYTES,
    MOST_VIDEO_BYTES,
    picture_problem,
    video_problem,
)
from app.sandbox.meta import fetch, look, store
from app.sandbox.meta.fetch import Unfetchable
from app.sandbox.world import World

VIDEO_TYPES = ("video/mp4", "video/quicktime")
# PNG is fetched and then refused as a picture that is no JPEG, which is another code than an unfetchable one.
PICTURE_TYPES = ("image/jpeg", "image/png")
# What an MP4 or MOV may begin with.
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
# The subcode for each way in which an address gives no file; the last four are field reports (section 6).
UNFETCHABLE = {
    "address": "2207052",
    "robots": "2207052",
    "unreachable": "2207052",
    "range": "2207076",
    "type": "2207077",
}


async def checked(world: World, container: Container) -> Container:
    """The container with its verdict, if its bytes can be had by now. Asked twice at once it looks once."""
    if container.verdict is None and container.published_at is None:
        looking = world.looking.get(container.id)
        if looking is None:
            looking = asyncio.get_running_loop().create_task(_look(world, container))
            world.looking[container.id] = looking
            looking.add_done_callback(lambda _: world.looking.pop(container.id, None))
        await asyncio.shield(looking)
    return await world.read(containers.by_id, container.id) or container


def received(world: World, container: Container) -> int:
    """How many of its bytes are here, or were before they were judged."""
    if container.source == "resumable" and container.finished_at is None:
        return store.received(world.files / container.file_name)
    return container.total_bytes or 0


async def check_all(world: World) -> None:
    """Look at what nobody has looked at yet. A file that cannot be probed now is left for the next time."""
    for container in await world.read(containers.undecided):
        try:
            await checked(world, container)
        except Exception:
            logging.getLogger(__name__).exception("the simulator could not probe a container")


async def _look(world: World, container: Container) -> None:
    try:
        await (
            _look_at_address(world, container)
            if container.source == "url"
            else _look_at_upload(world, container)
        )
    except FileNotFoundError:
        # Another process has looked at the same time, and was first: its verdict is written down.
        return


async def _look_at_address(world: World, container: Container) -> None:
    # Of this look alone: another process may fetch the same.
    path = world.files / f"{container.file_name}-{secrets.token_hex(6)}"
    try:
        reason = await _fetched(world, container, path) or await _judged(world, container, path)
        await world.write(containers.decide, container.id, reason or OK)
    finally:
        path.unlink(missing_ok=True)


async def _look_at_upload(world: World, container: Container) -> None:
    path = world.files / container.file_name
    reason = await _received(world, container, path)
    if reason == "incomplete":
        return
    reason = reason or await _judged(world, container, path)
    await world.write(containers.decide, container.id, reason or OK)
    _delete(path)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)


async def _fetched(world: World, container: Container, path: Path) -> str | None:
    """Get what stands at the address; gives the subcode when it cannot be had."""
    most = MOST_VIDEO_BYTES[container.surface] if container.video else MOST_IMAGE_BYTES
    types = VIDEO_TYPES if container.video else PICTURE_TYPES
    try:
        got = await fetch.fetch(
            container.url, path, most_bytes=most, types=types, trust=world.settings.pull_ca, robots=False
        )
        await world.write(containers.finish, container.id, got.bytes, got.sha256, world.clock())
        return await _cover_problem(world, container)
    except Unfetchable as failure:
        return UNFETCHABLE.get(failure.reason, "2207026" if container.video else "2207004")


async def _cover_problem(world: World, container: Container) -> str | None:
    if not container.cover_url:
        return None
    path = world.files / f"{container.file_name}-cover-{secrets.token_hex(6)}"
    try:
        got = await fetch.fetch(
            container.cover_url,
            path,
            most_bytes=MOST_IMAGE_BYTES,
            types=PICTURE_TYPES,
            trust=world.settings.pull_ca,
            robots=False,
        )
        return picture_problem("COVER", look.picture(path.read_bytes()), got.bytes)
    finally:
        path.unlink(missing_ok=True)


async def _received(world: World, container: Container, path: Path) -> str | None:
    """Whether the upload is complete; a kill between the last byte and its note is made good here."""
    if container.total_bytes is None or store.received(path) < container.total_bytes:
        return "incomplete"
    if container.finished_at is None:
        sha256 = await asyncio.to_thread(store.sha256_of, path)
        await world.write(containers.finish, container.id, container.total_bytes, sha256, world.clock())
    try:
        return await _cover_problem(world, container)
    except Unfetchable as failure:
        return UNFETCHABLE.get(failure.reason, "2207004")


async def _judged(world: World, container: Container, path: Path) -> str | None:
    size = store.received(path)
    if not container.video:
        return picture_problem(container.surface, look.picture(path.read_bytes()), size)
    seen = await look.seen(world, path)
    return video_problem(container.surface, seen, size, _index_first(path), container.thumb_offset)


def _index_first(path: Path) -> bool:
    """Whether the index stands first. A file that does not begin with a box is the probe's business alone."""
    with path.open("rb") as file:
        kind = file.read(8)[4:]
    return kind not in BOXES or look.moov_first(path)


async def sweep(world: World) -> None:
    """Let go of the bytes of uploads that nobody completed within a container's life."""
    for name in await world.write(containers.give_up, world.clock()):
        _delete(world.files / name)
