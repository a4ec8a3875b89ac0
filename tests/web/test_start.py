"""The first run: self-check, account, video."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.studio import Studio, open_studio
from tests.web.test_videos import a_video

pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def test_the_simulator_is_offered_and_connects_an_account(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    assert "Use the simulator" in (await maya.browser.get("/start")).text
    assert (await maya.post("/start/simulated", {"displayName": "Maya Makes"})).status_code == 303
    page = (await maya.browser.get("/start")).text
    assert "Maya Makes" in page and "Connected" in page and "Use the simulator" not in page


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "line\nbreak"])
async def test_an_account_without_a_proper_name_is_refused(studio: Studio, name: str) -> None:
    maya = await studio.person(browser=True)
    assert (await maya.post("/start/simulated", {"displayName": name})).status_code == 422
    assert (await maya.api.get("/api/accounts")).json() == {"accounts": []}


async def test_both_steps_show_that_they_are_done(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await a_video(maya, await studio.account(maya))
    assert "Everything in its place" in (await maya.browser.get("/start")).text


async def test_only_operators_see_the_self_check(studio: Studio) -> None:
    maya, eve = await studio.person(browser=True), await studio.person("Eve", browser=True)
    assert "Self-check" in (await maya.browser.get("/start")).text
    assert 'id="checks"' not in (await eve.browser.get("/start")).text
    assert (await eve.browser.get("/start/checks")).status_code == 403
