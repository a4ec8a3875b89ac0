"""Reads SubRip captions. What it cannot read it leaves out; it never raises on what people send."""

from __future__ import annotations

import re
from dataclasses import dataclass

TIMES = re.compile(
    r"^\s*(?:(\d{1,2}):)?(\d{1,2}):(\d{2})[,.](\d{1,3})\s*-->\s*(?:(\d{1,2}):)?(\d{1,2}):(\d{2})[,.](\d{1,3})"
)
# Marks of form that players show as form: taken out, never passed on.
MARKS = re.compile(r"</?(?:b|i|u|s|font)\b[^>]*>", re.IGNORECASE)
MOST_CAPTIONS = 20_000


@dataclass(frozen=True)
class Caption:
    """One caption; several lines are separated by a line break."""

    start_ms: int
    end_ms: int
    text: str


def read_srt(srt: str) -> tuple[Caption, ...]:
    """The captions in order of their start; those without text or without length are left out."""
    captions: list[Caption] = []
    lines = srt.removeprefix("\ufeff").splitlines()
    at = 0
    while at < len(lines) and len(captions) < MOST_CAPTIONS:
        found = TIMES.match(lines[at])
        at += 1
        if found is None:
            continue
        words: list[str] = []
        while at < len(lines) and lines[at].strip():
            words.append(MARKS.sub("", lines[at]).strip())
            at += 1
        start_ms, end_ms = _ms(found.groups()[:4]), _ms(found.groups()[4:])
        text = "\n".join(word for word in words if word)
        if text and end_ms > start_ms:
            captions.append(Caption(start_ms, end_ms, text))
    return tuple(sorted(captions, key=lambda caption: caption.start_ms))


def _ms(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))
