"""Writes titles and captions as one ASS file for libass. People's words stay words: no override, no new line.

ASS has no way to write a backslash itself, and `{` opens a block of commands. A word joiner (U+2060, nothing
to see) behind each backslash keeps it from forming a command, and `\\{` is a plain brace to libass. Commands of our
own change the font where the chosen one lacks a letter: libass finds no other by itself on a machine without fonts.
"""

from __future__ import annotations

import math
import unicodedata
from itertools import groupby

from app.media.captions import Caption, read_captions
from app.media.design import Captions, Design, Title
from app.media.typefaces import STAND_IN, Typeface, typeface

JOINER = "\u2060"
# Where the number keys stand is where ASS puts the text.
KEYS = {
    "bottomleft": 1, "bottom": 2, "bottomright": 3,
    "left": 4, "center": 5, "right": 6,
    "topleft": 7, "top": 8, "topright": 9,
}  # fmt: skip
MARGIN = 0.05
# A letter that no font of ours has comes from a font of the machine, if any: about as wide as the widest of ours.
FOREIGN = 1.1
# Letters lean over, and the outline stands around them.
LEANING = 1.03
# A title takes at most this part of the picture's height, captions half of it.
TALLEST_TITLE = 0.8
TALLEST_CAPTION = 0.5
SMALLEST_PX = 8.0
# The box behind captions lets a little of the picture through; its edge is this part of the letters' size away.
BOX_ALPHA = 0x40
BOX_EDGE = 0.2

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


def letter(design: Design, *, width_px: int, height_px: int, duration_s: float) -> str | None:
    """The text of an ASS file for a clip this large and long: the title throughout, the captions that are burned in
    at their times. None where there is nothing to write.
    """
    title, captions = design.title, read_captions(design.burned_text or "")
    styles, events = [], []
    if title is not None:
        style, event = _title(title, width_px, height_px, duration_s)
        styles.append(style)
        events.append(event)
    if captions:
        look = design.captions or Captions()
        styles.append(_caption_style(look, width_px, height_px))
        events += [_caption(caption, look, width_px, height_px) for caption in captions]
    if not events:
        return None
    return HEAD.format(width=width_px, height=height_px, styles="\n".join(styles), events="\n".join(events))


def plain(text: str) -> str:
    """These words for the text field of an ASS event: shown as they are, whatever they hold."""
    return "\\N".join(_kept(line) for line in _lines(text))


def _title(title: Title, width_px: int, height_px: int, duration_s: float) -> tuple[str, str]:
    """Its style and its event."""
    font = typeface(title.font)
    across, down = (
        (round(width_px * MARGIN), round(height_px * MARGIN))
        if title.margin_px is None
        else (min(title.margin_px, width_px // 3), min(title.margin_px, height_px // 3))
    )
    wanted_px = title.size_percent / 100 * height_px
    room = (width_px - 2 * across, TALLEST_TITLE * height_px)
    size_px, text = _fitted(title.text, font, wanted_px, room)
    style = _style(
        "Title",
        font,
        size_px,
        title.colour,
        title.position,
        (across, down),
        veil=round(255 * (1 - title.opacity)),
    )
    # Past the end, so that the last picture carries it too.
    return style, _event(0, math.ceil(duration_s * 1000) + 10_000, "Title", text)


def _caption_style(look: Captions, width_px: int, height_px: int) -> str:
    margins = (round(width_px * MARGIN), round(height_px * MARGIN))
    size_px = _caption_px(look, width_px, height_px)
    return _style(
        "Caption", typeface(look.font), size_px, look.colour, look.position, margins, box=look.background
    )


def _caption(caption: Caption, look: Captions, width_px: int, height_px: int) -> str:
    """One event; one that would fill the picture is written smaller."""
    font = typeface(look.font)
    wanted_px = _caption_px(look, width_px, height_px)
    room = (width_px - 2 * round(width_px * MARGIN), TALLEST_CAPTION * height_px)
    size_px, text = _fitted(caption.text, font, wanted_px, room)
    if size_px < wanted_px:
        text = f"{{\\fs{size_px * font.line_height:.1f}}}{text}"
    return _event(caption.start_ms, caption.end_ms, "Caption", text)


def _caption_px(look: Captions, width_px: int, height_px: int) -> float:
    """Read on a phone, a tall picture is as near as a wide one: the longer side counts."""
    return look.size_percent / 100 * max(width_px, height_px)


def _fitted(text: str, font: Typeface, size_px: float, room_px: tuple[float, float]) -> tuple[float, str]:
    """The size, made smaller until all lines stand in the room, and the text with its line breaks: libass breaks
    lines at spaces only, so words wider than the room are broken here.
    """
    while True:
        room = max(1.0, room_px[0] / size_px)
        lines = _lines(text) or [""]
        wanted = sum(math.ceil(max(1.0, _width(line, font)) / room) for line in lines)
        if wanted * size_px * font.line_height <= room_px[1] or size_px <= SMALLEST_PX:
            break
        size_px = max(SMALLEST_PX, size_px * 0.9)
    broken = (" ".join(_split(word, font, room) for word in line.split(" ")) for line in lines)
    return size_px, "\\N".join(_written(line, font, size_px) for line in "\n".join(broken).split("\n"))


def _lines(text: str) -> list[str]:
    """Its lines; characters that cannot be shown are blanks."""
    return [
        "".join(ch if ch.isprintable() or ch == "\u200d" else " " for ch in line).strip()
        for line in unicodedata.normalize("NFC", text).replace("\r\n", "\n").splitlines()
    ]


def _written(line: str, font: Typeface, size_px: float) -> str:
    """Plain text, with the font changed around the letters that the chosen one lacks."""
    if font.name == STAND_IN:
        return plain(line)
    other = typeface(STAND_IN)
    # With the size, or the letters of the two would not be equally large.
    change = f"{{\\fn{other.name}\\b1\\fs{size_px * other.line_height:.1f}}}"
    back = f"{{\\fn{font.name}\\b{int(font.bold)}\\fs{size_px * font.line_height:.1f}}}"
    # The joiner behind a backslash is no letter of most fonts, so the two change together.
    runs = groupby(line, key=lambda ch: ch != "\\" and (ch == " " or font.draws(ch) or not other.draws(ch)))
    return "".join(
        _kept(run) if drawn else change + _kept(run) + back
        for drawn, run in ((drawn, "".join(letters)) for drawn, letters in runs)
    )


def _kept(run: str) -> str:
    return run.replace("\\", "\\" + JOINER).replace("{", "\\{")


def _split(word: str, font: Typeface, room: float) -> str:
    pieces, width = [""], 0.0
    for ch in word:
        width += _width(ch, font)
        if width > room and pieces[-1]:
            pieces.append("")
            width = _width(ch, font)
        pieces[-1] += ch
    return "\n".join(pieces)


def _width(text: str, font: Typeface) -> float:
    """About how many sizes wide this is, rather too much than too little."""
    others = typeface(STAND_IN).widths
    return LEANING * sum(font.widths.get(ch, others.get(ch, FOREIGN)) for ch in text)


def _style(
    name: str,
    font: Typeface,
    size_px: float,
    colour: str,
    position: str,
    margins: tuple[int, int],
    *,
    veil: int = 0,
    box: str | None = None,
) -> str:
    """A style of ASS; its colours are alpha (0 is opaque), blue, green, red. `box` is the colour behind the words."""
    outline = max(1.0, size_px * 0.06)
    edge, shadow, kind = f"{outline:.1f}", f"{outline / 2:.1f}", 1
    ring, behind = _colour("#000000", veil), _colour("#000000", 0x80 + veil // 2)
    if box is not None:
        ring, behind = _colour(box, 0xFF), _colour(box, BOX_ALPHA)
        edge, shadow, kind = f"{size_px * BOX_EDGE:.1f}", "0", 4
    fields = [
        name, font.name, f"{size_px * font.line_height:.1f}", _colour(colour, veil), "&H00FFFFFF", ring, behind,
        -1 if font.bold else 0, 0, 0, 0, 100, 100, 0, 0, kind, edge, shadow, KEYS[position],
        margins[0], margins[0], margins[1], 1,
    ]  # fmt: skip
    return "Style: " + ",".join(str(field) for field in fields)


def _colour(colour: str, alpha: int) -> str:
    return f"&H{alpha:02X}{colour[5:7]}{colour[3:5]}{colour[1:3]}"


def _event(start_ms: int, end_ms: int, style: str, text: str) -> str:
    return f"Dialogue: 0,{_clock(start_ms)},{_clock(end_ms)},{style},,0,0,0,,{text}"


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms // 10 % 100:02}"
