"""Runs jobs: each from its first line to its outcome, as many at once as its queue allows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from app import db, log, metrics
from app.errors import Cancelled, HouseError, Interrupted, NotYet, Permanent, Retryable, Superseded
from app.queue import claim, outcome, policy
from app.queue.outcome import Taken
from app.queue.pump import GATHER_S, MANY, STALE_S, Ended, Line, Pump
from app.queue.running import Lease, Run, enter

SAVE_AGAIN_S = (0.2, 2.0)
# A hook that fails so often is left out, so that its job ends at all.
MOST_SAVES = 3
# So long a lane of short jobs goes on without a look at the rest of the process.
BREATH_S = 0.001
# So long a suspect waits for what runs here to end; then it begins beside it, or it would wait for hours of video.
ALONE_S = 10.0


class Runner:
    """What runs in this process. It asks the pump for nothing: `room` and `start` are the worker's to use."""

    def __init__(
        self,
        bound: dict[str, claim.Bound],
        lines: dict[str, Line],
        pump: Pump,
        lease: Lease,
        changed: Callable[[], None],
        trouble: Callable[[str, Exception], None],
    ) -> None:
        self.bound, self.lines, self.pump, self.lease = bound, lines, pump, lease
        self.changed, self.trouble = changed, trouble
        self.lanes: set[asyncio.Task[None]] = set()
        self.runs: dict[asyncio.Task[None], Run] = {}
        self.suspects: list[Taken] = []
        # The lane of the suspect that runs now, and when the one that waits begins even if it is not alone.
        self.alone: asyncio.Task[None] | None = None
        self._alone_by = 0.0
        # Jobs that have a lane which has not begun them yet.
        self.opening: dict[int, Taken] = {}
        self._gathering = False
        self.stopping = False
        # Runs whose step has ended and whose outcome is still to be written.
        self.saving: dict[int, Taken] = {}
        self.asked_to_cancel: dict[int, str] = {}

    # What there is

    @property
    def idle(self) -> bool:
        """Nothing runs, waits here, or is still to be written."""
        return not (
            self.lanes
            or self.saving
            or self.suspects
            or self.pump.unbegun
            or any(line.ahead for line in self.lines.values())
        )

    def with_room(self) -> list[Line]:
        """The queues that can take jobs; none while a suspect of killing its worker runs alone, the lease is
        lost, or the worker stops.
        """
        if self.stopping or self.alone is not None or self.suspects or not self.lease.held:
            return []
        return [line for line in self.lines.values() if line.room or line.room_ahead]

    def known(self) -> list[int]:
        """Every job that was given to this worker and has not gone back."""
        waiting = [job.job_id for line in self.lines.values() for _, job in line.ahead]
        return [
            *(run.job_id for run in self.runs.values()),
            *self.opening,
            *self.saving,
            *waiting,
            *(job.job_id for job in self.suspects),
            *self.pump.unbegun,
        ]

    def open_runs(self) -> tuple[list[int], list[int]]:
        """Jobs that run, wait to run alone or are being written, and the numbers of their runs, in the same order."""
        pairs = {run.job_id: run.number for run in self.runs.values()}
        pairs |= {job.job_id: job.run for job in [*self.opening.values(), *self.suspects]}
        pairs |= {job_id: job.run for job_id, job in self.saving.items()}
        return list(pairs), list(pairs.values())

    # Starting

    def take(self, jobs: list[Taken]) -> None:
        """Put jobs that were claimed in line here, and start what has a place."""
        now = time.monotonic()
        for job in jobs:
            if job.rescues:
                if not self.suspects:
                    self._alone_by = now + ALONE_S
                    asyncio.get_running_loop().call_later(ALONE_S, self.start)
                self.suspects.append(job)
            else:
                self.lines[job.queue].ahead.append((now, job))
        self.start()
        if any(line.ahead for line in self.lines.values()):
            asyncio.get_running_loop().call_later(STALE_S, self._return_stale)

    def start(self) -> None:
        """Begin what is here and has a place; a worker that stops gives it back."""
        if self.stopping:
            self.hand_back_all()
        elif self.suspects or self.alone is not None:
            self._start_suspect()
        else:
            for line in self.lines.values():
                while line.ahead and line.running < line.limits.together:
                    self._open_lane(line, line.ahead.popleft()[1])

    def _start_suspect(self) -> None:
        """Begin one suspect, once everything else that was not begun is back in line: its death would count as one
        of theirs. It waits a while to be alone.
        """
        self.hand_back_ahead()
        kept = 0 if self.alone is not None else 1
        self.pump.unbegun += [job.job_id for job in self.suspects[kept:]]
        del self.suspects[kept:]
        if self.pump.unbegun or self.pump.returning:
            self.changed()
        elif self.suspects and (not self.lanes or time.monotonic() >= self._alone_by):
            job = self.suspects.pop()
            self.alone = self._open_lane(self.lines[job.queue], job)

    def _open_lane(self, line: Line, job: Taken) -> asyncio.Task[None]:
        line.running += 1
        self.opening[job.job_id] = job
        lane = asyncio.create_task(self._lane(line, job))
        self.lanes.add(lane)
        lane.add_done_callback(self._closed)
        return lane

    def _closed(self, lane: asyncio.Task[None]) -> None:
        self.lanes.discard(lane)
        self.runs.pop(lane, None)
        if not lane.cancelled() and (error := lane.exception()) is not None:
            log.error("a run ended without an outcome", exc_info=error)
        if self.alone is lane:
            self.alone = None
        self.start()
        self.changed()

    async def _lane(self, line: Line, job: Taken | None) -> None:
        """One place of a queue: runs a job, and then the next one that waits here, until none does. A task for
        each job would cost more than a short job itself.
        """
        lane = asyncio.current_task()
        assert lane is not None
        breathed = time.monotonic()
        try:
            while job is not None:
                run = Run(
                    job.run, job.job_id, job.task, job.queue, job.workspace_id, job.tries, self.lease,
                    began=time.monotonic(), turn=job.turn, round=job.round, worker_id=self.pump.worker_id,
                    correlation_id=job.correlation_id,
                )  # fmt: skip
                self.runs[lane] = run
                self.opening.pop(job.job_id, None)
                await self._run_one(job, run, line)
                if run.job_id in self.asked_to_cancel:
                    del self.asked_to_cancel[run.job_id]
                job = None
                if line.ahead and not self.suspects and not self.stopping and self.alone is None:
                    job = line.ahead.popleft()[1]
                    self.opening[job.job_id] = job
                    if (now := time.monotonic()) - breathed > BREATH_S:
                        # What is written and heard has to have its turn, too.
                        await asyncio.sleep(0)
                        breathed = now
                    self._wake_pump(line)
        finally:
            line.running -= 1

    def _wake_pump(self, line: Line) -> None:
        if line.hungry or len(self.pump.ended) >= MANY:
            self.changed()
        elif not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_later(GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self.changed()

    def hand_back_all(self) -> None:
        """Give back everything that was not begun, suspects too."""
        self.hand_back_ahead()
        self.pump.unbegun += [job.job_id for job in self.suspects]
        self.suspects.clear()

    def hand_back_ahead(self) -> None:
        """Give back what was taken and not begun; it uses no try."""
        for line in self.lines.values():
            self.pump.unbegun += [job.job_id for _, job in line.ahead]
            line.ahead.clear()

    def _return_stale(self) -> None:
        """What was taken ahead and could not begin soon is somebody else's to begin."""
        limit = time.monotonic() - STALE_S
        stale = False
        for line in self.lines.values():
            while line.ahead and line.ahead[0][0] <= limit:
                self.pump.unbegun.append(line.ahead.popleft()[1].job_id)
                # Else the next step would take them again.
                line.pace_s = max(line.pace_s, STALE_S)
                stale = True
        if stale:
            self.changed()
        elif any(line.ahead for line in self.lines.values()):
            asyncio.get_running_loop().call_later(STALE_S, self._return_stale)

    # Ending from outside

    def cancel(self, job_id: int, reason: str) -> None:
        """Ask a running job to stop because somebody cancelled it. Twice is once."""
        for lane, run in self.runs.items():
            if run.job_id == job_id and job_id not in self.asked_to_cancel and not run.ended:
                self.asked_to_cancel[job_id] = reason
                lane.cancel()

    def interrupt_all(self, why: str) -> None:
        """Stop every run that has not been stopped yet; each is handed back without a try."""
        for lane, run in self.runs.items():
            if not run.stopping and not run.ended:
                log.warning("the run is interrupted", why=why, job_id=run.job_id, run=run.number)
                run.stopping = True
                lane.cancel()

    # One run

    async def _run_one(self, job: Taken, run: Run, line: Line) -> None:
        """One run from its first line to its outcome, which the pump or `_save` writes."""
        if job.begin_by is not None and time.monotonic() > job.begin_by:
            # Its start counts as earlier than it would be; it goes back without one.
            self.pump.unbegun.append(job.job_id)
            self.changed()
            return
        enter(run)
        error = await self._call(job)
        run.ended = True
        ran_s = time.monotonic() - run.began
        line.ran(ran_s)
        if error is not None:
            await self._save(job, run.worker_id, error, ran_s)
        elif run.done:
            tell_end(job, policy.DONE, ran_s, None)
        else:
            self.saving[job.job_id] = job
            self.pump.ended.append(Ended(job, run.began, ran_s))

    def written(self, runs: list[Ended]) -> None:
        """These runs' outcomes are in the database: only now they are counted and told."""
        for run in runs:
            self.saving.pop(run.job.job_id, None)
            tell_end(run.job, policy.DONE, run.ran_s, None)

    def taken_over(self, runs: list[Ended]) -> None:
        """Others have these jobs now; the runs settle nothing."""
        for run in runs:
            self.saving.pop(run.job.job_id, None)
            log.info(
                "another run has taken over; this one settles nothing",
                job_id=run.job.job_id, run=run.job.run, queue=run.job.queue, task=run.job.task,
            )  # fmt: skip

    async def _call(self, job: Taken) -> BaseException | None:
        """Run the task's step; gives the error that ended it, or None."""
        try:
            bound = self.bound.get(job.task)
            if bound is None:
                raise await _unknown(job)
            if job.cancel_reason is not None:
                raise Cancelled(job.cancel_reason)
            log.info("job started")
            await bound.step(**bound.own(job.args))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            if (reason := self.asked_to_cancel.get(job.job_id)) is not None:
                return Cancelled(reason)
            return Interrupted("The worker is stopping; the work goes on elsewhere.")
        except Exception as error:
            return error
        return None

    async def _save(self, job: Taken, worker_id: int | None, error: BaseException, ran_s: float) -> None:
        """Write an outcome that is more than done, as often as it takes while the database is away; fenced, so
        late is harmless.
        """
        wait_s, most_s = SAVE_AGAIN_S
        began = time.monotonic() - ran_s
        decision = policy.decide(self.lines[job.queue].limits, error, job.tries)
        bound, failures = self.bound.get(job.task), 0
        while True:
            try:
                async with db.house() as conn:
                    await outcome.save(
                        conn, worker_id, job, decision, bound.gave_up if bound else None,
                        age_s=time.monotonic() - began, ran_s=ran_s,
                    )  # fmt: skip
                tell_end(job, decision, ran_s, error)
                return
            except Superseded:
                log.info("another run has taken over; this one settles nothing")
                return
            except asyncio.CancelledError:
                # Asked to stop while saving: the outcome is worth more than the second it takes.
                continue
            except Retryable as away:
                self.trouble("save", away)
            except Exception as unforeseen:
                failures += 1
                log.error("outcome cannot be saved", exc_info=unforeseen)
                if failures >= MOST_SAVES:
                    bound = None
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, most_s)


async def _unknown(job: Taken) -> Exception:
    """A name nobody here has: perhaps a newer deploy put it, so it waits ten minutes before it fails."""
    async with db.house() as conn:
        put_s = await db.value(
            conn,
            """
            SELECT extract(epoch FROM clock_timestamp()
                           - coalesce((SELECT put_at FROM job_records WHERE job_id = %(job)s),
                                      (SELECT min(at) FROM procrastinate_events
                                        WHERE job_id = %(job)s AND type = 'deferred')))::float8""",
            {"job": job.job_id},
        )
    if (put_s or 0.0) < policy.UNKNOWN_FOR_S:
        return NotYet(
            f"No worker here knows {job.task} yet.", after_s=policy.UNKNOWN_AGAIN_S, code="unknown_task"
        )
    return Permanent(f"No worker knows {job.task}.", code="unknown_task")


def tell_end(job: Taken, decision: policy.Decision, ran_s: float, error: BaseException | None) -> None:
    """Count and log a run whose outcome is written."""
    metrics.count_run(job.queue, job.task, decision.outcome, ran_s)
    if not log.enabled("info") and (error is None or isinstance(error, HouseError)):
        return
    fields: dict[str, Any] = {
        "outcome": decision.outcome, "seconds": round(ran_s, 3), "job_id": job.job_id, "run": job.run,
        "queue": job.queue, "task": job.task, "attempt": job.tries, "correlation_id": job.correlation_id,
    }  # fmt: skip
    if error is None:
        log.info("job done", **fields)
    elif isinstance(error, HouseError):
        log.info("job ended", reason=decision.reason, code=decision.code, **fields)
    else:
        log.error("job failed unexpectedly", exc_info=error, **fields)
