"""How a queue works and what is decided when a run ends: pure, no database.

The rules are the contract's: attempts count all tries including the first (R5), the wait doubles from the
queue's base with up to 10 % jitter and is capped at one hour (R6), a smaller priority runs first (R4).
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app import config
from app.errors import (
    Cancelled,
    HouseError,
    Interrupted,
    NotYet,
    Permanent,
    Refused,
    Retryable,
    Superseded,
    Unsure,
    WrongState,
)

HIGH, NORMAL, LOW = 3, 5, 8
LONGEST_WAIT_S = 3600.0
JITTER = 0.1
# A name that no task of this process has may belong to a newer deploy: it is handed back for ten minutes.
UNKNOWN_FOR_S = 600.0
UNKNOWN_AGAIN_S = 15.0
DATABASE_AWAY = "database_away"
OWN_STORE = (DATABASE_AWAY, "database_busy", "conflict")


@dataclass(frozen=True)
class Queue:
    """A line in `jobs`. None means the house's default (WORKER_CONCURRENCY, MAX_RETRIES, BACKOFF_DELAY)."""

    name: str
    together: int | None = None
    tries: int | None = None
    first_wait_s: float | None = None
    most: tuple[int, float] | None = None
    everywhere: int | None = None
    each: int | None = None
    fair: int | None = None

    def effective(self) -> EffectiveQueue:
        """The values in force: the environment's, else this line's, else the house's (S0.5, S0.6)."""
        house = config.get()
        given = house.queues.get(self.name, config.NO_OVERRIDE)
        most = self.most if given.most is None else (given.most if given.most[0] else None)
        return EffectiveQueue(
            self.name,
            given.together or self.together or house.worker_concurrency,
            given.tries or self.tries or house.max_retries,
            _first(given.first_wait_s, self.first_wait_s, house.backoff_delay / 1000),
            most,
            _unless_none(given.everywhere, self.everywhere),
            _unless_none(given.each, self.each),
            _unless_none(given.fair, self.fair),
        )


@dataclass(frozen=True)
class EffectiveQueue:
    """`together` runs at once in one worker, `tries` in all, `first_wait_s` doubling, `most` (n, seconds) or
    None. Over all workers: `everywhere` runs at once, `each` of one owner, `fair` of one while others wait.
    """

    name: str
    together: int
    tries: int
    first_wait_s: float
    most: tuple[int, float] | None
    everywhere: int | None = None
    each: int | None = None
    fair: int | None = None


def _unless_none(given: int | None, own: int | None) -> int | None:
    """What the environment gives, where 0 is none; else the queue's own."""
    return own if given is None else given or None


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


@dataclass(frozen=True)
class Job:
    """A line in `jobs`: the task's name, its queue, the names of its arguments, and what makes it one of a
    kind.

    `once` and `lock` are templates over the arguments, e.g. `upload-{videoId}`: of jobs with one `once` a
    single one waits; of jobs with one `lock` a single one runs.
    """

    name: str
    queue: Queue
    args: tuple[str, ...] = ()
    once: str | None = None
    lock: str | None = None
    priority: int = NORMAL

    def filled(self, template: str | None, args: Mapping[str, Any]) -> str | None:
        return None if template is None else template.format(**args)

    def check(self, args: Mapping[str, Any]) -> None:
        """Refuse arguments that are not exactly this job's; templates may name arguments only."""
        if set(args) != set(self.args):
            raise TypeError(f"{self.name} takes {sorted(self.args)}, not {sorted(args)}")

    def __post_init__(self) -> None:
        for template in (self.once, self.lock):
            named = {name for _, name, _, _ in string.Formatter().parse(template or "") if name}
            if not named <= set(self.args):
                raise TypeError(f"{self.name}: {template} names {sorted(named)}, not its arguments")


def to_engine(priority: int) -> int:
    """The engine runs the larger number first, the product the smaller: this is the one place that turns it
    round.
    """
    return -priority


def from_engine(priority: int) -> int:
    return -priority


def wait_s(queue: EffectiveQueue, tries: int, *, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the `tries`-th failed try: base x 2^(tries - 1), up to 10 % more, at most an
    hour.
    """
    doubled: float = queue.first_wait_s * 2 ** (max(tries, 1) - 1)
    return min(doubled * (1 + JITTER * chance()), LONGEST_WAIT_S)


@dataclass(frozen=True)
class Decision:
    """What becomes of the job. `outcome` is the attempt's; `again_at` is set when the job goes back in line."""

    outcome: str
    reason: str | None = None
    code: str | None = None
    kind: str | None = None
    again_at: datetime | None = None

    @property
    def gives_up(self) -> bool:
        """The room's `gave_up` has to run: the work will not be done."""
        return self.outcome in ("gave_up", "unsure", "cancelled")


DONE = Decision("done")


def decide(
    queue: EffectiveQueue, error: BaseException | None, tries: int, *, now: datetime | None = None
) -> Decision:
    """What follows from how a run ended. `tries` counts this run and the failed ones before it in this round."""
    now = now or datetime.now(UTC)
    if error is None:
        return DONE
    reason, code, kind = told(error)
    decision = Decision("failed", reason, code, kind)
    if isinstance(error, Superseded):
        return replace(decision, outcome="lost")
    if isinstance(error, Interrupted):
        return replace(decision, outcome="handed_back", again_at=now)
    if isinstance(error, Cancelled):
        return replace(decision, outcome="cancelled")
    if isinstance(error, NotYet):
        return replace(
            decision, outcome="waiting", again_at=error.until or now + timedelta(seconds=error.after_s or 5)
        )
    if isinstance(error, Retryable) and error.code in OWN_STORE:
        # Our own store was away or busy: nobody's fault and no try, and the work goes on when it is back.
        return replace(decision, outcome="handed_back", again_at=now + timedelta(seconds=error.after_s or 1))
    if isinstance(error, Unsure):
        return replace(decision, outcome="unsure")
    if isinstance(error, Refused | WrongState | Permanent) or tries >= queue.tries:
        return replace(decision, outcome="gave_up")
    asked_s = error.after_s if isinstance(error, Retryable) else None
    return replace(
        decision, again_at=now + timedelta(seconds=wait_s(queue, tries) if asked_s is None else asked_s)
    )


def told(error: BaseException) -> tuple[str, str, str]:
    """(sentence for the person, code, kind) of a failure; what nobody foresaw is not shown in its own words."""
    if isinstance(error, HouseError):
        return error.message, error.code, type(error).__name__
    if isinstance(error, MemoryError):
        return "There was not enough memory for this work.", "no_memory", "MemoryError"
    return "Something unexpected went wrong.", "unexpected", type(error).__name__
