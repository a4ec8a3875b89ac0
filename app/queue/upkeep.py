"""What keeps the queue's tables true and small. Every verb here may run any number of times, in any number of
places.
"""

from __future__ import annotations

from app import db

FORGET_WORKER_S = 600
SILENT_S = 300
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
           AND NOT EXISTS (SELECT FROM procrastinate_jobs AS jobs
                            WHERE jobs.worker_id = worker_leases.worker_id AND jobs.status = 'doing')
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
    """Jobs in `doing` whose worker nobody has heard of for five minutes go back in line: the slow net of the
    stalled check (S1.16) under the look that follows each heartbeat.
    """
    return await db.run(
        conn,
        """
        UPDATE procrastinate_jobs AS jobs
           SET status = 'todo', scheduled_at = NULL, worker_id = NULL, abort_requested = false,
               attempts = attempts + 1
         WHERE status = 'doing'
           AND NOT EXISTS (SELECT FROM worker_leases
                            WHERE worker_id = jobs.worker_id AND seen_at > now() - make_interval(secs => %(silent)s))
           AND NOT EXISTS (SELECT FROM procrastinate_workers AS workers
                            WHERE workers.id = jobs.worker_id
                              AND last_heartbeat > now() - make_interval(secs => %(silent)s))
           AND (SELECT max(at) FROM procrastinate_events AS told
                 WHERE told.job_id = jobs.id AND told.type = 'started') < now() - make_interval(secs => %(silent)s)
           AND NOT EXISTS (SELECT FROM procrastinate_jobs AS twin
                            WHERE twin.queueing_lock = jobs.queueing_lock AND twin.status = 'todo')""",
        {"silent": SILENT_S},
    )


async def age_low(conn: db.Conn) -> int:
    """Move low jobs up a step for each ten minutes in line, up to normal: one batch; gives how many it moved. To be run
    once a minute, again while it moves some; it costs three looks into an index where nothing low waits.
    """
    return int(await db.value(conn, "SELECT age_low()"))


async def sweep(conn: db.Conn) -> int:
    """Remove one batch of old ended jobs (done 7 days, failed 30) with their attempts and records."""
    return await db.run(
        conn,
        """
        DELETE FROM procrastinate_jobs
         WHERE id = ANY (ARRAY(
                   SELECT jobs.id
                     FROM procrastinate_jobs AS jobs
                     LEFT JOIN job_records AS records ON records.job_id = jobs.id
                    CROSS JOIN LATERAL (
                        SELECT coalesce(records.ended_at,
                                        (SELECT max(ended_at) FROM attempts WHERE attempts.job_id = jobs.id),
                                        (SELECT max(at) FROM procrastinate_events AS told WHERE told.job_id = jobs.id),
                                        '-infinity') AS ended_at) AS over
                    WHERE jobs.status NOT IN ('todo', 'doing')
                      AND (records.put_at IS NULL OR records.put_at < now() - make_interval(days => %(days)s))
                      AND over.ended_at < now() - make_interval(days => CASE jobs.status WHEN 'failed'
                                                                             THEN %(failed)s ELSE %(days)s END)
                    ORDER BY jobs.id
                    LIMIT %(batch)s))""",
        {"days": KEEP_DAYS, "failed": KEEP_FAILED_DAYS, "batch": BATCH},
    )


async def forget_tallies(conn: db.Conn) -> int:
    """Join old tallies to one row an hour, queue, task and outcome, keeping the totals; forget old ticks and turns."""
    await conn.execute("SELECT join_tallies(%s)", [KEEP_DAYS])
    await conn.execute("DELETE FROM ticks WHERE at < now() - make_interval(days => %s)", [KEEP_DAYS])
    return await db.run(conn, "DELETE FROM owner_turns WHERE at < now() - interval '1 day'")
