"""What is told about the queue: true at every count, the same cost beside a long history, and why a job waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from app import db, queue, sidecar
from app.queue import lately
from app.queue.health import AHEAD_MOST, COUNTED
from tests.makers import Owner, an_owner
from tests.worker import TestWorker, until
from tests.world import free_port

pytestmark = pytest.mark.anyio
NAMES = ["edit", "post"]
EDIT = queue.Job("cut", queue.Queue("edit"), ("number",))
LOCKED = queue.Job("glue", queue.Queue("edit"), ("number",), lock="only-one")


async def put(number: int = 1, *, of: queue.Job = EDIT, owner: Owner | None = None, **more: Any) -> int:
    async with db.house() as conn:
        return await queue.defer(
            conn, of, workspace_id=owner.workspace_id if owner else None, number=number, **more
        )


async def run(statement: str, *params: Any) -> None:
    async with db.house() as conn:
        await conn.execute(statement, params)


async def a_worker(*queues: str, seen: str = "now()") -> int:
    """Somebody who serves these queues, as the list has them; nothing is run."""
    async with db.house() as conn:
        worker_id = await db.value(conn, "INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        await conn.execute(
            f"""
            INSERT INTO worker_leases (worker_id, name, host, process, pid, queues, version, concurrency, seen_at)
            VALUES (%s, 'worker', 'alpha', '', 1, %s, '3', 2, {seen})""",
            [worker_id, list(queues)],
        )
    return int(worker_id)


async def is_taken(job_id: int, worker_id: int) -> None:
    await run(
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE id = %s", worker_id, job_id
    )


async def state(name: str = "edit") -> queue.QueueHealth:
    async with db.house() as conn:
        (found,) = [state for state in await queue.health(conn, NAMES) if state.name == name]
    return found


async def why(job_id: int, owner: Owner | None = None) -> dict[str, Any] | None:
    async with db.house() if owner is None else db.owned_by(owner.workspace_id) as conn:
        return await queue.waiting_reason(conn, job_id)


async def fill(status: str, many: int, name: str = "edit") -> None:
    await run(
        """
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, status, scheduled_at, owner)
        SELECT %s, 'cut', -5, '{}', CASE %s WHEN 'scheduled' THEN 'todo' ELSE %s END::procrastinate_job_status,
               CASE %s WHEN 'scheduled' THEN now() + number * interval '1 min' END, number %% 7
          FROM generate_series(1, %s) AS number""",
        name, status, status, status, many,
    )  # fmt: skip


# Counts


async def test_every_queue_asked_for_is_told_in_its_order_and_others_that_have_jobs(pools: str) -> None:
    await fill("todo", 1, "aardvark")
    async with db.house() as conn:
        assert [state.name for state in await queue.health(conn, ["post", "edit"])] == [
            "post",
            "edit",
            "aardvark",
        ]


async def test_jobs_count_where_they_stand(pools: str) -> None:
    worker_id = await a_worker("edit")
    await is_taken(await put(), worker_id)
    await put(2)
    await put(3, of=LOCKED)
    await put(4, at=datetime.now(UTC) + timedelta(hours=1))
    # Its time has come, and no worker has looked since.
    await put(5, at=datetime.now(UTC) - timedelta(seconds=5))
    await fill("failed", 2)
    found = await state()
    assert (found.waiting, found.scheduled, found.running, found.failed) == (3, 1, 1, 2)
    assert (found.workers, found.stalled) == (1, 0)
    async with db.house() as conn:
        assert await queue.batch.counts(conn, queue.Filter()) == {
            "waiting": 3, "scheduled": 1, "running": 1, "failed": 2, "done": 0, "cancelled": 0,
        }  # fmt: skip
        assert await queue.batch.counts(conn, queue.Filter(task="glue")) == {
            "waiting": 1, "scheduled": 0, "running": 0, "failed": 0, "done": 0, "cancelled": 0,
        }  # fmt: skip
        (cut, glue) = sorted(await queue.by_task(conn), key=lambda depth: depth.task)
    assert (cut.queued, cut.scheduled, cut.running, cut.failed) == (2, 1, 1, 2)
    assert (glue.queued, glue.scheduled, glue.running, glue.failed) == (1, 0, 0, 0)


@pytest.mark.parametrize(("many", "text"), [(COUNTED, "1,000"), (COUNTED + 1, "1,000+")])
async def test_a_count_is_exact_up_to_its_limit_and_says_so_beyond(pools: str, many: int, text: str) -> None:
    for status in ("todo", "scheduled", "failed"):
        await fill(status, many)
    found = await state()
    assert [str(found.waiting), str(found.scheduled), str(found.failed)] == [text, text, text]
    assert found.waiting == COUNTED


async def test_counts_of_a_task_say_when_they_did_not_look_at_all_jobs(pools: str) -> None:
    await fill("failed", queue.batch.LOOK_NEAR + 1)
    async with db.house() as conn:
        found = await queue.batch.counts(conn, queue.Filter(task="no-such"))
    assert str(found["failed"]) == "0+"
    assert str(found["waiting"]) == "0"


async def test_the_oldest_wait_is_found_behind_priorities_owners_and_late_comers(pools: str) -> None:
    owners = [await an_owner() for _ in range(3)]
    for number, owner in enumerate(owners):
        for priority in (queue.HIGH, queue.LOW):
            await put(number, owner=owner, priority=priority)
    old = await put(7, owner=owners[1], priority=queue.LOW)
    await run("UPDATE job_records SET put_at = now() - interval '9 s'")
    await run("UPDATE job_records SET put_at = now() - interval '1 h' WHERE job_id = %s", old)
    assert (await state()).oldest_wait_s == pytest.approx(3600, abs=5)
    await run("UPDATE procrastinate_jobs SET status = 'succeeded' WHERE id = %s", old)
    assert (await state()).oldest_wait_s == pytest.approx(9, abs=5)
    assert (await state("post")).oldest_wait_s is None


async def test_a_job_whose_worker_is_silent_is_stalled(pools: str) -> None:
    silent = await a_worker("edit", seen="now() - interval '31 s'")
    await run("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'")
    await is_taken(await put(), silent)
    found = await state()
    assert (found.running, found.stalled, found.workers) == (1, 1, 0)


async def test_a_queue_tells_its_latest_trouble_and_no_other_ones(pools: str) -> None:
    for name, ago_min, outcome, reason in (
        ("edit", 50, "gave_up", "Older."), ("edit", 5, "lost", "Newest."), ("edit", 1, "handed_back", "No trouble."),
        ("edit", 70, "gave_up", "Too long ago to count."), ("post", 2, "failed", "Another's."),
    ):  # fmt: skip
        await run(
            """
            INSERT INTO attempts (job_id, round, worker_id, queue, task, ended_at, outcome, reason)
            VALUES (%s, 1, 1, %s, 'cut', now() - make_interval(mins => %s), %s, %s)""",
            ago_min, name, ago_min, outcome, reason,
        )  # fmt: skip
    found = await state()
    assert (found.last_error, found.failed_lately) == ("Newest.", 1)


# Cost

BLOCKS = """
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
    SELECT * FROM queue_states('{edit,post}', 1000), count_stages(
        '{waiting,scheduled,running,failed,done,cancelled}', NULL, NULL, NULL, 1000, 2000)"""


async def blocks() -> int:
    async with db.house() as conn:
        plan = (await db.value(conn, BLOCKS))[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def analyze(dsn: str) -> None:
    async with await db.connect(dsn) as conn:
        await conn.execute("ANALYZE procrastinate_jobs")


async def test_a_long_history_costs_the_pages_nothing_whatever_the_statistics_say(pools: str) -> None:
    async with await db.connect(pools) as conn:
        await conn.execute("ALTER TABLE procrastinate_jobs SET (autovacuum_enabled = off)")
    for status in ("todo", "scheduled", "failed", "succeeded"):
        await fill(status, 4_000)
    await blocks()
    few = await blocks()
    await fill("succeeded", 100_000)
    assert await blocks() < few * 1.5 + 200, "right after, without statistics"
    # What waits stands behind what is done, as it comes to stand in every house.
    await run("DELETE FROM procrastinate_jobs WHERE status <> 'succeeded'")
    for status in ("todo", "scheduled", "failed"):
        await fill(status, 4_000)
    await blocks()
    assert await blocks() < few * 1.5 + 200, "without statistics, the other way round"
    await analyze(pools)
    assert await blocks() < few * 1.5 + 200, "the planner knows that nearly all jobs are done"
    await run("UPDATE procrastinate_jobs SET status = 'todo' WHERE status = 'succeeded'")
    await analyze(pools)
    await run("UPDATE procrastinate_jobs SET status = 'succeeded' WHERE status = 'todo' AND id > 5000")
    async with await db.connect(pools) as conn:
        await conn.execute("VACUUM procrastinate_jobs")
    assert await blocks() < few * 1.5 + 200, "the planner believes that all jobs wait"


# Why a job waits


async def test_an_owner_is_told_the_first_thing_that_must_change(pools: str) -> None:
    owner, stranger = await an_owner(), await an_owner("Noa")
    job_id = await put(owner=owner)

    async def told() -> tuple[str, str]:
        found = await why(job_id, owner)
        assert found is not None
        return found["kind"], found["text"]

    assert await told() == ("no_worker", "No worker is running for the queue edit.")
    await a_worker("edit")
    assert await told() == ("turn", "It is next in line.")
    await run("INSERT INTO pauses (queue, kind, reason) VALUES ('cut', 'task', '')")
    assert await told() == ("paused", "An operator has paused all cut.")
    await run("INSERT INTO pauses (queue, kind, reason) VALUES ('edit', 'queue', 'New disk.')")
    assert await told() == ("paused", "An operator has paused the queue edit. “New disk.”")
    assert await why(job_id, stranger) is None


async def test_a_job_with_its_own_time_and_one_that_is_tried_again_say_when(pools: str) -> None:
    await a_worker("edit")
    at = datetime.now(UTC) + timedelta(hours=1)
    own = await why(await put(at=at))
    assert own is not None
    assert (own["kind"], own["until"]) == ("time", at)
    again = await put(2, at=at)
    await run("UPDATE job_records SET waiting_for = 'The disk was full.' WHERE job_id = %s", again)
    found = await why(again)
    assert found is not None
    assert (found["kind"], found["text"], found["until"]) == ("limit", "The disk was full.", at)


async def test_a_job_held_by_a_limit_of_starts_says_when_the_next_start_is(pools: str) -> None:
    await a_worker("edit")
    first, second = await put(1), await put(2)
    await run("INSERT INTO queue_limits (queue, starts, window_s) VALUES ('edit', 2, 60)")
    await run("INSERT INTO limits (key) VALUES ('queue-edit')")
    grant = """
        INSERT INTO limit_grants (key, holder, at, started)
        VALUES ('queue-edit', 'job-0', now() - make_interval(secs => %s), true)"""
    await run(grant, 50)
    found = await why(first)
    assert found is not None
    assert found["kind"] == "turn", "one start is left"
    await run(grant, 20)
    found, behind = await why(first), await why(second)
    assert found is not None and behind is not None
    assert found["text"] == "At most 2 jobs of the queue edit may start in 60 s."
    assert (found["until"] - datetime.now(UTC)).total_seconds() == pytest.approx(10, abs=5)
    assert behind["text"].endswith("1 other job may come before it.")
    assert (behind["until"], behind["next_start_at"]) == (None, found["until"])
    async with db.house() as conn:
        limit = (await lately.limit_states(conn))["edit"]
    assert (limit.started, limit.next_start_at) == (2, found["until"])


async def test_a_job_held_by_running_ones_says_so(pools: str) -> None:
    owner = await an_owner()
    worker_id = await a_worker("edit")
    await is_taken(await put(1, owner=owner), worker_id)
    job_id = await put(2, owner=owner)
    await run("INSERT INTO queue_limits (queue, each) VALUES ('edit', 1)")
    found = await why(job_id, owner)
    assert found is not None
    assert found["text"] == "At most 1 job of one workspace may run at once."
    await run("UPDATE queue_limits SET together = 1")
    found = await why(job_id, owner)
    assert found is not None
    assert found["text"] == "At most 1 job of the queue edit may run at once."


async def test_a_job_behind_a_lock_says_so(pools: str) -> None:
    worker_id = await a_worker("edit")
    await is_taken(await put(1, of=LOCKED), worker_id)
    found = await why(await put(2, of=LOCKED))
    assert found is not None
    assert found["text"] == "Another job that must not run beside it is running."


async def test_another_owners_crowd_is_not_counted_as_all_ahead(pools: str) -> None:
    """Places go round between owners, so of a crowd at most one more than its own come first."""
    crowd, one = await an_owner(), await an_owner("Noa")
    async with db.house() as conn:
        await queue.defer_many(
            conn, EDIT, workspace_id=crowd.workspace_id, args=[{"number": number} for number in range(1_500)]
        )
    first, second = await put(owner=one), await put(2, owner=one)
    last = await put(3, owner=crowd)
    await a_worker("edit")
    found = [await why(job_id) for job_id in (first, second, last)]
    assert [each["ahead"] for each in found if each is not None] == [1, 3, AHEAD_MOST]
    assert found[2] is not None
    assert found[2]["text"] == "1,000 or more other jobs may come before it."


# Lately


async def tally(ago_min: float, outcome: str = "done", many: int = 1) -> None:
    await run(
        """
        INSERT INTO queue_tallies (at, queue, task, outcome, many, ran_s)
        VALUES (now() - make_interval(secs => %s), 'edit', 'cut', %s, %s, %s)""",
        ago_min * 60, outcome, many, many * 2.0,
    )  # fmt: skip


async def test_the_last_hour_is_told_in_pieces_of_five_minutes(pools: str) -> None:
    await tally(1, many=3)
    await tally(7)
    await tally(58)
    await tally(61, many=100)
    await tally(2, "gave_up")
    await tally(2, "failed", 4)
    await tally(2, "handed_back", 9)
    async with db.house() as conn:
        hour = (await lately.hour(conn))["edit"]
    assert hour.done == (1, *[0] * 9, 1, 3)
    assert hour.failed == (*[0] * 11, 1)
    assert (hour.retried, hour.runs) == (4, 10)


async def totals() -> tuple[int, float]:
    async with db.house() as conn:
        found = [runs for runs in await lately.runs(conn) if runs.outcome == "done"]
    return sum(runs.many for runs in found), sum(runs.ran_s for runs in found)


async def test_joined_and_forgotten_tallies_stay_in_the_totals_for_ever(pools: str) -> None:
    for ago_min in (0, 3, 3, 45, 200, 201, 60 * 24 * 8, 60 * 24 * 9):
        await tally(ago_min, many=5)
    before, last = await totals(), (await state()).last_done_at
    async with db.house() as conn:
        for _ in range(2):
            await conn.execute("SELECT join_tallies(7)")
        rows = int(await db.value(conn, "SELECT count(*) FROM queue_tallies"))
    assert (await totals(), (await state()).last_done_at) == (before, last)
    assert before == (40, 80.0)
    assert rows <= 5
    await run("DELETE FROM queue_tallies")
    assert await totals() == (10, 20.0)


async def test_waits_and_runs_are_measured_on_the_newest_runs(pools: str) -> None:
    for number in range(1, 21):
        job_id = await put(number)
        await run("UPDATE job_records SET put_at = now() - interval '100 s' WHERE job_id = %s", job_id)
        await run(
            """
            INSERT INTO attempts (job_id, round, worker_id, queue, task, started_at, ended_at, outcome)
            VALUES (%s, 1, 1, 'edit', 'cut', now() - make_interval(secs => 100 - %s), now() - interval '50 s',
                    'done')""",
            job_id, number,
        )  # fmt: skip
    async with db.house() as conn:
        times = (await lately.times(conn))["edit"]
    assert (times.waits, times.runs, times.whole) == (20, 20, True)
    assert (times.wait_p50_s, times.wait_p95_s) == (pytest.approx(10.5, abs=0.6), pytest.approx(19, abs=0.6))
    assert times.run_p50_s == pytest.approx(39.5, abs=0.6)


async def test_statements_of_the_hour_are_the_months_as_they_came(pools: str) -> None:
    beat = """
        INSERT INTO queue_usage (month, operations) VALUES (date_trunc('month', now() AT TIME ZONE 'UTC'), %s)
            ON CONFLICT (month) DO UPDATE SET operations = queue_usage.operations + excluded.operations"""
    for operations in (7, 5, 3):
        await run(beat, operations)
    async with db.house() as conn:
        assert (await lately.operations(conn), await lately.operations_ever(conn)) == (15, 15)
    await run("UPDATE queue_operations SET at = at - interval '2 h'")
    await run(beat, 2)
    async with db.house() as conn:
        assert (await lately.operations(conn), await lately.operations_ever(conn)) == (2, 17)


async def test_a_workers_own_port_tells_its_counts_and_how_it_is(pools: str) -> None:
    house = queue.HouseApp()
    ran: list[int] = []

    @house.bind(EDIT)
    async def cut(number: int) -> None:
        ran.append(number)

    port = free_port()
    card = sidecar.Sidecar(port, "cutter", house)
    await card.open()
    worker = TestWorker(house, pools).worker(concurrency=1)
    house.running_worker = worker
    working = asyncio.create_task(worker.run())
    try:
        job_id = await put(7)

        async def done() -> bool:
            async with db.house() as conn:
                return (await queue.get(conn, job_id)).shown == "done"

        await until(done)
        async with httpx2.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    finally:
        worker.stop()
        await working
        await card.close()
    assert ran == [7]
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(told['jobs_done_total{queue="edit",task="cut"}']) >= 1
    assert 0 <= float(told["worker_lease_age_seconds"]) < 20
    assert float(told['worker_places{queue="edit"}']) == worker.lines["edit"].limits.together
    assert told['worker_running{queue="edit"}'] == "0.0"
    assert not [name for name in told if name.startswith(("jobs_queued", "house_"))], (
        "those are the web's to tell"
    )
