"""Eyes and ears of the golden set: what a decoder makes of a file, measured."""

from __future__ import annotations

import array
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from tests.media.clips import ffmpeg

Colour = tuple[int, int, int]
HEARD_RATE_HZ = 8000


@dataclass(frozen=True)
class Looked:
    """What a decoder makes of a file: every picture counted, colours in 0 to 255, times in seconds from zero."""

    frames: int
    first_s: float
    fps: float
    uneven_steps: int
    corners: tuple[Colour, ...]
    flash_s: float | None
    beep_s: float | None
    tone_hz: float
    sound_s: float


def numbers(path: Path) -> list[int]:
    """The number that each picture of a numbered video tells."""
    raw = ffmpeg("-i", path, "-an", "-vf", "scale=8:2:flags=area,format=gray", "-fps_mode", "passthrough",
                 "-f", "rawvideo", "-")  # fmt: skip
    return [sum((raw[at + bit] > 128) << bit for bit in range(8)) for at in range(0, len(raw), 16)]


def look(path: Path, folder: Path, *, sound: bool) -> Looked:
    """Decode all of it, once, with the decoder's own times."""
    drawn, times, heard = folder / "looked.rgb", folder / "looked.times", folder / "looked.pcm"
    ffmpeg(
        *("-copyts", "-i", path, "-filter_complex", "[0:v:0]scale=16:16:flags=area,format=rgb24,split[a][b]"),
        *("-map", "[a]", "-fps_mode", "passthrough", "-f", "rawvideo", drawn),
        *("-map", "[b]", "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "framecrc", times),
        *(
            ("-map", "0:a:0", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", str(HEARD_RATE_HZ),
             "-f", "s16le", heard)
            if sound
            else ()
        ),
    )  # fmt: skip
    stamps = [
        int(line.split(",")[2]) / 90_000
        for line in times.read_text().splitlines()
        if line and not line.startswith("#")
    ]
    pictures = drawn.read_bytes()
    shown = [pictures[at : at + 768] for at in range(0, len(pictures), 768)]
    steps = [late - early for early, late in pairwise(stamps)]
    usual_s = sorted(steps)[len(steps) // 2] if steps else 0.0
    bright = [stamp for stamp, picture in zip(stamps, shown, strict=True) if min(_at(picture, 8, 8)) > 128]
    dark = any(max(_at(picture, 8, 8)) < 128 for picture in shown)
    looked = Looked(
        frames=len(shown),
        first_s=stamps[0] if stamps else 0.0,
        fps=(len(steps) / (stamps[-1] - stamps[0])) if steps else 0.0,
        uneven_steps=sum(abs(step - usual_s) > usual_s / 10 for step in steps),
        corners=tuple(_at(shown[len(shown) // 2], x, y) for y in (3, 12) for x in (3, 12)) if shown else (),
        flash_s=bright[0] if bright and dark else None,
        beep_s=None,
        tone_hz=0.0,
        sound_s=0.0,
    )
    return _heard(looked, heard) if sound else looked


def _at(picture: bytes, x: int, y: int) -> Colour:
    at = 3 * (16 * y + x)
    return picture[at], picture[at + 1], picture[at + 2]


def _heard(looked: Looked, path: Path) -> Looked:
    wave = array.array("h", path.read_bytes())
    looked = replace(looked, sound_s=len(wave) / HEARD_RATE_HZ)
    loud = max((abs(value) for value in wave), default=0) // 4
    start = next((at for at, value in enumerate(wave) if abs(value) > max(loud, 300)), None)
    if start is None:
        return looked
    piece = wave[start + HEARD_RATE_HZ // 20 : start + HEARD_RATE_HZ // 4]
    rises = sum(before < 0 <= after for before, after in pairwise(piece))
    hz = rises * HEARD_RATE_HZ / max(1, len(piece))
    return replace(looked, beep_s=start / HEARD_RATE_HZ, tone_hz=hz)
