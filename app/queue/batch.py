"""The same act over many jobs, and how many there are: in batches, so that no transaction grows with the
history.

A batch goes on where the one before it ended, by job id downwards, so what comes in meanwhile is left alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from psycopg import sql

from app import db
from app.errors import Refused, WrongState
from app.queue import rows
from app.queue.health import COUNTED as COUNTED  # the limit of counts is part of this door, too
from app.queue.health import Counted

MOST = 500
LOOK_NEAR = 2_000

Act = Callable[[db.Conn, rows.JobRow], Awaitable[bool]]


@dataclass(frozen=True)
class Batch:
    """What one batch did. `next_before_id` is where the next one goes on; None when nothing is left."""

    done: int
    skipped: int
    next_before_id: int | None


async def over(conn: db.Conn, wanted: rows.Filter, act: Act, *, most: int = MOST) -> Batch:
    """Do `act` to the newest jobs that match. One that is refused is skipped and leaves nothing behind."""
    found = await rows.find(conn, wanted, most=most)
    done = 0
    for job in found:
        try:
            async with conn.transaction():
                done += await act(conn, job)
        except (Refused, WrongState):
            continue
    return Batch(done, len(found) - done, found[-1].id if len(found) == most else None)


async def discard_matching(conn: db.Conn, wanted: rows.Filter, *, most: int = MOST) -> Batch:
    """Remove the newest ended jobs that match, with their attempts; what is not over is skipped."""
    found = await rows.find(conn, wanted, most=most)
    done = await db.run(
        conn,
        "DELETE FROM procrastinate_jobs WHERE id = ANY (%s) AND status NOT IN ('todo', 'doing')",
        [[job.id for job in found]],
    )
    return Batch(done, len(found) - done, found[-1].id if len(found) == most else None)


_FIND_AND_COUNT = sql.SQL(
    """
    SELECT count(*)
      FROM (SELECT 1
              FROM ({near}) AS jobs
              LEFT JOIN job_records AS records ON records.job_id = jobs.id
              LEFT JOIN LATERAL (SELECT reason, error_code
                                   FROM attempts
                                  WHERE attempts.job_id = jobs.id AND outcome <> 'handed_back'
                                  ORDER BY run DESC
                                  LIMIT 1) AS latest ON true
             WHERE {matches}
             LIMIT %(most)s) AS counted"""
).format(near=sql.SQL(rows.NEAR), matches=sql.SQL(rows.MATCHES))


async def count(conn: db.Conn, wanted: rows.Filter, *, most: int = COUNTED) -> int:
    """How many jobs match; `most` + 1 stands for more."""
    row = await (await conn.execute(_FIND_AND_COUNT, wanted.params(most + 1))).fetchone()
    assert row is not None
    return int(row[0])


async def counts(conn: db.Conn, wanted: rows.Filter, *, most: int = COUNTED) -> dict[str, Counted]:
    """How many jobs match in each of STAGES, whatever stage the filter names. Of a task or a workspace at most
    LOOK_NEAR jobs of each queue and stage are looked at.
    """
    if wanted.words is not None:
        asked = {
            stage: await count(conn, replace(wanted, status=stage, before_id=None), most=most)
            for stage in rows.STAGES
        }
        return {stage: Counted.up_to(many, most) for stage, many in asked.items()}
    found = await db.rows(
        conn,
        "SELECT stage, many, more FROM count_stages(%s, %s, %s, %s, %s, %s)",
        [list(rows.STAGES), wanted.queue, wanted.task, wanted.workspace_id, most, LOOK_NEAR],
    )
    return {str(stage): Counted.of(min(int(many), most), more) for stage, many, more in found}
