"""The house's worker under the engine's own command line: `procrastinate --app=tasks.procrastinate_app
worker`.

It keeps the engine's rows, claims by priority, and replaces what does not survive a fault: the heartbeat ends
last, LISTEN and the periodic timer come back by themselves, an outage ends no process, SIGTERM hands work
back within nine seconds, every outcome is fenced. Traps it answers: reliability, section 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import procrastinate
import psycopg
from procrastinate import periodic
from procrastinate import worker as engine
from psycopg import sql

from app import db, limits, live, log, metrics, migrate
from app.errors import Cancelled, HouseError, Interrupted, Retryable, Superseded
from app.queue import claim, lease, outcome, policy, rescue
from app.queue.running import Lease, Run, enter

BEAT_S = 10.0
RESCUE_S = 15.0
POLL_S = 5.0
# Of the nine seconds between SIGTERM and exit: what is short may end by itself until here, then it is
# interrupted.
FINISH_S = 1.5
EXIT_S = 9.0
SAVE_AGAIN_S = (0.2, 2.0)
AGAIN_MOST_S = 2.0
QUIET_S = 10.0
# What a heartbeat itself costs, and a job: put, take, outcome of attempt, job and record, two events.
BEAT_OPERATIONS = 4
JOB_OPERATIONS = 7


class HouseWorker(engine.Worker):
    """One worker process. `run` returns after SIGTERM, or when idle with `wait=False`; an outage does not end
    it.
    """

    def __init__(self, *, app: Any, bound: dict[str, claim.Bound], place: db.Place, **options: Any) -> None:
        super().__init__(app=app, **options)
        self.bound = bound
        self.place = place
        known = {item.job.queue.name: item.job.queue.effective() for item in bound.values()}
        names = list(self.queues) if self.queues else sorted(known)
        self.lines = {name: known.get(name) or policy.Queue(name).effective() for name in names}
        self.lease = Lease()
        self.rescuer = rescue.Rescuer({name: item.gave_up for name, item in bound.items()})
        self.runs: dict[asyncio.Task[None], Run] = {}
        self.asked_to_cancel: dict[int, str] = {}
        self.alone = False
        self.listening = False
        self._changed = asyncio.Event()
        self._quiet_until = 0.0
        # Statements for the queue since the last heartbeat; the heartbeat writes them down.
        self.operations = 0

    async def run(self) -> None:
        """Work until asked to stop. Comes back by itself from every outage of the database."""
        self._stop_event.clear()
        self.run_task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        watchdog = lease.Watchdog(self.place.direct_dsn, self.lease)
        if self.install_signal_handlers:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self._signalled)
        log.info("worker initializing", queues=sorted(self.lines))
        stamp = asyncio.create_task(self._stamp(watchdog))
        try:
            watchdog.start()
            await self._until_stopped(self._connect())
            if not self._stop_event.is_set():
                await self._work()
        except asyncio.CancelledError:
            self.stop()
            await self._drain()
            raise
        finally:
            watchdog.stop()
            stamp.cancel()
            self._loop = None
            log.info("worker stopped")

    def _signalled(self) -> None:
        """First SIGTERM or Ctrl-C: drain, and be gone after nine seconds whatever happens. Second: be gone."""
        if self._stop_event.is_set():
            os._exit(lease.EXIT_STUCK)
        self.stop()
        asyncio.get_running_loop().call_later(EXIT_S, os._exit, lease.EXIT_STUCK)

    def stop(self) -> None:
        """Ask the worker to end: nothing more is claimed. May be called from any place of the loop, and
        twice.
        """
        if not self._stop_event.is_set():
            log.info("worker is asked to stop", running=len(self.runs))
        self._stop_event.set()

    async def _stamp(self, watchdog: lease.Watchdog) -> None:
        """Show the watchdog that the loop turns; end what runs here when the lease is lost (Q5)."""
        while True:
            watchdog.alive = time.monotonic()
            if not self.lease.held:
                for task, run in self.runs.items():
                    if not run.stopping.is_set():
                        log.warning("lease lost: the run is interrupted", job_id=run.job_id, run=run.number)
                        run.stopping.set()
                        task.cancel()
            await asyncio.sleep(1.0)

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, or leave it when asked to stop."""
        doing = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stop_event.wait())
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not doing.done():
            doing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await doing

    async def _connect(self) -> None:
        """Wait for the database and its migrations, then register under a new id."""
        wait_s = 0.5
        while True:
            try:
                await db.ensure_pools(self.place.dsn, pages=False, most=self.most_connections)
                async with db.house() as conn:
                    if lacking := await migrate.missing(conn):
                        raise Retryable(f"The database lacks {lacking[0]}: run `backlot migrate`.")
                    asked_at = time.monotonic()
                    self.worker_id = await claim.register(conn, self._card())
                self.lease.renew(asked_at)
                self.rescuer.distrust()
                log.info("worker connected", worker_id=self.worker_id)
                return
            except Retryable as error:
                log.warning("worker waits for the database", reason=error.message, again_in_s=wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, 5.0)

    @property
    def most_connections(self) -> int:
        return min(4 + sum(line.together for line in self.lines.values()), 20)

    def _card(self) -> claim.Card:
        return claim.Card(
            name=self.worker_name or "worker",
            host=lease.host(),
            process=lease.identity(),
            pid=os.getpid(),
            queues=sorted(self.lines),
            version=procrastinate.__version__,
            concurrency=sum(line.together for line in self.lines.values()),
        )

    async def _work(self) -> None:
        """Claim and run until stopped; the side work goes on until the last job has ended."""
        for line in self.lines.values():
            log.info("worker started", queue=line.name, concurrency=line.together)
        side = [
            asyncio.create_task(self._for_ever(name, step, every_s))
            for name, step, every_s in (
                ("heartbeat", self._beat, BEAT_S),
                ("rescue", self._rescue, RESCUE_S),
                ("listen", self._listen, 0.0),
                ("periodic", self._periodic, 0.0),
            )
            if (name != "listen" or self.listen_notify) and (name != "periodic" or self.wait)
        ]
        try:
            await self._claim_for_ever()
        finally:
            await self._drain()
            for task in side:
                task.cancel()
            await asyncio.gather(*side, return_exceptions=True)
            await self._sign_off()

    async def _for_ever(self, name: str, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Repeat a side step; a failure is one log line and a wait that doubles to five seconds, never an
        end.
        """
        wait_s = 0.5
        while True:
            began = time.monotonic()
            try:
                await step()
                wait_s = 0.5
                await asyncio.sleep(max(every_s - (time.monotonic() - began), 0.0))
            except (
                HouseError,
                psycopg.Error,
                procrastinate.exceptions.ProcrastinateException,
                OSError,
            ) as error:
                self.rescuer.distrust()
                log.warning("worker side step failed", step=name, reason=str(error) or type(error).__name__)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, 5.0)

    def _trouble(self, step: str, error: Exception) -> None:
        """Say it, but at most once in ten seconds: an outage of ten minutes is sixty lines, not thousands
        (S1.58).
        """
        self.rescuer.distrust()
        if time.monotonic() < self._quiet_until:
            return
        self._quiet_until = time.monotonic() + QUIET_S
        log.warning("worker waits for the database", step=step, reason=str(error) or type(error).__name__)

    async def _beat(self) -> None:
        """Heartbeat, lease and what runs here in one statement. A row that is gone means: start over as a new
        worker.
        """
        assert self.worker_id is not None
        asked_at = time.monotonic()
        async with db.house() as conn:
            known = await claim.beat(
                conn,
                self.worker_id,
                [run.number for run in self.runs.values()],
                listening=self.listening,
                stopping=self._stop_event.is_set(),
            )
            asked = await claim.cancels(conn, [run.job_id for run in self.runs.values()])
            counted = self.operations + BEAT_OPERATIONS
            await claim.count_usage(conn, counted)
            if not known:
                self.worker_id = await claim.register(conn, self._card())
            await live.tell(conn, outcome.QUEUES_TOPIC)
        self.operations -= counted - BEAT_OPERATIONS
        lost = not self.lease.held
        self.lease.renew(asked_at)
        if lost:
            self._changed.set()
        for job_id, reason in asked.items():
            self._cancel_run(job_id, reason)

    async def _rescue(self) -> None:
        if await self.rescuer.look():
            self._changed.set()

    async def _periodic(self) -> None:
        await periodic.PeriodicDeferrer(
            registry=self.app.periodic_registry, **self.app.periodic_defaults
        ).worker()
        # With no periodic task registered it ends at once; the house always has some, so this is a long
        # breath.
        await asyncio.sleep(60.0)

    async def _listen(self) -> None:
        """Hear of new jobs and of cancels. Ends only by an error; silence is tested every ten seconds."""
        channels = [f"procrastinate_queue_v1#{name}" for name in self.lines]
        async with await db.connect(self.place.direct_dsn) as conn:
            for channel in channels:
                await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            try:
                self.listening = True
                self._changed.set()
                # What was asked before we listened is looked up once.
                await self._hear_of_cancels()
                while True:
                    async for notice in conn.notifies(timeout=10):
                        self._heard(notice.payload)
                    await asyncio.wait_for(conn.execute("SELECT 1"), 10)
            finally:
                self.listening = False

    async def _hear_of_cancels(self) -> None:
        if self.runs:
            async with db.house() as conn:
                asked = await claim.cancels(conn, [run.job_id for run in self.runs.values()])
            for job_id, reason in asked.items():
                self._cancel_run(job_id, reason)

    def _heard(self, payload: str) -> None:
        notice = json.loads(payload)
        if notice.get("type") == "abort_job_requested":
            self._cancel_run(int(notice["job_id"]), "Cancelled.")
        else:
            self._changed.set()

    def _cancel_run(self, job_id: int, reason: str) -> None:
        for task, run in self.runs.items():
            if run.job_id == job_id and job_id not in self.asked_to_cancel:
                self.asked_to_cancel[job_id] = reason
                task.cancel()

    # Claiming and running

    async def _claim_for_ever(self) -> None:
        while not self._stop_event.is_set():
            self._changed.clear()
            pause_s = POLL_S
            idle = False
            try:
                while not self._stop_event.is_set() and (names := self._lines_with_room()):
                    # Idle only if nothing ran before the look: what ends during it may have gone back in
                    # line.
                    idle = not self.runs
                    job = await self._claim(names)
                    if job is None:
                        pause_s = await self._next_due_s(names)
                        break
                    self._begin(job)
            except (HouseError, psycopg.Error) as error:
                self._trouble("claim", error)
                pause_s = 1.0
            if not self.wait and idle:
                return
            await self._pause(pause_s)

    def _lines_with_room(self) -> list[str]:
        """Queues with a free slot here; none while a suspect of killing its worker runs alone, or the lease
        is lost.
        """
        if self.alone or not self.lease.held:
            return []
        busy: dict[str, int] = {}
        for run in self.runs.values():
            busy[run.queue] = busy.get(run.queue, 0) + 1
        return [name for name, line in self.lines.items() if busy.get(name, 0) < line.together]

    async def _claim(self, names: list[str]) -> outcome.Taken | None:
        """The next job; a worker whose row is gone (pruned, or lost in a failover) registers anew first."""
        assert self.worker_id is not None
        self.operations += 1
        try:
            async with db.house() as conn:
                return await claim.claim(conn, self.worker_id, names)
        except psycopg.errors.ForeignKeyViolation:
            log.warning("this worker was removed from the list; it registers anew", worker_id=self.worker_id)
            async with db.house() as conn:
                self.worker_id = await claim.register(conn, self._card())
                return await claim.claim(conn, self.worker_id, names)

    async def _next_due_s(self, names: list[str]) -> float:
        """Seconds until the next scheduled job of these queues, at most the poll that is the net for lost
        notices.
        """
        async with db.house() as conn:
            return min(POLL_S, max(await claim.next_due_s(conn, names), 0.02))

    async def _pause(self, pause_s: float) -> None:
        waits = [asyncio.create_task(self._changed.wait()), asyncio.create_task(self._stop_event.wait())]
        _, open_waits = await asyncio.wait(waits, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in open_waits:
            wait.cancel()

    def _begin(self, job: outcome.Taken) -> None:
        run = Run(job.run, job.job_id, job.task, job.queue, job.workspace_id, job.tries, self.lease)
        self.operations += JOB_OPERATIONS
        self.alone = job.rescues > 0
        others = [task for task in self.runs if job.rescues > 0]
        task = asyncio.create_task(self._run_one(job, run, others), name=f"{job.task}[{job.job_id}]")
        self.runs[task] = run
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        run = self.runs.pop(task)
        self.asked_to_cancel.pop(run.job_id, None)
        if self.alone and not self.runs:
            self.alone = False
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a run ended without an outcome", job_id=run.job_id, run=run.number, exc_info=error)

    async def _run_one(self, job: outcome.Taken, run: Run, others: list[asyncio.Task[None]]) -> None:
        """One run from its first line to its saved outcome."""
        enter(run)
        labels = {"queue": job.queue, "task": job.task}
        with log.bound(
            job_id=job.job_id, run=job.run, correlation_id=job.correlation_id, attempt=job.tries, **labels
        ):
            metrics.job_wait_seconds.labels(**labels).observe(max(job.waited_s, 0.0))
            began = time.monotonic()
            error = await self._call(job, run, others)
            seconds = time.monotonic() - began
            decision = policy.decide(self.lines[job.queue], error, job.tries)
            turn = isinstance(error, claim.Turn)
            if not turn:
                claim.count(labels, decision, seconds)
                _log_end(decision, seconds, error)
            await self._save(job, decision, turn=turn)

    async def _call(
        self, job: outcome.Taken, run: Run, others: list[asyncio.Task[None]]
    ) -> BaseException | None:
        """Run the task; gives the error that ended it, or None."""
        try:
            if others:
                await asyncio.wait(others)
            bound = self.bound.get(job.task)
            if bound is None:
                raise claim.unknown_task(job)
            if job.cancel_reason is not None:
                raise Cancelled(job.cancel_reason)
            await self._wait_for_limit(job)
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

    async def _wait_for_limit(self, job: outcome.Taken) -> None:
        """Take a start of the queue's limit, or raise Turn with the moment to come back (no try is used)."""
        most = self.lines[job.queue].most
        if most is None:
            return
        reason = f"{job.queue} starts at most {most[0]} jobs in {most[1]:g} seconds."
        async with db.house() as conn:
            wait = await limits.take(
                conn, f"job-{job.job_id}", [limits.Limit(f"queue-{job.queue}", most[0], most[1], reason)]
            )
        if wait is not None:
            raise claim.Turn(wait.reason, until=wait.until, code="limit")

    async def _save(self, job: outcome.Taken, decision: policy.Decision, *, turn: bool) -> None:
        """Write the outcome, as often as it takes while the database is away; fenced, so late is harmless."""
        wait_s, most_s = SAVE_AGAIN_S
        bound = self.bound.get(job.task)
        failures = 0
        while True:
            try:
                async with db.house() as conn:
                    if turn:
                        await outcome.wait_for_turn(conn, job, decision)
                    else:
                        await outcome.save(conn, job, decision, bound.gave_up if bound else None)
                return
            except Superseded:
                log.info("another run has taken over; this one settles nothing")
                return
            except asyncio.CancelledError:
                # Asked to stop while saving: the outcome is worth more than the second it takes.
                continue
            except Retryable as error:
                self._trouble("save", error)
            except Exception as error:
                failures += 1
                log.error("outcome cannot be saved", exc_info=error)
                if failures >= 3:
                    bound = None
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, most_s)

    async def _drain(self) -> None:
        """Let short work end, interrupt the rest, and see every outcome saved."""
        if not self.runs:
            return
        await asyncio.wait(self.runs, timeout=FINISH_S if self._stop_event.is_set() else None)
        for task in list(self.runs):
            task.cancel()
        if self.runs:
            await asyncio.wait(self.runs)

    async def _sign_off(self) -> None:
        with contextlib.suppress(HouseError, psycopg.Error):
            async with db.house() as conn:
                await claim.sign_off(conn, self.worker_id)


def _log_end(decision: policy.Decision, seconds: float, error: BaseException | None) -> None:
    fields = {"outcome": decision.outcome, "seconds": round(seconds, 3)}
    if error is None:
        log.info("job done", **fields)
    elif isinstance(error, HouseError):
        log.info("job ended", reason=decision.reason, code=decision.code, **fields)
    else:
        log.error("job failed unexpectedly", exc_info=error, **fields)
