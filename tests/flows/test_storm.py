"""Videos under fire: web and workers are killed at random moments while the platform loses answers.

`pytest tests/flows/test_storm.py --storm --storm-videos 40 --storm-kills 20 --storm-seed 7` is the full size; a small
one is part of the gate. Whatever was accepted reaches a true final state, and nothing is posted twice.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from tests.flows.house import Client, House, open_house
from tests.world import clip

pytestmark = pytest.mark.anyio

FINAL = ("POSTED", "FAILED", "CANCELLED")
UNLIMITED = {
    "QUEUE_VIDEO_EDIT_MOST": "none",
    "QUEUE_VIDEO_UPLOAD_MOST": "none",
    "ACCOUNT_UPLOADS_MOST": "none",
    "QUEUE_VIDEO_EDIT_FIRST_WAIT_S": "1",
    "QUEUE_VIDEO_UPLOAD_FIRST_WAIT_S": "1",
}


async def test_nothing_is_lost_or_doubled_in_a_small_storm(tmp_path: Path) -> None:
    await storm(tmp_path, videos=6, kills=4, seed=11, every_s=(1.0, 2.5))


@pytest.mark.storm
async def test_nothing_is_lost_or_doubled_in_a_storm_of_full_size(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await storm(
        tmp_path,
        videos=request.config.getoption("--storm-videos"),
        kills=request.config.getoption("--storm-kills"),
        seed=request.config.getoption("--storm-seed"),
        every_s=(1.0, 5.0),
    )


async def storm(home: Path, *, videos: int, kills: int, seed: int, every_s: tuple[float, float]) -> None:
    chance = random.Random(seed)
    async with open_house(home, **UNLIMITED) as house:
        client = Client(house.base)
        await client.sign_up()
        await client.ask("POST", "/sandbox/apps", json={"audited": True})
        accounts = [await client.account(f"maker {number}") for number in range(max(videos // 4, 2))]
        await client.ask("POST", "/sandbox/faults", json={"fault": "drop_after", "rate": 0.15, "seed": seed})
        sending = asyncio.create_task(send_all(client, accounts, videos))
        await kill_at_random(house, chance, kills, every_s)
        ids = await sending
        last_kill = time.monotonic()
        await client.renew()
        states = await settle(client, ids, until=last_kill + 60)
        await client.ask("DELETE", "/sandbox/faults")
        posts = await client.posts()
        found = {video_id: await client.video(video_id) for video_id in ids}
        settled_s = time.monotonic() - last_kill
        print(f"runs by outcome: {await runs(house)}")
        report(home, seed, kills, states, posts, settled_s, found)
        await client.close()
    titles = Counter(str(post["title"]) for post in posts)
    assert all(state in FINAL for state in states.values()), states
    assert [title for title, many in titles.items() if many > 1] == [], "posted twice"
    posted = {f"video {number}" for number, video_id in enumerate(ids) if states[video_id] == "POSTED"}
    assert posted == set(titles), "what we say is posted and what the world has seen differ"
    assert posted == {f"video {number}" for number in range(videos)}, "not every video went out"


async def send_all(client: Client, accounts: list[int], videos: int) -> list[int]:
    return [
        await client.upload(clip(1.0), accounts[number % len(accounts)], f"video {number}")
        for number in range(videos)
    ]


async def kill_at_random(
    house: House, chance: random.Random, kills: int, every_s: tuple[float, float]
) -> None:
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(*every_s))
        name = chance.choice(sorted(house.processes))
        house.kill(name)
        await asyncio.sleep(chance.uniform(0.0, 0.5))
        house.start(name)


async def settle(client: Client, ids: list[int], *, until: float) -> dict[int, str]:
    """Ask until every video is final, or the time is over."""
    while True:
        states = {video_id: str((await client.video(video_id))["status"]) for video_id in ids}
        if all(state in FINAL for state in states.values()) or time.monotonic() > until:
            return states
        await asyncio.sleep(0.5)


async def runs(house: House) -> dict[str, str]:
    """How the runs of the main job ended: shows that the kills met work."""
    async with await psycopg.AsyncConnection.connect(house.server.dsn) as conn:
        rows = await (
            await conn.execute(
                """
                SELECT task || ' ' || coalesce(outcome, 'open'),
                       count(*) || ' x ' || round(avg(extract(epoch FROM ended_at - started_at)), 2) || ' s'
                  FROM attempts
                 WHERE task IN ('edit-video', 'upload-video', 'settle-target')
                 GROUP BY 1 ORDER BY 1"""
            )
        ).fetchall()
    return {str(name): str(many) for name, many in rows}


def report(
    home: Path,
    seed: int,
    kills: int,
    states: dict[int, str],
    posts: list[dict[str, object]],
    settled_s: float,
    found: dict[int, dict[str, object]],
) -> None:
    """What happened, for whoever reads the output of a failed or a full-size storm."""
    print(
        f"storm seed={seed} videos={len(states)} kills={kills} states={dict(Counter(states.values()))} "
        f"posts={len(posts)} settled {settled_s:.1f} s after the last kill"
    )
    for video_id, state in states.items():
        if state != "POSTED":
            print(json.dumps({"id": video_id, "state": state, **found[video_id]}, default=str)[:3000])
