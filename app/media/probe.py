"""What is in a video file, read from what `ffmpeg -i` prints: no second program, nothing decoded to the end."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from app.errors import Refused
from app.media import failure, ffmpeg, whole
from app.media.reading import Picture, Sound, Streams, read
from app.media.run import execute
from app.media.sniff import WANTED_BYTES, Kind, sniff, why_not
from app.media.walls import Limits

# More pixels are refused by ffmpeg itself, also while it only looks (reliability.md, section 6).
MAX_PIXELS = 40_000_000
# The second is what ffmpeg says past its own limit, whatever ours is.
TOO_LARGE = re.compile(r"exceeds specified max pixel count|Picture size \d+x\d+ is invalid")
# A file that states no length is walked through, without decoding, this far at most: past the longest we take.
MEASURED_S = 3601
PROBE_LIMITS = Limits(wall_s=60, idle_s=60, cpu_s=60)
PROBE_LINES = 2000
# The slowest disk we reckon with.
SLOW_BYTES_A_SECOND = 20 * 1024**2
# A stated rate this high is the clock of the container, not a rate of pictures (live WebM says 1000).
CLOCK_FPS = 240.0
# Nominal and average rate further apart than this: the pictures do not come evenly.
EVEN = 0.01


@dataclass(frozen=True)
class Probe:
    """A video as ffmpeg sees it. Sizes without `coded` are as shown: turned and with square pixels.

    `rotation` is in degrees clockwise; `fps` is the average, None if unknown; `uneven` says that pictures do
    not come at a steady rate; `channels` is 0 without sound. `video_index` and `audio_index` count all streams;
    an attached picture (cover art) is never the video.
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

    @property
    def has_audio(self) -> bool:
        return self.audio_index is not None

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Probe:
        return cls(**fields)


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
        if streams.duration_s is None or not _plausible(_video(streams).fps):
            streams = await _measure(streams, [str(program.path), *given], folder, path)
    return as_probe(streams)


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
        if code < 0 or code in failure.THROUGH_BWRAP or failure.NO_MEMORY.search(text):
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
        what = "sound only" if streams.sounds else "no video stream"
        raise Refused(f"This file holds {what}: there is no picture in it", code="no_video")
    return shown[0]


def _plausible(fps: float | None) -> bool:
    return fps is not None and fps <= CLOCK_FPS


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
    uneven = fps is None or nominal is None or abs(nominal - fps) > EVEN * fps
    sound = streams.sounds[0] if streams.sounds else Sound(-1, "", None, 0, None)
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
        hdr=video.transfer in ("smpte2084", "arib-std-b67"),
        matrix=video.matrix,
        attached_picture=any(stream.attached for stream in streams.pictures),
        audio_index=sound.index if streams.sounds else None,
        audio_codec=sound.codec or None,
        audio_profile=sound.profile,
        channels=sound.channels,
        audio_rate_hz=sound.rate_hz,
    )
