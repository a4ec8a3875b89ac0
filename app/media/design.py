"""What a brand puts on a video: a logo, a title, captions, named effects. All of it is off until asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.config import POSITIONS
from app.errors import Refused
from app.media.srt import read_srt

EFFECTS = ("fade-in", "fade-out", "grayscale", "blur-fill")
MOST_TITLE_LETTERS = 300
MOST_SRT_LETTERS = 500_000
MOST_URL_LETTERS = 2000


@dataclass(frozen=True)
class Watermark:
    """A logo. `scale` is its width as a part of the picture's; `url` is an address or a kept logo (`asset:7`), None
    means the house's own file.
    """

    url: str | None
    position: str = "bottomright"
    opacity: float = 1.0
    margin_px: int = 24
    scale: float = 0.15


@dataclass(frozen=True)
class Title:
    """A line of text over the whole video. `size_percent` is the height of its letters in the picture's height."""

    text: str
    position: str = "top"
    size_percent: float = 6.0
    colour: str = "#ffffff"


@dataclass(frozen=True)
class Captions:
    """Captions to burn in. Enabled without a text there is nothing to burn yet."""

    enabled: bool = False
    srt: str | None = None


@dataclass(frozen=True)
class Design:
    """All that is asked for one video; `Design()` asks for nothing."""

    watermark: Watermark | None = None
    title: Title | None = None
    captions: Captions | None = None
    effects: tuple[str, ...] = ()

    @property
    def changes_picture(self) -> bool:
        """Whether a single pixel would differ; if not, a video that already fits is copied as it is."""
        return bool(self.watermark or self.title or self.effects or self.caption_text)

    @property
    def caption_text(self) -> str | None:
        return self.captions.srt if self.captions and self.captions.enabled else None

    def to_json(self) -> dict[str, Any]:
        """The same words that `read_design` takes; what is off is left out."""
        parts: dict[str, Any] = {}
        if mark := self.watermark:
            parts["watermark"] = {
                **({"url": mark.url} if mark.url else {}),
                "position": mark.position,
                "opacity": mark.opacity,
                "marginPx": mark.margin_px,
                "scale": mark.scale,
            }
        if title := self.title:
            parts["title"] = {
                "text": title.text,
                "position": title.position,
                "sizePercent": title.size_percent,
                "colour": title.colour,
            }
        if self.captions:
            parts["captions"] = {"enabled": self.captions.enabled, "srt": self.captions.srt}
        if self.effects:
            parts["effects"] = list(self.effects)
        return parts


def read_design(asked: Mapping[str, Any] | None) -> Design:
    """The design that this JSON asks for. Refused with every problem at once, each under its full name
    (`design.watermark.position`); names that we do not know are problems too.
    """
    problems: dict[str, str] = {}
    top = _Part(asked, "design", problems, ("watermark", "title", "captions", "effects"))
    watermark = title = captions = None
    if mark := top.part("watermark", ("url", "position", "opacity", "marginPx", "scale")):
        watermark = Watermark(
            url=mark.url("url"),
            position=mark.choice("position", Watermark.position),
            opacity=mark.number("opacity", Watermark.opacity, 0, 1),
            margin_px=round(mark.number("marginPx", Watermark.margin_px, 0, 1000)),
            scale=mark.number("scale", Watermark.scale, 0.01, 1),
        )
    if text := top.part("title", ("text", "position", "sizePercent", "colour")):
        title = Title(
            text=text.text("text", MOST_TITLE_LETTERS),
            position=text.choice("position", Title.position),
            size_percent=text.number("sizePercent", Title.size_percent, 1, 30),
            colour=text.colour("colour", Title.colour),
        )
    if part := top.part("captions", ("enabled", "srt")):
        captions = Captions(part.flag("enabled"), part.srt("srt"))
    effects = top.effects("effects")
    if problems:
        raise Refused("The design cannot be used as it is.", code="invalid_design", fields=problems)
    return Design(watermark, title, captions, effects)


class _Part:
    """One object of the JSON; every reader notes a problem under its full name and goes on with a stand-in."""

    def __init__(self, asked: object, name: str, problems: dict[str, str], known: tuple[str, ...]) -> None:
        self._name = name
        self._problems = problems
        self._given: dict[str, Any] = {}
        if asked is None:
            return
        if not isinstance(asked, Mapping):
            problems[name] = "must be an object"
            return
        self._given = {str(key): value for key, value in asked.items() if value is not None}
        for key in self._given:
            if key not in known:
                self._wrong(key[:50], f"is not known; known are {', '.join(known)}")

    def _wrong(self, key: str, problem: str) -> None:
        self._problems[f"{self._name}.{key}"] = problem

    def part(self, key: str, known: tuple[str, ...]) -> _Part | None:
        if key not in self._given:
            return None
        return _Part(self._given[key], f"{self._name}.{key}", self._problems, known)

    def text(self, key: str, most: int) -> str:
        text = self._given.get(key)
        if not isinstance(text, str) or not text.strip():
            self._wrong(key, "must be a text that is not empty")
            return ""
        if len(text) > most:
            self._wrong(key, f"must not be longer than {most} characters")
        return text

    def choice(self, key: str, otherwise: str) -> str:
        choice = self._given.get(key, otherwise)
        if choice not in POSITIONS:
            self._wrong(key, f"must be one of {', '.join(POSITIONS)}")
            return otherwise
        return str(choice)

    def number(self, key: str, otherwise: float, least: float, most: float) -> float:
        number = self._given.get(key, otherwise)
        # True is a number for Python and not for a person; NaN is inside no range.
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not least <= number <= most:
            self._wrong(key, f"must be a number from {least:g} to {most:g}")
            return otherwise
        return float(number)

    def flag(self, key: str) -> bool:
        flag = self._given.get(key, False)
        if not isinstance(flag, bool):
            self._wrong(key, "must be true or false")
            return False
        return flag

    def colour(self, key: str, otherwise: str) -> str:
        colour = self._given.get(key, otherwise)
        if not isinstance(colour, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            self._wrong(key, "must be a colour like #ffcc00")
            return otherwise
        return colour.lower()

    def url(self, key: str) -> str | None:
        url = self._given.get(key)
        if url is None:
            return None
        try:
            parts = urlsplit(url) if isinstance(url, str) and len(url) <= MOST_URL_LETTERS else None
            kept = parts is not None and parts.scheme == "asset" and parts.path.isdigit()
            web = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
            good = kept or web
        except ValueError:
            good = False
        if not good:
            self._wrong(
                key, "must be one of your logos (asset:7) or an address that starts with http:// or https://"
            )
            return None
        return str(url)

    def srt(self, key: str) -> str | None:
        srt = self._given.get(key)
        if srt is None:
            return None
        if not isinstance(srt, str) or len(srt) > MOST_SRT_LETTERS:
            self._wrong(key, f"must be a text of at most {MOST_SRT_LETTERS} characters")
            return None
        if not read_srt(srt):
            self._wrong(key, "holds no captions in SubRip form (00:00:01,000 --> 00:00:02,000)")
        return srt

    def effects(self, key: str) -> tuple[str, ...]:
        asked = self._given.get(key, [])
        if not isinstance(asked, (list, tuple)):
            self._wrong(key, "must be a list of names")
            return ()
        for at, name in enumerate(asked):
            if name not in EFFECTS:
                self._wrong(f"{key}.{at}", f"is not known; known are {', '.join(EFFECTS)}")
        return tuple(name for name in EFFECTS if name in asked)
