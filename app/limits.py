"""Limits that hold over all workers and in every window: at most n starts of a key in any `window_s` seconds.

A row per key is the lock, its grants are the starts that count. A start is written at the moment it is made,
never ahead, so a delayed one cannot squeeze the next; a reservation only says when it is worth coming back. A
token bucket lets a burst through in one window (reliability, section 4), so it is not used here. Only the
database's clock counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app import db

# A day of 25 hours, and an hour to spare.
LONGEST_S = 26 * 3600.0


@dataclass(frozen=True)
class Limit:
    """At most `most` starts of `key` in any `window_s` seconds; `reason` is the sentence a waiting person
    reads. With a `zone` it is a calendar day there in place of a window that slides.
    """

    key: str
    most: int
    window_s: float
    reason: str
    zone: str | None = None


@dataclass(frozen=True)
class Wait:
    until: datetime
    reason: str


async def take(conn: db.Conn, holder: str, limits: list[Limit]) -> Wait | None:
    """Take a start of every limit at once, or of none: None means go, a Wait says until when and why.

    `holder` names who asks (a job); asking again replaces its reservation. Locks are taken in the order of
    the keys, so two callers cannot block one another for good.
    """
    if not limits:
        return None
    ordered = sorted(limits, key=lambda limit: limit.key)
    keys = [limit.key for limit in ordered]
    await conn.execute(
        "INSERT INTO limits (key) SELECT key FROM unnest(%s::text[]) AS key ORDER BY key ON CONFLICT DO NOTHING",
        [keys],
    )
    await conn.execute("SELECT key FROM limits WHERE key = ANY (%s) ORDER BY key FOR UPDATE", [keys])
    now: datetime = await db.value(conn, "SELECT clock_timestamp()")
    reserved = await db.rows(
        conn,
        "DELETE FROM limit_grants WHERE holder = %s AND key = ANY (%s) AND NOT started RETURNING key",
        [holder, keys],
    )
    in_line = {key for (key,) in reserved}
    # Whoever has a reservation waits for starts only; a newcomer goes behind those who wait already.
    waits = [
        (limit, await _free_at(conn, limit, now, behind_waiting=limit.key not in in_line))
        for limit in ordered
    ]
    latest, free_at = max(waits, key=lambda wait: wait[1])
    if free_at <= now:
        await _write(conn, keys, holder, now, started=True)
        return None
    await _write(conn, keys, holder, free_at, started=False)
    return Wait(free_at, latest.reason)


async def _free_at(conn: db.Conn, limit: Limit, now: datetime, *, behind_waiting: bool) -> datetime:
    """The earliest moment at which one more start keeps every window within the limit."""
    if limit.zone is not None:
        return await _free_day(conn, limit, now, behind_waiting=behind_waiting)
    before = await db.value(
        conn,
        """
        SELECT at
          FROM limit_grants
         WHERE key = %s AND (started OR %s)
         ORDER BY at DESC
        OFFSET %s
         LIMIT 1""",
        [limit.key, behind_waiting, limit.most - 1],
    )
    return now if before is None else max(now, before + timedelta(seconds=limit.window_s))


async def _free_day(conn: db.Conn, limit: Limit, now: datetime, *, behind_waiting: bool) -> datetime:
    """Now, or the next midnight: who waits for the days after is not said, so that nobody books them all ahead."""
    zone = ZoneInfo(limit.zone or "UTC")
    today = now.astimezone(zone).date()
    begins, ends = (datetime.combine(today + timedelta(days=ahead), time(), zone) for ahead in (0, 1))
    taken = await db.value(
        conn,
        """
        SELECT count(*)
          FROM limit_grants
         WHERE key = %s AND (started OR %s) AND at >= %s AND at < %s""",
        [limit.key, behind_waiting, begins, ends],
    )
    return now if int(taken) < limit.most else ends.astimezone(UTC)


async def used_today(conn: db.Conn, key: str, zone: str) -> int:
    """How many starts of this key a calendar day of `zone` has seen until now."""
    begins = datetime.combine(datetime.now(ZoneInfo(zone)).date(), time(), ZoneInfo(zone))
    found = await db.value(
        conn,
        "SELECT count(*) FROM limit_grants WHERE key = %s AND started AND at >= %s",
        [key, begins],
    )
    return int(found)


async def _write(conn: db.Conn, keys: list[str], holder: str, at: datetime, *, started: bool) -> None:
    await conn.execute(
        "INSERT INTO limit_grants (key, holder, at, started) SELECT key, %s, %s, %s FROM unnest(%s::text[]) AS key",
        [holder, at, started, keys],
    )


async def give_back(conn: db.Conn, holder: str) -> None:
    """Drop what this holder reserved and did not use, e.g. when its job is cancelled. May run again."""
    await conn.execute("DELETE FROM limit_grants WHERE holder = %s AND NOT started", [holder])


async def unstart(conn: db.Conn, holder: str, key: str) -> None:
    """Take back the holder's latest start of this key: it turned out that it was not its turn, and nothing was done."""
    await conn.execute(
        """
        DELETE FROM limit_grants
         WHERE id = (SELECT id
                       FROM limit_grants
                      WHERE key = %s AND holder = %s AND started
                      ORDER BY at DESC
                      LIMIT 1)""",
        [key, holder],
    )


async def forget(conn: db.Conn, *, older_than_s: float = LONGEST_S, most: int = 5_000) -> int:
    """Remove grants that no window can reach any more, batch after batch; gives how many."""
    gone = 0
    while True:
        batch = await db.run(
            conn,
            """
            DELETE FROM limit_grants
             WHERE id = ANY (ARRAY(SELECT id
                                     FROM limit_grants
                                    WHERE at < now() - make_interval(secs => %s)
                                    LIMIT %s))""",
            [older_than_s, most],
        )
        gone += batch
        if batch < most:
            return gone
