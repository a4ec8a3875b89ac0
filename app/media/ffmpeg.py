"""Which ffmpeg this house uses, and whether it can do what we ask of it. Nothing here starts a long run."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import imageio_ffmpeg

from app import config, log
from app.errors import Permanent

OLDEST = (5, 1)
# What every run or a later one needs: parts.md, section 2.
NEEDED = {
    "-encoders": ("libx264", "aac", "mjpeg"),
    "-muxers": ("hls", "mp4", "image2"),
    "-filters": ("subtitles", "ass", "overlay", "scale", "zscale", "tonemap", "yadif"),
}


@dataclass(frozen=True)
class Program:
    """An ffmpeg that was tried and found able. `source` says who named it; `filters` what it lists."""

    path: Path
    version: str
    source: str
    filters: frozenset[str]


@lru_cache(maxsize=1)
def program() -> Program:
    """The ffmpeg to use: BACKLOT_FFMPEG, else the system's if able, else the one that came with the packages.

    Found once per process (about 100 ms). A BACKLOT_FFMPEG that cannot do the work is Permanent, never
    silently replaced by another.
    """
    if asked := config.get().backlot_ffmpeg:
        path = Path(asked).expanduser().resolve()
        if lack := lacks(path):
            raise Permanent(f"BACKLOT_FFMPEG={asked} cannot be used: {lack}", code="no_ffmpeg")
        return _look(path, "BACKLOT_FFMPEG")
    system = shutil.which("ffmpeg")
    if system and (lack := lacks(Path(system))):
        log.info("the system's ffmpeg is passed over", path=system, reason=lack)
    elif system:
        return _look(Path(system).resolve(), "system")
    try:
        path = Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise Permanent(
            "There is no ffmpeg here: install one, or set BACKLOT_FFMPEG", code="no_ffmpeg"
        ) from error
    if lack := lacks(path):
        raise Permanent(f"The ffmpeg that came with the packages cannot be used: {lack}", code="no_ffmpeg")
    return _look(path.resolve(), "bundled")


def version() -> str:
    """The version of the ffmpeg in use, as it says it itself: `n9.0.2-17-g2a571b6068`, `5.1.9-0+deb12u1`."""
    return program().version


def lacks(path: Path) -> str | None:
    """Why this ffmpeg cannot be used, in one sentence; None if it can."""
    try:
        first = _ask(path, "-version")
    except (OSError, subprocess.SubprocessError) as error:
        return f"it does not start ({error})"
    number = _version(first)
    # A build from the development tree (N-12345-gabc) has no number; what it lists decides.
    if (found := re.match(r"n?(\d+)\.(\d+)", number)) and (int(found[1]), int(found[2])) < OLDEST:
        return f"version {number} is older than {OLDEST[0]}.{OLDEST[1]}"
    for kind, names in NEEDED.items():
        listed = _listed(path, kind)
        if missing := [name for name in names if name not in listed]:
            return f"it has no {', '.join(missing)}"
    return None


def _look(path: Path, source: str) -> Program:
    found = Program(path, _version(_ask(path, "-version")), source, _listed(path, "-filters"))
    log.info("ffmpeg found", path=str(path), version=found.version, source=source)
    return found


def _version(first: str) -> str:
    found = re.match(r"ffmpeg version (\S+)", first)
    return found[1] if found else "unknown"


def _listed(path: Path, kind: str) -> frozenset[str]:
    """Names in the second column of a listing; a muxer's line may name several (`mov,mp4`)."""
    lines = (line.split() for line in _ask(path, kind).splitlines())
    return frozenset(name for words in lines if len(words) > 1 for name in words[1].split(","))


def _ask(path: Path, question: str) -> str:
    asked = subprocess.run(  # noqa: S603 - the program is ours or the operator's, the argument is fixed
        [str(path), "-hide_banner", "-nostdin", question]
        if question != "-version"
        else [str(path), question],
        capture_output=True,
        check=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )
    return asked.stdout.decode(errors="replace")
