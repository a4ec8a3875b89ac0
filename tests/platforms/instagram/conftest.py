from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from instagram_world import GOOD, Watch, World, running

from app import http

A_DAY_AND_MORE_S = 90_000.0


@pytest.fixture(scope="session")
def one_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("instagram")) as world:
        yield world


@pytest.fixture
async def world(one_world: World) -> AsyncIterator[World]:
    """The simulated Instagram a day later than the last test saw it, behaving again."""
    one_world.ahead_s += A_DAY_AND_MORE_S
    one_world.login = "instagram"
    one_world.facts = dict(GOOD)
    await one_world.tell("/apps", {"instagramRefreshFromS": 24 * 3600})
    yield one_world
    await http.request("DELETE", f"{one_world.url}/faults")
    await http.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()
