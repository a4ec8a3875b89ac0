"""The same act for every job that matches: a page that says how many, typed confirmation, then batches of 500.

What came in after the page was shown is left alone: the form carries the newest job that it spoke of.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import db, live, queue
from app.errors import NotFound, Refused
from app.queue import Filter, JobRow
from app.web import forms, guard
from app.web.admin import frame, jobs, things

# A request ends before proxies give it up; what is left is done by pressing again.
MOST_S = 8.0


@dataclass(frozen=True)
class Act:
    """One kind of act. `stages` are those it may be asked for; `typed` is the word to type, empty for none."""

    name: str
    title: str
    button: str
    explains: str
    stages: tuple[str, ...]
    typed: str = ""


ACTS: Mapping[str, Act] = {
    act.name: act
    for act in (
        Act(
            "retry",
            "Retry",
            "Retry them",
            "Each goes back in line with a fresh count of tries. One whose work waits already is left as it is.",
            ("failed", "cancelled"),
        ),
        Act(
            "cancel",
            "Cancel",
            "Cancel them",
            "What waits is ended and its owner is told; what runs is asked to stop.",
            ("waiting", "scheduled", "running"),
            "cancel",
        ),
        Act(
            "discard",
            "Discard",
            "Discard for good",
            "The jobs and their attempts are removed for good. What they worked on stays as it is.",
            ("failed", "done", "cancelled"),
            "discard",
        ),
        Act(
            "empty",
            "Empty the queue",
            "Empty the queue",
            "Everything that waits in it is ended and its owner is told, everything that runs is asked to stop. "
            "Ended jobs stay in the lists until they are removed.",
            ("waiting", "scheduled", "running"),
        ),
    )
}
AUDITED = {
    "retry": "jobs.retried",
    "cancel": "jobs.cancelled",
    "discard": "jobs.discarded",
    "empty": "queue.emptied",
}


@dataclass(frozen=True)
class Ask:
    """What the page asks about: an act and the stages it is for, one filter each."""

    act: Act
    asked: Filter

    @property
    def filters(self) -> list[Filter]:
        stages = [self.asked.status] if self.asked.status else list(self.act.stages)
        return [replace(self.asked, status=stage) for stage in stages]

    @property
    def typed(self) -> str:
        """The word that has to be typed, e.g. the name of the queue that is emptied."""
        return self.asked.queue or "" if self.act.name == "empty" else self.act.typed

    @property
    def said(self) -> str:
        if self.asked.status is None and self.act.name != "empty":
            return jobs.in_words(self.asked) + f" that are {' or '.join(self.act.stages)}"
        return f"the queue {self.asked.queue}" if self.act.name == "empty" else jobs.in_words(self.asked)


async def page(request: Request) -> Response:
    """GET /admin/batch?act=retry&state=failed…: how many, and the question."""
    ask = _ask(request.query_params)
    return await _show(request, ask)


async def act(request: Request) -> Response:
    """POST /admin/batch: carry it out, for at most some seconds."""
    form = await forms.read(request)
    ask = _ask(form)
    here = frame.path_to(request, "admin_batch", act=ask.act.name, **jobs.query_of(ask.asked))
    if (first := frame.needs_sign_in(request, here)) is not None:
        return first
    if ask.typed and forms.text(form, "typed").strip().lower() != ask.typed:
        return await _show(request, ask, wrong=f"Type \u201c{ask.typed}\u201d to confirm.")
    newest = jobs.number(forms.text(form, "newest"))
    done, skipped, left = await _carry_out(ask, guard.who_acts(request).person.id, newest)
    return frame.back(
        request,
        "admin_jobs",
        **jobs.query_of(replace(ask.asked, status=ask.asked.status)),
        did=ask.act.name,
        many=done,
        skipped=skipped or None,
        left="1" if left else None,
    )


async def _carry_out(ask: Ask, by: int, newest: int | None) -> tuple[int, int, bool]:
    """Batch after batch, each in a transaction of its own with its audit row."""
    done = skipped = 0
    ends = time.monotonic() + MOST_S
    step = STEPS[ask.act.name]
    for asked in ask.filters:
        before = None if newest is None else newest + 1
        while True:
            if time.monotonic() > ends:
                return done, skipped, True
            asked = replace(asked, before_id=before)
            async with db.house() as conn:
                batch = await step(conn, asked)
                if batch.done:
                    await queue.audit(
                        conn,
                        by,
                        AUDITED[ask.act.name],
                        ask.asked.queue or "jobs",
                        many=batch.done,
                        skipped=batch.skipped,
                        filter=jobs.query_of(asked),
                    )
                    await live.tell(conn, "queues")
            done, skipped, before = done + batch.done, skipped + batch.skipped, batch.next_before_id
            if before is None:
                break
    return done, skipped, False


async def _retry(conn: db.Conn, job: JobRow) -> bool:
    await things.retry(conn, job)
    return True


async def _stop(conn: db.Conn, job: JobRow) -> bool:
    return not job.cancelling and await queue.stop(conn, job.id, jobs.BY_OPERATOR)


async def _over_retry(conn: db.Conn, asked: Filter) -> queue.batch.Batch:
    return await queue.batch.over(conn, asked, _retry)


async def _over_stop(conn: db.Conn, asked: Filter) -> queue.batch.Batch:
    return await queue.batch.over(conn, asked, _stop)


STEPS: Mapping[str, Callable[[db.Conn, Filter], Awaitable[queue.batch.Batch]]] = {
    "retry": _over_retry,
    "cancel": _over_stop,
    "empty": _over_stop,
    "discard": queue.batch.discard_matching,
}


async def _show(request: Request, ask: Ask, *, wrong: str = "") -> Response:
    async with db.house() as conn:
        many = sum([await queue.batch.count(conn, asked) for asked in ask.filters])
        first = [await queue.find(conn, asked, most=5) for asked in ask.filters]
    found = sorted((job for some in first for job in some), key=lambda job: -job.id)
    return frame.show(
        request,
        "admin/batch.html",
        status=422 if wrong else 200,
        act=ask.act,
        ask=ask,
        many=many,
        counted=queue.batch.COUNTED,
        newest=found[0].id if found else 0,
        sample=found[:5],
        query=jobs.query_of(ask.asked),
        here=frame.path_to(request, "admin_batch", act=ask.act.name, **jobs.query_of(ask.asked)),
        wrong=wrong,
    )


def _ask(query: Any) -> Ask:
    known = ACTS.get(query.get("act", ""))
    if known is None:
        raise NotFound
    asked = replace(jobs.wanted(query), before_id=None)
    if known.name == "empty":
        if asked.queue is None:
            raise NotFound
        asked = Filter(queue=asked.queue)
    if asked.status is not None and asked.status not in known.stages:
        raise Refused(f"Jobs that are {asked.status} cannot be asked for this.", code="invalid")
    return Ask(known, asked)
