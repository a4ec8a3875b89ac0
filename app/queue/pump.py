"""The one connection by which a worker gives jobs back and takes new ones: many at a time, in one round trip.

A statement writes the outcomes of what went well since the last one, puts back what was taken ahead and not
begun, and takes what comes next (`pump_jobs` in the migrations). It stands in a transaction of its own, so a
lost answer leaves either everything or nothing: what ended is sent again, which changes nothing more, and what
was taken unheard goes back in line.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from app import db
from app.errors import Retryable
from app.queue import outcome
from app.queue.outcome import Taken
from app.queue.policy import EffectiveQueue

# Jobs are taken ahead only while all of them would start within this time, and go back when they do not.
AHEAD_S = 0.05
STALE_S = 0.1
MOST_AHEAD = 400
# The shortest job costs this much of the loop's time.
SHORTEST_S = 1e-4
# While there is work here, outcomes are gathered for so long before they are written.
GATHER_S = 0.004
# So many outcomes are worth a step at once: the server then works while these jobs' successors run here.
MANY = 64
# So many runs of a queue have to be seen before anything is taken ahead.
SEEN_FIRST = 20
_TAKE = """
    SELECT *
      FROM pump_jobs(_worker => %s, _queues => %s::text[], _rooms => %s::integer[], _aheads => %s::integer[],
                     _ripen => %s)"""
_PUMP = """
    SELECT *
      FROM pump_jobs(_worker => %s, _queues => %s::text[], _rooms => %s::integer[], _aheads => %s::integer[],
                     _ripen => %s, _jobs => %s::bigint[], _turns => %s::integer[], _runs => %s::bigint[],
                     _rounds => %s::integer[], _ages_s => %s::float8[], _ran_s => %s::float8[], _topics => %s,
                     _returned => %s)"""
# A worker that took no answer within this time builds a new connection.
ANSWER_S = 30.0
RACES = (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


class Ended(NamedTuple):
    """A run that went well and is not written yet; times are of the monotonic clock."""

    job: Taken
    began: float
    ran_s: float


@dataclass
class Line:
    """One queue of this worker: what runs, what was taken ahead, and how long its jobs take lately."""

    limits: EffectiveQueue
    running: int = 0
    seen: int = 0
    pace_s: float = 0.0
    ahead: deque[tuple[float, Taken]] = field(default_factory=deque)

    def ran(self, seconds: float) -> None:
        """Learn from a run: quickly that jobs are long, slowly that they are short."""
        self.seen += 1
        self.pace_s = seconds if seconds > self.pace_s else self.pace_s + 0.05 * (seconds - self.pace_s)

    @property
    def room(self) -> int:
        """Places that are free now, less what was taken for them already."""
        return max(self.limits.together - self.running - len(self.ahead), 0)

    @property
    def room_ahead(self) -> int:
        """How many more may be taken than there are places."""
        return max(self.most_ahead - len(self.ahead), 0)

    @property
    def most_ahead(self) -> int:
        """How many jobs may wait here for a place, by how long the ones before them took."""
        if self.seen < SEEN_FIRST or self.pace_s > AHEAD_S / 4:
            return 0
        return min(int(AHEAD_S * self.limits.together / max(self.pace_s, SHORTEST_S)), MOST_AHEAD)

    @property
    def hungry(self) -> bool:
        """Whether places would stand empty soon: then the next jobs cannot wait for a fuller step."""
        return len(self.ahead) * 2 <= self.most_ahead or (self.room > 0 and not self.ahead)


class Pump:
    """`turn` is one step. What ended waits in `ended` until it is written, through any number of outages."""

    def __init__(self, place: db.Place) -> None:
        self.place = place
        self.ended: list[Ended] = []
        self.unbegun: list[int] = []
        # Whether a statement is on its way that puts such jobs back.
        self.returning = False
        self.operations = 0
        self.next_s: float | None = None
        # Whether more may be ready than was taken; if not, `next_s` says when to look again.
        self.more = False
        self.worker_id: int | None = None
        self._conn: psycopg.AsyncConnection[Any] | None = None

    async def turn(
        self, worker_id: int, lines: list[Line], held: list[int], *, ripen: bool
    ) -> tuple[list[Taken], list[Ended], list[Ended]]:
        """Jobs taken, runs written, and runs that another has taken over. `held` are the jobs this worker knows
        of: after a lost answer every other one it was given goes back.

        Raises Retryable while the database is away; nothing is forgotten then. ForeignKeyViolation: the worker
        is no longer listed.
        """
        ended, self.ended = self.ended, []
        unbegun, self.unbegun = self.unbegun, []
        self.returning = bool(unbegun)
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_S):
                rows = await self._ask(worker_id, lines, held, ended, unbegun, ripen)
        except BaseException as error:
            self.ended[:0] = ended
            self.unbegun[:0] = unbegun
            if isinstance(error, RACES):
                # Two claims met: nothing was written or taken, and the same is asked again.
                self.more = True
                await asyncio.sleep(0.01)
                return [], [], []
            if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, OSError)):
                await self.close()
                raise Retryable("The database does not answer.", code="database_away") from error
            if isinstance(error, asyncio.CancelledError):
                await self.close()
            raise
        finally:
            self.returning = False
        *given, last = rows
        taken = _taken(given, last[3] or {}, asked_at)
        self.more, self.next_s = last[4] == 1, last[12]
        saved = set(last[13] or ())
        if len(saved) == len(ended):
            return taken, ended, []
        written = [run for run in ended if run.job.job_id in saved]
        return taken, written, [run for run in ended if run.job.job_id not in saved]

    async def _ask(
        self,
        worker_id: int,
        lines: list[Line],
        held: list[int],
        ended: list[Ended],
        unbegun: list[int],
        ripen: bool,
    ) -> list[tuple[Any, ...]]:
        conn = self._conn
        if conn is None or conn.closed:
            conn = self._conn = await db.hand(self.place.direct_dsn, "backlot pump")
            # What was taken by a statement whose answer was lost is nobody's: it goes back at once.
            await conn.execute("SELECT return_unheard(%s, %s)", [worker_id, held])
            self.operations += 1
        room = [
            worker_id, _names(line.limits.name for line in lines), _numbers(line.room for line in lines),
            _numbers(line.room_ahead for line in lines), ripen,
        ]  # fmt: skip
        if ended or unbegun:
            cursor = await conn.execute(_PUMP, [*room, *_written(ended), unbegun])
        else:
            cursor = await conn.execute(_TAKE, room)
        self.operations += 1
        return await cursor.fetchall()

    async def close(self) -> None:
        """Let go of the connection; the next turn makes a new one."""
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await conn.close()


def _taken(rows: list[tuple[Any, ...]], begin_s: dict[str, float], asked_at: float) -> list[Taken]:
    """The jobs of an answer; those of a queue whose starts are counted with the moment by which they have to begin."""
    taken = [Taken(*row[:13]) for row in rows]
    if not begin_s:
        return taken
    return [
        job._replace(begin_by=asked_at + begin_s[job.queue]) if job.queue in begin_s else job for job in taken
    ]


def _numbers(values: Iterable[float]) -> str:
    """An array as PostgreSQL writes it: the driver's own way takes each number through Python one by one."""
    return "{" + ",".join(map(str, values)) + "}"


def _names(values: Iterable[str]) -> str:
    return "{" + ",".join(f'"{value}"' for value in values) + "}"


def _written(ended: list[Ended]) -> list[Any]:
    """What the statement is told of runs that went well, column by column, and the live topics to tell of them."""
    now = time.monotonic()
    return [
        _numbers(run.job.job_id for run in ended),
        _numbers(run.job.turn for run in ended),
        _numbers(run.job.run for run in ended),
        _numbers(run.job.round for run in ended),
        _numbers(now - run.began for run in ended),
        _numbers(run.ran_s for run in ended),
        outcome.topics([run.job for run in ended]),
    ]
