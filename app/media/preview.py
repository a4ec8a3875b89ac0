"""One picture of a video as it will look, before anything is made: for the page on which a person tries designs."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import ffmpeg as compiler

from app.errors import Refused
from app.media import bounds, encode, ffmpeg, graph
from app.media.cutting import link, remove
from app.media.design import Design
from app.media.look import even
from app.media.plan import Plan, plan
from app.media.probe import Probe
from app.media.profiles import Profile
from app.media.run import run
from app.media.typefaces import FONT_FOLDER
from app.media.walls import Limits

JPEG_QUALITY = 4
MIB = 1024**2
# A person waits for it: what takes longer will not come.
WALL_S, CPU_S = 30, 60
# Decoding begins this much before the wanted picture, so that its time is rounded as in the run itself.
EARLIER_S = 0.5


async def preview(
    source: Path,
    design: Design,
    *,
    logo: Path | None,
    into: Path,
    probe: Probe,
    profile: Profile,
    at_s: float,
    width_px: int = 720,
) -> Path:
    """The picture shown at `at_s` seconds of the main clip with all that the run would put on it, as preview.jpg in
    the private folder `into`, `width_px` wide or as wide as the video if that is less.

    Past the end it is the last one. Drawn by the same filters as the run's, at the run's own size, and made smaller
    then. Decodes from the key frame before it only; a file without an index is read from its beginning. A second
    run writes over the first; when it fails or is cancelled nothing is left. Refused if the source or the logo
    cannot be read; see `run` for the rest.
    """
    # A fade belongs to the clip that opens or closes the video; here there is only the main one.
    missing = {"fade-in"} if design.intro else set()
    missing |= {"fade-out"} if design.outro else set()
    kept = tuple(name for name in design.effects if name not in missing)
    todo = plan(probe, replace(design, effects=kept), profile)
    made = into / "preview.jpg"
    staged: list[Path] = []
    try:
        marks = await encode.marks(todo, encode.Sources(source, logo=logo), into)
        staged += [path for path in (marks.logo, marks.lettering) if path]
        staged.append(link(source, into / "in-preview"))
        program = (await asyncio.to_thread(ffmpeg.program)).path
        shown = graph.finished(_at(todo, staged[-1], at_s), todo, todo.main, marks)
        await run(
            graph.compiled(program, [_jpeg(shown, todo, width_px, made)]),
            limits=_limits(todo, source.stat().st_size),
            writable=into,
            readable=(source.resolve(), *((logo.resolve(),) if logo else ()), FONT_FOLDER),
        )
        if not made.is_file() or not made.stat().st_size:
            raise Refused("This video cannot be read: there is no picture in it", code="unreadable_media")
    except BaseException:
        remove([made])
        raise
    finally:
        remove(staged)
    return made


def _at(todo: Plan, source: Path, at_s: float) -> Any:
    """The one picture of the grid that is shown at this time, at its time."""
    clip = todo.main
    number = math.floor(max(0.0, at_s) * todo.rate.num / todo.rate.den + 1e-6)
    number = min(number, clip.frames - 1)
    earlier_s = graph.EARLIER_UNINDEXED_S if clip.formats == "mpegts" else EARLIER_S
    opened = graph.opened(clip, source, start_s=max(0.0, todo.rate.seconds(number) - earlier_s))
    shown = opened[str(clip.video_index)]
    if clip.deinterlace:
        shown = shown.filter("yadif")
    # The last picture is held for ever, so that there is one also where the sound lasts longer.
    shown = shown.filter("fps", fps=str(todo.rate), start_time=0).filter("tpad", stop=-1, stop_mode="clone")
    return shown.filter("trim", start_pts=number, end_pts=number + 1)


def _jpeg(shown: Any, todo: Plan, width_px: int, made: Path) -> Any:
    width, height = todo.canvas
    scale = min(1.0, width_px / width)
    # A JPEG's colours are coded as those of small pictures (JFIF 1.02), whatever its size.
    small = shown.filter(
        "scale",
        even(width * scale),
        even(height * scale),
        in_color_matrix=todo.colours,
        out_color_matrix="bt601",
        out_range="pc",
    )
    return compiler.output(
        small.filter("format", "yuvj420p"),
        f"file:{made}",
        **{"c:v": "mjpeg", "frames:v": 1, "update": 1, "format": "image2", "q:v": JPEG_QUALITY},
    )


def _limits(todo: Plan, source_bytes: int) -> Limits:
    clip, canvas = todo.main, todo.canvas[0] * todo.canvas[1]
    moving_s = source_bytes / bounds.DISK_BYTES_A_SECOND if clip.formats == "mpegts" else 0.0
    return Limits(
        wall_s=WALL_S + moving_s,
        idle_s=WALL_S + moving_s,
        cpu_s=CPU_S,
        address_bytes=bounds.address_bytes(
            clip.coded_width_px * clip.coded_height_px, canvas, 0, 1, tone_map=clip.tone_map
        ),
        file_bytes=20 * MIB,
    )
