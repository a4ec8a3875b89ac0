"""What an expert types: the same outputs by one ffmpeg command, and by one command for each output.

Both take the sizes, the rate control, the preset and the geometry of the logo from `Wanted`, which is read from the
product's own plan: nobody is cheaper by doing less. The figures are the kernel's for the children that ended.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app import media
from app.media.ladder import Rung

STILLS = {"small": 320, "medium": 640, "large": 1280}
QUALITY, SHEET_QUALITY = 3, 5
NICE = 15


@dataclass(frozen=True)
class Wanted:
    """What both kinds of command make. `sheet` is the storyboard: seconds between cells, columns, rows, cell width."""

    source: Path
    logo: Path
    rungs: tuple[Rung, ...]
    preset: str
    quality: int | None
    video_kbps: int
    audio_kbps: int
    group_frames: int
    opacity: float
    logo_px: int
    margin_px: int
    poster_s: float
    sheet: tuple[float, int, int, int]

    @property
    def height_of(self) -> Callable[[int], int]:
        top = self.rungs[0]
        return lambda width_px: round(width_px * top.height_px / top.width_px / 2) * 2


@dataclass(frozen=True)
class Cost:
    """CPU seconds of all children, and the seconds it took."""

    cpu_s: float
    seconds: float
    runs: int


def one_command(wanted: Wanted, folder: Path) -> Cost:
    """The best single command: decode once, overlay once, scale and encode each rung once, every output from it."""
    (folder / "stream").mkdir(parents=True)
    rungs = wanted.rungs
    cell_s, columns, rows, cell_px = wanted.sheet
    # Scaled from the rung above: cheaper than each from the top, and what a person would do who counts cycles.
    graph = [
        f"{_logo(wanted)};[0:v]format=yuv420p[base];[base][logo]{_overlay(wanted)},split=3[v0][n1][still]"
    ]
    for number, rung in enumerate(rungs[1:], start=1):
        scaled = f"[n{number}]scale={rung.width_px}:{rung.height_px},"
        graph.append(f"{scaled}split[v{number}][n{number + 1}]")
    last = len(rungs)
    graph.append(
        f"[n{last}]fps=1/{cell_s:g},scale={cell_px}:{wanted.height_of(cell_px)},tile={columns}x{rows}[sheet]"
    )
    graph.append(f"[still]trim=start={wanted.poster_s},trim=end_frame=1,split=4[p][small][medium][large]")
    for name, width_px in STILLS.items():
        graph.append(f"[{name}]scale={width_px}:{wanted.height_of(width_px)}[s-{name}]")
    words = ["-i", wanted.source, "-i", wanted.logo, "-filter_complex", ";".join(graph)]
    for number in range(last):
        words += ["-map", f"[v{number}]"]
    words += ["-map", "0:a:0"]
    for number, rung in enumerate(rungs):
        words += _rate(wanted, rung, f":v:{number}")
    words += [
        *_encoder(wanted),
        *_sound(wanted),
        "-flags",
        "+global_header",
        "-map_metadata",
        -1,
        "-f",
        "tee",
    ]
    dash = (
        "f=dash:seg_duration=4:use_template=1:use_timeline=1:hls_playlist=1"
        r":adaptation_sets='id=0,streams=v id=1,streams=a'"
    )
    mp4 = r"f=mp4:movflags=+faststart:select=\'v:0,a:0\'"
    words.append(f"[{dash}]{folder}/stream/manifest.mpd|[{mp4}]{folder}/video.mp4")
    for label, name in (("[p]", "poster"), *((f"[s-{name}]", name) for name in STILLS)):
        words += ["-map", label, *_jpeg(1), folder / f"{name}.jpg"]
    words += ["-map", "[sheet]", *_jpeg(99, SHEET_QUALITY), folder / "sheet-%d.jpg"]
    return _cost([words])


def each_output(wanted: Wanted, folder: Path) -> Cost:
    """One command for each output, as programs do that grew output by output: the branded MP4 first, then HLS rung by
    rung, DASH, MP4, poster, three thumbnails and the storyboard, each from the branded one.
    """
    top = wanted.rungs[0]
    branded = folder / "branded.mp4"
    folder.mkdir(parents=True)
    graph = f"{_logo(wanted)};[0:v]format=yuv420p[base];[base][logo]{_overlay(wanted)}[out]"
    runs: list[list[object]] = [
        ["-i", wanted.source, "-i", wanted.logo, "-filter_complex", graph, "-map", "[out]", "-map", "0:a:0",
         *_encoder(wanted), *_rate(wanted, top), *_sound(wanted), "-movflags", "+faststart", branded],
    ]  # fmt: skip
    for rung in wanted.rungs:
        place = folder / rung.name
        place.mkdir()
        runs.append(
            ["-i", branded, "-vf", f"scale={rung.width_px}:{rung.height_px}", *_encoder(wanted),
             *_rate(wanted, rung), *_sound(wanted), "-f", "hls", "-hls_time", 4, "-hls_playlist_type", "vod",
             "-hls_segment_type", "fmp4", place / "media.m3u8"]
        )  # fmt: skip
    runs.append(_dash(wanted, branded, folder))
    runs.append(
        ["-i", branded, *_encoder(wanted), *_rate(wanted, top), *_sound(wanted), "-movflags", "+faststart",
         folder / "video.mp4"]
    )  # fmt: skip
    runs.append(["-ss", wanted.poster_s, "-i", branded, *_jpeg(1), folder / "poster.jpg"])
    for name, width_px in STILLS.items():
        small = f"scale={width_px}:{wanted.height_of(width_px)}"
        runs.append(["-ss", wanted.poster_s, "-i", branded, "-vf", small, *_jpeg(1), folder / f"{name}.jpg"])
    cell_s, columns, rows, cell_px = wanted.sheet
    cells = f"fps=1/{cell_s:g},scale={cell_px}:{wanted.height_of(cell_px)},tile={columns}x{rows}"
    runs.append(["-i", branded, "-vf", cells, *_jpeg(99, SHEET_QUALITY), folder / "sheet-%d.jpg"])
    return _cost(runs)


def _dash(wanted: Wanted, branded: Path, folder: Path) -> list[object]:
    """All rungs in one command: no program makes DASH otherwise."""
    place = folder / "dash"
    place.mkdir()
    labels = "".join(f"[i{number}]" for number in range(len(wanted.rungs)))
    graph = [f"[0:v]split={len(wanted.rungs)}{labels}"]
    words: list[object] = []
    for number, rung in enumerate(wanted.rungs):
        graph.append(f"[i{number}]scale={rung.width_px}:{rung.height_px}[v{number}]")
        words += ["-map", f"[v{number}]", *_rate(wanted, rung, f":v:{number}")]
    return [
        "-i", branded, "-filter_complex", ";".join(graph), *words, "-map", "0:a:0", *_encoder(wanted),
        *_sound(wanted), "-f", "dash", "-seg_duration", 4, "-adaptation_sets",
        "id=0,streams=v id=1,streams=a", place / "manifest.mpd",
    ]  # fmt: skip


def _logo(wanted: Wanted) -> str:
    return f"[1:v]scale={wanted.logo_px}:-2,format=yuva420p,colorchannelmixer=aa={wanted.opacity}[logo]"


def _overlay(wanted: Wanted) -> str:
    return f"overlay=x=W-w-{wanted.margin_px}:y=H-h-{wanted.margin_px}"


def _encoder(wanted: Wanted) -> list[object]:
    return [
        "-c:v", "libx264", "-profile:v", "high", "-preset", wanted.preset, "-pix_fmt", "yuv420p",
        "-g", wanted.group_frames, "-keyint_min", wanted.group_frames, "-sc_threshold", 0,
    ]  # fmt: skip


def _rate(wanted: Wanted, rung: Rung, stream: str = "") -> list[object]:
    ceiling: list[object] = [
        f"-maxrate{stream}",
        f"{rung.maxrate_kbps}k",
        f"-bufsize{stream}",
        f"{rung.bufsize_kbps}k",
    ]
    if wanted.quality is None:
        top = wanted.rungs[0].target_kbps
        return [f"-b{stream or ':v'}", f"{round(wanted.video_kbps * rung.target_kbps / top)}k"]
    return [f"-crf{stream}", wanted.quality, *ceiling]


def _sound(wanted: Wanted) -> list[object]:
    return ["-c:a", "aac", "-b:a", f"{wanted.audio_kbps}k", "-ac", 2, "-ar", 48_000]


def _jpeg(most: int, quality: int = QUALITY) -> list[object]:
    return ["-c:v", "mjpeg", "-q:v", quality, "-pix_fmt", "yuvj420p", "-frames:v", most, "-f", "image2"]


def _cost(runs: Sequence[Sequence[object]]) -> Cost:
    """As nice as the product's own runs: on a busy machine niceness alone changes what a command costs."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for words in runs:
        argv = [
            str(media.program().path),
            "-hide_banner",
            "-loglevel",
            "error",
            "-nostdin",
            "-y",
            *map(str, words),
        ]
        subprocess.run(argv, check=True, preexec_fn=_nice)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu_s, time.monotonic() - began, len(runs))


def _nice() -> None:
    os.nice(NICE)
