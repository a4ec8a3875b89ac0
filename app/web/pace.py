"""How often one person and one address may change things (S4.45), counted in the database over all processes.

A refused request leaves no trace in the count: whoever waits as told gets through.
"""

from __future__ import annotations

import uuid

from starlette.requests import Request

from app import db
from app.errors import Refused
from app.limits import Limit, Wait
from app.limits import take as take_limits
from app.users import Who
from app.web import guard

WINDOW_S = 60
BY_PERSON = 300
BY_ADDRESS = 600
# Sign-ins and sign-ups; wrong passwords have their own, harder limits in the room.
ENTRIES = 60
# Each takes about a second of a core.
PREVIEWS = 40
TOO_OFTEN = "Too many requests: wait a moment, then try again."


async def take(request: Request, who: Who) -> None:
    """Count a change by this person; Refused (429, `too_many_requests`) above the limit."""
    limits = [Limit(f"web:user:{who.person.id}", BY_PERSON, WINDOW_S, TOO_OFTEN)]
    if address := guard.address_of(request):
        limits.append(Limit(f"web:address:{address}", BY_ADDRESS, WINDOW_S, TOO_OFTEN))
    await _take(limits)


async def take_entry(request: Request) -> None:
    """Count an attempt to sign in or up from this address; Refused (429, `too_many_requests`) above the limit."""
    if address := guard.address_of(request):
        await _take([Limit(f"web:entry:{address}", ENTRIES, WINDOW_S, TOO_OFTEN)])


async def take_preview(who: Who) -> None:
    """Count a picture that a person asks to be drawn; Refused (429, `too_many_requests`) above the limit."""
    await _take([Limit(f"web:preview:{who.person.id}", PREVIEWS, WINDOW_S, TOO_OFTEN)])


async def _take(limits: list[Limit]) -> None:
    async with db.house() as conn:
        wait = await take_limits(conn, f"web-{uuid.uuid4().hex}", limits)
        if wait is not None:
            # Raised inside the transaction: the place in line that `take` reserved goes with it.
            raise await _too_often(conn, wait)


async def _too_often(conn: db.Conn, wait: Wait) -> Refused:
    now = await db.value(conn, "SELECT clock_timestamp()")
    after_s = max(1.0, (wait.until - now).total_seconds())
    return Refused(wait.reason, code="too_many_requests", status=429, after_s=after_s)
