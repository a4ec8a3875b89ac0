"""The composer's form with everything that follows from it: what each account's platform says, the time, the forecast.

A whole page, a piece of one and the judgement of what is typed are all made from one `Sheet`. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app import accounts, db, platforms, publishing, videos
from app.errors import Refused
from app.publishing import When
from app.web import forms, guard, pages, post_form, post_tabs
from app.web.compose import first_moment
from app.web.post_form import Typed

# How far back pictures are looked for.
LOOKED_AT = 36
COMMON_ZONES = (
    "UTC", "Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "America/Argentina/Buenos_Aires", "America/Bogota",
    "America/Chicago", "America/Denver", "America/Halifax", "America/Los_Angeles", "America/Mexico_City",
    "America/New_York", "America/Sao_Paulo", "America/Toronto", "Asia/Bangkok", "Asia/Dubai", "Asia/Hong_Kong",
    "Asia/Jakarta", "Asia/Karachi", "Asia/Kolkata", "Asia/Manila", "Asia/Seoul", "Asia/Shanghai", "Asia/Singapore",
    "Asia/Tokyo", "Australia/Perth", "Australia/Sydney", "Europe/Athens", "Europe/Berlin", "Europe/Istanbul",
    "Europe/Kyiv", "Europe/Lisbon", "Europe/London", "Europe/Madrid", "Europe/Paris", "Europe/Rome", "Europe/Warsaw",
    "Pacific/Auckland",
)  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """The chosen time as it is shown: in words, with what was decided where the clocks are changed."""

    when: When
    words: str = ""
    note: str = ""
    past: bool = False
    twice: bool = False


@dataclass(frozen=True)
class Told:
    """A problem in the list at the top: whose it is, and the id of where it is put right."""

    text: str
    anchor: str
    whose: str = ""


@dataclass(frozen=True)
class Sheet:
    """The whole form with what was made of it: everything the page and its pieces show."""

    typed: Typed
    shown: videos.Shown | None
    media: publishing.Media | None
    chosen: Chosen
    zone: str
    connected: Sequence[accounts.Account]
    tabs: Sequence[post_tabs.Tab]
    problems: Mapping[str, str]
    # What else there is to choose from for a carousel.
    pictures: Sequence[videos.Shown] = ()

    @property
    def base_counts(self) -> list[dict[str, Any]]:
        """How long the text for all is, where it is used; platforms that count alike stand together."""
        alike: dict[tuple[int, int, str], list[str]] = {}
        for tab in self.tabs:
            for count in () if tab.own else tab.counts_of("text"):
                labels = alike.setdefault((count.used, count.most, count.unit), [])
                if tab.label not in labels:
                    labels.append(tab.label)
        return [
            {"labels": labels, "used": used, "most": most, "unit": unit, "over": used > most}
            for (used, most, unit), labels in alike.items()
        ]

    @property
    def things(self) -> dict[str, Any]:
        """What templates are given of it."""
        return {
            "typed": self.typed,
            "shown": self.shown,
            "facts": self.media,
            "shape": post_tabs.shape_of(self.media),
            "chosen": self.chosen,
            "zone": self.zone,
            "zones": tuple(dict.fromkeys((self.zone, *COMMON_ZONES))),
            "connected": self.connected,
            "tabs": self.tabs,
            "pictures": self.pictures,
            "base_counts": self.base_counts,
            "labels": platforms.LABELS,
            "first_moment": first_moment(datetime.now(UTC), self.zone),
        }


async def sheet_of(
    conn: db.Conn,
    who: guard.Who,
    typed: Typed,
    *,
    own_time: When | None = None,
    fixed: Mapping[int, str] | None = None,
    targets: Mapping[int, int] | None = None,
) -> Sheet:
    """Everything that follows from what was typed. NotFound for a foreign video or account.

    Of a publication that is changed: `own_time` is when it is planned already, `targets` are its targets by account,
    `fixed` tells which of them cannot be changed any more, and why.
    """
    connected = await accounts.list_for(conn)
    known = {account.id for account in connected}
    shown = None if typed.video_id is None else await videos.show(conn, typed.video_id)
    picked = [account for account in connected if account.id in typed.accounts]
    # One that was disconnected since is shown, and refused; a foreign one is not found.
    picked += [await accounts.get(conn, one) for one in typed.accounts if one not in known]
    title = "" if shown is None else shown.video.title
    for account in picked:
        if not typed.opened(account.id):
            offered = platforms.get(account.platform).FIELDS
            typed = typed.having(post_form.fresh(account.id, offered, title))
    zone = typed.get("zone", who.person.zone)
    chosen, problems = _chosen(typed, zone, own_time)
    media = post_tabs.media_of(shown)
    later = chosen.when.at if typed.get("when") == "later" else None
    native_at = later.isoformat() if later is not None else ""
    with_slots = {slot.account_id for slot in await publishing.slots.weekly(conn)}
    is_picture = shown is not None and shown.video.is_picture
    tabs = []
    for account in picked:
        sent = await _with_pictures(conn, media, post_form.pictures_of(typed, account.id))
        tab = post_tabs.tab_of(account, typed, sent, native_at=native_at, fixed=(fixed or {}).get(account.id))
        if shown is not None and tab.fixed is None:
            tab = await post_tabs.with_forecast(
                conn,
                tab,
                media=sent,
                when=chosen.when,
                video_id=shown.video.id,
                target_id=(targets or {}).get(account.id),
            )
        tabs.append(replace(tab, has_slots=account.id in with_slots, is_picture=is_picture))
    if shown is None:
        problems["video"] = "Choose a video."
    if not picked:
        problems["account"] = "Tick at least one account."
    further: list[videos.Shown] = []
    if shown is not None and is_picture:
        newest = await videos.list_for(conn, most=LOOKED_AT)
        further = [
            one
            for one in newest
            if one.video.is_picture and one.video.id != shown.video.id and one.video.edited_key
        ]
    return Sheet(typed, shown, media, chosen, chosen.when.zone, connected, tabs, problems, further)


async def _with_pictures(
    conn: db.Conn, media: publishing.Media | None, numbers: Sequence[int]
) -> publishing.Media | None:
    """The file with the further pictures of a carousel, as far as they are there."""
    if media is None or not numbers:
        return media
    found = await videos.show_many(conn, numbers)
    made = [post_tabs.media_of(found[number]) for number in numbers if number in found]
    return replace(media, more=[asdict(replace(one, cover=None)) for one in made if one is not None])


def _chosen(typed: Typed, zone: str, own_time: When | None) -> tuple[Chosen, dict[str, str]]:
    now = datetime.now(UTC)
    if zone not in publishing.zones():
        return Chosen(When.now("UTC")), {"zone": "Choose a time zone."}
    if own_time is not None and typed.get("when", "keep") == "keep":
        return Chosen(own_time, own_time.words(now), own_time.note), {}
    if typed.get("when") != "later":
        return Chosen(When.now(zone)), {}
    fold = 1 if typed.get("fold") == "1" else 0
    try:
        when = When.on(typed.get("at"), zone, fold)
        other = When.on(typed.get("at"), zone, 1 - fold)
        twice = other.at != when.at
    except Refused as refused:
        return Chosen(When.now(zone)), dict(refused.fields)
    past = when.at is not None and when.at <= now
    problems = {}
    try:
        when.check(now)
    except Refused as refused:
        problems = dict(refused.fields)
    return Chosen(when, when.words(now), when.note, past and not problems, twice), problems


def all_problems(sheet: Sheet) -> dict[str, str]:
    """Every problem under the name of its field in the form."""
    found = dict(sheet.problems)
    for tab in sheet.tabs:
        if tab.creator is None and tab.fixed is None:
            found[f"{tab.account.id}-media"] = f"{tab.label} has not said yet what this account may do."
        found |= {f"{tab.account.id}-{word}": text for word, text in tab.problems.items()}
    return found


def told_of(sheet: Sheet, problems: Mapping[str, str]) -> list[Told]:
    """The same for the list at the top of the page, each with the way to its field."""
    tabs = {str(tab.account.id): tab for tab in sheet.tabs}
    told = []
    for name, text in problems.items():
        number, _, word = name.partition("-")
        tab = tabs.get(number)
        if tab is None:
            told.append(Told(text, "accounts-title" if name == "account" else f"wrong-{name}"))
        else:
            told.append(Told(text, tab.anchor(word), tab.account.display_name))
    return told


async def typed_of(request: Request) -> Typed:
    return post_form.read((await forms.read(request)).multi_items())


def judged(request: Request, sheet: Sheet) -> Response:
    """What the platforms say of the form now: sentences and counts by field, and the pieces of the page that follow."""
    things = {**sheet.things, "problems": {}}

    def piece(name: str, **more: Any) -> str:
        return pages.render(request, f"publications/compose_{name}.html", **things, **more)

    told = {
        "problems": all_problems(sheet),
        "counts": {
            f"{tab.account.id}-{word}": [
                {"used": one.used, "most": one.most, "unit": one.unit} for one in counts
            ]
            for tab in sheet.tabs
            for word, counts in tab.counts.items()
        },
        "pieces": {
            "text-counts": piece("counts"),
            "chosen-video": piece("chosen"),
            "when-words": piece("when"),
            "forecast": piece("summary"),
            **{f"preview-{tab.account.id}": piece("preview", tab=tab) for tab in sheet.tabs},
        },
    }
    return JSONResponse(told)
