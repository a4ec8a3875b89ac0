"""What operators and waiting people are told: depth, oldest wait, living workers, and why a job waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app import config, db
from app.queue import policy

LIVING_S = 30


@dataclass(frozen=True)
class QueueHealth:
    """One queue. `waiting` may start now, `scheduled` later; `oldest_wait_s` is of those that may start."""

    name: str
    waiting: int
    scheduled: int
    running: int
    failed: int
    done: int
    oldest_wait_s: float | None
    workers: int
    paused: bool
    pause_reason: str | None
    stalled: int
    last_done_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class Worker:
    worker_id: int
    name: str
    host: str
    pid: int
    queues: list[str]
    version: str
    concurrency: int
    jobs: list[int]
    started_at: datetime
    seen_at: datetime
    stopping: bool
    listening: bool
    age_s: float

    @property
    def lives(self) -> bool:
        return self.age_s < LIVING_S


async def health(conn: db.Conn, names: list[str]) -> list[QueueHealth]:
    """These queues in the order given, and any other that has jobs. For the house only."""
    return await db.many(
        conn,
        QueueHealth,
        """
        WITH counted AS (
            SELECT name, sum(waiting) AS waiting, sum(scheduled) AS scheduled, sum(running) AS running,
                   sum(failed) AS failed, sum(stalled) AS stalled, sum(done) AS done
              FROM (SELECT queue_name::text AS name, count(*) FILTER (WHERE scheduled_at IS NULL) AS waiting,
                           count(scheduled_at) AS scheduled, 0 AS running, 0 AS failed, 0 AS stalled, 0 AS done
                      FROM procrastinate_jobs WHERE status = 'todo' GROUP BY queue_name
                     UNION ALL
                    SELECT jobs.queue_name, 0, 0, count(*), 0,
                           count(*) FILTER (WHERE leases.worker_id IS NULL AND workers.id IS NULL), 0
                      FROM procrastinate_jobs AS jobs
                      LEFT JOIN worker_leases AS leases
                             ON leases.worker_id = jobs.worker_id AND leases.seen_at > now() - interval '30 s'
                      LEFT JOIN procrastinate_workers AS workers
                             ON workers.id = jobs.worker_id AND workers.last_heartbeat > now() - interval '30 s'
                     WHERE status = 'doing'
                     GROUP BY jobs.queue_name
                     UNION ALL
                    SELECT queue_name, 0, 0, 0, count(*), 0, 0
                      FROM procrastinate_jobs WHERE status = 'failed' GROUP BY queue_name
                     UNION ALL
                    SELECT queue, 0, 0, 0, 0, 0, sum(many)
                      FROM queue_tallies
                     WHERE outcome = 'done' AND at > now() - interval '7 days'
                     GROUP BY queue) AS parts
             GROUP BY name),
        names AS (
            SELECT name, place FROM unnest(%(names)s::text[]) WITH ORDINALITY AS given (name, place)
             UNION ALL
            SELECT name, 1000 FROM counted WHERE name <> ALL (%(names)s::text[])),
        shown AS (
            SELECT names.name, coalesce(waiting, 0) AS waiting, coalesce(scheduled, 0) AS scheduled,
                   coalesce(running, 0) AS running, coalesce(failed, 0) AS failed, coalesce(done, 0) AS done,
                   (SELECT extract(epoch FROM now() - min(greatest(put_at, waiting_until)))::float8
                      FROM job_records
                     WHERE job_id IN (SELECT id FROM procrastinate_jobs AS jobs
                                       WHERE jobs.queue_name = names.name AND jobs.status = 'todo'
                                         AND jobs.scheduled_at IS NULL
                                       ORDER BY id
                                       LIMIT 100)) AS oldest_wait_s,
                   coalesce(stalled, 0) AS stalled, names.place,
                   (SELECT count(*) FROM worker_leases
                     WHERE names.name = ANY (queues) AND NOT stopping
                       AND seen_at > now() - interval '30 s') AS workers,
                   pauses.queue IS NOT NULL AS paused, pauses.reason AS pause_reason,
                   (SELECT max(at) FROM queue_tallies AS tallies
                     WHERE tallies.queue = names.name AND outcome = 'done'
                       AND at > now() - interval '1 day') AS last_done_at,
                   (SELECT reason FROM attempts
                     WHERE attempts.queue = names.name AND outcome IN ('failed', 'gave_up', 'lost')
                       AND ended_at > now() - interval '1 day'
                     ORDER BY ended_at DESC LIMIT 1) AS last_error
              FROM names
              LEFT JOIN counted ON counted.name = names.name
              LEFT JOIN pauses ON pauses.queue = names.name AND pauses.kind = 'queue')
        SELECT {columns} FROM shown ORDER BY place, name""",
        {"names": names},
    )


async def by_task(conn: db.Conn) -> list[tuple[str, str, int, int]]:
    """(queue, task, queued, running) of everything that is not over, for the metrics (S2.84)."""
    found = await db.rows(
        conn,
        """
        SELECT queue_name, task_name,
               count(*) FILTER (WHERE status = 'todo'), count(*) FILTER (WHERE status = 'doing')
          FROM procrastinate_jobs
         WHERE status IN ('todo', 'doing')
         GROUP BY queue_name, task_name""",
    )
    return [(str(name), str(task), int(queued), int(running)) for name, task, queued, running in found]


async def workers(conn: db.Conn) -> list[Worker]:
    """Every worker that has not signed off, the living first."""
    return await db.many(
        conn,
        Worker,
        """
        SELECT {columns}
          FROM (SELECT worker_id, name, host, pid, queues, version, concurrency, coalesce(jobs, '{}') AS jobs,
                       started_at, seen_at, stopping, listening,
                       extract(epoch FROM clock_timestamp() - seen_at)::float8 AS age_s
                  FROM worker_leases) AS seen
         ORDER BY age_s >= 30, worker_id""",
    )


async def stalled(conn: db.Conn) -> int:
    """Jobs in `doing` whose worker has been silent for 30 s."""
    return int(
        await db.value(
            conn,
            """
            SELECT count(*)
              FROM procrastinate_jobs AS jobs
              LEFT JOIN worker_leases AS leases
                     ON leases.worker_id = jobs.worker_id AND leases.seen_at > now() - interval '30 s'
              LEFT JOIN procrastinate_workers AS workers
                     ON workers.id = jobs.worker_id AND workers.last_heartbeat > now() - interval '30 s'
             WHERE jobs.status = 'doing' AND leases.worker_id IS NULL AND workers.id IS NULL""",
        )
    )


async def waiting_reason(conn: db.Conn, job_id: int) -> dict[str, Any] | None:
    """Why an own job waits, for a page: {kind, text, until, ahead}; None when it does not wait.

    Kinds: `paused`, `no_worker`, `limit` (a limit or a retry: text and time), `turn` (jobs ahead of it).
    """
    row = await (
        await conn.execute(
            """
        SELECT job.queue, job.status, job.scheduled_at, job.waiting_for, pauses.queue IS NOT NULL AS paused,
               living_workers(job.queue) AS workers, jobs_ahead(job.id) AS ahead
          FROM owned_jobs AS job
          LEFT JOIN pauses ON pauses.queue = job.queue
         WHERE job.id = %s""",
            [job_id],
        )
    ).fetchone()
    if row is None or row[1] != "todo":
        return None
    queue, _, until, waiting_for, paused, living, ahead = row
    if paused:
        return _waits("paused", f"An operator has paused the queue {queue}.")
    if not living:
        return _waits("no_worker", f"No worker is running for the queue {queue}.")
    if waiting_for and until is not None:
        return _waits("limit", waiting_for, until=until)
    if ahead:
        return _waits(
            "turn", f"{ahead} other {'job is' if ahead == 1 else 'jobs are'} ahead of it.", ahead=ahead
        )
    return _waits("turn", "It is next in line.", until=until, ahead=0)


def _waits(
    kind: str, text: str, *, until: datetime | None = None, ahead: int | None = None
) -> dict[str, Any]:
    return {"kind": kind, "text": text, "until": until, "ahead": ahead}


async def usage(conn: db.Conn) -> dict[str, Any]:
    """Queue operations of this calendar month against the budget: total, limit, percentage, status (S1.51)."""
    total = int(
        await db.value(
            conn,
            """
            SELECT coalesce(sum(operations), 0)
              FROM queue_usage
             WHERE month = date_trunc('month', now() AT TIME ZONE 'UTC')""",
        )
    )
    limit = config.get().queue_budget
    percentage = round(100 * total / limit, 2)
    status = "EXCEEDED" if percentage >= 100 else "WARNING" if percentage >= 80 else "OK"
    return {"total": total, "limit": limit, "percentage": percentage, "status": status}


def effective(queues: list[policy.Queue]) -> list[policy.EffectiveQueue]:
    return [queue.effective() for queue in queues]
