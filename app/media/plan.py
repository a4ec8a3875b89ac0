"""Decides what has to be done to a video so that platforms take it and players play it. Pure: probes in, a plan out.

A plan is made once and kept; every worker that makes a piece of the video makes it from the same plan, so all that
shapes the bytes stands in it: also the settings of the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

from app import config
from app.errors import Refused
from app.media import look
from app.media.design import Design, read_design
from app.media.grid import Grid, Rate
from app.media.ladder import BUFFER_S, Rung, ladder
from app.media.probe import Probe
from app.media.profiles import Profile, audio_fits, fits, shaped
from app.media.sniff import KINDS

ClipName = Literal["intro", "main", "outro"]
FORMATS = ("hls", "dash", "mp4")
STREAMED = frozenset({"hls", "dash"})


# Rates with a name of their own; the first three are exact fractions.
RATES = {
    23.976: Rate(24000, 1001),
    29.97: Rate(30000, 1001),
    59.94: Rate(60000, 1001),
    24.0: Rate(24),
    25.0: Rate(25),
    30.0: Rate(30),
    50.0: Rate(50),
    60.0: Rate(60),
}
# A rate printed with two digits, so 23.98 is 23.976.
NEAR = 0.02
# An average rate nearer than this part to the rate that it was meant to be is that rate.
NEARLY_EVEN = 0.05
USUAL_FPS = 30.0
MOST_SOUNDS = 4
# Less than this is no picture any more, whatever a platform takes.
MIN_KBPS = 200
# How ffmpeg's scaler calls the ways to code colours; unknown ones are taken for those of the size.
MATRICES = {
    "bt709": "bt709",
    "smpte170m": "bt601",
    "bt470bg": "bt601",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
    "bt2020ncl": "bt2020",
}
HD_HEIGHT_PX = 720


@dataclass(frozen=True)
class Clip:
    """One of the files that the video is made of. `frames` are counted at the rate of what is made.

    `exact`: exactly so many frames are made of it, the last picture held where a few are missing; else as many as
    there are. `formats` is what ffmpeg may take it for; `read_as` how its colours are coded (None: no YCbCr);
    `sounds` has, for each sound track that is made, the stream it comes from (None: silence).
    """

    name: ClipName
    formats: str
    duration_s: float
    frames: int
    exact: bool
    video_index: int
    sounds: tuple[int | None, ...]
    frame: look.Frame
    read_as: str | None
    deinterlace: bool
    tone_map: bool
    coded_width_px: int
    coded_height_px: int
    fps: float


@dataclass(frozen=True)
class Heard:
    """A sound track that is made: a0 is played unless another is chosen, and is the MP4's."""

    name: str
    language: str
    label: str


@dataclass(frozen=True)
class Plan:
    """All about how one video is made. `copy_video`: the MP4 is the source's own packets, nothing is encoded for it.

    `quality` is x264's CRF, under the ceiling of each rung; None: `video_kbps` for the top rung, less for the others.
    `colours` is how the colours of what is made are coded.
    """

    formats: tuple[str, ...]
    copy_video: bool
    copy_audio: bool
    rate: Rate
    colours: str
    clips: tuple[Clip, ...]
    rungs: tuple[Rung, ...]
    sounds: tuple[Heard, ...]
    loudness: bool
    preset: str
    quality: int | None
    video_kbps: int
    audio_kbps: int
    design: Design

    @cached_property
    def grid(self) -> Grid:
        return Grid(self.rate, tuple(clip.frames for clip in self.clips))

    @property
    def main(self) -> Clip:
        return next(clip for clip in self.clips if clip.name == "main")

    @property
    def canvas(self) -> tuple[int, int]:
        """Width and height of the top rung."""
        return self.main.frame.canvas

    @property
    def duration_s(self) -> float:
        return self.grid.duration_s

    @property
    def main_start_s(self) -> float:
        """Where the main clip begins: what counts from its beginning (captions, chapters) is moved by so much."""
        at = self.clips.index(self.main)
        return self.rate.seconds(sum(clip.frames for clip in self.clips[:at]))

    def rung(self, name: str) -> Rung:
        return next(rung for rung in self.rungs if rung.name == name)

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `from_json` takes back whole."""
        return asdict(self) | {"design": self.design.to_json()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Plan:
        return cls(
            **{
                **kept,
                "formats": tuple(kept["formats"]),
                "rate": Rate(**kept["rate"]),
                "clips": tuple(_clip_from_json(clip) for clip in kept["clips"]),
                "rungs": tuple(Rung(**rung) for rung in kept["rungs"]),
                "sounds": tuple(Heard(**sound) for sound in kept["sounds"]),
                "design": read_design(kept["design"]),
            }
        )


def plan(
    probe: Probe,
    design: Design,
    profile: Profile,
    *,
    formats: Iterable[str] = frozenset({"mp4"}),
    intro: Probe | None = None,
    outro: Probe | None = None,
) -> Plan:
    """The least that makes this video fit: copied where nothing changes the picture and it fits already.

    With HLS or DASH among the formats it has every rung, else the top one only. The same input gives the same plan,
    as long as the settings of the encoder stay the same.
    """
    settings = config.get()
    design = shaped(design, probe.width_px, probe.height_px, profile)
    rate = _rate(probe, profile)
    frame = look.frame(
        probe.width_px,
        probe.height_px,
        design,
        min_side_px=profile.min_side_px,
        max_side_px=profile.max_side_px,
        max_width_px=profile.max_width_px,
    )
    tracks = _tracks(probe) or ((None,) if _any_sound(intro, outro) else ())
    clips = [_clip("main", probe, rate, frame, tracks, exact=outro is not None)]
    for name, found in (("intro", intro), ("outro", outro)):
        if found is not None:
            inside = look.inside(found.width_px, found.height_px, frame.canvas, design=design)
            own = tuple(found.audio_index for _ in tracks)
            clip = _clip("intro" if name == "intro" else "outro", found, rate, inside, own, exact=True)
            clips.insert(0 if name == "intro" else len(clips), clip)
    rungs = ladder(*frame.canvas, float(rate))
    heard_kbps = kbps(settings.audio_bitrate) if tracks else 0
    if within := profile.kbps_within(sum(clip.duration_s for clip in clips)):
        # The platform's most, of which some is the sound's; the MP4 that goes there is the top rung.
        rungs = (_under(rungs[0], max(MIN_KBPS, within - heard_kbps)), *rungs[1:])
    alone = len(clips) == 1
    return Plan(
        formats=tuple(name for name in FORMATS if name in formats),
        copy_video=alone and not design.draws and _unframed(frame, probe) and fits(probe, profile),
        copy_audio=alone and audio_fits(probe) and not design.changes_sound,
        rate=rate,
        colours=_colours(probe),
        clips=tuple(clips),
        rungs=rungs if STREAMED & set(formats) else rungs[:1],
        sounds=tuple(_heard(number, probe) for number in range(len(tracks))),
        loudness="loudness" in design.effects,
        preset=settings.ffmpeg_preset,
        quality=settings.video_quality,
        video_kbps=kbps(settings.video_bitrate),
        audio_kbps=kbps(settings.audio_bitrate),
        design=design,
    )


def kbps(rate: str) -> int:
    """Kilobits a second of a setting like `2000k`."""
    return max(1, round(int(rate.rstrip("kM")) * {"k": 1.0, "M": 1000.0}.get(rate[-1], 0.001)))


def _clip(
    name: ClipName,
    probe: Probe,
    rate: Rate,
    frame: look.Frame,
    sounds: tuple[int | None, ...],
    *,
    exact: bool,
) -> Clip:
    formats = next((kind.formats for kind in KINDS if kind.formats.split(",")[0] in probe.container), "")
    if not formats:
        raise Refused(f"{probe.container} is not a kind of video that is taken", code="unreadable_media")
    return Clip(
        name=name,
        formats=formats,
        duration_s=probe.duration_s,
        frames=max(1, rate.frames(probe.duration_s)),
        exact=exact,
        video_index=probe.video_index,
        sounds=sounds,
        frame=frame,
        read_as=_read_as(probe),
        deinterlace=probe.interlaced,
        tone_map=probe.hdr,
        coded_width_px=probe.coded_width_px,
        coded_height_px=probe.coded_height_px,
        fps=probe.fps or 0.0,
    )


def _clip_from_json(kept: Mapping[str, Any]) -> Clip:
    frame = {**kept["frame"], "canvas": tuple(kept["frame"]["canvas"])}
    return Clip(**{**kept, "sounds": tuple(kept["sounds"]), "frame": look.Frame(**frame)})


def _read_as(probe: Probe) -> str | None:
    if probe.hdr:
        return "bt709"
    if probe.pixel_format.startswith(("gbr", "rgb", "bgr", "argb", "abgr", "pal", "0rgb", "0bgr")):
        return None
    return MATRICES.get(probe.matrix or "") or _usual_colours(probe)


def _colours(probe: Probe) -> str:
    """How the colours of what is made are coded: as they come, where players know it."""
    known = _read_as(probe)
    return known if known in ("bt709", "bt601") else _usual_colours(probe)


def _usual_colours(probe: Probe) -> str:
    """Unmarked HD is bt709 by custom."""
    return "bt709" if probe.coded_height_px >= HD_HEIGHT_PX else "bt601"


def _under(rung: Rung, most_kbps: int) -> Rung:
    if rung.maxrate_kbps <= most_kbps:
        return rung
    return replace(
        rung,
        maxrate_kbps=most_kbps,
        bufsize_kbps=BUFFER_S * most_kbps,
        target_kbps=min(rung.target_kbps, most_kbps),
    )


def _unframed(frame: look.Frame, probe: Probe) -> bool:
    size = (probe.width_px, probe.height_px)
    return frame.canvas == size and (frame.width_px, frame.height_px) == size


def _any_sound(*probes: Probe | None) -> bool:
    return any(probe is not None and probe.has_audio for probe in probes)


def _tracks(probe: Probe) -> tuple[int | None, ...]:
    """The streams of the sounds that are made: the one to play first, then the others in order."""
    if probe.audio_index is None:
        return ()
    others = [sound.index for sound in probe.sounds if sound.index != probe.audio_index]
    return (probe.audio_index, *others)[:MOST_SOUNDS]


def _heard(number: int, probe: Probe) -> Heard:
    index = dict(enumerate(_tracks(probe))).get(number)
    facts = next((sound for sound in probe.sounds if sound.index == index), None)
    language = (facts.language if facts else None) or "und"
    label = (facts.title if facts else None) or ("" if language == "und" else language)
    return Heard(f"a{number}", language, label or f"Sound {number + 1}")


def _rate(probe: Probe, profile: Profile) -> Rate:
    """The steady rate of what is made: the source's where a platform takes it, else one that keeps motion even."""
    fps = probe.fps or USUAL_FPS
    if fps < profile.min_fps and not probe.uneven:
        # Each picture shown twice, three times… keeps the motion even.
        fps *= math.ceil(profile.min_fps / fps)
    elif fps > profile.max_fps and not probe.uneven:
        fps /= math.ceil(fps / profile.max_fps)
    elif probe.uneven and probe.nominal_fps and abs(probe.nominal_fps - fps) < NEARLY_EVEN * fps:
        # A little uneven, as phones record: 29.4 on average is 30, and not the named rate nearest to it.
        fps = probe.nominal_fps
    fps = min(max(fps, profile.min_fps), profile.max_fps)
    named = min(RATES, key=lambda rate: abs(rate - fps))
    if probe.uneven or abs(named - fps) <= NEAR:
        return RATES[named]
    exact = Fraction(round(fps * 1000), 1000).limit_denominator(1001)
    return Rate(exact.numerator, exact.denominator)
