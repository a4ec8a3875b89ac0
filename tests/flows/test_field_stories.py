"""What happened to others in the field, told again on each platform: one post in the world, and a true state here."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from app import db, publishing
from tests.flows.house import Client, open_house
from tests.flows.platforms_kit import (
    UNLIMITED,
    an_edited_video,
    by_hand,
    inside,
    planned,
    states_of,
)
from tests.makers import Owner, an_account, an_owner
from tests.platforms.conformance.subjects import SUBJECTS, Subject
from tests.worker import TestWorker
from tests.world import World

pytestmark = pytest.mark.anyio


def told_of(first: str = "") -> list[Any]:
    """Each platform; all but the first of them in a storm."""
    return [
        pytest.param(subject, id=subject.name, marks=() if subject.name == first else (pytest.mark.storm,))
        for subject in SUBJECTS
    ]


async def a_post(world: World, subject: Subject) -> tuple[Owner, int]:
    """An account of this platform with a post that is due; gives its owner and the target."""
    await world.allow(subject.per_app)
    owner = await an_owner()
    account = await an_account(owner, "maya.makes", subject.name)
    publication = await planned(owner, await an_edited_video(owner), [(account.id, subject.post)])
    return owner, publication.targets[0].id


async def target_of(target_id: int) -> publishing.Target:
    async with db.house() as conn:
        return await publishing.get(conn, target_id)


async def ends_in_one_post(world: World, subject: Subject, target_id: int) -> publishing.Target:
    target = await target_of(target_id)
    assert target.state == "published", (target.state, target.reason)
    posts = await world.posts(subject.name)
    assert len(posts) == 1 and posts[0]["sha256"] == target.to_send.sha256
    return target


@pytest.mark.parametrize("subject", told_of("youtube"))
async def test_a_token_that_expires_between_the_start_and_the_question_is_renewed_and_nothing_begun_anew(
    subject: Subject, world: World, worker: TestWorker
) -> None:
    _, target_id = await a_post(world, subject)
    await world.arm("token_expired", step=subject.asks, platform=subject.name)
    await worker.run_until_idle(ahead=True)
    await ends_in_one_post(world, subject, target_id)
    assert await world.armed() == []
    async with db.house() as conn:
        tried = await publishing.attempts(conn, target_id)
    assert len(tried) == 1, "one attempt, one handle"


@pytest.mark.parametrize("subject", told_of("facebook"))
async def test_an_answer_that_says_blocked_although_the_post_is_out_is_asked_about(
    subject: Subject, world: World, worker: TestWorker
) -> None:
    _, target_id = await a_post(world, subject)
    await world.arm("blocked_after", step="last_chunk", platform=subject.name)
    await worker.run_until_idle(ahead=True)
    assert await world.armed() == []
    await ends_in_one_post(world, subject, target_id)


@pytest.mark.parametrize("subject", told_of("instagram"))
async def test_a_reset_right_after_the_platform_took_the_post_is_asked_about(
    subject: Subject, world: World, worker: TestWorker
) -> None:
    _, target_id = await a_post(world, subject)
    await world.arm("drop_after", step="last_chunk", platform=subject.name)
    await worker.run_until_idle(ahead=True)
    assert await world.armed() == []
    await ends_in_one_post(world, subject, target_id)


@pytest.mark.parametrize("subject", [each for each in told_of("instagram") if each.values[0].links])
async def test_a_link_that_cannot_be_read_fails_no_post_and_repeats_none(
    subject: Subject, world: World, worker: TestWorker
) -> None:
    _, target_id = await a_post(world, subject)
    await world.arm("error_before", step=subject.links, platform=subject.name, times=500)
    await worker.run_until_idle(ahead=True, most_rounds=200)
    target = await ends_in_one_post(world, subject, target_id)
    assert target.url is None or target.url.startswith("https://")
    assert target.reason_code is None


# Where a link is asked for apart, the platform works on a post before it is shown and then tells at once.
@pytest.mark.parametrize("subject", [each for each in told_of("tiktok") if not each.values[0].links])
async def test_what_is_never_confirmed_is_left_to_the_person_and_settled_by_hand(
    subject: Subject, world: World, worker: TestWorker
) -> None:
    owner, target_id = await a_post(world, subject)
    await world.arm("processing_delay", seconds=10_000_000, platform=subject.name)
    await worker.run_until_idle()
    assert (await target_of(target_id)).state == "unconfirmed"
    async with db.house() as conn:
        await conn.execute(
            """
            UPDATE target_attempts
               SET committed_at = committed_at - interval '25 h', intent_at = intent_at - interval '25 h'"""
        )
        await conn.execute("UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo'")
    await worker.run_until_idle()
    left = await target_of(target_id)
    assert (left.state, left.reason_code) == ("unconfirmed", "left_to_person")
    assert left.reason is not None and "tell us" in left.reason
    await by_hand(owner, target_id, published=True)
    await worker.run_until_idle()
    await ends_in_one_post(world, subject, target_id)


@pytest.mark.parametrize("subject", told_of())
async def test_a_worker_that_dies_while_it_asks_is_followed_by_one_that_asks(
    subject: Subject, tmp_path: Path
) -> None:
    async with open_house(tmp_path / "home", workers=1, **UNLIMITED) as house:
        client = Client(house.base)
        await client.sign_up()
        if subject.per_app:
            await client.ask("POST", "/sandbox/apps", json=subject.per_app)
        account_id = await client.account("maya.makes", subject.name)
        slow = {"fault": "slow", "step": subject.asks, "platform": subject.name, "seconds": 20}
        await client.ask("POST", "/sandbox/faults", json=slow)
        async with inside(house) as owner:
            publication = await planned(owner, await an_edited_video(owner), [(account_id, subject.post)])
        async with asyncio.timeout(60):
            while (await client.ask("GET", "/sandbox/faults")).json()["faults"]:
                await asyncio.sleep(0.1)
        house.kill("worker-1")
        house.start("worker-1")
        async with asyncio.timeout(170):
            while (state := (await states_of(house, [publication.id]))[0][0]) not in ("published", "failed"):
                await asyncio.sleep(0.5)
        posts = await client.posts(subject.name)
        await client.close()
    assert state == "published"
    assert len(posts) == 1, [asdict(subject.post), posts]
