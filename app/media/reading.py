"""Reads the description of a file that `ffmpeg -i` prints, as 5.1, 7.0 and 9.0 print it. Pure; runs nothing.

A file can put its own words into this text (titles, keys of tags), so only lines at the exact indent of
ffmpeg's own count, and a stream described twice is refused: one of the two is not from ffmpeg.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.errors import Refused

STREAM = re.compile(r"^  Stream #0:(\d+)(?:\[0x[0-9a-f]+\])?(?:\([^)]*\))?: (\w+): (.*)$")
DURATION = re.compile(
    r"^  Duration: (?:(\d+):(\d\d):(\d\d(?:\.\d+)?)|N/A)(?:,.*?bitrate: (?:(\d+) kb/s|N/A))?"
)
TURN = re.compile(r"^ {6,8}(?:Display Matrix|displaymatrix): rotation of (-?\d+(?:\.\d+)?) degrees")
CODEC = re.compile(r"^(\w+)(?: \(([^()/]+)\))?")
SIZE = re.compile(r"(?:^|, )(\d+)x(\d+)(?= \[|,|$)")
ASPECT = re.compile(r"SAR (\d+):(\d+)")
RATE = re.compile(r"([\d.]+)(k?) (fps|tbr)\b")
LAYOUTS = {
    "mono": 1, "stereo": 2, "downmix": 2, "2.1": 3, "3.0": 3, "3.0(back)": 3, "3.1": 4, "4.0": 4, "quad": 4,
    "quad(side)": 4, "4.1": 5, "5.0": 5, "5.0(side)": 5, "5.1": 6, "5.1(side)": 6, "hexagonal": 6, "6.0": 6,
    "6.1": 7, "7.0": 7, "7.1": 8, "7.1(wide)": 8, "octagonal": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One video stream as stored. `rotation` is clockwise; `aspect` that of a single pixel."""

    index: int
    codec: str
    profile: str | None
    pixel_format: str
    width_px: int
    height_px: int
    aspect: float | None
    fps: float | None
    nominal_fps: float | None
    interlaced: bool
    matrix: str | None
    transfer: str | None
    attached: bool
    rotation: int = 0


@dataclass(frozen=True)
class Sound:
    index: int
    codec: str
    profile: str | None
    channels: int
    rate_hz: int | None


@dataclass(frozen=True)
class Streams:
    """The whole description. `counted_fps` is filled in by whoever walked through the file."""

    container: str
    duration_s: float | None
    bitrate_kbps: int | None
    count: int
    pictures: tuple[Picture, ...]
    sounds: tuple[Sound, ...]
    counted_fps: float | None = None


def read(lines: Sequence[str]) -> Streams:
    """The streams that these lines describe; Refused if two lines claim to be the same stream."""
    container = ""
    durations: list[re.Match[str]] = []
    seen: list[int] = []
    pictures: list[Picture] = []
    sounds: list[Sound] = []
    last_is_picture = False
    for line in lines:
        if line.startswith("Input #0, ") and not container:
            container = line.removeprefix("Input #0, ").partition(", from ")[0]
        elif found := DURATION.match(line):
            durations.append(found)
        elif found := STREAM.match(line):
            index, kind, words = int(found[1]), found[2], found[3]
            seen.append(index)
            last_is_picture = kind == "Video"
            if kind == "Video":
                pictures.append(_picture(index, words))
            elif kind == "Audio":
                sounds.append(_sound(index, words))
        elif last_is_picture and (found := TURN.match(line)):
            # ffmpeg counts against the clock.
            turned = round(-float(found[1]) / 90) * 90 % 360
            pictures[-1] = replace(pictures[-1], rotation=turned)
    if len(set(seen)) != len(seen) or len(durations) > 1:
        raise Refused("This video cannot be read: it describes itself twice", code="unreadable_media")
    duration = durations[0] if durations else None
    return Streams(
        container=container,
        duration_s=_seconds(duration),
        bitrate_kbps=int(duration[4]) if duration and duration[4] else None,
        count=len(seen),
        pictures=tuple(pictures),
        sounds=tuple(sounds),
    )


def _seconds(found: re.Match[str] | None) -> float | None:
    if found is None or found[1] is None:
        return None
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return seconds or None


def _picture(index: int, words: str) -> Picture:
    codec = CODEC.match(words)
    # "h264 (High) (avc1 / 0x31637661), yuv420p(tv, bt709, progressive), 1920x1080 [SAR 1:1 DAR 16:9], …"
    form = re.search(r", (\w+)(?:\(([^)]*)\))?, ", words)
    about = [part.strip() for part in (form[2] or "").split(",")] if form else []
    colours = next((part for part in about if "/" in part), "")
    matrix, transfer = colours.split("/")[0], colours.split("/")[-1]
    single = next((part for part in about if part.startswith(("bt", "smpte", "gbr", "fcc"))), None)
    size, aspect = SIZE.search(words), ASPECT.search(words)
    rates = {name: float(number) * (1000 if kilo else 1) for number, kilo, name in RATE.findall(words)}
    return Picture(
        index=index,
        codec=codec[1] if codec else "unknown",
        profile=codec[2] if codec else None,
        pixel_format=form[1] if form else "unknown",
        width_px=int(size[1]) if size else 0,
        height_px=int(size[2]) if size else 0,
        aspect=int(aspect[1]) / int(aspect[2]) if aspect and int(aspect[1]) and int(aspect[2]) else None,
        fps=rates.get("fps") or None,
        nominal_fps=rates.get("tbr") or None,
        interlaced=any(part.startswith(("top ", "bottom ")) for part in about),
        matrix=_known(matrix or single),
        transfer=_known(transfer or single),
        attached="(attached pic)" in words or "(still image)" in words,
    )


def _sound(index: int, words: str) -> Sound:
    codec = CODEC.match(words)
    parts = [part.strip() for part in words.split(",")]
    rate = next((int(part.split()[0]) for part in parts if re.fullmatch(r"\d+ Hz", part)), None)
    channels = 0
    for part in parts:
        if part in LAYOUTS:
            channels = LAYOUTS[part]
        elif counted := re.match(r"(\d+) channels", part):
            channels = int(counted[1])
    return Sound(index, codec[1] if codec else "unknown", codec[2] if codec else None, channels, rate)


def _known(name: str | None) -> str | None:
    return None if name in (None, "", "unknown", "reserved") else name
