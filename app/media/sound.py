"""Writes the ffmpeg commands for the sound: always one run over the whole, beside the picture, so it has no seams."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg as compiler

from app.media import graph, look
from app.media.plan import Clip, ClipName, Plan

RATE_HZ = 48_000
SEGMENT_US = 4_000_000
# What an AAC encoder puts before the first sample. Left out of what goes in, the first packet stands at 0 and no
# player has to know of it.
PRIMING = 1024
# EBU R 128 as the platforms use it: loudness and highest true peak. A range this wide is kept as it is.
LOUDNESS_LUFS, PEAK_DBTP, RANGE_LU = -14.0, -1.0, 20.0
# Quieter than this there is nothing but noise to turn up.
SILENCE_LUFS = -60.0
MEASURED = re.compile(r"\{[^{}]*\"input_i\"[^{}]*\}", re.DOTALL)


@dataclass(frozen=True)
class Loudness:
    """What was measured of a sound: LUFS, dBTP, LU; `offset` is what the filter asks to be told again."""

    integrated: float
    peak: float
    range: float
    threshold: float
    offset: float


def command(
    program: Path,
    plan: Plan,
    sources: Mapping[ClipName, Path],
    made: Mapping[str, Path],
    measured: Mapping[str, Loudness],
) -> list[str]:
    """Every sound track of the plan, from the sources by the name of their clip, into the files by name of track.

    A track that was `measured` comes out as loud as the platforms play.
    """
    outputs = []
    for heard, sound in zip(plan.sounds, _tracks(plan, sources, range(len(plan.sounds))), strict=True):
        if heard.name in measured:
            sound = _levelled(sound, measured[heard.name], samples(plan, plan.grid.frames))
        sound = sound.filter("atrim", start_pts=PRIMING)
        outputs.append(compiler.output(sound, f"file:{made[heard.name]}", **_options(plan)))
    return graph.compiled(program, outputs)


def measuring(program: Path, plan: Plan, sources: Mapping[ClipName, Path], track: int) -> list[str]:
    """The command that measures how loud a track is; `read_loudness` reads what it says."""
    (sound,) = _tracks(plan, sources, range(track, track + 1))
    sound = sound.filter("loudnorm", I=LOUDNESS_LUFS, TP=PEAK_DBTP, LRA=RANGE_LU, print_format="json")
    return graph.compiled(program, [compiler.output(sound, "-", format="null")])


def read_loudness(lines: Sequence[str]) -> Loudness | None:
    """What was measured; None where there is nothing to hear."""
    found = MEASURED.findall("\n".join(lines))
    if not found:
        return None
    said = json.loads(found[-1])
    integrated = float(said["input_i"])
    if not math.isfinite(integrated) or integrated < SILENCE_LUFS:
        return None
    return Loudness(
        integrated,
        float(said["input_tp"]),
        float(said["input_lra"]),
        float(said["input_thresh"]),
        float(said["target_offset"]),
    )


def samples(plan: Plan, frames: int) -> int:
    """The samples that last as long as so many frames."""
    return round(frames * plan.rate.den * RATE_HZ / plan.rate.num)


def _tracks(plan: Plan, sources: Mapping[ClipName, Path], wanted: range) -> list[Any]:
    """The sound of each track that is wanted over all clips, one behind the other."""
    inputs = {clip.name: graph.opened(clip, sources[clip.name], picture=False) for clip in plan.clips}
    tracks = []
    for track in wanted:
        pieces, before = [], 0
        for clip in plan.clips:
            until = before + clip.frames
            # Counted on the whole, so that rounding never adds up.
            length = samples(plan, until) - samples(plan, before)
            pieces.append(_piece(inputs[clip.name], plan, clip, track, length))
            before = until
        tracks.append(pieces[0] if len(pieces) == 1 else compiler.concat(*pieces, v=0, a=1))
    return tracks


def _piece(source: Any, plan: Plan, clip: Clip, track: int, length: int) -> Any:
    """The sound of one clip, at least as long as its picture; exactly as long where another clip follows it."""
    index = clip.sounds[track]
    if index is None:
        silence = compiler.input(f"anullsrc=r={RATE_HZ}:cl=stereo", f="lavfi").audio
        return silence.filter("atrim", end_sample=length)
    # Gaps in the sound of phones and live recordings are filled, or all that follows would come early.
    sound = source[str(index)].filter("aresample", RATE_HZ, **{"async": 1000, "first_pts": 0})
    sound = sound.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
    length_s = plan.rate.seconds(clip.frames)
    opens, closes = clip is plan.clips[0], clip is plan.clips[-1]
    for kind, start_s, fade_s in look.fades(plan.design, length_s, opens=opens, closes=closes):
        sound = sound.filter("afade", type=kind, start_time=start_s, duration=fade_s)
    sound = sound.filter("apad", whole_len=length)
    if clip.exact or len(plan.clips) > 1:
        return sound.filter("atrim", end_sample=length)
    most = samples(plan, clip.frames + graph.amiss_frames(plan, clip))
    return sound.filter("atrim", end_sample=most)


def _levelled(sound: Any, measured: Loudness, length: int) -> Any:
    """Turned up or down as it is; where its peaks have no room for that, ffmpeg presses them together."""
    gain_db = LOUDNESS_LUFS - measured.integrated
    if measured.peak + gain_db <= PEAK_DBTP:
        return sound.filter("volume", volume=f"{gain_db:.2f}dB")
    pressed = sound.filter(
        "loudnorm",
        I=LOUDNESS_LUFS,
        TP=PEAK_DBTP,
        LRA=RANGE_LU,
        measured_I=measured.integrated,
        measured_TP=measured.peak,
        measured_LRA=measured.range,
        measured_thresh=measured.threshold,
        offset=measured.offset,
    )
    # It comes out four times as fast, and with version 7 a little longer.
    pressed = pressed.filter("aresample", RATE_HZ).filter("atrim", end_sample=length)
    return pressed.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")


def _options(plan: Plan) -> dict[str, Any]:
    return {
        "c:a": "aac",
        "b:a": f"{plan.audio_kbps}k",
        "ac": 2,
        "ar": RATE_HZ,
        "frag_duration": SEGMENT_US,
        **graph.FRAGMENTED,
        "movflags": "+cmaf+empty_moov+frag_keyframe+default_base_moof",
    }
