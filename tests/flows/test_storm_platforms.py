"""One video on every platform under fire: processes are killed, answers are lost, tokens die; each post goes out once.

`pytest tests/flows/test_storm_platforms.py --storm --storm-targets 200 --storm-kills 20 --storm-seed 7` is the full
size; a small one is part of the gate. The worlds' own ledgers count, not our rows.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app import db, publishing
from tests.flows.house import Client, House, open_house
from tests.flows.platforms_kit import UNLIMITED, an_edited_video, inside, planned, states_of
from tests.flows.test_storm import kill_at_random
from tests.platforms.conformance.subjects import SUBJECTS

pytestmark = pytest.mark.anyio

LOST_RATE = 0.15
MOST_IN_ONE = 100
DYING_EVERY_S = (15.0, 20.0)
OVER = ("published", "failed", "cancelled", "missed")
MOST_RETRIES = 3


async def test_one_video_goes_to_every_platform_once_in_a_small_storm(tmp_path: Path) -> None:
    await storm(tmp_path, targets=8, kills=2, seed=5, every_s=(0.8, 1.6), within_s=90)


@pytest.mark.storm
async def test_one_video_goes_to_every_platform_once_in_a_storm_of_full_size(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await storm(
        tmp_path,
        targets=request.config.getoption("--storm-targets"),
        kills=request.config.getoption("--storm-kills"),
        seed=request.config.getoption("--storm-seed"),
        every_s=(1.0, 5.0),
        within_s=600,
    )


async def storm(
    home: Path, *, targets: int, kills: int, seed: int, every_s: tuple[float, float], within_s: float
) -> None:
    chance = random.Random(seed)
    async with open_house(home, **UNLIMITED) as house:
        client = Client(house.base)
        await client.sign_up()
        for subject in SUBJECTS:
            await client.ask("POST", "/sandbox/apps", json=subject.per_app)
        accounts = await connect_all(client, targets)
        await lose_answers(client, seed)
        async with inside(house) as owner:
            video_id = await an_edited_video(owner)
            publications = [
                await planned(owner, video_id, accounts[at : at + MOST_IN_ONE])
                for at in range(0, len(accounts), MOST_IN_ONE)
            ]
        dying = asyncio.create_task(let_tokens_die(client, chance))
        await kill_at_random(house, chance, kills, every_s)
        dying.cancel()
        last_kill = time.monotonic()
        ids = [each.id for each in publications]
        states = await settle(house, ids, until=last_kill + within_s)
        settled_s = time.monotonic() - last_kill
        await client.ask("DELETE", "/sandbox/faults")
        retried = await retry_what_failed(house, ids)
        states = await states_of(house, ids)
        posts = {subject.name: await client.posts(subject.name) for subject in SUBJECTS}
        report(seed, kills, states, posts, settled_s, retried, await runs(house))
        await client.close()
    counted = {
        name: Counter(str(post["account"]) for post in found).most_common() for name, found in posts.items()
    }
    doubled = [(name, who, many) for name, found in counted.items() for who, many in found if many > 1]
    assert doubled == [], "posted twice"
    assert all(state in OVER for state, *_ in states), "not settled"
    published = Counter(platform for state, platform, *_ in states if state == "published")
    assert published == {name: len(found) for name, found in posts.items()}, (
        "what we say and what is out differ"
    )
    assert sum(published.values()) == targets, "not every post went out"


async def connect_all(client: Client, targets: int) -> list[tuple[int, Any]]:
    """As many accounts as there are targets, in turn on each platform: no platform takes the same file twice."""
    wanted = [SUBJECTS[number % len(SUBJECTS)] for number in range(targets)]
    turns = asyncio.Semaphore(4)

    async def connect(number: int) -> tuple[int, Any]:
        async with turns:
            subject = wanted[number]
            return await client.account(f"maker {number}", subject.name), subject.post

    return list(await asyncio.gather(*(connect(number) for number in range(targets))))


async def lose_answers(client: Client, seed: int) -> None:
    """Every call of a post loses some of its answers. Not a renewal's: on platforms whose refresh tokens work once
    a lost one ends the connection, and the post rightly waits for its person.
    """
    for subject in SUBJECTS:
        for step in (*subject.steps, "last_chunk", subject.asks):
            lost = {"fault": "drop_after", "platform": subject.name, "step": step, "rate": LOST_RATE}
            await client.ask("POST", "/sandbox/faults", json=lost | {"seed": f"{seed} {step}"})


async def let_tokens_die(client: Client, chance: random.Random) -> None:
    """All tokens end at once, and later those of one platform after the other: none so soon again that a token just
    renewed dies before it was used, which rightly ends a connection.
    """
    await client.ask("POST", "/sandbox/faults", json={"fault": "token_expired"})
    await asyncio.sleep(2 * DYING_EVERY_S[1])
    while True:
        for subject in SUBJECTS:
            await asyncio.sleep(chance.uniform(*DYING_EVERY_S))
            ended = {"fault": "token_expired", "platform": subject.name}
            await client.ask("POST", "/sandbox/faults", json=ended)


async def settle(
    house: House, publication_ids: list[int], *, until: float
) -> list[tuple[str, str, str, str | None]]:
    """Look until every target is over, or the time is."""
    while True:
        states = await states_of(house, publication_ids)
        if all(state in OVER for state, *_ in states) or time.monotonic() > until:
            return states
        await asyncio.sleep(0.5)


async def retry_what_failed(house: House, publication_ids: list[int]) -> int:
    """What a person does about posts that used up their tries; a failed one must truly not be out. Gives how many."""
    retried = 0
    for _ in range(MOST_RETRIES):
        async with inside(house) as owner, db.owned_by(owner.workspace_id) as conn:
            again = sum([await publishing.retry_failed(conn, each) for each in publication_ids])
        if not again:
            break
        retried += again
        await settle(house, publication_ids, until=time.monotonic() + 120)
    return retried


async def runs(house: House) -> dict[str, str]:
    """How the runs ended: shows that the kills met work."""
    async with await psycopg.AsyncConnection.connect(house.server.dsn) as conn:
        rows = await (
            await conn.execute(
                """
                SELECT task || ' ' || coalesce(outcome, 'open'), count(*)::text
                  FROM attempts
                 WHERE task LIKE 'publish-to-%' OR task IN ('upload-video', 'settle-target')
                 GROUP BY 1 ORDER BY 1"""
            )
        ).fetchall()
    return {str(name): str(many) for name, many in rows}


def report(
    seed: int,
    kills: int,
    states: list[tuple[str, str, str, str | None]],
    posts: dict[str, list[dict[str, Any]]],
    settled_s: float,
    retried: int,
    runs_by_outcome: dict[str, str],
) -> None:
    """What happened, for whoever reads the output of a failed or a full-size storm."""
    print(
        f"storm seed={seed} targets={len(states)} kills={kills} states={dict(Counter(s for s, *_ in states))} "
        f"posts={ {name: len(found) for name, found in posts.items()} } settled {settled_s:.1f} s after the last kill, "
        f"{retried} failed and were retried by hand"
    )
    print(f"runs by outcome: {runs_by_outcome}")
    for state, platform, who, reason in states:
        if state != "published":
            print(f"{platform} {who} {state}: {reason}")
