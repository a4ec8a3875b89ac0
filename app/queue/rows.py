"""Jobs as rows: put, look at, retry, cancel, pause. Every verb runs inside the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from app import config, db, log
from app.errors import NotFound, Refused, WrongState
from app.queue import policy

# The words pages, events and the API use for the engine's.
SHOWN = {
    "todo": "waiting",
    "doing": "running",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "aborted": "cancelled",
}
# What operators may look for: `waiting` may start now, `scheduled` later (a time, a limit, a retry).
STAGES = ("waiting", "scheduled", "running", "failed", "done", "cancelled")
# Jobs looked through for words or a correlation id: a search must end, however long the history.
LOOK = 20_000
# Before every priority of the product, so that a cancelled job tells its room at once.
FIRST = policy.to_engine(0)


@dataclass(frozen=True)
class JobRow:
    """A job as operators see it. `status` is the engine's word, `shown` ours."""

    id: int
    queue: str
    task: str
    status: str
    priority: int
    args: dict[str, Any]
    workspace_id: int | None
    correlation_id: str
    put_at: datetime
    scheduled_at: datetime | None
    waiting_for: str | None
    waiting_until: datetime | None
    cancel_reason: str | None
    ended_at: datetime | None
    round: int
    rescues: int
    lock: str | None
    once: str | None
    worker_id: int | None
    tries: int
    last_reason: str | None
    last_code: str | None

    @property
    def shown(self) -> str:
        if self.status == "todo" and self.scheduled_at is not None and self.waiting_for is None:
            return "scheduled"
        return SHOWN[self.status]

    @property
    def cancelling(self) -> bool:
        """Somebody asked to cancel it and no worker has seen to that yet."""
        return self.cancel_reason is not None and not self.over

    @property
    def stage(self) -> str:
        """The tab it stands in: one of STAGES."""
        if self.status == "todo" and self.scheduled_at is not None and self.scheduled_at > datetime.now(UTC):
            return "scheduled"
        return SHOWN[self.status]

    @property
    def product_priority(self) -> int:
        return policy.from_engine(self.priority)

    @property
    def over(self) -> bool:
        return self.status not in ("todo", "doing")


@dataclass(frozen=True)
class Attempt:
    run: int
    job_id: int
    round: int
    worker_id: int
    queue: str
    task: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error_kind: str | None
    error_code: str | None
    reason: str | None
    detail: str | None
    next_at: datetime | None

    @property
    def seconds(self) -> float | None:
        return None if self.ended_at is None else (self.ended_at - self.started_at).total_seconds()


async def defer(
    conn: db.Conn,
    job: policy.Job,
    *,
    workspace_id: int | None,
    priority: int | None = None,
    at: datetime | None = None,
    **args: Any,
) -> int:
    """Put the job in the caller's transaction and give its id; a rollback takes it along.

    With `once`, a twin that still waits is found and its id given instead. Refused with 503 and the code
    `queue_disabled` when QUEUE_ENABLED is false (S1.11).
    """
    if not config.get().queue_enabled:
        raise Refused("The queue is switched off (QUEUE_ENABLED=false).", code="queue_disabled", status=503)
    job.check(args)
    job_id: int = await db.value(
        conn,
        "SELECT put_job(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            job.queue.name,
            job.name,
            policy.to_engine(job.priority if priority is None else priority),
            job.filled(job.lock, args),
            job.filled(job.once, args),
            Jsonb(args),
            at,
            workspace_id,
            log.correlation_id() or uuid.uuid4().hex,
        ],
    )
    return job_id


async def defer_many(
    conn: db.Conn,
    job: policy.Job,
    *,
    workspace_id: int | None,
    args: Sequence[dict[str, Any]],
    priority: int | None = None,
    at: datetime | None = None,
) -> list[int]:
    """Put one job for each of `args`, in one statement of the caller's transaction; gives the ids of the new ones,
    in order. One whose twin with the same `once` waits already is left out. Refused like `defer`.
    """
    if not config.get().queue_enabled:
        raise Refused("The queue is switched off (QUEUE_ENABLED=false).", code="queue_disabled", status=503)
    for given in args:
        job.check(given)
    found = await db.rows(
        conn,
        "SELECT put_jobs(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            job.queue.name,
            job.name,
            policy.to_engine(job.priority if priority is None else priority),
            [job.filled(job.lock, given) for given in args] if job.lock else None,
            [job.filled(job.once, given) for given in args] if job.once else None,
            Jsonb(list(args)),
            at,
            workspace_id,
            log.correlation_id() or uuid.uuid4().hex,
        ],
    )
    return [int(row[0]) for row in found]


_JOB = """
    SELECT jobs.id, jobs.queue_name AS queue, jobs.task_name AS task, jobs.status::text AS status, jobs.priority,
           jobs.args, records.workspace_id, coalesce(records.correlation_id, '') AS correlation_id,
           coalesce(records.put_at, to_timestamp(0)) AS put_at, jobs.scheduled_at, records.waiting_for,
           records.waiting_until, records.cancel_reason,
           CASE WHEN jobs.status NOT IN ('todo', 'doing')
                THEN coalesce(records.ended_at, (SELECT max(attempts.ended_at) FROM attempts
                                                  WHERE attempts.job_id = jobs.id)) END AS ended_at,
           coalesce(records.round, 1) AS round,
           coalesce(records.rescues, 0) AS rescues, jobs.lock, jobs.queueing_lock AS once, jobs.worker_id,
           (jobs.status = 'doing')::integer
           + (SELECT count(*) FROM attempts
               WHERE attempts.job_id = jobs.id AND attempts.round = coalesce(records.round, 1)
                 AND outcome NOT IN ('waiting', 'handed_back')) AS tries,
           latest.reason AS last_reason, latest.error_code AS last_code
      FROM procrastinate_jobs AS jobs
      LEFT JOIN job_records AS records ON records.job_id = jobs.id
      LEFT JOIN LATERAL (SELECT reason, error_code
                           FROM attempts
                          WHERE attempts.job_id = jobs.id AND outcome <> 'handed_back'
                          ORDER BY run DESC
                          LIMIT 1) AS latest ON true
"""


@dataclass(frozen=True)
class Filter:
    """What an operator looks for; None is anything. `status` is one of STAGES. `words` are looked for in the
    last reason and code of the newest LOOK jobs; a correlation id is found too.
    """

    status: str | None = None
    queue: str | None = None
    task: str | None = None
    workspace_id: int | None = None
    words: str | None = None
    before_id: int | None = None

    def engine_statuses(self) -> list[str] | None:
        if self.status is None:
            return None
        if self.status == "scheduled":
            return ["todo"]
        return [engine for engine, shown in SHOWN.items() if shown == self.status]

    def params(self, most: int) -> dict[str, Any]:
        """What `NEAR` and `MATCHES` ask for."""
        return {
            "statuses": self.engine_statuses(),
            "later": {"waiting": False, "scheduled": True}.get(self.status or ""),
            "queue": self.queue,
            "task": self.task,
            "workspace_id": self.workspace_id,
            "words": self.words,
            "before_id": self.before_id,
            "most": most,
            "look": most if self.words is None else LOOK,
        }


# Ids of the newest jobs that fit by what has a column of its own.
NEAR = """
        SELECT near.id
          FROM procrastinate_jobs AS near
          LEFT JOIN job_records AS noted ON noted.job_id = near.id
         WHERE (%(statuses)s::procrastinate_job_status[] IS NULL
                OR near.status = ANY (%(statuses)s::procrastinate_job_status[]))
           AND (%(later)s::boolean IS NULL
                OR (coalesce(near.scheduled_at, '-infinity') > now()) = %(later)s::boolean)
           AND (%(queue)s::text IS NULL OR near.queue_name = %(queue)s)
           AND (%(task)s::text IS NULL OR near.task_name = %(task)s)
           AND (%(workspace_id)s::bigint IS NULL OR noted.workspace_id = %(workspace_id)s)
           AND (%(before_id)s::bigint IS NULL OR near.id < %(before_id)s)
         ORDER BY near.id DESC
         LIMIT %(look)s
"""
# The rest of the filter, over `records` and `latest` of those.
MATCHES = """
       (%(words)s::text IS NULL OR records.correlation_id = %(words)s
        OR position(lower(%(words)s) IN
                    lower(coalesce(latest.reason, '') || ' ' || coalesce(latest.error_code, ''))) > 0)
"""


async def find(conn: db.Conn, wanted: Filter, *, most: int = 50) -> list[JobRow]:
    """Jobs that match, newest first. For the house only: the page role has no right on the engine's tables."""
    cursor = conn.cursor(row_factory=psycopg.rows.class_row(JobRow))
    await cursor.execute(
        _JOB + " WHERE jobs.id IN (" + NEAR + ") AND " + MATCHES + " ORDER BY jobs.id DESC LIMIT %(most)s",
        wanted.params(most),
    )
    return await cursor.fetchall()


async def get(conn: db.Conn, job_id: int) -> JobRow:
    cursor = conn.cursor(row_factory=psycopg.rows.class_row(JobRow))
    await cursor.execute(_JOB + " WHERE jobs.id = %s", [job_id])
    row = await cursor.fetchone()
    if row is None:
        raise NotFound("There is no such job.")
    return row


async def attempts(conn: db.Conn, job_id: int) -> list[Attempt]:
    """Every run of the job, newest first; the one that goes on has no outcome yet, and no number (0) until its
    worker's next heartbeat tells it.
    """
    return await db.many(
        conn,
        Attempt,
        """
        SELECT {columns}
          FROM (SELECT run, job_id, round, worker_id, queue, task, started_at, ended_at, outcome, error_kind,
                       error_code, reason, detail, next_at
                  FROM attempts
                 WHERE job_id = %(job)s AND outcome IS NOT NULL
                 UNION ALL
                SELECT coalesce(leases.runs[array_position(leases.jobs, jobs.id)], 0), jobs.id,
                       coalesce(records.round, 1), coalesce(jobs.worker_id, 0), jobs.queue_name, jobs.task_name,
                       coalesce((SELECT max(at) FROM procrastinate_events AS told
                                  WHERE told.job_id = jobs.id AND told.type = 'started'), now()),
                       NULL, NULL, NULL, NULL, NULL, NULL, NULL
                  FROM procrastinate_jobs AS jobs
                  LEFT JOIN job_records AS records ON records.job_id = jobs.id
                  LEFT JOIN worker_leases AS leases ON leases.worker_id = jobs.worker_id
                 WHERE jobs.id = %(job)s AND jobs.status = 'doing') AS runs
         ORDER BY outcome IS NULL DESC, run DESC
         LIMIT 100""",
        {"job": job_id},
    )


async def retry(conn: db.Conn, job_id: int) -> None:
    """Put an ended job back in line with a fresh count of tries. A second call raises WrongState."""
    try:
        async with conn.transaction():
            again = await db.value(conn, "SELECT retry_job(%s)", [job_id])
    except psycopg.errors.UniqueViolation as error:
        raise WrongState("The same work already waits in line.", code="already_waiting") from error
    if not again:
        raise WrongState("This job is not over: it cannot be retried now.", code="not_over")


async def retry_ended(conn: db.Conn, job_id: int | None) -> bool:
    """Retry this job if it ended without success; False when there is none to retry, and nothing is changed."""
    if job_id is None:
        return False
    try:
        await retry(conn, job_id)
    except WrongState:
        return False
    return True


async def cancel(conn: db.Conn, job_id: int, reason: str) -> bool:
    """Take a waiting job out of the line, or ask the worker that runs it to stop; False when it is over
    already.
    """
    return bool(await db.value(conn, "SELECT cancel_job(%s, %s)", [job_id, reason]))


async def stop(conn: db.Conn, job_id: int, reason: str) -> bool:
    """Cancel so that the job's room hears of it; False when the job is over. For the house only.

    A waiting job becomes the next one to be taken: its worker sees the reason, runs nothing, and lets the
    room give up. Until then it is `cancelling`. One that runs is asked to stop. Twice is once.
    """
    found = await db.rows(
        conn,
        "SELECT status::text, queue_name FROM procrastinate_jobs WHERE id = %s FOR UPDATE",
        [job_id],
    )
    if not found or found[0][0] not in ("todo", "doing"):
        return False
    status, queue = found[0]
    if status == "doing":
        return await cancel(conn, job_id, reason)
    await conn.execute(
        """
        INSERT INTO job_records (job_id, correlation_id, cancel_reason)
        VALUES (%(id)s, 'job-' || %(id)s::text, %(reason)s)
            ON CONFLICT (job_id) DO UPDATE
           SET cancel_reason = excluded.cancel_reason, waiting_for = NULL, waiting_until = NULL""",
        {"id": job_id, "reason": reason},
    )
    await conn.execute(
        "UPDATE procrastinate_jobs SET scheduled_at = NULL, priority = %s WHERE id = %s", [FIRST, job_id]
    )
    await conn.execute("SELECT wake_queue(%s, %s)", [queue, job_id])
    return True


async def cancel_by_operator(conn: db.Conn, job_id: int, by: int | None, reason: str) -> None:
    """`stop`, written down as this operator's act. WrongState when the job is over already."""
    if not await stop(conn, job_id, reason):
        raise WrongState("This job is over already: there is nothing to cancel.", code="over")
    await audit(conn, by, "job.cancelled", f"job-{job_id}", reason=reason)


async def waiting_twin(conn: db.Conn, job: JobRow) -> int | None:
    """The job that waits with the same `once`, which is why this one cannot be put in line again."""
    found = await db.value(
        conn,
        "SELECT id FROM procrastinate_jobs WHERE queueing_lock = %s AND status = 'todo' AND id <> %s",
        [job.once, job.id],
    )
    return None if found is None else int(found)


async def discard(conn: db.Conn, job_id: int) -> None:
    """Remove an ended job with its attempts for good. The thing it worked on stays as it is."""
    gone = await db.run(
        conn,
        "DELETE FROM procrastinate_jobs WHERE id = %s AND status NOT IN ('todo', 'doing')",
        [job_id],
    )
    if not gone:
        raise WrongState("This job is not over: cancel it first.", code="not_over")


async def audit(
    conn: db.Conn, user_id: int | None, action: str, subject: str, *, many: int = 1, **detail: Any
) -> None:
    """Write down what an operator did, in the transaction that does it."""
    await conn.execute(
        "INSERT INTO audit (user_id, action, subject, many, detail) VALUES (%s, %s, %s, %s, %s)",
        [user_id, action, subject, many, Jsonb(detail)],
    )


async def statuses(conn: db.Conn, job_ids: Sequence[int]) -> dict[int, str]:
    """The engine's status of these jobs; one that is gone is missing."""
    found = await db.rows(
        conn, "SELECT id, status::text FROM procrastinate_jobs WHERE id = ANY (%s)", [list(job_ids)]
    )
    return {int(job_id): str(status) for job_id, status in found}
