"""The composer's form, read into the words that `videos.wishes` takes. Knows the form's fields and nothing else.

Fields: title, accountId, privacyLevel, allowComment, allowDuet, allowStitch, aiGenerated, commercial,
brandOrganic, brandContent; when (`now` or `later`), at (a wall-clock time), zone; and those of `look_form`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from app import accounts, db, platforms, videos
from app.errors import Refused
from app.web import look_form

# In place of an account: the post is written in the composer, as soon as the video is here; `compose-7` for account 7.
COMPOSED = "compose"
# Where a form field is called otherwise than the wish it becomes.
FIELD_OF = {
    "post.privacyLevel": "privacyLevel",
    "post.privacy_level": "privacyLevel",
    "post.title": "title",
    "publishAt": "at",
    **look_form.FIELD_OF,
}
# Stands in a design's captions for a text that is kept under this name.
KEPT = "kept"
PLATFORM_FIELD = {
    "title": "title",
    "privacy_level": "privacyLevel",
    "disable_comment": "allowComment",
    "disable_duet": "allowDuet",
    "disable_stitch": "allowStitch",
}


@dataclass(frozen=True)
class Moment:
    """A wall-clock time made into one moment. `note` says what was decided where the clock is changed."""

    at: datetime
    note: str | None = None


def moment(text: str, zone: str) -> Moment:
    """The moment of a wall-clock time such as `2026-03-03T09:00` in a zone.

    A time that the clock leaps over is moved on by the leap; of one that comes twice the first is taken (R10).
    """
    if zone not in available_timezones():
        raise Refused("Choose a time zone.", code="invalid", fields={"zone": "Choose a time zone."})
    try:
        wall = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(
            "Give a day and a time.", code="invalid", fields={"at": "Give a day and a time."}
        ) from error
    if wall.tzinfo is not None:
        raise Refused("Give a time of day.", code="invalid", fields={"at": "Give a time without an offset."})
    local = wall.replace(tzinfo=ZoneInfo(zone), fold=0)
    try:
        at = local.astimezone(UTC)
        twice = local.replace(fold=1).astimezone(UTC)
    except OverflowError as error:
        raise Refused(
            "Give a day and a time.", code="invalid", fields={"at": "This is too far away."}
        ) from error
    back = at.astimezone(ZoneInfo(zone))
    if back.replace(tzinfo=None) != wall:
        return Moment(at, f"The clocks leap over {wall:%H:%M} that day, so {back:%H:%M} is used.")
    if twice != at:
        return Moment(at, f"{wall:%H:%M} comes twice that day, as the clocks go back; the first one is used.")
    return Moment(at)


async def read(
    conn: db.Conn, form: Mapping[str, str], *, filename: str | None = None
) -> videos.wishes.Wishes:
    """What the form asks for. Refused with every problem under the name of its form field.

    The account's own rules are asked here too, so that a person hears of them before a byte is sent. `filename`
    stands in for a title that was left empty.
    """
    problems: dict[str, str] = {}
    title = form.get("title", "").strip() or (stem(filename) if filename else "")
    asked: dict[str, Any] = {"design": look_form.design_of(form), "zone": form.get("zone") or "UTC"}
    asked["formats"] = look_form.formats_of(form)
    problems |= look_form.problems_of(form)
    if title:
        asked["title"] = title
    account = await _account(conn, form, problems)
    if account is not None:
        asked["accountId"] = account.id
        asked["post"] = _post(form, title)
        if form.get("commercial") and not (form.get("brandOrganic") or form.get("brandContent")):
            problems["commercial"] = "Tick at least one: your own brand, or branded content."
        try:
            if form.get("when") == "later":
                asked["publishAt"] = moment(form.get("at", ""), asked["zone"]).at.isoformat()
        except Refused as refused:
            problems |= refused.fields
    try:
        wishes = videos.wishes.read(asked)
    except Refused as refused:
        found = {FIELD_OF.get(name, name): look_form.sentence(text) for name, text in refused.fields.items()}
        raise Refused(
            "Some of this needs another look.", code="invalid", fields={**found, **problems}
        ) from refused
    if wishes.design is not None:
        # A logo or a clip is the workspace's own: one that is not is named before the upload, not after.
        problems = {**look_form.named(await videos.assets.check(conn, wishes.design)), **problems}
    if account is not None and wishes.post is not None:
        problems = {**_platform_problems(account, wishes.post), **problems}
    if problems:
        raise Refused("Some of this needs another look.", code="invalid", fields=problems)
    return wishes


async def packed(conn: db.Conn, workspace_id: int, asked: dict[str, Any]) -> dict[str, Any]:
    """The same wishes, short enough for a header: captions are kept here, and only their name travels."""
    captions = (asked.get("design") or {}).get("captions") or {}
    if not captions.get("srt"):
        return asked
    name = await videos.texts.keep(conn, workspace_id, captions["srt"])
    return {**asked, "design": {**asked["design"], "captions": {**captions, "srt": None, KEPT: name}}}


async def unpacked(conn: db.Conn, asked: dict[str, Any]) -> dict[str, Any]:
    """The wishes as they were before `packed`; Refused when the captions are gone, which takes two days."""
    design = asked.get("design")
    captions = design.get("captions") if isinstance(design, dict) else None
    if not isinstance(design, dict) or not isinstance(captions, dict) or KEPT not in captions:
        return asked
    text = await videos.texts.of(conn, str(captions[KEPT]))
    if text is None:
        gone = "The captions are no longer here; choose them again."
        raise Refused(gone, code="invalid", fields={"captionsText": gone})
    rest = {word: said for word, said in captions.items() if word != KEPT}
    return {**asked, "design": {**design, "captions": {**rest, "srt": text}}}


def is_composed(account: str) -> bool:
    """Whether this choice of an account leads to the composer."""
    return account == COMPOSED or account.startswith(f"{COMPOSED}-")


def next_page(video_id: int, account: str) -> str:
    """Where a person goes on after an upload with this choice of an account."""
    if not is_composed(account):
        return f"/videos/{video_id}"
    number = account.removeprefix(COMPOSED).removeprefix("-")
    given = f"&account={number}" if number.isascii() and number.isdigit() else ""
    return f"/compose?video={video_id}{given}"


def stem(filename: str) -> str:
    """A file's name as a first title: without its ending, underscores as spaces."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return (name.rpartition(".")[0] or name).replace("_", " ").strip()


async def _account(
    conn: db.Conn, form: Mapping[str, str], problems: dict[str, str]
) -> accounts.Account | None:
    given = form.get("accountId", "")
    if not given or is_composed(given):
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        problems["accountId"] = "Choose an account."
        return None
    return await accounts.usable(conn, int(given))


def _post(form: Mapping[str, str], title: str) -> dict[str, Any]:
    commercial = bool(form.get("commercial") or form.get("brandOrganic") or form.get("brandContent"))
    return {
        "title": title,
        "privacyLevel": form.get("privacyLevel") or None,
        "disableComment": not form.get("allowComment"),
        "disableDuet": not form.get("allowDuet"),
        "disableStitch": not form.get("allowStitch"),
        "brandOrganic": commercial and bool(form.get("brandOrganic")),
        "brandContent": commercial and bool(form.get("brandContent")),
        "aiGenerated": bool(form.get("aiGenerated")),
    }


def _platform_problems(account: accounts.Account, post: platforms.Post) -> dict[str, str]:
    """What the platform would refuse of the choices alone, by form field; the file is looked at when it is here."""
    creator = accounts.creator_of(account)
    if creator is None:
        return {}
    adapter = platforms.get(account.platform)
    found = adapter.check(creator, adapter.fit(creator, post), _ANY_FILE)
    return {PLATFORM_FIELD[name]: text for name, text in found.items() if name in PLATFORM_FIELD}


async def _nothing(start: int, end: int) -> AsyncIterator[bytes]:
    return
    yield b""


# A file that every platform takes, to ask about the choices alone.
_ANY_FILE = platforms.Media(
    bytes_total=1,
    sha256="",
    content_type="video/mp4",
    duration_s=1.0,
    width_px=720,
    height_px=720,
    fps=30.0,
    read=_nothing,
)


def first_moment(now: datetime, zone: str) -> str:
    """What the time field starts with: the next full hour that is at least half an hour away, as wall time."""
    local = now.astimezone(ZoneInfo(zone) if zone in available_timezones() else UTC)
    return f"{(local + timedelta(minutes=90)).replace(minute=0):%Y-%m-%dT%H:%M}"
