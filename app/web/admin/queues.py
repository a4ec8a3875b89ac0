"""The queues: how full each is, what holds it back, its last hour, its limits in force, pause and go on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import config, db, jobs, live, queue, users
from app.errors import NotFound
from app.queue import QueueHealth, lately
from app.queue.health import COUNTED
from app.queue.lately import Hour, LimitState, Paused, Times
from app.queue.policy import EffectiveQueue
from app.web import forms, guard
from app.web.admin import alerts, frame, steering

LONGEST_REASON = 200
BAR_PX, HIGHEST_PX = 12, 40


@dataclass(frozen=True)
class Setting:
    """One limit in force. `by` says what set it."""

    word: str
    value: str
    by: str


@dataclass(frozen=True)
class Bar:
    """Five minutes in the little drawing, in its own units: what was done, and above it what failed."""

    x: int
    done_px: int
    failed_px: int
    text: str

    @property
    def done_y(self) -> int:
        return HIGHEST_PX - self.done_px

    @property
    def failed_y(self) -> int:
        return self.done_y - self.failed_px


@dataclass(frozen=True)
class Line:
    """A queue as its card shows it. `paused_tasks` are those of its tasks that are paused by themselves."""

    state: QueueHealth
    limits: EffectiveQueue
    in_force: LimitState | None
    settings: tuple[Setting, ...]
    hour: Hour | None
    times: Times | None
    pause: Paused | None
    paused_by: str
    paused_tasks: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def places(self) -> int:
        """How many of its jobs all living workers can run at once, and its limit allows."""
        places = self.state.workers * self.limits.together
        together = self.in_force.together if self.in_force else None
        return places if together is None else min(places, together)

    @property
    def running(self) -> int:
        return min(self.state.running, self.places) if self.places else self.state.running

    @property
    def ahead(self) -> int:
        """Jobs that workers took ahead of a free place, to lose no time between short ones."""
        return self.state.running - self.running

    @property
    def saturation(self) -> int:
        """Percent of the places in use."""
        return round(100 * self.running / self.places) if self.places else 0

    @property
    def bars(self) -> tuple[Bar, ...]:
        return bars(self.hour)

    @property
    def done_hour(self) -> int:
        return sum(self.hour.done) if self.hour else 0

    @property
    def failed_hour(self) -> int:
        return sum(self.hour.failed) if self.hour else 0

    @property
    def a_minute(self) -> float:
        """Jobs done a minute, over the latest five."""
        return self.hour.done[-1] * 60 / lately.PIECE_S if self.hour else 0.0

    @property
    def next_start_at(self) -> datetime | None:
        """When its limit allows the next start, while that holds it back."""
        return self.in_force.next_start_at if self.in_force and self.state.waiting else None

    @property
    def holds_back(self) -> str:
        """What limits this queue right now, in words (S4.41)."""
        state, rule = self.state, self.in_force
        if state.paused:
            return "Paused by an operator: what runs goes on, nothing new starts."
        if not state.workers:
            waits = state.waiting + state.scheduled + state.running
            return "No worker is running for this queue." if waits else "Nobody serves it; nothing waits."
        if not state.waiting:
            return "Keeps up: nothing waits."
        if rule and rule.next_start_at is not None:
            return f"Held by its limit: at most {rule.starts} starts in {rule.window_s:g} s."
        if rule and rule.together is not None and state.running >= rule.together:
            return f"Held by its limit: at most {rule.together} run at once, over all workers."
        if self.running >= self.places:
            return (
                f"Saturated: all {self.places} places are taken. Add workers, or raise "
                f"{_variable(self.name, 'TOGETHER')} where the machine has power left."
            )
        if self.paused_tasks:
            return f"Places are free; {', '.join(self.paused_tasks)} is paused by an operator."
        if rule and rule.each is not None:
            return (
                f"Places are free: what waits starts now, unless its workspace runs its {rule.each} already."
            )
        return "Places are free: what waits is about to start."

    @property
    def tone(self) -> str:
        state = self.state
        if not state.workers and not state.paused:
            return "failed" if state.waiting or state.running else "needs"
        if state.paused or (state.waiting and (self.running >= self.places or self.next_start_at)):
            return "needs"
        return "working" if state.running else "done"


@dataclass(frozen=True)
class Found:
    """The queues in the house's order, what the alerts are made of, and the statements of the last hour."""

    lines: list[Line]
    seen: alerts.Seen
    operations: int


async def page(request: Request) -> Response:
    """GET /admin/queues"""
    async with db.house() as conn:
        pauses = await steering.pause_lines(conn)
    return await _show(request, "admin/queues.html", pauses=pauses, pausable=steering.pausable())


async def table(request: Request) -> Response:
    """GET /admin/queues/table: the part that lives."""
    return await _show(request, "admin/_queues.html")


async def pause(request: Request) -> Response:
    """POST /admin/queues/{queue}/pause"""
    name = _known(request)
    form = await forms.read(request)
    reason = " ".join(forms.text(form, "reason").split())[:LONGEST_REASON]
    by = guard.who_acts(request).person.id
    async with db.house() as conn:
        await queue.pause(conn, name, by=by, reason=reason)
        await queue.audit(conn, by, "queue.paused", name, reason=reason)
        await live.tell(conn, "queues")
    return await _done(request)


async def resume(request: Request) -> Response:
    """POST /admin/queues/{queue}/resume"""
    name = _known(request)
    async with db.house() as conn:
        await queue.resume(conn, name)
        await queue.audit(conn, guard.who_acts(request).person.id, "queue.resumed", name)
        await live.tell(conn, "queues")
    return await _done(request)


async def _done(request: Request) -> Response:
    if request.headers.get("hx-request") == "true":
        return await table(request)
    return frame.back(request, "admin_queues")


def _known(request: Request) -> str:
    name = str(request.path_params["queue"])
    if name not in {line.name for line in jobs.QUEUES}:
        raise NotFound("There is no such queue.")
    return name


async def _show(request: Request, template: str, **more: Any) -> Response:
    found = await look(request)
    return frame.show(
        request,
        template,
        lines=found.lines,
        usage=found.seen.usage,
        alerts=alerts.firing(found.seen),
        counted=COUNTED,
        operations=found.operations,
        ended=sum(line.hour.runs for line in found.lines if line.hour),
        now=datetime.now(UTC),
        **more,
    )


async def look(request: Request) -> Found:
    """All of it, in one short transaction."""
    async with db.house() as conn:
        states = await queue.health(conn, [line.name for line in jobs.QUEUES])
        hours, times = await lately.hour(conn), await lately.times(conn)
        rules = await lately.limit_states(conn)
        pauses, task_pauses = await lately.pauses(conn), await lately.pauses(conn, "task")
        people = {pause.paused_by for pause in pauses.values()} | {rule.set_by for rule in rules.values()}
        names = await users.names(conn, [person for person in people if person is not None])
        workers = await queue.workers(conn)
        usage, operations = await queue.usage(conn), await lately.operations(conn)
        before = time.time()
        theirs = await lately.clock_s(conn)
        off_s = abs(theirs - (before + time.time()) / 2)
    known = {line.name: line for line in jobs.QUEUES}
    lines = []
    for state in states:
        asked = known.get(state.name) or queue.Queue(state.name)
        pause, rule = pauses.get(state.name), rules.get(state.name)
        lines.append(
            Line(
                state=state,
                limits=asked.effective(),
                in_force=rule,
                settings=settings(asked, rule, names),
                hour=hours.get(state.name),
                times=times.get(state.name),
                pause=pause,
                paused_by=names.get(pause.paused_by or 0, "") if pause else "",
                paused_tasks=tuple(
                    job.name for job in jobs.JOBS if job.queue.name == state.name and job.name in task_pauses
                ),
            )
        )
    hub = getattr(request.app.state, "hub", None)
    listening = hub is None or hub.listening.is_set()
    failed = {state.name: state.failed_lately for state in states}
    return Found(lines, alerts.Seen(states, workers, failed, usage, off_s, listening), operations)


def bars(hour: Hour | None) -> tuple[Bar, ...]:
    """The drawing of an hour: one bar for five minutes, the highest as high as there is room."""
    most = (
        max((done + failed for done, failed in zip(hour.done, hour.failed, strict=True)), default=0)
        if hour
        else 0
    )
    if hour is None or not most:
        return ()
    return tuple(
        Bar(
            x=at * BAR_PX,
            done_px=_px(done, most) if done else 0 if failed else 1,
            failed_px=_px(failed, most),
            text=f"{_ago(at)}: {done:,} done, {failed:,} failed",
        )
        for at, (done, failed) in enumerate(zip(hour.done, hour.failed, strict=True))
    )


def _px(many: int, most: int) -> int:
    return max(2, round((HIGHEST_PX - 2) * many / most)) if many else 0


def _ago(piece: int) -> str:
    minutes = (lately.PIECES - 1 - piece) * lately.PIECE_S // 60
    return f"{minutes} to {minutes + lately.PIECE_S // 60} min ago"


def settings(
    line: queue.Queue, rule: LimitState | None = None, names: Mapping[int, str] | None = None
) -> tuple[Setting, ...]:
    """The limits in force and what set each: an operator, the environment, the queue's own line, the house (S0.5)."""
    limits, given = line.effective(), config.get().queues.get(line.name, config.NO_OVERRIDE)
    first, doubling = f"{limits.first_wait_s:g} s", "First wait, then doubling to 1 h"
    together, tries = str(limits.together), str(limits.tries)
    own = (
        ("Together in one worker", together, "TOGETHER", given.together, line.together, "WORKER_CONCURRENCY"),
        ("Tries in all", tries, "TRIES", given.tries, line.tries, "MAX_RETRIES"),
        (doubling, first, "FIRST_WAIT_S", given.first_wait_s, line.first_wait_s, "BACKOFF_DELAY"),
    )
    found = [
        Setting(word, value, _set_by(line.name, variable, by, house if mine is None else ""))
        for word, value, variable, by, mine, house in own
    ]
    starts, window_s = (rule.starts, rule.window_s) if rule else limits.most or (None, None)
    by = _set_by(line.name, "MOST", given.most)
    if rule is not None and rule.set_by is not None:
        by = f"an operator, {(names or {}).get(rule.set_by, 'somebody')}"
    found.append(
        Setting(
            "At most",
            "none" if starts is None else f"{starts} starts in {window_s:g} s, over all workers",
            by,
        )
    )
    shared = rule or limits
    for word, value in (
        ("Together over all workers", rule.together if rule else limits.everywhere),
        ("Together for one workspace", shared.each),
        ("The same, while others wait", shared.fair),
    ):
        if value is not None:
            operator = rule is not None and rule.set_by is not None
            found.append(Setting(word, str(value), by if operator else "the queue itself"))
    return tuple(found)


def _set_by(name: str, variable: str, given: object, house: str = "") -> str:
    return _variable(name, variable) if given is not None else house or "the queue itself"


def _variable(name: str, what: str) -> str:
    return f"QUEUE_{name.upper().replace('-', '_')}_{what}"
