from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app import config, db, users


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A key of its own and cheap password hashes."""
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ENCRYPTION_KEY", "k" * 32)
    config.get.cache_clear()
    users.passwords.use(users.passwords.CHEAP)
    yield monkeypatch
    users.passwords.use(users.passwords.STRONG)
    config.get.cache_clear()


@pytest.fixture
async def pools(database: str) -> AsyncIterator[str]:
    """The house's pools on a fresh database; gives its address."""
    await db.open_pools(database, pages=True)
    yield database
    await db.close_pools()
