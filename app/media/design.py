"""What a brand puts on a video: a frame, a logo, a title, captions, clips before and after, named effects.

All of it is off until asked for. Knows the words of the JSON and what each may be; how it is drawn knows `look`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.config import POSITIONS
from app.errors import Refused
from app.media.captions import read_captions
from app.media.typefaces import FONTS

# In the order in which they are drawn.
COLOURS = ("grayscale", "warm", "cool", "vivid", "vintage")
FADES = ("fade-in", "fade-out")
EFFECTS = (*FADES, *COLOURS, "blur-fill", "loudness")
# Width to height; "original" keeps the source's own.
ASPECTS: Mapping[str, tuple[int, int] | None] = {
    "original": None,
    "9:16": (9, 16),
    "1:1": (1, 1),
    "4:5": (4, 5),
    "16:9": (16, 9),
}
FITS = ("crop", "blur", "pad")
MODES = ("burned", "side", "both")
MOST_TITLE_LETTERS = 300
MOST_SRT_LETTERS = 500_000
MOST_URL_LETTERS = 2000
LOGO_URL = "must be one of your logos (asset:7) or an address that starts with http:// or https://"
CLIP_URL = "must be one of your clips (asset:7)"
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
# A short form of BCP 47: a language, then script, region or variant.
LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8}){0,3}")


@dataclass(frozen=True)
class Frame:
    """The shape of the video. `fit` says what becomes of a picture of another shape: `crop` keeps the part around
    the focus (0, 0 is the upper left corner, 1, 1 the lower right), `blur` sets it before a blurred copy of itself,
    `pad` before `colour`.
    """

    aspect: str = "original"
    fit: str = "crop"
    focus_x: float = 0.5
    focus_y: float = 0.5
    colour: str = "#000000"


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
    """A line of text over the whole video. `size_percent` is the height of its letters in the picture's height;
    `margin_px` None is a twentieth of the picture.
    """

    text: str
    position: str = "top"
    size_percent: float = 6.0
    colour: str = "#ffffff"
    font: str = FONTS[0]
    opacity: float = 1.0
    margin_px: int | None = None


@dataclass(frozen=True)
class Captions:
    """Captions, burned in or beside the video. `srt` is SubRip or WebVTT; enabled without it there is nothing to
    show yet. `size_percent` is the height of the letters in the picture's longer side; `background` is the colour of
    a box behind the words, None an outline only; `language` is a tag like `en` or `pt-BR`, `und` not known.
    """

    enabled: bool = False
    srt: str | None = None
    mode: str = "burned"
    language: str = "und"
    size_percent: float = 4.5
    position: str = "bottom"
    colour: str = "#ffffff"
    background: str | None = None
    font: str = FONTS[0]


@dataclass(frozen=True)
class Bookend:
    """A clip before or behind the video: one of the workspace's own (`asset:7`)."""

    url: str


@dataclass(frozen=True)
class Design:
    """All that is asked for one video; `Design()` asks for nothing."""

    watermark: Watermark | None = None
    title: Title | None = None
    captions: Captions | None = None
    effects: tuple[str, ...] = ()
    frame: Frame | None = None
    intro: Bookend | None = None
    outro: Bookend | None = None

    @property
    def framed(self) -> Frame:
        """The frame that is meant: the effect `blur-fill` is a blurred one, 9:16 unless the frame says otherwise."""
        frame = self.frame or Frame()
        if "blur-fill" not in self.effects:
            return frame
        return Frame("9:16" if frame.aspect == "original" else frame.aspect, "blur")

    @property
    def changes_picture(self) -> bool:
        """Whether a single pixel would differ; if not, a video that already fits is copied as it is.

        A frame counts, also one that the source has already: that is known only with the source (`look.framing`).
        """
        return self.framed.aspect != "original" or self.draws

    @property
    def draws(self) -> bool:
        """Whether a pixel would differ even in a video that has the frame's shape already."""
        return bool(
            self.watermark or self.title or self.burned_text or self.intro or self.outro
            or set(self.effects) & {*FADES, *COLOURS}
        )  # fmt: skip

    @property
    def changes_sound(self) -> bool:
        """Whether the sound would differ: fading the picture fades it too."""
        return bool(self.intro or self.outro or set(self.effects) & {*FADES, "loudness"})

    @property
    def burned_text(self) -> str | None:
        """The captions, SubRip or WebVTT, that become part of the picture."""
        shown = self.captions
        return shown.srt if shown and shown.enabled and shown.mode != "side" else None

    @property
    def side_text(self) -> str | None:
        """The captions, SubRip or WebVTT, that stand beside the video for the player to show."""
        shown = self.captions
        return shown.srt if shown and shown.enabled and shown.mode != "burned" else None

    def to_json(self) -> dict[str, Any]:
        """The same words that `read_design` takes; what is off is left out.

        Newer words are left out too where they say the usual: code of the release before can then read it.
        """
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
                **_unusual(title, {"font": "font", "opacity": "opacity", "marginPx": "margin_px"}),
            }
        if shown := self.captions:
            words = ("mode", "language", "position", "colour", "background", "font")
            parts["captions"] = {
                "enabled": shown.enabled,
                "srt": shown.srt,
                **_unusual(shown, {word: word for word in words} | {"sizePercent": "size_percent"}),
            }
        if self.effects:
            parts["effects"] = list(self.effects)
        if frame := self.frame:
            parts["frame"] = {
                "aspect": frame.aspect,
                "fit": frame.fit,
                "focusX": frame.focus_x,
                "focusY": frame.focus_y,
                "colour": frame.colour,
            }
        for word, clip in (("intro", self.intro), ("outro", self.outro)):
            if clip:
                parts[word] = {"url": clip.url}
        return parts


def _unusual(part: Title | Captions, fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        word: getattr(part, field)
        for word, field in fields.items()
        if getattr(part, field) != getattr(type(part), field)
    }


def read_design(asked: Mapping[str, Any] | None) -> Design:
    """The design that this JSON asks for. Refused with every problem at once, each under its full name
    (`design.watermark.position`); names that we do not know are problems too.
    """
    problems: dict[str, str] = {}
    known = ("watermark", "title", "captions", "effects", "frame", "intro", "outro")
    top = _Part(asked, "design", problems, known)
    design = Design(
        watermark=_watermark(top),
        title=_title(top),
        captions=_captions(top),
        effects=top.effects("effects"),
        frame=_frame(top),
        intro=_bookend(top, "intro"),
        outro=_bookend(top, "outro"),
    )
    if problems:
        raise Refused("The design cannot be used as it is.", code="invalid_design", fields=problems)
    return design


def _watermark(top: _Part) -> Watermark | None:
    mark = top.part("watermark", ("url", "position", "opacity", "marginPx", "scale"))
    if mark is None:
        return None
    return Watermark(
        url=mark.url("url"),
        position=mark.choice("position", Watermark.position, POSITIONS),
        opacity=mark.number("opacity", Watermark.opacity, 0, 1),
        margin_px=round(mark.number("marginPx", Watermark.margin_px, 0, 1000)),
        scale=mark.number("scale", Watermark.scale, 0.01, 1),
    )


def _title(top: _Part) -> Title | None:
    text = top.part("title", ("text", "position", "sizePercent", "colour", "font", "opacity", "marginPx"))
    if text is None:
        return None
    return Title(
        text=text.text("text", MOST_TITLE_LETTERS),
        position=text.choice("position", Title.position, POSITIONS),
        size_percent=text.number("sizePercent", Title.size_percent, 1, 30),
        colour=text.colour("colour", Title.colour),
        font=text.choice("font", Title.font, FONTS),
        opacity=text.number("opacity", Title.opacity, 0, 1),
        margin_px=round(text.number("marginPx", 0, 0, 1000)) if text.says("marginPx") else None,
    )


def _captions(top: _Part) -> Captions | None:
    part = top.part(
        "captions",
        ("enabled", "srt", "mode", "language", "sizePercent", "position", "colour", "background", "font"),
    )
    if part is None:
        return None
    return Captions(
        enabled=part.flag("enabled"),
        srt=part.srt("srt"),
        mode=part.choice("mode", Captions.mode, MODES),
        language=part.language("language", Captions.language),
        size_percent=part.number("sizePercent", Captions.size_percent, 1, 15),
        position=part.choice("position", Captions.position, POSITIONS),
        colour=part.colour("colour", Captions.colour),
        background=part.colour("background", "#000000") if part.says("background") else None,
        font=part.choice("font", Captions.font, FONTS),
    )


def _frame(top: _Part) -> Frame | None:
    frame = top.part("frame", ("aspect", "fit", "focusX", "focusY", "colour"))
    if frame is None:
        return None
    return Frame(
        aspect=frame.choice("aspect", Frame.aspect, tuple(ASPECTS)),
        fit=frame.choice("fit", Frame.fit, FITS),
        focus_x=frame.number("focusX", Frame.focus_x, 0, 1),
        focus_y=frame.number("focusY", Frame.focus_y, 0, 1),
        colour=frame.colour("colour", Frame.colour),
    )


def _bookend(top: _Part, key: str) -> Bookend | None:
    clip = top.part(key, ("url",))
    if clip is None:
        return None
    return Bookend(clip.clip("url"))


class _Part:
    """One object of the JSON; every reader notes a problem under its full name and goes on with a stand-in."""

    def __init__(self, asked: object, name: str, problems: dict[str, str], known: tuple[str, ...]) -> None:
        self._name = name
        self._problems = problems
        self._given: dict[str, Any] = {}
        self._readable = asked is None or isinstance(asked, Mapping)
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
        # What is no object at all is one problem, not one for each word that it does not hold.
        if self._readable:
            self._problems[f"{self._name}.{key}"] = problem

    def says(self, key: str) -> bool:
        return key in self._given

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

    def choice(self, key: str, otherwise: str, among: Sequence[str]) -> str:
        choice = self._given.get(key, otherwise)
        if choice not in among:
            self._wrong(key, f"must be one of {', '.join(among)}")
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
        if not isinstance(colour, str) or not COLOUR.fullmatch(colour):
            self._wrong(key, "must be a colour like #ffcc00")
            return otherwise
        return colour.lower()

    def language(self, key: str, otherwise: str) -> str:
        language = self._given.get(key, otherwise)
        if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
            self._wrong(key, "must be the tag of a language like en or pt-BR")
            return otherwise
        return language

    def url(self, key: str) -> str | None:
        url = self._given.get(key)
        if url is None:
            return None
        try:
            parts = urlsplit(url) if isinstance(url, str) and len(url) <= MOST_URL_LETTERS else None
            web = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
            good = _kept(url) or web
        except ValueError:
            good = False
        if not good:
            self._wrong(key, LOGO_URL)
            return None
        return str(url)

    def clip(self, key: str) -> str:
        url = self._given.get(key)
        if not _kept(url):
            self._wrong(key, CLIP_URL)
            return ""
        return str(url)

    def srt(self, key: str) -> str | None:
        srt = self._given.get(key)
        if srt is None:
            return None
        if not isinstance(srt, str) or len(srt) > MOST_SRT_LETTERS:
            self._wrong(key, f"must be a text of at most {MOST_SRT_LETTERS} characters")
            return None
        if not read_captions(srt):
            self._wrong(key, "holds no captions in SubRip (00:00:01,000 --> 00:00:02,000) or WebVTT form")
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


def _kept(url: object) -> bool:
    """Whether this names something that the workspace keeps: `asset:7`."""
    return isinstance(url, str) and re.fullmatch(r"asset:[1-9][0-9]{0,17}", url) is not None
