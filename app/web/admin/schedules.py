"""What happens by itself: the house's timers in plain words, their last run, and running one now.

Timers are set where the tasks are, which no door may import; the list here is held against them by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app import db, jobs, queue
from app.errors import NotFound
from app.queue.lately import LastRun
from app.web import guard
from app.web.admin import frame

WORKS: Mapping[str, tuple[queue.Job, str, str]] = {
    job.name: (job, cron, what)
    for job, cron, what in (
        (jobs.RELEASE_DUE, "*/5 * * * *", "Puts posts in line whose own alarm was missed."),
        (jobs.RENEW_TOKENS, "*/10 * * * *", "Renews the access of accounts before it ends."),
        (
            jobs.RESCUE_STALLED,
            "*/5 * * * *",
            "Puts stalled jobs back in line, and asks about posts that nobody confirmed.",
        ),
        (jobs.SWEEP, "17 * * * *", "Removes what is old: ended jobs, unfinished uploads, spent limits."),
    )
}


@dataclass(frozen=True)
class Timer:
    """One timer as its row shows it."""

    task: str
    queue: str
    what: str
    when: str
    cron: str
    last: LastRun | None


async def page(request: Request) -> Response:
    """GET /admin/schedules"""
    async with db.house() as conn:
        last = await queue.lately.last_runs(conn, list(WORKS))
    timers = [
        Timer(name, job.queue.name, what, in_words(cron), cron, last.get(name))
        for name, (job, cron, what) in WORKS.items()
    ]
    return frame.show(
        request, "admin/schedules.html", timers=timers, started=request.query_params.get("started")
    )


async def run_now(request: Request) -> Response:
    """POST /admin/schedules/{task}/run: one more run, as soon as a worker is free."""
    found = WORKS.get(str(request.path_params["task"]))
    if found is None:
        raise NotFound("There is no such timer.")
    job = found[0]
    async with db.house() as conn:
        job_id = await queue.defer(conn, job, workspace_id=None)
        await queue.audit(conn, guard.who_acts(request).person.id, "schedule.run", job.name, job_id=job_id)
    return frame.back(request, "admin_job", ids={"job_id": job_id})


def in_words(cron: str) -> str:
    """A cron line as a person says it; one that nobody put into words stays as it is."""
    minute, hour, *rest = cron.split()
    if rest != ["*", "*", "*"]:
        return cron
    if (minute, hour) == ("*", "*"):
        return "every minute"
    if minute.startswith("*/") and hour == "*":
        return f"every {minute[2:]} minutes"
    if minute.isdigit() and hour == "*":
        return f"every hour, at {int(minute)} minutes past"
    if minute.isdigit() and hour.isdigit():
        return f"every day at {int(hour):02}:{int(minute):02} UTC"
    return cron
