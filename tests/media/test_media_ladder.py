from __future__ import annotations

from itertools import pairwise

import pytest

from app.media.ladder import CLEARLY_SMALLER, ceiling_kbps, ladder


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((1920, 1080), [(1920, 1080), (1280, 720), (854, 480), (640, 360)]),
        ((1080, 1920), [(1080, 1920), (720, 1280), (480, 854), (360, 640)]),
        ((3840, 2160), [(3840, 2160), (2560, 1440), (1920, 1080), (1280, 720), (854, 480)]),
        ((1440, 1080), [(1440, 1080), (960, 720), (640, 480), (480, 360)]),
        # Too near to 1440, and to 480, to be worth one more.
        ((2560, 1440), [(2560, 1440), (1920, 1080), (1280, 720), (854, 480), (640, 360)]),
        ((960, 540), [(960, 540), (640, 360)]),
        ((640, 360), [(640, 360)]),
        ((4096, 360), [(4096, 360)]),
    ],
)
def test_the_rungs_of_usual_pictures(size: tuple[int, int], sizes: list[tuple[int, int]]) -> None:
    assert [(rung.width_px, rung.height_px) for rung in ladder(*size, 30.0)] == sizes


def test_no_rung_is_larger_than_the_picture_and_each_is_clearly_smaller_than_the_one_above() -> None:
    for width in range(360, 4097, 222):
        for height in range(360, 4097, 314):
            rungs = ladder(width, height, 25.0)
            assert (rungs[0].width_px, rungs[0].height_px) == (round(width / 2) * 2, round(height / 2) * 2)
            assert [rung.name for rung in rungs] == [f"v{number}" for number in range(len(rungs))]
            assert len(rungs) <= 5
            for above, below in pairwise(rungs):
                assert below.width_px < (CLEARLY_SMALLER + 0.01) * above.width_px
                assert below.maxrate_kbps < above.maxrate_kbps
            for rung in rungs:
                assert rung.width_px % 2 == rung.height_px % 2 == 0
                assert abs(rung.width_px / rung.height_px / (width / height) - 1) < 0.02


def test_most_rungs_may_be_fewer() -> None:
    assert [rung.name for rung in ladder(1920, 1080, 30.0, most=2)] == ["v0", "v1"]


@pytest.mark.parametrize(
    ("width", "height", "fps", "kbps"),
    [(1920, 1080, 30, 7800), (1280, 720, 24, 4500), (1920, 1080, 60, 11_700), (3840, 2160, 30, 22_600)],
)
def test_the_ceilings_are_those_of_the_table(width: int, height: int, fps: float, kbps: int) -> None:
    assert ceiling_kbps(width * height, fps) == kbps
