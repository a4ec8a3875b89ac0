"""What a project may use up in a Pacific day: three buckets and one for batch counters (sections 0, 1 and 7.4)."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from zoneinfo import ZoneInfo

from app.sandbox.world import App

# Midnight Pacific time, by the zone's own rules and never by a fixed offset (section 1).
PACIFIC = ZoneInfo("America/Los_Angeles")
MOST = {"uploads": 100, "searches": 100, "units": 10_000, "stats": 10_000}


def day_of(at: float) -> str:
    return datetime.fromtimestamp(at, PACIFIC).date().isoformat()


def most(app: App, bucket: str) -> int:
    return int(app.more.get(f"{bucket}_per_day", MOST[bucket]))


def used(conn: sqlite3.Connection, client_key: str, bucket: str, at: float) -> int:
    row = conn.execute(
        "SELECT used FROM yt_quota WHERE client_key = ? AND bucket = ? AND day = ?",
        (client_key, bucket, day_of(at)),
    ).fetchone()
    return int(row["used"]) if row else 0


def charge(conn: sqlite3.Connection, app: App, bucket: str, cost: int, at: float) -> bool:
    """Take `cost` from today's bucket, or say that not so much is left. A refused call takes nothing."""
    taken = used(conn, app.client_key, bucket, at) + cost
    if taken > most(app, bucket):
        return False
    put(conn, app.client_key, bucket, taken, at)
    return True


def put(conn: sqlite3.Connection, client_key: str, bucket: str, taken: int, at: float) -> None:
    """Set today's counter of one bucket."""
    conn.execute(
        "INSERT INTO yt_quota VALUES (?, ?, ?, ?)"
        " ON CONFLICT (client_key, bucket, day) DO UPDATE SET used = excluded.used",
        (client_key, bucket, day_of(at), taken),
    )
