"""What is in a media file, in words that people read: codecs, bitrates, languages, everything a probe found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2

from app.web.words import clock, plural

CODECS: Mapping[str, str] = {
    "h264": "H.264", "avc1": "H.264", "avc3": "H.264", "hevc": "H.265", "hvc1": "H.265", "hev1": "H.265",
    "av1": "AV1", "av01": "AV1", "vp8": "VP8", "vp9": "VP9", "vp09": "VP9", "mpeg4": "MPEG-4", "prores": "ProRes",
    "mjpeg": "Motion JPEG", "mpeg2video": "MPEG-2", "aac": "AAC", "mp4a": "AAC", "mp3": "MP3", "opus": "Opus",
    "vorbis": "Vorbis", "flac": "FLAC", "ac3": "AC-3", "eac3": "E-AC-3", "alac": "ALAC",
}  # fmt: skip
LANGUAGES: Mapping[str, str] = {
    "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sv": "Swedish", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
HDR: Mapping[str, str] = {"pq": "HDR10 (PQ)", "hlg": "HLG"}
CHANNELS: Mapping[int, str] = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def codec(name: str | None) -> str:
    """`H.264` for ffmpeg's name of a codec and for that of a playlist (`avc1.64001f`)."""
    said = (name or "").lower()
    return CODECS.get(said) or CODECS.get(said.partition(".")[0]) or (name or "unknown")


def codecs(probe: Mapping[str, Any]) -> str:
    """Picture and sound of a file: `H.264, AAC`."""
    sound = probe.get("audio_codec")
    return f"{codec(probe['video_codec'])}, {codec(sound)}" if sound else codec(probe["video_codec"])


def bitrate(kbps: float | None) -> str:
    """`640 kbit/s`, `4.5 Mbit/s`."""
    if kbps is None:
        return "unknown"
    return f"{kbps / 1000:.1f} Mbit/s" if kbps >= 999.5 else f"{kbps:.0f} kbit/s"


def language(code: str | None) -> str:
    """The language's name in English, or the code as it is."""
    return LANGUAGES.get((code or "").lower().partition("-")[0], code or "unknown")


def facts(probe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything worth telling of a file, from a probe of any release as its row keeps it (S2.5)."""
    found = [("Length", _length(probe)), ("Resolution", _resolution(probe)), ("Picture", _picture(probe))]
    found.append(("Frame rate", _rate(probe)))
    if rotation := probe.get("rotation"):
        found.append(("Rotation", f"{rotation}° clockwise; shown upright"))
    found.append(("Colours", _colours(probe)))
    if probe.get("bitrate_kbps"):
        found.append(("Bitrate", bitrate(probe["bitrate_kbps"])))
    found += [(f"Sound {number}" if number else "Sound", said) for number, said in _sounds(probe)]
    chapters = probe.get("chapters") or ()
    if chapters:
        found.append(("Chapters", str(len(chapters))))
    if probe.get("attached_picture"):
        found.append(("Cover", "There is a picture in the file; it is not part of the video."))
    found.append(
        ("Container", f"{_container(str(probe['container']))}, {plural(probe['streams'], 'stream')}")
    )
    return found


def _length(probe: Mapping[str, Any]) -> str:
    return f"{clock(probe['duration_s'])} ({probe['duration_s']:.2f} s)"


def _resolution(probe: Mapping[str, Any]) -> str:
    shown = (probe["width_px"], probe["height_px"])
    coded = (probe["coded_width_px"], probe["coded_height_px"])
    turned = coded[::-1] if probe.get("rotation") in (90, 270) else coded
    said = f"{shown[0]} × {shown[1]}"
    return said if shown == turned else f"{said} (kept as {coded[0]} × {coded[1]})"


def _picture(probe: Mapping[str, Any]) -> str:
    parts = [codec(probe["video_codec"])]
    parts += [str(probe[name]) for name in ("video_profile", "pixel_format") if probe.get(name)]
    if probe.get("video_kbps"):
        parts.append(bitrate(probe["video_kbps"]))
    return ", ".join([*parts, "interlaced"] if probe.get("interlaced") else parts)


def _rate(probe: Mapping[str, Any]) -> str:
    if not probe.get("fps"):
        return "unknown"
    said = f"{probe['fps']:.3f}".rstrip("0").rstrip(".")
    return f"{said} a second{', not evenly spaced' if probe.get('uneven') else ''}"


def _colours(probe: Mapping[str, Any]) -> str:
    kind = HDR.get(str(probe.get("hdr_kind")), "HDR") if probe.get("hdr") else "Standard (SDR)"
    parts = [kind, f"{probe.get('bits') or 8} bit", str(probe.get("matrix") or "")]
    return ", ".join(part for part in parts if part)


def _sounds(probe: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Each sound track in words, numbered where there are several; silence has a line of its own."""
    found = [_sound(sound) for sound in probe.get("sounds") or ()]
    if not found and probe.get("audio_codec"):
        first = {"codec": probe["audio_codec"], "profile": probe.get("audio_profile")}
        found = [_sound({**first, "channels": probe["channels"], "rate_hz": probe.get("audio_rate_hz")})]
    if not found:
        return [(0, "None")]
    return [(number if len(found) > 1 else 0, said) for number, said in enumerate(found, 1)]


def _sound(sound: Mapping[str, Any]) -> str:
    layout = sound.get("layout") or CHANNELS.get(sound["channels"]) or plural(sound["channels"], "channel")
    parts = [codec(sound["codec"]), str(layout)]
    if sound.get("rate_hz"):
        parts.append(f"{sound['rate_hz'] / 1000:g} kHz")
    if sound.get("language"):
        parts.append(language(sound["language"]))
    if sound.get("title"):
        parts.append(f"“{sound['title']}”")
    return ", ".join(parts)


def _container(name: str) -> str:
    first = re.split(r"[,\s]", name)[0]
    return {"mov": "MP4 or QuickTime", "matroska": "Matroska or WebM"}.get(first, first.upper())


def add_to(environment: jinja2.Environment) -> None:
    """Make these words known to templates."""
    environment.filters |= {
        "codec": codec, "codecs": codecs, "bitrate": bitrate, "language": language, "facts": facts,
    }  # fmt: skip
