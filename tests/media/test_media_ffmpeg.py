from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import config, media
from app.errors import Permanent
from app.media import ffmpeg, walls
from app.media.walls import Limits


@pytest.fixture
def search_anew() -> Iterator[None]:
    ffmpeg.program.cache_clear()
    yield
    ffmpeg.program.cache_clear()


def a_program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_an_able_ffmpeg_is_found_and_says_its_version() -> None:
    assert media.program().path.is_file()
    assert media.version() == media.program().version != "unknown"


def test_the_one_that_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch, search_anew: None) -> None:
    able = ffmpeg.program().path
    ffmpeg.program.cache_clear()
    monkeypatch.setenv("BACKLOT_FFMPEG", str(able))
    config.get.cache_clear()
    assert (media.program().path, media.program().source) == (able, "BACKLOT_FFMPEG")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('echo "ffmpeg version 4.4.2-0ubuntu"', "older than 5.1"),
        ('[ "$1" = -version ] && echo "ffmpeg version 7.1"; exit 0', "libx264"),
        ("exit 3", "does not start"),
    ],
)
def test_one_that_cannot_do_the_work_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search_anew: None, script: str, reason: str
) -> None:
    monkeypatch.setenv("BACKLOT_FFMPEG", str(a_program(tmp_path / "ffmpeg", script)))
    config.get.cache_clear()
    with pytest.raises(Permanent, match=reason):
        media.program()


def test_an_unable_one_of_the_system_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search_anew: None
) -> None:
    a_program(tmp_path / "ffmpeg", 'echo "ffmpeg version 4.4"')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("BACKLOT_FFMPEG", raising=False)
    config.get.cache_clear()
    assert media.program().source == "bundled"


def test_one_way_of_isolation_is_active_and_said() -> None:
    assert media.isolation() == walls.SAID[walls.way()]


def test_behind_bwrap_only_the_folder_of_the_run_can_be_written(tmp_path: Path) -> None:
    try:
        argv = walls.wrap(
            ["/usr/bin/ffmpeg", "-version"],
            Limits(),
            writable=tmp_path,
            readable=(Path("/x/in"),),
            through="bwrap",
        )
    except FileNotFoundError:
        pytest.skip("there is no bwrap here")
    binds = [argv[at + 1] for at, word in enumerate(argv) if word == "--bind"]
    assert binds == [str(tmp_path)]
    assert {"--unshare-all", "--die-with-parent", "--clearenv"} <= set(argv)
    assert argv.index("--bind") < argv.index("/x/in")
