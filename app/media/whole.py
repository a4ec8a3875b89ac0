"""Whether a file has all the bytes that it says it has. ffmpeg reads a file cut in the middle without complaint."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from app.errors import Refused
from app.media.sniff import AVI, EBML, MATROSKA, MOV, MP4, WEBM, Kind

# Boxes at the top of an MP4 or MOV are few; a file with more than this is not walked to its end.
MOST_BOXES = 10_000
SEGMENT_ID = b"\x18\x53\x80\x67"
CUT = "cut_short"


def check_whole(path: Path, kind: Kind) -> None:
    """Refused if the file ends before its own sizes say; reads a few bytes only. MPEG-TS states no size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if kind in (MP4, MOV):
            missing = _missing_of_boxes(file, size)
        elif kind in (WEBM, MATROSKA):
            missing = _missing_of_segment(file, size)
        elif kind == AVI:
            file.seek(4)
            missing = int.from_bytes(file.read(4), "little") + 8 - size
        else:
            missing = 0
    if missing > 0:
        raise Refused(
            f"This video was cut short: {missing:,} bytes are missing at its end. Send the whole file.",
            code=CUT,
        )


def _missing_of_boxes(file: BinaryIO, size: int) -> int:
    """Bytes missing from the last box; a size of 0 means to the end of the file (ISO/IEC 14496-12, 4.2)."""
    at = 0
    for _ in range(MOST_BOXES):
        if at + 8 > size:
            return 0
        file.seek(at)
        head = file.read(16)
        box_bytes = int.from_bytes(head[:4], "big")
        if box_bytes == 1:
            box_bytes = int.from_bytes(head[8:16], "big")
        if box_bytes < 8:
            return 0
        if at + box_bytes > size:
            # Junk behind the last real box also reads as a box; only these two hold what is played.
            return at + box_bytes - size if head[4:8] in (b"mdat", b"moov") else 0
        at += box_bytes
    return 0


def _missing_of_segment(file: BinaryIO, size: int) -> int:
    """Bytes missing from the segment; all ones means unknown, as in a live recording (RFC 8794, 6.2)."""
    head = file.read(4096)
    if not head.startswith(EBML):
        return 0
    length, width = _number(head, 4)
    at = 4 + width + (length or 0)
    if head[at : at + 4] != SEGMENT_ID:
        return 0
    segment, width = _number(head, at + 4)
    return 0 if segment is None else at + 4 + width + segment - size


def _number(head: bytes, at: int) -> tuple[int | None, int]:
    """A number of variable width and that width; None for "unknown"."""
    if at >= len(head) or head[at] == 0:
        return None, 1
    width = 9 - head[at].bit_length()
    value = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width
