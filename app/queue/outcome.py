"""The end of a run that did not simply succeed: job, hook, attempt and tally in one fenced transaction.

A run is fenced by its turn: the worker that holds the job and the engine's count of attempts, which every
return to the line raises. Runs that went well are written many at a time by `pump`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import psycopg

from app import db, limits, live, log
from app.errors import Superseded
from app.queue import policy
from app.queue.running import current

GaveUp = Callable[..., Awaitable[None]]
ENDINGS = {
    "done": "succeeded",
    "gave_up": "failed",
    "unsure": "failed",
    "cancelled": "aborted",
    "lost": "aborted",
}
QUIET_QUEUES = frozenset({"upkeep"})
# Open pages of operators hear of outcomes once a second and process at most; the heartbeat tells the rest.
QUEUES_TOPIC = "queues"
_queues_pace = live.Pace(1.0)


class Taken(NamedTuple):
    """A job as a worker took it. `turn` fences its row, `run` what its step writes. One that has not begun by
    `begin_by` (monotonic clock) goes back: its start is counted as no later.
    """

    job_id: int
    queue: str
    task: str
    args: dict[str, Any]
    turn: int
    run: int
    round: int
    workspace_id: int | None
    correlation_id: str
    tries: int
    rescues: int
    cancel_reason: str | None
    waited_s: float | None
    begin_by: float | None = None


async def save(
    conn: db.Conn,
    worker_id: int | None,
    job: Taken,
    decision: policy.Decision,
    gave_up: GaveUp | None,
    *,
    age_s: float,
    ran_s: float,
) -> None:
    """Write how the run ended and what becomes of its job. Raises Superseded when the run is no longer its
    owner; then nothing is written.

    `age_s` is how long ago it began, `ran_s` how long it ran. The room's hook comes before the job's row, since
    rooms lock their own rows first, too.
    """
    asked_to_stop = await check(conn, worker_id, job)
    if decision.gives_up and gave_up is not None:
        await gave_up(
            conn, job_id=job.job_id, **own(job.args), reason=decision.reason or "", code=decision.code or ""
        )
    ended = decision.outcome in ENDINGS or not await again(
        conn, worker_id, job, decision, asked_to_stop=asked_to_stop
    )
    if ended:
        await end(conn, worker_id, job, ENDINGS.get(decision.outcome, "aborted"))
    await note(conn, worker_id, job, decision, age_s=age_s, ran_s=ran_s)
    if decision.outcome == "waiting":
        await limits.unstart(conn, f"job-{job.job_id}", f"queue-{job.queue}")
    if job.queue not in QUIET_QUEUES and decision.outcome not in ("waiting", "handed_back", "lost"):
        await live.tell(conn, *topics([job]))


async def check(conn: db.Conn, worker_id: int | None, job: Taken) -> bool:
    """Raises Superseded unless the job still runs in this very turn. Gives whether it was asked to stop."""
    found = await db.value(
        conn,
        """
        SELECT abort_requested FROM procrastinate_jobs
         WHERE id = %s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %s AND attempts = %s""",
        [job.job_id, worker_id, job.turn],
    )
    if found is None:
        raise Superseded("Another run has taken over this job.")
    return bool(found)


def topics(ended: list[Taken]) -> list[str]:
    """The live topics of jobs that have ended: each job, its workspace, and once a second the operators' pages."""
    told = {f"job-{job.job_id}" for job in ended if job.queue not in QUIET_QUEUES}
    told |= {f"workspace-{job.workspace_id}" for job in ended if job.workspace_id is not None}
    if told and _queues_pace():
        told.add(QUEUES_TOPIC)
    return sorted(told)


def own(args: dict[str, Any]) -> dict[str, Any]:
    """Without the tick's time that the engine's timer adds."""
    return {name: value for name, value in args.items() if name != "timestamp"}


async def note(
    conn: db.Conn,
    worker_id: int | None,
    job: Taken,
    decision: policy.Decision,
    *,
    age_s: float,
    ran_s: float,
) -> None:
    """Add the run to the history and to the tallies."""
    await conn.execute(
        """
        INSERT INTO attempts (run, job_id, workspace_id, round, worker_id, queue, task, started_at, ended_at,
                              outcome, error_kind, error_code, reason, next_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp() - make_interval(secs => %s),
                clock_timestamp() - make_interval(secs => %s), %s, %s, %s, %s, %s)
            ON CONFLICT (run) DO UPDATE
           SET outcome = excluded.outcome, ended_at = excluded.ended_at, error_kind = excluded.error_kind,
               error_code = excluded.error_code, reason = excluded.reason, next_at = excluded.next_at""",
        [
            job.run, job.job_id, job.workspace_id, job.round, worker_id or 0, job.queue, job.task, age_s,
            max(age_s - ran_s, 0.0), decision.outcome, decision.kind, decision.code, decision.reason,
            decision.again_at,
        ],
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO queue_tallies (queue, task, outcome, many, ran_s) VALUES (%s, %s, %s, 1, %s)",
        [job.queue, job.task, decision.outcome, ran_s],
    )


async def end(conn: db.Conn, worker_id: int | None, job: Taken, status: str) -> None:
    """Move the job to an end, if this is still its turn; else Superseded."""
    ours = await db.run(
        conn,
        """
        UPDATE procrastinate_jobs
           SET status = %s::procrastinate_job_status, attempts = attempts + 1, abort_requested = false
         WHERE id = %s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %s AND attempts = %s""",
        [status, job.job_id, worker_id, job.turn],
    )
    if not ours:
        raise Superseded("Another run has taken over this job.")
    await conn.execute(
        """
        INSERT INTO job_records (job_id, workspace_id, correlation_id, ended_at)
        VALUES (%s, %s, %s, clock_timestamp())
            ON CONFLICT (job_id) DO UPDATE
           SET ended_at = excluded.ended_at, waiting_for = NULL, waiting_until = NULL""",
        [job.job_id, job.workspace_id, job.correlation_id],
    )
    await limits.give_back(conn, f"job-{job.job_id}")


async def again(
    conn: db.Conn,
    worker_id: int | None,
    job: Taken,
    decision: policy.Decision,
    *,
    asked_to_stop: bool = False,
) -> bool:
    """Back in line. False where a twin with the same `once` waits already: that twin does the work.

    A job that was asked to stop comes back at once, runs nothing, and lets its room give up.
    """
    at_once = decision.outcome == "handed_back" or asked_to_stop
    try:
        async with conn.transaction():
            ours = await db.run(
                conn,
                """
                UPDATE procrastinate_jobs
                   SET status = 'todo', scheduled_at = %s, attempts = attempts + 1, abort_requested = false,
                       worker_id = NULL
                 WHERE id = %s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %s AND attempts = %s""",
                [None if at_once else decision.again_at, job.job_id, worker_id, job.turn],
            )
    except psycopg.errors.UniqueViolation:
        log.info("a twin waits already; this job ends", job_id=job.job_id)
        return False
    if not ours:
        raise Superseded("Another run has taken over this job.")
    # A run that ended by itself clears the job of the suspicion that it kills its worker.
    await conn.execute(
        """
        INSERT INTO job_records (job_id, workspace_id, correlation_id, waiting_for, waiting_until, cancel_reason)
        VALUES (%(job)s, %(workspace)s, %(trace)s, %(reason)s, %(until)s, %(cancel)s)
            ON CONFLICT (job_id) DO UPDATE
           SET waiting_for = excluded.waiting_for, waiting_until = excluded.waiting_until,
               cancel_reason = coalesce(job_records.cancel_reason, excluded.cancel_reason),
               rescues = CASE WHEN %(cleared)s THEN 0 ELSE job_records.rescues END""",
        {
            "job": job.job_id,
            "workspace": job.workspace_id,
            "trace": job.correlation_id,
            "reason": decision.reason,
            "until": decision.again_at,
            "cancel": "Cancelled." if asked_to_stop else None,
            "cleared": decision.outcome in ("waiting", "failed"),
        },
    )
    await conn.execute("SELECT wake_queue(%s, 0)", [job.queue])
    return True


async def count_rescue(conn: db.Conn, job: Taken) -> int:
    """One more death of a worker that ran this job; gives how many there were in this round."""
    return int(
        await db.value(
            conn,
            """
            INSERT INTO job_records (job_id, workspace_id, correlation_id, rescues)
            VALUES (%s, %s, %s, 1)
                ON CONFLICT (job_id) DO UPDATE SET rescues = job_records.rescues + 1
            RETURNING rescues""",
            [job.job_id, job.workspace_id, job.correlation_id],
        )
    )


async def done(conn: db.Conn) -> None:
    """Finish the current run in the caller's commit: what the step wrote and the job's end become one. To be the
    step's last statement of that transaction; a second call changes nothing.

    Raises Superseded when another run has taken over; the transaction then has to go, too.
    """
    run = current()
    age_s = time.monotonic() - run.began
    saved = await db.value(
        conn,
        "SELECT end_jobs(%s, ARRAY[%s]::bigint[], ARRAY[%s]::integer[], ARRAY[%s]::bigint[], ARRAY[%s]::integer[],"
        " ARRAY[%s]::float8[], ARRAY[%s]::float8[])",
        [run.worker_id, run.job_id, run.turn, run.number, run.round, age_s, age_s],
    )
    if not saved:
        raise Superseded("Another run has taken over this job.")
    if run.queue not in QUIET_QUEUES:
        await live.tell(conn, f"job-{run.job_id}")
    run.done = True
