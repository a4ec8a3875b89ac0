"""The calendar: what is planned and posted as a month, a week or a list; moving it; what waits for a person on top.

Everything that is shown stands in the address: `view`, `on`, `zone`, `account`, `platform`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from app import accounts, config, db, platforms, publishing, videos
from app.errors import Refused
from app.web import days, guard, words
from app.web.days import Place, Span, View
from app.web.pages import page

# How many posts a day of the month, and an hour of the week, shows; the list shows all.
MOST_A_DAY, MOST_AN_HOUR = 3, 4
MOST_IN_LANE, MOST_SHOWN_IN_LANE = 200, 8
# Hours of the night are thin lines while nothing stands there.
NIGHT = range(6)
# Offered beside the person's own; the address takes any other, too.
ZONES = (
    "UTC", "America/Los_Angeles", "America/Denver", "America/Chicago", "America/New_York", "America/Sao_Paulo",
    "Europe/London", "Europe/Berlin", "Europe/Kyiv", "Europe/Istanbul", "Africa/Cairo", "Africa/Lagos",
    "Africa/Johannesburg", "Asia/Dubai", "Asia/Kolkata", "Asia/Bangkok", "Asia/Shanghai", "Asia/Tokyo",
    "Australia/Sydney", "Pacific/Auckland",
)  # fmt: skip
# What can be done with all that waits for a person.
ACTS = ("post", "skip", "move")
TO_COME = ("draft", "scheduled", "queued")


@dataclass(frozen=True)
class Entry:
    """One post as the calendar shows it."""

    id: int
    publication_id: int
    title: str
    account: accounts.Account
    platform: str
    state: str
    word: words.Word
    reason: str | None
    at: datetime
    zone: str
    place: Place
    still: videos.Rendition | None
    movable: bool
    crowded: bool = False

    @property
    def href(self) -> str:
        return f"/publications/{self.publication_id}#target-{self.id}"


@dataclass(frozen=True)
class Slot:
    """An empty place that a weekly slot of an account leaves. `href` opens the composer with its time."""

    at: datetime
    place: Place
    account: accounts.Account
    href: str


Placed = TypeVar("Placed", Entry, Slot)


@dataclass(frozen=True)
class Moved:
    """What was just moved by a plain form, for the notice with its way back."""

    id: int
    title: str
    at: datetime
    zone: str
    note: str | None
    was: publishing.When | None


@dataclass(frozen=True)
class Asked:
    """What the address asks for."""

    view: View
    on: date
    zone: str
    own_zone: str
    account_id: int | None
    platform: str | None
    today: date

    def address(self, **changes: Any) -> str:
        """The address of this calendar with something changed; `part` gives that of its live piece."""
        asked = {
            "view": str(self.view),
            "on": days.span(self.view, self.on).here,
            "zone": self.zone if self.zone != self.own_zone else None,
            "account": self.account_id,
            "platform": self.platform,
        }
        path = "/calendar/view" if changes.pop("part", False) else "/calendar"
        said = {name: value for name, value in {**asked, **changes}.items() if value is not None}
        return f"{path}?{urlencode(said)}"


async def calendar(request: Request) -> Response:
    """GET /calendar?view=month&on=2026-03&zone=&account=&platform="""
    about = await _about(request)
    about["moved"] = await _moved(request)
    about["did"] = did(*(request.query_params.get(name, "") for name in ("did", "many", "left")))
    about["zones"] = [*ZONES, *([] if about["zone"] in ZONES else [about["zone"]])]
    return page(request, "publications/calendar.html", **about)


async def view(request: Request) -> Response:
    """GET /calendar/view: what it shows, without the controls, for its live update."""
    return page(request, "publications/calendar_view.html", **await _about(request))


def read(request: Request, now: datetime) -> Asked:
    """What is asked for; what cannot be understood is taken as not asked."""
    own = guard.who_acts(request).person.zone
    query = request.query_params
    zone = query.get("zone", "")
    zone = zone if zone in publishing.zones() else own
    today = now.astimezone(ZoneInfo(zone)).date()
    given, shape = query.get("account", ""), query.get("view", "")
    platform = query.get("platform", "")
    return Asked(
        view=View(shape) if shape in list(View) else View.MONTH,
        on=days.read_day(query.get("on", ""), today),
        zone=zone,
        own_zone=own,
        account_id=int(given) if given.isascii() and given.isdigit() and len(given) <= 18 else None,
        platform=platform if platform in platforms.NAMES else None,
        today=today,
    )


async def _about(request: Request) -> dict[str, Any]:
    now = datetime.now(UTC)
    asked = read(request, now)
    shown = days.span(asked.view, asked.on)
    from_at, to_at = days.moments(shown.days, asked.zone)
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        connected = await accounts.list_for(conn)
        found = await publishing.between(conn, from_at, to_at, account_id=asked.account_id)
        waiting = await publishing.missed(conn)
        known = {one.id: one for one in connected}
        entries = await entries_of(conn, found, asked.zone, known)
        lane = await entries_of(conn, waiting[:MOST_IN_LANE], asked.zone, known)
        slots = await _slots(conn, shown, asked, connected, entries, now)
    entries = [one for one in entries if asked.platform in (None, one.platform)]
    lane = [one for one in lane if _asked_for(one, asked)]
    entries = mark_crowded(entries, *config.get().account_uploads_most)
    laid = days.lay(entries, shown.days, asked.zone)
    local = now.astimezone(ZoneInfo(asked.zone))
    changed = {day: change for day in shown.days if (change := days.clock_change(day, asked.zone))}
    return {
        **_hours(shown, laid, slots, asked.zone),
        "span": shown,
        "laid": laid,
        "free": slots,
        "lane": lane,
        "lane_most": MOST_SHOWN_IN_LANE,
        "count": sum(len(here) for here in laid.values()),
        "changed": changed,
        "changes": list(changed.values()),
        "today": asked.today,
        "now_hour": local.hour,
        "now_wall": f"{local:%Y-%m-%dT%H:%M}",
        "next_wall": f"{(local + timedelta(minutes=90)).replace(minute=0):%Y-%m-%dT%H:%M}",
        "zone": asked.zone,
        "account_id": asked.account_id,
        "platform": asked.platform,
        "platforms": sorted({one.platform for one in connected}),
        "connected": connected,
        "gap_s": config.get().account_uploads_most[1],
        "address": asked.address,
        "here_path": asked.address(),
        "compose_at": lambda: compose_address(None, None, asked.zone),
    }


def _hours(
    shown: Span, laid: dict[date, list[Entry]], slots: dict[date, list[Slot]], zone: str
) -> dict[str, Any]:
    """What a week needs beside its days: each hour's posts and slots, hours that are not there, the quiet night."""
    if shown.view is not View.WEEK:
        return {"most": MOST_A_DAY}
    hours = {day: by_hour(laid[day]) for day in shown.days}
    free_hours = {day: by_hour(slots[day]) for day in shown.days}
    quiet = {
        hour for hour in NIGHT if not any(hours[day][hour] or free_hours[day][hour] for day in shown.days)
    }
    missing = {day: gone for day in shown.days if (gone := days.missing_hours(day, zone))}
    return {
        "most": MOST_AN_HOUR,
        "hours": hours,
        "free_hours": free_hours,
        "quiet": quiet - {hour for gone in missing.values() for hour in gone},
        "missing": missing,
    }


def by_hour(things: Sequence[Placed]) -> list[list[Placed]]:
    """What stands on one day, hour by hour."""
    return [[one for one in things if one.place.hour == hour] for hour in range(24)]


async def entries_of(
    conn: db.Conn,
    found: Sequence[publishing.Planned],
    zone: str,
    known: dict[int, accounts.Account],
) -> list[Entry]:
    """These posts as the calendar of this zone shows them, with their videos' stills. `known` is added to."""
    seen = await videos.show_many(conn, list({one.video_id for one in found}))
    for account_id in {one.account_id for one in found} - set(known):
        known[account_id] = await accounts.get(conn, account_id)
    return [entry(one, known[one.account_id], seen.get(one.video_id), zone) for one in found]


def entry(one: publishing.Planned, account: accounts.Account, video: videos.Shown | None, zone: str) -> Entry:
    """One post where the calendar of this zone shows it: at the time that was chosen for it."""
    still = (video.still("small") or video.still("poster")) if video is not None else None
    to_come = one.publish_at > datetime.now(UTC)
    return Entry(
        id=one.id,
        publication_id=one.publication_id,
        title=first_line(one.title) or (video.video.title if video is not None else f"Post {one.id}"),
        account=account,
        platform=one.platform,
        state=one.state,
        word=words.target_state(one),
        reason=one.reason,
        at=one.publish_at,
        zone=one.zone,
        place=days.place(one.publish_at, zone),
        still=still,
        movable=to_come and one.state in (publishing.State.SCHEDULED, publishing.State.DRAFT),
    )


def first_line(text: str) -> str:
    """What a post is called in one line."""
    return text.strip().partition("\n")[0].strip()


def mark_crowded(entries: Sequence[Entry], most: int, window_s: float) -> list[Entry]:
    """The same, with those marked that stand closer to others of their account than it may post (S1.30)."""
    found: set[int] = set()
    if most:
        for account_id in {one.account.id for one in entries}:
            own = [one for one in entries if one.account.id == account_id and one.state in TO_COME]
            found |= {own[number].id for number in days.crowded(own, most, window_s)}
    return [replace(one, crowded=one.id in found) for one in entries]


def _asked_for(one: Entry, asked: Asked) -> bool:
    return asked.platform in (None, one.platform) and asked.account_id in (None, one.account.id)


async def _slots(
    conn: db.Conn,
    shown: Span,
    asked: Asked,
    connected: Sequence[accounts.Account],
    entries: Sequence[Entry],
    now: datetime,
) -> dict[date, list[Slot]]:
    """The weekly slots of the accounts that nothing was put into yet, day by day."""
    found: list[Slot] = []
    weekly = await publishing.slots.weekly(conn)
    for account in connected:
        if asked.account_id not in (None, account.id) or asked.platform not in (None, account.platform):
            continue
        taken = {one.at for one in entries if one.account.id == account.id}
        for slot in weekly:
            if slot.account_id != account.id:
                continue
            for when in _in_days(slot, shown.days):
                if when.at is not None and when.at > now and when.at not in taken:
                    href = compose_address(when, account.id, asked.zone)
                    found.append(Slot(when.at, days.place(when.at, asked.zone), account, href))
    return days.lay(found, shown.days, asked.zone)


def _in_days(slot: publishing.slots.Slot, shown: Sequence[date]) -> list[publishing.When]:
    """When this slot comes on these days, and on those beside them that another zone may show there."""
    near = [shown[0] - days.A_DAY, *shown, shown[-1] + days.A_DAY]
    return [
        publishing.When.on(f"{day.isoformat()}T{slot.wall}", slot.zone)
        for day in near
        if day.weekday() == slot.weekday
    ]


def compose_address(when: publishing.When | None, account_id: int | None, zone: str) -> str:
    """The composer, opened with this time and account."""
    asked: dict[str, Any] = {"when": "later"} if when is not None else {}
    if when is not None:
        asked |= {"at": when.wall, "zone": when.zone}
    if account_id is not None:
        asked["account"] = account_id
    return f"/compose?{urlencode(asked)}" if asked else "/compose"


async def _moved(request: Request) -> Moved | None:
    """What a plain form has just moved, with its way back; the address says which and from where."""
    query = request.query_params
    given = query.get("moved", "")
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        return None
    try:
        async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
            target = await publishing.get(conn, int(given))
        was = publishing.When.on(
            query.get("was", ""), query.get("was-zone", ""), int(query.get("was-fold") == "1")
        )
    except Refused:
        return None
    title = first_line(target.choices.title or target.choices.description) or f"Post {target.id}"
    return Moved(target.id, title, target.publish_at, target.zone, target.when.note, was)


def did(act: str, many: str, left: str) -> str:
    """What the calendar says after an act on all that waited; empty for what no form of ours says."""
    if act not in ACTS or not (many.isascii() and many.isdigit() and left.isascii() and left.isdigit()):
        return ""
    count, rest = int(many[:6]), int(left[:6])
    posts = f"{count} post{'' if count == 1 else 's'}"
    sentence = {
        "post": f"{posts} in line. Each account keeps its pause between two posts.",
        "skip": f"{posts} skipped.",
        "move": f"{posts} planned anew.",
    }[act]
    return f"{sentence} {rest} could not be changed any more." if rest else sentence
