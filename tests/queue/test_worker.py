"""The worker's promises, shown on a real database with jobs of the test's own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from app import db, queue
from app.errors import NotYet, Permanent, Retryable, WrongState
from tests.worker import TestWorker, until

pytestmark = pytest.mark.anyio

LINE = queue.Queue("test-line", together=2, tries=3, first_wait_s=0)
WORK = queue.Job("test-work", LINE, ("number",))
SINGLE = queue.Job("test-single", LINE, ("number",), once="single-{number}")


class House:
    """An app with two jobs whose behaviour the test decides."""

    def __init__(self, dsn: str) -> None:
        self.app = queue.HouseApp()
        self.ran: list[int] = []
        self.gave_up: list[tuple[int, str]] = []
        self.errors: list[BaseException] = []
        self.started = asyncio.Event()
        self.block: asyncio.Event | None = None
        self.app.bind(WORK, gave_up=self._gave_up)(self._step)
        self.app.bind(SINGLE, gave_up=self._gave_up)(self._step)
        self.worker = TestWorker(self.app, dsn)

    async def _step(self, number: int) -> None:
        self.ran.append(number)
        self.started.set()
        if self.block is not None:
            await self.block.wait()
        if self.errors:
            raise self.errors.pop(0)

    async def _gave_up(self, conn: db.Conn, job_id: int, number: int, reason: str, code: str) -> None:
        self.gave_up.append((number, code))


@pytest.fixture
async def house(pools: str) -> House:
    return House(pools)


async def put(number: int, job: queue.Job = WORK, **options: object) -> int:
    async with db.house() as conn:
        return await queue.defer(conn, job, workspace_id=None, number=number, **options)  # type: ignore[arg-type]  # options are defer's own


async def status(job_id: int) -> str:
    async with db.house() as conn:
        return (await queue.get(conn, job_id)).shown


async def outcomes(job_id: int) -> list[str | None]:
    async with db.house() as conn:
        return [attempt.outcome for attempt in await queue.attempts(conn, job_id)][::-1]


async def test_a_run_that_finishes_in_its_own_commit_is_done_with_it_or_not_at_all(house: House) -> None:
    commits: list[bool] = []

    async def step(number: int) -> None:
        async with db.house() as conn:
            await queue.audit(conn, None, "worked", f"thing-{number}")
            await queue.done(conn)
            if not commits:
                commits.append(False)
                raise Retryable("Not this time.", after_s=0)

    own = queue.Job("own-commit", LINE, ("number",))
    house.app.bind(own)(step)
    job_id = await put(1, own)
    await house.worker.run_until_idle(ahead=True)
    assert (await outcomes(job_id), await status(job_id)) == (["failed", "done"], "done")
    async with db.house() as conn:
        assert len(await queue.lately.acts(conn, subject="thing-1")) == 1


async def test_a_run_that_lost_its_job_cannot_finish_in_its_own_commit(house: House) -> None:
    async def step(number: int) -> None:
        async with db.house() as conn:
            await conn.execute("UPDATE procrastinate_jobs SET attempts = attempts + 1")
        async with db.house() as conn:
            await queue.audit(conn, None, "worked", f"thing-{number}")
            await queue.done(conn)

    own = queue.Job("own-commit", LINE, ("number",))
    house.app.bind(own)(step)
    job_id = await put(1, own)
    await house.worker.run_until_idle()
    assert await outcomes(job_id) == [None], "it still belongs to whoever took it over"
    async with db.house() as conn:
        assert await queue.lately.acts(conn, subject="thing-1") == []


async def test_many_jobs_put_at_once_leave_out_those_that_wait_already(house: House) -> None:
    first = await put(2, SINGLE)
    async with db.house() as conn:
        ids = await queue.defer_many(
            conn, SINGLE, workspace_id=None, args=[{"number": number} for number in (1, 2, 3)]
        )
    assert len(ids) == 2 and first not in ids
    await house.worker.run_until_idle()
    assert sorted(house.ran) == [1, 2, 3]


async def test_a_job_put_in_a_transaction_that_rolls_back_never_existed(house: House) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.house() as conn:
            await queue.defer(conn, WORK, workspace_id=None, number=1)
            raise ZeroDivisionError
    await house.worker.run_until_idle()
    assert house.ran == []


async def test_a_smaller_priority_runs_first_and_equals_run_oldest_first(house: House) -> None:
    house.worker.app.bound[WORK.name] = house.worker.app.bound[WORK.name]
    for number, priority in ((1, queue.NORMAL), (2, queue.LOW), (3, queue.HIGH), (4, queue.NORMAL)):
        await put(number, priority=priority)
    await house.worker.run_until_idle()
    assert house.ran == [3, 1, 4, 2]


async def test_a_failed_try_is_repeated_until_none_is_left_and_then_given_up(house: House) -> None:
    job_id = await put(1)
    house.errors = [Retryable("away"), RuntimeError("surprise"), Retryable("still away", code="away")]
    await house.worker.run_until_idle(ahead=True)
    assert house.ran == [1, 1, 1]
    assert await outcomes(job_id) == ["failed", "failed", "gave_up"]
    assert (await status(job_id), house.gave_up) == ("failed", [(1, "away")])


async def test_waiting_for_ones_turn_uses_no_try(house: House) -> None:
    job_id = await put(1)
    house.errors = [NotYet("later", after_s=60)] * 5
    await house.worker.run_until_idle(ahead=True)
    assert await outcomes(job_id) == ["waiting"] * 5 + ["done"]
    assert await status(job_id) == "done"


async def test_a_permanent_failure_ends_at_once_and_a_persons_retry_starts_a_fresh_count(
    house: House,
) -> None:
    job_id = await put(1)
    house.errors = [Permanent("no", code="no")]
    await house.worker.run_until_idle()
    assert await status(job_id) == "failed"
    house.errors = [Retryable("a"), Retryable("b")]
    async with db.house() as conn:
        await queue.retry(conn, job_id)
    await house.worker.run_until_idle(ahead=True)
    assert await outcomes(job_id) == ["gave_up", "failed", "failed", "done"]


async def test_of_twins_that_wait_there_is_one(house: House) -> None:
    assert await put(7, SINGLE) == await put(7, SINGLE)
    await house.worker.run_until_idle()
    assert house.ran == [7]


async def test_a_retry_whose_twin_waits_is_refused_and_changes_nothing(house: House) -> None:
    first = await put(7, SINGLE)
    house.errors = [Permanent("no")]
    await house.worker.run_until_idle()
    await put(7, SINGLE)
    async with db.house() as conn:
        with pytest.raises(WrongState):
            await queue.retry(conn, first)
    assert await status(first) == "failed"


async def test_cancel_takes_a_waiting_job_out_of_line(house: House) -> None:
    job_id = await put(1)
    async with db.house() as conn:
        assert await queue.cancel(conn, job_id, "not wanted")
    await house.worker.run_until_idle()
    assert (house.ran, await status(job_id)) == ([], "cancelled")


async def test_cancel_stops_a_running_job_and_tells_the_room(house: House) -> None:
    house.block = asyncio.Event()
    job_id = await put(1)
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(house.started.wait(), 5)
    async with db.house() as conn:
        await queue.cancel(conn, job_id, "changed my mind")

    async def cancelled() -> bool:
        return await status(job_id) == "cancelled"

    await until(cancelled, within_s=2)
    assert house.gave_up == [(1, "cancelled")]
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_a_stop_hands_a_running_job_back_without_using_a_try(house: House) -> None:
    house.block = asyncio.Event()
    job_id = await put(1)
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(house.started.wait(), 5)
    worker.stop()
    await asyncio.wait_for(running, 5)
    assert await outcomes(job_id) == ["handed_back"]
    house.block = None
    await house.worker.run_until_idle()
    assert await status(job_id) == "done"
    async with db.house() as conn:
        assert (await queue.get(conn, job_id)).tries == 1


async def test_a_waiting_worker_hears_of_a_job_at_once(house: House) -> None:
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())

    async def listens() -> bool:
        return bool(worker.listening)

    await until(listens)
    began = datetime.now(UTC)
    await put(1)
    await asyncio.wait_for(house.started.wait(), 2)
    assert (datetime.now(UTC) - began).total_seconds() < 1
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_operators_are_told_within_seconds_that_a_new_worker_hears(house: House) -> None:
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())

    async def told() -> bool:
        async with db.house() as conn:
            return [each.listening for each in await queue.workers(conn)] == [True]

    await until(told, within_s=5)
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_a_paused_queue_starts_nothing_until_it_goes_on(house: House) -> None:
    async with db.house() as conn:
        await conn.execute("INSERT INTO users (email, name, password_hash) VALUES ('o@x', 'O', '-')")
        user_id = await db.value(conn, "SELECT id FROM users")
        await queue.pause(conn, LINE.name, by=user_id)
    await put(1)
    await house.worker.run_until_idle()
    assert house.ran == []
    async with db.house() as conn:
        await queue.resume(conn, LINE.name)
    await house.worker.run_until_idle()
    assert house.ran == [1]


async def test_an_unknown_task_is_handed_back_not_failed(house: House) -> None:
    job_id = await put(1, queue.Job("from-a-newer-deploy", LINE, ("number",)))
    await house.worker.run_until_idle()
    assert (await outcomes(job_id), await status(job_id)) == (["waiting"], "waiting")


async def test_a_queue_runs_at_most_its_number_together(house: House) -> None:
    house.block = asyncio.Event()
    for number in range(5):
        await put(number)
    worker = house.worker.worker()
    running = asyncio.create_task(worker.run())

    async def two_run() -> bool:
        return len(house.ran) == LINE.together

    await until(two_run)
    await asyncio.sleep(0.2)
    assert len(house.ran) == 2
    house.block.set()

    async def all_ran() -> bool:
        return len(house.ran) == 5

    await until(all_ran)
    worker.stop()
    await asyncio.wait_for(running, 5)


@pytest.mark.parametrize("many", [400, pytest.param(10_000, marks=pytest.mark.storm)])
async def test_eight_workers_take_each_job_once(house: House, many: int) -> None:
    for number in range(many):
        await put(number)
    await asyncio.gather(*(house.worker.worker(wait=False, listen_notify=False).run() for _ in range(8)))
    assert sorted(house.ran) == list(range(many))
