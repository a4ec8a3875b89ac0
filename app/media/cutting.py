"""Cuts what ffmpeg is writing into segments and hands each over while ffmpeg works on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import Retryable
from app.media.cmaf import Fragment, Growing, patched
from app.media.grid import GROUPS, Span
from app.media.plan import Plan
from app.media.run import Run

# How often what ffmpeg has written is looked at.
LOOK_EVERY_S = 0.1
# Fragments of one segment: two groups, and what is left of a clip.
FRAGMENTS = 4


@dataclass(frozen=True)
class Made:
    """A finished segment: the file of each track that has it. Its time counts in the ticks of those tracks."""

    number: int
    ticks: int
    start_ticks: int
    files: Mapping[str, Path]


OnSegment = Callable[[Made], Awaitable[None]]
OnInit = Callable[[str, bytes], Awaitable[None]]


@dataclass
class Told:
    """The first bytes of each track, told once; Retryable if a later run of the same call begins otherwise."""

    tell: OnInit | None
    inits: dict[str, bytes] = field(default_factory=dict)

    async def init(self, name: str, init: bytes) -> None:
        if name not in self.inits:
            self.inits[name] = init
            if self.tell is not None:
                await self.tell(name, init)
        elif self.inits[name] != init:
            raise Retryable(f"The pieces of {name} do not fit together", code="pieces_differ")


class PictureCutter:
    """Cuts the rungs of one run into segments, and hands each over when every rung has it."""

    def __init__(
        self,
        plan: Plan,
        spans: Sequence[Span],
        made: Mapping[str, Path],
        into: Path,
        on_segment: OnSegment,
        told: Told,
    ) -> None:
        self._plan = plan
        self._spans = spans
        self._exact = plan.clips[spans[0].clip].exact
        self._growing = {name: Growing(path) for name, path in made.items()}
        self._waiting: dict[str, list[Fragment]] = {name: [] for name in made}
        self._into = into
        self._on_segment = on_segment
        self._told = told
        self._at = 0
        self._ticks = spans[0].start_ticks
        self._begun = False
        self.frames = 0

    async def more(self, *, ended: bool) -> None:
        """Hand over what is finished by now; `ended`: nothing more will come."""
        for name, growing in self._growing.items():
            self._waiting[name] += await asyncio.to_thread(growing.take)
        await self._begin(ended=ended)
        while (count := self._count(ended=ended)) is not None:
            await self._hand_over(count)
        if ended and any(growing.init for growing in self._growing.values()):
            for growing in self._growing.values():
                await asyncio.to_thread(growing.check_ended)
            if len({len(waiting) for waiting in self._waiting.values()}) > 1:
                raise Retryable("The sizes of this video do not have the same pictures", code="pieces_differ")

    async def _begin(self, *, ended: bool) -> None:
        if self._begun or not all(self._waiting.values()):
            return
        self._begun = True
        for name, growing in self._growing.items():
            await self._told.init(name, growing.init or b"")

    def _count(self, *, ended: bool) -> int | None:
        """How many fragments make the next segment, the same in every rung; None: it is not whole yet."""
        counts = {self._fragments(waiting, ended=ended) for waiting in self._waiting.values()}
        return counts.pop() if len(counts) == 1 else None

    def _fragments(self, waiting: Sequence[Fragment], *, ended: bool) -> int | None:
        wanted = self._spans[self._at].frames if self._at < len(self._spans) else None
        frames = 0
        for count, fragment in enumerate(waiting, start=1):
            frames += fragment.samples
            if frames >= wanted if wanted is not None else count == GROUPS:
                return count
        return len(waiting) if ended and waiting and not self._exact else None

    async def _hand_over(self, count: int) -> None:
        number = self._spans[0].number + self._at
        files, lengths = {}, set()
        for name, waiting in self._waiting.items():
            taken, self._waiting[name] = waiting[:count], waiting[count:]
            frames = sum(fragment.samples for fragment in taken)
            lengths.add(frames)
            files[name] = self._into / f"{name}-{number:06}.m4s"
            await asyncio.to_thread(_write, files[name], taken, number, self._ticks)
        if len(lengths) != 1:
            raise Retryable("The sizes of this video do not have the same pictures", code="pieces_differ")
        frames = lengths.pop()
        ticks = frames * self._plan.grid.frame_ticks
        made = Made(number, ticks, self._ticks, files)
        self._at += 1
        self._ticks += ticks
        self.frames += frames
        await _give(self._on_segment, made)


class SoundCutter:
    """Hands over the segments of one sound track: each fragment is one."""

    def __init__(self, growing: Growing, name: str, into: Path, on_segment: OnSegment, told: Told) -> None:
        self._growing = growing
        self._name = name
        self._into = into
        self._on_segment = on_segment
        self._told = told
        self._number = 0
        self._ticks = 0

    async def more(self, *, ended: bool) -> None:
        for fragment in await asyncio.to_thread(self._growing.take):
            if self._number == 0:
                await self._told.init(self._name, self._growing.init or b"")
            path = self._into / f"{self._name}-{self._number:06}.m4s"
            await asyncio.to_thread(_write, path, [fragment], self._number, self._ticks)
            made = Made(self._number, fragment.ticks, self._ticks, {self._name: path})
            self._number += 1
            self._ticks += fragment.ticks
            await _give(self._on_segment, made)
        if ended:
            await asyncio.to_thread(self._growing.check_ended)


async def _give(on_segment: OnSegment, made: Made) -> None:
    try:
        await on_segment(made)
    finally:
        remove(made.files.values())


def _write(path: Path, fragments: Sequence[Fragment], number: int, ticks: int) -> None:
    with path.open("wb") as file:
        for at, fragment in enumerate(fragments):
            file.write(patched(fragment, sequence=number * FRAGMENTS + at + 1, base_ticks=ticks))
            ticks += fragment.ticks


async def cut_while(running: Coroutine[Any, Any, Run], cutters: Sequence[PictureCutter | SoundCutter]) -> Run:
    """Run ffmpeg to its end and cut what it writes meanwhile; whichever fails ends the other."""
    ffmpeg_run = asyncio.create_task(running)
    try:
        while not ffmpeg_run.done():
            await asyncio.wait({ffmpeg_run}, timeout=LOOK_EVERY_S)
            if not ffmpeg_run.done():
                for cutter in cutters:
                    await cutter.more(ended=False)
        ran = await ffmpeg_run
        for cutter in cutters:
            await cutter.more(ended=True)
        return ran
    finally:
        if not ffmpeg_run.done():
            ffmpeg_run.cancel()
            await asyncio.wait({ffmpeg_run})


def remove(paths: Iterable[Path]) -> None:
    """Away with these files, those that are gone already too."""
    for path in paths:
        path.unlink(missing_ok=True)


def link(real: Path, name: Path) -> Path:
    """A symbolic link, so that behind walls the original stays read-only; the name of the original may be anything."""
    with contextlib.suppress(FileNotFoundError):
        name.unlink()
    name.symlink_to(real.resolve(strict=True))
    return name
