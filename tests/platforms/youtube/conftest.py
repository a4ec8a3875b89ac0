from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from youtube_makers import Scripted, Watch, scripted
from youtube_world import World, running

from app import http


@pytest.fixture
async def youtube_says() -> AsyncIterator[Scripted]:
    async with scripted() as world:
        yield world


@pytest.fixture(scope="session")
def one_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("youtube")) as found:
        yield found


@pytest.fixture
async def world(one_world: World) -> AsyncIterator[World]:
    await one_world.begin_anew()
    yield one_world
    await http.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()
