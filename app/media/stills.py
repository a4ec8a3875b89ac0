"""Pictures of a finished video: its poster in four sizes, and the small ones a player shows above its bar."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ffmpeg as compiler

from app.errors import Refused
from app.media import bounds, ffmpeg, graph
from app.media.cutting import remove
from app.media.grid import GROUP_S, Rate
from app.media.plan import Plan
from app.media.probe import MAX_PIXELS
from app.media.run import Run, run
from app.media.walls import Limits

StillName = Literal["small", "medium", "large"]
# Longest side of each still, in pixels.
STILLS: dict[StillName, int] = {"small": 320, "medium": 640, "large": 1280}
# The best place for a poster is past the beginning, which is often black.
POSTER_S = 3.0
POSTER_PART = 0.3
JPEG_QUALITY = 3
# A JPEG's colours are coded as those of small pictures and in full range (JFIF 1.02), whatever its size; how the
# video's are coded stands in the video.
AS_JPEG = {"out_color_matrix": "bt601", "out_range": "pc"}
# Small pictures lie on sheets of 25, and there are four sheets at most, however long the video is.
ACROSS, DOWN, MOST_SHEETS = 5, 5, 4
TILE_PX = 160
TILE_QUALITY = 5


@dataclass(frozen=True)
class Still:
    path: Path
    width: int
    height: int
    name: StillName


@dataclass(frozen=True)
class Poster:
    """One picture of a video, as large as the video and in three smaller sizes."""

    path: Path
    thumbnails: tuple[Still, ...]
    run: Run


@dataclass(frozen=True)
class Storyboard:
    """Sheets of small pictures, one every `every_s` seconds, along and then down."""

    sheets: tuple[Path, ...]
    tile_width_px: int
    tile_height_px: int
    every_s: int
    duration_s: float
    run: Run

    def vtt(self, addresses: Sequence[str]) -> str:
        """The WebVTT that says which part of which sheet shows which seconds; one address for each sheet."""
        lines = ["WEBVTT", ""]
        for tile in range(_tiles(self.duration_s, self.every_s)):
            sheet, place = divmod(tile, ACROSS * DOWN)
            down, across = divmod(place, ACROSS)
            start_s = tile * self.every_s
            until_s = min(start_s + self.every_s, self.duration_s)
            x, y = across * self.tile_width_px, down * self.tile_height_px
            lines += [
                f"{_clock(start_s)} --> {_clock(until_s)}",
                f"{addresses[sheet]}#xywh={x},{y},{self.tile_width_px},{self.tile_height_px}",
                "",
            ]
        return "\n".join(lines)


def still_sizes(width_px: int, height_px: int) -> dict[StillName, tuple[int, int]]:
    """Width and height of each thumbnail; none is larger than the video."""
    sizes: dict[StillName, tuple[int, int]] = {}
    for name, longest in STILLS.items():
        scale = min(1.0, longest / max(width_px, height_px))
        sizes[name] = (max(2, round(width_px * scale / 2) * 2), max(2, round(height_px * scale / 2) * 2))
    return sizes


def poster_frame(plan: Plan, poster_ms: int | None) -> int:
    """The frame of the whole that is the poster: the one shown at `poster_ms`, else one near the main clip's start."""
    if poster_ms is None:
        main_s = plan.rate.seconds(plan.main.frames)
        at_s = plan.main_start_s + min(POSTER_PART * main_s, POSTER_S)
    else:
        at_s = max(0, poster_ms) / 1000
    shown = math.floor(at_s * plan.rate.num / plan.rate.den + 1e-6)
    return min(max(0, shown), plan.grid.frames - 1)


async def poster(video: Path, frame: int, *, rate: Rate, size: tuple[int, int], into: Path) -> Poster:
    """The picture number `frame` of a video that we made, as poster.jpg and still-….jpg in the private folder `into`.

    Past the end it is the last one. Decodes from the key frame before it only. A second run writes over the first;
    when it fails nothing is left. Refused if there is no picture in the video.
    """
    made = {name: into / f"still-{name}.jpg" for name in STILLS}
    whole = into / "poster.jpg"
    at_s = max(0.0, rate.seconds(frame) - rate.seconds(1) / 2)
    begin: dict[str, Any] = {"ss": round(at_s, 6), "noaccurate_seek": None} if at_s > 1 else {}
    source = compiler.input(f"file:{video}", **_ours(), **begin)
    # The last picture is held for ever, so that there is one also where the sound lasts longer.
    held = source["v:0"].filter("tpad", stop=-1, stop_mode="clone")
    one = held.filter("trim", start=round(at_s, 6)).filter("trim", end_frame=1)
    four = one.filter("scale", *size, **AS_JPEG).filter("format", "yuvj420p").split()
    sizes = still_sizes(*size)
    outputs = [_jpeg(four[0], whole)]
    outputs += [
        _jpeg(four[at].filter("scale", *sizes[name]), path) for at, (name, path) in enumerate(made.items(), 1)
    ]
    try:
        ran = await _run(outputs, video, into, size)
        if not whole.is_file() or not whole.stat().st_size:
            raise Refused("This video cannot be read: there is no picture in it", code="unreadable_media")
    except BaseException:
        remove((whole, *made.values()))
        raise
    return Poster(whole, tuple(Still(path, *sizes[name], name) for name, path in made.items()), ran)


async def storyboard(video: Path, *, duration_s: float, size: tuple[int, int], into: Path) -> Storyboard:
    """Sheets storyboard-0.jpg… of the smallest rung, one file of its first bytes and all its segments.

    Only key frames are decoded. A second run writes over the first; when it fails nothing is left.
    """
    every_s = GROUP_S * max(1, math.ceil(duration_s / GROUP_S / (ACROSS * DOWN * MOST_SHEETS)))
    tiles = _tiles(duration_s, every_s)
    sheets = tuple(into / f"storyboard-{number}.jpg" for number in range(math.ceil(tiles / (ACROSS * DOWN))))
    scale = min(1.0, TILE_PX / max(size))
    width, height = (max(2, round(side * scale / 2) * 2) for side in size)
    shown = compiler.input(f"file:{video}", skip_frame="nokey", **_ours())["v:0"]
    # Rounded up, a picture stands for what comes after it: the tile at 6 s is the last key frame up to 6 s.
    shown = shown.filter("fps", fps=f"1/{every_s}", round="up", start_time=0).filter("trim", end_frame=tiles)
    shown = shown.filter("scale", width, height, **AS_JPEG).filter("format", "yuvj420p")
    shown = shown.filter("tile", f"{ACROSS}x{DOWN}")
    # The name is counted up by ffmpeg, so it must not hold the folder's name, which may have a % of its own.
    options = {
        "c:v": "mjpeg",
        "format": "image2",
        "start_number": 0,
        "q:v": TILE_QUALITY,
        "fps_mode": "passthrough",
    }
    output = compiler.output(shown, "file:storyboard-%d.jpg", **options)
    try:
        ran = await _run([output], video, into, size)
        if not all(sheet.is_file() for sheet in sheets):
            sheets = tuple(sheet for sheet in sheets if sheet.is_file())
            if not sheets:
                raise Refused("This video cannot be read: there is no picture in it", code="unreadable_media")
    except BaseException:
        remove(sheets)
        raise
    shown_s = min(duration_s, len(sheets) * ACROSS * DOWN * every_s)
    return Storyboard(sheets, width, height, every_s, shown_s, ran)


def _tiles(duration_s: float, every_s: int) -> int:
    return max(1, math.ceil(duration_s / every_s - 1e-6))


def _clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def _ours() -> dict[str, Any]:
    return {
        "protocol_whitelist": "file",
        "format_whitelist": "mov,mp4",
        "max_pixels": MAX_PIXELS,
        "an": None,
        **graph.threads(),
    }


def _jpeg(shown: Any, path: Path) -> Any:
    return compiler.output(
        shown,
        f"file:{path}",
        **{"c:v": "mjpeg", "frames:v": 1, "update": 1, "format": "image2", "q:v": JPEG_QUALITY},
    )


async def _run(outputs: Sequence[Any], video: Path, into: Path, size: tuple[int, int]) -> Run:
    program = (await asyncio.to_thread(ffmpeg.program)).path
    moving_s = video.stat().st_size / bounds.DISK_BYTES_A_SECOND
    wall_s = bounds.SHORTEST_WALL_S + moving_s
    pixels = size[0] * size[1]
    return await run(
        graph.compiled(program, outputs),
        limits=Limits(
            wall_s=wall_s,
            idle_s=60 + moving_s,
            cpu_s=math.ceil(bounds.CPU_A_WALL_SECOND * wall_s),
            address_bytes=bounds.address_bytes(pixels, pixels, 0, 1, tone_map=False),
        ),
        writable=into,
        readable=(video.resolve(),),
    )
