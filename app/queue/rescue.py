"""Jobs whose worker is gone go back in line; one indexed query every 15 s by each living worker.

A worker is lost 30 s after its last heartbeat, or at once when its process was on this machine and is
certainly dead. After an outage every heartbeat looks old, so nothing is rescued by age within 45 s of the
server's start or of this process's own first answer (reliability, section 3). Deaths are counted apart from
tries.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app import db, log
from app.errors import Superseded
from app.queue import lease, outcome, policy

LOST_S = 30.0
GRACE_S = 45.0
# Two deaths in a row without company point at the job itself; a few more are allowed because a kill from
# outside
# (deploy, machine, operator) is not its fault and a suspect runs alone from its first death on.
MOST_RESCUES = 5


@dataclass(frozen=True)
class Orphan:
    run: int
    job_id: int
    task: str
    queue: str
    args: dict[str, Any]
    round: int
    workspace_id: int | None
    correlation_id: str
    rescues: int
    process: str | None
    reported: bool
    age_s: float
    run_s: float


_OPEN = """
    SELECT {columns}
      FROM (SELECT attempts.run, attempts.job_id, attempts.task, attempts.queue, jobs.args, attempts.round,
                   attempts.workspace_id, records.correlation_id, records.rescues,
                   leases.process, coalesce(attempts.run = ANY (leases.runs), false) AS reported,
                   coalesce(extract(epoch FROM clock_timestamp() - leases.seen_at), 1e9)::float8 AS age_s,
                   extract(epoch FROM clock_timestamp() - attempts.started_at)::float8 AS run_s
              FROM attempts
              JOIN procrastinate_jobs AS jobs ON jobs.id = attempts.job_id
              JOIN job_records AS records ON records.job_id = attempts.job_id
              LEFT JOIN worker_leases AS leases ON leases.worker_id = attempts.worker_id
             WHERE attempts.outcome IS NULL) AS open
"""


class Rescuer:
    """One per worker process. `trusted_at` is when this process began to see the database without a break."""

    def __init__(self, bound: dict[str, outcome.GaveUp | None]) -> None:
        self.bound = bound
        self.trusted_at = time.monotonic()

    def distrust(self) -> None:
        """The database was away: for a while an old heartbeat proves nothing."""
        self.trusted_at = time.monotonic()

    async def look(self) -> int:
        """Rescue what nobody runs; gives how many. Two at once share the work: each orphan is taken by one."""
        async with db.house() as conn:
            server_s = await db.value(
                conn, "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
            )
            found = await db.many(conn, Orphan, _OPEN)
        trusted = min(time.monotonic() - self.trusted_at, float(server_s)) >= GRACE_S
        saved = 0
        for orphan in found:
            if not self._lost(orphan, trusted):
                continue
            try:
                saved += await self._rescue(orphan)
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
        """Mark the run lost, and put the job back or give it up after too many deaths; one fenced
        transaction.
        """
        gone = policy.Decision("lost", "The worker that ran this stopped.", "worker_lost", "Lost")
        async with db.house() as conn:
            taken = await db.run(
                conn,
                """
                UPDATE attempts
                   SET ended_at = clock_timestamp(), outcome = 'lost', reason = %s, error_code = %s,
                       error_kind = %s
                 WHERE run = %s AND outcome IS NULL""",
                [gone.reason, gone.code, gone.kind, orphan.run],
            )
            if not taken:
                return 0
            rescues = await db.value(
                conn,
                "UPDATE job_records SET rescues = rescues + 1 WHERE job_id = %s RETURNING rescues",
                [orphan.job_id],
            )
            try:
                await self._onward(conn, orphan, int(rescues))
            except Superseded:
                return 0
        log.warning(
            "job rescued", job_id=orphan.job_id, run=orphan.run, task=orphan.task, rescues=int(rescues)
        )
        return 1

    async def _onward(self, conn: db.Conn, orphan: Orphan, rescues: int) -> None:
        job = outcome.Taken(
            orphan.job_id, orphan.task, orphan.queue, orphan.args, orphan.run, orphan.round, orphan.workspace_id,
            orphan.correlation_id, 0, rescues, None, 0.0,
        )  # fmt: skip
        if rescues >= MOST_RESCUES:
            reason = f"It stopped the worker {rescues} times."
            decision = policy.Decision("gave_up", reason, "stops_worker", "Permanent")
            await outcome.end_lost(conn, job, decision, self.bound.get(orphan.task))
            return
        again = policy.Decision(
            "handed_back",
            "Its worker stopped; another one goes on.",
            "worker_lost",
            "Lost",
            datetime.now(UTC),
        )
        await outcome.put_back(conn, job, again)
