"""Writes the ffmpeg command for the picture: one graph that decodes once, draws once and ends in every rung.

ffmpeg-python is used as a compiler from graph to arguments only; it quotes every value of a filter.
No word of a person stands in the command: titles come in through a file, numbers are numbers.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg as compiler

from app import config
from app.media import look
from app.media.ladder import Rung
from app.media.plan import Clip, Plan
from app.media.probe import MAX_PIXELS

# More threads than this bring little and each takes its own memory.
MOST_THREADS = 8
# Decoding begins this much before the first picture that is wanted. A transport stream has no index: where one is
# asked for, any picture may come, and only the next key frame can be decoded.
EARLIER_S = 2.0
EARLIER_UNINDEXED_S = 15.0
# How much longer, or shorter where frames are exact, than it says a clip may be.
AMISS_PART, AMISS_S = 0.1, 1.0
TAGS = {"bt709": ("bt709", "bt709", "bt709"), "bt601": ("smpte170m", "smpte170m", "smpte170m")}
# Fragments of one group of pictures each, whose times can be moved (see cmaf).
FRAGMENTED = {
    "format": "mp4",
    "movflags": "+cmaf+empty_moov+frag_keyframe+default_base_moof+negative_cts_offsets",
    "flush_packets": 1,
    # It would say how many bits this piece has, and every piece must begin with the same bytes.
    "write_btrt": 0,
    "map_metadata": -1,
    "map_chapters": -1,
}


@dataclass(frozen=True)
class Files:
    """What one run reads and, by the name of the rung, writes; all of it inside its own private folder."""

    source: Path
    marks: look.Marks
    made: Mapping[str, Path]


@dataclass(frozen=True)
class Range:
    """Pictures of a clip, counted at the rate of what is made. `until_frame` None: as many as there are."""

    first_frame: int
    until_frame: int | None


def command(program: Path, plan: Plan, clip: Clip, wanted: Range, files: Files) -> list[str]:
    """The whole command line that makes these pictures of a clip in every rung of `files.made`, program first."""
    source = opened(clip, files.source, start_s=_seek_s(plan, clip, wanted))
    shown = _on_the_grid(source[str(clip.video_index)], plan, clip, wanted)
    shown = finished(shown, plan, clip, files.marks)
    rungs = [rung for rung in plan.rungs if rung.name in files.made]
    made = [
        compiler.output(scaled, f"file:{files.made[rung.name]}", **_options(plan, rung))
        for rung, scaled in zip(rungs, _scaled(shown, plan, files.made), strict=True)
    ]
    return compiled(program, made)


def opened(clip: Clip, path: Path, *, start_s: float = 0.0, picture: bool = True) -> Any:
    """A source, with times that count from its beginning wherever it is entered; its picture is not always wanted."""
    begin: dict[str, Any] = {"ss": round(start_s, 6), "noaccurate_seek": None} if start_s > 0 else {}
    return compiler.input(
        f"file:{path}",
        protocol_whitelist="file",
        format_whitelist=clip.formats,
        max_pixels=MAX_PIXELS,
        **begin,
        **_kept(clip, picture),
        **threads(),
    )


def _kept(clip: Clip, picture: bool) -> dict[str, Any]:
    """A picture that changes its size on the way is scaled as it comes: a graph made anew would count from 0 again."""
    if not picture:
        return {"vn": None}
    return {} if clip.deinterlace else {"reinit_filter": 0}


def compiled(program: Path, outputs: Sequence[Any]) -> list[str]:
    """These outputs as one command line."""
    whole = compiler.merge_outputs(*outputs) if len(outputs) > 1 else outputs[0]
    whole = whole.overwrite_output().global_args("-copyts", "-start_at_zero")
    if count := threads():
        whole = whole.global_args("-filter_complex_threads", str(count["threads"]))
    return [str(word) for word in compiler.compile(whole, cmd=str(program))]


def threads() -> dict[str, int]:
    """FFMPEG_THREADS, else ffmpeg's own choice, but for large machines: its choice there breaks the memory limit."""
    count = config.get().ffmpeg_threads or (MOST_THREADS if (os.cpu_count() or 1) > MOST_THREADS else 0)
    return {"threads": count} if count else {}


def amiss_frames(plan: Plan, clip: Clip) -> int:
    """By how many frames a clip may differ from the length it states before something is wrong."""
    return plan.rate.frames(AMISS_S + AMISS_PART * clip.duration_s)


def _seek_s(plan: Plan, clip: Clip, wanted: Range) -> float:
    earlier_s = EARLIER_UNINDEXED_S if clip.formats == "mpegts" else EARLIER_S
    return max(0.0, plan.rate.seconds(wanted.first_frame) - earlier_s)


def _on_the_grid(shown: Any, plan: Plan, clip: Clip, wanted: Range) -> Any:
    """Exactly these pictures: the same ones whether the clip is made whole or in pieces.

    The rate counts from 0 in every piece, never from the piece's own start: only then does each of them round the
    times of the source alike.
    """
    if clip.deinterlace:
        shown = shown.filter("yadif")
    shown = shown.filter("fps", fps=str(plan.rate), start_time=0)
    until = wanted.until_frame
    if until is None:
        # A file may state a second and last for hours.
        until = clip.frames + amiss_frames(plan, clip)
    elif clip.exact and until >= clip.frames:
        held_s = plan.rate.seconds(amiss_frames(plan, clip))
        shown = shown.filter("tpad", stop_mode="clone", stop_duration=round(held_s, 3))
    return shown.filter("trim", start_pts=wanted.first_frame, end_pts=until)


def finished(shown: Any, plan: Plan, clip: Clip, marks: look.Marks) -> Any:
    """All that is drawn on pictures which stand at their time in the clip; what comes out begins at 0."""
    shown = _tone_mapped(shown) if clip.tone_map else shown
    length_s = plan.rate.seconds(clip.frames)
    opens, closes = clip is plan.clips[0], clip is plan.clips[-1]
    if clip.name == "main":
        shown = look.finish(
            shown,
            plan.design,
            clip.frame,
            marks,
            read_as=clip.read_as,
            matrix=plan.colours,
            duration_s=length_s,
            opens=opens,
            closes=closes,
        )
    else:
        shown = look.fit(shown, clip.frame, read_as=clip.read_as, matrix=plan.colours)
        shown = look.faded(shown, plan.design, length_s, opens=opens, closes=closes)
    primaries, transfer, matrix = TAGS[plan.colours]
    # The same words in every piece and clip, or each would begin with bytes of its own.
    shown = shown.filter(
        "setparams", range="tv", color_primaries=primaries, color_trc=transfer, colorspace=matrix
    )
    return shown.filter("setpts", "PTS-STARTPTS")


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


def _scaled(shown: Any, plan: Plan, names: Collection[str]) -> list[Any]:
    """The finished picture in the size of each of these rungs, tallest first.

    Each is scaled from the rung above it, made or not, so that a rung is the same in whatever company it is made;
    from the full picture each would cost half as much again.
    """
    scaled: list[Any] = []
    wanted = [rung.name in names for rung in plan.rungs]
    for at, rung in enumerate(plan.rungs):
        if (rung.width_px, rung.height_px) != plan.canvas:
            shown = shown.filter("scale", rung.width_px, rung.height_px).filter("setsar", 1)
        if not wanted[at]:
            continue
        if not any(wanted[at + 1 :]):
            return [*scaled, shown]
        both = shown.split()
        scaled.append(both[0])
        shown = both[1]
    return scaled


def _options(plan: Plan, rung: Rung) -> dict[str, Any]:
    """H.264 with a key frame every group and nowhere else, so that all rungs can be switched at the same places."""
    if plan.quality is None:
        share = min(1.0, rung.target_kbps / plan.rungs[0].target_kbps)
        target = max(1, min(rung.maxrate_kbps, round(plan.video_kbps * share)))
        # Peaks of twice the average: HLS Authoring Specification for Apple Devices, on variable bit rates.
        rate: dict[str, Any] = {"b:v": f"{target}k", "maxrate": f"{2 * target}k", "bufsize": f"{2 * target}k"}
    else:
        rate = {"crf": plan.quality, "maxrate": f"{rung.maxrate_kbps}k", "bufsize": f"{rung.bufsize_kbps}k"}
    group = plan.grid.group_frames
    return {
        "c:v": "libx264",
        "preset": plan.preset,
        "profile:v": "high",
        "pix_fmt": "yuv420p",
        **rate,
        "g": group,
        "keyint_min": group,
        "sc_threshold": 0,
        "fps_mode": "passthrough",
        "video_track_timescale": plan.grid.timescale,
        **threads(),
        **FRAGMENTED,
    }
