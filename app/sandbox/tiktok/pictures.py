"""Reads format and size of a JPEG or WebP picture from its first bytes; knows no other format."""

from __future__ import annotations

from pathlib import Path

MOST_LONG_SIDE_PX = 1920
MOST_SHORT_SIDE_PX = 1080
JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def picture_problem(path: Path) -> str | None:
    """The fail_reason for this picture, or None: JPEG or WebP, up to 1080p (section 4.6 of the sheet)."""
    size = _size_of(path.read_bytes())
    if size is None:
        return "file_format_check_failed"
    if max(size) > MOST_LONG_SIDE_PX or min(size) > MOST_SHORT_SIDE_PX or min(size) < 1:
        return "picture_size_check_failed"
    return None


def _size_of(content: bytes) -> tuple[int, int] | None:
    if content[:3] == b"\xff\xd8\xff":
        return _jpeg_size(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP" and len(content) >= 30:
        return _webp_size(content)
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 < len(content) and content[place] == 0xFF:
        if content[place + 1] in JPEG_FRAMES:
            return (
                int.from_bytes(content[place + 7 : place + 9], "big"),
                int.from_bytes(content[place + 5 : place + 7], "big"),
            )
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(content[24:27], "little"),
            1 + int.from_bytes(content[27:30], "little"),
        )
    if kind == b"VP8 ":
        return (
            int.from_bytes(content[26:28], "little") & 0x3FFF,
            int.from_bytes(content[28:30], "little") & 0x3FFF,
        )
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    return None
