"""Steering while everything runs: the limits of a queue, and pauses of a task, a platform or an account.

Each act wants a fresh sign-in and is written down. Its page is `queues`, which shows `_steering.html` for each queue
and `_pauses.html` once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import accounts, db, jobs, live, platforms, queue, users
from app.errors import NotFound, Refused, WrongState
from app.web import forms, guard, words
from app.web.admin import frame

LONGEST_REASON = 200
LONGEST_NUMBER = 12
KINDS = ("task", "platform", "account")


@dataclass(frozen=True)
class PauseLine:
    """What is paused besides queues, as its line shows it."""

    kind: str
    name: str
    label: str
    reason: str
    by: str
    at: datetime


async def pause_lines(conn: db.Conn) -> list[PauseLine]:
    """The tasks, platforms and accounts that are paused, for `_pauses.html` as `pauses`."""
    found = [pause for pause in await queue.pauses(conn) if pause.kind in KINDS]
    names = await users.names(conn, {pause.paused_by for pause in found if pause.paused_by is not None})
    return [
        PauseLine(
            pause.kind,
            pause.name,
            pause.label or pause.name,
            pause.reason,
            names.get(pause.paused_by or 0, "somebody"),
            pause.paused_at,
        )
        for pause in found
    ]


def pausable() -> dict[str, tuple[str, ...]]:
    """What may be chosen to be paused by name, by kind, for `_pauses.html`; accounts are named by number."""
    return {"task": tuple(job.name for job in jobs.JOBS), "platform": platforms.NAMES}


async def set_limits(request: Request) -> Response:
    """POST /admin/queues/{queue}/limits: exactly what the form says, nothing for no limit."""
    name = _queue(request).name
    if (first := _fresh(request)) is not None:
        return first
    form = await forms.read(request)
    given = _limits(form)
    async with db.house() as conn:
        await queue.set_limits(conn, name, by=guard.who_acts(request).person.id, **given)
        await live.tell(conn, "queues")
    return frame.back(request, "admin_queues")


async def reset_limits(request: Request) -> Response:
    """POST /admin/queues/{queue}/limits/reset: what the settings say."""
    line = _queue(request)
    if (first := _fresh(request)) is not None:
        return first
    async with db.house() as conn:
        await queue.reset_limits(conn, line, by=guard.who_acts(request).person.id)
        await live.tell(conn, "queues")
    return frame.back(request, "admin_queues")


async def pause(request: Request) -> Response:
    """POST /admin/pauses: `kind`, `subject` and `reason`."""
    if (first := _fresh(request)) is not None:
        return first
    form = await forms.read(request)
    kind, subject = forms.text(form, "kind"), forms.text(form, "subject").strip()
    reason = " ".join(forms.text(form, "reason").split())[:LONGEST_REASON]
    by = guard.who_acts(request).person.id
    async with db.house() as conn:
        name, label = await _subject(conn, kind, subject)
        if not await queue.pause(conn, name, by=by, reason=reason, kind=kind, label=label):
            raise WrongState(f"{label} is paused already.", code="paused_already")
        await queue.audit(conn, by, f"{kind}.paused", name, reason=reason)
        await live.tell(conn, "queues")
    return frame.back(request, "admin_queues")


async def end_pause(request: Request) -> Response:
    """POST /admin/pauses/{queue}/end, by the name of what is paused: what waits for it goes on at once."""
    if (first := _fresh(request)) is not None:
        return first
    name, by = str(request.path_params["queue"]), guard.who_acts(request).person.id
    async with db.house() as conn:
        ended = await queue.paused(conn, name)
        if ended is None or ended.kind not in KINDS:
            raise NotFound("Nothing of this name is paused.")
        await queue.resume(conn, name, kind=ended.kind)
        await queue.audit(conn, by, f"{ended.kind}.resumed", name, reason=ended.reason)
        await live.tell(conn, "queues")
    return frame.back(request, "admin_queues")


def _fresh(request: Request) -> Response | None:
    return frame.needs_sign_in(request, str(request.app.url_path_for("admin_queues")))


def _queue(request: Request) -> queue.Queue:
    name = str(request.path_params["queue"])
    for line in jobs.QUEUES:
        if line.name == name:
            return line
    raise NotFound("There is no such queue.")


def _limits(form: Any) -> dict[str, Any]:
    """The five numbers of the form; Refused, field by field, for what is no number."""
    given: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name in ("together", "starts", "each", "fair", "window_s"):
        text = forms.text(form, name).strip()
        try:
            given[name] = _number(text, whole=name != "window_s")
        except ValueError:
            wrong[name] = f"\u201c{text[:LONGEST_NUMBER]}\u201d is no number that can be used here."
    if wrong:
        raise Refused("These limits cannot be set. " + " ".join(wrong.values()), fields=wrong)
    return given


def _number(text: str, *, whole: bool) -> int | float | None:
    """None for nothing; ValueError for what is no plain decimal number."""
    if not text:
        return None
    digits = text if whole else text.replace(".", "", 1)
    if len(text) > LONGEST_NUMBER or not (digits.isascii() and digits.isdigit()):
        raise ValueError(text)
    return int(text) if whole else float(text)


async def _subject(conn: db.Conn, kind: str, subject: str) -> tuple[str, str]:
    """(the pause's name, what people read) of what is to be paused; Refused when there is no such thing."""
    if kind == "account":
        number = subject.removeprefix("account-")
        if number.isascii() and number.isdigit() and len(number) <= LONGEST_NUMBER:
            try:
                account = await accounts.get(conn, int(number))
            except NotFound:
                raise _unknown(kind, subject) from None
            return f"account-{account.id}", account.display_name or f"account-{account.id}"
        raise _unknown(kind, subject)
    if kind not in KINDS:
        raise Refused(
            "Say what is to be paused: a task, a platform or an account.",
            fields={"kind": "Choose task, platform or account."},
        )
    if subject not in pausable()[kind]:
        raise _unknown(kind, subject)
    return subject, words.PLATFORMS.get(subject, subject)


def _unknown(kind: str, subject: str) -> Refused:
    said = f"There is no {kind} called \u201c{subject[:LONGEST_REASON]}\u201d."
    return Refused(said, code="unknown_subject", fields={"subject": said})
