"""What is in a video file, read from what `ffmpeg -i` prints: no second program, nothing decoded to the end."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from app.errors import Refused
from app.media import failure, ffmpeg, whole
from app.media.reading import Chapter, Picture, SoundFacts, Streams, read
from app.media.run import execute
from app.media.sniff import WANTED_BYTES, Kind, sniff, why_not
from app.media.walls import Limits

# More pixels are refused by ffmpeg itself, also while it only looks (reliability.md, section 6).
MAX_PIXELS = 40_000_000
# The second is what ffmpeg says past its own limit, whatever ours is.
TOO_LARGE = re.compile(r"exceeds specified max pixel count|Picture size \d+x\d+ is invalid")
GREEDY = re.compile(r"Error opening input: Cannot allocate memory|source'?: Cannot allocate memory")
# A file that states no length is walked through, without decoding, this far at most: past the longest we take.
MEASURED_S = 3601
PROBE_LIMITS = Limits(wall_s=60, idle_s=60, cpu_s=60)
# Chapters and tags of their own take a few lines each; the first line must still be there.
PROBE_LINES = 5000
# The slowest disk we reckon with.
SLOW_BYTES_A_SECOND = 20 * 1024**2
# A stated rate this high is the clock of the container, not a rate of pictures (live WebM says 1000).
CLOCK_FPS = 240.0
# Nominal and average rate further apart than this: the pictures do not come evenly.
EVEN = 0.01
# Rates of television as ffmpeg prints them, with two digits, and what they are.
NTSC_RATES = {
    23.98: "24000/1001",
    29.97: "30000/1001",
    47.95: "48000/1001",
    59.94: "60000/1001",
    119.88: "120000/1001",
}
# A stream of these beside one of another kind is a cover that nobody marked as one.
STILL_CODECS = ("mjpeg", "png", "bmp", "gif", "webp", "tiff")
HDR_KINDS = {"smpte2084": "pq", "arib-std-b67": "hlg"}


@dataclass(frozen=True)
class Probe:
    """A video as ffmpeg sees it. Sizes without `coded` are as shown: turned and with square pixels.

    `rotation` is in degrees clockwise; `fps` is the average, None if unknown; `uneven` says that pictures do
    not come at a steady rate; `rate` is the exact fraction of a rate of television ("30000/1001"), else None;
    `nominal_fps` is the least rate at which every picture has a moment of its own, as ffmpeg guesses it.
    `channels` is 0 without sound. `video_index`, `cover_index` and those of sounds count all streams; an attached
    picture (cover art) is never the video. `audio_index` and its fields are of the sound to play first: the one
    marked so, else the first of `sounds`. `hdr_kind` is "pq", "hlg" or None; `bits` those of one sample.
    Chapters count from the first picture. Titles and languages are words of whoever made the file, made short and
    printable.
    """

    container: str
    duration_s: float
    bitrate_kbps: int | None
    streams: int
    video_index: int
    video_codec: str
    video_profile: str | None
    pixel_format: str
    width_px: int
    height_px: int
    coded_width_px: int
    coded_height_px: int
    rotation: int
    fps: float | None
    uneven: bool
    interlaced: bool
    hdr: bool
    matrix: str | None
    attached_picture: bool
    audio_index: int | None
    audio_codec: str | None
    audio_profile: str | None
    channels: int
    audio_rate_hz: int | None

    # Since the second release; rows of the first hold none of them.
    sounds: tuple[SoundFacts, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    bits: int = 8
    hdr_kind: str | None = None
    primaries: str | None = None
    transfer: str | None = None
    colour_range: str | None = None
    start_s: float = 0.0
    cover_index: int | None = None
    video_kbps: int | None = None
    rate: str | None = None
    nominal_fps: float | None = None

    @property
    def has_audio(self) -> bool:
        return self.audio_index is not None

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `from_json` takes back whole."""
        return asdict(self)

    def to_first_json(self) -> dict[str, Any]:
        """The facts of the first release alone, for rows that it may read: it fails on a name it does not know."""
        kept = asdict(self)
        return {name: kept[name] for name in FIRST_FACTS}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Probe:
        """A probe from a row of any release: what it did not keep is as if not found, what we do not know is left."""
        facts = _known(cls, kept)
        if "sounds" in facts:
            facts["sounds"] = tuple(SoundFacts(**_known(SoundFacts, sound)) for sound in facts["sounds"])
        else:
            facts["sounds"] = _first_sound(facts)
        facts["chapters"] = tuple(Chapter(**_known(Chapter, one)) for one in facts.get("chapters", ()))
        return cls(**facts)


# All that has no default.
FIRST_FACTS = tuple(field.name for field in fields(Probe) if field.default is MISSING)


def _known(cls: type[Probe | SoundFacts | Chapter], kept: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: kept[field.name] for field in fields(cls) if field.name in kept}


def _first_sound(facts: Mapping[str, Any]) -> tuple[SoundFacts, ...]:
    """The one sound that a row of the first release tells of."""
    if facts["audio_index"] is None:
        return ()
    codec, profile = facts["audio_codec"] or "unknown", facts["audio_profile"]
    return (
        SoundFacts(
            facts["audio_index"],
            codec,
            profile,
            facts["channels"],
            None,
            facts["audio_rate_hz"],
            default=True,
        ),
    )


async def probe(path: Path) -> Probe:
    """Look into a file, in about 30 ms. Refused, with the reason, for what is no video or cannot be read.

    Codes: `empty`, `not_a_video`, `cut_short`, `unreadable_media`, `no_video`, `too_many_pixels`. What it finds is
    not yet judged: see `limits.check`. The name of the file plays no part and does not reach ffmpeg.
    """
    kind = await asyncio.to_thread(_look, path)
    program = await asyncio.to_thread(ffmpeg.program)
    with tempfile.TemporaryDirectory(prefix="backlot-probe-") as name:
        folder = Path(name)
        (folder / "source").symlink_to(path.resolve())
        given = [
            *("-protocol_whitelist", "file", "-format_whitelist", kind.formats),
            *("-max_pixels", str(MAX_PIXELS), "-i", f"file:{folder / 'source'}"),
        ]
        ended = await execute(
            [str(program.path), "-hide_banner", "-nostdin", *given],
            limits=PROBE_LIMITS,
            writable=folder,
            readable=(path.resolve(),),
            lines=PROBE_LINES,
        )
        streams = _streams(ended.code, ended.log_tail)
        if streams.duration_s is None or not _plausible(_video(streams).fps, streams.duration_s):
            streams = await _measure(streams, [str(program.path), *given], folder, path)
    found = as_probe(streams)
    if found.bitrate_kbps is None and found.duration_s > 0:
        return replace(found, bitrate_kbps=round(path.stat().st_size * 8 / 1000 / found.duration_s))
    return found


def _look(path: Path) -> Kind:
    with path.open("rb") as file:
        first = file.read(WANTED_BYTES)
    kind = sniff(first)
    if kind is None:
        raise Refused(why_not(first), code="not_a_video" if first else "empty")
    whole.check_whole(path, kind)
    return kind


def _streams(code: int, log_tail: tuple[str, ...]) -> Streams:
    """What was printed, as fields. Without an output ffmpeg always ends with an error, so its code says little."""
    text = "\n".join(log_tail)
    if TOO_LARGE.search(text):
        raise Refused(
            f"The picture has more than {MAX_PIXELS // 10**6} million pixels", code="too_many_pixels"
        )
    if not any(line.startswith("Input #0, ") for line in log_tail):
        # Memory that it lacks while it opens a file is what the file's own counts ask for: 2 GiB are plenty to look.
        short = failure.NO_MEMORY.search(text) and not GREEDY.search(text)
        if code < 0 or code in failure.THROUGH_BWRAP or short:
            raise failure.failure(code, log_tail, PROBE_LIMITS)
        raise failure.unreadable(log_tail)
    return read(log_tail)


async def _measure(streams: Streams, argv: list[str], folder: Path, path: Path) -> Streams:
    """Walk through the packets of a file that states no length or no rate (a live recording), and count."""
    index = _video(streams).index
    ended = await execute(
        [
            *(argv[0], "-hide_banner", "-nostdin", "-loglevel", "warning", "-nostats", "-progress", "pipe:1"),
            *(*argv[1:], "-map", f"0:{index}", "-c", "copy", "-t", str(MEASURED_S), "-f", "null", "-"),
        ],
        limits=replace(PROBE_LIMITS, wall_s=60 + path.stat().st_size / SLOW_BYTES_A_SECOND),
        writable=folder,
        readable=(path.resolve(),),
    )
    try:
        duration_s = int(ended.report["out_time_us"]) / 1e6
    except (KeyError, ValueError):
        duration_s = 0.0
    if ended.code != 0 or duration_s <= 0:
        raise failure.unreadable(ended.log_tail or ("its length cannot be found",))
    counted = int(ended.report.get("frame", "0"))
    return replace(
        streams,
        duration_s=streams.duration_s or duration_s,
        counted_fps=round(counted / duration_s, 2) or None,
    )


def _video(streams: Streams) -> Picture:
    shown = [stream for stream in streams.pictures if not stream.attached]
    if not shown:
        if streams.sounds:
            held = "sound only, with a cover picture" if streams.pictures else "sound only"
            reason = f"This file holds {held}: there are no moving pictures in it. Send a video"
        else:
            reason = "This file holds no video stream: there is no picture in it"
        raise Refused(reason, code="no_video")
    known = [stream for stream in shown if stream.known]
    if not known:
        raise Refused(
            "This video cannot be read: its picture is coded in a way that is not known here",
            code="unreadable_media",
        )
    return next((stream for stream in known if stream.codec not in STILL_CODECS), known[0])


def _cover(streams: Streams, video: Picture) -> int | None:
    """The picture that stands for the file, as marked, else a still one beside the video."""
    marked = [stream for stream in streams.pictures if stream.attached]
    still = [stream for stream in streams.pictures if stream.codec in STILL_CODECS and stream != video]
    return next((stream.index for stream in (*marked, *still)), None)


def _sound(streams: Streams) -> SoundFacts | None:
    """The sound to play first, as players choose it."""
    marked = [sound for sound in streams.sounds if sound.default]
    return next(iter((*marked, *streams.sounds)), None)


def _plausible(fps: float | None, duration_s: float | None) -> bool:
    """Whether this may be a rate of pictures: not the clock of a container, and of one picture in all at least."""
    return fps is not None and fps <= CLOCK_FPS and (not duration_s or fps * duration_s > 0.5)


def as_probe(streams: Streams) -> Probe:
    """The video of a description: turned upright, with square pixels. Refused if there is none."""
    video = _video(streams)
    if not video.width_px or not video.height_px:
        raise Refused("This video cannot be read: its picture has no size", code="unreadable_media")
    width, height = video.width_px, video.height_px
    if video.aspect and abs(video.aspect - 1) > 0.001:
        width = max(1, round(width * video.aspect))
    if video.rotation % 180 == 90:
        width, height = height, width
    nominal, fps = video.nominal_fps, streams.counted_fps or video.fps
    if not _plausible(fps, streams.duration_s):
        # A rate past our limit stays, so that the refusal can name it.
        fps = fps if fps is not None and fps > CLOCK_FPS else None
    uneven = fps is None or nominal is None or abs(nominal - fps) > EVEN * fps
    sound = _sound(streams)
    cover = _cover(streams, video)
    return Probe(
        container=streams.container,
        duration_s=streams.duration_s or 0.0,
        bitrate_kbps=streams.bitrate_kbps,
        streams=streams.count,
        video_index=video.index,
        video_codec=video.codec,
        video_profile=video.profile,
        pixel_format=video.pixel_format,
        width_px=width,
        height_px=height,
        coded_width_px=video.width_px,
        coded_height_px=video.height_px,
        rotation=video.rotation,
        fps=fps,
        uneven=uneven,
        interlaced=video.interlaced,
        hdr=video.transfer in HDR_KINDS,
        matrix=video.matrix,
        attached_picture=cover is not None,
        audio_index=sound.index if sound else None,
        audio_codec=sound.codec if sound else None,
        audio_profile=sound.profile if sound else None,
        channels=sound.channels if sound else 0,
        audio_rate_hz=sound.rate_hz if sound else None,
        sounds=streams.sounds,
        chapters=_chapters(streams),
        bits=video.bits,
        hdr_kind=HDR_KINDS.get(video.transfer or ""),
        primaries=video.primaries,
        transfer=video.transfer,
        colour_range=video.colour_range,
        start_s=streams.start_s,
        cover_index=cover,
        video_kbps=video.kbps,
        nominal_fps=nominal if _plausible(nominal, streams.duration_s) else None,
        rate=None if uneven or fps is None else NTSC_RATES.get(round(fps, 2)),
    )


def _chapters(streams: Streams) -> tuple[Chapter, ...]:
    """Chapters in order, counted from the start and within the length; those of no length are left out."""
    shift_ms, most_ms = max(0, round(streams.start_s * 1000)), round((streams.duration_s or 0.0) * 1000)
    moved = [
        Chapter(max(0, chapter.start_ms - shift_ms), min(most_ms, chapter.end_ms - shift_ms), chapter.title)
        for chapter in streams.chapters
    ]
    return tuple(sorted((chapter for chapter in moved if chapter.start_ms < chapter.end_ms), key=_begins))


def _begins(chapter: Chapter) -> int:
    return chapter.start_ms
