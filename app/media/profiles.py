"""What each platform takes, and whether a file is taken (S0.14). Every number has its line in the platform's sheet.

A probe does not see everything: that the index stands first and that there is no edit list is how our files are
made, not what is checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from app.media.design import ASPECTS, Design, Frame
from app.media.probe import Probe

GIB = 1024**3
# As ffmpeg calls them: MP4 and MOV are one to it, and so are Matroska and WebM.
MP4, WEBM = "mov,mp4", "matroska,webm"
WEBM_CODECS = frozenset({"vp8", "vp9", "av1"})
CODEC_NAMES: Mapping[str, str] = {"h264": "H.264", "hevc": "H.265", "vp8": "VP8", "vp9": "VP9", "av1": "AV1"}
# Sides are whole pixels, so a shape is never exact.
NEAR_SHAPE = 0.01


@dataclass(frozen=True)
class Profile:
    """What a platform takes, each from and to; None or an empty set: it names no limit.

    `aspects` is width by height, `max_kbps` all streams together. `called` is the name for people.
    """

    name: str
    min_fps: float
    max_fps: float
    min_side_px: int
    max_side_px: int
    called: str = "This platform"
    max_width_px: int | None = None
    containers: frozenset[str] = frozenset({MP4})
    video_codecs: frozenset[str] = frozenset({"h264"})
    audio_codecs: frozenset[str] = frozenset()
    half_colours: bool = False
    progressive: bool = False
    aspects: tuple[float, float] | None = None
    min_s: float = 0
    max_s: float | None = None
    max_bytes: int | None = None
    max_kbps: int | None = None
    max_channels: int | None = None
    audio_rates_hz: tuple[int, int] | None = None

    def kbps_within(self, duration_s: float) -> int | None:
        """The most that all streams together may have on average, so that a video this long fits into the bytes and
        under the bitrate; None where nothing limits it. A twentieth is left for what stands around the streams.
        """
        room = 0.95 * self.max_bytes * 8 / 1000 / duration_s if self.max_bytes and duration_s > 0 else None
        found = [most for most in (room, self.max_kbps) if most is not None]
        return int(min(found)) if found else None


# apis/tiktok.md, line 310 (section 5). How long a video may be depends on the creator too, so the caller asks that.
TIKTOK = Profile(
    "tiktok",
    called="TikTok",
    min_fps=23,
    max_fps=60,
    min_side_px=360,
    max_side_px=4096,
    containers=frozenset({MP4, WEBM}),
    video_codecs=frozenset({"h264", "hevc", "vp8", "vp9"}),
    max_s=600,
    max_bytes=4 * GIB,
)
# apis/instagram.md, column Reel: container 176, codecs 177, sound 178, rate 179, width 180, aspect 181, bitrate 182,
# length 183, bytes 184 (read as millions, the lesser). It names no least side and no most for the height: what we take.
INSTAGRAM_REELS = Profile(
    "instagram",
    called="Instagram Reels",
    min_fps=23,
    max_fps=60,
    min_side_px=2,
    max_side_px=8192,
    max_width_px=1920,
    video_codecs=frozenset({"h264", "hevc"}),
    audio_codecs=frozenset({"aac"}),
    half_colours=True,
    progressive=True,
    aspects=(0.01, 10),
    min_s=3,
    max_s=15 * 60,
    max_bytes=300_000_000,
    max_kbps=25_000,
    max_channels=2,
    audio_rates_hz=(1, 48_000),
)
# apis/youtube.md: bytes 132, length 183 (15 minutes until the channel's phone is confirmed: the caller asks that). It
# names neither codecs nor rates nor sides: the last two are what we take ourselves (limits.py).
YOUTUBE = Profile(
    "youtube",
    called="YouTube",
    min_fps=1,
    max_fps=120,
    min_side_px=2,
    max_side_px=8192,
    containers=frozenset(),
    video_codecs=frozenset(),
    max_s=12 * 3600,
    max_bytes=256 * GIB,
)
# apis/facebook.md, line 55; the bytes 66, stated for ordinary video. 24 frames is also how film's 23.976 is called.
FACEBOOK_REELS = Profile(
    "facebook",
    called="Facebook Reels",
    min_fps=23.97,
    max_fps=60,
    min_side_px=540,
    max_side_px=8192,
    video_codecs=frozenset({"h264", "hevc", "vp9", "av1"}),
    audio_codecs=frozenset({"aac"}),
    half_colours=True,
    aspects=(9 / 16, 9 / 16),
    min_s=3,
    max_s=90,
    max_bytes=2_000_000_000,
    max_channels=2,
    audio_rates_hz=(48_000, 48_000),
)
PROFILES: Mapping[str, Profile] = {
    profile.name: profile for profile in (TIKTOK, INSTAGRAM_REELS, YOUTUBE, FACEBOOK_REELS)
}


def together(names: Iterable[str]) -> Profile:
    """What one file may be that goes to all these platforms: TikTok's profile, which is what we make anyway, within
    the sides, bytes and bitrate of the others.

    Shape and length stay out: whether a video has those is for each post to say, and no reason to spoil the others.
    """
    others = [PROFILES[name] for name in names if name != TIKTOK.name]

    def least(*limits: int | None) -> int | None:
        return min((limit for limit in limits if limit is not None), default=None)

    return replace(
        TIKTOK,
        max_side_px=min(TIKTOK.max_side_px, *(other.max_side_px for other in others), TIKTOK.max_side_px),
        max_width_px=least(TIKTOK.max_width_px, *(other.max_width_px for other in others)),
        max_bytes=least(TIKTOK.max_bytes, *(other.max_bytes for other in others)),
        max_kbps=least(TIKTOK.max_kbps, *(other.max_kbps for other in others)),
    )


def check(probe: Probe, bytes_total: int, profile: Profile) -> list[str]:
    """What of this file the platform does not take, one sentence each, all of them; empty: it fits."""
    return [
        f"{profile.called} {problem}"
        for problem in (
            *_form(probe, profile),
            *_picture(probe, profile),
            *_length(probe, bytes_total, profile),
            *_sound(probe, profile),
        )
    ]


def fits(probe: Probe, profile: Profile) -> bool:
    """Whether the picture can go out as it is, as our own MP4: H.264, 8 bit 4:2:0, upright, square pixels, even, and
    within the platform's sides, shape, rates and bitrate.
    """
    sides = (probe.width_px, probe.height_px)
    return (
        probe.video_codec == "h264"
        and probe.pixel_format == "yuv420p"
        and sides == (probe.coded_width_px, probe.coded_height_px)
        and probe.rotation == 0
        and all(side % 2 == 0 for side in sides)
        and not (probe.hdr or probe.interlaced or probe.uneven)
        and (profile.max_kbps is None or (probe.bitrate_kbps or 0) <= profile.max_kbps)
        and not _picture(probe, profile)
    )


def audio_fits(probe: Probe) -> bool:
    """Whether the sound is taken as it is: AAC-LC, stereo, 44.1 or 48 kHz."""
    return (
        probe.audio_codec == "aac"
        and probe.audio_profile in (None, "LC")
        and probe.channels == 2
        and probe.audio_rate_hz in (44_100, 48_000)
    )


def shaped(design: Design, width_px: int, height_px: int, profile: Profile) -> Design:
    """The design, with a blurred frame added where the platform would not take the picture's shape without one.

    What the design itself says about the frame stays, also where the platform will refuse it: `check` tells so.
    """
    if profile.aspects is None or design.framed.aspect != "original":
        return design
    if _takes_shape(width_px / height_px, profile.aspects):
        return design
    for aspect, shape in ASPECTS.items():
        if shape and _takes_shape(shape[0] / shape[1], profile.aspects):
            return replace(design, frame=Frame(aspect, "blur"))
    return design


def _form(probe: Probe, profile: Profile) -> list[str]:
    problems = []
    kind = next((kind for kind in (MP4, WEBM) if probe.container.startswith(kind)), probe.container)
    # To ffmpeg a Matroska file is a WebM whatever is in it; to a platform it is none with these codecs.
    odd = kind not in profile.containers or (kind == WEBM and probe.video_codec not in WEBM_CODECS)
    if profile.containers and odd:
        taken = "MP4, MOV or WebM" if WEBM in profile.containers else "MP4 or MOV"
        problems.append(f"takes {taken}; this file is {probe.container}")
    if profile.video_codecs and probe.video_codec not in profile.video_codecs:
        taken = ", ".join(CODEC_NAMES[codec] for codec in sorted(profile.video_codecs))
        problems.append(
            f"takes {taken}; this picture is {CODEC_NAMES.get(probe.video_codec, probe.video_codec)}"
        )
    if profile.half_colours and not probe.pixel_format.startswith(("yuv420p", "yuvj420p", "nv12", "p010")):
        problems.append(f"takes 4:2:0 colours; this picture is {probe.pixel_format}")
    if profile.progressive and probe.interlaced:
        problems.append("takes whole pictures; this video is interlaced")
    return problems


def _picture(probe: Probe, profile: Profile) -> list[str]:
    """Its sides, shape and rate."""
    problems = []
    size = f"{probe.width_px} × {probe.height_px}"
    if min(probe.width_px, probe.height_px) < profile.min_side_px:
        problems.append(f"takes sides of at least {profile.min_side_px} pixels; this picture is {size}")
    if max(probe.width_px, probe.height_px) > profile.max_side_px:
        problems.append(f"takes sides of at most {profile.max_side_px} pixels; this picture is {size}")
    if profile.max_width_px is not None and probe.width_px > profile.max_width_px:
        problems.append(f"takes pictures up to {profile.max_width_px} pixels wide; this one is {size}")
    if profile.aspects is not None and not _takes_shape(probe.width_px / probe.height_px, profile.aspects):
        least, most = profile.aspects
        taken = f"of {least:.4g}" if least == most else f"from {least:.4g} to {most:.4g}"
        problems.append(f"takes a width by height {taken}; this picture is {size}")
    if probe.fps is None:
        problems.append("takes a known frame rate; this video states none")
    elif not profile.min_fps <= probe.fps <= profile.max_fps:
        taken = f"{profile.min_fps:.0f} to {profile.max_fps:.0f}"
        problems.append(f"takes {taken} frames a second; this video has {probe.fps:g}")
    return problems


def _length(probe: Probe, bytes_total: int, profile: Profile) -> list[str]:
    problems = []
    if probe.duration_s < profile.min_s:
        problems.append(f"takes videos from {profile.min_s:g} seconds; this one lasts {probe.duration_s:g}")
    if profile.max_s is not None and probe.duration_s > profile.max_s:
        problems.append(f"takes videos up to {profile.max_s:g} seconds; this one lasts {probe.duration_s:g}")
    if profile.max_bytes is not None and bytes_total > profile.max_bytes:
        most, given = profile.max_bytes / 1e6, bytes_total / 1e6
        problems.append(f"takes files up to {most:.0f} MB; this one has {given:.1f}")
    if profile.max_kbps is not None and (probe.bitrate_kbps or 0) > profile.max_kbps:
        problems.append(f"takes up to {profile.max_kbps} kbps; this video has {probe.bitrate_kbps}")
    return problems


def _sound(probe: Probe, profile: Profile) -> list[str]:
    """A video without sound is taken everywhere."""
    if not probe.has_audio:
        return []
    problems = []
    if profile.audio_codecs and probe.audio_codec not in profile.audio_codecs:
        taken = ", ".join(sorted(profile.audio_codecs)).upper()
        problems.append(f"takes {taken} sound; this is {probe.audio_codec}")
    if profile.max_channels is not None and probe.channels > profile.max_channels:
        problems.append(f"takes up to {profile.max_channels} channels of sound; this has {probe.channels}")
    if profile.audio_rates_hz is not None:
        least, most = profile.audio_rates_hz
        if probe.audio_rate_hz is None or not least <= probe.audio_rate_hz <= most:
            taken = f"{least}" if least == most else f"up to {most}"
            problems.append(f"takes sound of {taken} Hz; this has {probe.audio_rate_hz}")
    return problems


def _takes_shape(aspect: float, aspects: tuple[float, float]) -> bool:
    return aspects[0] * (1 - NEAR_SHAPE) <= aspect <= aspects[1] * (1 + NEAR_SHAPE)
