"""When a post goes out: the wall-clock time and the zone a person chose, and the one moment they mean.

What is kept is what was chosen; the moment is derived from it, and derived again when the rules of a zone change
(R10). A time that the clock leaps over is moved on by the leap; of one that comes twice `fold` says which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from app.errors import Refused

FURTHEST = timedelta(days=366)
# How late a form may arrive at the minute that was chosen on it.
GRACE = timedelta(minutes=1)


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of every time zone that may be chosen."""
    return frozenset(available_timezones())


@dataclass(frozen=True)
class When:
    """`at` None means as soon as the video is ready. `wall` is the time that was chosen, `2026-03-29T09:00`, empty
    for as soon as ready. `note` says in a sentence what was decided where the clock is changed.
    """

    at: datetime | None
    zone: str = "UTC"
    wall: str = ""
    fold: int = 0
    note: str = field(default="", compare=False)

    @classmethod
    def now(cls, zone: str = "UTC") -> When:
        """As soon as it is ready; the zone is the one in which times are shown."""
        return cls(None, check_zone(zone))

    @classmethod
    def on(cls, wall: str, zone: str, fold: int = 0) -> When:
        """The moment of a wall-clock time in a zone. Refused under `at` or `zone` for what is none."""
        check_zone(zone)
        chosen = _read(wall)
        here = ZoneInfo(zone)
        try:
            first = chosen.replace(tzinfo=here, fold=0).astimezone(UTC)
            second = chosen.replace(tzinfo=here, fold=1).astimezone(UTC)
            shown = first.astimezone(here).replace(tzinfo=None)
        except (OverflowError, ValueError) as error:
            raise _refused("at", "This is too far away.") from error
        text = _text(chosen)
        if shown != chosen:
            day = "that day" if shown.date() == chosen.date() else f"then, so it is on {shown:%d %b}"
            return cls(
                first, zone, text, 0, f"The clocks leap over {chosen:%H:%M} {day}: {shown:%H:%M} is used."
            )
        if second == first:
            return cls(first, zone, text)
        which = "second" if fold else "first"
        note = f"{chosen:%H:%M} comes twice that day, as the clocks go back: the {which} one is used."
        return cls(second if fold else first, zone, text, 1 if fold else 0, note)

    @classmethod
    def instant(cls, at: datetime, zone: str = "UTC") -> When:
        """This very moment, as the clocks of the zone show it."""
        check_zone(zone)
        try:
            local = at.astimezone(ZoneInfo(zone))
        except (OverflowError, ValueError) as error:
            raise _refused("at", "This is too far away.") from error
        return cls(at.astimezone(UTC), zone, _text(local.replace(tzinfo=None)), local.fold)

    @classmethod
    def kept(cls, publish_at: datetime, zone: str, wall: str | None, fold: int) -> When:
        """As it stands in a row: the moment that was derived, and what it was derived from."""
        if wall is None:
            return cls(publish_at, zone, "", fold)
        try:
            note = cls.on(wall, zone, fold).note
        except Refused:
            note = ""
        return cls(publish_at, zone, wall, fold, note)

    @property
    def local(self) -> datetime | None:
        """What the clocks of the zone show at that moment; None for as soon as ready."""
        return None if self.at is None else self.at.astimezone(_zone(self.zone))

    def check(self, now: datetime | None = None) -> When:
        """The same, when it can still be planned. Refused under `at` for what has passed or is over a year away."""
        now = now or datetime.now(UTC)
        if self.at is not None and self.at < now - GRACE:
            raise _refused("at", "This time has passed already.")
        if self.at is not None and self.at > now + FURTHEST:
            raise _refused("at", "At most a year ahead can be planned.")
        return self

    def words(self, now: datetime | None = None) -> str:
        """`Tue 3 Mar 09:00 Europe/Kyiv, in 2 days`; the year is left out while it is this one."""
        local = self.local
        if local is None or self.at is None:
            return "As soon as the video is ready"
        now = now or datetime.now(UTC)
        year = "" if local.year == now.astimezone(local.tzinfo).year else f" {local.year}"
        return f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M} {self.zone}, {_distance(self.at, now)}"


def check_zone(zone: str) -> str:
    """The zone's name; Refused under `zone` for one that is none."""
    if zone not in zones():
        raise _refused("zone", "Choose a time zone.")
    return zone


def _read(wall: str) -> datetime:
    try:
        chosen = datetime.fromisoformat(wall)
    except ValueError as error:
        raise _refused("at", "Give a day and a time.") from error
    if chosen.tzinfo is not None:
        raise _refused("at", "Give a time without an offset.")
    return chosen.replace(microsecond=0, fold=0)


def _text(wall: datetime) -> str:
    return wall.replace(fold=0).isoformat(timespec="seconds" if wall.second else "minutes")


def _refused(name: str, text: str) -> Refused:
    return Refused(text, code="invalid", fields={name: text})


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name if name in zones() else "UTC")


def _distance(at: datetime, now: datetime) -> str:
    seconds = (at - now).total_seconds()
    if abs(seconds) < 60:
        return "now"
    unit_s, word = next(
        (unit_s, word)
        for most_s, unit_s, word in (
            (90 * 60, 60, "minute"),
            (36 * 3600, 3600, "hour"),
            (float("inf"), 86_400, "day"),
        )
        if abs(seconds) < most_s
    )
    many = max(1, round(abs(seconds) / unit_s))
    words = f"{many} {word}{'' if many == 1 else 's'}"
    return f"in {words}" if seconds > 0 else f"{words} ago"
