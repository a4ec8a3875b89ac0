"""Makes pieces of a video: the picture of some segments in some rungs, and all of the sound, each in runs of ffmpeg.

What ffmpeg writes is cut while it writes, and every segment is handed over as soon as it is finished in all rungs of
the run. The same plan and the same segments give the same pictures on whatever machine and in whatever pieces.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import ffmpeg as compiler

from app.errors import HouseError, Refused
from app.media import bounds, failure, ffmpeg, graph, look
from app.media import sound as hearing
from app.media.cmaf import Growing
from app.media.cutting import OnInit, OnSegment, PictureCutter, SoundCutter, Told, cut_while, link, remove
from app.media.grid import Span
from app.media.lettering import letter
from app.media.logo import check_logo
from app.media.plan import Clip, ClipName, Plan
from app.media.run import OnProgress, Run, execute, paced, run, scaled
from app.media.typefaces import FONT_FOLDER
from app.media.walls import Limits

# A video that comes out this much shorter than it said could not be read to its end.
READ_PART = 0.9
# What ffmpeg says of a run that found no picture.
NOTHING = re.compile("Could not open encoder before EOF|Nothing was written|received no packets")


@dataclass(frozen=True)
class Sources:
    """The files that a plan is made from, under whatever names they have."""

    main: Path
    intro: Path | None = None
    outro: Path | None = None
    logo: Path | None = None

    def of(self, name: ClipName) -> Path:
        path = {"intro": self.intro, "main": self.main, "outro": self.outro}[name]
        if path is None:
            raise Refused(f"The {name} is missing.", code="no_clip")
        return path


@dataclass(frozen=True)
class Encoded:
    """What runs of ffmpeg cost and made: `frames` is pictures of one rung, 0 for sound; `inits` by track."""

    runs: tuple[Run, ...]
    frames: int
    inits: Mapping[str, bytes]

    @property
    def cpu_s(self) -> float:
        return sum(run.cpu_s for run in self.runs)

    @property
    def seconds(self) -> float:
        return sum(run.seconds for run in self.runs)

    @property
    def argv(self) -> tuple[str, ...]:
        """The longest run's, which can be run by hand."""
        return max(self.runs, key=lambda run: run.seconds).argv if self.runs else ()

    @property
    def log_tail(self) -> tuple[str, ...]:
        return tuple(line for run in self.runs for line in run.log_tail)


async def picture(
    plan: Plan,
    sources: Sources,
    spans: Sequence[Span],
    *,
    into: Path,
    rungs: Collection[str] | None = None,
    on_segment: OnSegment,
    on_progress: OnProgress | None = None,
    inits: OnInit | None = None,
) -> Encoded:
    """Make these segments, which follow one another, in these rungs (all if None), one run of ffmpeg for each clip.

    `inits` is told the first bytes of each rung before its first segment; `on_segment` each segment when it is
    finished in all rungs; its files are gone when it returns. The main clip, where it is the last, is made to its
    real end: segments at its end may be shorter, missing, or more than planned. Refused for a source that cannot be
    read or ends, picture and sound, long before it says. When it fails or is cancelled, ffmpeg is ended within
    2 s and nothing of it is left in `into`, a private folder that no other call may use at the same time.
    """
    names = tuple(rung.name for rung in plan.rungs if rungs is None or rung.name in rungs)
    pieces = [list(piece) for _, piece in groupby(spans, key=lambda span: span.clip)]
    total = sum(span.frames for span in spans)
    told, on_progress = Told(inits), paced(on_progress)
    runs: list[Run] = []
    frames = done = 0
    for piece in pieces:
        share = sum(span.frames for span in piece)
        made = await _clip(
            plan,
            sources,
            piece,
            names,
            into,
            told,
            on_segment,
            scaled(on_progress, done / total, share / total),
        )
        runs.append(made.run)
        frames += made.frames
        done += share
    return Encoded(tuple(runs), frames, told.inits)


async def sound(
    plan: Plan,
    sources: Sources,
    *,
    into: Path,
    on_segment: OnSegment,
    on_progress: OnProgress | None = None,
    inits: OnInit | None = None,
) -> Encoded | None:
    """Make all sound tracks over the whole timeline, in one run; None where there is nothing to hear.

    As `picture` otherwise. Each track numbers its own segments of about 4 s from 0; a `Made` holds one track's.
    """
    if not plan.sounds:
        return None
    program = (await asyncio.to_thread(ffmpeg.program)).path
    sizes = sum(sources.of(clip.name).stat().st_size for clip in plan.clips)
    walls = bounds.sound(plan, sizes)
    staged = {clip.name: link(sources.of(clip.name), into / f"in-{clip.name}") for clip in plan.clips}
    readable = tuple(path.resolve() for path in staged.values())
    made = {heard.name: into / f"{heard.name}.mp4" for heard in plan.sounds}
    told = Told(inits)
    cutters = [SoundCutter(Growing(path), name, into, on_segment, told) for name, path in made.items()]
    try:
        measured: dict[str, hearing.Loudness] = {}
        for track, heard in enumerate(plan.sounds if plan.loudness else ()):
            argv = hearing.measuring(program, plan, staged, track)
            said = await execute(
                (argv[0], "-hide_banner", "-nostdin", "-nostats", "-progress", "pipe:1", *argv[1:]),
                limits=walls,
                writable=into,
                readable=readable,
            )
            if found := hearing.read_loudness(said.log_tail):
                measured[heard.name] = found
        running = run(
            hearing.command(program, plan, staged, made, measured),
            limits=walls,
            writable=into,
            readable=readable,
            duration_s=plan.duration_s,
            on_progress=on_progress,
        )
        ran = await cut_while(running, cutters)
    finally:
        remove([*staged.values(), *made.values()])
    return Encoded((ran,), 0, told.inits)


def no_logo() -> Refused:
    return Refused(
        "The logo is missing.",
        code="no_logo",
        fields={"design.watermark.url": "there is no file behind it"},
    )


async def marks(plan: Plan, sources: Sources, into: Path) -> look.Marks:
    """The files that the design puts on the picture, laid out in `into`. Refused for a logo that is no picture."""
    logo, logo_format = None, None
    if plan.design.watermark:
        if sources.logo is None:
            raise no_logo()
        logo_format = await check_logo(sources.logo)
        logo = link(sources.logo, into / "in-logo")
    return look.Marks(logo, logo_format, _lettering(plan, into / "lettering.ass"))


@dataclass(frozen=True)
class _Ran:
    run: Run
    frames: int


async def _clip(
    plan: Plan,
    sources: Sources,
    spans: Sequence[Span],
    names: Sequence[str],
    into: Path,
    told: Told,
    on_segment: OnSegment,
    on_progress: OnProgress | None,
) -> _Ran:
    """One run of ffmpeg: these segments, all of one clip."""
    clip = plan.clips[spans[0].clip]
    wanted = _range(clip, spans)
    program = (await asyncio.to_thread(ffmpeg.program)).path
    real = sources.of(clip.name)
    frames = sum(span.frames for span in spans)
    made = {name: into / f"{name}-{spans[0].number:06}.mp4" for name in names}
    cutter = PictureCutter(plan, spans, made, into, on_segment, told)
    source: Path | None = None
    put = look.Marks()
    try:
        put = await marks(plan, sources, into) if clip.name == "main" else look.Marks()
        source = link(real, into / f"in-{clip.name}")
        argv = graph.command(program, plan, clip, wanted, graph.Files(source, put, made))
        readable = [real.resolve(), FONT_FOLDER]
        if put.logo:
            readable.append(put.logo.resolve())
        ran = await cut_while(
            _run(
                argv,
                walls=bounds.picture(plan, clip, frames, names, real.stat().st_size),
                writable=into,
                readable=readable,
                duration_s=plan.rate.seconds(frames),
                on_progress=on_progress,
                may_be_empty=wanted.first_frame > 0 and not clip.exact,
            ),
            [cutter],
        )
        if cutter.frames == 0 and wanted.first_frame == 0:
            raise failure.unreadable(ran.log_tail)
        end = wanted.first_frame + cutter.frames
        if cutter.frames < frames and await _ends_early(program, plan, clip, end, source, real, into):
            raise damaged(plan.rate.seconds(end), clip.duration_s)
        return _Ran(ran, cutter.frames)
    finally:
        remove(path for path in (source, put.logo, put.lettering, *made.values()) if path)


async def _run(
    argv: Sequence[str],
    *,
    walls: Limits,
    writable: Path,
    readable: Sequence[Path],
    duration_s: float,
    on_progress: OnProgress | None,
    may_be_empty: bool,
) -> Run:
    """As `run`; where the picture has ended before this piece begins, a run that made nothing is no failure."""
    try:
        return await run(
            argv,
            limits=walls,
            writable=writable,
            readable=readable,
            duration_s=duration_s,
            on_progress=on_progress,
        )
    except HouseError as error:
        if may_be_empty and NOTHING.search(str(error)):
            return Run(tuple(argv), 0.0, 0.0, (str(error),))
        raise


async def _ends_early(
    program: Path, plan: Plan, clip: Clip, end_frame: int, source: Path, real: Path, into: Path
) -> bool:
    """Whether a clip whose picture ends here ends long before it says, its sound too. A sound that is whole says
    that the file is, and the picture was only shorter.
    """
    enough_s = READ_PART * clip.duration_s - 1
    if clip.exact:
        return True
    if plan.rate.seconds(end_frame) >= enough_s:
        return False
    for index in clip.sounds:
        if index is None:
            continue
        heard = graph.opened(clip, source, picture=False)[str(index)]
        # Without -copyts, under which ffmpeg tells no time of packets that are only moved.
        argv = compiler.compile(compiler.output(heard, "-", format="null", c="copy"), cmd=str(program))
        said = await execute(
            (argv[0], "-hide_banner", "-nostdin", "-nostats", "-progress", "pipe:1", *argv[1:]),
            limits=bounds.sound(plan, real.stat().st_size),
            writable=into,
            readable=(real.resolve(),),
        )
        if said.report.get("out_time_us", "").isdigit() and int(said.report["out_time_us"]) / 1e6 >= enough_s:
            return False
    return True


def damaged(read_s: float, stated_s: float) -> Refused:
    """The refusal for a source that could only be read in part: ffmpeg says nothing of it."""
    return Refused(
        f"This video is damaged: only {read_s:.0f} of {stated_s:.0f} seconds can be read.",
        code="unreadable_media",
    )


def _range(clip: Clip, spans: Sequence[Span]) -> graph.Range:
    first, until = spans[0].first_frame, spans[-1].first_frame + spans[-1].frames
    return graph.Range(first, None if until >= clip.frames and not clip.exact else until)


def _lettering(plan: Plan, path: Path) -> Path | None:
    width, height = plan.canvas
    text = letter(plan.design, width_px=width, height_px=height, duration_s=plan.main.duration_s)
    if text is None:
        return None
    path.write_text(text, encoding="utf-8")
    return path
