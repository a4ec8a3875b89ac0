"""Makes one MP4 that goes out, with its stills: logo, title, captions and effects burned in, as the platform takes it.

The front for whoever wants no more than that; who wants segments while they are made calls `encode` itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.media import encode, stills
from app.media.cutting import remove
from app.media.design import Design
from app.media.encode import Sources
from app.media.join import Joined, Pieces, copied, join
from app.media.plan import Plan, plan
from app.media.probe import Probe
from app.media.probe import probe as look
from app.media.profiles import Profile
from app.media.run import OnProgress, Run, paced, scaled
from app.media.stills import Still

# What of the work the picture is, for the percent that are told.
PICTURE_PART = 0.9


@dataclass(frozen=True)
class Branded:
    """What came of it. `probe` is of the new file; `run` says what it all cost and how to make the picture by hand."""

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
    intro: Path | None = None,
    outro: Path | None = None,
) -> Branded:
    """Make the branded MP4, its poster and three thumbnails in the private folder `into`; the picture is decoded once.

    A video that fits the profile and whose picture nothing changes is copied, not encoded again (S0.14). May run
    again in the same folder: it writes over its own files. When it fails or is cancelled they are gone. Refused if
    the source, a clip or the logo cannot be read; see `run` for the rest.
    """
    todo = plan(
        probe,
        design,
        profile,
        intro=await look(intro) if intro else None,
        outro=await look(outro) if outro else None,
    )
    if design.watermark and logo is None:
        raise encode.no_logo()
    sources, on_progress = Sources(source, intro, outro, logo), paced(on_progress)
    pieces = Pieces(into)
    try:
        runs: list[Run] = []
        sound = None
        if not (todo.copy_video and todo.copy_audio):
            heard = await encode.sound(todo, sources, into=into, on_segment=pieces.segment, inits=pieces.init)
            sound = pieces.path("a0") if heard else None
            runs += heard.runs if heard else ()
        if todo.copy_video:
            frames = todo.grid.frames
            joined = await copied(todo, source, sound, into=into, on_progress=on_progress)
        else:
            shown = await encode.picture(
                todo,
                sources,
                todo.grid.spans(),
                into=into,
                on_segment=pieces.segment,
                inits=pieces.init,
                on_progress=scaled(on_progress, 0.0, PICTURE_PART),
            )
            frames = shown.frames
            runs += shown.runs
            joined = await join(
                todo,
                [pieces.path("v0")],
                [sound] if sound else None,
                into=into,
                on_progress=scaled(on_progress, PICTURE_PART, 1 - PICTURE_PART),
            )
        runs.append(joined.run)
        return await _branded(todo, joined, runs, min(stills.poster_frame(todo, poster_ms), frames - 1), into)
    finally:
        pieces.remove()


async def _branded(todo: Plan, joined: Joined, runs: list[Run], frame: int, into: Path) -> Branded:
    """The MP4 with its stills, or nothing."""
    try:
        _check_whole(todo, joined)
        poster = await stills.poster(
            joined.path,
            frame,
            rate=todo.rate,
            size=(joined.probe.width_px, joined.probe.height_px),
            into=into,
        )
    except BaseException:
        remove([joined.path])
        raise
    runs.append(poster.run)
    longest = max(runs, key=lambda run: run.seconds)
    return Branded(
        path=joined.path,
        bytes=joined.bytes,
        probe=joined.probe,
        poster=poster.path,
        thumbnails=poster.thumbnails,
        run=Run(
            longest.argv,
            sum(run.seconds for run in runs),
            sum(run.cpu_s for run in runs),
            tuple(line for run in runs for line in run.log_tail),
        ),
        reencoded=not todo.copy_video,
    )


def _check_whole(todo: Plan, joined: Joined) -> None:
    """Packets that are only moved may be fewer than the source says, and ffmpeg says nothing of it."""
    stated_s = todo.duration_s
    if joined.probe.duration_s < encode.READ_PART * stated_s - 1:
        raise encode.damaged(joined.probe.duration_s, stated_s)
