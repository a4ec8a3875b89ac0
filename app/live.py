"""What changed, told to open pages: a NOTIFY that arrives on commit and carries no row.

`tell` names a topic such as `video-7`; the page then asks for the partial and gets what it may see. Percent
done is the one thing that travels in the notice itself, because it changes too often (at most four a second
and topic). One listening connection per web process (`Hub`) fans notices out; whenever it or a browser
reconnects, every open topic counts as told once, so a lost notice heals itself.
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

CHANNEL = "live"
ECHO = "live-echo"
EVERY_S = 0.25


@dataclass(frozen=True)
class Notice:
    topic: str
    percent: float | None = None


async def tell(conn: db.Conn, *topics: str) -> None:
    """Say on commit that these topics changed. Told twice in one transaction is heard once."""
    for topic in topics:
        await conn.execute("SELECT pg_notify(%s, %s)", [CHANNEL, json.dumps({"t": topic})])


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
    """The one listening connection of a web process and the open pages it serves."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.listening = asyncio.Event()
        self._by_topic: dict[str, set[Subscription]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="live hub")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

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
                conn = await db.connect(self.dsn)
                async with conn:
                    await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                    self.listening.set()
                    self.tell_all()
                    wait_s = 0.5
                    await self._hear(conn)
            except (psycopg.Error, OSError, TimeoutError) as error:
                log.warning("live notices are interrupted", reason=type(error).__name__, again_in_s=wait_s)
            self.listening.clear()
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, 5.0)

    async def _hear(self, conn: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        """Listen until the connection breaks. A silent connection is asked every ten seconds whether it
        lives.
        """
        while True:
            async for notice in conn.notifies(timeout=10):
                self.spread(notice.payload)
            await asyncio.wait_for(conn.execute("SELECT 1"), 10)


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
