"""The house on a fresh database, without a worker: rows and verbs of the videos room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import config, db
from tests.makers import Owner, an_owner


@pytest.fixture
async def owner(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Owner]:
    """A person with a workspace; files go into a folder of the test's own."""
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEMP_DIR", str(tmp_path / "temp"))
    config.get.cache_clear()
    await db.open_pools(database, pages=True)
    yield await an_owner()
    await db.close_pools()
    config.get.cache_clear()
