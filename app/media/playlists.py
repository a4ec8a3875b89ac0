"""Lists of a stream's segments for players: HLS playlists and a DASH manifest over the same segments.

Numbers in, text out: knows no row and no address but the start of one (`base`, put before every name). A track `v0`
is found at `<base>v0.m3u8`, `<base>v0/init.mp4`, `<base>v0/0.m4s` and so on. HLS: RFC 8216 and its second edition
(draft-pantos-hls-rfc8216bis). DASH: ISO/IEC 23009-1, profile isoff-live.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cached_property
from itertools import groupby, pairwise
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

HLS_TYPE = "application/vnd.apple.mpegurl"
DASH_TYPE = "application/dash+xml"
# EXT-X-MAP outside of lists of key frames needs 6; 7 is what Apple asks of fragmented MP4.
HLS_VERSION = 7
# How long a segment is meant to be: two groups of pictures of about 2 s.
SEGMENT_S = 4
GROUP_S = 2
MICROSECONDS = 1_000_000
# A dynamic manifest is asked for again this often.
RENEWED_S = 2
# A dynamic manifest offers what should be there by the clock. All that is listed is there, so its clock begins in
# the far past: what is made faster than it plays is offered at once, and no clock has to be right.
CLOCK_BEGINS = "2001-01-01T00:00:00Z"
# "eng" from a source file is "en" to a player (RFC 5646, 4.1: the shortest code there is).
SHORT_LANGUAGES: dict[str, str] = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "ara=ar ben=bn bul=bg cat=ca ces=cs cze=cs chi=zh zho=zh dan=da deu=de ger=de ell=el gre=el eng=en est=et"
        " fas=fa per=fa fin=fi fra=fr fre=fr heb=he hin=hi hrv=hr hun=hu ind=id ita=it jpn=ja kor=ko lav=lv lit=lt"
        " may=ms msa=ms nld=nl dut=nl nor=no pol=pl por=pt ron=ro rum=ro rus=ru slk=sk slo=sk slv=sl spa=es srp=sr"
        " swe=sv tam=ta tha=th tur=tr ukr=uk urd=ur vie=vi",
    )
)
LANGUAGE = re.compile(r"[a-z]{2,8}(-[a-z0-9]{1,8})*", re.IGNORECASE)
NO_LANGUAGE = ("und", "mis", "mul", "zxx")


@dataclass(frozen=True)
class Listed:
    """A track and its finished segments in order from number 0: (ticks, bytes) each.

    `fps` is a rational ("30000/1001"), empty for sound. `label` is what a person called it. `target_kbps` is the
    planned peak, believed as long as it is not known from the segments what the peak is.
    """

    name: str
    kind: Literal["video", "audio"]
    codec: str
    width_px: int
    height_px: int
    fps: str
    language: str
    label: str
    timescale: int
    segments: tuple[tuple[int, int], ...]
    channels: int = 2
    target_kbps: int = 0

    @cached_property
    def ticks(self) -> int:
        return sum(ticks for ticks, _ in self.segments)

    @property
    def length_s(self) -> Fraction:
        return Fraction(self.ticks, self.timescale)

    @cached_property
    def target_s(self) -> int:
        """EXT-X-TARGETDURATION: the most that a segment lasts, in whole seconds; the same from the first to the last.

        A slow picture (0.3 frames a second) has longer segments, which its rate tells before they are made.
        """
        most = Fraction(SEGMENT_S)
        if self.fps:
            rate = Fraction(self.fps)
            most = max(most, 2 * max(1, round(GROUP_S * rate)) / rate)
        longest = max((ticks for ticks, _ in self.segments), default=0)
        return whole(max(most, Fraction(longest, self.timescale)))

    @cached_property
    def average_bps(self) -> int:
        """Bits a second over all segments; 0 without any."""
        return _bps(sum(size for _, size in self.segments), self.length_s)

    @cached_property
    def peak_bps(self) -> int:
        """The most bits a second over neighbouring segments that last 0.5 to 1.5 times the target duration.

        RFC 8216, 4.3.4.2 "BANDWIDTH", of the segments there are. A track shorter than that has its average.
        """
        least, most = self.target_s * self.timescale / 2, 3 * self.target_s * self.timescale / 2
        peak, start, ticks, size = self.average_bps, 0, 0, 0
        for end, (more_ticks, more_bytes) in enumerate(self.segments):
            ticks, size = ticks + more_ticks, size + more_bytes
            while start < end and ticks > most:
                ticks, size = ticks - self.segments[start][0], size - self.segments[start][1]
                start += 1
            # Every window that ends here; a few segments at most.
            window_ticks, window_bytes = ticks, size
            for left_ticks, left_bytes in self.segments[start : end + 1]:
                if least <= window_ticks <= most:
                    peak = max(peak, -(-8 * window_bytes * self.timescale // window_ticks))
                window_ticks, window_bytes = window_ticks - left_ticks, window_bytes - left_bytes
        return peak

    def offered_bps(self, ended: bool) -> int:
        """The peak a player should count with: while segments are still to come, not less than the planned one."""
        return max(self.peak_bps, 1) if ended else max(self.peak_bps, self.target_kbps * 1000, 1)


@dataclass(frozen=True)
class Text:
    """Captions beside the picture: one WebVTT file at `<base><name>.vtt` for the whole video."""

    name: str
    language: str
    label: str
    bytes: int = 0


def master(tracks: Sequence[Listed], *, base: str, ended: bool = True, texts: Sequence[Text] = ()) -> str:
    """The HLS playlist of playlists. Tracks without a segment yet are left out; the first of a kind is the default.

    Sound is a group of its own beside the pictures; with no picture each sound is a stream.
    """
    tracks = [track for track in tracks if track.segments]
    pictures = [track for track in tracks if track.kind == "video"]
    sounds = [track for track in tracks if track.kind == "audio"]
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{HLS_VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    groups: list[tuple[str, str]] = []
    if sounds and (pictures or len(sounds) > 1):
        groups.append(("AUDIO", _quoted("sound")))
        lines += _media(sounds, "AUDIO", "sound", base)
    if texts and pictures:
        groups.append(("SUBTITLES", _quoted("texts")))
        lines += _media(texts, "SUBTITLES", "texts", base)
    heard = sounds if pictures else []
    for track in pictures or sounds[:1]:
        lines.append("#EXT-X-STREAM-INF:" + _attributes(_stream(track, heard, ended) + groups))
        lines.append(f"{_address(base)}{track.name}.m3u8")
    return _text(lines)


def media(track: Listed, *, base: str, ended: bool) -> str:
    """The HLS playlist of one track: a list that grows while the video is made, closed when it has `ended`.

    A player that opens it while it grows begins at the start, not at the newest segment.
    """
    address = f"{_address(base)}{track.name}/"
    lines = _head(track.target_s, "VOD" if ended else "EVENT")
    if not ended:
        lines.append("#EXT-X-START:TIME-OFFSET=0,PRECISE=YES")
    lines += ["#EXT-X-INDEPENDENT-SEGMENTS", f"#EXT-X-MAP:URI={_quoted(f'{address}init.mp4')}"]
    for number, length_us in enumerate(lengths_us(track)):
        lines += [f"#EXTINF:{_seconds(length_us)},", f"{address}{number}.m4s"]
    return _text([*lines, "#EXT-X-ENDLIST"] if ended else lines)


def text_media(text: Text, *, base: str, length_s: Fraction) -> str:
    """The HLS playlist of captions: one WebVTT file as long as the video."""
    length_us = _rounded(length_s * MICROSECONDS)
    lines = _head(whole(length_s), "VOD")
    lines += [f"#EXTINF:{_seconds(length_us)},", f"{_address(base)}{text.name}.vtt"]
    return _text([*lines, "#EXT-X-ENDLIST"])


def mpd(
    tracks: Sequence[Listed],
    *,
    base: str,
    ended: bool,
    changed_at: datetime | None = None,
    texts: Sequence[Text] = (),
) -> str:
    """The DASH manifest: static when the video has `ended`, else dynamic and asked for again every 2 s.

    `changed_at` is when the newest segment came; it is told to players of a growing stream. Tracks without a segment
    are left out. A player of a growing stream begins where its page tells it to: tell it 0.
    """
    tracks = [track for track in tracks if track.segments]
    length_s = max((track.length_s for track in tracks), default=Fraction(0))
    longest_s = max((track.target_s for track in tracks), default=SEGMENT_S)
    says = {"mediaPresentationDuration": _iso(length_s)}
    if not ended:
        at = (changed_at or datetime.now(UTC)).astimezone(UTC)
        says = {
            "availabilityStartTime": CLOCK_BEGINS,
            "publishTime": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "minimumUpdatePeriod": _iso(Fraction(RENEWED_S)),
        }
    root = Element(
        "MPD",
        {
            "xmlns": "urn:mpeg:dash:schema:mpd:2011",
            "profiles": "urn:mpeg:dash:profile:isoff-live:2011",
            "type": "static" if ended else "dynamic",
            "minBufferTime": _iso(Fraction(longest_s)),
            "maxSegmentDuration": _iso(Fraction(longest_s)),
            **says,
        },
    )
    period = SubElement(root, "Period", {"id": "0", "start": "PT0S"})
    pictures = [track for track in tracks if track.kind == "video"]
    if pictures:
        _pictures(period, pictures, base, ended)
    for number, track in enumerate(track for track in tracks if track.kind == "audio"):
        _sound(period, track, number, base, ended)
    for number, text in enumerate(texts):
        _captions(period, text, number, base, length_s)
    ElementTree.indent(root)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)
        + "\n"
    )


def lengths_us(track: Listed) -> list[int]:
    """How long each segment lasts in whole microseconds; their sum is off by less than one, however many there are."""
    ends, ticks = [0], 0
    for more, _ in track.segments:
        ticks += more
        ends.append((2 * ticks * MICROSECONDS + track.timescale) // (2 * track.timescale))
    return [end - start for start, end in pairwise(ends)]


def whole(length_s: Fraction) -> int:
    """Rounded to the nearest second as EXT-X-TARGETDURATION counts, a half upwards, never 0."""
    return max(1, _rounded(length_s))


def language_of(code: str) -> str:
    """The language as players write it ("eng" → "en"); empty if there is none to tell."""
    code = code.strip()
    if not LANGUAGE.fullmatch(code) or code.lower() in NO_LANGUAGE:
        return ""
    return SHORT_LANGUAGES.get(code.lower(), code)


def _media(found: Sequence[Listed | Text], kind: str, group: str, base: str) -> list[str]:
    lines = []
    taken: set[str] = set()
    for number, one in enumerate(found):
        language = language_of(one.language)
        name = _unlike(_plain(one.label) or language or f"{kind.capitalize()} {number + 1}", taken)
        says = [("TYPE", kind), ("GROUP-ID", _quoted(group)), ("NAME", _quoted(name))]
        if language:
            says.append(("LANGUAGE", _quoted(language)))
        # Captions are shown when somebody asks for them; of the sounds one has to play.
        first = number == 0 and isinstance(one, Listed)
        says += [("DEFAULT", "YES" if first else "NO"), ("AUTOSELECT", "YES")]
        if isinstance(one, Listed):
            says.append(("CHANNELS", _quoted(str(one.channels))))
        else:
            says.append(("FORCED", "NO"))
        says.append(("URI", _quoted(f"{_address(base)}{one.name}.m3u8")))
        lines.append("#EXT-X-MEDIA:" + _attributes(says))
    return lines


def _stream(track: Listed, sounds: Sequence[Listed], ended: bool) -> list[tuple[str, str]]:
    """A picture counts together with the largest of the sounds that may be heard with it."""
    peak_bps = track.offered_bps(ended) + max((sound.offered_bps(ended) for sound in sounds), default=0)
    average_bps = track.average_bps + max((sound.average_bps for sound in sounds), default=0)
    codecs = list(dict.fromkeys([track.codec, *(sound.codec for sound in sounds)]))
    says = [
        ("BANDWIDTH", str(peak_bps)),
        ("AVERAGE-BANDWIDTH", str(max(average_bps, 1))),
        ("CODECS", _quoted(",".join(codecs))),
    ]
    if track.kind == "video":
        says.append(("RESOLUTION", f"{track.width_px}x{track.height_px}"))
        says.append(("FRAME-RATE", f"{float(Fraction(track.fps)):.3f}"))
    return says


def _head(target_s: int, kind: str) -> list[str]:
    return [
        "#EXTM3U",
        f"#EXT-X-VERSION:{HLS_VERSION}",
        f"#EXT-X-TARGETDURATION:{target_s}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        f"#EXT-X-PLAYLIST-TYPE:{kind}",
    ]


def _pictures(period: Element, tracks: Sequence[Listed], base: str, ended: bool) -> None:
    largest = max(tracks, key=lambda track: track.width_px * track.height_px)
    group = SubElement(
        period,
        "AdaptationSet",
        {
            "id": "0",
            "contentType": "video",
            "mimeType": "video/mp4",
            "segmentAlignment": "true",
            "startWithSAP": "1",
            "maxWidth": str(largest.width_px),
            "maxHeight": str(largest.height_px),
            "maxFrameRate": str(max(Fraction(track.fps) for track in tracks)),
        },
    )
    SubElement(group, "Role", {"schemeIdUri": "urn:mpeg:dash:role:2011", "value": "main"})
    for track in tracks:
        shown = SubElement(
            group,
            "Representation",
            {
                "id": track.name,
                "codecs": track.codec,
                "bandwidth": str(track.offered_bps(ended)),
                "width": str(track.width_px),
                "height": str(track.height_px),
                "frameRate": str(Fraction(track.fps)),
                "sar": "1:1",
            },
        )
        _segments(shown, track, base)


def _sound(period: Element, track: Listed, number: int, base: str, ended: bool) -> None:
    group = SubElement(
        period,
        "AdaptationSet",
        {
            "id": str(1 + number),
            "contentType": "audio",
            "mimeType": "audio/mp4",
            "segmentAlignment": "true",
            "startWithSAP": "1",
            **_lang(track.language),
        },
    )
    _label(group, track.label)
    role = "alternate" if number else "main"
    SubElement(group, "Role", {"schemeIdUri": "urn:mpeg:dash:role:2011", "value": role})
    heard = SubElement(
        group,
        "Representation",
        {
            "id": track.name,
            "codecs": track.codec,
            "bandwidth": str(track.offered_bps(ended)),
            "audioSamplingRate": str(track.timescale),
        },
    )
    scheme = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
    SubElement(heard, "AudioChannelConfiguration", {"schemeIdUri": scheme, "value": str(track.channels)})
    _segments(heard, track, base)


def _captions(period: Element, text: Text, number: int, base: str, length_s: Fraction) -> None:
    group = SubElement(
        period,
        "AdaptationSet",
        {
            "id": str(100 + number),
            "contentType": "text",
            "mimeType": "text/vtt",
            **_lang(text.language),
        },
    )
    _label(group, text.label)
    SubElement(group, "Role", {"schemeIdUri": "urn:mpeg:dash:role:2011", "value": "subtitle"})
    bandwidth = str(max(1, _bps(text.bytes, length_s)))
    shown = SubElement(group, "Representation", {"id": text.name, "bandwidth": bandwidth})
    SubElement(shown, "BaseURL").text = f"{_address(base)}{text.name}.vtt"


def _segments(shown: Element, track: Listed, base: str) -> None:
    # A dollar begins a name of the template; two are one dollar.
    address = _address(base).replace("$", "$$")
    template = SubElement(
        shown,
        "SegmentTemplate",
        {
            "timescale": str(track.timescale),
            "initialization": f"{address}$RepresentationID$/init.mp4",
            "media": f"{address}$RepresentationID$/$Number$.m4s",
            "startNumber": "0",
        },
    )
    timeline = SubElement(template, "SegmentTimeline")
    for ticks, same in groupby(ticks for ticks, _ in track.segments):
        says = {} if len(timeline) else {"t": "0"}
        says["d"] = str(ticks)
        if repeated := len(list(same)) - 1:
            says["r"] = str(repeated)
        SubElement(timeline, "S", says)


def _label(group: Element, label: str) -> None:
    if text := _plain(label):
        SubElement(group, "Label").text = text


def _lang(code: str) -> dict[str, str]:
    language = language_of(code)
    return {"lang": language} if language else {}


def _unlike(name: str, taken: set[str]) -> str:
    """The name, with a number where another of the group has it already."""
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name} {number}"
    taken.add(free)
    return free


def _plain(words: str) -> str:
    """One line of text that XML and a quoted string can hold: no control characters, no halves of letters."""
    kept = (" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in words)
    whole_letters = (one for one in kept if unicodedata.category(one) != "Cs" and ord(one) & 0xFFFE != 0xFFFE)
    return " ".join("".join(whole_letters).split())


def _quoted(words: str) -> str:
    """A quoted string of HLS; it has no way to write a quotation mark or a line's end (RFC 8216, 4.2).

    An apostrophe is allowed, but there are readers (hls-parser 0.16) that take it for the start of another string.
    """
    return (
        '"'
        + _plain(words).translate(
            {ord('"'): "\N{RIGHT DOUBLE QUOTATION MARK}", ord("'"): "\N{RIGHT SINGLE QUOTATION MARK}"}
        )
        + '"'
    )


def _address(base: str) -> str:
    if re.search(r'[\s"<>\x00-\x1f\x7f-\x9f]', base):
        raise ValueError(f"not the start of an address: {base!r}")
    return base


def _attributes(says: Sequence[tuple[str, str]]) -> str:
    return ",".join(f"{name}={value}" for name, value in says)


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def _bps(size: int, length_s: Fraction) -> int:
    """Rounded up: a player that counts with it never counts with too little."""
    return -(-8 * size * length_s.denominator // length_s.numerator) if length_s else 0


def _rounded(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _seconds(length_us: int) -> str:
    return f"{length_us // MICROSECONDS}.{length_us % MICROSECONDS:06d}"


def _iso(length_s: Fraction) -> str:
    number = _seconds(_rounded(length_s * MICROSECONDS)).rstrip("0").rstrip(".")
    return f"PT{number}S"
