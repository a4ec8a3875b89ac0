"""The engine's own command line on a database of the house, with our app and with one of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app import db, queue
from tests.queue.plain_app import QUEUE, stands, stock, told, value
from tests.queue.processes import ROOT
from tests.queue.test_upstream import LOCKED, house, shown
from tests.queue.test_worker import House, outcomes, put
from tests.worker import until

__all__ = ["house"]

pytestmark = pytest.mark.anyio


def command(
    app: str, dsn: str, home: Path, *words: str, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "procrastinate", f"--app={app}", *words],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": dsn, "PLAIN_DSN": dsn, "BACKLOT_HOME": str(home)},
        input=typed,
        capture_output=True,
        text=True,
        timeout=30,
    )


OURS, PLAIN = "tasks.procrastinate_app", "tests.queue.plain_app.procrastinate_app"


@pytest.mark.parametrize("app", [OURS, PLAIN])
async def test_the_engines_shell_lists_cancels_and_retries_our_jobs(
    pools: str, tmp_path: Path, app: str
) -> None:
    waits, ends, runs = await put(1), await put(2), await put(3, LOCKED)
    worker_id = await value(pools, "INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
    for job_id, status in ((ends, "failed"), (runs, "doing")):
        await value(
            pools,
            "UPDATE procrastinate_jobs SET status = %s, worker_id = %s WHERE id = %s",
            [status, worker_id, job_id],
        )
    counts = "succeeded: 0, failed: 1, cancelled: 0, aborted: 0"

    def shell(*words: str) -> list[str]:
        told = command(app, pools, tmp_path, "shell", *words)
        assert (told.returncode, "Traceback" in told.stderr) == (0, False), told.stderr
        return told.stdout.splitlines()

    assert shell("list_jobs") == [
        f"#{waits} test-work on test-line - [todo]",
        f"#{ends} test-work on test-line - [failed]",
        f"#{runs} test-locked on test-line - [doing]",
    ]
    (line,) = shell("list_jobs", "status=doing", "details")
    assert line.endswith("(attempts=0, priority=-5, scheduled_at=None, args={'number': 3}, lock=only)")
    typed = command(
        app,
        pools,
        tmp_path,
        "shell",
        typed=f"list_queues\nlist_tasks task=test-work\nlist_locks\ncancel {waits}\nretry {ends}\nexit\n",
    )
    assert typed.returncode == 0
    answers = [line.removeprefix("procrastinate> ") for line in typed.stdout.splitlines()]
    assert f"{QUEUE}: 3 jobs (todo: 1, doing: 1, {counts})" in answers
    assert f"test-work: 2 jobs (todo: 1, doing: 0, {counts})" in answers
    assert "only: 1 jobs (todo: 0, doing: 1, succeeded: 0, failed: 0, cancelled: 0, aborted: 0)" in answers
    assert f"#{waits} test-work on test-line - [cancelled]" in answers
    assert f"#{ends} test-work on test-line - [todo]" in answers
    assert [await shown(job_id) for job_id in (waits, runs)] == ["cancelled", "running"]
    assert (await told(pools, waits), (await told(pools, ends))[-2]) == (["deferred", "cancelled"], "retried")
    async with db.house() as conn:
        assert [job.id for job in await queue.find(conn, queue.Filter(status="cancelled"))] == [waits]


async def test_a_job_retried_by_the_shell_while_it_runs_is_run_again_and_ended_by_its_last_run(
    house: House, pools: str
) -> None:
    """Nobody should do that, and the shell lets them: two runs, of which the first must settle nothing."""
    house.block = asyncio.Event()
    job_id = await put(1)
    first, second = house.worker.worker(), house.worker.worker()
    running = [asyncio.create_task(first.run())]
    await asyncio.wait_for(house.started.wait(), 5)
    async with stock(pools) as app:
        await app.job_manager.retry_job_by_id_async(job_id, retry_at=datetime.now(UTC))
    first.stop()
    running.append(asyncio.create_task(second.run()))

    async def twice() -> bool:
        return house.ran == [1, 1]

    await until(twice)
    await asyncio.wait_for(running[0], 5)
    assert await shown(job_id) == "running"
    house.block.set()
    await until(stands(pools, job_id, "succeeded"))
    second.stop()
    await asyncio.wait_for(running[1], 5)
    assert (await outcomes(job_id))[-1] == "done"


@pytest.mark.parametrize("app", [OURS, PLAIN])
def test_the_engines_other_commands_answer_on_our_database(database: str, tmp_path: Path, app: str) -> None:
    healthy = command(app, database, tmp_path, "healthchecks")
    assert (healthy.returncode, healthy.stdout.count("OK")) == (0, 3), healthy.stderr
    words = ["defer", "--unknown", f"--queue={QUEUE}", "--queueing-lock=one", "test-work", '{"number": 1}']
    assert command(app, database, tmp_path, *words).returncode == 0
    again = command(app, database, tmp_path, *words)
    assert (again.returncode, "already a job in the queue" in again.stderr) == (1, True)
    assert (
        command(app, database, tmp_path, *words[:1], "--ignore-already-enqueued", *words[1:]).returncode == 0
    )
    listed = command(app, database, tmp_path, "shell", "list_jobs").stdout
    assert listed == "#1 test-work on test-line - [todo]\n"


async def test_the_engines_own_worker_process_runs_our_jobs(pools: str, tmp_path: Path) -> None:
    job_id = await put(1)
    ended = command(PLAIN, pools, tmp_path, "worker", "--one-shot", f"--queues={QUEUE}")
    assert (ended.returncode, ended.stdout) == (0, "worked on 1\n"), ended.stderr
    assert await shown(job_id) == "done"
