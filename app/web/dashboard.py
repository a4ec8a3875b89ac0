"""The first page: what needs the person, what moves, what comes in the next 48 hours, what just went out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import accounts, db, publishing, videos
from app.web import guard
from app.web.account_card import doors
from app.web.calendar import Entry, entries_of
from app.web.pages import page
from app.web.videos import with_waiting

AHEAD = timedelta(hours=48)
MOVING = ("EDITING_QUEUED", "EDITING", "UPLOAD_QUEUED", "UPLOADING", "CONFIRMING")
MOST_FAILED, MOST_MOVING, MOST_OUT = 50, 12, 6
MOST_PLANNED, MOST_NAMED = 20, 5


@dataclass(frozen=True)
class Cause:
    """Videos that failed for one and the same reason."""

    reason: str
    code: str | None
    failed: tuple[videos.Shown, ...]


async def dashboard(request: Request) -> Response:
    """GET /"""
    return page(request, "dashboard/dashboard.html", **await _board(request))


async def board(request: Request) -> Response:
    """GET /dashboard/board: everything on it, for its live update."""
    return page(request, "dashboard/_board.html", **await _board(request))


async def _board(request: Request) -> dict[str, Any]:
    who = guard.who_acts(request)
    async with db.owned_by(who.workspace.id) as conn:
        counts = await videos.counts(conn)
        connected = await accounts.list_for(conn)
        found = await videos.list_for(conn, state="FAILED", most=MOST_FAILED)
        # What missed its time did not fail: it waits for the person's word.
        failed = [shown for shown in found if not _missed(shown)]
        moving = [
            await with_waiting(conn, shown)
            for state in MOVING
            if counts.get(state)
            for shown in await videos.list_for(conn, state=state, most=MOST_MOVING)
        ]
        return {
            "total": sum(counts.values()),
            "counts": counts,
            "connected": connected,
            "doors": doors(),
            "to_reconnect": [account for account in connected if not account.usable],
            "paused": [account for account in connected if account.paused_at is not None],
            "causes": by_cause(failed),
            "failed_count": counts.get("FAILED", 0) - (len(found) - len(failed)),
            "moving": sorted(moving, key=lambda shown: -shown.video.id)[:MOST_MOVING],
            "moving_count": sum(counts.get(state, 0) for state in MOVING),
            **await _posts(conn, who.person.zone, connected, failed),
            "out": await videos.list_for(conn, state="POSTED", most=MOST_OUT),
            "uploads": await videos.uploads.unfinished(conn, who.person.id),
        }


def _missed(shown: videos.Shown) -> bool:
    return shown.target is not None and shown.target.state == publishing.State.MISSED


def by_cause(failed: list[videos.Shown]) -> list[Cause]:
    """Failures grouped by their reason, the cause with most of them first."""
    groups: dict[tuple[str, str | None], list[videos.Shown]] = {}
    for shown in failed:
        groups.setdefault((shown.reason or "It failed.", shown.reason_code), []).append(shown)
    causes = [Cause(reason, code, tuple(group)) for (reason, code), group in groups.items()]
    return sorted(causes, key=lambda cause: -len(cause.failed))


async def _posts(
    conn: db.Conn, zone: str, connected: list[accounts.Account], failed: list[videos.Shown]
) -> dict[str, Any]:
    """Posts that go out soon, wait for the person's word, or are in trouble beside what their videos tell."""
    now = datetime.now(UTC)
    known = {account.id: account for account in connected}
    planned = [
        one
        for one in await publishing.between(conn, now, now + AHEAD)
        if one.state == publishing.State.SCHEDULED
    ]
    told = {shown.target.id for shown in failed if shown.target is not None}
    trouble = [one for one in await publishing.in_trouble(conn) if one.id not in told]
    lane = await publishing.missed(conn)

    async def entries(found: list[publishing.Planned]) -> list[Entry]:
        return await entries_of(conn, found, zone, known)

    return {
        "planned": await entries(planned[:MOST_PLANNED]),
        "planned_count": len(planned),
        "lane": await entries(lane[:MOST_NAMED]),
        "lane_count": len(lane),
        "trouble": by_reason(await entries(trouble)),
        "trouble_count": len(trouble),
    }


def by_reason(found: list[Entry]) -> list[tuple[str, list[Entry]]]:
    """Posts in trouble by what is said of them, the reason with most of them first."""
    groups: dict[str, list[Entry]] = {}
    for one in found:
        unsure = "The platform has not said for an hour whether it is out. You can look there and say so."
        said = unsure if one.state == publishing.State.UNCONFIRMED else one.reason or "It failed."
        groups.setdefault(said, []).append(one)
    return sorted(groups.items(), key=lambda group: -len(group[1]))
