from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app import config, media
from app.errors import Refused
from app.media.grid import Rate
from app.media.plan import Plan, plan
from app.media.probe import Probe
from app.media.reading import SoundFacts

SAMPLE = Probe(
    container="mov,mp4,m4a,3gp,3g2,mj2", duration_s=30.0, bitrate_kbps=4000, streams=2, video_index=0,
    video_codec="h264", video_profile="High", pixel_format="yuv420p", width_px=1920, height_px=1080,
    coded_width_px=1920, coded_height_px=1080, rotation=0, fps=24.0, uneven=False, interlaced=False, hdr=False,
    matrix="bt709", attached_picture=False, audio_index=1, audio_codec="aac", audio_profile="LC", channels=2,
    audio_rate_hz=48_000,
)  # fmt: skip
PLAIN = media.Design()
FULL = media.read_design(
    {
        "watermark": {"url": "asset:7"},
        "title": {"text": "Hello"},
        "effects": ["fade-in", "loudness"],
        "frame": {"aspect": "9:16", "fit": "blur"},
        "intro": {"url": "asset:8"},
    }
)


def made(probe: Probe = SAMPLE, design: media.Design = PLAIN, **more: object) -> Plan:
    return plan(probe, design, media.TIKTOK, **more)  # type: ignore[arg-type] # as each test says


def test_a_plan_comes_back_whole_from_what_is_kept() -> None:
    todo = made(design=FULL, formats=("hls", "mp4"), intro=replace(SAMPLE, duration_s=2.5), outro=SAMPLE)
    assert Plan.from_json(json.loads(json.dumps(todo.to_json()))) == todo
    assert (
        made(design=FULL, formats=("mp4", "hls"), intro=replace(SAMPLE, duration_s=2.5), outro=SAMPLE) == todo
    )


def test_what_fits_and_is_not_changed_is_copied() -> None:
    assert made().copy_video and made().copy_audio
    assert not made(design=media.Design(title=media.Title("Hello"))).copy_video
    assert not made(replace(SAMPLE, hdr=True)).copy_video
    assert not made(outro=SAMPLE).copy_video
    louder = made(design=media.Design(effects=("loudness",)))
    assert louder.copy_video and not louder.copy_audio
    # It has the shape already.
    assert made(design=media.read_design({"frame": {"aspect": "16:9"}})).copy_video


def test_only_streams_have_more_than_the_top_rung() -> None:
    assert [rung.name for rung in made().rungs] == ["v0"]
    assert [rung.name for rung in made(formats=("dash",)).rungs] == ["v0", "v1", "v2", "v3"]
    assert made(formats=("mp4", "dash", "hls")).formats == ("hls", "dash", "mp4")


@pytest.mark.parametrize(
    ("fps", "uneven", "rate"),
    [
        (23.98, False, Rate(24000, 1001)),
        (29.97, False, Rate(30000, 1001)),
        (59.94, False, Rate(60000, 1001)),
        (24.0, False, Rate(24)),
        (50.0, False, Rate(50)),
        (12.0, False, Rate(24)),
        (10.0, False, Rate(30)),
        (100.0, False, Rate(50)),
        (120.0, False, Rate(60)),
        (33.33, False, Rate(3333, 100)),
        (27.3, True, Rate(25)),
        (8.0, True, Rate(24000, 1001)),
        (None, True, Rate(30)),
    ],
)
def test_the_rate_is_steady_and_one_that_the_platform_takes(
    fps: float | None, uneven: bool, rate: Rate
) -> None:
    todo = made(replace(SAMPLE, fps=fps, uneven=uneven))
    assert todo.rate == rate
    assert todo.grid.frames == rate.frames(30.0)


@pytest.mark.parametrize(
    ("average", "nominal", "rate"),
    [(29.37, 30.0, Rate(30)), (28.6, 30.0, Rate(30)), (27.3, 30.0, Rate(25)), (24.9, 1000.0, Rate(25))],
)
def test_a_little_unevenness_does_not_move_the_rate_to_another_name(
    average: float, nominal: float, rate: Rate
) -> None:
    assert made(replace(SAMPLE, fps=average, nominal_fps=nominal, uneven=True)).rate == rate


def test_clips_stand_in_their_order_and_all_but_a_last_main_one_have_exact_frames() -> None:
    short = replace(SAMPLE, duration_s=2.0)
    todo = made(intro=short)
    assert [(clip.name, clip.frames, clip.exact) for clip in todo.clips] == [
        ("intro", 48, True),
        ("main", 720, False),
    ]
    assert (todo.main_start_s, todo.duration_s) == (2.0, 32.0)
    both = made(intro=short, outro=short)
    assert [(clip.name, clip.exact) for clip in both.clips] == [
        ("intro", True),
        ("main", True),
        ("outro", True),
    ]
    assert all(clip.frame.canvas == both.canvas for clip in both.clips)


def test_at_most_four_sounds_are_made_the_chosen_one_first() -> None:
    sounds = tuple(
        SoundFacts(number, "aac", "LC", 2, "stereo", 48_000, language, title)
        for number, language, title in (
            (1, "deu", None),
            (2, "eng", "Talk"),
            (3, None, None),
            (4, None, None),
            (5, None, None),
        )
    )
    todo = made(replace(SAMPLE, sounds=sounds, audio_index=2))
    assert [(sound.name, sound.language, sound.label) for sound in todo.sounds] == [
        ("a0", "eng", "Talk"),
        ("a1", "deu", "deu"),
        ("a2", "und", "Sound 3"),
        ("a3", "und", "Sound 4"),
    ]
    assert todo.main.sounds == (2, 1, 3, 4)


def test_a_silent_video_has_a_sound_only_where_one_of_its_clips_has() -> None:
    silent = replace(SAMPLE, audio_index=None, audio_codec=None, channels=0)
    assert made(silent).sounds == ()
    todo = made(silent, intro=SAMPLE)
    assert [clip.sounds for clip in todo.clips] == [(1,), (None,)]
    assert made(SAMPLE, intro=silent).clips[0].sounds == (None,)


def test_the_settings_of_the_encoder_are_kept_in_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = made().to_json()
    assert (kept["preset"], kept["quality"]) == ("ultrafast", 21)
    monkeypatch.setenv("VIDEO_QUALITY", "off")
    monkeypatch.setenv("VIDEO_BITRATE", "3M")
    config.get.cache_clear()
    todo = made()
    assert (todo.quality, todo.video_kbps) == (None, 3000)
    assert Plan.from_json(kept).quality == 21


@pytest.mark.parametrize(
    ("matrix", "height", "colours"),
    [
        ("bt709", 1080, "bt709"),
        (None, 1080, "bt709"),
        (None, 576, "bt601"),
        ("bt470bg", 1080, "bt601"),
        ("bt2020nc", 1080, "bt709"),
    ],
)
def test_colours_stay_as_they_are_coded_where_players_know_it(
    matrix: str | None, height: int, colours: str
) -> None:
    assert made(replace(SAMPLE, matrix=matrix, coded_height_px=height)).colours == colours


def test_a_container_that_is_not_taken_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        made(replace(SAMPLE, container="flv"))
    assert refused.value.code == "unreadable_media"


def test_the_top_rung_stays_within_the_bytes_that_the_platform_takes() -> None:
    narrow = replace(media.TIKTOK, max_bytes=10_000_000)
    free, bound = made(formats=("hls",)), plan(SAMPLE, PLAIN, narrow, formats=("hls",))
    assert (bound.rungs[0].maxrate_kbps + bound.audio_kbps) * 30 / 8 * 1000 <= 10_000_000
    assert bound.rungs[0].bufsize_kbps == 2 * bound.rungs[0].maxrate_kbps
    assert bound.rungs[1:] == free.rungs[1:]
