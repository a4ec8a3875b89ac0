"""What changed, told to open pages: a NOTIFY that arrives on commit and carries no row.

`tell` names a topic such as `video-7`; the page then asks for the partial and gets what it may see. Percent
done is the one thing that travels in the notice itself, because it changes too often (at most four a second
and topic). One listening connection per web process (`Hub`) fans notices out; whenever it or a browser
reconnects, every open topic counts as told once, so a lost notice heals itself. Where notices do not arrive at
all (a pooler swallows LISTEN without a word), every open topic counts as told every five seconds instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from app import db, log, metrics
from app.errors import HouseError

CHANNEL = "live"
ECHO = "live-echo"
EVERY_S = 0.25
# Workers beat every ten seconds; a silence of so long asks for a reason.
SILENT_S = 15.0
# A notice to ourselves is back by then, or none will come (reliability, section 5).
ECHO_S = 2.0
POLL_S = 5.0
AGAIN_MOST_S = 2.0
QUIET_S = 10.0


@dataclass(frozen=True)
class Notice:
    topic: str
    percent: float | None = None


async def tell(conn: db.Conn, *topics: str) -> None:
    """Say on commit that these topics changed. Told twice in one transaction is heard once."""
    if topics:
        await conn.execute(
            "SELECT pg_notify(%s, notice) FROM unnest(%s::text[]) AS notice",
            [CHANNEL, [json.dumps({"t": topic}) for topic in topics]],
        )


async def tell_percent(conn: db.Conn, topic: str, percent: float) -> None:
    """Say how far the work on this topic is (0–100)."""
    await conn.execute(
        "SELECT pg_notify(%s, %s)", [CHANNEL, json.dumps({"t": topic, "p": round(percent, 1)})]
    )


class Pace:
    """Lets through at most four notices a second; the last one before a stop is the caller's to send."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.every_s = every_s
        self._next = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.every_s
        return True


@dataclass(eq=False)
class Subscription:
    """One open page: the topics it watches and what it has not been told yet. A slow page keeps one notice a
    topic.
    """

    topics: frozenset[str]
    waiting: dict[str, Notice] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, notice: Notice) -> None:
        before = self.waiting.get(notice.topic)
        # A change is never hidden by a later percent: the page asks for the partial, which carries the
        # percent too.
        if before is not None and before.percent is None and notice.percent is not None:
            return
        self.waiting[notice.topic] = notice
        self.woken.set()

    async def next(self, timeout_s: float) -> list[Notice]:
        """What was told since the last call; an empty list after `timeout_s` of silence."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.woken.wait(), timeout_s)
        self.woken.clear()
        told, self.waiting = list(self.waiting.values()), {}
        return told


class Hub:
    """The one listening connection of a web process and the open pages it serves. `listening` is set while
    notices are known to arrive, by one that we sent ourselves.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.listening = asyncio.Event()
        self._by_topic: dict[str, set[Subscription]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []
        self._quiet_until = 0.0

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._listen(), name="live hub"),
            asyncio.create_task(self._poll(), name="live poll"),
        ]

    async def stop(self) -> None:
        # asyncio.wait_for, which the driver's pool uses, loses a cancel that comes together with its result
        # (cpython 37658, mended in 3.12): one is not always enough.
        while still := [task for task in self._tasks if not task.done()]:
            for task in still:
                task.cancel()
            await asyncio.wait(still, timeout=0.2)

    @contextlib.asynccontextmanager
    async def subscribe(self, topics: frozenset[str]) -> AsyncIterator[Subscription]:
        page = Subscription(topics)
        for topic in topics:
            self._by_topic[topic].add(page)
        metrics.live_connections.inc()
        try:
            yield page
        finally:
            metrics.live_connections.dec()
            for topic in topics:
                self._by_topic[topic].discard(page)
                if not self._by_topic[topic]:
                    del self._by_topic[topic]

    def spread(self, payload: str) -> None:
        """Hand a notice to every page that watches its topic."""
        body = json.loads(payload)
        notice = Notice(body["t"], body.get("p"))
        for page in self._by_topic.get(notice.topic, ()):
            page.put(notice)

    def tell_all(self) -> None:
        """Every open topic counts as told once: after a gap nobody knows what was missed."""
        for topic, pages in list(self._by_topic.items()):
            for page in pages:
                page.put(Notice(topic))

    async def _listen(self) -> None:
        wait_s = 0.5
        while True:
            try:
                async with await db.connect(self.dsn) as conn:
                    for channel in (CHANNEL, ECHO):
                        await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    while not await self._hears_itself(conn):
                        self._say("notices do not arrive: open pages are asked to look every 5 s; set "
                                  "DATABASE_DIRECT_URL to an address past the pooler")  # fmt: skip
                        await asyncio.sleep(POLL_S - ECHO_S)
                    await conn.execute(sql.SQL("UNLISTEN {}").format(sql.Identifier(ECHO)))
                    self.listening.set()
                    self.tell_all()
                    wait_s = 0.5
                    await self._hear(conn)
            except (psycopg.Error, HouseError, OSError, TimeoutError) as error:
                self._say("live notices are interrupted", reason=type(error).__name__)
            finally:
                self.listening.clear()
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, AGAIN_MOST_S)

    def _say(self, what: str, **more: str) -> None:
        """At most one line in ten seconds, however long it lasts (S1.58)."""
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET_S
            log.warning(what, **more)

    async def _hears_itself(self, conn: psycopg.AsyncConnection[tuple[object, ...]]) -> bool:
        """Whether a notice sent the way the house sends them is back within two seconds."""
        token = f"echo-{id(self)}-{time.monotonic_ns()}"
        async with db.house() as mouth:
            await mouth.execute("SELECT pg_notify(%s, %s)", [ECHO, token])
        async with contextlib.aclosing(conn.notifies(timeout=ECHO_S)) as notices:
            async for notice in notices:
                if notice.payload == token:
                    return True
                if notice.channel == CHANNEL:
                    self.spread(notice.payload)
        await _lives(conn)
        return False

    async def _hear(self, conn: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        """Listen until the connection breaks. Each worker's heartbeat is heard here, so a connection that was
        silent for a while has lost its workers or itself: only then it is asked whether it lives.
        """
        while True:
            heard = False
            async for notice in conn.notifies(timeout=SILENT_S):
                heard = True
                if notice.channel == CHANNEL:
                    self.spread(notice.payload)
            if not heard:
                await _lives(conn)

    async def _poll(self) -> None:
        """While nothing is heard, open pages look for themselves, as long as the database would answer them."""
        while True:
            await asyncio.sleep(POLL_S)
            with contextlib.suppress(HouseError):
                if not self.listening.is_set() and self._by_topic:
                    async with db.house():
                        self.tell_all()


async def _lives(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    """TimeoutError, or what the driver says, when nobody is at the other end any more."""
    async with asyncio.timeout(10):
        await conn.execute("SELECT 1")


async def hears_itself(dsn: str, listen_dsn: str) -> bool:
    """Notify over one address, listen on the other, wait two seconds: False means a pooler swallows LISTEN."""
    token = f"echo-{time.monotonic_ns()}"
    async with await db.connect(listen_dsn) as ear:
        await ear.execute(sql.SQL("LISTEN {}").format(sql.Identifier(ECHO)))
        async with await db.connect(dsn) as mouth:
            await mouth.execute("SELECT pg_notify(%s, %s)", [ECHO, token])
        async for notice in ear.notifies(timeout=2):
            if notice.payload == token:
                return True
    return False
