from __future__ import annotations

from pathlib import Path

import pytest

from app import media
from tests.media.clips import Clip, ffmpeg


@pytest.mark.parametrize(
    ("name", "kind", "content_type"),
    [
        ("a.mp4", "mp4", "video/mp4"),
        ("a.mov", "mov", "video/quicktime"),
        ("a.mkv", "matroska", "video/x-matroska"),
        ("a.avi", "avi", "video/x-msvideo"),
        ("a.ts", "mpegts", "video/mp2t"),
    ],
)
def test_a_video_is_known_by_its_bytes_whatever_it_is_called(
    clip: Clip, name: str, kind: str, content_type: str
) -> None:
    found = media.sniff(clip(name).read_bytes()[: media.WANTED_BYTES])
    assert found is not None
    assert (found.name, found.content_type) == (kind, content_type)


def test_webm_is_told_from_matroska(clip: Clip) -> None:
    found = media.sniff(clip("a.webm", codec=("-c:v", "libvpx", "-deadline", "realtime")).read_bytes()[:4096])
    assert found is not None
    assert found.name == "webm"


def test_a_camera_stream_with_time_stamps_before_each_packet_is_a_transport_stream(clip: Clip) -> None:
    found = media.sniff(
        clip("a.m2ts", options=("-f", "mpegts", "-mpegts_m2ts_mode", "1")).read_bytes()[:4096]
    )
    assert found is not None
    assert found.name == "mpegts"


@pytest.mark.parametrize(
    ("first_bytes", "sentence"),
    [
        (b"", "The file is empty."),
        (b"#EXTM3U\n#EXTINF:2,\nfile:///etc/passwd\n", "This is a text playlist, not a video."),
        (b"\xef\xbb\xbf#EXTM3U\n", "This is a text playlist, not a video."),
        (b"ffconcat version 1.0\nfile a.ts\n", "This is a text playlist, not a video."),
        (b'<?xml version="1.0"?><MPD xmlns="x">', "This is a text playlist, not a video."),
        (b"dear diary", "This is a text file"),
        ("schöne Grüße".encode(), "This is a text file"),
        (b"\x89PNG\r\n\x1a\n", "an image (PNG)"),
        (b"\xff\xd8\xff\xe0", "an image (JPEG)"),
        (b"\x00\x00\x00\x18ftypheic", "an image (HEIC or AVIF)"),
        (b"\x00\x00\x00\x18ftypM4A ", "This file holds sound only (M4A): there is no picture in it"),
        (b"ID3\x04\x00", "sound only (MP3)"),
        (b"\xff\xf3\x84\xc4", "sound only (MP3)"),
        (b"\xff\xf9\x50\x80", "sound only (AAC)"),
        (b"FORM\x00\x00\x10\x00AIFFCOMM", "sound only (AIFF)"),
        (b"FORMER LIVES, a novel", "This is a text file"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "sound only (WAV)"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "an image (WebP)"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x00" * 4096, "nothing but zeros"),
        (b"\x93\x01\xfe\x80" * 50, "This is not a video that we know"),
    ],
)
def test_what_is_no_video_is_said_in_a_plain_sentence(first_bytes: bytes, sentence: str) -> None:
    assert media.sniff(first_bytes) is None
    assert sentence in media.why_not(first_bytes)


def test_text_that_has_the_word_of_a_box_in_the_right_place_is_still_text() -> None:
    assert media.sniff(b"the mdat of my life, as told by myself\n" * 10) is None


def test_an_image_renamed_to_mp4_is_an_image(tmp_path: Path) -> None:
    path = tmp_path / "holiday.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", "-c:v", "png", "-f", "image2", path)
    assert media.sniff(path.read_bytes()) is None
