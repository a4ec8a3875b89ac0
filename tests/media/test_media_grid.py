from __future__ import annotations

import math
from itertools import pairwise

import pytest

from app.media.grid import Grid, Rate

RATES = [Rate(24), Rate(25), Rate(30), Rate(60), Rate(24000, 1001), Rate(30000, 1001), Rate(3333, 100)]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("seconds", [(0.1,), (2.0,), (2.1,), (30.02,), (3600.0,), (1.5, 61.0, 0.04)])
def test_segments_cover_every_frame_once_and_never_span_two_clips(
    rate: Rate, seconds: tuple[float, ...]
) -> None:
    grid = Grid(rate, tuple(max(1, rate.frames(length)) for length in seconds))
    spans = grid.spans()
    assert [span.number for span in spans] == list(range(len(spans)))
    assert spans[0].start_frame == 0
    for one, other in pairwise(spans):
        assert other.start_frame == one.start_frame + one.frames
        assert other.first_frame == (0 if other.clip != one.clip else one.first_frame + one.frames)
    for clip, frames in enumerate(grid.clip_frames):
        assert sum(span.frames for span in spans if span.clip == clip) == frames
    for span in spans:
        assert span.first_frame % grid.group_frames == 0
        assert span.start_ticks == span.start_frame * grid.frame_ticks
        assert span.start_s == pytest.approx(span.start_ticks / grid.timescale)
        assert span.frames < 2.2 * grid.group_frames


def test_the_first_segment_is_one_group_and_the_others_two() -> None:
    assert [span.frames for span in Grid(Rate(30), (300,)).spans()] == [60, 120, 120]
    # Three frames more are no segment of their own, eight are.
    assert [span.frames for span in Grid(Rate(30), (303,)).spans()] == [60, 120, 123]
    assert [span.frames for span in Grid(Rate(30), (308,)).spans()] == [60, 120, 120, 8]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_a_frame_is_a_whole_number_of_ticks(rate: Rate) -> None:
    grid = Grid(rate, (100,))
    assert grid.frame_ticks * rate.num == rate.den * grid.timescale
    assert 10_000 <= grid.timescale < 100_000


@pytest.mark.parametrize("length_s", [2, 5, 59, 61, 185, 600, 3600])
@pytest.mark.parametrize("part_s", [20.0, 60.0, math.inf])
def test_parts_are_the_opening_and_pieces_of_about_the_wanted_length(length_s: int, part_s: float) -> None:
    grid = Grid(Rate(30), (30 * length_s,))
    spans, parts = grid.spans(), grid.parts(part_s)
    assert parts[0] == (0, 0)
    assert [number for first, last in parts for number in range(first, last + 1)] == list(range(len(spans)))
    for first, last in parts[1:]:
        seconds = sum(spans[number].frames for number in range(first, last + 1)) / 30
        assert seconds <= max(1.5 * part_s, 6)
    if part_s == math.inf:
        assert len(parts) <= 2


def test_an_hour_of_thousandths_does_not_drift() -> None:
    rate = Rate(30000, 1001)
    assert rate.frames(3600) == 107_892
    assert rate.seconds(107_892) == pytest.approx(3600, abs=0.02)
