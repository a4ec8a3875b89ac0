"""The one connection by which a worker hears of jobs and cancels, and shows every ten seconds that it lives.

The heartbeat goes over the connection that listens, and sends itself a notice: so each one proves that the
database answers, that notices arrive, and renews the lease, in one statement (`beat_worker`). It is also the
net for lost notices: it says what is ready, what was cancelled, who is lost, and when the next job is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from app import db, log
from app.errors import Retryable

BEAT_S = 10.0
# Without an answer for so long the connection counts as dead; well within the 20 s of the lease.
ANSWER_S = 5.0
ECHO_S = 2.0
# How often it looks up from listening, to see whether a beat is wanted.
LOOK_S = 1.0


class Beat(NamedTuple):
    """What a beat told. `known` is false when this worker was removed from the list."""

    known: bool
    cancels: dict[str, str] | None
    neighbours: list[str] | None
    lost: bool
    next_s: float | None
    server_s: float
    busy: bool
    ready: bool


class Says(NamedTuple):
    """What the worker says of itself with a beat."""

    worker_id: int
    jobs: list[int]
    runs: list[int]
    stopping: bool
    operations: int


class Ear:
    """`listen` ends by an error, or to start over. `listening` is true while notices are known to arrive."""

    def __init__(
        self,
        place: db.Place,
        queues: list[str],
        says: Callable[[], Says],
        beaten: Callable[[Beat, Says, float], None],
        heard: Callable[[dict[str, Any]], None],
        *,
        deaf: bool,
    ) -> None:
        self.place = place
        self.queues = queues
        self.says, self.beaten, self.heard = says, beaten, heard
        self.deaf = deaf
        self.listening = False
        self._deafness_said = False
        self._again = False
        self._now = asyncio.Event()

    def beat_soon(self) -> None:
        """Beat at once instead of at the next tenth second, e.g. to say that this worker is stopping."""
        self._now.set()

    def start_over(self) -> None:
        """Connect anew, because this worker has another number now."""
        self._again = True
        self._now.set()

    async def listen(self) -> None:
        """Connect, beat every ten seconds, and hear in between. Raises Retryable when the line breaks; ends
        only to start over.
        """
        conn: db.Conn | None = None
        try:
            async with asyncio.timeout(ANSWER_S):
                conn = await db.hand(self.place.direct_dsn, "backlot ear")
                if not self.deaf:
                    await self._subscribe(conn)
            self._again = False
            while not self._again:
                started = time.monotonic()
                self._now.clear()
                await self._beat(conn)
                await self._hear(conn, started + BEAT_S)
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise Retryable(str(error) or "The database does not answer.", code="database_away") from error
        finally:
            self.listening = False
            if conn is not None:
                with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
                    async with asyncio.timeout(1):
                        await conn.close()

    def _echo(self, worker_id: int) -> str:
        return f"backlot_ear_{worker_id}"

    async def _subscribe(self, conn: db.Conn) -> None:
        channels = [f"procrastinate_queue_v1#{name}" for name in self.queues]
        for channel in [*channels, self._echo(self.says().worker_id)]:
            await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    async def _beat(self, conn: db.Conn) -> None:
        says, asked_at = self.says(), time.monotonic()
        async with asyncio.timeout(ANSWER_S):
            cursor = await conn.execute(
                "SELECT * FROM beat_worker(%s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    says.worker_id, says.jobs, says.runs, self.listening, says.stopping, says.operations,
                    self.queues, self._echo(says.worker_id),
                ],
            )  # fmt: skip
            row = await cursor.fetchone()
        assert row is not None
        self.beaten(Beat._make(row), says, asked_at)

    async def _hear(self, conn: db.Conn, until: float) -> None:
        """Take notices until the next beat is due. The beat's own echo has to be among the first."""
        if self.deaf:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(until - time.monotonic(), 0.0)):
                    await self._now.wait()
            return
        echo, echo_by = self._echo(self.says().worker_id), time.monotonic() + ECHO_S
        echoed = False
        while (left_s := until - time.monotonic()) > 0 and not self._now.is_set():
            async for notice in conn.notifies(timeout=min(left_s, LOOK_S)):
                if notice.channel == echo:
                    if not self.listening:
                        # The lease says that this worker hears nothing, until a beat says otherwise.
                        self._now.set()
                    echoed = self.listening = True
                else:
                    self.heard(json.loads(notice.payload))
            if not echoed and time.monotonic() > echo_by:
                self._say_deaf()

    def _say_deaf(self) -> None:
        if self.listening or not self._deafness_said:
            log.warning(
                "this worker hears no notices; it looks for jobs every few seconds instead",
                hint="LISTEN does not pass a pooler in transaction mode: set DATABASE_DIRECT_URL",
            )
        self.listening, self._deafness_said = False, True
