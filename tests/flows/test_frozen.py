"""A worker that stood still for a minute and goes on changes nothing and calls nothing (Q5)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from tests.flows.house import Client, open_house
from tests.flows.test_storm import FINAL, UNLIMITED
from tests.world import clip

pytestmark = [pytest.mark.anyio, pytest.mark.storm]


async def test_a_worker_frozen_for_a_minute_does_no_harm_when_it_goes_on(tmp_path: Path) -> None:
    async with open_house(tmp_path / "home", workers=1, **UNLIMITED) as house:
        client = Client(house.base)
        await client.sign_up()
        account_id = await client.account("maya.makes")
        await client.ask(
            "POST",
            "/sandbox/faults",
            json={"fault": "slow", "step": "creator_info", "seconds": 5, "times": 1},
        )
        video_id = await client.upload(clip(1.0), account_id, "A knot")
        async with asyncio.timeout(60):
            while (await client.video(video_id))["status"] != "UPLOADING":
                await asyncio.sleep(0.1)
        freezing = asyncio.create_task(asyncio.to_thread(house.freeze, "worker-1", 60))
        await asyncio.sleep(1)
        house.start("worker-2")
        async with asyncio.timeout(75):
            while (await client.video(video_id))["status"] not in FINAL:
                await asyncio.sleep(0.5)
        await freezing
        await asyncio.sleep(10)
        posts = await client.posts()
        video = await client.video(video_id)
        async with await psycopg.AsyncConnection.connect(house.server.dsn) as conn:
            rows = await (
                await conn.execute(
                    "SELECT run, outcome FROM attempts WHERE task = 'upload-video' ORDER BY run"
                )
            ).fetchall()
            wrote = await (
                await conn.execute(
                    """
                    SELECT count(*)
                      FROM events
                     WHERE run = %s AND at > (SELECT started_at FROM attempts WHERE run = %s)""",
                    [rows[0][0], rows[-1][0]],
                )
            ).fetchone()
        await client.close()
        ended, said = house.processes["worker-1"].poll(), house.said("worker-1")
    assert (video["status"], len(posts)) == ("POSTED", 1)
    assert [outcome for _, outcome in rows] == ["lost", "done"]
    assert wrote == (0,), "the run that was taken over wrote something"
    # Either its loop notices first that the lease is lost and drops the run, or the watchdog ends the process.
    assert ended == 70 or (ended is None and "another run has taken over" in said)
