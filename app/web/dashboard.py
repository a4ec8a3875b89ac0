"""The first page: what needs the person, what moves, what comes in the next 48 hours, what just went out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import accounts, db, publishing, videos
from app.web import guard
from app.web.pages import page
from app.web.videos import with_waiting

AHEAD = timedelta(hours=48)
MOVING = ("EDITING_QUEUED", "EDITING", "UPLOAD_QUEUED", "UPLOADING", "CONFIRMING")
# Longer than a platform takes on an ordinary day: the person may want to look for themselves.
LONG_UNCONFIRMED = timedelta(hours=1)
MOST_FAILED, MOST_MOVING, MOST_OUT = 50, 12, 6


@dataclass(frozen=True)
class Cause:
    """Videos that failed for one and the same reason."""

    reason: str
    code: str | None
    failed: tuple[videos.Shown, ...]


@dataclass(frozen=True)
class Planned:
    """A post that goes out soon."""

    target: publishing.Target
    account: accounts.Account
    shown: videos.Shown


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
        failed = await videos.list_for(conn, state="FAILED", most=MOST_FAILED)
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
            "to_reconnect": [account for account in connected if not account.usable],
            "paused": [account for account in connected if account.paused_at is not None],
            "causes": by_cause(failed),
            "failed_count": counts.get("FAILED", 0),
            "unsure": [shown for shown in moving if _unsure(shown)],
            "moving": sorted(moving, key=lambda shown: -shown.video.id)[:MOST_MOVING],
            "moving_count": sum(counts.get(state, 0) for state in MOVING),
            "planned": await _planned(conn, connected),
            "out": await videos.list_for(conn, state="POSTED", most=MOST_OUT),
            "uploads": await videos.uploads.unfinished(conn, who.person.id),
        }


def by_cause(failed: list[videos.Shown]) -> list[Cause]:
    """Failures grouped by their reason, the cause with most of them first."""
    groups: dict[tuple[str, str | None], list[videos.Shown]] = {}
    for shown in failed:
        groups.setdefault((shown.reason or "It failed.", shown.reason_code), []).append(shown)
    causes = [Cause(reason, code, tuple(group)) for (reason, code), group in groups.items()]
    return sorted(causes, key=lambda cause: -len(cause.failed))


def _unsure(shown: videos.Shown) -> bool:
    target = shown.target
    return (
        target is not None
        and target.state == publishing.State.UNCONFIRMED
        and datetime.now(UTC) - target.changed_at > LONG_UNCONFIRMED
    )


async def _planned(conn: db.Conn, connected: list[accounts.Account]) -> list[Planned]:
    until = datetime.now(UTC) + AHEAD
    found = [
        Planned(target, account, await videos.show(conn, target.video_id))
        for account in connected
        for target in await publishing.on_account(conn, account.id)
        if target.state == publishing.State.SCHEDULED and datetime.now(UTC) < target.publish_at < until
    ]
    return sorted(found, key=lambda planned: planned.target.publish_at)
