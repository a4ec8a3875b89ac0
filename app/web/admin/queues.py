"""The queues: how full each is, what holds it back, its limits in force, pause and go on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app import config, db, jobs, live, queue, users
from app.errors import NotFound
from app.queue import QueueHealth
from app.queue.policy import EffectiveQueue
from app.web import forms, guard
from app.web.admin import alerts, frame

LONGEST_REASON = 200
BAR_PX, HIGHEST_PX = 8, 28


@dataclass(frozen=True)
class Setting:
    """One limit in force. `by` says what set it."""

    word: str
    value: str
    by: str


@dataclass(frozen=True)
class Bar:
    """One bar of the little drawing, in its own units."""

    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Line:
    """A queue as its row shows it."""

    state: QueueHealth
    limits: EffectiveQueue
    settings: tuple[Setting, ...]
    failed_lately: int
    done_lately: int
    bars: tuple[Bar, ...]
    pause: queue.lately.Paused | None
    paused_by: str

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def places(self) -> int:
        """How many of its jobs all living workers can run at once."""
        return self.state.workers * self.limits.together

    @property
    def holds_back(self) -> str:
        """What limits this queue right now, in words (S4.41)."""
        state = self.state
        if state.paused:
            return "Paused by an operator: what runs goes on, nothing new starts."
        if not state.workers:
            return (
                "No worker is running for this queue."
                if state.waiting + state.scheduled
                else "Nobody serves it; nothing waits."
            )
        if not state.waiting:
            return "Keeps up: nothing waits."
        if state.running >= self.places:
            return (
                f"Saturated: all {self.places} places are taken. Add workers, or raise "
                f"{_variable(self.name, 'TOGETHER')} where the machine has power left."
            )
        if self.limits.most is not None:
            return f"Held by its limit: at most {self.limits.most[0]} starts in {self.limits.most[1]:g} s."
        return "Places are free: what waits is about to start."

    @property
    def tone(self) -> str:
        state = self.state
        if state.waiting and not state.workers and not state.paused:
            return "failed"
        if state.paused or (state.waiting and state.running >= self.places):
            return "needs"
        return "working" if state.running else "done"


async def page(request: Request) -> Response:
    """GET /admin/queues"""
    return await _show(request, "admin/queues.html")


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


async def _show(request: Request, template: str) -> Response:
    lines, seen = await look(request)
    return frame.show(request, template, lines=lines, usage=seen.usage, alerts=alerts.firing(seen))


async def look(request: Request) -> tuple[list[Line], alerts.Seen]:
    """The queues in the house's order, and what the alerts are made of."""
    async with db.house() as conn:
        states = await queue.health(conn, [line.name for line in jobs.QUEUES])
        failed = await queue.lately.failed(conn)
        pace = await queue.lately.pace(conn)
        pauses = await queue.lately.pauses(conn)
        names = await users.names(conn, [pause.paused_by for pause in pauses.values() if pause.paused_by])
        workers = await queue.workers(conn)
        usage = await queue.usage(conn)
        before = time.time()
        theirs = await queue.lately.clock_s(conn)
        off_s = abs(theirs - (before + time.time()) / 2)
    known = {line.name: line for line in jobs.QUEUES}
    lines = [
        Line(
            state=state,
            limits=(known.get(state.name) or queue.Queue(state.name)).effective(),
            settings=settings(known.get(state.name) or queue.Queue(state.name)),
            failed_lately=failed.get(state.name, 0),
            done_lately=sum(pace.get(state.name, ())),
            bars=bars(pace.get(state.name, [])),
            pause=pauses.get(state.name),
            paused_by=_name_of(pauses.get(state.name), names),
        )
        for state in states
    ]
    hub = getattr(request.app.state, "hub", None)
    listening = hub is None or hub.listening.is_set()
    return lines, alerts.Seen(states, workers, failed, usage, off_s, listening)


def _name_of(pause: queue.lately.Paused | None, names: dict[int, str]) -> str:
    return names.get(pause.paused_by, "") if pause is not None and pause.paused_by is not None else ""


def bars(pace: list[int]) -> tuple[Bar, ...]:
    """The drawing of a pace: one bar a piece of time, the highest as high as there is room."""
    most = max(pace, default=0)
    if not most:
        return ()
    heights = [max(2, round(HIGHEST_PX * many / most)) if many else 1 for many in pace]
    return tuple(Bar(at * BAR_PX, HIGHEST_PX - height, height) for at, height in enumerate(heights))


def settings(line: queue.Queue) -> tuple[Setting, ...]:
    """The limits in force and what set each: the environment, the queue's own line, or the house (S0.5)."""
    limits, given = line.effective(), config.get().queues.get(line.name, config.NO_OVERRIDE)
    most = (
        "none"
        if limits.most is None
        else f"{limits.most[0]} starts in {limits.most[1]:g} s, over all workers"
    )
    rows = (
        (
            "Together in one worker",
            str(limits.together),
            "TOGETHER",
            given.together,
            line.together,
            "WORKER_CONCURRENCY",
        ),
        ("Tries in all", str(limits.tries), "TRIES", given.tries, line.tries, "MAX_RETRIES"),
        (
            "First wait, then doubling to 1 h",
            f"{limits.first_wait_s:g} s",
            "FIRST_WAIT_S",
            given.first_wait_s,
            line.first_wait_s,
            "BACKOFF_DELAY",
        ),
        ("At most", most, "MOST", given.most, line.most or "none", ""),
    )
    return tuple(
        Setting(
            word,
            value,
            _variable(line.name, variable)
            if by is not None
            else house
            if own is None
            else "the queue itself",
        )
        for word, value, variable, by, own, house in rows
    )


def _variable(name: str, what: str) -> str:
    return f"QUEUE_{name.upper().replace('-', '_')}_{what}"
