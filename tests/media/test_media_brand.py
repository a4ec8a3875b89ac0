from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app import config, media
from app.errors import Refused
from tests.media.clips import FAST, Clip, branded, ffmpeg, pixels

pytestmark = pytest.mark.anyio

GRAY = media.Design(effects=("grayscale",))
BLUE = "color=blue"
RED_SQUARE = media.Watermark("https://example.com/logo.png", opacity=1, margin_px=0, scale=0.2)


def is_red(pixel: tuple[int, int, int]) -> bool:
    return pixel[0] > 150 and pixel[1] < 80 and pixel[2] < 80


def is_blue(pixel: tuple[int, int, int]) -> bool:
    return pixel[2] > 150 and pixel[0] < 80 and pixel[1] < 80


async def test_a_video_that_fits_and_is_not_changed_is_copied_bit_by_bit(clip: Clip, folder: Path) -> None:
    source = clip(sound="sine", options=("-ac", "2"))
    made = await branded(source, media.Design(), folder)
    assert not made.reencoded
    md5 = ("-c", "copy", "-map", "0:v", "-f", "md5", "-")
    assert ffmpeg("-i", made.path, *md5) == ffmpeg("-i", source, *md5)
    assert [(still.name, still.width, still.height) for still in made.thumbnails] == [
        ("small", 320, 180),
        ("medium", 640, 360),
        ("large", 640, 360),
    ]
    for path in (made.poster, *(still.path for still in made.thumbnails)):
        assert path.read_bytes().startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("no sound", {}),
        ("mono", {"sound": "sine"}),
        ("5.1", {"sound": "sine", "options": ("-ac", "6")}),
        ("odd sizes", {"size": "481x363", "codec": (*FAST[:4], "-pix_fmt", "yuv444p")}),
        ("ten bits", {"codec": (*FAST[:4], "-pix_fmt", "yuv420p10le")}),
        ("full range", {"codec": (*FAST[:4], "-pix_fmt", "yuvj420p")}),
        ("wide pixels", {"size": "720x576", "fps": "25", "options": ("-vf", "setsar=64/45")}),
        ("too small", {"size": "320x180"}),
        ("a strip", {"size": "2400x100"}),
        ("too slow", {"fps": "12"}),
        ("too fast", {"fps": "100"}),
        (
            "uneven",
            {"options": ("-vf", "select='lt(t,0.5)+not(mod(n,4))'", "-fps_mode", "vfr"), "sound": "sine"},
        ),
        (
            "interlaced",
            {"size": "720x576", "fps": "25", "options": ("-flags", "+ildct+ilme", "-x264opts", "tff=1")},
        ),
        ("transport stream", {"name": "clip.ts", "sound": "sine"}),
        ("avi", {"name": "clip.avi", "codec": ("-c:v", "mpeg4"), "sound": "sine"}),
        ("webm", {"name": "clip.webm", "codec": ("-c:v", "libvpx", "-deadline", "realtime")}),
    ],
)
async def test_whatever_comes_in_what_goes_out_is_taken_by_the_platform(
    clip: Clip, folder: Path, name: str, given: dict[str, object]
) -> None:
    source = clip(**given)
    found = await media.probe(source)
    made = await branded(source, GRAY, folder)
    out = made.probe
    assert made.reencoded
    assert (out.video_codec, out.pixel_format, out.rotation) == ("h264", "yuv420p", 0)
    assert (out.width_px, out.height_px) == (out.coded_width_px, out.coded_height_px)
    for side in (out.width_px, out.height_px):
        assert side % 2 == 0
        assert 360 <= side <= 4096
    assert out.fps is not None and 23 <= out.fps <= 60
    assert not out.uneven
    assert out.duration_s == pytest.approx(found.duration_s, abs=0.15)
    assert out.has_audio == found.has_audio
    if found.has_audio:
        assert (out.audio_codec, out.channels) == ("aac", 2)
    # The index stands at the front: `moov` before `mdat`.
    head = made.path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")


async def test_a_turned_phone_video_comes_out_upright(clip: Clip, folder: Path, tmp_path: Path) -> None:
    lying, turned = clip("lying.mp4", picture=BLUE), tmp_path / "turned.mp4"
    # A red left edge; turned a quarter clockwise it is the upper edge.
    edge = tmp_path / "edge.mp4"
    ffmpeg("-i", lying, "-vf", "drawbox=w=64:h=ih:color=red:t=fill", *FAST, edge)
    ffmpeg("-display_rotation", "-90", "-i", edge, "-c", "copy", turned)
    made = await branded(turned, media.Design(), folder)
    assert made.reencoded
    assert (made.probe.width_px, made.probe.height_px, made.probe.rotation) == (360, 640, 0)
    rows = pixels(made.path, 9, 20)
    assert all(is_red(pixel) for pixel in rows[0])
    assert all(is_blue(pixel) for pixel in rows[19])


async def test_hdr_comes_out_in_ordinary_colours(clip: Clip, folder: Path) -> None:
    tags = "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"
    source = clip(codec=(*FAST[:4], "-pix_fmt", "yuv420p10le", "-x264-params", tags))
    made = await branded(source, media.Design(), folder)
    assert made.reencoded
    assert (made.probe.hdr, made.probe.pixel_format, made.probe.matrix) == (False, "yuv420p", "bt709")


@pytest.mark.parametrize("design", [media.Design(), GRAY])
async def test_where_and_by_whom_it_was_filmed_is_left_out(
    clip: Clip, folder: Path, tmp_path: Path, design: media.Design
) -> None:
    tagged = tmp_path / "tagged.mp4"
    ffmpeg(
        *(
            "-i",
            clip(sound="sine", options=("-ac", "2")),
            "-c",
            "copy",
            "-metadata",
            "location=+52.5200+013.4050/",
        ),
        *("-metadata", "title=SecretTitle", "-metadata", "comment=SecretComment"),
        *("-metadata:s:v", "handler_name=SecretHandler", "-metadata:s:v", "title=SecretStream", tagged),
    )
    made = await branded(tagged, design, folder)
    held = made.path.read_bytes()
    assert b"Secret" not in held
    assert b"+52.52" not in held


async def test_cover_art_is_left_out_and_not_taken_for_the_video(
    clip: Clip, logo: Path, folder: Path, tmp_path: Path
) -> None:
    covered = tmp_path / "covered.mp4"
    ffmpeg(
        *("-i", logo, "-i", clip(picture=BLUE), "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:0", "attached_pic", covered),
    )
    made = await branded(covered, media.Design(), folder)
    assert made.probe.streams == 1
    assert is_blue(pixels(made.path, 4, 4)[2][2])


@pytest.mark.parametrize(
    ("position", "column", "row"),
    [
        ("topleft", 0, 0),
        ("top", 4, 0),
        ("right", 9, 4),
        ("center", 4, 4),
        ("bottomright", 9, 9),
        ("bottomleft", 0, 9),
    ],
)
async def test_the_logo_stands_where_it_was_put_and_nowhere_else(
    clip: Clip, logo: Path, folder: Path, position: str, column: int, row: int
) -> None:
    source = clip(size="600x600", picture=BLUE, seconds=0.5)
    design = media.Design(watermark=replace(RED_SQUARE, position=position))
    made = await branded(source, design, folder, logo=logo)
    seen = pixels(made.path, 10, 10, at_s=0.2)
    assert is_red(seen[row][column])
    opposite = seen[9 - row if row in (0, 9) else 0][9 - column if column in (0, 9) else 0]
    assert is_blue(opposite)
    assert is_red(pixels(made.poster, 10, 10, at_s=0)[row][column])


async def test_a_faint_logo_lets_the_picture_through(clip: Clip, logo: Path, folder: Path) -> None:
    design = media.Design(watermark=replace(RED_SQUARE, position="center", opacity=0.5))
    made = await branded(clip(size="600x600", picture=BLUE, seconds=0.5), design, folder, logo=logo)
    red, green, blue = pixels(made.path, 10, 10, at_s=0.2)[4][4]
    assert 80 < red < 180
    assert green < 60
    assert 80 < blue < 180


@pytest.mark.parametrize(
    "content", [b"", b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, b"#EXTM3U\nhttp://127.0.0.1/"]
)
async def test_a_logo_that_is_no_picture_is_refused_and_nothing_is_left(
    clip: Clip, folder: Path, tmp_path: Path, content: bytes
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    with pytest.raises(Refused) as refused:
        await branded(clip(), media.Design(watermark=RED_SQUARE), folder, logo=bad)
    assert list(refused.value.fields) == ["design.watermark.url"]
    assert list(folder.iterdir()) == []


async def test_a_logo_that_was_not_fetched_is_refused(clip: Clip, folder: Path) -> None:
    with pytest.raises(Refused) as refused:
        await branded(clip(), media.Design(watermark=RED_SQUARE), folder)
    assert list(refused.value.fields) == ["design.watermark.url"]


def lettered_rows(made: media.Branded) -> list[int]:
    """Which of twenty rows hold something that is not blue."""
    rows = pixels(made.path, 160, 20, at_s=0.2)
    return [at for at, row in enumerate(rows) if not all(is_blue(pixel) for pixel in row)]


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "Привет, мир",
        "Γειά σου",
        "{\\an8}up",
        "{\\pos(10,10)}up",
        "{\\fs400}up",
        "a\\Nb\\nc\\hd",
        "\"quotes\" 'and' `ticks` $(touch x)",
        "x:y=1,[out];drawtext=text=no",
        "%{pts} %d",
        "🎬 emoji",
        "\\",
        "{",
        "}",
        "Dialogue: 0,0:00:00.00,0:00:09.00,Title,,0,0,0,,{\\an8}up",
        "\u202eright to left",
    ],
)
async def test_a_title_is_seen_where_it_was_put_whatever_it_says(clip: Clip, folder: Path, text: str) -> None:
    source = clip(picture=BLUE, seconds=0.5)
    made = await branded(source, media.Design(title=media.Title(text, "bottom", 8)), folder)
    rows = lettered_rows(made)
    assert rows
    assert min(rows) >= 12
    assert text not in " ".join(made.run.argv) or len(text) < 3


async def test_line_breaks_in_a_title_make_lines(clip: Clip, folder: Path) -> None:
    source = clip(picture=BLUE, seconds=0.5)
    one = lettered_rows(await branded(source, media.Design(title=media.Title("a", "bottom", 8)), folder))
    three = lettered_rows(
        await branded(source, media.Design(title=media.Title("a\nb\nc", "bottom", 8)), folder)
    )
    assert len(three) >= 2.5 * len(one)


@pytest.mark.parametrize("text", ["word " * 60, "x" * 300, "W" * 300, "ЩШЖЮ" * 70])
async def test_a_title_too_long_for_the_picture_wraps_inside_it(clip: Clip, folder: Path, text: str) -> None:
    source = clip(picture=BLUE, seconds=0.5)
    made = await branded(source, media.Design(title=media.Title(text, "center", 12)), folder)
    rows = pixels(made.path, 64, 36, at_s=0.2)
    assert len(lettered_rows(made)) >= 4
    assert all(is_blue(pixel) for pixel in (*rows[0], *rows[35]))
    assert all(is_blue(row[0]) and is_blue(row[63]) for row in rows)


async def test_captions_are_seen_at_their_time_only(clip: Clip, folder: Path) -> None:
    srt = "1\n00:00:00,000 --> 00:00:00,500\nHello {\\an8}there\n"
    design = media.Design(captions=media.Captions(True, srt))
    made = await branded(clip(picture=BLUE), design, folder)
    assert min(lettered_rows(made)) >= 12
    assert all(is_blue(pixel) for row in pixels(made.path, 160, 20, at_s=0.8) for pixel in row)


async def test_effects_do_what_they_are_called(clip: Clip, folder: Path) -> None:
    source = clip(size="1280x720", picture=BLUE, seconds=2, sound="sine")
    made = await branded(
        source, media.Design(effects=("fade-in", "fade-out", "grayscale", "blur-fill")), folder
    )
    assert (made.probe.width_px, made.probe.height_px) == (1080, 1920)
    dark, shown, dark_again = (pixels(made.path, 9, 9, at_s=at_s)[4][4] for at_s in (0.0, 1.0, 1.93))
    assert max(dark) < 5
    assert max(dark_again) < 10
    assert max(shown) > 15
    assert max(shown) - min(shown) < 8
    assert (await media.probe(made.path)).has_audio


async def test_the_poster_is_the_picture_that_was_asked_for(clip: Clip, folder: Path, tmp_path: Path) -> None:
    two = tmp_path / "two.mp4"
    ffmpeg(
        *("-i", clip("a.mp4", picture="color=red"), "-i", clip("b.mp4", picture=BLUE)),
        *("-filter_complex", "[0][1]concat=n=2", *FAST, two),
    )
    found = await media.probe(two)
    for poster_ms, looks in ((200, is_red), (1500, is_blue), (99_000, is_blue)):
        made = await media.brand(
            two,
            media.Design(),
            logo=None,
            into=folder,
            probe=found,
            profile=media.TIKTOK,
            poster_ms=poster_ms,
        )
        assert looks(pixels(made.poster, 2, 2, at_s=0)[0][0])
        assert looks(pixels(made.thumbnails[0].path, 2, 2, at_s=0)[0][0])


async def test_a_video_whose_sound_is_much_longer_still_gets_a_poster(
    clip: Clip, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "longer.mp4"
    ffmpeg("-i", clip(seconds=0.5), "-f", "lavfi", "-i", "sine=d=8", "-c:v", "copy", "-c:a", "aac", source)
    made = await branded(source, GRAY, folder)
    assert made.poster.read_bytes().startswith(b"\xff\xd8\xff")


async def test_names_of_files_and_folders_may_be_anything(clip: Clip, logo: Path, tmp_path: Path) -> None:
    source = clip().rename(tmp_path / "-i evil'; $(touch x) \n %d.mp4")
    odd_logo = logo.rename(tmp_path / "lo'go,[x]:y.png")
    folder = tmp_path / "a'b:c, [d] %e;f\\g=h"
    folder.mkdir()
    design = media.Design(watermark=RED_SQUARE, title=media.Title("Hello"))
    made = await branded(source, design, folder, logo=odd_logo)
    assert "evil" not in " ".join(made.run.argv)
    assert sorted(path.name for path in folder.iterdir()) == [
        "branded.mp4",
        "poster.jpg",
        "still-large.jpg",
        "still-medium.jpg",
        "still-small.jpg",
    ]


async def test_a_second_run_in_the_same_folder_gives_the_same(clip: Clip, folder: Path) -> None:
    source = clip()
    first = (await branded(source, GRAY, folder)).bytes
    assert (await branded(source, GRAY, folder)).bytes == first


async def test_a_playlist_is_refused_by_ffmpeg_itself_should_it_ever_get_that_far(
    clip: Clip, folder: Path, tmp_path: Path
) -> None:
    secret = clip("secret.ts")
    found = await media.probe(clip())
    for start in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {secret.name}\n",
    ):
        playlist = tmp_path / "playlist.mp4"
        playlist.write_text(start)
        with pytest.raises(Refused) as refused:
            await media.brand(playlist, GRAY, logo=None, into=folder, probe=found, profile=media.TIKTOK)
        assert refused.value.code == "unreadable_media"
        assert list(folder.iterdir()) == []


def spoiled(source: Path, part: Sequence[float]) -> None:
    """Overwrite this part of the file's middle with noise."""
    held = bytearray(source.read_bytes())
    start, end = int(len(held) * part[0]), int(len(held) * part[1])
    held[start:end] = bytes(at * 7919 % 251 for at in range(end - start))
    source.write_bytes(held)


async def test_a_transport_stream_of_which_most_is_noise_is_refused(clip: Clip, folder: Path) -> None:
    source = clip("noise.ts", seconds=8)
    found = await media.probe(source)
    spoiled(source, (0.1, 1.0))
    with pytest.raises(Refused) as refused:
        await media.brand(source, GRAY, logo=None, into=folder, probe=found, profile=media.TIKTOK)
    assert refused.value.code == "unreadable_media"
    assert list(folder.iterdir()) == []


async def test_clips_before_and_behind_become_part_of_the_one_mp4(clip: Clip, folder: Path) -> None:
    source = clip(size="640x360", picture=BLUE, sound="sine")
    before = clip("before.mp4", size="360x640", picture="color=red", fps="25")
    behind = clip("behind.mkv", size="640x360", picture="color=red", seconds=0.5, sound="sine")
    made = await media.brand(
        source, media.Design(), logo=None, into=folder, probe=await media.probe(source), profile=media.TIKTOK,
        intro=before, outro=behind,
    )  # fmt: skip
    assert made.reencoded
    assert made.probe.duration_s == pytest.approx(2.5, abs=0.05)
    assert is_red(pixels(made.path, 16, 9, at_s=0.5)[4][8])
    # The intro is a tall picture, so it stands before black.
    assert max(pixels(made.path, 16, 9, at_s=0.5)[4][0]) < 40
    assert is_blue(pixels(made.path, 4, 4, at_s=1.5)[2][2])
    assert is_red(pixels(made.path, 4, 4, at_s=2.2)[2][2])
    # The poster is the video's own, not the intro's.
    assert is_blue(pixels(made.poster, 4, 4, at_s=0)[2][2])
    assert sorted(path.name for path in folder.iterdir()) == [
        "branded.mp4", "poster.jpg", "still-large.jpg", "still-medium.jpg", "still-small.jpg",
    ]  # fmt: skip


async def test_only_the_sound_is_made_anew_where_only_the_sound_changes(clip: Clip, folder: Path) -> None:
    source = clip(sound="sine", options=("-ac", "2"))
    made = await branded(source, media.Design(effects=("loudness",)), folder)
    assert not made.reencoded
    md5 = ("-c", "copy", "-map", "0:v", "-f", "md5", "-")
    assert ffmpeg("-i", made.path, *md5) == ffmpeg("-i", source, *md5)
    sound = ("-map", "0:a", "-c", "copy", "-f", "md5", "-")
    assert ffmpeg("-i", made.path, *sound) != ffmpeg("-i", source, *sound)


async def test_a_fixed_rate_of_bits_is_kept_where_it_is_asked_for(
    clip: Clip, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDEO_QUALITY", "off")
    monkeypatch.setenv("VIDEO_BITRATE", "300k")
    config.get.cache_clear()
    noisy = clip(options=("-vf", "noise=alls=80:allf=t"))
    made = await branded(noisy, GRAY, folder)
    assert made.probe.video_kbps is not None and made.probe.video_kbps < 900
    assert "-crf" not in made.run.argv
