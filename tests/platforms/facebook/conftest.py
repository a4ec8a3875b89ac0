from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from facebook_makers import Scripted, Watch, scripted
from facebook_world import World, running

from app import http


@pytest.fixture
async def facebook_says() -> AsyncIterator[Scripted]:
    async with scripted() as found:
        yield found


@pytest.fixture(scope="session")
def one_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("facebook")) as found:
        yield found


@pytest.fixture
async def world(one_world: World) -> AsyncIterator[World]:
    """The simulated Facebook a day after the last test, behaving again, with a good upright clip."""
    await one_world.anew()
    yield one_world
    await http.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()
