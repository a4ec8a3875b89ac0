"""A database with a past and a future: finished, waiting and future jobs, written by SQL as the peer would have.

Only for the two that stand on Procrastinate's tables, Backlot and the stock one.
"""

from __future__ import annotations

from typing import Any

import psycopg

from benchmarks.queue.ground import Ground
from benchmarks.queue.rivals import Peer

FINISHED, WAITING, FUTURE = 1_000_000, 100_000, 200_000
# Lower than every measured job's, so that what waits in the same queue comes after them.
LATER = -1000
# Ids follow the order of the calls; finished jobs ended within the last month.
JOBS = """
    INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, status, scheduled_at, attempts)
    SELECT %(queue)s, 'mark', %(priority)s, '{"number": 0}', %(status)s::procrastinate_job_status,
           CASE WHEN %(future)s THEN now() + interval '1 day' + number * interval '1 s' END, %(attempts)s
      FROM generate_series(1, %(many)s) AS number"""
EVENTS = """
    INSERT INTO procrastinate_events (job_id, type, at)
    SELECT id, type, now() - interval '30 d' + id * interval '2 s'
      FROM procrastinate_jobs, unnest(%(types)s::procrastinate_job_event_type[]) AS type
     WHERE status = %(status)s::procrastinate_job_status"""
RECORDS = """
    INSERT INTO job_records (job_id, correlation_id, put_at, ended_at, waiting_until)
    SELECT id, md5(id::text), now() - interval '30 d' + id * interval '2 s',
           CASE WHEN status = 'succeeded' THEN now() - interval '30 d' + id * interval '2 s' END, scheduled_at
      FROM procrastinate_jobs"""
ATTEMPTS = """
    INSERT INTO attempts (job_id, round, worker_id, queue, task, started_at, ended_at, outcome)
    SELECT id, 1, 1, queue_name, task_name, now() - interval '30 d' + id * interval '2 s',
           now() - interval '30 d' + id * interval '2 s', 'done'
      FROM procrastinate_jobs
     WHERE status = 'succeeded'"""
SUCCEEDED = ["deferred", "started", "succeeded"]


def fill(ground: Ground, peer: Peer, *, share: float = 1.0, same_queue: bool) -> str:
    """Make the template and give its name. With `same_queue` half of what waits is in the measured queue itself, of a
    lower priority; without, all of it is in another queue, so that the measured worker is idle.
    """
    name = f"past_{peer.module}_{'same' if same_queue else 'other'}"
    ground.clear()
    ground.copy(f"empty_{peer.module}", name)
    finished, waiting, future = (int(many * share) for many in (FINISHED, WAITING, FUTURE))
    here = waiting // 2 if same_queue else 0
    with psycopg.connect(ground.server.dsn_of(name), autocommit=True) as conn:
        # No triggers: neither the notices nor the events of each row, which are written below at once.
        conn.execute("SET session_replication_role = replica")
        _jobs(conn, "bench", 0, "succeeded", finished, attempts=1)
        _jobs(conn, "bench", 0, "todo", future, future=True)
        _jobs(conn, "elsewhere", 0, "todo", waiting - here)
        _jobs(conn, "bench", LATER, "todo", here)
        conn.execute(EVENTS, {"types": SUCCEEDED, "status": "succeeded"})
        conn.execute(EVENTS, {"types": ["deferred"], "status": "todo"})
        if peer.module == "house":
            conn.execute(RECORDS)
            conn.execute(ATTEMPTS)
        conn.execute("VACUUM (ANALYZE)")
    return name


def _jobs(
    conn: psycopg.Connection[Any], queue: str, priority: int, status: str, many: int, *, future: bool = False,
    attempts: int = 0,
) -> None:  # fmt: skip
    conn.execute(
        JOBS,
        {
            "queue": queue,
            "priority": priority,
            "status": status,
            "many": many,
            "future": future,
            "attempts": attempts,
        },
    )
