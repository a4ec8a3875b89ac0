"""What happened lately, for operators: failures of the last hour, pace of the last hour, last runs, the
audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app import db

# One hour in pieces of five minutes.
PIECES, PIECE_S = 12, 300


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
    queue: str
    reason: str
    paused_by: int | None
    paused_at: datetime


async def failed(conn: db.Conn, *, within_s: float = 3600) -> dict[str, int]:
    """Jobs that failed for good lately, by queue; a queue without any is missing."""
    found = await db.rows(
        conn,
        """
        SELECT queue, count(DISTINCT job_id)
          FROM attempts
         WHERE outcome IN ('gave_up', 'unsure') AND ended_at > now() - make_interval(secs => %s)
         GROUP BY queue""",
        [within_s],
    )
    return {str(queue): int(many) for queue, many in found}


async def pace(conn: db.Conn) -> dict[str, list[int]]:
    """Jobs done in each five minutes of the last hour, oldest first, by queue."""
    found = await db.rows(
        conn,
        """
        SELECT queue, least(%(pieces)s - 1, floor(extract(epoch FROM now() - at) / %(piece_s)s))::int, sum(many)
          FROM queue_tallies
         WHERE outcome = 'done' AND at > now() - make_interval(secs => %(pieces)s * %(piece_s)s)
         GROUP BY 1, 2""",
        {"pieces": PIECES, "piece_s": PIECE_S},
    )
    pace: dict[str, list[int]] = {}
    for queue, ago, many in found:
        pace.setdefault(str(queue), [0] * PIECES)[PIECES - 1 - max(int(ago), 0)] = int(many)
    return pace


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


async def pauses(conn: db.Conn) -> dict[str, Paused]:
    """The queues that are paused, with who paused them and why."""
    found = await db.many(conn, Paused, "SELECT {columns} FROM pauses")
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
