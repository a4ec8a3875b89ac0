"""A worker is killed right while the platform answers a certain call: at each point the video still goes out once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.flows.house import Client, open_house
from tests.flows.test_storm import FINAL, UNLIMITED
from tests.world import clip

pytestmark = pytest.mark.anyio

# The last chunk is the irreversible call; the others stand before and after it.
POINTS = [
    "last_chunk",
    pytest.param("creator_info", marks=pytest.mark.storm),
    pytest.param("init", marks=pytest.mark.storm),
    pytest.param("status", marks=pytest.mark.storm),
]


@pytest.mark.parametrize("step", POINTS)
async def test_a_kill_during_a_call_costs_no_post_and_doubles_none(tmp_path: Path, step: str) -> None:
    async with open_house(tmp_path / "home", workers=1, **UNLIMITED) as house:
        client = Client(house.base)
        await client.sign_up()
        account_id = await client.account("maya.makes")
        await client.ask(
            "POST", "/sandbox/faults", json={"fault": "slow", "step": step, "seconds": 8, "times": 1}
        )
        video_id = await client.upload(clip(1.0), account_id, "A knot")
        await calls_of(client, step, video_id)
        house.kill("worker-1")
        house.start("worker-1")
        async with asyncio.timeout(170):
            while (await client.video(video_id))["status"] not in FINAL:
                await asyncio.sleep(0.5)
        video = await client.video(video_id)
        posts = await client.posts()
        await client.close()
    assert video["status"] == "POSTED", video["failure"]
    assert [post["title"] for post in posts] == ["A knot"]


async def calls_of(client: Client, step: str, video_id: int) -> None:
    """Wait until the slow call is under way: the armed fault has fired."""
    async with asyncio.timeout(60):
        while True:
            faults: list[dict[str, Any]] = (await client.ask("GET", "/sandbox/faults")).json()["faults"]
            if not faults or faults[0].get("fired"):
                return
            await asyncio.sleep(0.1)
