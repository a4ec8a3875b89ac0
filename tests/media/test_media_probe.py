from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from app import media
from app.errors import Refused
from app.media.reading import read
from tests.media.clips import FAST, Clip, ffmpeg

pytestmark = pytest.mark.anyio


async def test_a_plain_video_is_described_and_survives_json(clip: Clip) -> None:
    found = await media.probe(clip(sound="sine", seconds=2))
    assert found.container.startswith("mov,mp4")
    assert found.duration_s == pytest.approx(2, abs=0.1)
    assert (found.width_px, found.height_px, found.fps) == (640, 360, 30)
    assert (found.video_codec, found.pixel_format, found.rotation) == ("h264", "yuv420p", 0)
    assert (found.audio_codec, found.channels, found.audio_rate_hz) == ("aac", 1, 44_100)
    assert found.streams == 2
    assert [(sound.index, sound.layout) for sound in found.sounds] == [(1, "mono")]
    assert found.bitrate_kbps is not None and found.bitrate_kbps > 100
    assert not (found.hdr or found.uneven or found.interlaced or found.attached_picture)
    assert media.Probe.from_json(json.loads(json.dumps(found.to_json()))) == found


async def test_a_row_of_an_older_or_a_newer_release_is_read(clip: Clip) -> None:
    found = await media.probe(clip(sound="sine", seconds=1))
    old = found.to_first_json()
    assert len(old) == 24 and "sounds" not in old
    read_back = media.Probe.from_json(old)
    assert (read_back.width_px, read_back.audio_codec, read_back.chapters) == (640, "aac", ())
    assert [(sound.index, sound.codec, sound.channels) for sound in read_back.sounds] == [(1, "aac", 1)]
    newer = found.to_json() | {"smell": "none"}
    newer["sounds"] = [sound | {"smell": "none"} for sound in newer["sounds"]]
    assert media.Probe.from_json(newer) == found


async def test_a_phone_video_is_as_tall_as_it_is_shown(clip: Clip, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", clip(), "-c", "copy", turned)
    found = await media.probe(turned)
    assert (found.width_px, found.height_px) == (360, 640)
    assert (found.coded_width_px, found.coded_height_px) == (640, 360)
    assert found.rotation == 270


async def test_wide_pixels_count_as_the_width_they_are_shown_with(clip: Clip) -> None:
    found = await media.probe(clip(size="720x576", fps="25", options=("-vf", "setsar=64/45")))
    assert (found.width_px, found.height_px) == (1024, 576)
    assert (found.coded_width_px, found.coded_height_px) == (720, 576)


async def test_hdr_is_seen(clip: Clip) -> None:
    tags = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    found = await media.probe(clip(codec=(*FAST[:4], "-pix_fmt", "yuv420p10le", "-x264-params", tags)))
    assert found.hdr
    assert (found.hdr_kind, found.bits, found.primaries, found.transfer) == ("pq", 10, "bt2020", "smpte2084")
    assert (found.pixel_format, found.matrix) == ("yuv420p10le", "bt2020nc")


async def test_cover_art_is_not_taken_for_the_video(clip: Clip, logo: Path, tmp_path: Path) -> None:
    covered = tmp_path / "covered.mp4"
    ffmpeg(
        *("-i", logo, "-i", clip(sound="sine"), "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:0", "attached_pic", covered),
    )
    found = await media.probe(covered)
    assert found.attached_picture
    assert (found.cover_index, found.video_index) == (2, 0)
    assert (found.video_codec, found.width_px) == ("h264", 640)


async def test_sound_with_a_cover_is_no_video(logo: Path, tmp_path: Path) -> None:
    song = tmp_path / "song.mp4"
    ffmpeg(
        *(
            "-f",
            "lavfi",
            "-i",
            "sine=d=1",
            "-i",
            logo,
            "-map",
            "0",
            "-map",
            "1",
            "-c:a",
            "aac",
            "-c:v",
            "copy",
        ),
        *("-disposition:v:0", "attached_pic", song),
    )
    with pytest.raises(Refused) as refused:
        await media.probe(song)
    assert refused.value.code == "no_video"


async def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    song = tmp_path / "song.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", song)
    with pytest.raises(Refused, match="This file holds sound only") as refused:
        await media.probe(song)
    assert refused.value.code == "no_video"


CHAPTERS = (
    """;FFMETADATA1
[CHAPTER]
TIMEBASE=1/1000
START=0
END=1000
title=The be\u202eginning
[CHAPTER]
TIMEBASE=1/1000
START=1000
END=9000
title="""
    + "ä" * 300
)


async def test_every_sound_and_chapter_is_told_with_names_that_harm_no_page(
    clip: Clip, tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    words.write_text(CHAPTERS)
    path = tmp_path / "many.mkv"
    ffmpeg(
        *("-i", clip(seconds=2, fps="30000/1001"), "-f", "lavfi", "-i", "sine=d=2"),
        *("-f", "lavfi", "-i", "sine=d=2,aformat=channel_layouts=5.1", "-i", words, "-map_metadata", "3"),
        *("-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:v", "copy", "-c:a", "aac"),
        *("-metadata:s:a:0", "language=x<script>", "-metadata:s:a:0", "title=a\n  Stream #0:7: Video: h264"),
        *("-metadata:s:a:1", "language=deu", "-metadata:s:a:1", "title=Ton \x1b[2J\u2066\tzwei"),
        *("-disposition:a:0", "0", "-disposition:a:1", "default", path),
    )
    found = await media.probe(path)
    assert (found.audio_index, found.channels, found.streams, found.rate) == (2, 6, 3, "30000/1001")
    first, second = found.sounds
    assert (first.language, first.title, first.default) == (None, "a", False)
    assert (second.language, second.title, second.layout, second.default) == (
        "deu", "Ton ?[2J zwei", "5.1", True,
    )  # fmt: skip
    assert [(chapter.start_ms, chapter.title) for chapter in found.chapters] == [
        (0, "The be ginning"),
        (1000, "ä" * 100),
    ]
    assert found.chapters[1].end_ms == pytest.approx(2000, abs=50)


async def test_the_start_of_a_file_that_does_not_begin_at_zero_is_told(clip: Clip, tmp_path: Path) -> None:
    late = tmp_path / "late.ts"
    ffmpeg("-i", clip(), "-c", "copy", "-muxdelay", "0", "-output_ts_offset", "10", late)
    found = await media.probe(late)
    assert found.start_s == pytest.approx(10, abs=0.1)
    assert found.duration_s == pytest.approx(1, abs=0.1)


async def test_a_live_recording_without_a_length_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "live.webm"
    path.write_bytes(
        ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2", "-c:v", "libvpx", "-deadline", "realtime"),
            *("-live", "1", "-f", "webm", "-"),
        )
    )
    found = await media.probe(path)
    assert found.duration_s == pytest.approx(2, abs=0.1)
    assert found.fps == pytest.approx(25, abs=0.5)


async def test_uneven_pictures_are_noticed(clip: Clip) -> None:
    uneven = clip(seconds=2, options=("-vf", "select='lt(t,1)+not(mod(n,4))'", "-fps_mode", "vfr"))
    assert (await media.probe(uneven)).uneven


@pytest.mark.parametrize("faststart", [True, False])
async def test_a_file_cut_in_the_middle_is_refused_as_cut(
    clip: Clip, tmp_path: Path, faststart: bool
) -> None:
    whole = clip(options=("-movflags", "+faststart") if faststart else ())
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(Refused, match="cut short") as refused:
        await media.probe(cut)
    assert refused.value.code == "cut_short"


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
async def test_other_containers_cut_in_the_middle_are_refused_too(clip: Clip, name: str) -> None:
    path = clip(name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Refused) as refused:
        await media.probe(path)
    assert refused.value.code == "cut_short"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"hello world\n", "not_a_video"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + b"\x00" * 64, "unreadable_media"),
        (b"\x1a\x45\xdf\xa3\x84webm" + b"\xff" * 200, "unreadable_media"),
        (b"G" + b"\xff" * 187 + b"G" + b"\x00" * 187 + b"G" + b"\x01" * 187, "unreadable_media"),
    ],
)
async def test_rubbish_is_refused_with_a_reason_and_leaves_nothing(
    tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "rubbish.mp4"
    path.write_bytes(content)
    with pytest.raises(Refused) as refused:
        await media.probe(path)
    assert refused.value.code == code
    assert str(tmp_path) not in refused.value.message
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["rubbish.mp4"]


async def test_a_playlist_named_mp4_that_points_at_a_secret_is_refused(clip: Clip, tmp_path: Path) -> None:
    secret = clip("secret.ts")
    for start in (
        f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {secret}\n",
    ):
        playlist = tmp_path / "holiday.mp4"
        playlist.write_text(start)
        with pytest.raises(Refused, match="playlist") as refused:
            await media.probe(playlist)
        assert refused.value.code == "not_a_video"


async def test_the_name_of_a_file_plays_no_part(clip: Clip, tmp_path: Path) -> None:
    odd = tmp_path / "-i evil'; $(touch x) \n\x01 %d.m3u8"
    clip().rename(odd)
    assert (await media.probe(odd)).width_px == 640


def _enlarged(path: Path, side: int) -> None:
    """Make every PNG inside a MOV claim to be this large, and the MOV too."""
    held = bytearray(path.read_bytes())
    at = held.index(b"png ", held.index(b"stsd"))
    held[at + 28 : at + 32] = side.to_bytes(2, "big") * 2
    at = held.find(b"IHDR")
    while at >= 0:
        held[at + 4 : at + 12] = side.to_bytes(4, "big") * 2
        held[at + 17 : at + 21] = zlib.crc32(held[at : at + 17]).to_bytes(4, "big")
        at = held.find(b"IHDR", at + 1)
    path.write_bytes(held)


@pytest.mark.parametrize("side", [8000, 9000, 30_000, 65_000])
async def test_a_tiny_file_with_huge_pictures_is_refused_before_one_is_decoded(clip: Clip, side: int) -> None:
    bomb = clip("bomb.mov", size="64x64", seconds=0.1, codec=("-c:v", "png"))
    _enlarged(bomb, side)
    with pytest.raises(Refused) as refused:
        media.check(await media.probe(bomb), bomb.stat().st_size)
    assert refused.value.code in ("too_many_pixels", "too_wide")


# What 5.1 and 7.0 print where 9.0 prints something else, and what a file may try to say for itself.
OLD = """Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:x':
  Metadata:
    title           : a
                    :   Stream #0:7: Video: h264, yuv420p, 9x9, 1 fps
    Stream #0:8: Video: h264, yuv420p, 9x9, 1 fps
  Duration: 00:01:02.50, start: 0.000000, bitrate: 1980 kb/s
  Stream #0:0[0x1](und): Video: hevc (Main 10) (hvc1 / 0x31637668), yuv420p10le(tv, bt2020nc/bt2020/arib-std-b67), \
1920x1080, 8000 kb/s, 29.97 fps, 30 tbr, 600 tbn (default)
      Side data:
        DOVI configuration record: version: 1.0
        displaymatrix: rotation of -90.00 degrees
  Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, 5.1(side), fltp, 192 kb/s (default)
  Stream #0:2[0x3](und): Data: none (mebx / 0x7862656D), 0 kb/s (default)
  Stream #0:3[0x4](und): Audio: none (apac / 0x63617061), 48000 Hz, 4 channels, 384 kb/s (default)
At least one output file must be specified"""


def test_the_words_of_older_builds_are_read_and_those_of_the_file_are_not() -> None:
    streams = read(OLD.splitlines())
    assert (streams.duration_s, streams.count) == (62.5, 4)
    (picture,) = streams.pictures
    assert (picture.primaries, picture.bits, picture.colour_range, picture.kbps) == ("bt2020", 10, "tv", 8000)
    assert (picture.rotation, picture.transfer, picture.matrix) == (90, "arib-std-b67", "bt2020nc")
    assert (picture.width_px, picture.height_px, picture.fps) == (1920, 1080, 29.97)
    assert [(sound.index, sound.default) for sound in streams.sounds] == [(1, True)]
    assert (streams.sounds[0].channels, streams.sounds[0].rate_hz) == (6, 44_100)


@pytest.mark.parametrize(
    ("words", "bits", "primaries", "transfer", "colour_range"),
    [
        ("yuv420p(tv, bt709, progressive)", 8, "bt709", "bt709", "tv"),
        ("yuvj420p(pc, smpte170m/smpte432/bt709)", 8, "smpte432", "bt709", "pc"),
        ("yuv420p10le(10 bpc, tv, bt2020nc/bt2020/smpte2084)", 10, "bt2020", "smpte2084", "tv"),
        ("p010le(tv)", 10, None, None, "tv"),
        ("yuva444p12le", 12, None, None, None),
        ("rgb48le(pc, gbr/unknown/unknown)", 16, None, None, "pc"),
    ],
)
def test_depth_and_colours_are_told(
    words: str, bits: int, primaries: str | None, transfer: str | None, colour_range: str | None
) -> None:
    (picture,) = read([f"  Stream #0:0: Video: hevc, {words}, 64x64, 25 fps, 25 tbr"]).pictures
    assert (picture.bits, picture.primaries, picture.transfer, picture.colour_range) == (
        bits, primaries, transfer, colour_range,
    )  # fmt: skip


def test_a_file_that_describes_a_stream_twice_is_refused() -> None:
    with pytest.raises(Refused):
        read([*OLD.splitlines(), "  Stream #0:0: Video: h264, yuv420p, 16x16, 1 fps, 1 tbr"])
