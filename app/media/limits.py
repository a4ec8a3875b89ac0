"""How large a video may be. All of it is asked before a single picture is decoded (reliability.md, section 6)."""

from __future__ import annotations

from app.errors import Refused
from app.media.probe import Probe

GIB = 1024**3

MAX_BYTES = 4 * GIB
MAX_DURATION_S = 60 * 60
MAX_SIDE_PX = 8192
MAX_PIXELS = 40_000_000
MAX_FPS = 120
MAX_STREAMS = 8
# Pixels to decode in all: an hour of 1080p at 60 frames a second, and a tenth more.
MAX_WORK_PIXELS = int(1.1 * 3600 * 1920 * 1080 * 60)
# Taken where a file does not say its frame rate.
LIKELY_FPS = 60.0


def check(probe: Probe, bytes_total: int) -> None:
    """Refused, with a code and a sentence that names the limit, if this video is more than we take."""
    if bytes_total > MAX_BYTES:
        raise Refused(f"The file is larger than {MAX_BYTES // GIB} GiB", code="too_many_bytes", status=413)
    if probe.streams > MAX_STREAMS:
        raise Refused(
            f"The file holds {probe.streams} streams; at most {MAX_STREAMS} are taken",
            code="too_many_streams",
        )
    # The stored size is what a decoder makes room for; the shown one is what we would make.
    sides = (probe.width_px, probe.height_px, probe.coded_width_px, probe.coded_height_px)
    if max(sides) > MAX_SIDE_PX:
        raise Refused(
            f"The picture is {max(sides)} pixels on its longest side; at most {MAX_SIDE_PX} are taken",
            code="too_wide",
        )
    pixels = max(probe.width_px * probe.height_px, probe.coded_width_px * probe.coded_height_px)
    if pixels > MAX_PIXELS:
        raise Refused(
            f"The picture has {pixels / 1e6:.0f} million pixels; at most {MAX_PIXELS // 10**6} million are taken",
            code="too_many_pixels",
        )
    if probe.duration_s > MAX_DURATION_S:
        raise Refused(
            f"The video lasts {probe.duration_s / 60:.0f} minutes; at most {MAX_DURATION_S // 60} are taken",
            code="too_long",
        )
    if probe.fps is not None and probe.fps > MAX_FPS:
        raise Refused(
            f"The video has {probe.fps:g} frames a second; at most {MAX_FPS} are taken",
            code="too_many_frames",
        )
    if probe.duration_s * pixels * (probe.fps or LIKELY_FPS) > MAX_WORK_PIXELS:
        raise Refused(
            "The video is too long for its size and frame rate: the most is an hour of 1080p at 60 frames a second",
            code="too_much_work",
        )
