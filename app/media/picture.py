"""Still pictures made to fit: upright, in sRGB, without a word about where and with what they were taken (S0.15).

JPEG, PNG, WebP and HEIC in; JPEG, PNG or WebP out. The work is done by a child behind the same walls as ffmpeg, so the
event loop stays free, its memory goes with it, and a file that breaks a decoder breaks that child alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app import config
from app.errors import Refused, Retryable
from app.media import limits
from app.media.probe import Probe
from app.media.run import execute
from app.media.walls import Limits

Format = Literal["JPEG", "PNG", "WEBP"]
TYPES: dict[Format, str] = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
EXTENSIONS: dict[Format, str] = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
MIB = 1024**2
MAX_BYTES = 50 * MIB
DARKROOM = Path(__file__).with_name("darkroom.py")
# 40 million pixels with transparency took 371 MB, as HEIC 325 MB, and 1.9 s at the most (Pillow 13, pillow-heif 1.8).
WALLS = Limits(wall_s=60, idle_s=60, cpu_s=45, address_bytes=1024 * MIB, file_bytes=64 * MIB, processes=16)


@dataclass(frozen=True)
class Fit:
    """What a place takes. `formats` says which it reads; the picture's kind decides among them. Aspect is width by
    height. `background` stands behind transparency where the format has none.
    """

    max_width_px: int
    max_height_px: int
    max_bytes: int
    formats: tuple[Format, ...] = ("JPEG", "PNG", "WEBP")
    min_width_px: int = 1
    min_height_px: int = 1
    min_aspect: float | None = None
    max_aspect: float | None = None
    background: str = "#ffffff"


# What the overlay of a video takes: lossless or with transparency, and never larger than a 4K picture's half.
LOGO_FIT = Fit(2048, 2048, 5 * MIB, ("PNG", "WEBP"))


# What goes out as a picture: JPEG, as wide as Instagram shows it and within its bytes (Instagram sheet, section 5).
POST_FIT = Fit(1440, 2160, 8_000_000, ("JPEG",))


@dataclass(frozen=True)
class Picture:
    """A picture that was made. `quality` is None where nothing was lost."""

    path: Path
    format: Format
    width_px: int
    height_px: int
    bytes: int
    quality: int | None

    @property
    def content_type(self) -> str:
        return TYPES[self.format]

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.format]


def still_probe(made: Picture) -> Probe:
    """The facts of a picture in the words of a video: it lasts no time, has no rate and no sound."""
    size = (made.width_px, made.height_px)
    return Probe(
        "image2", 0.0, None, 1, 0, made.format.lower(), None, "", *size, *size, 0, None, False, False, False, None,
        False, None, None, None, 0, None,
    )  # fmt: skip


async def optimise(source: Path, fit: Fit, *, into: Path, field: str = "file") -> Picture:
    """Make the picture fit: the best quality that the bytes allow, never below PICTURE_QUALITY_FLOOR; where even that
    is too much, a smaller picture.

    `into` is a private folder; a second run replaces the first one's file. Refused, under `field`, with the reason
    when it is no such picture, is broken, has more than 40 million pixels (reliability.md, section 6) or cannot be
    made to fit. Of an animated picture the first frame is taken.
    """
    given = await asyncio.to_thread(source.stat)
    if given.st_size > MAX_BYTES:
        raise _refused("too_large", f"is larger than {MAX_BYTES // MIB} MiB", field, status=413)
    target, answer = into / "picture", into / "picture.json"
    asked = {
        "source": str(source),
        "target": str(target),
        "answer": str(answer),
        "max_pixels": limits.MAX_PIXELS,
        "within": (fit.max_width_px, fit.max_height_px),
        "max_bytes": fit.max_bytes,
        "formats": fit.formats,
        "min_width_px": fit.min_width_px,
        "min_height_px": fit.min_height_px,
        "min_aspect": fit.min_aspect,
        "max_aspect": fit.max_aspect,
        "background": fit.background,
        "floor": config.get().picture_quality_floor,
    }
    for left in (target, answer, *(target.with_suffix(f".{end}") for end in EXTENSIONS.values())):
        await asyncio.to_thread(left.unlink, True)
    ended = await execute(
        [sys.executable, "-I", str(DARKROOM), json.dumps(asked)],
        limits=WALLS,
        writable=into,
        readable=_needed(source),
    )
    if ended.code < 0:
        # Killed by a limit, or by its own decoder: neither would go better another time.
        raise _refused("unreadable_picture", "takes too much to open, or is broken", field)
    if ended.code != 0:
        raise Retryable("The picture could not be worked on.", code="darkroom") from OSError(
            " ".join(ended.log_tail[-3:])
        )
    return await asyncio.to_thread(_made, target, answer, field)


def _made(target: Path, answer: Path, field: str) -> Picture:
    said: dict[str, Any] = json.loads(answer.read_text())
    answer.unlink()
    if "problem" in said:
        raise _refused(str(said["code"]), str(said["problem"]), field)
    kind: Format = said["format"]
    made = Picture(
        target.with_suffix(f".{EXTENSIONS[kind]}"),
        kind,
        int(said["width_px"]),
        int(said["height_px"]),
        target.stat().st_size,
        said["quality"],
    )
    target.replace(made.path)
    return made


def _needed(source: Path) -> tuple[Path, ...]:
    """What the child reads besides the system: Python with its libraries, its own few lines, the picture."""
    return tuple(
        dict.fromkeys(
            (Path(sys.base_prefix), Path(sys.prefix), DARKROOM, source.resolve()),
        )
    )


def _refused(code: str, problem: str, field: str, *, status: int = 422) -> Refused:
    return Refused(f"The picture {problem}.", code=code, status=status, fields={field: problem})
