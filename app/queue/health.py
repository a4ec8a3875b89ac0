"""What operators and waiting people are told: depth, oldest wait, living workers, and why a job waits.

The questions are functions in the migrations (0010): each goes by an index of its own and counts up to a limit,
so the answer costs the same beside ten finished jobs and a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from app import config, db
from app.queue.pausing import PAUSED

LIVING_S = 30
# Operators are told "1,000+": beyond that the exact number costs more than it tells.
COUNTED = 1_000
AHEAD_MOST = 1_000


class Counted(int):
    """A number of jobs. With `more` it is a lower bound, and its text says so: `1,000+`."""

    more: bool = False

    @classmethod
    def up_to(cls, many: int, most: int = COUNTED) -> Counted:
        """What was counted up to `most` + 1, which stands for more."""
        return cls.of(min(many, most), many > most)

    @classmethod
    def of(cls, many: int, more: bool) -> Counted:
        made = cls(many)
        made.more = more
        return made

    def __str__(self) -> str:
        return f"{int(self):,}+" if self.more else f"{int(self):,}"


@dataclass(frozen=True)
class QueueHealth:
    """One queue. `waiting` may start now, `scheduled` later; `oldest_wait_s` is of those that may start. `waiting`,
    `scheduled`, `failed` and `failed_lately` (within the hour) are Counted; `done` is of the last seven days.
    """

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
    failed_lately: int = 0


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
    found = await db.many(
        conn,
        QueueHealth,
        """
        SELECT {columns}
          FROM (SELECT states.*, coalesce(ended.done, 0) AS done, ended.last_done_at
                  FROM queue_states(%(names)s, %(most)s) AS states
                  LEFT JOIN (SELECT queue, sum(many) AS done, max(coalesce(last_at, at)) AS last_done_at
                               FROM queue_tallies
                              WHERE outcome = 'done' AND at > now() - interval '7 days'
                              GROUP BY queue) AS ended ON ended.queue = states.name) AS shown""",
        {"names": names, "most": COUNTED},
    )
    place = {name: number for number, name in enumerate(names)}
    return sorted((_counted(state) for state in found), key=lambda state: place.get(state.name, len(place)))


def _counted(state: QueueHealth) -> QueueHealth:
    counts = ("waiting", "scheduled", "failed", "failed_lately")
    return QueueHealth(**(vars(state) | {name: Counted.up_to(getattr(state, name)) for name in counts}))


@dataclass(frozen=True)
class TaskDepth:
    queue: str
    task: str
    queued: int
    scheduled: int
    running: int
    failed: int


async def by_task(conn: db.Conn) -> list[TaskDepth]:
    """Everything that is not over and what is kept as failed, exactly, for the metrics (S2.84)."""
    return await db.many(conn, TaskDepth, "SELECT {columns} FROM jobs_by_task()")


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


@dataclass(frozen=True)
class Why:
    """What holds a waiting job, as the rows say by which jobs are taken."""

    queue: str
    task: str
    scheduled_at: datetime | None
    waiting_for: str | None
    paused_kind: str | None
    pause_reason: str | None
    workers: int
    together: int | None
    starts: int | None
    window_s: float | None
    each: int | None
    running: int | None
    own_running: int
    next_start_at: datetime | None
    lock_held: bool
    ahead: int


async def waiting_reason(conn: db.Conn, job_id: int) -> dict[str, Any] | None:
    """Why an own job waits, for a page: {kind, text, until, ahead}; None when it does not wait.

    Kinds: `paused`, `no_worker`, `limit` (a limit or a retry), `time` (its own), `turn` (jobs ahead of it). `until`
    is when it goes on, where that is known; `ahead` counts up to AHEAD_MOST.
    """
    cursor = conn.cursor(row_factory=psycopg.rows.class_row(Why))
    await cursor.execute("SELECT * FROM why_waiting(%s)", [job_id])
    why = await cursor.fetchone()
    return None if why is None else in_words(why)


def in_words(why: Why) -> dict[str, Any]:
    """The first thing that has to change before the job can start, as a sentence."""
    if why.paused_kind is not None:
        what = f"the queue {why.queue}" if why.paused_kind == "queue" else f"all {why.task}"
        said = f" “{why.pause_reason}”" if why.pause_reason else ""
        return _waits("paused", f"An operator has paused {what}.{said}")
    if not why.workers:
        return _waits("no_worker", f"No worker is running for the queue {why.queue}.")
    if why.scheduled_at is not None:
        if why.waiting_for and why.waiting_for.startswith(PAUSED):
            return _waits("paused", why.waiting_for)
        if why.waiting_for:
            return _waits("limit", why.waiting_for, until=why.scheduled_at)
        return _waits("time", "Its own time has not come yet.", until=why.scheduled_at)
    if why.lock_held:
        return _waits("turn", "Another job that must not run beside it is running.", ahead=why.ahead)
    if why.next_start_at is not None:
        text = f"At most {_jobs(why.starts)} of the queue {why.queue} may start in {why.window_s:g} s."
        if not why.ahead:
            return _waits("limit", text, until=why.next_start_at, ahead=0)
        return _waits(
            "limit", f"{text} {_ahead(why.ahead)}", next_start_at=why.next_start_at, ahead=why.ahead
        )
    if why.together is not None and (why.running or 0) >= why.together:
        text = f"At most {_jobs(why.together)} of the queue {why.queue} may run at once."
        return _waits("limit", f"{text} {_ahead(why.ahead)}" if why.ahead else text, ahead=why.ahead)
    if why.each is not None and why.own_running >= why.each:
        return _waits(
            "limit", f"At most {_jobs(why.each)} of one workspace may run at once.", ahead=why.ahead
        )
    return _waits("turn", _ahead(why.ahead) if why.ahead else "It is next in line.", ahead=why.ahead)


def _ahead(many: int) -> str:
    if many >= AHEAD_MOST:
        return f"{AHEAD_MOST:,} or more other jobs may come before it."
    return f"{'1 other job' if many == 1 else f'{many} other jobs'} may come before it."


def _jobs(many: int | None) -> str:
    return f"{many} job" if many == 1 else f"{many} jobs"


def _waits(
    kind: str,
    text: str,
    *,
    until: datetime | None = None,
    next_start_at: datetime | None = None,
    ahead: int | None = None,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "text": text,
        "until": until,
        "next_start_at": next_start_at or until,
        "ahead": ahead,
    }


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
