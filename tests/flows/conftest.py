from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import config, db, http
from tasks import procrastinate_app
from tests.worker import TestWorker
from tests.world import World, free_port, open_world


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def settings(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> config.Config:
    """Settings of a bare laptop in a folder of the test's own, without the waits that limits bring."""
    for name, value in {
        "BACKLOT_HOME": str(tmp_path / "home"),
        "TEMP_DIR": str(tmp_path / "temp"),
        "PORT": str(port),
        "FFMPEG_PRESET": "ultrafast",
        "VIDEO_FORMATS": "mp4",
        "QUEUE_VIDEO_EDIT_MOST": "none",
        "QUEUE_VIDEO_UPLOAD_MOST": "none",
        "QUEUE_VIDEO_EDIT_FIRST_WAIT_S": "0",
        "QUEUE_VIDEO_UPLOAD_FIRST_WAIT_S": "0",
    }.items():
        monkeypatch.setenv(name, value)
    config.get.cache_clear()
    yield config.get()
    config.get.cache_clear()


@pytest.fixture
async def house(settings: config.Config, database: str) -> AsyncIterator[str]:
    """The house open on a fresh database; gives its address."""
    await db.open_pools(database, pages=True)
    yield database
    await db.close_pools()
    await http.close()


@pytest.fixture
async def world(house: str, port: int, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "world", port) as opened:
        yield opened


@pytest.fixture
def worker(house: str) -> TestWorker:
    procrastinate_app.perform_import_paths()
    return TestWorker(procrastinate_app, house)
