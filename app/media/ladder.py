"""The sizes one video is made in, and how many bits each may use. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

SHORT_SIDES_PX = (1440, 1080, 720, 480, 360)
# A size between 1080 and 2160 helps only where there is 2160.
ONLY_UNDER_PX = {1440: 2160}
# A size nearer than this to the one above only costs.
CLEARLY_SMALLER = 0.85
MOST_RUNGS = 5
# Pixels of a picture and kbit/s at up to 30 frames a second: the H.264 rows of the HLS Authoring Specification for
# Apple Devices (bit rates of variants), the highest row of each size. It has none for H.264 above 1080p: there its
# H.265 rows, raised as its H.264 rows lie above its H.265 rows at 1080p (7800 to 5800).
RATES_KBPS = (
    (768 * 432, 1100),
    (960 * 540, 2000),
    (1280 * 720, 4500),
    (1920 * 1080, 7800),
    (2560 * 1440, 10_900),
    (3840 * 2160, 22_600),
)
# More pictures a second cost more, but not as many times more: they differ less.
FAST_FPS = 32.0
FAST_COSTS = 1.5
BUFFER_S = 2


@dataclass(frozen=True)
class Rung:
    """One size of a video. Its bits stay below `maxrate_kbps` over `bufsize_kbps`; `target_kbps` is what a fixed
    rate would be. `name` is that of its track: v0 is the largest.
    """

    name: str
    width_px: int
    height_px: int
    maxrate_kbps: int
    bufsize_kbps: int
    target_kbps: int


def ladder(width_px: int, height_px: int, fps: float, *, most: int = MOST_RUNGS) -> tuple[Rung, ...]:
    """The sizes worth making of a picture this large, tallest first; the first is the picture's own.

    Below it the usual short sides, each clearly smaller than the one above, in the same shape and even.
    """
    short = min(width_px, height_px)
    sides = [short]
    for side in SHORT_SIDES_PX:
        if side < CLEARLY_SMALLER * sides[-1] and short >= ONLY_UNDER_PX.get(side, 0):
            sides.append(side)
    return tuple(
        _rung(number, *_sized(width_px, height_px, side / short), fps)
        for number, side in enumerate(sides[:most])
    )


def ceiling_kbps(pixels: int, fps: float) -> int:
    """The most bits a second that a picture of this many pixels needs, between the rows of the table."""
    rate = float(RATES_KBPS[0][1]) * min(1.0, max(0.25, pixels / RATES_KBPS[0][0]))
    for (less, low), (more, high) in pairwise(RATES_KBPS):
        if pixels > less:
            rate = low + (high - low) * min(1.0, (pixels - less) / (more - less))
    if pixels > RATES_KBPS[-1][0]:
        rate = RATES_KBPS[-1][1] * pixels / RATES_KBPS[-1][0]
    return round(rate * (FAST_COSTS if fps > FAST_FPS else 1.0) / 10) * 10


def _sized(width_px: int, height_px: int, scale: float) -> tuple[int, int]:
    return max(2, round(width_px * scale / 2) * 2), max(2, round(height_px * scale / 2) * 2)


def _rung(number: int, width_px: int, height_px: int, fps: float) -> Rung:
    most = ceiling_kbps(width_px * height_px, fps)
    return Rung(f"v{number}", width_px, height_px, most, BUFFER_S * most, most)
