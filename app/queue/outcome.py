"""The end of a run: attempt, job, hook and event in one fenced transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from app import db, limits, live, log
from app.errors import Superseded
from app.queue import policy, rows

GaveUp = Callable[..., Awaitable[None]]
ENDINGS = {"done": "succeeded", "gave_up": "failed", "unsure": "failed", "cancelled": "aborted"}
QUIET_QUEUES = frozenset({"upkeep"})
# Open pages of operators hear of outcomes once a second and process at most; the heartbeat tells the rest.
QUEUES_TOPIC = "queues"
_queues_pace = live.Pace(1.0)


@dataclass(frozen=True)
class Taken:
    """A job as a worker took it, with the number of its run."""

    job_id: int
    task: str
    queue: str
    args: dict[str, Any]
    run: int
    round: int
    workspace_id: int | None
    correlation_id: str
    tries: int
    rescues: int
    cancel_reason: str | None
    waited_s: float


async def save(
    conn: db.Conn, job: Taken, decision: policy.Decision, gave_up: GaveUp | None, detail: str | None = None
) -> None:
    """Write how the run ended and what becomes of its job. Raises Superseded when the run is no longer its
    owner.
    """
    ours = await db.run(
        conn,
        """
        UPDATE attempts
           SET ended_at = clock_timestamp(), outcome = %s, error_kind = %s, error_code = %s, reason = %s,
               detail = %s, next_at = %s
         WHERE run = %s AND outcome IS NULL""",
        [
            decision.outcome,
            decision.kind,
            decision.code,
            decision.reason,
            detail,
            decision.again_at,
            job.run,
        ],
    )
    if not ours:
        raise Superseded("Another run has taken over this job.")
    if decision.outcome == "lost":
        # The room says that a later run holds the thing; the job's row belongs to whoever has its open
        # attempt.
        await _end(conn, job, "aborted")
        return
    if decision.gives_up and gave_up is not None:
        await gave_up(
            conn, job_id=job.job_id, **_own(job.args), reason=decision.reason or "", code=decision.code or ""
        )
    if decision.outcome in ENDINGS:
        await _end(conn, job, ENDINGS[decision.outcome])
    else:
        if decision.outcome == "waiting":
            await limits.unstart(conn, f"job-{job.job_id}", f"queue-{job.queue}")
        await _again(conn, job, decision)
    if job.queue not in QUIET_QUEUES:
        await _tell(conn, job, decision)
        if _queues_pace():
            await live.tell(conn, QUEUES_TOPIC)


def _own(args: dict[str, Any]) -> dict[str, Any]:
    """Without the tick's time that the engine's timer adds."""
    return {name: value for name, value in args.items() if name != "timestamp"}


async def _end(conn: db.Conn, job: Taken, status: str) -> None:
    await conn.execute(
        """
        UPDATE procrastinate_jobs
           SET status = %s::procrastinate_job_status, attempts = attempts + 1, abort_requested = false
         WHERE id = %s AND status = 'doing'""",
        [status, job.job_id],
    )
    await conn.execute(
        """
        UPDATE job_records
           SET ended_at = clock_timestamp(), waiting_for = NULL, waiting_until = NULL
         WHERE job_id = %s""",
        [job.job_id],
    )
    await limits.give_back(conn, f"job-{job.job_id}")


async def _again(conn: db.Conn, job: Taken, decision: policy.Decision) -> None:
    """Back in line. Where a twin with the same `once` waits already, that twin does the work."""
    try:
        async with conn.transaction():
            await conn.execute(
                """
                UPDATE procrastinate_jobs
                   SET status = 'todo', scheduled_at = %s, attempts = attempts + 1, abort_requested = false,
                       worker_id = NULL
                 WHERE id = %s AND status = 'doing'""",
                [decision.again_at, job.job_id],
            )
    except psycopg.errors.UniqueViolation:
        log.info("a twin waits already; this job ends", job_id=job.job_id)
        await _end(conn, job, "aborted")
        return
    # A run that ended by itself clears the job of the suspicion that it kills its worker.
    await conn.execute(
        """
        UPDATE job_records
           SET waiting_for = %s, waiting_until = %s, rescues = CASE WHEN %s THEN 0 ELSE rescues END
         WHERE job_id = %s""",
        [decision.reason, decision.again_at, decision.outcome in ("waiting", "failed"), job.job_id],
    )
    if decision.outcome == "handed_back":
        await conn.execute("SELECT wake_queue(%s, %s)", [job.queue, job.job_id])


async def _tell(conn: db.Conn, job: Taken, decision: policy.Decision) -> None:
    names = {
        "done": "completed",
        "gave_up": "failed",
        "unsure": "failed",
        "cancelled": "cancelled",
        "failed": "attempt_failed",
    }
    if name := names.get(decision.outcome):
        failure = {} if decision.reason is None else {"reason": decision.reason, "code": decision.code}
        await rows.emit_end(conn, f"{job.task}.{name}", job.job_id, job.workspace_id, job.run, **failure)


async def wait_for_turn(conn: db.Conn, job: Taken, decision: policy.Decision) -> None:
    """The job was taken but its turn has not come (a limit): back in line, and no run is counted or shown."""
    if not await db.run(conn, "DELETE FROM attempts WHERE run = %s AND outcome IS NULL", [job.run]):
        raise Superseded("Another run has taken over this job.")
    await _again(conn, job, decision)


async def end_lost(conn: db.Conn, job: Taken, decision: policy.Decision, gave_up: GaveUp | None) -> None:
    """Give up a job whose run was already marked lost by its rescuer."""
    if gave_up is not None:
        await gave_up(
            conn, job_id=job.job_id, **_own(job.args), reason=decision.reason or "", code=decision.code or ""
        )
    await _end(conn, job, ENDINGS[decision.outcome])
    await _tell(conn, job, decision)


async def put_back(conn: db.Conn, job: Taken, decision: policy.Decision) -> None:
    """Put a job back in line whose run was already marked lost by its rescuer."""
    await _again(conn, job, decision)
