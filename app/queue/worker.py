"""The house's worker under the engine's own command line: `procrastinate --app=tasks.procrastinate_app
worker`.

It keeps the engine's rows and replaces what does not survive a fault or is slow: jobs are taken and ended many
at a time (`pump`), the heartbeat ends last and goes over the connection that listens (`ear`), the periodic
timer comes back by itself, an outage ends no process, SIGTERM hands work back within nine seconds, every
outcome is fenced. Traps it answers: reliability, section 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import procrastinate
import psycopg
from procrastinate import worker as engine

from app import db, log, metrics, migrate
from app.errors import HouseError, Permanent, Retryable
from app.queue import claim, lease, policy, rescue, upkeep
from app.queue.ear import Beat, Ear, Says
from app.queue.pump import GATHER_S, MANY, Line, Pump
from app.queue.runner import Runner
from app.queue.running import Lease
from app.queue.timer import Timer

# The net while no notices arrive; else the heartbeat is the net.
POLL_S = 2.0
# Of the nine seconds between SIGTERM and exit: what is short may end by itself until here, then it is
# interrupted.
FINISH_S = 1.5
EXIT_S = 9.0
QUIET_S = 10.0
# Between two tries of the pump while the database is away.
AGAIN_S = 0.3
AGE_S = 60.0


class HouseWorker(engine.Worker):
    """One worker process. `run` returns after SIGTERM, or when idle with `wait=False`; an outage does not end
    it.
    """

    def __init__(
        self,
        *,
        app: Any,
        bound: dict[str, claim.Bound],
        place: db.Place,
        at_start: Callable[[], Awaitable[None]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(app=app, **options)
        self.at_start = at_start
        self.bound = bound
        self.place = place
        known = {item.job.queue.name: item.job.queue.effective() for item in bound.values()}
        names = list(self.queues) if self.queues else sorted(known)
        self.lines = {name: Line(known.get(name) or policy.Queue(name).effective()) for name in names}
        self.lease = Lease()
        self.rescuer = rescue.Rescuer({name: item.gave_up for name, item in bound.items()})
        self.pump = Pump(place)
        self.runner = Runner(bound, self.lines, self.pump, self.lease, self._changed, self._trouble)
        self.ear = Ear(place, names, self._says, self._beaten, self._heard, deaf=not self.listen_notify)
        self._wake = asyncio.Event()
        self._beaten_once = asyncio.Event()
        self._rescue_wanted = asyncio.Event()
        self._why = "poll"
        self._ripe = True
        self._unlisted = False
        self._quiet_until = 0.0
        # Whether anything but upkeep moved within the last hour, as the last beat told.
        self.busy = True

    @property
    def listening(self) -> bool:
        """Whether notices are known to arrive."""
        return self.ear.listening

    @property
    def runs(self) -> dict[asyncio.Task[None], Any]:
        return self.runner.runs

    # From start to end

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
        finally:
            watchdog.stop()
            stamp.cancel()
            await self.pump.close()
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
        self.runner.stopping = True
        self.runner.hand_back_all()
        self._changed()
        self.ear.beat_soon()

    async def _stamp(self, watchdog: lease.Watchdog) -> None:
        """Show the watchdog that the loop turns; end what runs here when the lease is lost (Q5)."""
        while True:
            watchdog.alive = time.monotonic()
            if not self.lease.held:
                self.runner.interrupt_all("lease lost")
                self.runner.hand_back_all()
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
                await db.ensure_pools(self.place.direct_dsn, pages=False, most=self.most_connections)
                async with db.house() as conn:
                    if lacking := await migrate.missing(conn):
                        raise Retryable(f"The database lacks {lacking[0]}: run `backlot migrate`.")
                await self._register()
                await self._check_address()
                log.info("worker connected", worker_id=self.worker_id)
                return
            except Retryable as error:
                log.warning("worker waits for the database", reason=error.message, again_in_s=wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, 5.0)

    async def _check_address(self) -> None:
        """End with one line when a pooler stands in front: a worker's own sessions cannot go through it."""
        try:
            conn = await db.hand(self.place.direct_dsn, "backlot worker start")
        except Permanent as error:
            raise SystemExit(error.message) from error
        await conn.close()

    async def _register(self) -> None:
        """Enter the list of workers under a new id."""
        asked_at = time.monotonic()
        async with db.house() as conn:
            self.worker_id = await claim.register(
                conn, self._card(), [line.limits for line in self.lines.values()]
            )
        self.pump.worker_id = self.worker_id
        self.lease.renew(asked_at)
        self.rescuer.distrust()

    @property
    def most_connections(self) -> int:
        return min(4 + sum(line.limits.together for line in self.lines.values()), 20)

    def _card(self) -> claim.Card:
        return claim.Card(
            name=self.worker_name or "worker",
            host=lease.host(),
            process=lease.identity(),
            pid=os.getpid(),
            queues=sorted(self.lines),
            version=procrastinate.__version__,
            concurrency=sum(line.limits.together for line in self.lines.values()),
        )

    async def _work(self) -> None:
        """Claim and run until stopped; the side work goes on until the last outcome is written."""
        for line in self.lines.values():
            log.info("worker started", queue=line.limits.name, concurrency=line.limits.together)
        sides = [
            asyncio.create_task(self._for_ever(name, step))
            for name, step in (
                ("heartbeat", self.ear.listen),
                ("rescue", self._rescue),
                ("periodic", self._periodic),
                ("ageing", self._age),
            )
            if name not in ("periodic", "ageing") or self.wait
        ]
        if self.at_start is not None:
            sides.append(asyncio.create_task(self._begin(self.at_start)))
        pumping = asyncio.create_task(self._pump_for_ever())
        stopping = asyncio.create_task(self._stop_event.wait())
        try:
            await asyncio.wait({pumping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(pumping)
        except asyncio.CancelledError:
            self.stop()
            await self._drain(pumping)
            raise
        finally:
            stopping.cancel()
            for task in sides:
                task.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
            await self._sign_off()

    async def _begin(self, at_start: Callable[[], Awaitable[None]]) -> None:
        """What is good to have done before it is needed; a job that needs it sees to it anyway."""
        try:
            await at_start()
        except HouseError as error:
            log.warning("the start of this worker is incomplete", reason=error.message)

    async def _drain(self, pumping: asyncio.Task[None]) -> None:
        """Let short work end, interrupt the rest, and see every outcome written; then nothing is left to pump."""
        if self._stop_event.is_set() and self.runs:
            await asyncio.wait(self.runs, timeout=FINISH_S)
            self.runner.interrupt_all("the worker is stopping")
        await pumping

    async def _sign_off(self) -> None:
        with contextlib.suppress(HouseError, psycopg.Error):
            async with db.house() as conn:
                await claim.sign_off(conn, self.worker_id)

    # Side work

    async def _for_ever(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a side step; a failure is one log line and a wait that doubles to two seconds, never an
        end.
        """
        wait_s = 0.5
        while True:
            began = time.monotonic()
            try:
                await step()
            except (
                HouseError,
                psycopg.Error,
                procrastinate.exceptions.ProcrastinateException,
                OSError,
            ) as error:
                self.rescuer.distrust()
                log.warning("worker side step failed", step=name, reason=str(error) or type(error).__name__)
                if time.monotonic() - began > 10:
                    wait_s = 0.5
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, 2.0)

    def _trouble(self, step: str, error: Exception) -> None:
        """Say it, but at most once in ten seconds: an outage of ten minutes is sixty lines, not thousands
        (S1.58).
        """
        self.rescuer.distrust()
        if time.monotonic() < self._quiet_until:
            return
        self._quiet_until = time.monotonic() + QUIET_S
        log.warning("worker waits for the database", step=step, reason=str(error) or type(error).__name__)

    def _says(self) -> Says:
        assert self.worker_id is not None
        jobs, runs = self.runner.open_runs()
        return Says(self.worker_id, jobs, runs, self._stop_event.is_set(), self.pump.operations + 1)

    def _beaten(self, beat: Beat, says: Says, asked_at: float) -> None:
        """What follows from a beat: the lease, cancels, neighbours that are missing, and what is ready."""
        self.pump.operations -= says.operations - 1
        if not beat.known:
            self._rescue_wanted.set()
            self._unlisted = True
            return
        lost = not self.lease.held
        self.lease.renew(asked_at)
        self.busy = beat.busy
        for job_id, reason in (beat.cancels or {}).items():
            self.runner.cancel(int(job_id), reason)
        if self.rescuer.wanted(beat):
            self._rescue_wanted.set()
        if beat.ready or lost or not self._beaten_once.is_set():
            self._why = "poll"
            self._changed()
        self._beaten_once.set()

    def _heard(self, notice: dict[str, Any]) -> None:
        if notice.get("type") == "abort_job_requested":
            self.runner.cancel(int(notice["job_id"]), "Cancelled.")
        else:
            self._why = "notice"
            self._changed()

    async def _rescue(self) -> None:
        """Look for lost neighbours when a beat names one, again until it names none; register anew when this
        worker itself was removed.
        """
        await self._rescue_wanted.wait()
        self._rescue_wanted.clear()
        if self._unlisted:
            log.warning("this worker was removed from the list; it registers anew", worker_id=self.worker_id)
            self.runner.interrupt_all("the worker was removed from the list")
            await self._register()
            self._unlisted = False
            self.ear.start_over()
        if await self.rescuer.look():
            self._changed()

    async def _periodic(self) -> None:
        idle_s = {name: bound.idle_s for name, bound in self.bound.items() if bound.idle_s is not None}
        await Timer(
            self.app.periodic_registry, idle_s, lambda: self.busy, **self.app.periodic_defaults
        ).worker()
        # With no periodic task registered it ends at once; the house always has some, so this is a long
        # breath.
        await asyncio.sleep(60.0)

    async def _age(self) -> None:
        """Once a minute, while anything moves: what waits long at low priority gains a step."""
        await asyncio.sleep(AGE_S)
        while self.busy:
            async with db.house() as conn:
                if not await upkeep.age_low(conn):
                    break

    # Claiming

    def _changed(self) -> None:
        self._wake.set()

    async def _pump_for_ever(self) -> None:
        """One step after another: write what ended, take what there is room for; then wait for a reason."""
        await self._first_beat()
        while True:
            self._wake.clear()
            lines = self.runner.with_room()
            if self._stop_event.is_set() and self.runner.idle:
                return
            pause_s: float | None = None
            if (gather_s := self._gather_s(lines)) > 0:
                await self._pause(gather_s)
                continue
            if lines or self.pump.ended or self.pump.unbegun:
                # Idle only if nothing ran before the look: what ends during it may have gone back in line.
                idle = self.runner.idle
                pause_s = await self._step(lines)
                if pause_s is None or self._stop_event.is_set():
                    continue
                if not self.wait and idle and self.runner.idle and not self._wake.is_set():
                    return
                if not self.wait and self.runner.idle:
                    # The last outcome has just been written: one more look, then it is over.
                    continue
            await self._pause(POLL_S if pause_s is None and not self.listening else pause_s)

    def _gather_s(self, lines: list[Line]) -> float:
        """How long the next step should wait so that it carries more: not at all when a place would stand empty."""
        if not self.pump.ended or len(self.pump.ended) >= MANY or self.pump.unbegun:
            return 0.0
        if any(line.hungry for line in lines):
            return 0.0
        oldest = self.pump.ended[0]
        return oldest.began + oldest.ran_s + GATHER_S - time.monotonic()

    async def _first_beat(self) -> None:
        """Not before the first beat: it is the lease, and tells what is due."""
        waits = [asyncio.create_task(self._beaten_once.wait()), asyncio.create_task(self._stop_event.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _step(self, lines: list[Line]) -> float | None:
        """One turn of the pump; gives how long there is nothing to do, None to go on at once."""
        assert self.worker_id is not None
        why, self._why = self._why, "busy"
        ripe, self._ripe = self._ripe, False
        try:
            taken, written, taken_over = await self.pump.turn(
                self.worker_id, lines, self.runner.known(), ripen=ripe
            )
        except psycopg.errors.ForeignKeyViolation:
            self._unlisted = True
            self._rescue_wanted.set()
            await asyncio.sleep(AGAIN_S)
            return 0.0
        except (HouseError, psycopg.Error) as error:
            self._why, self._ripe = why, True
            if not isinstance(error, Retryable):
                log.error("jobs cannot be taken", exc_info=error)
            self._trouble("claim", error)
            await asyncio.sleep(AGAIN_S)
            return 0.0
        self.runner.written(written)
        self.runner.taken_over(taken_over)
        for job in taken:
            metrics.count_wait(job.queue, job.task, why, max(job.waited_s or 0.0, 0.0))
        self.runner.take(taken)
        if self.pump.more:
            return None
        self._ripe = True
        if self.pump.next_s is None:
            return 1e9 if self.listening else POLL_S
        if self._why == "busy":
            self._why = "due"
        return max(min(self.pump.next_s, 1e9 if self.listening else POLL_S), 0.005)

    async def _pause(self, pause_s: float | None) -> None:
        """Wait for a reason to go on, at most so long; None and a day mean until there is one."""
        timer = None
        if pause_s is not None and pause_s < 86_400:
            timer = asyncio.get_running_loop().call_later(pause_s, self._wake.set)
        await self._wake.wait()
        if timer is not None:
            timer.cancel()
