"""The hours of the week at which an account posts, and the next of them that is free."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg.errors import UniqueViolation

from app import accounts, db
from app.errors import NotFound, Refused, WrongState
from app.publishing.when import FURTHEST, When, check_zone

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MOST = 100
_WALL = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True)
class Slot:
    """A time of each week, by the clocks of the zone; Monday is 0."""

    id: int
    workspace_id: int
    account_id: int
    weekday: int
    wall: str
    zone: str

    @property
    def words(self) -> str:
        return f"{WEEKDAYS[self.weekday]} {self.wall} {self.zone}"


async def weekly(conn: db.Conn, account_id: int | None = None) -> list[Slot]:
    """The slots of the account, or of all, in the order of the week."""
    return await db.many(
        conn,
        Slot,
        """
        SELECT {columns}
          FROM weekly_slots
         WHERE %(account_id)s::bigint IS NULL OR account_id = %(account_id)s
         ORDER BY weekday, wall, id""",
        {"account_id": account_id},
    )


async def add(conn: db.Conn, *, account_id: int, weekday: int, wall: str, zone: str) -> Slot:
    """Post at this time of each week. Refused under `weekday`, `wall` or `zone`; the same one twice is WrongState."""
    account = await accounts.get(conn, account_id)
    check_zone(zone)
    if not 0 <= weekday <= 6:
        raise Refused("Choose a day of the week.", code="invalid", fields={"weekday": "must be 0 to 6"})
    if not _WALL.fullmatch(wall):
        raise Refused("Give a time of day.", code="invalid", fields={"wall": "must be a time like 09:00"})
    if len(await weekly(conn, account_id)) >= MOST:
        raise Refused(
            f"An account has {MOST} slots at most.", code="too_many", fields={"wall": "one too many"}
        )
    try:
        async with conn.transaction():
            return await db.one(
                conn,
                Slot,
                """
                INSERT INTO weekly_slots (workspace_id, account_id, weekday, wall, zone)
                VALUES (%s, %s, %s, %s, %s)
                RETURNING {columns}""",
                [account.workspace_id, account_id, weekday, wall, zone],
            )
    except UniqueViolation as error:
        raise WrongState("This slot is there already.", code="there_already") from error


async def remove(conn: db.Conn, slot_id: int) -> None:
    """Post at this time no more; what is planned stays. NotFound for a stranger's, and for one that is gone."""
    if not await db.run(conn, "DELETE FROM weekly_slots WHERE id = %s", [slot_id]):
        raise NotFound


async def next_free(
    conn: db.Conn, account_id: int, *, after: datetime | None = None, count: int = 1
) -> list[When]:
    """The account's next slots at which nothing is planned, in order; fewer than `count` when a year holds no more,
    none when the account has no slots.
    """
    begin = max(after or datetime.now(UTC), datetime.now(UTC))
    taken = {
        row[0]
        for row in await db.rows(
            conn,
            """
            SELECT publish_at
              FROM targets
             WHERE account_id = %s AND publish_at >= %s AND state NOT IN ('cancelled', 'failed', 'missed')""",
            [account_id, begin - timedelta(days=1)],
        )
    }
    free: list[When] = []
    for when in _turns(await weekly(conn, account_id), begin):
        if len(free) >= count:
            break
        if when.at not in taken:
            free.append(when)
            taken.add(when.at)
    return free


def _turns(slots: list[Slot], begin: datetime) -> Iterator[When]:
    """Every turn of these slots after `begin`, in order, for a year."""
    if not slots:
        return
    # From the day before: the zones' days begin at different moments.
    day = begin.date() - timedelta(days=1)
    held: list[When] = []
    while datetime(day.year, day.month, day.day, tzinfo=UTC) < begin + FURTHEST:
        found = [When.on(f"{day}T{slot.wall}", slot.zone) for slot in slots if slot.weekday == day.weekday()]
        held = sorted([*held, *found], key=_moment)
        # What a later day can still come before: zones are at most 26 hours apart.
        safe = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=14)
        yield from (when for when in held if begin < _moment(when) < safe)
        held = [when for when in held if _moment(when) >= safe]
        day += timedelta(days=1)
    yield from (when for when in held if begin < _moment(when) <= begin + FURTHEST)


def _moment(when: When) -> datetime:
    assert when.at is not None
    return when.at
