"""What happened lately, for operators: the last hour's pace and times, last runs, the limits in use, the audit.

Counts are the tallies', which are written with each batch of outcomes; times are of the newest runs, looked at
one by one and never more than NEWEST.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app import db

# One hour in pieces of five minutes.
PIECES, PIECE_S = 12, 300
# So many runs are looked at for the times of the last hour.
NEWEST = 1_000
FAILED, RETRIED = ("gave_up", "unsure"), ("failed",)


@dataclass(frozen=True)
class Hour:
    """A queue's last hour. `done` and `failed` by five minutes, oldest first; `failed` are ends, `retried` tries."""

    done: tuple[int, ...]
    failed: tuple[int, ...]
    retried: int
    runs: int
    ran_s: float


@dataclass(frozen=True)
class Times:
    """Of a queue's runs among the NEWEST of the house, no older than an hour: how long jobs waited from due to
    started (those that went well: `waits`), and how long they ran (`runs`). Seconds; None where there was none.
    """

    queue: str
    waits: int
    wait_p50_s: float | None
    wait_p95_s: float | None
    runs: int
    run_p50_s: float | None
    run_p95_s: float | None
    # Whether these are all runs of the hour.
    whole: bool


@dataclass(frozen=True)
class LimitState:
    """The limits of a queue in force, over all workers, and how much of each is used. `set_by` is an operator, None
    the settings; `next_start_at` is set while the limit of starts allows none.
    """

    queue: str
    together: int | None
    starts: int | None
    window_s: float | None
    each: int | None
    fair: int | None
    set_by: int | None
    set_at: datetime
    running: int
    started: int
    next_start_at: datetime | None


@dataclass(frozen=True)
class Runs:
    """How many runs of a task ended how, since the house began, and for how long they ran."""

    queue: str
    task: str
    outcome: str
    many: int
    ran_s: float


@dataclass(frozen=True)
class LastRun:
    """The latest run of a task."""

    task: str
    job_id: int
    run: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: str | None


@dataclass(frozen=True)
class Act:
    """What an operator did."""

    id: int
    at: datetime
    user_id: int | None
    action: str
    subject: str
    many: int
    detail: dict[str, Any]


@dataclass(frozen=True)
class Paused:
    """What is paused: `queue` is the name of a queue, a task, a platform or an account, as `kind` says."""

    kind: str
    queue: str
    reason: str
    paused_by: int | None
    paused_at: datetime


async def hour(conn: db.Conn) -> dict[str, Hour]:
    """The last hour by queue; a queue in which nothing ended is missing."""
    found = await db.rows(
        conn,
        """
        SELECT queue, outcome, round(extract(epoch FROM now() - piece) / %(piece_s)s)::int - 1, many, ran_s
          FROM (SELECT queue, outcome, date_bin(make_interval(secs => %(piece_s)s), at, now()) AS piece,
                       sum(many) AS many, sum(ran_s) AS ran_s
                  FROM queue_tallies
                 WHERE at > now() - make_interval(secs => %(pieces)s * %(piece_s)s)
                   AND outcome NOT IN ('waiting', 'handed_back')
                 GROUP BY 1, 2, 3) AS found""",
        {"pieces": PIECES, "piece_s": PIECE_S},
    )
    hours = {}
    for name in {row[0] for row in found}:
        rows = [row[1:] for row in found if row[0] == name]
        hours[str(name)] = Hour(
            done=_pieces(rows, ("done",)),
            failed=_pieces(rows, FAILED),
            retried=sum(_pieces(rows, RETRIED)),
            runs=sum(int(many) for _, _, many, _ in rows),
            ran_s=sum(float(ran_s) for _, _, _, ran_s in rows),
        )
    return hours


def _pieces(rows: list[tuple[Any, ...]], outcomes: tuple[str, ...]) -> tuple[int, ...]:
    pieces = [0] * PIECES
    for outcome, ago, many, _ in rows:
        if outcome in outcomes:
            # What ends while we ask is of now.
            pieces[PIECES - 1 - max(int(ago), 0)] += int(many)
    return tuple(pieces)


async def times(conn: db.Conn) -> dict[str, Times]:
    """How long jobs waited and ran, by queue; one without a run among the newest is missing."""
    found = await db.many(
        conn,
        Times,
        """
        WITH newest AS MATERIALIZED (
            SELECT job_id, queue, outcome, started_at, ended_at FROM attempts ORDER BY run DESC LIMIT %(newest)s),
        timed AS (
            SELECT newest.queue,
                   CASE WHEN outcome IN ('done', 'failed', 'gave_up', 'unsure')
                        THEN extract(epoch FROM ended_at - started_at)::float8 END AS ran_s,
                   CASE WHEN outcome = 'done'
                        THEN greatest(extract(epoch FROM started_at - (SELECT greatest(put_at, waiting_until)
                                                                         FROM job_records
                                                                        WHERE job_id = newest.job_id)), 0)::float8
                   END AS waited_s
              FROM newest
             WHERE ended_at > now() - interval '1 h')
        SELECT {columns}
          FROM (SELECT queue, count(waited_s) AS waits, count(ran_s) AS runs,
                       percentile_cont(0.5) WITHIN GROUP (ORDER BY waited_s) AS wait_p50_s,
                       percentile_cont(0.95) WITHIN GROUP (ORDER BY waited_s) AS wait_p95_s,
                       percentile_cont(0.5) WITHIN GROUP (ORDER BY ran_s) AS run_p50_s,
                       percentile_cont(0.95) WITHIN GROUP (ORDER BY ran_s) AS run_p95_s,
                       (SELECT count(*) < %(newest)s OR min(ended_at) < now() - interval '1 h'
                          FROM newest) AS whole
                  FROM timed
                 GROUP BY queue) AS shown""",
        {"newest": NEWEST},
    )
    return {times.queue: times for times in found}


async def operations(conn: db.Conn) -> int:
    """Statements by which workers took and ended jobs and showed that they live, within the last hour. A worker tells
    them with each beat, so the latest ten seconds are missing.
    """
    return int(
        await db.value(
            conn,
            """
            SELECT coalesce(sum(operations), 0)
              FROM queue_operations
             WHERE at > now() - make_interval(secs => %s)""",
            [PIECES * PIECE_S],
        )
    )


async def operations_ever(conn: db.Conn) -> int:
    """The same since the house began."""
    return int(await db.value(conn, "SELECT coalesce(sum(operations), 0) FROM queue_usage"))


async def limit_states(conn: db.Conn) -> dict[str, LimitState]:
    """The limits in force by queue; one without any is missing."""
    found = await db.many(conn, LimitState, "SELECT {columns} FROM limit_states()")
    return {limit.queue: limit for limit in found}


async def runs(conn: db.Conn) -> list[Runs]:
    """Every run that ever ended, by queue, task and outcome: figures that only grow."""
    return await db.many(
        conn,
        Runs,
        """
        SELECT {columns}
          FROM (SELECT queue, task, outcome, sum(many)::bigint AS many, sum(ran_s) AS ran_s
                  FROM (SELECT queue, task, outcome, many, ran_s FROM queue_tallies
                         UNION ALL
                        SELECT queue, task, outcome, many, ran_s FROM queue_totals) AS parts
                 GROUP BY queue, task, outcome) AS shown""",
    )


async def last_runs(conn: db.Conn, tasks: list[str]) -> dict[str, LastRun]:
    """The latest run of each of these tasks; one that never ran, or long ago, is missing."""
    found = await db.many(
        conn,
        LastRun,
        """
        SELECT {last.columns}
          FROM unnest(%s::text[]) AS asked (name)
         CROSS JOIN LATERAL (SELECT task, job_id, run, started_at, ended_at, outcome, reason
                               FROM attempts
                              WHERE attempts.task = asked.name
                              ORDER BY run DESC
                              LIMIT 1) AS last""",
        [tasks],
    )
    return {last.task: last for last in found}


async def tasks(conn: db.Conn, job_ids: list[int]) -> dict[int, str]:
    """The tasks of these jobs, by the job's id."""
    found = await db.rows(conn, "SELECT id, task_name FROM procrastinate_jobs WHERE id = ANY (%s)", [job_ids])
    return {int(job_id): str(task) for job_id, task in found}


async def worker_names(conn: db.Conn, worker_ids: list[int]) -> dict[int, str]:
    """Name, host and process of workers that are still listed."""
    found = await db.rows(
        conn,
        "SELECT worker_id, name || ' on ' || host FROM worker_leases WHERE worker_id = ANY (%s)",
        [worker_ids],
    )
    return {int(worker_id): str(name) for worker_id, name in found}


async def pauses(conn: db.Conn, kind: str = "queue") -> dict[str, Paused]:
    """What is paused of this kind, with who paused it and why."""
    found = await db.many(conn, Paused, "SELECT {columns} FROM pauses WHERE kind = %s", [kind])
    return {pause.queue: pause for pause in found}


async def acts(
    conn: db.Conn, *, before_id: int | None = None, subject: str | None = None, most: int = 50
) -> list[Act]:
    """What operators did, newest first."""
    return await db.many(
        conn,
        Act,
        """
        SELECT {columns}
          FROM audit
         WHERE (%(before_id)s::bigint IS NULL OR id < %(before_id)s)
           AND (%(subject)s::text IS NULL OR subject = %(subject)s)
         ORDER BY id DESC
         LIMIT %(most)s""",
        {"before_id": before_id, "subject": subject, "most": most},
    )


async def clock_s(conn: db.Conn) -> float:
    """The database's clock, as seconds since 1970."""
    return float(await db.value(conn, "SELECT extract(epoch FROM clock_timestamp())::float8"))


async def server(conn: db.Conn) -> str:
    """What the database server calls itself."""
    return str(await db.value(conn, "SHOW server_version"))
