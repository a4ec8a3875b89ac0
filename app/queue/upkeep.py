"""What keeps the queue's tables true and small. Every verb here may run any number of times, in any number of
places.
"""

from __future__ import annotations

from app import db

FORGET_WORKER_S = 600
KEEP_DAYS, KEEP_FAILED_DAYS = 7, 30
BATCH = 5_000


def cron_every(seconds: int) -> str:
    """The engine's timer line for a check every so many seconds (30 to 3600): whole minutes, else with
    seconds.
    """
    if seconds >= 3600:
        return "0 * * * *"
    return f"*/{seconds // 60} * * * *" if seconds % 60 == 0 else f"* * * * * */{seconds}"


async def forget_workers(conn: db.Conn) -> int:
    """Remove workers that have been silent for ten minutes and have no open run."""
    gone = await db.rows(
        conn,
        """
        DELETE FROM worker_leases
         WHERE seen_at < now() - make_interval(secs => %s)
           AND NOT EXISTS (SELECT FROM attempts
                            WHERE attempts.worker_id = worker_leases.worker_id AND outcome IS NULL)
        RETURNING worker_id""",
        [FORGET_WORKER_S],
    )
    await conn.execute(
        """
        DELETE FROM procrastinate_workers
         WHERE last_heartbeat < now() - make_interval(secs => %s)
           AND NOT EXISTS (SELECT FROM worker_leases WHERE worker_id = procrastinate_workers.id)""",
        [FORGET_WORKER_S],
    )
    return len(gone)


async def put_back_unowned(conn: db.Conn) -> int:
    """Jobs that stand in `doing` without an open run go back in line: the slow net of the stalled check
    (S1.16).
    """
    found = await db.rows(
        conn,
        """
        UPDATE procrastinate_jobs AS jobs
           SET status = 'todo', scheduled_at = NULL, worker_id = NULL, abort_requested = false
         WHERE status = 'doing'
           AND NOT EXISTS (SELECT FROM attempts WHERE attempts.job_id = jobs.id AND outcome IS NULL)
           AND NOT EXISTS (SELECT FROM worker_leases
                            WHERE worker_id = jobs.worker_id AND seen_at > now() - interval '30 s')
           AND NOT EXISTS (SELECT FROM procrastinate_jobs AS twin
                            WHERE twin.queueing_lock = jobs.queueing_lock AND twin.status = 'todo')
        RETURNING id""",
    )
    return len(found)


async def sweep(conn: db.Conn) -> int:
    """Remove one batch of old ended jobs (done 7 days, failed 30); attempts and records go along."""
    return await db.run(
        conn,
        """
        DELETE FROM procrastinate_jobs
         WHERE id IN (SELECT job_id
                        FROM job_records
                        JOIN procrastinate_jobs AS jobs ON jobs.id = job_records.job_id
                       WHERE ended_at < now() - make_interval(days => CASE jobs.status WHEN 'failed' THEN %s
                       ELSE %s END)
                         AND jobs.status NOT IN ('todo', 'doing')
                       ORDER BY ended_at
                       LIMIT %s)""",
        [KEEP_FAILED_DAYS, KEEP_DAYS, BATCH],
    )
