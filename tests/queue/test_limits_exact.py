"""A limit is a limit in every window, over all workers, whatever dies (Q9): counted by the grants and by the jobs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app import db, limits, queue
from app.errors import NotYet, Refused
from app.queue import pump
from tests.queue.limits_app import BESIDE, LINE, WATCH
from tests.queue.processes import ROOT
from tests.queue.test_fairness import claimer, owners, put
from tests.worker import TestWorker, until

pytestmark = pytest.mark.anyio
JOB = queue.Job("test-work", LINE, ("number",))


@dataclass
class Crew:
    """Workers as processes of `limits_app`, and what their jobs wrote. `died` is when each was killed."""

    dsn: str
    home: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    died: dict[int, int] = field(default_factory=dict)

    def start(self, many: int = 1) -> None:
        for _ in range(many):
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "procrastinate", "--app=tests.queue.limits_app.procrastinate_app", "worker"],
                    cwd=ROOT,
                    env={**os.environ, "DATABASE_URL": self.dsn, "BACKLOT_HOME": str(self.home),
                         "WATCHED": str(self.home / "watched"), "LOG_LEVEL": "warning"},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        self.died[process.pid] = time.monotonic_ns()
        process.kill()
        process.wait()
        self.processes.remove(process)

    def lines(self) -> list[tuple[str, int, int, int, int]]:
        """(what, when in ns, process, owner, job), in the order of time."""
        file = self.home / "watched"
        if not file.exists():
            return []
        rows = [line.split() for line in file.read_text().splitlines()]
        return sorted(
            (what, int(at), int(pid), int(owner), int(job)) for what, at, pid, owner, job in rows
        )  # fmt: skip

    def began(self) -> list[int]:
        return sorted(at for what, at, *_ in self.lines() if what == "began")

    def most_at_once(self, owner: int | None = None, *, since: int = 0) -> int:
        """How many ran at the same moment at most; what a killed process ran has ended with it."""
        lines = self.lines()
        ends: dict[tuple[int, int], list[int]] = {}
        for what, at, pid, _, job in lines:
            if what == "ended":
                ends.setdefault((pid, job), []).append(at)
        moves: list[tuple[int, int]] = []
        for what, at, pid, whose, job in lines:
            if what == "began" and owner in (None, whose) and at >= since:
                ended = min((end for end in ends.get((pid, job), []) if end >= at), default=2**63)
                moves += [(at, 1), (min(ended, max(self.died.get(pid, 2**63), at)), -1)]
        return max(itertools.accumulate(move for _, move in sorted(moves)), default=0)


@pytest.fixture
def crew(pools: str, tmp_path: Path) -> Iterator[Crew]:
    made = Crew(pools, tmp_path)
    yield made
    for process in made.processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


async def watch(many: int, *, seconds: float = 0.0, owner: int = 1, job: queue.Job = WATCH) -> list[int]:
    async with db.house() as conn:
        return await queue.defer_many(conn, job, workspace_id=owner, args=[{"seconds": seconds}] * many)


async def operator() -> int:
    async with db.house() as conn:
        return int(
            await db.value(
                conn, "INSERT INTO users (email, name, password_hash) VALUES ('o@x', 'O', '-') RETURNING id"
            )
        )


async def set_limits(by: int, **given: float) -> None:
    async with db.house() as conn:
        await queue.set_limits(conn, LINE.name, by=by, **given)  # type: ignore[arg-type]  # the verb's own names


async def over() -> int:
    async with db.house() as conn:
        return int(await db.value(conn, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"))


def too_close(at: list[int], most: int, window_s: float) -> int:
    """Windows with more than `most` starts."""
    return sum(1 for first, next_ in zip(at, at[most:], strict=False) if next_ - first < window_s * 1e9)


@pytest.mark.parametrize(
    ("many", "processes", "kills", "starts", "window_s"),
    [
        (150, 3, 2, 15, 0.5),
        pytest.param(10_000, 8, 40, 40, 0.5, marks=pytest.mark.storm),
    ],
)
async def test_no_window_holds_more_starts_than_allowed_whatever_dies(
    crew: Crew, many: int, processes: int, kills: int, starts: int, window_s: float
) -> None:
    await set_limits(await operator(), starts=starts, window_s=window_s)
    await watch(many)
    crew.start(processes)
    chance = random.Random(7)
    for step in range(1, kills + 1):

        async def so_far(share: int = many * step // (kills + 1)) -> bool:
            return await over() >= share

        await until(so_far, within_s=300)
        crew.kill(chance.choice(crew.processes))
        crew.start()

    async def all_done() -> bool:
        return await over() == many

    await until(all_done, within_s=300)
    async with db.house() as conn:
        granted = await db.rows(
            conn,
            "SELECT (extract(epoch FROM at) * 1e9)::bigint FROM limit_grants WHERE key = 'queue-test-line' ORDER BY at",
        )
    grants, began = [int(at) for (at,) in granted], crew.began()
    assert len(began) >= many and len(grants) >= many
    assert too_close(grants, starts, window_s) == 0, "by the grants"
    assert too_close(began, starts, window_s) == 0, "by the jobs' own first lines"
    assert began[-1] - began[0] < 4e9 * many / starts * window_s + 60e9, "the limit is also reached"


@pytest.mark.parametrize(
    ("many", "processes", "kills"), [(60, 3, 2), pytest.param(2_000, 8, 20, marks=pytest.mark.storm)]
)
async def test_never_more_run_at_once_than_allowed_nor_of_one_owner(
    crew: Crew, many: int, processes: int, kills: int
) -> None:
    await set_limits(await operator(), together=4, each=2)
    for owner in (1, 2, 3):
        await watch(many // 3, seconds=0.05, owner=owner)
    crew.start(processes)
    chance = random.Random(8)
    for step in range(1, kills + 1):

        async def so_far(share: int = many * step // (kills + 1)) -> bool:
            return await over() >= share

        await until(so_far, within_s=300)
        crew.kill(chance.choice(crew.processes))
        crew.start()

    async def all_done() -> bool:
        return await over() == many // 3 * 3

    await until(all_done, within_s=300)
    assert crew.most_at_once() == 4
    assert [crew.most_at_once(owner) for owner in (1, 2, 3)] == [2, 2, 2]


async def test_running_workers_obey_a_changed_limit_at_once(crew: Crew) -> None:
    by = await operator()
    await set_limits(by, together=1)
    await watch(400, seconds=0.1)
    crew.start(2)

    async def some() -> bool:
        return await over() >= 3

    await until(some, within_s=60)
    assert crew.most_at_once() == 1
    raised = time.monotonic_ns()
    await set_limits(by, together=6)

    async def six() -> bool:
        return crew.most_at_once() == 6

    await until(six, within_s=5)
    sixth = next(
        at for at in crew.began() if at > raised and sum(1 for a in crew.began() if raised < a <= at) >= 5
    )
    assert sixth - raised < 2e9
    await set_limits(by, together=2)
    lowered = time.monotonic_ns()
    so_far = await over()

    async def more() -> bool:
        return await over() >= so_far + 30

    await until(more, within_s=60)
    # What ran when it was lowered goes on, and nothing new begins until two places are free.
    assert crew.most_at_once(since=lowered) <= 2


async def test_a_limit_survives_every_restart(crew: Crew) -> None:
    await set_limits(await operator(), starts=3, window_s=3600)
    await watch(6)
    for done in (4, 5):
        # A job of another queue that has run shows that this worker has looked at both.
        await watch(1, job=BESIDE)
        crew.start()

        async def beside(done: int = done) -> bool:
            return await over() == done

        await until(beside, within_s=60)
        process = crew.processes.pop()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 15) == 0
    assert len([line for line in crew.lines() if line[0] == "began"]) == 5
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM limit_grants WHERE key = 'queue-test-line'") == 3


# Inside one worker


@dataclass
class Small:
    """An app with two queues whose jobs the test holds by an event."""

    dsn: str
    ran: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    errors: list[Exception] = field(default_factory=list)

    def worker(self) -> TestWorker:
        app = queue.HouseApp()

        async def watch(seconds: float) -> None:
            self.ran.append("watch")
            if self.errors:
                raise self.errors.pop(0)

        async def beside(seconds: float) -> None:
            self.ran.append("beside")

        app.bind(WATCH)(watch)
        app.bind(BESIDE)(beside)
        return TestWorker(app, self.dsn)


async def granted() -> int:
    async with db.house() as conn:
        return int(await db.value(conn, "SELECT count(*) FROM limit_grants"))


async def test_waiting_for_a_limit_holds_no_place_and_writes_no_attempt(pools: str) -> None:
    small = Small(pools)
    await set_limits(await operator(), starts=1, window_s=3600)
    waiting = await watch(20)
    await watch(5, job=BESIDE)
    await small.worker().run_until_idle()
    assert Counter(small.ran) == {"watch": 1, "beside": 5}
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM attempts") == 6
        found = await db.rows(
            conn, "SELECT DISTINCT status::text, attempts, worker_id FROM procrastinate_jobs WHERE id = ANY (%s)",
            [waiting[1:]],
        )  # fmt: skip
    assert found == [("todo", 0, None)]


async def test_cancelling_what_waits_for_a_limit_is_told_at_once_and_uses_no_start(pools: str) -> None:
    small = Small(pools)
    await set_limits(await operator(), starts=1, window_s=3600, together=1, each=1, fair=1)
    _, second, _ = await watch(3)
    await small.worker().run_until_idle()
    async with db.house() as conn:
        assert await queue.stop(conn, second, "not wanted")
    await small.worker().run_until_idle()
    async with db.house() as conn:
        assert (await queue.get(conn, second)).shown == "cancelled"
    assert (small.ran, await granted()) == (["watch"], 1)


async def test_a_run_that_says_not_yet_gives_its_start_back(pools: str) -> None:
    small = Small(pools, errors=[NotYet("later", after_s=3600)])
    await set_limits(await operator(), starts=1, window_s=3600)
    await watch(2)
    await small.worker().run_until_idle()
    assert (small.ran, await granted()) == (["watch", "watch"], 1)


async def test_what_goes_back_unbegun_returns_its_own_start_and_no_earlier_one(pools: str) -> None:
    await set_limits(await operator(), starts=2, window_s=3600)
    claims = await claimer(pools, LINE)
    await put(1, 1, job=JOB)
    [job] = await claims.take(8)
    async with db.house() as conn:
        # A try that failed: the job stands in line again, its start was used.
        await conn.execute(
            "UPDATE procrastinate_jobs SET status = 'todo', attempts = attempts + 1, worker_id = NULL"
        )
    [again] = await claims.take(8)
    assert (again.job_id, await granted()) == (job.job_id, 2)
    claims.pump.unbegun = [again.job_id]
    await claims.take(0)
    assert await granted() == 1
    claims.pump.unbegun = [again.job_id]
    await claims.take(0)
    assert await granted() == 1, "what is not this worker's any more returns nothing"
    assert len(await claims.take(8)) == 1
    await claims.pump.close()


class SlowLine(pump.Pump):
    """A pump whose first answer with jobs stays on the way for so long."""

    late_s = 0.4

    async def turn(self, *given: Any, **more: Any) -> Any:
        found = await super().turn(*given, **more)
        if found[0] and self.late_s:
            late_s, self.late_s = self.late_s, 0.0
            await asyncio.sleep(late_s)
        return found


async def test_a_job_whose_answer_came_late_goes_back_and_its_start_with_it(pools: str) -> None:
    small = Small(pools)
    await set_limits(await operator(), starts=2, window_s=3600)
    await watch(2)
    worker = small.worker().worker(wait=False, listen_notify=False)
    worker.pump = worker.runner.pump = SlowLine(worker.place)
    await worker.run()
    assert (small.ran, await granted()) == (["watch", "watch"], 2)
    async with db.house() as conn:
        taken = await db.value(conn, "SELECT count(*) FROM procrastinate_events WHERE type = 'started'")
        assert (taken, await db.value(conn, "SELECT count(*) FROM attempts")) == (4, 2)


async def test_one_owner_has_no_more_than_each_over_all_priorities_and_locks(pools: str) -> None:
    line = queue.Queue("test-line", together=8, each=2)
    locked = queue.Job("test-locked", line, ("number",), lock="lock-{number}")
    free = queue.Job("test-work", line, ("number",))
    claims = await claimer(pools, line)
    for priority in (queue.LOW, queue.NORMAL, queue.HIGH):
        await put(1, 3, job=free, priority=priority)
        await put(1, 3, job=locked, priority=priority)
    await put(2, 1, job=free, priority=queue.LOW)
    assert Counter(owners(await claims.take(8))) == {1: 2, 2: 1}
    assert await claims.take(8) == []
    await claims.pump.close()


async def test_limits_that_make_no_sense_are_refused_and_nothing_is_written(pools: str) -> None:
    by = await operator()
    for wrong, named in (
        ({"together": 0}, {"together"}),
        ({"starts": 3}, {"window_s"}),
        ({"window_s": 60.0}, {"starts"}),
        ({"starts": 3, "window_s": float("nan")}, {"window_s"}),
        ({"starts": 3, "window_s": 86_401.0}, {"window_s"}),
        ({"each": 10_001, "fair": -1}, {"each", "fair"}),
    ):
        with pytest.raises(Refused) as refused:
            await set_limits(by, **wrong)
        assert set(refused.value.fields) == named
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM queue_limits") == 0
        assert await db.value(conn, "SELECT count(*) FROM audit") == 0


async def test_what_an_operator_set_stays_when_workers_start_and_goes_with_a_reset(pools: str) -> None:
    by = await operator()
    line = queue.Queue("test-line", together=8, each=5)
    await set_limits(by, together=3)
    claims = await claimer(pools, line)
    await put(1, 10, job=JOB)
    assert len(await claims.take(8)) == 3
    async with db.house() as conn:
        assert await queue.reset_limits(conn, line, by=by) == queue.Limits(each=5)
    assert len(await claims.take(8)) == 2
    await claims.pump.close()
    async with db.house() as conn:
        acts = [(act.action, act.detail["before"]["together"]) for act in await queue.lately.acts(conn)]
    assert acts == [("queue.limits_reset", 3), ("queue.limits_set", None)]


async def test_old_starts_are_forgotten_however_many(pools: str) -> None:
    async with db.house() as conn:
        await conn.execute("INSERT INTO limits (key) VALUES ('queue-test-line')")
        await conn.execute(
            """
            INSERT INTO limit_grants (key, holder, at, started)
            SELECT 'queue-test-line', 'job-' || n, now() - interval '2 days', true
              FROM generate_series(1, 12000) AS n"""
        )
        assert await limits.forget(conn) == 12_000
