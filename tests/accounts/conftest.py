"""The whole house with the simulated world beside it, for what the accounts room does by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app import db, platforms
from tests.web.studio import Studio, open_studio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened
    # What this process was told of entered credentials ends with the database they stood in.
    platforms.registry.enter({})


async def waits_for_us(task: asyncio.Task[Any]) -> None:
    """Until the task's transaction stands behind a lock of another one; its failure when it ends before that."""
    # A transaction of its own for each look: who is connected is read once in each and kept.
    while not await _anybody_waits():
        assert not task.done(), f"it did not wait: {task.result()}"
        await asyncio.sleep(0.01)


async def _anybody_waits() -> bool:
    async with db.house() as conn:
        return bool(
            await db.value(
                conn,
                """
                SELECT count(*)
                  FROM pg_locks
                  JOIN pg_stat_activity USING (pid)
                 WHERE NOT granted AND datname = current_database()""",
            )
        )
