"""Makes the video that goes out: logo, title, captions and effects burned in, in the form the platform takes."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass
from pathlib import Path

from app import config
from app.errors import Refused
from app.media import ffmpeg, graph, srt
from app.media.design import Design
from app.media.graph import STILLS, Files, Still
from app.media.lettering import FONTS, letter
from app.media.logo import check_logo
from app.media.plan import Plan, Profile, plan
from app.media.probe import Probe
from app.media.probe import probe as look
from app.media.run import OnProgress, Run, run
from app.media.sniff import KINDS
from app.media.walls import GIB, Limits

MIB = 1024**2
# reliability.md, section 6: ten times as long as it lasts, a minute at least. Meant for 1080p at 30 frames;
# what has more pixels gets more, or a laptop could never finish 4K.
SLOWEST = 10
SHORTEST_WALL_S = 60
USUAL_PIXELS_A_SECOND = 1920 * 1080 * 30
# x264 at its default took 1.5 CPU seconds for a second of 1080p at 24 frames; what needs ten times that is stuck.
CPU_A_WALL_SECOND = 2
# The slowest disk we reckon with, for copying and for moving the index to the front at the end.
DISK_BYTES_A_SECOND = 20 * MIB
# The best place for a poster is past the beginning, which is often black.
POSTER_S = 3.0
POSTER_PART = 0.3
# A video that comes out this much shorter than it said could not be read to its end.
READ_PART = 0.9


@dataclass(frozen=True)
class Branded:
    """What came of it. `probe` is of the new file; `run` says what it cost and how to do it by hand."""

    path: Path
    bytes: int
    probe: Probe
    poster: Path
    thumbnails: tuple[Still, ...]
    run: Run
    reencoded: bool


async def brand(
    source: Path,
    design: Design,
    *,
    logo: Path | None,
    into: Path,
    probe: Probe,
    profile: Profile,
    on_progress: OnProgress | None = None,
    poster_ms: int | None = None,
) -> Branded:
    """Make the branded MP4, its poster and three thumbnails in the private folder `into`, decoding once.

    A video that fits the profile and whose picture nothing changes is copied, not encoded again (S0.14). May run
    again in the same folder: it writes over its own files. When it fails or is cancelled they are gone. Refused if
    the source or the logo cannot be read; see `run` for the rest.
    """
    if design.watermark and logo is None:
        raise Refused(
            "The logo is missing.",
            code="no_logo",
            fields={"design.watermark.url": "there is no file behind it"},
        )
    program = await asyncio.to_thread(ffmpeg.program)
    todo = plan(probe, design, profile)
    files = await _stage(source, logo if design.watermark else None, design, todo, probe, into)
    poster_s = _poster_s(probe, poster_ms)
    made = (files.video, files.poster, *files.stills.values())
    try:
        done = await run(
            graph.command(program.path, todo, design, files, probe, config.get(), poster_s),
            limits=limits(probe, todo, source.stat().st_size),
            writable=into,
            readable=(source.resolve(), *((logo.resolve(),) if logo else ()), FONTS),
            duration_s=probe.duration_s,
            on_progress=on_progress,
        )
        return await _branded(files, todo, probe, done)
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    finally:
        for staged in (files.source, files.logo, files.lettering):
            if staged is not None:
                staged.unlink(missing_ok=True)


def limits(probe: Probe, todo: Plan, source_bytes: int) -> Limits:
    """The most this run may use, from how long the video is and how many pixels pass in a second."""
    settings = config.get()
    pixels = max(probe.coded_width_px * probe.coded_height_px, todo.canvas[0] * todo.canvas[1])
    heaviness = max(1.0, pixels * max(probe.fps or 0.0, todo.fps_out) / USUAL_PIXELS_A_SECOND)
    moving_s = source_bytes / DISK_BYTES_A_SECOND
    wall_s = max(SHORTEST_WALL_S, SLOWEST * probe.duration_s * heaviness) + moving_s
    if todo.copy_video:
        expected_bytes = source_bytes
    else:
        bits = _bits(settings.video_bitrate) + _bits(settings.audio_bitrate)
        expected_bytes = math.ceil(probe.duration_s * bits / 8)
    return Limits(
        wall_s=wall_s,
        idle_s=60 + moving_s,
        cpu_s=math.ceil(CPU_A_WALL_SECOND * wall_s),
        address_bytes=_address_bytes(probe, todo),
        file_bytes=2 * expected_bytes + 100 * MIB,
    )


def _address_bytes(probe: Probe, todo: Plan) -> int:
    """Address space for one run, in proportion to the pixels that go in and come out.

    Measured with ffmpeg 9.0.2 and 8 threads (logo and title): 1080p 1.7 GiB, 4K 3.7 GiB, 8K made smaller
    4.5 GiB; so the 2 GiB of reliability.md, section 6, hold for 1080p and would end every 4K run. HDR is
    worked on in floats.
    """
    millions = (probe.coded_width_px * probe.coded_height_px + todo.canvas[0] * todo.canvas[1]) / 1e6
    needed = (1.25 + 0.2 * millions) * (1.5 if todo.tone_map else 1.0)
    return math.ceil(max(2.0, needed) * GIB)


def _bits(rate: str) -> int:
    """Bits a second of a setting like `2000k`."""
    factor = {"k": 1000, "M": 1_000_000}.get(rate[-1], 1)
    return int(rate.rstrip("kM")) * factor


def _poster_s(probe: Probe, poster_ms: int | None) -> float:
    wanted_s = POSTER_PART * probe.duration_s if poster_ms is None else poster_ms / 1000
    most_s = POSTER_S if poster_ms is None else math.inf
    # The last picture begins before the end.
    return max(0.0, min(wanted_s, most_s, probe.duration_s - 2 / (probe.fps or 10.0)))


async def _stage(
    source: Path, logo: Path | None, design: Design, todo: Plan, probe: Probe, into: Path
) -> Files:
    """Lay out the folder under our own names: links to what is read, the lettering, places for what is made."""
    logo_format = await check_logo(logo) if logo else None
    files = Files(
        source=_link(source, into / "in-video"),
        source_formats=next(
            (kind.formats for kind in KINDS if kind.formats.split(",")[0] in probe.container), ""
        ),
        logo=_link(logo, into / "in-logo") if logo else None,
        logo_format=logo_format,
        lettering=_lettering(design, todo, probe, into / "lettering.ass"),
        video=into / "branded.mp4",
        poster=into / "poster.jpg",
        stills={name: into / f"still-{name}.jpg" for name in STILLS},
    )
    if not files.source_formats:
        raise Refused(f"{probe.container} is not a kind of video that is taken", code="unreadable_media")
    return files


def _link(real: Path, name: Path) -> Path:
    """A symbolic link, so that behind walls the original stays read-only; the name of the original may be anything."""
    with contextlib.suppress(FileNotFoundError):
        name.unlink()
    name.symlink_to(real.resolve(strict=True))
    return name


def _lettering(design: Design, todo: Plan, probe: Probe, path: Path) -> Path | None:
    captions = srt.read_srt(design.caption_text or "")
    if design.title is None and not captions:
        return None
    width, height = todo.canvas
    text = letter(design.title, captions, width_px=width, height_px=height, duration_s=probe.duration_s)
    path.write_text(text, encoding="utf-8")
    return path


async def _branded(files: Files, todo: Plan, source: Probe, done: Run) -> Branded:
    """What was made, looked at. Refused if the source could only be read in part: ffmpeg says nothing of it."""
    if not files.poster.is_file():
        raise Refused("This video cannot be read: there is no picture in it", code="unreadable_media")
    made = await look(files.video)
    if made.duration_s < READ_PART * source.duration_s - 1:
        raise Refused(
            f"This video is damaged: only {made.duration_s:.0f} of {source.duration_s:.0f} seconds can be read.",
            code="unreadable_media",
        )
    sizes = graph.still_sizes(todo)
    return Branded(
        path=files.video,
        bytes=files.video.stat().st_size,
        probe=made,
        poster=files.poster,
        thumbnails=tuple(Still(files.stills[name], *sizes[name], name) for name in STILLS),
        run=done,
        reencoded=not todo.copy_video,
    )
