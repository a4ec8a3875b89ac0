"""The queue: jobs as rows beside the things they work on, in the same transaction, run by any number of
workers.

Front door. Web and rooms use the verbs (`defer`, `retry`, `cancel`, …) and `current()`; `tasks` uses
`HouseApp`.
"""

from app.queue.engine import HouseApp
from app.queue.health import QueueHealth, Worker, health, stalled, usage, waiting_reason, workers
from app.queue.policy import HIGH, LOW, NORMAL, Job, Queue, wait_s
from app.queue.rows import (
    Attempt,
    Filter,
    JobRow,
    attempts,
    audit,
    cancel,
    defer,
    discard,
    find,
    get,
    pause,
    resume,
    retry,
    retry_ended,
)
from app.queue.running import Run, current
from app.queue.upkeep import forget_workers, put_back_unowned, sweep

__all__ = [
    "HIGH",
    "LOW",
    "NORMAL",
    "Attempt",
    "Filter",
    "HouseApp",
    "Job",
    "JobRow",
    "Queue",
    "QueueHealth",
    "Run",
    "Worker",
    "attempts",
    "audit",
    "cancel",
    "current",
    "defer",
    "discard",
    "find",
    "forget_workers",
    "get",
    "health",
    "pause",
    "put_back_unowned",
    "resume",
    "retry",
    "retry_ended",
    "stalled",
    "sweep",
    "usage",
    "wait_s",
    "waiting_reason",
    "workers",
]
