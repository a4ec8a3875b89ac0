"""What the operators' pages and the metrics ask of the database beside a long history.

    python -m benchmarks.queue_pages [--done 1000000] [--waiting 100000] [--later 200000] [--failed 30000] [--rounds 15]

The database is filled by SQL and measured right after, then with statistics, then vacuumed. The bare limit in the
same run is a count of 1,000 entries of one index.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg

from app import db, jobs, migrate, postgres, queue
from app.web import figures
from app.web.admin import queues

FILL = """
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, status, scheduled_at, owner)
SELECT queue, queue || '-task', -5, '{"videoId": 1}', %(status)s::procrastinate_job_status,
       CASE WHEN %(later)s THEN now() + number * interval '1 s' END, 1 + number %% 50
  FROM (SELECT number, (%(queues)s::text[])[1 + number %% %(lines)s] AS queue
          FROM generate_series(1, %(many)s) AS number) AS numbered"""
RECORDS = """
INSERT INTO job_records (job_id, workspace_id, correlation_id, put_at)
SELECT id, owner, 'trace-' || id, now() - interval '3 h' FROM procrastinate_jobs"""
ATTEMPTS = """
INSERT INTO attempts (job_id, workspace_id, round, worker_id, queue, task, started_at, ended_at, outcome, reason)
SELECT id, owner, 1, 1, queue_name, task_name, ended_at - interval '0.2 s', ended_at,
       CASE status WHEN 'failed' THEN 'gave_up' ELSE 'done' END, CASE status WHEN 'failed' THEN 'No.' END
  FROM (SELECT *, now() - (max(id) OVER () - id) * interval '0.3 s' AS ended_at
          FROM procrastinate_jobs WHERE status IN ('succeeded', 'failed')) AS ended
 ORDER BY id"""
# A busy week with its tallies joined by the hour, the last two hours by the minute, and the last five minutes as a
# worker wrote them, 20 batches a second.
TALLIES = """
INSERT INTO queue_tallies (at, queue, task, outcome, many, ran_s)
SELECT at, queue, queue || '-task', outcome, 10, 2.0
  FROM (SELECT date_trunc('hour', now()) - number * interval '1 h' AS at FROM generate_series(2, 165) AS number
         UNION ALL
        SELECT date_trunc('minute', now()) - number * interval '1 min' FROM generate_series(1, 120) AS number)
       AS joined
 CROSS JOIN unnest(%(queues)s::text[]) AS queue
 CROSS JOIN unnest('{done,failed,gave_up}'::text[]) AS outcome
 UNION ALL
SELECT now() - number * interval '50 ms', 'video-edit', 'video-edit-task', 'done', 10, 2.0
  FROM generate_series(1, 6000) AS number"""
BARE = """
SELECT count(*) FROM (SELECT FROM procrastinate_jobs
                       WHERE queue_name || '' = 'video-edit' AND status = 'failed' LIMIT 1000) AS counted"""
REQUEST: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace()))


async def look() -> None:
    await queues.look(REQUEST)


async def tabs() -> None:
    async with db.house() as conn:
        await queue.batch.counts(conn, queue.Filter())


async def one_task() -> None:
    async with db.house() as conn:
        await queue.batch.counts(conn, queue.Filter(task="video-edit-task"))


async def last_in_line() -> None:
    async with db.house() as conn:
        job_id = await db.value(conn, "SELECT max(id) FROM procrastinate_jobs")
        await queue.waiting_reason(conn, job_id)


async def scrape() -> None:
    await figures.read()


async def bare() -> None:
    async with db.house() as conn:
        await db.value(conn, BARE)


ASKED: dict[str, Callable[[], Awaitable[None]]] = {
    "bare count of 1,000": bare,
    "queues page": look,
    "jobs page, its tabs": tabs,
    "the tabs for one task": one_task,
    "why the last one waits": last_in_line,
    "scrape of /metrics": scrape,
}


async def timed(ask: Callable[[], Awaitable[None]], rounds: int) -> list[float]:
    found = []
    await ask()
    for _ in range(rounds):
        began = time.perf_counter()
        await ask()
        found.append((time.perf_counter() - began) * 1000)
    return found


async def measure(title: str, rounds: int) -> None:
    print(f"\n{title}, ms{'':24}{'best':>8}{'median':>8}{'worst':>8}{'ratio':>8}")
    limit = 0.0
    for name, ask in ASKED.items():
        found = await timed(ask, rounds)
        middle = statistics.median(found)
        limit = limit or middle
        print(f"  {name:30}{min(found):12.2f}{middle:8.2f}{max(found):8.2f}{middle / limit:8.1f}", flush=True)


def fill(dsn: str, args: argparse.Namespace) -> None:
    names = [line.name for line in jobs.QUEUES]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE procrastinate_jobs SET (autovacuum_enabled = off)")
        conn.execute("ALTER TABLE procrastinate_jobs DISABLE TRIGGER ALL")
        for status, later, many in (
            ("succeeded", False, args.done), ("failed", False, args.failed), ("todo", True, args.later),
            ("todo", False, args.waiting),
        ):  # fmt: skip
            values = {"status": status, "later": later, "queues": names, "lines": len(names), "many": many}
            conn.execute(FILL, values)
        conn.execute("ALTER TABLE procrastinate_jobs ENABLE TRIGGER ALL")
        conn.execute(RECORDS)
        conn.execute(ATTEMPTS)
        conn.execute(TALLIES, {"queues": names})


async def run(args: argparse.Namespace) -> None:
    # The server's socket needs a short path, and its account a way in when we are root.
    place = Path("/tmp") / f"backlot-bench-{time.monotonic_ns()}"
    place.mkdir(mode=0o711)
    server = postgres.start(place)
    try:
        await migrate.run(server.dsn)
        fill(server.dsn, args)
        await db.open_pools(server.dsn, pages=False)
        print(f"{args.done:,} done, {args.waiting:,} waiting, {args.later:,} later, {args.failed:,} failed")
        await measure("right after, without statistics", args.rounds)
        for word in ("ANALYZE", "VACUUM ANALYZE"):
            async with await db.connect(server.dsn) as conn:
                await conn.execute(word)
            await measure(f"after {word}", args.rounds)
        await db.close_pools()
    finally:
        server.release()
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, many in (("done", 1_000_000), ("waiting", 100_000), ("later", 200_000), ("failed", 30_000)):
        parser.add_argument(f"--{name}", type=int, default=many)
    parser.add_argument("--rounds", type=int, default=15)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
