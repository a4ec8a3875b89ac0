"""How much one run of ffmpeg may use: time, CPU, address space and the size of what it writes (reliability.md, 6)."""

from __future__ import annotations

import math
from collections.abc import Collection

from app.media import graph
from app.media.plan import Clip, Plan
from app.media.walls import GIB, Limits

MIB = 1024**2
# reliability.md, section 6: ten times as long as it lasts, a minute at least. Meant for 1080p at 30 frames;
# what has more pixels gets more, or a laptop could never finish 4K.
SLOWEST = 10
SHORTEST_WALL_S = 60
USUAL_PIXELS_A_SECOND = 1920 * 1080 * 30
# x264 at its default took 1.5 CPU seconds for a second of 1080p at 24 frames; what needs ten times that is stuck.
CPU_A_WALL_SECOND = 2
# The slowest disk we reckon with.
DISK_BYTES_A_SECOND = 20 * MIB


def picture(plan: Plan, clip: Clip, frames: int, rungs: Collection[str], source_bytes: int) -> Limits:
    """The most a run may use that makes so many frames, from how many pixels go in and come out."""
    sizes = [rung for rung in plan.rungs if rung.name in rungs]
    made_pixels = sum(rung.width_px * rung.height_px for rung in sizes)
    coded = clip.coded_width_px * clip.coded_height_px
    canvas = plan.canvas[0] * plan.canvas[1]
    seconds = plan.rate.seconds(frames) + graph.EARLIER_UNINDEXED_S
    heaviness = max(
        1.0,
        max(coded * max(clip.fps, float(plan.rate)), made_pixels * float(plan.rate)) / USUAL_PIXELS_A_SECOND,
    )
    # A file without an index is read from its beginning.
    moving_s = source_bytes / DISK_BYTES_A_SECOND
    wall_s = max(SHORTEST_WALL_S, SLOWEST * seconds * heaviness) + moving_s
    most_kbps = max((max(rung.maxrate_kbps, 2 * plan.video_kbps) for rung in sizes), default=0)
    return Limits(
        wall_s=wall_s,
        idle_s=60 + moving_s,
        cpu_s=math.ceil(CPU_A_WALL_SECOND * wall_s),
        address_bytes=address_bytes(coded, canvas, made_pixels, len(sizes), tone_map=clip.tone_map),
        file_bytes=2 * math.ceil(seconds * most_kbps * 125) + 100 * MIB,
        # Every encoder has threads of its own.
        processes=64 + 24 * len(sizes),
    )


def sound(plan: Plan, source_bytes: int) -> Limits:
    """The most that a run over all of the sound may use."""
    moving_s = source_bytes / DISK_BYTES_A_SECOND
    wall_s = SHORTEST_WALL_S + plan.duration_s + moving_s
    expected = math.ceil(plan.duration_s * plan.audio_kbps * 125)
    return Limits(
        wall_s=wall_s,
        idle_s=60 + moving_s,
        cpu_s=math.ceil(CPU_A_WALL_SECOND * wall_s),
        file_bytes=2 * expected + 100 * MIB,
    )


def address_bytes(coded: int, canvas: int, made: int, rungs: int, *, tone_map: bool) -> int:
    """Address space for one run, in proportion to the pixels that go in and come out.

    Measured with ffmpeg 9.0.2 and 8 threads. One rung (logo and title): 1080p 1.7 GiB, 4K 3.7 GiB, 8K made smaller
    4.5 GiB. All rungs (title, preset medium): 1080p 2.5 GiB, 4K 6.2 GiB. So the 2 GiB of reliability.md, section 6,
    hold for one rung of 1080p only. HDR is worked on in floats.
    """
    millions = (coded + max(canvas, made)) / 1e6
    needed = (1.25 + 0.2 * millions + 0.5 * max(0, rungs - 1)) * (1.5 if tone_map else 1.0)
    return math.ceil(max(2.0, needed) * GIB)
