"""Clips of a second or two, made with the ffmpeg under test, and eyes to look at what came of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app import config
from tests.media.clips import FAST, Clip, ffmpeg


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings of this test alone, quick to encode with."""
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FFMPEG_PRESET", "ultrafast")
    config.get.cache_clear()
    yield
    config.get.cache_clear()


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Makes a clip: `clip(size="640x360", fps=30, seconds=1, sound="sine", options=[...], name="a.mp4")`."""

    def make(
        name: str = "clip.mp4",
        *,
        size: str = "640x360",
        fps: str = "30",
        seconds: float = 1,
        picture: str = "testsrc2",
        sound: str | None = None,
        options: Sequence[str] = (),
        codec: Sequence[str] = FAST,
    ) -> Path:
        drawn = f"{picture}{'=' if '=' not in picture else ':'}s={size}:r={fps}:d={seconds}"
        heard = ["-f", "lavfi", "-i", f"{sound}=d={seconds}"] if sound else []
        path = tmp_path / name
        ffmpeg(
            "-f", "lavfi", "-i", drawn, *heard, *codec, *(["-c:a", "aac"] if sound else []), *options, path
        )
        return path

    return make


@pytest.fixture
def logo(tmp_path: Path) -> Path:
    """A red square."""
    path = tmp_path / "logo.png"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=100x100", "-frames:v", "1", path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The private folder of one run."""
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    return path
