from __future__ import annotations

from dataclasses import replace

import pytest

from app import media
from app.media.probe import Probe
from app.media.profiles import audio_fits, check, fits, shaped

MB = 1_000_000
PHONE = Probe.from_json(
    {
        **dict.fromkeys(
            ("bitrate_kbps", "video_profile", "matrix", "audio_profile", "rate", "nominal_fps", "hdr_kind"),
            None,
        ),
        **{"container": "mov,mp4,m4a,3gp,3g2,mj2", "duration_s": 30.0, "streams": 2, "video_index": 0},
        **{"video_codec": "h264", "pixel_format": "yuv420p", "width_px": 1080, "height_px": 1920},
        **{"coded_width_px": 1080, "coded_height_px": 1920, "rotation": 0, "fps": 30.0, "uneven": False},
        **{
            "interlaced": False,
            "hdr": False,
            "attached_picture": False,
            "audio_index": 1,
            "audio_codec": "aac",
        },
        **{"channels": 2, "audio_rate_hz": 48_000, "bitrate_kbps": 4000},
    }
)


def of(name: str, bytes_total: int = 15 * MB, **facts: object) -> list[str]:
    return check(replace(PHONE, **facts), bytes_total, media.PROFILES[name])


@pytest.mark.parametrize("name", media.PROFILES)
def test_what_a_phone_films_is_taken_everywhere(name: str) -> None:
    assert of(name) == []
    assert of(name, audio_index=None, audio_codec=None, channels=0, audio_rate_hz=None) == []
    assert fits(PHONE, media.PROFILES[name])


@pytest.mark.parametrize(
    ("name", "fact", "taken", "refused"),
    [
        ("tiktok", "fps", (23, 23.976, 60), (22.9, 60.1, None)),
        ("tiktok", "duration_s", (0.5, 600), (600.1,)),
        ("tiktok", "width_px", (360, 4096), (359, 4097)),
        ("tiktok", "height_px", (360, 4096), (359, 4097)),
        ("tiktok", "video_codec", ("h264", "hevc", "vp8", "vp9"), ("av1", "mpeg4")),
        ("tiktok", "container", ("mov,mp4,m4a,3gp,3g2,mj2",), ("avi", "mpegts", "matroska,webm")),
        ("tiktok", "channels", (1, 2, 6), ()),
        ("instagram", "fps", (23, 60), (22.9, 60.1)),
        ("instagram", "duration_s", (3, 900), (2.9, 900.1)),
        ("instagram", "width_px", (1920,), (1921,)),
        ("instagram", "height_px", (108, 3840), (106,)),
        ("instagram", "bitrate_kbps", (None, 25_000), (25_001,)),
        ("instagram", "video_codec", ("h264", "hevc"), ("vp9",)),
        ("instagram", "pixel_format", ("yuv420p", "yuv420p10le", "yuvj420p"), ("yuv444p", "yuv422p")),
        ("instagram", "interlaced", (False,), (True,)),
        ("instagram", "audio_codec", ("aac",), ("opus", "mp3")),
        ("instagram", "channels", (1, 2), (3, 6)),
        ("instagram", "audio_rate_hz", (44_100, 48_000), (48_001, 96_000)),
        ("youtube", "duration_s", (0.5, 12 * 3600), (12 * 3600 + 1,)),
        ("youtube", "video_codec", ("av1", "mpeg4"), ()),
        ("youtube", "container", ("avi", "mpegts", "matroska,webm"), ()),
        ("facebook", "fps", (23.976, 24, 60), (23.9, 60.1)),
        ("facebook", "duration_s", (3, 90), (2.9, 90.1)),
        ("facebook", "width_px", (1070, 1090), (1060, 1100)),
        ("facebook", "video_codec", ("h264", "hevc", "vp9", "av1"), ("vp8",)),
        ("facebook", "pixel_format", ("yuv420p",), ("yuv444p",)),
        ("facebook", "audio_codec", ("aac",), ("mp3",)),
        ("facebook", "audio_rate_hz", (48_000,), (44_100, None)),
        ("facebook", "channels", (1, 2), (6,)),
    ],
)
def test_each_limit_of_a_platform_is_taken_itself_and_refused_just_past_it(
    name: str, fact: str, taken: tuple[object, ...], refused: tuple[object, ...]
) -> None:
    for value in taken:
        assert of(name, **{fact: value}) == [], value
    for value in refused:
        problems = of(name, **{fact: value})
        assert len(problems) == 1, (value, problems)
        assert problems[0].startswith(media.PROFILES[name].called)


@pytest.mark.parametrize(
    ("name", "most"),
    [("tiktok", 4 * 1024**3), ("instagram", 300 * MB), ("youtube", 256 * 1024**3), ("facebook", 2000 * MB)],
)
def test_the_last_byte_is_taken_and_the_next_is_not(name: str, most: int) -> None:
    assert of(name, most) == []
    assert len(of(name, most + 1)) == 1


def test_a_webm_is_one_only_with_the_codecs_of_a_webm() -> None:
    assert of("tiktok", container="matroska,webm", video_codec="vp9") == []
    assert of("tiktok", container="matroska,webm", video_codec="h264")
    assert of("instagram", container="matroska,webm", video_codec="vp9")


def test_the_least_size_of_a_facebook_reel_is_taken_and_less_is_not() -> None:
    assert of("facebook", width_px=540, height_px=960) == []
    assert len(of("facebook", width_px=538, height_px=956)) == 1


def test_all_that_does_not_fit_is_told_at_once() -> None:
    assert (
        len(of("facebook", 3000 * MB, fps=12.0, duration_s=1.0, audio_codec="opus", video_codec="vp8")) == 5
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"video_codec": "hevc"},
        {"pixel_format": "yuv420p10le"},
        {"rotation": 90},
        {"coded_width_px": 810},
        {"width_px": 1081, "coded_width_px": 1081},
        {"hdr": True},
        {"uneven": True},
        {"interlaced": True},
        {"fps": None},
        {"fps": 61.0},
    ],
)
def test_what_players_or_the_platform_do_not_take_is_not_copied(facts: dict[str, object]) -> None:
    assert not fits(replace(PHONE, **facts), media.TIKTOK)


def test_a_picture_is_copied_only_where_its_platform_takes_it() -> None:
    wide = replace(PHONE, width_px=2560, coded_width_px=2560, height_px=1440, coded_height_px=1440)
    assert fits(wide, media.TIKTOK)
    assert not fits(wide, media.INSTAGRAM_REELS)
    assert not fits(wide, media.FACEBOOK_REELS)
    heavy = replace(PHONE, bitrate_kbps=25_001)
    assert fits(heavy, media.TIKTOK)
    assert not fits(heavy, media.INSTAGRAM_REELS)
    assert audio_fits(PHONE)
    assert not audio_fits(replace(PHONE, channels=6))


def test_a_platform_that_takes_one_shape_only_gets_a_blurred_frame_unless_the_design_has_its_own() -> None:
    nothing, square = media.Design(), media.Design(frame=media.Frame("1:1", "pad"))
    assert shaped(nothing, 1920, 1080, media.FACEBOOK_REELS).framed == media.Frame("9:16", "blur")
    assert shaped(nothing, 1080, 1920, media.FACEBOOK_REELS) == nothing
    assert shaped(square, 1920, 1080, media.FACEBOOK_REELS) == square
    for profile in (media.TIKTOK, media.INSTAGRAM_REELS, media.YOUTUBE):
        assert shaped(nothing, 1920, 1080, profile) == nothing


def test_the_bitrate_that_fits_into_the_bytes_falls_with_the_length() -> None:
    reels = media.INSTAGRAM_REELS
    assert reels.kbps_within(10) == 25_000
    assert reels.kbps_within(900) == 2533
    assert (reels.kbps_within(900) or 0) * 900 * 1000 / 8 < 300 * MB
    assert media.FACEBOOK_REELS.kbps_within(0) is None
