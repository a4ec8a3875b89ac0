"""No owner starves another (Q10): places are shared in turn, priorities hold for all, each one's jobs stay in order."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from app import db, jobs, queue
from app.queue import claim, policy, pump
from app.queue.outcome import Taken
from tests.worker import TestWorker, until

pytestmark = pytest.mark.anyio

ONE, FOUR = queue.Queue("test-one", together=1), queue.Queue("test-four", together=4)
LINE = queue.Queue("test-line", together=1000)
WORK = queue.Job("test-work", LINE, ("number",))
LENGTH_S = 0.6


@dataclass
class Claimer:
    """The claim of a worker without the worker: takes, and ends what it took, when the test says so."""

    pump: pump.Pump
    worker_id: int
    line: policy.EffectiveQueue

    async def take(self, room: int, ended: list[Taken] | None = None) -> list[Taken]:
        self.pump.ended = [pump.Ended(job, time.monotonic(), 0.0) for job in ended or []]
        line = pump.Line(self.line, running=self.line.together - room)
        taken, written, lost = await self.pump.turn(self.worker_id, [line], [], ripen=True)
        assert (len(written), lost) == (len(ended or []), [])
        return taken


async def claimer(dsn: str, line: queue.Queue = LINE) -> Claimer:
    effective = line.effective()
    card = claim.Card("test", "here", "here-1", 1, [line.name], "1", effective.together)
    async with db.house() as conn:
        worker_id = await claim.register(conn, card, [effective])
    return Claimer(pump.Pump(db.Place(dsn, dsn, False)), worker_id, effective)


@pytest.fixture
async def claims(pools: str) -> AsyncIterator[Claimer]:
    found = await claimer(pools)
    yield found
    await found.pump.close()


async def put(owner: int, many: int = 1, *, job: queue.Job = WORK, priority: int | None = None) -> list[int]:
    async with db.house() as conn:
        return await queue.defer_many(
            conn,
            job,
            workspace_id=owner,
            args=[{"number": number} for number in range(many)],
            priority=priority,
        )


def owners(taken: list[Taken]) -> list[int | None]:
    return [job.workspace_id for job in taken]


# As a person sees it


@pytest.mark.parametrize("line", [ONE, FOUR], ids=["one place", "four places"])
@pytest.mark.parametrize("many_workers", [1, 2])
async def test_one_job_beside_a_thousand_starts_within_two_job_lengths(
    pools: str, line: queue.Queue, many_workers: int
) -> None:
    job = queue.Job("test-linger", line, ("number",))
    started: list[tuple[int | None, float]] = []
    app = queue.HouseApp()

    async def linger(number: int) -> None:
        started.append((queue.current().workspace_id, time.monotonic()))
        await asyncio.sleep(LENGTH_S)

    app.bind(job)(linger)
    await put(1, 1000, job=job)
    workers = [TestWorker(app, pools).worker() for _ in range(many_workers)]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    places = many_workers * (line.together or 0)

    async def in_full_swing() -> bool:
        return len(started) >= 2 * places + 1

    await until(in_full_swing, within_s=30)
    began = time.monotonic()
    await put(2, job=job)

    async def his_turn() -> bool:
        return started[-1][0] == 2 or any(owner == 2 for owner, _ in started)

    await until(his_turn, within_s=30)
    for worker in workers:
        worker.stop()
    await asyncio.gather(*running)
    at = next(at for owner, at in started if owner == 2)
    assert at - began < 2 * LENGTH_S
    assert sum(1 for owner, then in started if owner == 1 and began < then < at) <= places


# As the claim decides it


async def test_places_go_round_between_owners_each_ones_oldest_first(claims: Claimer) -> None:
    first, second = await put(1, 50), await put(2, 3)
    taken = await claims.take(6)
    assert Counter(owners(taken)) == {1: 3, 2: 3}
    assert [job.job_id for job in taken if job.workspace_id == 1] == first[:3]
    assert [job.job_id for job in taken if job.workspace_id == 2] == second
    assert [job.job_id for job in await claims.take(2)] == first[3:5]


async def test_whoever_was_served_alone_comes_behind_a_newcomer(claims: Claimer) -> None:
    await put(1, 50)
    await claims.take(5)
    await put(2)
    assert owners(await claims.take(1)) == [2]


async def test_high_goes_before_normal_before_low_whoever_owns_it(claims: Claimer) -> None:
    await put(1, 2, priority=queue.LOW)
    await put(2, 2, priority=queue.NORMAL)
    await put(1, 2, priority=queue.HIGH)
    await put(3, 2, priority=queue.HIGH)
    taken = [await claims.take(1) for _ in range(8)]
    assert [owners(one)[0] for one in taken] == [1, 3, 1, 3, 2, 2, 1, 1]


async def test_one_owner_with_many_fills_what_the_others_leave(claims: Claimer) -> None:
    await put(1, 100)
    for owner in range(2, 11):
        await put(owner)
    assert Counter(owners(await claims.take(20))) == {1: 11} | dict.fromkeys(range(2, 11), 1)


@pytest.mark.parametrize("room", [1, 4])
async def test_three_hundred_owners_are_all_served_in_turn(claims: Claimer, room: int) -> None:
    for owner in range(1, 301):
        await put(owner, 3)
    served: list[int | None] = []
    for round_ in (1, 2, 3):
        while len(served) < 300 * round_:
            served += owners(await claims.take(room))
        assert set(Counter(served).values()) == {round_}


async def test_a_thousand_owners_are_all_served_in_turn(claims: Claimer) -> None:
    for owner in range(1, 1001):
        await put(owner, 2)
    served: list[int | None] = []
    while len(served) < 1000:
        served += owners(await claims.take(10))
    assert set(Counter(served).values()) == {1}


async def test_claims_at_the_same_moment_leave_no_place_empty_and_keep_each_ones_order(
    pools: str, claims: Claimer
) -> None:
    others = [claims, *[await claimer(pools) for _ in range(5)]]
    put_by = {owner: await put(owner, 5) for owner in range(1, 13)}
    taken_by: dict[int, list[int]] = {owner: [] for owner in put_by}
    for _ in range(5):
        rounds = await asyncio.gather(*(one.take(2) for one in others))
        assert [len(taken) for taken in rounds] == [2] * 6
        for taken in sorted(rounds, key=lambda taken: taken[0].run):
            for job in taken:
                taken_by[job.workspace_id or 0].append(job.job_id)
    # What is taken in one moment has no order; between moments the older ones went first.
    for owner, ids in taken_by.items():
        assert sorted(ids) == put_by[owner]
    for one in others[1:]:
        await one.pump.close()


# A fair share


async def test_no_owner_runs_more_than_a_fair_share_while_another_waits(pools: str) -> None:
    claims = await claimer(pools, queue.Queue("test-line", together=1000, fair=2))
    await put(1, 10)
    await put(2, 10)
    taken = await claims.take(6)
    assert Counter(owners(taken)) == {1: 2, 2: 2}
    ended = [job for job in taken if job.workspace_id == 1][:1]
    assert owners(await claims.take(6, ended)) == [1]
    await claims.pump.close()


async def test_who_waits_alone_may_use_every_place(pools: str) -> None:
    claims = await claimer(pools, queue.Queue("test-line", together=1000, fair=2))
    await put(1, 10)
    await put(2, 1)
    assert Counter(owners(await claims.take(6))) == {1: 5, 2: 1}
    await put(3, 4, priority=queue.LOW)
    assert owners(await claims.take(3)) == [3, 3], "who waits counts, whatever its priority"
    await claims.pump.close()


async def test_edits_are_shared_two_for_each_owner(pools: str) -> None:
    assert jobs.VIDEO_EDIT.fair == 2
    claims = await claimer(pools, queue.Queue("video-edit", together=8, fair=jobs.VIDEO_EDIT.fair))
    async with db.house() as conn:
        for owner in (1, 2, 3):
            for video_id in range(5):
                await queue.defer(conn, jobs.EDIT_VIDEO, workspace_id=owner, videoId=10 * owner + video_id)
    assert Counter(owners(await claims.take(8))) == {1: 2, 2: 2, 3: 2}
    await claims.pump.close()
