"""What the house counts and times, in Prometheus' own terms. Names are the contract's (S2.84) and stay.

Two kinds of figures, never under one name. What a process counts of itself stands in its REGISTRY: a worker's runs,
the web's requests; sum them over processes. What is true of the whole house is read from the database by whoever
answers and goes through `Figures`: take it from one process, the web.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

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

jobs_done = Counter("jobs_done", "Jobs of this process that ended well", BY_JOB, registry=REGISTRY)
jobs_failed = Counter(
    "jobs_failed", "Jobs of this process that ended with no try left", BY_JOB, registry=REGISTRY
)
jobs_retried = Counter(
    "jobs_retried", "Tries of this process that failed and are repeated", BY_JOB, registry=REGISTRY
)
job_duration_seconds = Histogram(
    "job_duration_seconds",
    "Seconds one try of this process ran",
    BY_JOB,
    buckets=JOB_BUCKETS_S,
    registry=REGISTRY,
)
job_wait_seconds = Histogram(
    "job_wait_seconds",
    "Seconds from due to taken by this process, by what made it look: notice, poll, due (its time) or busy",
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


class Figures:
    """What is true at the moment of asking: gauges and counters read from elsewhere, in the order they were added."""

    def __init__(self) -> None:
        self._families: list[Metric] = []

    def gauge(
        self, name: str, says: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[object], float]]
    ) -> None:
        self._add(GaugeMetricFamily(name, says, labels=labels), rows)

    def counter(
        self, name: str, says: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[object], float]]
    ) -> None:
        """A figure that only grows; `name` is without its ending `_total`."""
        self._add(CounterMetricFamily(name, says, labels=labels), rows)

    def _add(
        self,
        family: GaugeMetricFamily | CounterMetricFamily,
        rows: Iterable[tuple[Sequence[object], float]],
    ) -> None:
        for labels, value in rows:
            family.add_metric([str(label) for label in labels], value)
        self._families.append(family)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(figures: Figures | None = None) -> bytes:
    """Everything counted so far, and these figures, as Prometheus text; send it with `CONTENT_TYPE`."""
    own = generate_latest(REGISTRY)
    if figures is None:
        return own
    once = CollectorRegistry()
    once.register(figures)
    return own + generate_latest(once)
