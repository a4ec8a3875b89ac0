"""Reads captions, SubRip and WebVTT, and writes WebVTT. What it cannot read it leaves out; it never raises on
what people send.

Knows times and words only: colours, places and voices that a file may ask for are taken out, the design has its own.
WebVTT is the W3C's, https://www.w3.org/TR/webvtt1/; SubRip has no paper, the reading is as lenient as players are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,9}))?"
TIMES = re.compile(rf"\s*{TIME}\s*-->\s*{TIME}(?!\d)", re.ASCII)
LINE_BREAK = re.compile(r"\r\n|\r|\n")
# Marks of form that players show as form: taken out, never passed on. The last is SubRip borrowing from ASS.
# None reaches past the next <: a file of nothing but < would take hours.
SRT_MARKS = re.compile(r"</?(?:b|i|u|s|font)\b[^<>]*>|\{\\an?\d{1,2}\}", re.IGNORECASE)
# Everything from < to > is a mark to WebVTT: voices, classes, languages, karaoke times.
VTT_MARKS = re.compile(r"<[^<>]*>")
# Blocks of WebVTT that hold no words to show.
ASIDE = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")
MOST_CAPTIONS = 20_000


@dataclass(frozen=True)
class Caption:
    """One caption; several lines are separated by a line break."""

    start_ms: int
    end_ms: int
    text: str


def read_captions(text: str) -> tuple[Caption, ...]:
    """The captions of a SubRip or WebVTT file in order of their start; those without words or without length are
    left out, and so is all past the first 20,000.
    """
    text = text.removeprefix("\ufeff")
    web = text.lstrip().startswith("WEBVTT")
    lines = LINE_BREAK.split(text)
    found: list[Caption] = []
    at = 0
    while at < len(lines) and len(found) < MOST_CAPTIONS:
        if web and ASIDE.match(lines[at]):
            at = _block_end(lines, at)
            continue
        times = TIMES.match(lines[at])
        at += 1
        if times is None:
            continue
        start = at
        at = _block_end(lines, at)
        start_ms, end_ms = _ms(times.groups()[:4]), _ms(times.groups()[4:])
        words = _words(_without_number(lines, start, at), web=web)
        if words and end_ms > start_ms:
            found.append(Caption(start_ms, end_ms, words))
    return tuple(sorted(found, key=lambda caption: caption.start_ms))


def vtt(captions: Iterable[Caption], *, shift_ms: int = 0, until_ms: int | None = None) -> str:
    """A WebVTT file of these captions, `shift_ms` later each (the intro's length).

    `until_ms` is where the captioned clip ends, in the captions' own time: what begins past it is left out and what
    lasts longer is cut there, or it would stand over the outro.
    """
    blocks = ["WEBVTT\n"]
    for caption in sorted(captions, key=lambda caption: caption.start_ms):
        end_ms = caption.end_ms if until_ms is None else min(caption.end_ms, until_ms)
        words = _escaped(caption.text)
        if words and end_ms > caption.start_ms:
            blocks.append(f"{_clock(caption.start_ms + shift_ms)} --> {_clock(end_ms + shift_ms)}\n{words}\n")
    return "\n".join(blocks)


def _block_end(lines: Sequence[str], at: int) -> int:
    """Where the block that `at` stands in ends: the next empty line, or times, as files that lost their empty
    lines have them.
    """
    while at < len(lines) and lines[at].strip() and not TIMES.match(lines[at]):
        at += 1
    return at


def _without_number(lines: Sequence[str], start: int, end: int) -> Sequence[str]:
    """The lines of a caption, without the number of the next one where no empty line stands between them."""
    joined = start < end < len(lines) and TIMES.match(lines[end])
    return lines[start : end - 1] if joined and lines[end - 1].strip().isdecimal() else lines[start:end]


def _words(lines: Iterable[str], *, web: bool) -> str:
    text = "\n".join(lines)
    text = html.unescape(VTT_MARKS.sub("", text)) if web else SRT_MARKS.sub("", text)
    return _lines(text)


def _lines(text: str) -> str:
    """Its lines without the empty ones; characters that no one can see are blanks."""
    shown = (
        "".join(ch if ch.isprintable() or ch in "\u200c\u200d" else " " for ch in line).strip()
        for line in LINE_BREAK.split(text)
    )
    return "\n".join(line for line in shown if line)


def _escaped(text: str) -> str:
    return _lines(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ms(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0")[:3].ljust(3, "0"))


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
