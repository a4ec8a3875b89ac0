"""The figures of the whole house's queue for Prometheus (S2.84): read from the database at each scrape.

What waits and runs is counted exactly, so a scrape costs as much as there is to do and nothing for what was done.
"""

from __future__ import annotations

import time

from app import db, jobs, metrics, queue
from app.queue.health import TaskDepth

BY_QUEUE = ("queue",)


async def read() -> metrics.Figures:
    """Ask the database for everything at once. Raises what `db.house` raises while it is away."""
    figures = metrics.Figures()
    async with db.house() as conn:
        began = time.perf_counter()
        await db.value(conn, "SELECT 1")
        round_trip_s = time.perf_counter() - began
        depths = await queue.by_task(conn)
        states = await queue.health(conn, [line.name for line in jobs.QUEUES])
        runs = await queue.lately.runs(conn)
        limits = await queue.lately.limit_states(conn)
        paused = {kind: await queue.lately.pauses(conn, kind) for kind in ("queue", "task")}
        workers = await queue.workers(conn)
        operations = await queue.lately.operations_ever(conn)
        usage = await queue.usage(conn)
    figures.gauge(
        "database_round_trip_seconds", "One statement to the database and back", (), [((), round_trip_s)]
    )
    _jobs(figures, depths, runs)
    _queues(figures, states, set(paused["queue"]))
    figures.gauge(
        "task_paused",
        "1 while an operator has paused this task",
        ("task",),
        [((name,), 1) for name in paused["task"]],
    )
    _limits(figures, list(limits.values()))
    _workers(figures, workers)
    figures.counter(
        "queue_operations",
        "Statements by which workers took and ended jobs and showed that they live, of the whole house",
        (),
        [((), operations)],
    )
    figures.gauge("queue_operations_month", "The same in this calendar month", (), [((), usage["total"])])
    figures.gauge("queue_operations_budget", "The month's budget (QUEUE_BUDGET)", (), [((), usage["limit"])])
    return figures


def _jobs(figures: metrics.Figures, depths: list[TaskDepth], runs: list[queue.lately.Runs]) -> None:
    by_task = [((depth.queue, depth.task), depth) for depth in depths]
    for name, says, field in (
        ("jobs_queued", "Jobs of the whole house that may start now and wait for their turn", "queued"),
        (
            "jobs_scheduled",
            "Jobs of the whole house that wait for a time: their own, or of a retry",
            "scheduled",
        ),
        ("jobs_running", "Jobs of the whole house that a worker has taken", "running"),
        ("jobs_failed_kept", "Jobs of the whole house that ended with no try left and are kept", "failed"),
    ):
        figures.gauge(
            name, says, metrics.BY_JOB, [(labels, getattr(depth, field)) for labels, depth in by_task]
        )
    by_outcome = (*metrics.BY_JOB, "outcome")
    figures.counter(
        "house_runs",
        "Runs that ended, of all workers since the house began, by outcome: done, failed (and tried again), gave_up, "
        "unsure, cancelled, waiting (put off), handed_back, lost",
        by_outcome,
        [((run.queue, run.task, run.outcome), run.many) for run in runs],
    )
    figures.counter(
        "house_run_seconds",
        "Seconds they ran",
        by_outcome,
        [((run.queue, run.task, run.outcome), run.ran_s) for run in runs],
    )


def _queues(figures: metrics.Figures, states: list[queue.QueueHealth], paused: set[str]) -> None:
    figures.gauge(
        "queue_oldest_wait_seconds",
        "Since when the longest waiting job could have started; 0 where none waits",
        BY_QUEUE,
        [((state.name,), state.oldest_wait_s or 0.0) for state in states],
    )
    figures.gauge(
        "queue_live_workers",
        "Workers that serve it, are not stopping and were heard of within 30 s",
        BY_QUEUE,
        [((state.name,), state.workers) for state in states],
    )
    figures.gauge(
        "queue_stalled",
        "Jobs whose worker has been silent for 30 s",
        BY_QUEUE,
        [((state.name,), state.stalled) for state in states],
    )
    figures.gauge(
        "queue_paused",
        "1 while an operator has paused it",
        BY_QUEUE,
        [((state.name,), state.name in paused) for state in states],
    )


def _limits(figures: metrics.Figures, limits: list[queue.lately.LimitState]) -> None:
    for name, says, field in (
        ("queue_limit_together", "Jobs that may run at once, over all workers", "together"),
        ("queue_limit_starts", "Starts allowed in its window, over all workers", "starts"),
        ("queue_limit_window_seconds", "The window of its limit of starts", "window_s"),
        ("queue_limit_each", "Jobs of one workspace that may run at once", "each"),
        ("queue_limit_fair", "The same, while others wait", "fair"),
    ):
        found = [((limit.queue,), getattr(limit, field)) for limit in limits]
        figures.gauge(name, says, BY_QUEUE, [(labels, most) for labels, most in found if most is not None])
    figures.gauge(
        "queue_places_left",
        "Jobs that may still be taken before the limit of running ones is reached",
        BY_QUEUE,
        [
            ((limit.queue,), max(limit.together - limit.running, 0))
            for limit in limits
            if limit.together is not None
        ],
    )
    figures.gauge(
        "queue_starts_left",
        "Starts left in the window that ends now",
        BY_QUEUE,
        [
            ((limit.queue,), max(limit.starts - limit.started, 0))
            for limit in limits
            if limit.starts is not None
        ],
    )


def _workers(figures: metrics.Figures, workers: list[queue.Worker]) -> None:
    labels = ("worker_id", "worker", "host")
    named = [((worker.worker_id, worker.name, worker.host), worker) for worker in workers]
    figures.gauge(
        "worker_heard_seconds",
        "How long ago each worker was heard of; beyond 30 it counts as lost",
        labels,
        [(label, worker.age_s) for label, worker in named],
    )
    figures.gauge(
        "worker_jobs",
        "Jobs each worker runs, as it said last",
        labels,
        [(label, len(worker.jobs)) for label, worker in named],
    )
    figures.gauge(
        "worker_hears_notices",
        "1 while notices of new jobs reach it; else it polls",
        labels,
        [(label, worker.listening) for label, worker in named],
    )
