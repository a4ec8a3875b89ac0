"""What the bundled fonts can draw and how wide each letter is, read from the font files themselves.

The lettering needs both before anything is drawn: libass breaks lines at spaces only, and on a machine without
fonts of its own it draws nothing for a letter that the chosen font lacks. Tables: OpenType 1.9, cmap, hmtx, OS/2.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FONT_FOLDER = Path(__file__).parent / "fonts"
# The first has the most letters and stands in for what the others lack.
FILES: Mapping[str, str] = {
    "Noto Sans": "NotoSans-Bold.ttf",
    "Vollkorn": "Vollkorn-Bold.ttf",
    "Yanone Kaffeesatz": "YanoneKaffeesatz-Bold.otf",
    "Kaushan Script": "KaushanScript-Regular.otf",
}
FONTS = tuple(FILES)
STAND_IN = FONTS[0]


@dataclass(frozen=True)
class Typeface:
    """A font. Widths and `line_height` count in sizes: 1 is the size of the letters."""

    name: str
    bold: bool
    line_height: float
    widths: Mapping[str, float]

    def draws(self, letter: str) -> bool:
        return letter in self.widths


@cache
def typeface(name: str) -> Typeface:
    """One of `FONTS`; its file is read once."""
    content = (FONT_FOLDER / FILES[name]).read_bytes()
    tables = _tables(content)
    (em,) = struct.unpack_from(">H", content, tables["head"] + 18)
    (weight,) = struct.unpack_from(">H", content, tables["OS/2"] + 4)
    # What Windows takes for the height of a line is what libass scales by.
    above, below = struct.unpack_from(">HH", content, tables["OS/2"] + 74)
    advances = _advances(content, tables)
    glyphs = _glyphs(content, tables["cmap"])
    widths = {letter: advances[min(glyph, len(advances) - 1)] / em for letter, glyph in glyphs.items()}
    return Typeface(name, weight >= 600, (above + below) / em, widths)


def _tables(content: bytes) -> dict[str, int]:
    (count,) = struct.unpack_from(">H", content, 4)
    found = struct.iter_unpack(">4sLLL", content[12 : 12 + 16 * count])
    return {name.decode("ascii"): start for name, _, start, _ in found}


def _advances(content: bytes, tables: Mapping[str, int]) -> list[int]:
    """The width of each glyph; those past the end are as wide as the last."""
    (count,) = struct.unpack_from(">H", content, tables["hhea"] + 34)
    return list(struct.unpack_from(">" + "Hh" * count, content, tables["hmtx"])[::2])


def _glyphs(content: bytes, cmap: int) -> dict[str, int]:
    """The glyph of each letter of the Basic Multilingual Plane: format 4, which each of our fonts has."""
    (count,) = struct.unpack_from(">H", content, cmap + 2)
    maps = struct.iter_unpack(">HHL", content[cmap + 4 : cmap + 4 + 8 * count])
    at = next(cmap + start for platform, coding, start in maps if (platform, coding) == (3, 1))
    segments = struct.unpack_from(">H", content, at + 6)[0] // 2
    each = f">{segments}H"
    ends = struct.unpack_from(each, content, at + 14)
    starts = struct.unpack_from(each, content, at + 16 + 2 * segments)
    deltas = struct.unpack_from(each, content, at + 16 + 4 * segments)
    offsets_at = at + 16 + 6 * segments
    offsets = struct.unpack_from(each, content, offsets_at)
    glyphs: dict[str, int] = {}
    for number, (start, end, delta, offset) in enumerate(zip(starts, ends, deltas, offsets, strict=True)):
        for code in range(start, min(end, 0xFFFE) + 1):
            glyph = code
            if offset:
                (glyph,) = struct.unpack_from(
                    ">H", content, offsets_at + 2 * number + offset + 2 * (code - start)
                )
            if glyph and (glyph := (glyph + delta) & 0xFFFF):
                glyphs[chr(code)] = glyph
    return glyphs
