"""Reads the description of a file that `ffmpeg -i` prints, as 5.1, 7.0 and 9.0 print it. Pure; runs nothing.

A file can put its own words into this text (titles, keys of tags), so only lines at the exact indent of
ffmpeg's own count, and a stream described twice is refused: one of the two is not from ffmpeg. Names that a file
gives (titles, languages) come out short and printable; they are still somebody's words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.errors import Refused

# ffmpeg 8 puts streams that belong together (a picture and its time code) one step in, below their group.
STREAM = re.compile(r"^(  |    )Stream #0:(\d+)(?:\[0x[0-9a-f]+\])?(?:\(([^)]*)\))?: (\w+): (.*)$")
GROUP = re.compile(r"^  Stream group #0:\d+(?:\[0x[0-9a-f]+\])?(?:\([^)]*\))?: ")
DURATION = re.compile(
    r"^  Duration: (?:(\d+):(\d\d):(\d\d(?:\.\d+)?)|N/A)(?:, start: (-?\d+\.\d+))?"
    r"(?:,.*?bitrate: (?:(\d+) kb/s|N/A))?"
)
CHAPTER = re.compile(r"^    Chapter #0:\d+: start (-?\d+\.\d+), end (-?\d+\.\d+)$")
# MP4 calls the title of a track its name.
TITLE = re.compile(r"^ {6,10}(?:title|name) {11,12}: (.*)$", re.IGNORECASE)
TURN = re.compile(r"^ {6,10}(?:Display Matrix|displaymatrix): rotation of (-?\d+(?:\.\d+)?) degrees")
CODEC = re.compile(r"^(\w+)(?: \(([^()/]+)\))?")
SIZE = re.compile(r"(?:^|, )(\d+)x(\d+)(?= \[|,|$)")
ASPECT = re.compile(r"SAR (\d+):(\d+)")
RATE = re.compile(r"([\d.]+)(k?) (fps|tbr)\b")
BITRATE = re.compile(r", (\d+) kb/s(?=,|$| )")
BITS = re.compile(r"(\d\d)(?:le|be)$|^p0(1[026])")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8}){0,3}", re.IGNORECASE)
# Codecs that ffmpeg has no name for, or knows nothing but the name of.
UNKNOWN_CODECS = ("none", "unknown")
MOST_CHAPTERS = 200
MOST_LETTERS = 100
LAYOUTS = {
    "mono": 1, "stereo": 2, "downmix": 2, "2.1": 3, "3.0": 3, "3.0(back)": 3, "3.1": 4, "4.0": 4, "quad": 4,
    "quad(side)": 4, "4.1": 5, "5.0": 5, "5.0(side)": 5, "5.1": 6, "5.1(side)": 6, "hexagonal": 6, "6.0": 6,
    "6.1": 7, "7.0": 7, "7.1": 8, "7.1(wide)": 8, "octagonal": 8, "cube": 8, "binaural": 2,
}  # fmt: skip
# "5.1.2(back)": around, low, above.
NUMBERED_LAYOUT = re.compile(r"(\d{1,2})\.(\d)(?:\.(\d))?(?:\([\w-]+\))?")


@dataclass(frozen=True)
class Picture:
    """One video stream as stored. `rotation` is clockwise; `aspect` that of a single pixel.

    `bits` is how many a sample has; `colour_range` "tv" or "pc" (full). Names of colours are ffmpeg's.
    """

    index: int
    codec: str
    profile: str | None
    pixel_format: str
    width_px: int
    height_px: int
    aspect: float | None
    fps: float | None
    nominal_fps: float | None
    interlaced: bool
    matrix: str | None
    transfer: str | None
    attached: bool
    rotation: int = 0
    bits: int = 8
    primaries: str | None = None
    colour_range: str | None = None
    kbps: int | None = None
    default: bool = False

    @property
    def known(self) -> bool:
        return self.codec not in UNKNOWN_CODECS


@dataclass(frozen=True)
class SoundFacts:
    """One sound track. `layout` is ffmpeg's word ("stereo", "5.1(side)"); language and title are the file's."""

    index: int
    codec: str
    profile: str | None
    channels: int
    layout: str | None
    rate_hz: int | None
    language: str | None = None
    title: str | None = None
    default: bool = False

    @property
    def known(self) -> bool:
        return self.codec not in UNKNOWN_CODECS


@dataclass(frozen=True)
class Chapter:
    start_ms: int
    end_ms: int
    title: str


@dataclass(frozen=True)
class Streams:
    """The whole description. `counted_fps` is filled in by whoever walked through the file.

    A sound that no decoder knows (a phone's spatial track) is counted and otherwise left out. Chapters are in the
    file's own time, which begins at `start_s`.
    """

    container: str
    duration_s: float | None
    bitrate_kbps: int | None
    count: int
    pictures: tuple[Picture, ...]
    sounds: tuple[SoundFacts, ...]
    counted_fps: float | None = None
    start_s: float = 0.0
    chapters: tuple[Chapter, ...] = ()


def read(lines: Sequence[str]) -> Streams:
    """The streams that these lines describe; Refused if two lines claim to be the same stream."""
    reading = _Reading()
    for line in lines:
        reading.line(line)
    if len(set(reading.seen)) != len(reading.seen) or len(reading.durations) > 1:
        raise Refused("This video cannot be read: it describes itself twice", code="unreadable_media")
    duration = reading.durations[0] if reading.durations else None
    return Streams(
        container=reading.container,
        duration_s=_seconds(duration),
        bitrate_kbps=int(duration[5]) if duration and duration[5] else None,
        count=len(reading.seen),
        pictures=tuple(sorted(reading.pictures, key=_index)),
        sounds=tuple(sorted((sound for sound in reading.sounds if sound.known), key=_index)),
        start_s=float(duration[4]) if duration and duration[4] else 0.0,
        chapters=tuple(reading.chapters),
    )


def _index(stream: Picture | SoundFacts) -> int:
    return stream.index


class _Reading:
    """What has been read so far; `titled` says to what the next title belongs: "sound", "chapter" or nothing."""

    def __init__(self) -> None:
        self.container = ""
        self.durations: list[re.Match[str]] = []
        self.seen: list[int] = []
        self.pictures: list[Picture] = []
        self.sounds: list[SoundFacts] = []
        self.chapters: list[Chapter] = []
        self.titled = ""
        self.turning = False
        self.grouped = False

    def line(self, line: str) -> None:
        if line.startswith("  ") and line[2] != " ":
            self.grouped = bool(GROUP.match(line))
        if line.startswith("Input #0, ") and not self.container:
            self.container = line.removeprefix("Input #0, ").partition(", from ")[0]
        elif found := DURATION.match(line):
            self.durations.append(found)
        elif (found := STREAM.match(line)) and (self.grouped or found[1] == "  "):
            self._stream(found)
        elif found := CHAPTER.match(line):
            self._chapter(float(found[1]), float(found[2]))
        elif self.turning and (found := TURN.match(line)):
            # ffmpeg counts against the clock.
            turned = round(-float(found[1]) / 90) * 90 % 360
            self.pictures[-1] = replace(self.pictures[-1], rotation=turned)
        elif found := TITLE.match(line):
            self._title(plain(found[1]))

    def _stream(self, found: re.Match[str]) -> None:
        index, kind, words = int(found[2]), found[4], found[5]
        self.seen.append(index)
        self.titled, self.turning = "", kind == "Video"
        if kind == "Video":
            self.pictures.append(_picture(index, words))
        elif kind == "Audio":
            self.sounds.append(_sound(index, words, found[3]))
            self.titled = "sound"

    def _chapter(self, start_s: float, end_s: float) -> None:
        self.titled, self.turning = "", False
        if len(self.chapters) < MOST_CHAPTERS and start_s < end_s:
            self.chapters.append(Chapter(round(start_s * 1000), round(end_s * 1000), ""))
            self.titled = "chapter"

    def _title(self, title: str) -> None:
        if self.titled == "sound":
            self.sounds[-1] = replace(self.sounds[-1], title=title or None)
        elif self.titled == "chapter":
            self.chapters[-1] = replace(self.chapters[-1], title=title)
        if title:
            self.titled = ""


def plain(words: str) -> str:
    """A name that a file gives: one line, at most 100 letters, nothing that cannot be seen or turns the line round."""
    seen = "".join(ch if ch.isprintable() else " " for ch in unicodedata.normalize("NFC", words))
    return " ".join(seen.split())[:MOST_LETTERS].strip()


def _seconds(found: re.Match[str] | None) -> float | None:
    if found is None or found[1] is None:
        return None
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return seconds or None


def _picture(index: int, words: str) -> Picture:
    codec = CODEC.match(words)
    flags = words.rpartition(", ")[2]
    # "h264 (High) (avc1 / 0x31637661), yuv420p(tv, bt709, progressive), 1920x1080 [SAR 1:1 DAR 16:9], …"
    form = re.search(r", (\w+)(?:\(([^)]*)\))?, ", words)
    about = [part.strip() for part in (form[2] or "").split(",")] if form else []
    colours = next((part for part in about if "/" in part), "")
    matrix, primaries, transfer = colours.split("/") if colours.count("/") == 2 else ("", "", "")
    single = next((part for part in about if part.startswith(("bt", "smpte", "gbr", "fcc"))), None)
    size, aspect, rate = SIZE.search(words), ASPECT.search(words), BITRATE.search(words)
    rates = {name: float(number) * (1000 if kilo else 1) for number, kilo, name in RATE.findall(words)}
    return Picture(
        index=index,
        codec=codec[1] if codec else "unknown",
        profile=codec[2] if codec else None,
        pixel_format=form[1] if form else "unknown",
        width_px=int(size[1]) if size else 0,
        height_px=int(size[2]) if size else 0,
        aspect=int(aspect[1]) / int(aspect[2]) if aspect and int(aspect[1]) and int(aspect[2]) else None,
        fps=rates.get("fps") or None,
        nominal_fps=rates.get("tbr") or None,
        interlaced=any(part.startswith(("top ", "bottom ")) for part in about),
        matrix=_known(matrix or single),
        transfer=_known(transfer or single),
        attached="(attached pic)" in words or "(still image)" in words,
        bits=_bits(form[1] if form else "", about),
        primaries=_known(primaries or single),
        colour_range=next((part for part in about if part in ("tv", "pc")), None),
        kbps=int(rate[1]) if rate else None,
        default="(default)" in flags,
    )


def _bits(pixel_format: str, about: Sequence[str]) -> int:
    """Bits of a sample: those really used where ffmpeg says so ("yuv420p10le(10 bpc, tv)"), else of the format."""
    if said := next((part for part in about if part.endswith(" bpc")), None):
        return int(said.removesuffix(" bpc"))
    if pixel_format.startswith(("rgb48", "bgr48", "rgba64", "bgra64")):
        return 16
    found = BITS.search(pixel_format)
    return int(found[1] or found[2]) if found else 8


def _sound(index: int, words: str, language: str | None) -> SoundFacts:
    codec, channels, layout = CODEC.match(words), 0, None
    parts = [part.strip() for part in words.split(",")]
    rate = next((int(part.split()[0]) for part in parts if re.fullmatch(r"\d{1,7} Hz", part)), None)
    for part in parts:
        if part in LAYOUTS:
            channels, layout = LAYOUTS[part], part
        elif numbered := NUMBERED_LAYOUT.fullmatch(part):
            channels, layout = sum(int(number or 0) for number in numbered.groups()), part
        elif counted := re.match(r"(\d{1,3}) channels", part):
            channels = int(counted[1])
    return SoundFacts(
        index=index,
        codec=codec[1] if codec else "unknown",
        profile=codec[2] if codec else None,
        channels=channels,
        layout=layout,
        rate_hz=rate,
        language=_language(language),
        default="(default)" in parts[-1],
    )


def _language(said: str | None) -> str | None:
    """A code of a language as browsers know it, or None: "und" says only that nobody said."""
    if said is None or said == "und" or len(said) > 20 or not LANGUAGE.fullmatch(said):
        return None
    return said.lower()


def _known(name: str | None) -> str | None:
    return None if name in (None, "", "unknown", "reserved") else name
