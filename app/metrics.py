"""What the house counts and times, in Prometheus' own terms. Names are the contract's (S2.84) and stay.

One registry for each process; `/metrics` gives the answer of the process it is asked of. What is waiting and
running in the whole house is set from the database by whoever answers, right before `render`.
"""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

BY_JOB = ("queue", "task")
# From a quick row to an hour of ffmpeg.
JOB_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
# From the pick-up of an idle worker to a day in a queue that is behind.
WAIT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 14400, 86400)

jobs_queued = Gauge("jobs_queued", "Jobs that wait for their turn", BY_JOB, registry=REGISTRY)
jobs_running = Gauge("jobs_running", "Jobs that run now", BY_JOB, registry=REGISTRY)
jobs_done = Counter("jobs_done", "Jobs that ended well", BY_JOB, registry=REGISTRY)
jobs_failed = Counter("jobs_failed", "Jobs that ended with no try left", BY_JOB, registry=REGISTRY)
jobs_retried = Counter("jobs_retried", "Tries that failed and are repeated", BY_JOB, registry=REGISTRY)
job_duration_seconds = Histogram(
    "job_duration_seconds", "Seconds one try ran", BY_JOB, buckets=JOB_BUCKETS_S, registry=REGISTRY
)
job_wait_seconds = Histogram(
    "job_wait_seconds",
    "Seconds from due to started, by what made a worker look for it",
    (*BY_JOB, "by"),
    buckets=WAIT_BUCKETS_S,
    registry=REGISTRY,
)

_BY_OUTCOME = {"done": jobs_done, "gave_up": jobs_failed, "unsure": jobs_failed, "cancelled": jobs_failed,
               "failed": jobs_retried}  # fmt: skip


@lru_cache(maxsize=1024)
def _counters(queue: str, task: str, outcome: str) -> tuple[Histogram, Counter | None]:
    counter = _BY_OUTCOME.get(outcome)
    return job_duration_seconds.labels(queue, task), counter.labels(queue, task) if counter else None


def count_run(queue: str, task: str, outcome: str, ran_s: float) -> None:
    """Add a run whose outcome is written."""
    duration, counter = _counters(queue, task, outcome)
    duration.observe(ran_s)
    if counter is not None:
        counter.inc()


@lru_cache(maxsize=1024)
def _waits(queue: str, task: str, by: str) -> Histogram:
    return job_wait_seconds.labels(queue, task, by)


def count_wait(queue: str, task: str, by: str, wait_s: float) -> None:
    """Add the wait of a job that begins; `by` says what made its worker look (`notice`, `poll`, `due`, `busy`)."""
    _waits(queue, task, by).observe(wait_s)


http_requests = Counter(
    "http_requests", "Requests answered, by route pattern", ("method", "route", "status"), registry=REGISTRY
)
http_request_seconds = Histogram(
    "http_request_seconds", "Seconds to the first byte of the answer", ("method", "route"), registry=REGISTRY
)
live_connections = Gauge("live_connections", "Open live streams of pages", registry=REGISTRY)

outside_calls = Counter(
    "outside_calls",
    "Calls to platforms, by step and outcome",
    ("platform", "step", "outcome"),
    registry=REGISTRY,
)


def render() -> bytes:
    """Everything counted so far as Prometheus text; send it with `CONTENT_TYPE`."""
    return generate_latest(REGISTRY)
