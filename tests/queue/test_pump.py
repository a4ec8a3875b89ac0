"""Taking and ending many jobs at a time: what is taken ahead, what a lost answer does, and what a long past costs."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import psycopg
import pytest

from app import db, queue
from app.queue.policy import Queue
from app.queue.pump import Ended, Line, Pump
from tests.queue.test_worker import status
from tests.worker import TestWorker, until

pytestmark = pytest.mark.anyio

NARROW = queue.Queue("narrow", together=1, tries=2, first_wait_s=0)
QUICK = queue.Job("quick", NARROW, ("number",))
SLOW = queue.Job("slow", NARROW, ("number",))


class House:
    """Quick jobs that teach a worker to take ahead, and a slow one that stands in their way."""

    def __init__(self, dsn: str) -> None:
        self.app = queue.HouseApp()
        self.ran: list[int] = []
        self.stands = asyncio.Event()
        self.go_on = asyncio.Event()
        self.app.bind(QUICK)(self._quick)
        self.app.bind(SLOW)(self._slow)
        self.worker = TestWorker(self.app, dsn)

    async def _quick(self, number: int) -> None:
        self.ran.append(number)

    async def _slow(self, number: int) -> None:
        self.stands.set()
        await self.go_on.wait()


@pytest.fixture
async def house(pools: str) -> House:
    return House(pools)


async def put(job: queue.Job, numbers: range) -> list[int]:
    async with db.house() as conn:
        return await queue.defer_many(
            conn, job, workspace_id=None, args=[{"number": number} for number in numbers]
        )


async def engine_statuses(ids: list[int]) -> list[str]:
    async with db.house() as conn:
        rows = await db.rows(
            conn, "SELECT status::text FROM procrastinate_jobs WHERE id = ANY (%s) ORDER BY id", [ids]
        )
    return [row[0] for row in rows]


async def taken_ahead(house: House) -> tuple[Any, asyncio.Task[None], list[int]]:
    """A worker that has learned to take ahead and now runs a slow job with quick ones behind it."""
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())
    await put(QUICK, range(200))

    async def all_ran() -> bool:
        return len(house.ran) == 200 and worker.runner.idle

    await until(all_ran)
    async with db.house() as conn:
        await queue.defer(conn, SLOW, workspace_id=None, number=0)
        behind = await queue.defer_many(
            conn, QUICK, workspace_id=None, args=[{"number": number} for number in range(1000, 1020)]
        )
    await asyncio.wait_for(house.stands.wait(), 5)
    return worker, running, behind


async def test_jobs_behind_one_that_takes_long_are_left_to_other_workers(house: House) -> None:
    worker, running, behind = await taken_ahead(house)
    other = house.worker.worker()
    helping = asyncio.create_task(other.run())

    async def others_done() -> bool:
        return await engine_statuses(behind) == ["succeeded"] * 20

    await until(others_done, within_s=5)
    assert not house.go_on.is_set(), "the slow one still runs"
    house.go_on.set()
    for each in (worker, other):
        each.stop()
    await asyncio.wait_for(asyncio.gather(running, helping), 5)
    assert sorted(house.ran[200:]) == list(range(1000, 1020))


async def test_what_was_taken_and_not_begun_goes_back_at_a_stop_without_a_try(house: House) -> None:
    worker, running, behind = await taken_ahead(house)
    worker.stop()
    await asyncio.wait_for(running, 5)
    assert await engine_statuses(behind) == ["todo"] * 20
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM attempts WHERE job_id = ANY (%s)", [behind]) == 0
        assert (await queue.get(conn, behind[0])).tries == 0


async def test_a_worker_runs_its_own_kind_in_order_though_it_takes_many(house: House) -> None:
    await put(QUICK, range(300))
    await house.worker.run_until_idle()
    assert house.ran == list(range(300))


@pytest.fixture
async def pump(pools: str) -> Pump:
    pump = Pump(db.Place(pools, pools, False))
    async with db.house() as conn:
        pump.worker_id = await db.value(conn, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    yield pump
    await pump.close()


def lines(together: int = 5) -> list[Line]:
    return [Line(Queue("narrow", together=together).effective())]


async def test_jobs_whose_answer_was_lost_go_back_and_are_given_again(pump: Pump) -> None:
    assert pump.worker_id is not None
    ids = await put(QUICK, range(3))
    lost, _, _ = await pump.turn(pump.worker_id, lines(), [], ripen=False)
    assert [job.job_id for job in lost] == ids
    await pump.close()
    heard, _, _ = await pump.turn(pump.worker_id, lines(), [ids[0]], ripen=False)
    assert [job.job_id for job in heard] == ids[1:], "the one that is known stays with its run"


async def test_outcomes_whose_answer_was_lost_are_sent_again_and_count_once(pump: Pump) -> None:
    assert pump.worker_id is not None
    await put(QUICK, range(2))
    taken, _, _ = await pump.turn(pump.worker_id, lines(), [], ripen=False)
    ended = [Ended(job, time.monotonic(), 0.001) for job in taken]
    pump.ended = list(ended)
    assert await pump.turn(pump.worker_id, [], [], ripen=False) == ([], ended, [])
    pump.ended = list(ended)
    _, written, taken_over = await pump.turn(pump.worker_id, [], [], ripen=False)
    assert (written, taken_over) == (ended, [])
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM attempts") == 2
        assert await db.value(conn, "SELECT sum(many) FROM queue_tallies") == 2


async def test_an_outcome_of_a_run_that_was_taken_over_is_refused_and_the_others_are_written(
    pump: Pump,
) -> None:
    assert pump.worker_id is not None
    await put(QUICK, range(3))
    taken, _, _ = await pump.turn(pump.worker_id, lines(), [], ripen=False)
    async with db.house() as conn:
        await conn.execute(
            "UPDATE procrastinate_jobs SET attempts = attempts + 1 WHERE id = %s", [taken[1].job_id]
        )
    pump.ended = [Ended(job, time.monotonic(), 0.001) for job in taken]
    _, written, taken_over = await pump.turn(pump.worker_id, [], [], ripen=False)
    assert [run.job.job_id for run in written] == [taken[0].job_id, taken[2].job_id]
    assert [run.job.job_id for run in taken_over] == [taken[1].job_id]


async def test_nothing_is_forgotten_while_the_database_is_away(pump: Pump, pools: str) -> None:
    assert pump.worker_id is not None
    ids = await put(QUICK, range(2))
    taken, _, _ = await pump.turn(pump.worker_id, lines(), [], ripen=False)
    pump.ended = [Ended(job, time.monotonic(), 0.001) for job in taken]
    async with await psycopg.AsyncConnection.connect(pools, autocommit=True) as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'backlot pump'"
        )
    with pytest.raises(Exception, match="database"):
        await pump.turn(pump.worker_id, [], ids, ripen=False)
    assert len(pump.ended) == 2
    _, written, _ = await pump.turn(pump.worker_id, [], ids, ripen=False)
    assert len(written) == 2
    assert [await status(job_id) for job_id in ids] == ["done", "done"]


FILL = """
    INSERT INTO procrastinate_jobs (queue_name, task_name, args, status, scheduled_at, priority, queueing_lock)
    SELECT %(queue)s, 'quick', '{"number": 0}', %(status)s::procrastinate_job_status,
           CASE WHEN %(future)s THEN now() + interval '1 day' END, -5, NULL
      FROM generate_series(1, %(many)s)"""


async def blocks(dsn: str, worker_id: int) -> int:
    """Blocks that one take of ten jobs looks at; rolled back."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("SET app.house = 'on'")
        cursor = await conn.execute(
            f"EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM pump_jobs({worker_id}, '{{narrow}}', '{{10}}', '{{0}}', true)"
        )
        told = "\n".join(row[0] for row in await cursor.fetchall())
        await conn.rollback()
    found = re.search(r"Buffers: shared hit=(\d+)(?: read=(\d+))?", told)
    assert found, told
    return int(found[1]) + int(found[2] or 0)


@pytest.mark.parametrize(
    ("finished", "waiting", "future"),
    [(20_000, 2_000, 4_000), pytest.param(1_000_000, 100_000, 200_000, marks=pytest.mark.storm)],
)
async def test_a_long_past_and_a_full_future_do_not_cost_a_take(
    pump: Pump, pools: str, finished: int, waiting: int, future: int
) -> None:
    assert pump.worker_id is not None
    await put(QUICK, range(50))
    before = await blocks(pools, pump.worker_id)
    async with db.house() as conn:
        for name, state, later, many in (
            ("narrow", "succeeded", False, finished),
            ("narrow", "todo", True, future),
            ("elsewhere", "todo", False, waiting),
        ):
            await conn.execute(FILL, {"queue": name, "status": state, "future": later, "many": many})
    # No ANALYZE: the plans must not lean on statistics, fresh or stale.
    assert await blocks(pools, pump.worker_id) < before * 2 + 200
