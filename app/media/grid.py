"""The one time grid that every piece of a video is made on: frames, groups of pictures, segments, parts. Pure.

A clip's key frames stand every 2 s from its own beginning. A segment is made of whole groups and never spans two
clips, so whoever makes it needs one clip only; all sizes have the same segments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

GROUP_S = 2
# The first segment is one group, so that playing can begin soon.
FIRST_GROUPS, GROUPS = 1, 2
# Ticks in a second are at least this many, doubled from the rate, as other programs have it.
LEAST_TICKS = 10_000
# What is left of a clip and shorter than this part of a group joins the segment before it.
TOO_SHORT = 8


@dataclass(frozen=True)
class Rate:
    """Frames a second, exact."""

    num: int
    den: int = 1

    def __float__(self) -> float:
        return self.num / self.den

    def __str__(self) -> str:
        return f"{self.num}/{self.den}"

    def frames(self, seconds: float) -> int:
        """The whole number of frames nearest to this many seconds."""
        return round(Fraction(seconds).limit_denominator(1_000_000) * self.num / self.den)

    def seconds(self, frames: int) -> float:
        return frames * self.den / self.num


@dataclass(frozen=True)
class Span:
    """One segment: `frames` pictures of clip number `clip`, from `first_frame` of that clip on.

    It stands `start_frame` frames (`start_s` seconds, `start_ticks` ticks) from the beginning of the whole.
    """

    number: int
    clip: int
    first_frame: int
    frames: int
    start_frame: int
    start_s: float
    start_ticks: int


@dataclass(frozen=True)
class Grid:
    """Clips of so many frames each, one behind the other."""

    rate: Rate
    clip_frames: tuple[int, ...]

    @property
    def group_frames(self) -> int:
        """Frames from one key frame to the next."""
        return max(1, round(GROUP_S * self.rate.num / self.rate.den))

    @property
    def timescale(self) -> int:
        """Ticks a second of every picture track; a frame is a whole number of them."""
        return self.rate.num << max(0, math.ceil(math.log2(LEAST_TICKS / self.rate.num)))

    @property
    def frame_ticks(self) -> int:
        return self.rate.den * (self.timescale // self.rate.num)

    @property
    def frames(self) -> int:
        return sum(self.clip_frames)

    @property
    def duration_s(self) -> float:
        return self.rate.seconds(self.frames)

    @cached_property
    def _spans(self) -> tuple[Span, ...]:
        return tuple(self._made())

    def spans(self) -> tuple[Span, ...]:
        """Every segment of the whole, in order; their numbers are their places here."""
        return self._spans

    def parts(self, part_s: float) -> tuple[tuple[int, int], ...]:
        """First and last segment of each piece of work: the opening alone, then pieces of about `part_s` each.

        A piece holds whole segments and is at most a quarter longer than `part_s`; `math.inf` makes one of the rest.
        """
        spans = self.spans()
        parts = [(0, 0)]
        rest = spans[1:]
        if not rest:
            return tuple(parts)
        rest_s = self.duration_s - rest[0].start_s
        count = max(1, round(rest_s / part_s)) if part_s < math.inf else 1
        first = 1
        for number in range(1, count + 1):
            until_s = rest[0].start_s + rest_s * number / count
            last = max((span.number for span in rest if span.start_s < until_s - 0.5), default=first)
            last = spans[-1].number if number == count else last
            if last >= first:
                parts.append((first, last))
                first = last + 1
        return tuple(parts)

    def _made(self) -> Iterator[Span]:
        number = before = 0
        for clip, frames in enumerate(self.clip_frames):
            first = 0
            while first < frames:
                groups = GROUPS if number else FIRST_GROUPS
                taken = min(groups * self.group_frames, frames - first)
                if (frames - first - taken) * TOO_SHORT < self.group_frames:
                    taken = frames - first
                start = before + first
                yield Span(
                    number,
                    clip,
                    first,
                    taken,
                    start,
                    self.rate.seconds(start),
                    start * self.frame_ticks,
                )
                number += 1
                first += taken
            before += frames
