"""Whether a picture can be put on a video."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from app.errors import Refused
from app.media import ffmpeg
from app.media.run import execute
from app.media.walls import Limits

MAX_BYTES = 5 * 1024**2
MAX_LOGO_PIXELS = 16_000_000
FIELD = "design.watermark.url"


async def check_logo(path: Path) -> str:
    """What ffmpeg calls this kind of picture. Refused, under the field's name, unless it is a sound PNG, JPEG or WebP
    of at most 5 MiB and 16 million pixels; it is decoded once to know.
    """
    logo_format = await asyncio.to_thread(_format, path)
    program = await asyncio.to_thread(ffmpeg.program)
    with tempfile.TemporaryDirectory(prefix="backlot-logo-") as name:
        folder = Path(name)
        (folder / "logo").symlink_to(path.resolve())
        ended = await execute(
            [
                *(str(program.path), "-hide_banner", "-nostdin", "-loglevel", "error", "-xerror"),
                *("-protocol_whitelist", "file", "-f", logo_format, "-max_pixels", str(MAX_LOGO_PIXELS)),
                *("-i", f"file:{folder / 'logo'}", "-frames:v", "1", "-f", "null", "-"),
            ],
            limits=Limits(cpu_s=30, wall_s=30),
            writable=folder,
            readable=(path.resolve(),),
        )
    if ended.code != 0:
        raise _refused("cannot be read as a picture, or has more than 16 million pixels")
    return logo_format


def _format(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise _refused("is larger than 5 MiB")
    with path.open("rb") as file:
        first = file.read(12)
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png_pipe"
    if first.startswith(b"\xff\xd8\xff"):
        return "jpeg_pipe"
    if first.startswith(b"RIFF") and first[8:12] == b"WEBP":
        return "webp_pipe"
    raise _refused("is not a PNG, JPEG or WebP picture")


def _refused(problem: str) -> Refused:
    return Refused(f"The logo {problem}.", code="unreadable_logo", fields={FIELD: problem})
