from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app import db


@pytest.fixture
async def pools(database: str) -> AsyncIterator[str]:
    """The house's pools on a fresh database; gives its address."""
    await db.open_pools(database, pages=True)
    yield database
    await db.close_pools()
