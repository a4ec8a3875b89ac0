"""What an operator should look at now, in sentences. Pure: given what was read, nothing is asked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.db import CLOCK_WARN_S
from app.queue import QueueHealth, Worker

OLDEST_WAIT_S = 600.0


@dataclass(frozen=True)
class Alert:
    """One thing that is wrong. `path` is where to look, `tone` one of needs and failed."""

    tone: str
    title: str
    text: str
    path: str = ""


@dataclass(frozen=True)
class Seen:
    """What the alerts are made of. `off_s` is this machine's clock against the database's."""

    lines: Sequence[QueueHealth]
    workers: Sequence[Worker]
    failed: Mapping[str, int]
    usage: Mapping[str, Any]
    off_s: float
    listening: bool


def firing(seen: Seen) -> list[Alert]:
    """The worst first; empty when all is well."""
    found = [alert for line in seen.lines for alert in _of_line(line, seen.failed.get(line.name, 0))]
    lost = [worker for worker in seen.workers if not worker.lives]
    if lost:
        names = ", ".join(f"{worker.name} on {worker.host}" for worker in lost[:3])
        found.append(
            Alert(
                "needs",
                f"{_many(len(lost), 'worker')} went silent",
                f"{names}. What they ran goes back in line by itself.",
                "/admin/workers",
            )
        )
    if not seen.listening:
        found.append(
            Alert(
                "needs",
                "Notices do not arrive",
                "Open pages look for news every 5 s instead of hearing of them. "
                "Check DATABASE_DIRECT_URL: it must go past a pooler.",
                "/admin/health",
            )
        )
    elif deaf := [worker for worker in seen.workers if worker.lives and not worker.listening]:
        found.append(
            Alert(
                "needs",
                f"{_many(len(deaf), 'worker')} only polls",
                "It does not hear of new jobs at once; each starts up to 2 s later.",
                "/admin/workers",
            )
        )
    if seen.off_s >= CLOCK_WARN_S:
        found.append(
            Alert(
                "needs",
                "The clock is off",
                f"This machine's clock is {seen.off_s:.1f} s from the database's.",
            )
        )
    if (percentage := seen.usage["percentage"]) >= 80:
        over = percentage >= 100
        found.append(
            Alert(
                "failed" if over else "needs",
                "The month's queue budget is used up" if over else "The month's queue budget runs low",
                f"{percentage:g} % of {seen.usage['limit']:,} operations (QUEUE_BUDGET). Work goes on.",
            )
        )
    return sorted(found, key=lambda alert: alert.tone != "failed")


def _of_line(line: QueueHealth, failed: int) -> list[Alert]:
    found = []
    here = f"/admin/jobs?queue={line.name}"
    if line.waiting and not line.workers and not line.paused:
        found.append(
            Alert(
                "failed",
                f"No worker is running for {line.name}",
                f"{_many(line.waiting, 'job')} waiting. Start one: backlot worker, or the worker line of the Procfile.",
                "/admin/workers",
            )
        )
    elif line.oldest_wait_s is not None and line.oldest_wait_s > OLDEST_WAIT_S and not line.paused:
        minutes = round(line.oldest_wait_s / 60)
        found.append(Alert("needs", f"{line.name} is behind", f"Its oldest job waits {minutes} min.", here))
    if failed:
        found.append(
            Alert(
                "failed",
                f"{_many(failed, 'job')} of {line.name} failed in the last hour",
                line.last_error or "Open them to see why.",
                f"{here}&state=failed",
            )
        )
    if line.stalled:
        found.append(
            Alert(
                "needs",
                f"{_many(line.stalled, 'job')} of {line.name} stalled",
                "Its worker is silent; it is put back in line by itself within 45 s.",
                f"{here}&state=running",
            )
        )
    return found


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
