"""Hands and eyes of the media tests: ffmpeg as a person would run it, pictures looked at, processes counted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from app import media

Clip = Callable[..., Path]
FAST = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def ffmpeg(*words: str | Path) -> bytes:
    """Run ffmpeg as a test would by hand; its standard output."""
    return subprocess.run(
        [str(media.program().path), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *map(str, words)],
        check=True,
        capture_output=True,
    ).stdout


async def branded(
    source: Path, design: media.Design, folder: Path, *, logo: Path | None = None
) -> media.Branded:
    found = await media.probe(source)
    return await media.brand(source, design, logo=logo, into=folder, probe=found, profile=media.TIKTOK)


def pixels(path: Path, width: int, height: int, *, at_s: float = 0.5) -> list[list[tuple[int, int, int]]]:
    """The picture at this time, as rows of (red, green, blue), scaled to this size."""
    raw = ffmpeg(
        *("-i", path, "-ss", str(at_s), "-frames:v", "1", "-vf", f"scale={width}:{height}"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
    )
    flat = [(raw[at], raw[at + 1], raw[at + 2]) for at in range(0, len(raw), 3)]
    return [flat[row * width : (row + 1) * width] for row in range(height)]


def running_in(folder: Path) -> list[int]:
    """Processes whose command names this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command and b"ffmpeg" in command:
            found.append(int(entry.name))
    return found
