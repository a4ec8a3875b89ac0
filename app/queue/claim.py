"""What a worker asks of the database: its registration, its heartbeat, its next job. One statement each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from app import db, metrics
from app.errors import NotYet, Permanent
from app.queue import outcome, policy


class Turn(NotYet):
    """Not this job's turn by a limit of its queue: no run is counted or shown."""


@dataclass(frozen=True)
class Bound:
    """A job's policy, the step that does it, and what the room does when it is given up."""

    job: policy.Job
    step: Callable[..., Awaitable[None]]
    gave_up: outcome.GaveUp | None

    def own(self, args: dict[str, Any]) -> dict[str, Any]:
        """The job's own arguments; the engine's timer adds the time of its tick, which no step of ours needs."""
        return {name: args[name] for name in self.job.args if name in args}


@dataclass(frozen=True)
class Card:
    name: str
    host: str
    process: str
    pid: int
    queues: list[str]
    version: str
    concurrency: int


async def register(conn: db.Conn, card: Card) -> int:
    """Enter a new worker; gives its id."""
    worker_id = await db.value(
        conn,
        """
        WITH worker AS (SELECT worker_id FROM procrastinate_register_worker_v1())
        INSERT INTO worker_leases (worker_id, name, host, process, pid, queues, version, concurrency)
        SELECT worker_id, %s, %s, %s, %s, %s, %s, %s FROM worker
        RETURNING worker_id""",
        [card.name, card.host, card.process, card.pid, card.queues, card.version, card.concurrency],
    )
    return int(worker_id)


async def count_usage(conn: db.Conn, operations: int) -> None:
    """Add to this month's count of queue operations (S1.50): one row, written with the heartbeat."""
    await conn.execute(
        """
        INSERT INTO queue_usage (month, operations)
        VALUES (date_trunc('month', now() AT TIME ZONE 'UTC'), %s)
            ON CONFLICT (month) DO UPDATE SET operations = queue_usage.operations + excluded.operations""",
        [operations],
    )


async def beat(conn: db.Conn, worker_id: int, runs: list[int], *, listening: bool, stopping: bool) -> bool:
    """Renew the lease and say what runs here. False: this worker was removed and has to register anew."""
    touched = await db.value(
        conn,
        """
        WITH beat AS (
            UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %(worker)s RETURNING id)
        UPDATE worker_leases
           SET seen_at = clock_timestamp(), runs = %(runs)s, listening = %(listening)s,
               stopping = %(stopping)s
         WHERE worker_id = (SELECT id FROM beat)
        RETURNING worker_id""",
        {"worker": worker_id, "runs": runs, "listening": listening, "stopping": stopping},
    )
    return touched is not None


async def sign_off(conn: db.Conn, worker_id: int | None) -> None:
    """Leave the lists. May run again."""
    await conn.execute("DELETE FROM worker_leases WHERE worker_id = %s", [worker_id])
    await conn.execute("DELETE FROM procrastinate_workers WHERE id = %s", [worker_id])


async def cancels(conn: db.Conn, job_ids: list[int]) -> dict[int, str]:
    """Which of these running jobs somebody asked to cancel, for when the notice was lost."""
    if not job_ids:
        return {}
    found = await db.rows(
        conn,
        """
        SELECT jobs.id, coalesce(records.cancel_reason, 'Cancelled.')
          FROM procrastinate_jobs AS jobs
          JOIN job_records AS records ON records.job_id = jobs.id
         WHERE jobs.id = ANY (%s) AND jobs.abort_requested""",
        [job_ids],
    )
    return {int(job_id): str(reason) for job_id, reason in found}


async def claim(conn: db.Conn, worker_id: int, queues: list[str]) -> outcome.Taken | None:
    """The next job of these queues that may run, with its run opened; None when there is none."""
    cursor = await conn.execute(
        """
        WITH going AS (
            SELECT coalesce(array_agg(name), '{}') AS names
              FROM unnest(%(queues)s::varchar[]) AS name
             WHERE NOT EXISTS (SELECT FROM pauses WHERE pauses.queue = name)),
        job AS MATERIALIZED (
            SELECT taken.*
              FROM going, procrastinate_fetch_job_v2(going.names, %(worker)s) AS taken
             WHERE taken.id IS NOT NULL),
        newcomer AS (
            INSERT INTO job_records (job_id, correlation_id)
            SELECT id, 'job-' || id FROM job
                ON CONFLICT DO NOTHING),
        run AS (
            INSERT INTO attempts (job_id, workspace_id, round, worker_id, queue, task)
            SELECT job.id, records.workspace_id, coalesce(records.round, 1), %(worker)s, job.queue_name,
                   job.task_name
              FROM job LEFT JOIN job_records AS records ON records.job_id = job.id
            RETURNING run, round)
        SELECT job.id, job.task_name, job.queue_name, job.args, run.run, run.round, records.workspace_id,
               coalesce(records.correlation_id, 'job-' || job.id),
               1 + (SELECT count(*) FROM attempts
                     WHERE attempts.job_id = job.id AND attempts.round = run.round
                       AND attempts.outcome IN ('failed', 'unsure')),
               coalesce(records.rescues, 0), records.cancel_reason,
               extract(epoch FROM clock_timestamp()
                       - greatest(records.put_at, records.waiting_until, job.scheduled_at))::float8
          FROM job CROSS JOIN run
          LEFT JOIN job_records AS records ON records.job_id = job.id""",
        {"queues": queues, "worker": worker_id},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return outcome.Taken(
        job_id=row[0], task=row[1], queue=row[2], args=row[3], run=row[4], round=row[5], workspace_id=row[6],
        correlation_id=row[7], tries=row[8], rescues=row[9], cancel_reason=row[10], waited_s=row[11] or 0.0,
    )  # fmt: skip


async def next_due_s(conn: db.Conn, queues: list[str]) -> float:
    """Seconds until the next scheduled job of these queues is due; a large number when there is none."""
    seconds: Any = await db.value(
        conn,
        """
        SELECT extract(epoch FROM min(scheduled_at) - clock_timestamp())::float8
          FROM procrastinate_jobs
         WHERE status = 'todo' AND queue_name = ANY (%s::varchar[]) AND scheduled_at > now()
           AND NOT EXISTS (SELECT FROM pauses WHERE pauses.queue = queue_name)""",
        [queues],
    )
    return 1e9 if seconds is None else float(seconds)


def unknown_task(job: outcome.Taken) -> Exception:
    """A name nobody here has: perhaps a newer deploy put it, so it waits ten minutes before it fails."""
    if job.waited_s < policy.UNKNOWN_FOR_S:
        return NotYet(
            f"No worker here knows {job.task} yet.", after_s=policy.UNKNOWN_AGAIN_S, code="unknown_task"
        )
    return Permanent(f"No worker knows {job.task}.", code="unknown_task")


def count(labels: dict[str, str], decision: policy.Decision, seconds: float) -> None:
    """Add a run to this process's metrics."""
    metrics.job_duration_seconds.labels(**labels).observe(seconds)
    if decision.outcome == "done":
        metrics.jobs_done.labels(**labels).inc()
    elif decision.gives_up:
        metrics.jobs_failed.labels(**labels).inc()
    elif decision.outcome == "failed":
        metrics.jobs_retried.labels(**labels).inc()
