from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tiktok_makers import Scripted, Watch, scripted
from tiktok_world import World, running

from app import http
from app.sandbox import Settings


@pytest.fixture
async def tiktok_says() -> AsyncIterator[Scripted]:
    async with scripted() as world:
        yield world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The simulated TikTok, generous with posts a day so that a test may begin many."""
    with running(tmp_path / "world", Settings(posts_per_day=1000)) as found:
        yield found
        await http.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()
