"""Whether two makings of a video are worth the same: sizes, durations, bytes, and how near they are to the source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.media.by_hand import Wanted, _logo, _overlay
from benchmarks.media.crew import run

SSIM = re.compile(r"SSIM .*All:([\d.]+)")
VMAF = re.compile(r"VMAF score: ([\d.]+)")
SIZE = re.compile(r"Video: .*?, (\d+)x(\d+)")
LENGTH = re.compile(r"time=(\d+):(\d\d):(\d\d\.\d+)")
# The product says how its colours are coded where the source does not; ffmpeg would convert one to the other first.
MARKED = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
# Every so many pictures: VMAF of all of them costs more than making the video.
VMAF_EVERY = 6


@dataclass(frozen=True)
class Worth:
    """Of one file with a picture: pixels, seconds, bytes, SSIM to the source with the logo; VMAF where asked for."""

    size: str
    seconds: float
    bytes: int
    ssim: float
    vmaf: float | None = None


def worth(wanted: Wanted, path: Path, width_px: int, height_px: int, *, vmaf: bool = False) -> Worth:
    """Compare a file with what should be seen: the source with its logo in this size."""
    scaled = f"scale={width_px}:{height_px}:flags=bicubic"
    graph = (
        f"{_logo(wanted)};[0:v]format=yuv420p[base];"
        f"[base][logo]{_overlay(wanted)},{scaled},{MARKED},setpts=PTS-STARTPTS[a];"
        f"[2:v]{MARKED},setpts=PTS-STARTPTS[b]"
    )
    inputs = ("-i", wanted.source, "-i", wanted.logo, "-i", path)
    said = run(*inputs, "-filter_complex", f"{graph};[b][a]ssim", "-f", "null", "-")
    score = None
    if vmaf:
        measure = f"{graph};[b][a]libvmaf=n_subsample={VMAF_EVERY}:n_threads=2"
        found = VMAF.search(run(*inputs, "-filter_complex", measure, "-f", "null", "-"))
        score = float(found[1]) if found else None
    alone = run("-i", path, "-map", "0:v:0", "-c", "copy", "-f", "null", "-")
    shown = SIZE.search(alone)
    hours, minutes, seconds = LENGTH.findall(alone)[-1]
    near = SSIM.search(said)
    return Worth(
        f"{shown[1]}×{shown[2]}" if shown else "?",
        int(hours) * 3600 + int(minutes) * 60 + float(seconds),
        path.stat().st_size,
        float(near[1]) if near else 0.0,
        score,
    )


def joined(init: Path, segments: list[Path], target: Path) -> Path:
    """A track as one file: its first bytes and its segments behind each other."""
    with target.open("wb") as file:
        for piece in (init, *segments):
            file.write(piece.read_bytes())
    return target
