"""What every operators' page shares: its frame, the words for jobs and runs, the fresh sign-in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import config, queue
from app.errors import Refused
from app.web import guard, pages, words
from app.web.words import Word

STAGES: Mapping[str, Word] = {
    "waiting": Word("Waiting", "waiting", "clock"),
    "scheduled": Word("Scheduled", "waiting", "calendar-clock"),
    "running": Word("Running", "working", "loader-circle"),
    "failed": Word("Failed", "failed", "triangle-alert"),
    "done": Word("Done", "done", "check"),
    "cancelled": Word("Cancelled", "off", "ban"),
}
CANCELLING = Word("Cancelling", "needs", "hourglass")
OUTCOMES: Mapping[str, Word] = {
    "done": Word("Done", "done", "check"),
    "failed": Word("Failed, tried again", "needs", "rotate-ccw"),
    "gave_up": Word("Gave up", "failed", "triangle-alert"),
    "waiting": Word("Put off", "waiting", "clock"),
    "unsure": Word("Outcome unknown", "needs", "circle-help"),
    "cancelled": Word("Cancelled", "off", "ban"),
    "handed_back": Word("Handed back", "waiting", "rotate-ccw"),
    "lost": Word("Worker lost", "needs", "triangle-alert"),
}
RUNNING = Word("Running", "working", "loader-circle")


def show(request: Request, template: str, *, status: int = 200, **things: Any) -> Response:
    """A page or partial of the operators, with what their frame needs."""
    return pages.page(
        request,
        template,
        status=status,
        environment=config.get().app_env,
        fresh=is_fresh(request),
        fresh_minutes=guard.FRESH_S // 60,
        stage_word=stage_word,
        outcome_word=outcome_word,
        STAGE_WORDS=STAGES,
        **things,
    )


def stage_word(job: queue.JobRow) -> Word:
    return CANCELLING if job.cancelling else STAGES[job.stage]


def outcome_word(outcome: str | None) -> Word:
    return RUNNING if outcome is None else OUTCOMES.get(outcome, words.UNKNOWN)


def is_fresh(request: Request) -> bool:
    """Whether the last sign-in is recent enough for batch and destructive acts."""
    return time.time() - guard.who_acts(request).session.signed_in_at.timestamp() <= guard.FRESH_S


def needs_sign_in(request: Request, where: str) -> Response | None:
    """The way to sign in again and come back to `where`; None when the sign-in is fresh."""
    try:
        guard.require_fresh(request)
    except Refused:
        return RedirectResponse(path_to(request, "admin_again", next=where), 303)
    return None


async def again(request: Request) -> Response:
    """GET /admin/again: the password once more, then back."""
    where = pages.safe_next(request.query_params.get("next", "/admin/queues"))
    if is_fresh(request):
        return RedirectResponse(where, 303)
    return show(request, "admin/again.html", next=where)


def back(request: Request, name: str, *, ids: Mapping[str, Any] | None = None, **query: Any) -> Response:
    """To another operators' page, after something was done."""
    return RedirectResponse(path_to(request, name, ids, **query), 303)


def path_to(request: Request, name: str, ids: Mapping[str, Any] | None = None, **query: Any) -> str:
    """The path of a route with what is asked of it; what is None or empty is left out."""
    path = str(request.app.url_path_for(name, **(ids or {})))
    asked = {key: value for key, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(asked)}" if asked else path
