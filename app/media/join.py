"""Puts finished pieces together into one MP4 with its index first: packets are moved, nothing is encoded."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg as compiler

from app.media import bounds, ffmpeg
from app.media.cutting import Made, link, remove
from app.media.plan import Plan
from app.media.probe import MAX_PIXELS, Probe
from app.media.probe import probe as look
from app.media.run import OnProgress, Run, run
from app.media.walls import Limits

NAME = "branded.mp4"
WITHOUT_WORDS = {
    "format": "mp4",
    "movflags": "+faststart",
    "map_metadata": -1,
    "map_chapters": -1,
    "c": "copy",
}


@dataclass(frozen=True)
class Joined:
    """The MP4, looked at."""

    path: Path
    bytes: int
    probe: Probe
    run: Run


class Pieces:
    """Takes what `encode` hands over and keeps each track as one file, for whoever needs no segments."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._names: set[str] = set()

    def path(self, track: str) -> Path:
        return self._into / f"whole-{track}.mp4"

    async def init(self, track: str, init: bytes) -> None:
        self._names.add(track)
        self.path(track).write_bytes(init)

    async def segment(self, made: Made) -> None:
        for track, piece in made.files.items():
            await asyncio.to_thread(append, piece, self.path(track))

    def remove(self) -> None:
        remove(self.path(track) for track in self._names)


async def join(
    plan: Plan,
    top: Sequence[Path],
    sound: Sequence[Path] | None,
    *,
    into: Path,
    on_progress: OnProgress | None = None,
) -> Joined:
    """One MP4 of the top rung's own packets and the first sound's: each the first bytes and all segments, in order.

    A track that is one file is read where it is; several are copied together first, so the private folder `into`
    must have room for them twice. May run again in the same folder; when it fails nothing of it is left.
    """
    picture = await _in_one(top, into / "joined-picture.mp4")
    heard = await _in_one(sound, into / "joined-sound.mp4") if sound else None
    try:
        streams = [_opened(picture)["0"], *([_opened(heard)["0"]] if heard else ())]
        readable = [path for path in (picture, heard) if path]
        return await _muxed(plan, streams, readable, into, on_progress)
    finally:
        remove(path for path in (picture, heard) if path and path not in (*top, *(sound or ())))


async def copied(
    plan: Plan,
    source: Path,
    sound: Path | None,
    *,
    into: Path,
    on_progress: OnProgress | None = None,
) -> Joined:
    """The MP4 of a video that fits as it is: the source's own picture packets, with this sound or its own."""
    clip = plan.main
    staged = link(source, into / "in-main")
    opened = compiler.input(
        f"file:{staged}", protocol_whitelist="file", format_whitelist=clip.formats, max_pixels=MAX_PIXELS
    )
    streams = [opened[str(clip.video_index)]]
    readable = [source.resolve()]
    if sound is not None:
        streams.append(_opened(sound)["0"])
        readable.append(sound)
    elif plan.sounds and clip.sounds[0] is not None:
        streams.append(opened[str(clip.sounds[0])])
    try:
        return await _muxed(plan, streams, readable, into, on_progress)
    finally:
        remove([staged])


def appended(pieces: Iterable[Path], path: Path) -> Path:
    """The first bytes of a track and its segments as one file, which any program reads."""
    path.write_bytes(b"")
    for piece in pieces:
        append(piece, path)
    return path


def append(piece: Path, path: Path) -> None:
    """Put this file's bytes behind those of another."""
    with path.open("ab") as whole, piece.open("rb") as part:
        shutil.copyfileobj(part, whole, bounds.MIB)


async def _in_one(pieces: Sequence[Path], path: Path) -> Path:
    return pieces[0] if len(pieces) == 1 else await asyncio.to_thread(appended, pieces, path)


def _opened(path: Path) -> Any:
    return compiler.input(f"file:{path}", protocol_whitelist="file", format_whitelist="mov,mp4")


async def _muxed(
    plan: Plan, streams: Sequence[Any], readable: Sequence[Path], into: Path, on_progress: OnProgress | None
) -> Joined:
    path = into / NAME
    size = sum(place.stat().st_size for place in readable)
    program = (await asyncio.to_thread(ffmpeg.program)).path
    argv = compiler.compile(
        compiler.output(*streams, f"file:{path}", **WITHOUT_WORDS).overwrite_output(), cmd=str(program)
    )
    # Read, written, and moved once more to make room for the index.
    moving_s = 3 * size / bounds.DISK_BYTES_A_SECOND
    wall_s = bounds.SHORTEST_WALL_S + moving_s
    try:
        ran = await run(
            [str(word) for word in argv],
            limits=Limits(
                wall_s=wall_s,
                idle_s=60 + moving_s,
                cpu_s=math.ceil(wall_s),
                file_bytes=2 * size + 100 * bounds.MIB,
            ),
            writable=into,
            readable=readable,
            duration_s=plan.duration_s,
            on_progress=on_progress,
        )
        return Joined(path, path.stat().st_size, await look(path), ran)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
