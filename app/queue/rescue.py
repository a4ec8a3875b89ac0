"""Jobs whose worker is gone go back in line.

Each heartbeat says whether anyone is missing; only then the runs are looked at one by one. A worker is lost
30 s after its last heartbeat, or at once when its process was on this machine and is certainly dead. After an
outage every heartbeat looks old, so nothing is rescued by age within 45 s of the server's start or of this
process's own first answer (reliability, section 3). Deaths are counted apart from tries.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app import db, live, log
from app.errors import Superseded
from app.queue import lease, outcome, policy
from app.queue.ear import Beat

LOST_S = 30.0
GRACE_S = 45.0
# Two deaths in a row without company point at the job itself; a few more are allowed because a kill from
# outside (deploy, machine, operator) is not its fault and a suspect runs alone from its first death on.
MOST_RESCUES = 5
LONGEST_S = 1e7
GONE = policy.Decision("lost", "The worker that ran this stopped.", "worker_lost", "Lost")
AGAIN = policy.Decision(
    "handed_back", "Its worker stopped; another one goes on.", "worker_lost", "Lost", datetime.now(UTC)
)


@dataclass(frozen=True)
class Orphan:
    """A job in `doing`, with what its worker last said of itself."""

    job_id: int
    task: str
    queue: str
    args: dict[str, Any]
    turn: int
    run: int | None
    round: int
    workspace_id: int | None
    correlation_id: str
    worker_id: int | None
    process: str | None
    reported: bool
    age_s: float
    run_s: float


# A plain worker of the engine has no lease; its heartbeat counts.
_DOING = """
    SELECT {columns}
      FROM (SELECT jobs.id AS job_id, jobs.task_name AS task, jobs.queue_name AS queue, jobs.args,
                   jobs.attempts AS turn, leases.runs[array_position(leases.jobs, jobs.id)] AS run,
                   coalesce(records.round, 1) AS round, nullif(jobs.owner, 0) AS workspace_id,
                   coalesce(records.correlation_id, 'job-' || jobs.id) AS correlation_id, jobs.worker_id,
                   leases.process, coalesce(jobs.id = ANY (leases.jobs), true) AS reported,
                   coalesce(extract(epoch FROM clock_timestamp() - coalesce(leases.seen_at, workers.last_heartbeat)),
                            1e9)::float8 AS age_s,
                   coalesce(extract(epoch FROM clock_timestamp()
                                    - (SELECT max(at) FROM procrastinate_events AS told
                                        WHERE told.job_id = jobs.id AND told.type = 'started')), 1e9)::float8 AS run_s
              FROM procrastinate_jobs AS jobs
              LEFT JOIN job_records AS records ON records.job_id = jobs.id
              LEFT JOIN worker_leases AS leases ON leases.worker_id = jobs.worker_id
              LEFT JOIN procrastinate_workers AS workers ON workers.id = jobs.worker_id
             WHERE jobs.status = 'doing') AS doing
"""


class Rescuer:
    """One per worker process. `trusted_at` is when this process began to see the database without a break."""

    def __init__(self, hooks: dict[str, outcome.GaveUp | None]) -> None:
        self.hooks = hooks
        self.trusted_at = time.monotonic()

    def distrust(self) -> None:
        """The database was away: for a while an old heartbeat proves nothing."""
        self.trusted_at = time.monotonic()

    def wanted(self, beat: Beat) -> bool:
        """Whether this beat names a neighbour that is missing."""
        return beat.lost or any(lease.surely_dead(process) for process in beat.neighbours or ())

    async def look(self) -> int:
        """Rescue what nobody runs; gives how many. Two at once share the work: each orphan is taken by one."""
        async with db.house() as conn:
            server_s = await db.value(
                conn, "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
            )
            found = await db.many(conn, Orphan, _DOING)
        trusted = min(time.monotonic() - self.trusted_at, float(server_s)) >= GRACE_S
        saved = 0
        for orphan in found:
            if not self._lost(orphan, trusted):
                continue
            try:
                saved += await self._rescue(orphan)
            except Superseded:
                continue
            except Exception as error:
                # One room's hook that fails must not keep the others' jobs waiting.
                log.error("job not rescued", job_id=orphan.job_id, run=orphan.run, exc_info=error)
        return saved

    def _lost(self, orphan: Orphan, trusted: bool) -> bool:
        if orphan.process and lease.surely_dead(orphan.process):
            return True
        if not trusted:
            return False
        if orphan.age_s > LOST_S:
            return True
        # Its worker lives but does not know the run: an outcome that could not be saved, or a lost claim.
        return not orphan.reported and orphan.run_s > LOST_S

    async def _rescue(self, orphan: Orphan) -> int:
        """Write the run down as lost, and put the job back or give it up after too many deaths; one fenced
        transaction.
        """
        async with db.house() as conn:
            run = orphan.run or int(await db.value(conn, "SELECT nextval('runs')"))
            job = outcome.Taken(
                orphan.job_id, orphan.queue, orphan.task, orphan.args, orphan.turn, run, orphan.round,
                orphan.workspace_id, orphan.correlation_id, 0, 0, None, None,
            )  # fmt: skip
            await outcome.check(conn, orphan.worker_id, job)
            rescues = await outcome.count_rescue(conn, job)
            run_s = min(orphan.run_s, LONGEST_S)
            await outcome.note(conn, orphan.worker_id, job, GONE, age_s=run_s, ran_s=run_s)
            if rescues >= MOST_RESCUES:
                await self._give_up(conn, orphan.worker_id, job, rescues)
            elif not await outcome.again(conn, orphan.worker_id, job, AGAIN):
                await outcome.end(conn, orphan.worker_id, job, "aborted")
        log.warning("job rescued", job_id=orphan.job_id, run=run, task=orphan.task, rescues=rescues)
        return 1

    async def _give_up(self, conn: db.Conn, worker_id: int | None, job: outcome.Taken, rescues: int) -> None:
        reason = f"It stopped the worker {rescues} times."
        decision = policy.Decision("gave_up", reason, "stops_worker", "Permanent")
        if (hook := self.hooks.get(job.task)) is not None:
            await hook(conn, job_id=job.job_id, **outcome.own(job.args), reason=reason, code=decision.code)
        await outcome.end(conn, worker_id, job, "failed")
        run = int(await db.value(conn, "SELECT nextval('runs')"))
        await outcome.note(conn, worker_id, job._replace(run=run), decision, age_s=0, ran_s=0)
        await live.tell(conn, *outcome.topics([job]))
