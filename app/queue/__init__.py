"""The queue: jobs as rows beside the things they work on, in the same transaction, run by any number of
workers.

Front door. Web and rooms use the verbs (`defer`, `retry`, `cancel`, …) and `current()`; `tasks` uses
`HouseApp`.
"""

from app.queue import batch, lately
from app.queue.engine import HouseApp
from app.queue.health import QueueHealth, Worker, by_task, health, stalled, usage, waiting_reason, workers
from app.queue.limits_set import Limits, reset_limits, set_limits
from app.queue.outcome import done
from app.queue.pausing import Pause, pause, paused, pauses, resume
from app.queue.policy import HIGH, LOW, NORMAL, Job, Queue, wait_s
from app.queue.rows import (
    LOOK,
    STAGES,
    Attempt,
    Filter,
    JobRow,
    attempts,
    audit,
    cancel,
    cancel_by_operator,
    defer,
    defer_many,
    discard,
    find,
    get,
    retry,
    retry_ended,
    stop,
    waiting_twin,
)
from app.queue.running import Run, current
from app.queue.upkeep import age_low, cron_every, forget_tallies, forget_workers, put_back_unowned, sweep

__all__ = [
    "HIGH",
    "LOOK",
    "LOW",
    "NORMAL",
    "STAGES",
    "Attempt",
    "Filter",
    "HouseApp",
    "Job",
    "JobRow",
    "Limits",
    "Pause",
    "Queue",
    "QueueHealth",
    "Run",
    "Worker",
    "age_low",
    "attempts",
    "audit",
    "batch",
    "by_task",
    "cancel",
    "cancel_by_operator",
    "cron_every",
    "current",
    "defer",
    "defer_many",
    "discard",
    "done",
    "find",
    "forget_tallies",
    "forget_workers",
    "get",
    "health",
    "lately",
    "pause",
    "paused",
    "pauses",
    "put_back_unowned",
    "reset_limits",
    "resume",
    "retry",
    "retry_ended",
    "set_limits",
    "stalled",
    "stop",
    "sweep",
    "usage",
    "wait_s",
    "waiting_reason",
    "waiting_twin",
    "workers",
]
