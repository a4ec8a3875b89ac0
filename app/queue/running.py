"""What a running job may know of its own run: its fencing number, its lease, and whether it should stop."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

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


@dataclass(eq=False)
class Run:
    """One run of one job. `number` fences every write it makes."""

    number: int
    job_id: int
    task: str
    queue: str
    workspace_id: int | None
    tries: int
    lease: Lease
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def check_lease(self) -> None:
        """Right before an irreversible call: raises Interrupted when this worker may already count as dead."""
        if not self.lease.held:
            raise Interrupted("This worker lost its lease; another one goes on.")


_current: ContextVar[Run] = ContextVar("run")


def current() -> Run:
    """The run this code is part of; only a worker's tasks have one (LookupError elsewhere)."""
    return _current.get()


def enter(run: Run) -> None:
    """Make `run` the current one of this asyncio task and of those it starts."""
    _current.set(run)
