"""The timer of periodic jobs: the engine's, made quiet while the house is.

A house in which nothing moved within the last hour has nothing to heal, renew or sweep that could not wait: then
a task rings only at the first of its ticks in each of its own idle periods (S1.16: no load when idle). All
workers know the same ticks, and the engine's own unique key lets one of them put each job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from procrastinate import periodic

IDLE_S = 3600


class Timer(periodic.PeriodicDeferrer):
    """`worker()` runs for ever. `busy` says whether anything but upkeep moved lately."""

    def __init__(
        self,
        registry: periodic.PeriodicRegistry,
        idle_s: dict[str, int],
        busy: Callable[[], bool],
        **defaults: Any,
    ) -> None:
        super().__init__(registry, **defaults)
        self.idle_s = idle_s
        self.busy = busy

    async def defer_jobs(self, jobs_to_defer: Iterable[periodic.TaskAtTime]) -> None:
        """Put the jobs whose tick has come; while nothing moves, those alone that are the first of their period."""
        due = list(jobs_to_defer)
        if not self.busy():
            due = [(task, tick) for task, tick in due if self._first_of_period(task, tick)]
        await super().defer_jobs(due)

    def _first_of_period(self, task: periodic.PeriodicTask[..., Any, Any], tick: int) -> bool:
        period_s = self.idle_s.get(task.task.name, IDLE_S)
        before = round(task.croniter.get_prev(ret_type=float, start_time=tick))
        return bool(tick // period_s != before // period_s)
