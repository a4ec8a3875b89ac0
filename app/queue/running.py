"""What a running job may know of its own run: its fencing number, its lease, and whether it should stop."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from app import log
from app.errors import Interrupted

# Older than this a lease counts as lost, well before others take it for dead at 30 s (reliability, section
# 3).
LEASE_S = 20.0


class Lease:
    """The worker's own proof of life on the monotonic clock: stamped after every heartbeat that succeeded."""

    def __init__(self) -> None:
        self.renewed = time.monotonic()

    def renew(self, asked_at: float) -> None:
        """Count from the moment the heartbeat was sent, not from its answer."""
        self.renewed = max(self.renewed, asked_at)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.renewed

    @property
    def held(self) -> bool:
        return self.age_s < LEASE_S


@dataclass(eq=False, slots=True)
class Run:
    """One run of one job. `number` fences every write it makes."""

    number: int
    job_id: int
    task: str
    queue: str
    workspace_id: int | None
    tries: int
    lease: Lease
    # Asked to stop: what it does not finish is done by another run.
    stopping: bool = False
    # The step has returned; `done`: and its outcome went with the step's own commit.
    ended: bool = False
    done: bool = False
    began: float = field(default_factory=time.monotonic)
    turn: int = 0
    round: int = 1
    worker_id: int | None = None
    correlation_id: str = ""

    def fields(self) -> dict[str, object]:
        """What every line of log within this run carries."""
        return {
            "job_id": self.job_id, "run": self.number, "queue": self.queue, "task": self.task,
            "attempt": self.tries, "correlation_id": self.correlation_id,
        }  # fmt: skip

    def check_lease(self) -> None:
        """Right before an irreversible call: raises Interrupted when this worker may already count as dead."""
        if not self.lease.held:
            raise Interrupted("This worker lost its lease; another one goes on.")


_current: ContextVar[Run] = ContextVar("run")


def current() -> Run:
    """The run this code is part of; only a worker's tasks have one (LookupError elsewhere)."""
    return _current.get()


def enter(run: Run) -> None:
    """Make `run` the current one of this asyncio task and of those it starts; its lines of log name it."""
    _current.set(run)
    log.name_by(run.fields)
