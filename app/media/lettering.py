"""Writes titles and captions as one ASS file for libass. People's words stay words: no override, no new line.

ASS has no way to write a backslash itself, and `{` opens a block of commands. A word joiner (U+2060, nothing
to see) behind each backslash keeps it from forming a command, and `\\{` is a plain brace to libass.
"""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path

from app.media.design import Title
from app.media.srt import Caption

FONTS = Path(__file__).parent / "fonts"
FONT = "Noto Sans"
JOINER = "\u2060"
# Where the number keys stand is where ASS puts the text.
KEYS = {
    "bottomleft": 1, "bottom": 2, "bottomright": 3,
    "left": 4, "center": 5, "right": 6,
    "topleft": 7, "top": 8, "topright": 9,
}  # fmt: skip
MARGIN = 0.05
# Read from Noto Sans Bold: a line is 1.36 sizes high; capitals are 0.67 (Latin) to 0.76 (Cyrillic) sizes wide on
# average, small letters 0.57 to 0.68, the widest (Щ) 1.11.
LINE_HEIGHT = 1.36
WIDE, CAPITAL, SMALL = 1.1, 0.82, 0.68
WIDE_LETTERS = frozenset("mwMW@%жмфшщыюЖМФШЩЫЮωψΦΨΩΜ")
# A title takes at most this part of the picture's height.
TALLEST_TITLE = 0.8
CAPTION_PERCENT = 4.5
SMALLEST_PX = 8.0

HEAD = """[Script Info]
ScriptType: v4.00+
PlayResX: {width}
PlayResY: {height}
WrapStyle: 0
ScaledBorderAndShadow: yes
YCbCr Matrix: None

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, \
MarginV, Encoding
{styles}

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
{events}
"""


def letter(
    title: Title | None, captions: tuple[Caption, ...], *, width_px: int, height_px: int, duration_s: float
) -> str:
    """The text of an ASS file that shows this title throughout and these captions at their times."""
    styles, events = [], []
    if title is not None:
        size_px, text = _fitted(title.text, title.size_percent / 100 * height_px, width_px, height_px)
        styles.append(_style("Title", size_px, title.colour, KEYS[title.position], width_px, height_px))
        # Past the end, so that the last picture carries it too.
        events.append(_event(0, math.ceil(duration_s * 1000) + 10_000, "Title", text))
    if captions:
        size_px = CAPTION_PERCENT / 100 * max(width_px, height_px)
        styles.append(_style("Caption", size_px, "#ffffff", KEYS["bottom"], width_px, height_px))
        events += [
            _event(caption.start_ms, caption.end_ms, "Caption", _broken(caption.text, size_px, width_px))
            for caption in captions
        ]
    return HEAD.format(width=width_px, height=height_px, styles="\n".join(styles), events="\n".join(events))


def plain(text: str) -> str:
    """These words for the text field of an ASS event: shown as they are, whatever they hold."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").splitlines()
    kept = (
        "".join(ch if ch.isprintable() or ch == "\u200d" else " " for ch in line).strip() for line in lines
    )
    return "\\N".join(line.replace("\\", "\\" + JOINER).replace("{", "\\{") for line in kept)


def _fitted(text: str, size_px: float, width_px: int, height_px: int) -> tuple[float, str]:
    """The size, made smaller until all lines stand in the picture, and the text with its line breaks."""
    while size_px > SMALLEST_PX:
        room = _room(size_px, width_px)
        lines = sum(math.ceil(max(1.0, _width(line)) / room) for line in text.splitlines() or [""])
        if lines * size_px * LINE_HEIGHT <= TALLEST_TITLE * height_px:
            break
        size_px *= 0.9
    return size_px, _broken(text, size_px, width_px)


def _broken(text: str, size_px: float, width_px: int) -> str:
    """Plain text in which no word is wider than the picture: libass breaks lines at spaces only."""
    room = _room(size_px, width_px)
    lines = (" ".join(_split(word, room) for word in line.split(" ")) for line in text.splitlines())
    return plain("\n".join(lines))


def _split(word: str, room: float) -> str:
    pieces, width = [""], 0.0
    for ch in word:
        width += _width(ch)
        if width > room and pieces[-1]:
            pieces.append("")
            width = _width(ch)
        pieces[-1] += ch
    return "\n".join(pieces)


def _room(size_px: float, width_px: int) -> float:
    """How many sizes wide a line may be."""
    return max(1.0, width_px * (1 - 2 * MARGIN) / size_px)


def _width(text: str) -> float:
    """About how many sizes wide this is, rather too much than too little."""
    return sum(
        WIDE if ch in WIDE_LETTERS or unicodedata.east_asian_width(ch) in "WF"
        else CAPITAL if ch.isupper()
        else SMALL
        for ch in text
    )  # fmt: skip


def _style(name: str, size_px: float, colour: str, key: int, width_px: int, height_px: int) -> str:
    red, green, blue = colour[1:3], colour[3:5], colour[5:7]
    outline = max(1.0, size_px * 0.06)
    fields = [
        name, FONT, f"{size_px * LINE_HEIGHT:.1f}", f"&H00{blue}{green}{red}", "&H00FFFFFF", "&H00000000", "&H80000000",
        -1, 0, 0, 0, 100, 100, 0, 0, 1, f"{outline:.1f}", f"{outline / 2:.1f}", key,
        round(width_px * MARGIN), round(width_px * MARGIN), round(height_px * MARGIN), 1,
    ]  # fmt: skip
    return "Style: " + ",".join(str(field) for field in fields)


def _event(start_ms: int, end_ms: int, style: str, text: str) -> str:
    return f"Dialogue: 0,{_clock(start_ms)},{_clock(end_ms)},{style},,0,0,0,,{text}"


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms // 10 % 100:02}"
