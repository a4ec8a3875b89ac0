"""Writes the ffmpeg command: one graph that decodes once and ends in the video, its poster and its thumbnails.

ffmpeg-python is used as a compiler from graph to arguments only; it quotes every value of a filter.
No word of a person stands in the command: titles come in through a file, numbers are numbers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ffmpeg as compiler

from app.config import Config
from app.media.design import Design, Watermark
from app.media.lettering import FONTS
from app.media.plan import Plan
from app.media.probe import MAX_PIXELS, Probe

StillName = Literal["small", "medium", "large"]
# Longest side of each still, in pixels.
STILLS: dict[StillName, int] = {"small": 320, "medium": 640, "large": 1280}
FADE_S = 1.0
AUDIO_RATE_HZ = 48_000
KEY_FRAME_S = 2.0
JPEG_QUALITY = 3
# More threads than this bring little and each takes its own memory.
MOST_THREADS = 8


@dataclass(frozen=True)
class Files:
    """Everything one run reads and writes; all of it inside its own private folder."""

    source: Path
    source_formats: str
    logo: Path | None
    logo_format: str | None
    lettering: Path | None
    video: Path
    poster: Path
    stills: Mapping[StillName, Path]


@dataclass(frozen=True)
class Still:
    path: Path
    width: int
    height: int
    name: StillName


def command(
    program: Path, plan: Plan, design: Design, files: Files, probe: Probe, config: Config, poster_s: float
) -> list[str]:
    """The whole command line, the program first, without the runner's global options."""
    source = compiler.input(
        f"file:{files.source}",
        protocol_whitelist="file",
        format_whitelist=files.source_formats,
        max_pixels=MAX_PIXELS,
        **_threads(config),
    )
    picture = _picture(source[str(probe.video_index)], plan, design, files, probe)
    if plan.copy_video:
        shown, poster = source[str(probe.video_index)], picture
    else:
        both = picture.split()
        shown, poster = both[0], both[1]
    streams = [shown]
    if probe.audio_index is not None:
        streams.append(_sound(source[str(probe.audio_index)], plan, design, probe))
    made = [
        compiler.output(*streams, f"file:{files.video}", **_video_options(plan, probe, config)),
        *_still_outputs(poster, plan, files, poster_s),
    ]
    whole = compiler.merge_outputs(*made).overwrite_output()
    if threads := _threads(config):
        whole = whole.global_args("-filter_complex_threads", str(threads["threads"]))
    return [str(word) for word in compiler.compile(whole, cmd=str(program))]


def still_sizes(plan: Plan) -> dict[StillName, tuple[int, int]]:
    """Width and height of each thumbnail; none is larger than the video."""
    width, height = plan.canvas
    sizes: dict[StillName, tuple[int, int]] = {}
    for name, longest in STILLS.items():
        scale = min(1.0, longest / max(width, height))
        sizes[name] = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    return sizes


def _threads(config: Config) -> dict[str, int]:
    """FFMPEG_THREADS, else ffmpeg's own choice, but for large machines: its choice there breaks the memory limit."""
    count = config.ffmpeg_threads or (MOST_THREADS if (os.cpu_count() or 1) > MOST_THREADS else 0)
    return {"threads": count} if count else {}


def _picture(source: Any, plan: Plan, design: Design, files: Files, probe: Probe) -> Any:
    """The finished picture. ffmpeg has turned it upright before the graph begins."""
    shown = source
    if plan.deinterlace:
        shown = shown.filter("yadif")
    if plan.fps and not plan.copy_video:
        shown = shown.filter("fps", fps=plan.fps)
    if plan.tone_map:
        shown = _tone_mapped(shown)
    shown = shown.filter("scale", plan.width_px, plan.height_px, out_range="tv").filter("setsar", 1)
    shown = shown.filter("format", "yuv420p")
    if "blur-fill" in design.effects:
        shown = _blur_filled(shown, plan)
    elif plan.padded:
        shown = shown.filter("pad", *plan.canvas, "(ow-iw)/2", "(oh-ih)/2")
    if "grayscale" in design.effects:
        shown = shown.filter("hue", s=0)
    if design.watermark and files.logo:
        shown = _marked(shown, design.watermark, plan, files, probe)
    if files.lettering:
        shown = shown.filter("ass", filename=str(files.lettering), fontsdir=str(FONTS))
    for kind, start_s, length_s in _fades(design, probe):
        shown = shown.filter("fade", type=kind, start_time=start_s, duration=length_s)
    return shown


def _tone_mapped(shown: Any) -> Any:
    """HDR to ordinary colours; without this it looks grey and dull."""
    return (
        shown.filter("zscale", transfer="linear", npl=100)
        .filter("format", "gbrpf32le")
        .filter("zscale", primaries="bt709")
        .filter("tonemap", "hable", desat=0)
        .filter("zscale", transfer="bt709", matrix="bt709", range="tv")
        .filter("format", "yuv420p")
    )


def _blur_filled(shown: Any, plan: Plan) -> Any:
    """The picture in the middle of a tall frame, before a blurred copy of itself.

    The copy is blurred small and enlarged, which looks the same and costs a sixteenth.
    """
    width, height = plan.canvas
    both = shown.split()
    behind = (
        both[0]
        .filter("scale", width // 4, height // 4, force_original_aspect_ratio="increase")
        .filter("crop", width // 4, height // 4)
        .filter("gblur", sigma=8)
        .filter("scale", width, height)
        .filter("setsar", 1)
    )
    return compiler.overlay(behind, both[1], x="(W-w)/2", y="(H-h)/2")


def _marked(shown: Any, mark: Watermark, plan: Plan, files: Files, probe: Probe) -> Any:
    """The logo in its place. Its margin counts in the pixels of the video that is made."""
    width, height = plan.canvas
    margin = min(mark.margin_px, width // 3, height // 3)
    wide, tall = max(2, round(width * mark.scale)), height - 2 * margin
    logo = compiler.input(
        f"file:{files.logo}", protocol_whitelist="file", format=files.logo_format, max_pixels=MAX_PIXELS
    )
    logo = logo.video.filter(
        "scale",
        min(wide, width - 2 * margin),
        tall,
        force_original_aspect_ratio="decrease",
        out_color_matrix=_matrix(probe, plan),
    ).filter("format", "yuva420p")
    if mark.opacity < 1:
        logo = logo.filter("colorchannelmixer", aa=round(mark.opacity, 3))
    along, down = _place(mark.position)
    return compiler.overlay(
        shown,
        logo,
        x={"start": str(margin), "middle": "(W-w)/2", "end": f"W-w-{margin}"}[along],
        y={"start": str(margin), "middle": "(H-h)/2", "end": f"H-h-{margin}"}[down],
    )


def _matrix(probe: Probe, plan: Plan) -> str:
    """How the video's colours are coded, so that the logo keeps its own; unmarked HD is bt709 by custom."""
    if plan.tone_map or probe.matrix == "bt709":
        return "bt709"
    if probe.matrix in ("smpte170m", "bt470bg"):
        return "bt601"
    return "bt709" if probe.coded_height_px >= 720 else "bt601"


def _place(position: str) -> tuple[str, str]:
    along = "start" if position.endswith("left") else "end" if position.endswith("right") else "middle"
    down = "start" if position.startswith("top") else "end" if position.startswith("bottom") else "middle"
    return along, down


def _fades(design: Design, probe: Probe) -> list[tuple[str, float, float]]:
    """Kind, start and length in seconds; in a very short video they take a third each."""
    length_s = round(min(FADE_S, probe.duration_s / 3), 3)
    fades = [("in", 0.0, length_s)] if "fade-in" in design.effects else []
    if "fade-out" in design.effects:
        fades.append(("out", round(max(0.0, probe.duration_s - length_s), 3), length_s))
    return fades


def _sound(source: Any, plan: Plan, design: Design, probe: Probe) -> Any:
    if plan.copy_audio:
        return source
    # Gaps in the sound of phones and live recordings are filled, or all that follows would come early.
    sound = source.filter("aresample", **{"async": 1000})
    for kind, start_s, length_s in _fades(design, probe):
        sound = sound.filter("afade", type=kind, start_time=start_s, duration=length_s)
    return sound


def _video_options(plan: Plan, probe: Probe, config: Config) -> dict[str, Any]:
    options: dict[str, Any] = {
        "format": "mp4",
        "movflags": "+faststart",
        "map_metadata": -1,
        "map_chapters": -1,
    }
    if plan.copy_video:
        options["c:v"] = "copy"
    else:
        options |= {
            "c:v": "libx264",
            "preset": config.ffmpeg_preset,
            "b:v": config.video_bitrate,
            "pix_fmt": "yuv420p",
            "g": round(plan.fps_out * KEY_FRAME_S),
            **_threads(config),
        }
    if probe.audio_index is None:
        return options
    if plan.copy_audio:
        return options | {"c:a": "copy"}
    return options | {"c:a": "aac", "b:a": config.audio_bitrate, "ac": 2, "ar": AUDIO_RATE_HZ}


def _still_outputs(shown: Any, plan: Plan, files: Files, poster_s: float) -> list[Any]:
    """Poster and thumbnails: the one picture at `poster_s`, in four sizes.

    The last picture is held for ever, so that there is one also where the sound lasts longer than the video.
    """
    held = shown.filter("tpad", stop=-1, stop_mode="clone")
    one = held.filter("trim", start=round(poster_s, 3)).filter("trim", end_frame=1)
    four = one.filter("scale", *plan.canvas, out_range="pc").filter("format", "yuvj420p").split()
    outputs = [_jpeg(four[0], files.poster)]
    for at, (name, size) in enumerate(still_sizes(plan).items(), start=1):
        outputs.append(_jpeg(four[at].filter("scale", *size), files.stills[name]))
    return outputs


def _jpeg(shown: Any, path: Path) -> Any:
    return compiler.output(
        shown,
        f"file:{path}",
        **{"c:v": "mjpeg", "frames:v": 1, "update": 1, "format": "image2", "q:v": JPEG_QUALITY},
    )
