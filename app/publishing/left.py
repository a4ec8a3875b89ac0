"""How much of each limit an account has left and when it begins anew, for people: the same counts that hold posts back.

What we count ourselves, what the platform said when it was asked about the account, and what stood in the headers of
its answers are put together by name; where they differ the higher use is shown, as others may post there, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app import accounts, db, platforms
from app.publishing import caps

# Where the platform's own name says nothing to people.
WORDS = {"containers": "begun posts"}


@dataclass(frozen=True)
class Left:
    """One limit. `shared`: all accounts of this installation use it up together. `slides`: what is used comes back
    one by one, the first at `resets_at`; else all of it at once. `held_until`: nothing begins before.
    """

    name: str
    shared: bool = False
    used: int | None = None
    most: int | None = None
    percent: float | None = None
    resets_at: datetime | None = None
    slides: bool = False
    held_until: datetime | None = None
    reason: str | None = None
    sentence: str = ""

    @property
    def free(self) -> int | None:
        """How many more; None where the platform tells a percentage only."""
        return None if self.most is None else max(0, self.most - (self.used or 0))

    @property
    def used_percent(self) -> float:
        if self.most:
            return min(100.0, 100.0 * (self.used or 0) / self.most)
        return self.percent or 0.0

    @property
    def words(self) -> str:
        """`posts`, `video uploads`: the limit's name as people say it."""
        return WORDS.get(self.name, self.name.replace("_", " ").replace("-", " ").lower())


async def left(conn: db.Conn, account: accounts.Account) -> list[Left]:
    """Every limit that counts for this account. For the house; the caller has looked whose account it is."""
    creator = accounts.creator_of(account)
    adapter = platforms.get(account.platform)
    found: dict[tuple[str, bool], Left] = {}
    for quota in adapter.quotas(creator):
        key = caps.key_of(account.platform, quota, account.id)
        used, resets_at = await _counted(conn, key, quota)
        shared, slides = quota.scope == "app", quota.zone is None
        found[quota.name, shared] = Left(
            quota.name, shared, used, quota.most, None, resets_at, slides, sentence=quota.sentence
        )
    for told in creator.quotas if creator else ():
        shared = (told.name, True) in found
        _add(found, Left(told.name, shared, told.used, told.most, None, _moment(told.resets_at)))
    for row in await _kept(conn, account, adapter.app().client_key):
        _add(found, row)
    return list(found.values())


async def _counted(conn: db.Conn, key: str, quota: platforms.Quota) -> tuple[int, datetime | None]:
    """How many starts count now, and when that changes by itself."""
    now = datetime.now(UTC)
    if quota.zone is not None:
        zone = ZoneInfo(quota.zone)
        today = now.astimezone(zone).date()
        since, anew = (datetime.combine(today + timedelta(days=days), time(), zone) for days in (0, 1))
    else:
        since, anew = now - timedelta(seconds=quota.window_s), None
    [(used, first)] = await db.rows(
        conn,
        "SELECT count(*), min(at) FROM limit_grants WHERE key = %s AND started AND at >= %s",
        [key, since],
    )
    if anew is None and first is not None:
        anew = first + timedelta(seconds=quota.window_s)
    return int(used), anew.astimezone(UTC) if anew else None


async def _kept(conn: db.Conn, account: accounts.Account, client_key: str) -> list[Left]:
    """What headers and refusals said; a moment that is over says nothing any more."""
    rows = await db.rows(
        conn,
        """
        SELECT name, false, used, most, percent, resets_at, NULL::timestamptz, NULL
          FROM account_usage
         WHERE account_id = %(account)s AND coalesce(resets_at, changed_at + interval '1 day') > now()
         UNION ALL
        SELECT name, true, used, most, percent, resets_at, held_until, reason
          FROM app_usage
         WHERE platform = %(platform)s AND client_key = %(key)s
           AND greatest(resets_at, held_until, changed_at + interval '1 hour') > now()
         ORDER BY 1""",
        {"account": account.id, "platform": account.platform, "key": client_key},
    )
    return [
        Left(name, shared, used, most, percent, resets_at, False, held_until, reason)
        for name, shared, used, most, percent, resets_at, held_until, reason in rows
    ]


def _add(found: dict[tuple[str, bool], Left], told: Left) -> None:
    """Put what the platform said to what we count of the same name."""
    key = (told.name, told.shared)
    known = found.get(key)
    if known is None:
        found[key] = told
        return
    more = known.used is None or (told.used or 0) > known.used
    found[key] = replace(
        known,
        used=told.used if more and told.used is not None else known.used,
        most=told.most or known.most,
        percent=told.percent if told.percent is not None else known.percent,
        resets_at=(told.resets_at or known.resets_at) if more else (known.resets_at or told.resets_at),
        held_until=told.held_until or known.held_until,
        reason=told.reason or known.reason,
    )


def _moment(text: str | None) -> datetime | None:
    """A time as the platform gives it; None for what is no time."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
