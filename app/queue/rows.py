"""Jobs as rows: put, look at, retry, cancel, pause. Every verb runs inside the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from app import config, db, events, log
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


_JOB = """
    SELECT jobs.id, jobs.queue_name AS queue, jobs.task_name AS task, jobs.status::text AS status, jobs.priority,
           jobs.args, records.workspace_id, coalesce(records.correlation_id, '') AS correlation_id,
           coalesce(records.put_at, to_timestamp(0)) AS put_at, jobs.scheduled_at, records.waiting_for,
           records.waiting_until, records.cancel_reason, records.ended_at, coalesce(records.round, 1) AS round,
           coalesce(records.rescues, 0) AS rescues, jobs.lock, jobs.queueing_lock AS once, jobs.worker_id,
           (SELECT count(*) FROM attempts
             WHERE attempts.job_id = jobs.id AND attempts.round = coalesce(records.round, 1)
               AND coalesce(outcome, 'running') NOT IN ('waiting', 'handed_back')) AS tries,
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
    """What an operator looks for; None is anything. `words` is looked for in reasons and codes."""

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


async def find(conn: db.Conn, wanted: Filter, *, most: int = 50) -> list[JobRow]:
    """Jobs that match, newest first. For the house only: the page role has no right on the engine's tables."""
    cursor = conn.cursor(row_factory=psycopg.rows.class_row(JobRow))
    await cursor.execute(
        _JOB
        + """
     WHERE (%(statuses)s::text[] IS NULL OR jobs.status::text = ANY (%(statuses)s))
       AND (%(queue)s::text IS NULL OR jobs.queue_name = %(queue)s)
       AND (%(task)s::text IS NULL OR jobs.task_name = %(task)s)
       AND (%(workspace_id)s::bigint IS NULL OR records.workspace_id = %(workspace_id)s)
       AND (%(words)s::text IS NULL OR position(lower(%(words)s) IN
            lower(coalesce(latest.reason, '') || ' ' || coalesce(latest.error_code, ''))) > 0)
       AND (%(before_id)s::bigint IS NULL OR jobs.id < %(before_id)s)
     ORDER BY jobs.id DESC
     LIMIT %(most)s""",
        {
            "statuses": wanted.engine_statuses(),
            "queue": wanted.queue,
            "task": wanted.task,
            "workspace_id": wanted.workspace_id,
            "words": wanted.words,
            "before_id": wanted.before_id,
            "most": most,
        },
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
    """Every run of the job that was a run, newest first."""
    return await db.many(
        conn,
        Attempt,
        "SELECT {columns} FROM attempts WHERE job_id = %s ORDER BY run DESC LIMIT 100",
        [job_id],
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


async def discard(conn: db.Conn, job_id: int) -> None:
    """Remove an ended job with its attempts for good. The thing it worked on stays as it is."""
    gone = await db.run(
        conn,
        "DELETE FROM procrastinate_jobs WHERE id = %s AND status NOT IN ('todo', 'doing')",
        [job_id],
    )
    if not gone:
        raise WrongState("This job is not over: cancel it first.", code="not_over")


async def pause(conn: db.Conn, queue: str, *, by: int, reason: str = "") -> None:
    """Let no worker start a job of this queue; what runs goes on. Twice is once."""
    await conn.execute(
        "INSERT INTO pauses (queue, reason, paused_by) VALUES (%s, %s, %s) ON CONFLICT (queue) DO NOTHING",
        [queue, reason, by],
    )


async def resume(conn: db.Conn, queue: str) -> None:
    """Let the queue go on; its workers are woken."""
    await conn.execute("DELETE FROM pauses WHERE queue = %s", [queue])
    await conn.execute("SELECT wake_queue(%s, 0)", [queue])


async def audit(
    conn: db.Conn, user_id: int | None, action: str, subject: str, *, many: int = 1, **detail: Any
) -> None:
    """Write down what an operator did, in the transaction that does it."""
    await conn.execute(
        "INSERT INTO audit (user_id, action, subject, many, detail) VALUES (%s, %s, %s, %s, %s)",
        [user_id, action, subject, many, Jsonb(detail)],
    )


async def emit_end(
    conn: db.Conn, name: str, job_id: int, workspace_id: int | None, run: int | None, **detail: Any
) -> None:
    """The completion or failure event of a task (S2.46, S2.47)."""
    await events.emit(conn, name, f"job-{job_id}", workspace_id=workspace_id, run=run, **detail)


async def statuses(conn: db.Conn, job_ids: Sequence[int]) -> dict[int, str]:
    """The engine's status of these jobs; one that is gone is missing."""
    found = await db.rows(
        conn, "SELECT id, status::text FROM procrastinate_jobs WHERE id = ANY (%s)", [list(job_ids)]
    )
    return {int(job_id): str(status) for job_id, status in found}
