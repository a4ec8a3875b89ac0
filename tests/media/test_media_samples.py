"""The sample films beside the checkout, where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import media
from tests.media.clips import branded

SAMPLES = Path(__file__).parents[3] / "shared" / "media"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample films are not there (../shared/media)"),
]


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [
        ("bbb-1080p-30s.mp4", (1920, 1080), 6),
        ("bbb-720p-5s.mp4", (1280, 720), 6),
        ("bikes-640x272-10s-no-audio.mp4", (640, 272), 0),
    ],
)
async def test_a_sample_is_described_and_within_the_limits(
    name: str, size: tuple[int, int], channels: int
) -> None:
    found = await media.probe(SAMPLES / name)
    media.check(found, (SAMPLES / name).stat().st_size)
    assert (found.width_px, found.height_px, found.channels) == (*size, channels)


async def test_real_film_with_surround_sound_is_copied_with_its_sound_made_stereo(folder: Path) -> None:
    made = await branded(SAMPLES / "bbb-720p-5s.mp4", media.Design(), folder)
    assert not made.reencoded
    assert (made.probe.channels, made.probe.audio_codec) == (2, "aac")
    assert made.probe.duration_s == pytest.approx(5.3, abs=0.2)


async def test_a_film_without_sound_and_with_low_pictures_is_made_tall_enough(folder: Path) -> None:
    made = await branded(SAMPLES / "bikes-640x272-10s-no-audio.mp4", media.Design(), folder)
    assert made.reencoded
    assert (made.probe.height_px, made.probe.has_audio) == (360, False)
