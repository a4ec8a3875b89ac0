"""A fresh database with its pools open, and the settings a room needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import config, db
from tests.makers import Owner, an_owner


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[str]:
    for name, value in {
        "APP_ENV": "test",
        "ENCRYPTION_KEY": "k" * 32,
        "BACKLOT_HOME": str(tmp_path / "home"),
        "SIMULATORS": "on",
    }.items():
        monkeypatch.setenv(name, value)
    config.get.cache_clear()
    await db.open_pools(database, pages=True)
    yield database
    await db.close_pools()
    config.get.cache_clear()


@pytest.fixture
async def maya(room: str) -> Owner:
    return await an_owner("Maya")
