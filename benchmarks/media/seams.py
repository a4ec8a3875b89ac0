"""Whether a video that was made in parts shows or sounds where they were joined.

Picture: every picture of it is compared with the source's at the same place of the same steady rate, so a picture that
is missing or doubled shows as a fall of SSIM for the rest of the video, and a bad joint as a fall around it. Sound:
both are decoded, turned to one channel and compared window by window; a gap, a click or a shift lowers their
correlation, and the best lag of each window says by how much it is shifted.
"""

from __future__ import annotations

import array
import math
import operator
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from app import media
from app.media.plan import Plan
from benchmarks.media.crew import run
from benchmarks.media.quality import MARKED

LINE = re.compile(r"n:(\d+) .*All:([\d.]+)")
PACKET = re.compile(r"^0,\s*(-?\d+),\s*(-?\d+),\s*(\d+),", re.MULTILINE)
# The n-th of one beside the n-th of the other, whatever their times.
EVENLY = "settb=1/1000,setpts=N"
# Pictures on each side of a joint that count as around it.
AROUND = 12
RATE_HZ = 8000
WINDOW_S = 0.5
MOST_LAG_MS = 25
# Through floats, as the product goes: with whole numbers ffmpeg turns five channels down before it adds them.
TO_ONE = "aresample=async=1000:first_pts=0,aformat=sample_fmts=fltp:channel_layouts=stereo,pan=mono|c0=0.5*c0+0.5*c1"
# Quieter windows have no shape to compare.
QUIET = 60.0


@dataclass(frozen=True)
class Seen:
    """The picture: how many were due and are there, whether each stands where it should, and SSIM at joints beside
    the rest. `worst_fall` is the deepest fall of a joint's mean below the mean of the same length beside it.
    """

    due: int
    frames: int
    evenly: bool
    joints: int
    ssim_joints: float
    ssim_joints_least: float
    ssim_rest: float
    ssim_rest_least: float
    worst_fall: float


@dataclass(frozen=True)
class Heard:
    """The sound: length of both, least and median correlation of its windows, lags in ms, gaps, worst click."""

    seconds: float
    source_s: float
    windows: int
    correlation_least: float
    correlation: float
    lag_least_ms: float
    lag_most_ms: float
    gaps: int
    click: float


def seen(made: Path, source: Path, plan: Plan, joints: Sequence[int], folder: Path) -> Seen:
    """Compare the pictures with the source's, made grey; `joints` are the numbers of each part's first picture."""
    stats = folder / "ssim.txt"
    width, height = plan.canvas
    graph = (
        f"[0:v]fps={plan.rate}:start_time=0,scale={width}:{height},format=yuv420p,hue=s=0,{MARKED},{EVENLY}[a];"
        f"[1:v]{MARKED},{EVENLY}[b];[b][a]ssim=stats_file={stats}:shortest=1"
    )
    run("-copyts", "-start_at_zero", "-i", source, "-i", made, "-filter_complex", graph, "-f", "null", "-")
    near = {int(number) - 1: float(value) for number, value in LINE.findall(stats.read_text())}
    packets = _packets(made)
    steps = {after - before for before, after in pairwise(packets)}
    around = {
        number for joint in joints for number in range(joint - AROUND, joint + AROUND) if number in near
    }
    at_joints = [near[number] for number in sorted(around)]
    rest = [value for number, value in near.items() if number not in around]
    falls = [_fall(near, joint) for joint in joints]
    return Seen(
        due=_due(source, plan),
        frames=len(packets),
        evenly=len(steps) == 1 and min(steps) > 0,
        joints=len(joints),
        ssim_joints=statistics.fmean(at_joints) if at_joints else math.nan,
        ssim_joints_least=min(at_joints, default=math.nan),
        ssim_rest=statistics.fmean(rest),
        ssim_rest_least=min(rest),
        worst_fall=max(falls, default=0.0),
    )


def _fall(near: dict[int, float], joint: int) -> float:
    """How much nearer to the source the pictures two seconds beside a joint are than those around it."""

    def mean(at: int) -> float:
        values = [near[number] for number in range(at - AROUND, at + AROUND) if number in near]
        return statistics.fmean(values) if values else math.nan

    beside = [mean(joint - 4 * AROUND), mean(joint + 4 * AROUND)]
    return min(beside) - mean(joint)


def _packets(path: Path) -> list[int]:
    """When each picture is shown, in the file's own ticks, in order."""
    argv = [str(media.program().path), "-hide_banner", "-nostdin", "-loglevel", "error", "-i", str(path),
            "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"]  # fmt: skip
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return sorted(int(shown) for _, shown, _ in PACKET.findall(text))


def _due(source: Path, plan: Plan) -> int:
    """How many pictures the source has at the rate of what is made, counted by decoding it."""
    argv = [str(media.program().path), "-hide_banner", "-nostdin", "-loglevel", "error", "-copyts", "-start_at_zero",
            "-i", str(source), "-map", "0:v:0", "-vf", f"fps={plan.rate}:start_time=0,scale=16:16",
            "-f", "framecrc", "-"]  # fmt: skip
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return len(PACKET.findall(text))


def heard(made: Path, source: Path) -> Heard:
    """Compare the sounds."""
    ours, theirs = _samples(made), _samples(source)
    window = round(WINDOW_S * RATE_HZ)
    most = round(MOST_LAG_MS * RATE_HZ / 1000)
    found: list[tuple[float, int]] = []
    gaps = 0
    for at in range(most, min(len(ours), len(theirs)) - window - most, window):
        wanted = theirs[at : at + window]
        loud = math.sqrt(_dot(wanted, wanted) / window)
        if loud < QUIET:
            continue
        if math.sqrt(_dot(ours[at : at + window], ours[at : at + window]) / window) < loud / 4:
            gaps += 1
        found.append(max((_alike(wanted, ours[at + lag : at + lag + window]), lag) for lag in _lags(most)))
    values = [value for value, _ in found]
    lags = [1000 * lag / RATE_HZ for _, lag in found]
    return Heard(
        seconds=len(ours) / RATE_HZ,
        source_s=len(theirs) / RATE_HZ,
        windows=len(found),
        correlation_least=min(values),
        correlation=statistics.median(values),
        lag_least_ms=min(lags),
        lag_most_ms=max(lags),
        gaps=gaps,
        click=_click(ours) / max(1, _click(theirs)),
    )


def _lags(most: int) -> Sequence[int]:
    """Near ones one by one, as a shift by a packet is 21 ms and a click is none."""
    return sorted({*range(-8, 9), *range(-most, most + 1, 8)}, key=abs)


def _click(samples: Sequence[int]) -> int:
    """The largest step from one sample to the next."""
    return max((abs(after - before) for before, after in pairwise(samples)), default=0)


def _alike(one: Sequence[int], other: Sequence[int]) -> float:
    both = math.sqrt(_dot(one, one) * _dot(other, other))
    return _dot(one, other) / both if both else 0.0


def _dot(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(map(operator.mul, one, other))


def _samples(path: Path) -> array.array[int]:
    argv = [str(media.program().path), "-hide_banner", "-nostdin", "-loglevel", "error", "-i", str(path),
            "-map", "0:a:0", "-af", TO_ONE,
            "-ar", str(RATE_HZ), "-f", "s16le", "-"]  # fmt: skip
    content = subprocess.run(argv, capture_output=True, check=True).stdout
    samples = array.array("h")
    samples.frombytes(content[: len(content) // 2 * 2])
    return samples
