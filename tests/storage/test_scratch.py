from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app import config, storage
from app.errors import NotYet, Refused

KEEPER = """
import sys
from app import storage
with storage.scratch("edit-9") as folder:
    (folder / "half.mp4").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def a_keeper() -> subprocess.Popen[str]:
    """Another process inside its scratch folder, until its stdin ends."""
    return subprocess.Popen(
        [sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_scratch_folder_is_private_and_gone_on_success_and_failure(local: Path) -> None:
    with storage.scratch("edit-7") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.parent == config.get().temp_dir and folder.parent.stat().st_mode & 0o777 == 0o700
        (folder / "deep").mkdir()
        (folder / "deep" / "frame.jpg").write_bytes(b"x")
    assert not folder.exists()
    with pytest.raises(KeyboardInterrupt), storage.scratch("edit-7") as folder:
        raise KeyboardInterrupt
    assert list(folder.parent.iterdir()) == []


@pytest.mark.anyio
async def test_the_folders_of_killed_runs_are_cleared_and_those_of_living_ones_kept(local: Path) -> None:
    stranger = config.get().temp_dir / "not ours"
    with storage.scratch("edit-8") as mine:
        stranger.mkdir()
        keepers = [a_keeper(), a_keeper()]
        folders = [Path(keeper.stdout.readline().strip()) for keeper in keepers if keeper.stdout]
        assert await storage.clear_dead_scratch() == []
        keepers[0].kill()
        keepers[0].wait()
        assert await storage.clear_dead_scratch() == [folders[0].name]
        assert not folders[0].exists() and folders[1].exists() and mine.exists() and stranger.exists()
        keepers[1].communicate()
        assert not folders[1].exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a b", "x" * 99])
def test_a_scratch_name_is_made_of_plain_signs(local: Path, name: str) -> None:
    with pytest.raises(Refused), storage.scratch(name):
        pass
    assert list(config.get().temp_dir.iterdir()) == []


def test_a_job_waits_when_three_times_the_source_and_a_gib_do_not_fit(local: Path, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    storage.need_space(max(0, (free - 2 * 1024**3) // 3))
    with pytest.raises(NotYet) as waiting:
        storage.need_space(free // 3)
    assert waiting.value.after_s == 60
