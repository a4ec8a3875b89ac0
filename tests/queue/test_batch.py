"""What operators do to jobs: look for them, cancel so that the room hears of it, act on many at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app import db, queue
from app.errors import Permanent, WrongState
from tests.queue.test_worker import SINGLE, House, put, status

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(pools: str) -> House:
    return House(pools)


async def an_operator() -> int:
    async with db.house() as conn:
        return int(
            await db.value(
                conn,
                "INSERT INTO users (email, name, password_hash) VALUES ('op@x.org', 'Op', '-') RETURNING id",
            )
        )


async def failed_jobs(house: House, many: int) -> list[int]:
    house.errors = [Permanent(f"The world said no to {number}.", code="no") for number in range(many)]
    ids = [await put(number) for number in range(many)]
    await house.worker.run_until_idle()
    return ids


async def test_a_waiting_job_that_is_cancelled_by_an_operator_tells_its_room(house: House) -> None:
    by = await an_operator()
    job_id = await put(1, at=datetime.now(UTC) + timedelta(hours=1))
    async with db.house() as conn:
        await queue.cancel_by_operator(conn, job_id, by, "Not needed.")
    async with db.house() as conn:
        job = await queue.get(conn, job_id)
        assert (job.status, job.stage, job.cancelling) == ("todo", "waiting", True)
        (act,) = await queue.lately.acts(conn)
        assert (act.action, act.subject, act.user_id, act.detail) == (
            "job.cancelled",
            f"job-{job_id}",
            by,
            {"reason": "Not needed."},
        )
    await house.worker.run_until_idle()
    assert (await status(job_id), house.gave_up, house.ran) == ("cancelled", [(1, "cancelled")], [])


async def test_a_cancelled_job_goes_before_all_others(house: House) -> None:
    await put(1, priority=queue.HIGH)
    late = await put(2, priority=queue.LOW)
    async with db.house() as conn:
        assert await queue.stop(conn, late, "Not needed.")
    await house.worker.worker(wait=False, listen_notify=False, concurrency=1).run()
    async with db.house() as conn:
        runs = await db.rows(conn, "SELECT job_id FROM attempts ORDER BY run")
    assert runs[0] == (late,)


async def test_a_job_that_runs_is_asked_to_stop_by_an_operators_cancel(house: House) -> None:
    house.block = asyncio.Event()
    job_id = await put(1)
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(house.started.wait(), 5)
    async with db.house() as conn:
        await queue.cancel_by_operator(conn, job_id, None, "Not needed.")
    async with asyncio.timeout(3):
        while await status(job_id) != "cancelled":
            await asyncio.sleep(0.02)
    assert house.gave_up == [(1, "cancelled")]
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_a_job_that_is_over_cannot_be_cancelled_and_nothing_is_written(house: House) -> None:
    job_id = await put(1)
    await house.worker.run_until_idle()
    with pytest.raises(WrongState):
        async with db.house() as conn:
            await queue.cancel_by_operator(conn, job_id, None, "Too late.")
    async with db.house() as conn:
        assert (await queue.get(conn, job_id)).cancel_reason is None
        assert await queue.lately.acts(conn) == []


async def test_jobs_are_found_and_counted_by_stage_words_and_task(house: House) -> None:
    failed = await failed_jobs(house, 3)
    waiting = await put(7)
    later = await put(8, at=datetime.now(UTC) + timedelta(hours=1))
    async with db.house() as conn:
        assert await queue.batch.counts(conn, queue.Filter()) == {
            "waiting": 1, "scheduled": 1, "running": 0, "failed": 3, "done": 0, "cancelled": 0,
        }  # fmt: skip
        assert await queue.batch.counts(conn, queue.Filter(words="NO TO 1")) == {
            "waiting": 0, "scheduled": 0, "running": 0, "failed": 1, "done": 0, "cancelled": 0,
        }  # fmt: skip
        assert [job.id for job in await queue.find(conn, queue.Filter(status="failed"))] == failed[::-1]
        assert [job.id for job in await queue.find(conn, queue.Filter(status="waiting"))] == [waiting]
        assert [job.id for job in await queue.find(conn, queue.Filter(status="scheduled"))] == [later]
        assert await queue.find(conn, queue.Filter(task="no-such")) == []
        page = await queue.find(conn, queue.Filter(status="failed", before_id=failed[2]), most=1)
        assert [job.id for job in page] == [failed[1]]
        trace = (await queue.get(conn, failed[0])).correlation_id
        assert [job.id for job in await queue.find(conn, queue.Filter(words=trace))] == [failed[0]]
        assert await queue.batch.count(conn, queue.Filter(status="failed"), most=2) == 3


async def test_a_batch_acts_on_what_matches_and_goes_on_where_it_ended(house: House) -> None:
    failed = await failed_jobs(house, 3)
    seen: list[int] = []

    async def again(conn: db.Conn, job: queue.JobRow) -> bool:
        await queue.retry(conn, job.id)
        seen.append(job.id)
        return True

    async with db.house() as conn:
        first = await queue.batch.over(conn, queue.Filter(status="failed"), again, most=2)
    assert (first.done, first.skipped, first.next_before_id) == (2, 0, failed[1])
    async with db.house() as conn:
        second = await queue.batch.over(
            conn, queue.Filter(status="failed", before_id=first.next_before_id), again, most=2
        )
    assert (second.done, second.next_before_id, seen) == (1, None, failed[::-1])


async def test_a_batch_skips_what_is_refused_and_leaves_nothing_of_it(house: House) -> None:
    house.errors = [Permanent("No.", code="no"), Permanent("No.", code="no")]
    for number in (1, 1):
        await put(number, SINGLE)
        await house.worker.run_until_idle()

    async def again(conn: db.Conn, job: queue.JobRow) -> bool:
        await queue.audit(conn, None, "tried", f"job-{job.id}")
        await queue.retry(conn, job.id)
        return True

    async with db.house() as conn:
        found = await queue.batch.over(conn, queue.Filter(status="failed"), again)
        assert (found.done, found.skipped) == (1, 1)
        assert len(await queue.lately.acts(conn)) == 1
        (left,) = await queue.find(conn, queue.Filter(status="failed"))
        assert await queue.waiting_twin(conn, left) is not None


async def test_only_ended_jobs_are_discarded(house: House) -> None:
    failed = await failed_jobs(house, 2)
    waiting = await put(9)
    async with db.house() as conn:
        gone = await queue.batch.discard_matching(conn, queue.Filter())
        assert (gone.done, gone.skipped) == (2, 1)
        assert await queue.attempts(conn, failed[0]) == []
        assert (await queue.get(conn, waiting)).shown == "waiting"
