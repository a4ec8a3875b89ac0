"""Decides what has to be done to a video so that a platform takes it. Pure: a probe in, a plan out."""

from __future__ import annotations

from dataclasses import dataclass

from app.media.design import Design
from app.media.probe import Probe


@dataclass(frozen=True)
class Profile:
    """What a platform takes: frames a second and pixels on each side, from and to."""

    name: str
    min_fps: float
    max_fps: float
    min_side_px: int
    max_side_px: int


# apis/tiktok.md, section 5. How long a video may be depends on the creator, so the caller asks that.
TIKTOK = Profile("tiktok", min_fps=23, max_fps=60, min_side_px=360, max_side_px=4096)

# Rates with a name of their own; ffmpeg wants the exact fraction of the first three.
RATES = {
    23.976: "24000/1001",
    29.97: "30000/1001",
    59.94: "60000/1001",
    24: "24",
    25: "25",
    30: "30",
    50: "50",
    60: "60",
}
# A rate printed with two digits, so 23.98 is 23.976.
NEAR = 0.02
USUAL_FPS = 30.0


@dataclass(frozen=True)
class Plan:
    """`width_px` × `height_px` is the picture before `blur-fill`, `canvas` the one that is made.

    `fps` None keeps the source's pictures as they come. `padded` puts black around a picture too narrow to fit.
    """

    copy_video: bool
    copy_audio: bool
    width_px: int
    height_px: int
    canvas: tuple[int, int]
    fps: str | None
    fps_out: float
    tone_map: bool
    deinterlace: bool

    @property
    def padded(self) -> bool:
        return self.canvas != (self.width_px, self.height_px)


def plan(probe: Probe, design: Design, profile: Profile) -> Plan:
    """The least that makes this video fit: copied where nothing changes the picture and it fits already."""
    width, height = _size(probe.width_px, probe.height_px, profile)
    canvas = (max(width, profile.min_side_px), max(height, profile.min_side_px))
    if "blur-fill" in design.effects:
        canvas = (1080, 1920) if max(width, height) >= 1280 else (720, 1280)
        shrunk = min(canvas[0] / width, canvas[1] / height)
        width, height = _even(width * shrunk), _even(height * shrunk)
    fps, fps_out = _rate(probe, profile)
    return Plan(
        copy_video=not design.changes_picture and fits(probe, profile),
        # Fading the picture fades the sound with it.
        copy_audio=audio_fits(probe) and not {"fade-in", "fade-out"} & set(design.effects),
        width_px=width,
        height_px=height,
        canvas=canvas,
        fps=fps,
        fps_out=fps_out,
        tone_map=probe.hdr,
        deinterlace=probe.interlaced,
    )


def fits(probe: Probe, profile: Profile) -> bool:
    """Whether the picture is taken as it is: H.264, 8 bit 4:2:0, upright, square pixels, even, size, rate."""
    sides = (probe.width_px, probe.height_px)
    return (
        probe.video_codec == "h264"
        and probe.pixel_format == "yuv420p"
        and sides == (probe.coded_width_px, probe.coded_height_px)
        and probe.rotation == 0
        and all(side % 2 == 0 and profile.min_side_px <= side <= profile.max_side_px for side in sides)
        and not (probe.hdr or probe.interlaced or probe.uneven)
        and probe.fps is not None
        and profile.min_fps <= probe.fps <= profile.max_fps
    )


def audio_fits(probe: Probe) -> bool:
    """Whether the sound is taken as it is: AAC-LC, stereo, 44.1 or 48 kHz."""
    return (
        probe.audio_codec == "aac"
        and probe.audio_profile in (None, "LC")
        and probe.channels == 2
        and probe.audio_rate_hz in (44_100, 48_000)
    )


def _size(width: int, height: int, profile: Profile) -> tuple[int, int]:
    """Even sides within the profile, in the source's proportions; a very long strip stays below the least side."""
    scale = max(1.0, profile.min_side_px / min(width, height))
    scale = min(scale, profile.max_side_px / max(width, height))
    return _even(width * scale), _even(height * scale)


def _even(side: float) -> int:
    return max(2, round(side / 2) * 2)


def _rate(probe: Probe, profile: Profile) -> tuple[str | None, float]:
    """The rate to force, as ffmpeg writes it, and what comes out; None where the source's own rate is good."""
    fps = probe.fps or USUAL_FPS
    # An AVI has no times of its own; ffmpeg's guess of them skips the second picture of some.
    if (
        probe.fps
        and not probe.uneven
        and probe.container != "avi"
        and profile.min_fps <= fps <= profile.max_fps
    ):
        return None, fps
    if fps < profile.min_fps and not probe.uneven:
        # Each picture shown twice, three times… keeps the motion even.
        fps *= next(times for times in range(2, 1000) if fps * times >= profile.min_fps)
    elif fps > profile.max_fps and not probe.uneven:
        fps /= next(part for part in range(2, 1000) if fps / part <= profile.max_fps)
    fps = min(max(fps, profile.min_fps), profile.max_fps)
    named = min(RATES, key=lambda rate: abs(rate - fps))
    if probe.uneven or abs(named - fps) <= NEAR:
        return RATES[named], float(named)
    return f"{fps:.3f}", round(fps, 3)
