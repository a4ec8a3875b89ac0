"""The limits of a queue as operators change them while everything runs: the row that every claim obeys."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import psycopg

from app import config, db
from app.errors import Refused
from app.queue import claim, policy, rows

MOST_PLACES = 10_000
MOST_STARTS = 1_000_000
LONGEST_WINDOW_S = config.LONGEST_WINDOW_S


@dataclass(frozen=True)
class Limits:
    """Over all workers: `together` run at once, `starts` in any `window_s` seconds, `each` of one owner at once,
    `fair` of one owner while others wait. None is no limit.
    """

    together: int | None = None
    starts: int | None = None
    window_s: float | None = None
    each: int | None = None
    fair: int | None = None

    def check(self) -> None:
        """Refused, field by field, where a number makes no sense."""
        wrong: dict[str, str] = {}
        for name, most in (
            ("together", MOST_PLACES),
            ("starts", MOST_STARTS),
            ("each", MOST_PLACES),
            ("fair", MOST_PLACES),
        ):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                wrong[name] = f"Give a whole number from 1 to {most:,}, or nothing for no limit."
        if self.window_s is not None and not (
            math.isfinite(self.window_s) and 0 < self.window_s <= LONGEST_WINDOW_S
        ):
            wrong["window_s"] = f"Give more than 0 and at most {LONGEST_WINDOW_S:,.0f} seconds, a day."
        if (self.starts is None) != (self.window_s is None):
            missing = "window_s" if self.window_s is None else "starts"
            wrong.setdefault(missing, "Starts and seconds belong together: give both, or neither.")
        if wrong:
            raise Refused("These limits cannot be set. " + " ".join(wrong.values()), fields=wrong)


async def set_limits(
    conn: db.Conn,
    queue: str,
    *,
    by: int,
    together: int | None = None,
    starts: int | None = None,
    window_s: float | None = None,
    each: int | None = None,
    fair: int | None = None,
) -> Limits:
    """Put exactly these limits in force, None being none, until they are set or reset again: claims after the caller's
    commit obey, what runs goes on. Workers are woken, the act is written down.

    Refused, with nothing written, where a number makes no sense. Twice is once.
    """
    limits = Limits(together, starts, window_s, each, fair)
    limits.check()
    before = await _hold(conn, queue)
    await conn.execute(
        """
        INSERT INTO queue_limits (queue, together, starts, window_s, each, fair, set_by)
        VALUES (%(queue)s, %(together)s, %(starts)s, %(window_s)s, %(each)s, %(fair)s, %(by)s)
            ON CONFLICT (queue) DO UPDATE
           SET together = excluded.together, starts = excluded.starts, window_s = excluded.window_s,
               each = excluded.each, fair = excluded.fair, set_by = excluded.set_by, set_at = now()""",
        {"queue": queue, "by": by, **asdict(limits)},
    )
    await _tell(conn, queue, by, "queue.limits_set", before, limits)
    return limits


async def reset_limits(conn: db.Conn, queue: policy.Queue, *, by: int) -> Limits:
    """Put the limits of the settings in force again, as this process reads them."""
    before = await _hold(conn, queue.name)
    await conn.execute("DELETE FROM queue_limits WHERE queue = %s", [queue.name])
    await claim.enter_limits(conn, queue.effective())
    after = await _hold(conn, queue.name)
    await _tell(conn, queue.name, by, "queue.limits_reset", before, after)
    return after


async def _hold(conn: db.Conn, queue: str) -> Limits:
    """The limits in force, locked against claims until the caller's commit."""
    cursor = conn.cursor(row_factory=psycopg.rows.class_row(Limits))
    await cursor.execute(
        "SELECT together, starts, window_s, each, fair FROM queue_limits WHERE queue = %s FOR UPDATE", [queue]
    )
    return await cursor.fetchone() or Limits()


async def _tell(conn: db.Conn, queue: str, by: int, action: str, before: Limits, after: Limits) -> None:
    await rows.audit(conn, by, action, queue, before=asdict(before), after=asdict(after))
    await conn.execute("SELECT wake_queue(%s, 0)", [queue])
