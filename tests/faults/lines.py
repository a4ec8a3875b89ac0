"""A line between a client and a database that a test can hold, cut and slow down."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

CHUNK_BYTES = 65_536


class Proxy:
    """Takes connections on a port of this machine and passes them on to a server's socket.

    `hold`: from now on everything is taken and nothing passed on, in both directions, and new connections hear
    nothing. `heal` lets new connections through; those that were held stay silent for ever, as behind a middlebox
    that lost its table. `cut` closes what is open. `delay_s` slows each piece down.
    """

    def __init__(self, socket_path: str, host: str = "127.0.0.1") -> None:
        self.socket_path = socket_path
        self.host = host
        self.port = 0
        self.delay_s = 0.0
        self.holding = False
        self.accepted = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._server = self._ask(asyncio.start_server(self._connected, self.host, 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.close()
        self.cut()
        self._ask(self._end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def dsn(self, database: str = "backlot") -> str:
        return f"postgresql://backlot@{self.host}:{self.port}/{quote(database)}?sslmode=disable"

    def hold(self) -> None:
        self._now(lambda: setattr(self, "holding", True))

    def heal(self) -> None:
        self._now(lambda: setattr(self, "holding", False))

    def cut(self) -> None:
        self._now(lambda: [writer.transport.abort() for writer in self._open])

    async def _connected(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._open.add(to_near)
        try:
            if self.holding:
                await self._swallow(near)
                return
            far, to_far = await asyncio.open_unix_connection(self.socket_path)
            self._open.add(to_far)
            try:
                both = [
                    asyncio.create_task(self._pass(near, to_far)),
                    asyncio.create_task(self._pass(far, to_near)),
                ]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for task in both:
                    task.cancel()
                await asyncio.wait(both)
            finally:
                self._open.discard(to_far)
                to_far.transport.abort()
        except OSError:
            # The server is away: the client hears of it by the end of its connection.
            pass
        finally:
            self._open.discard(to_near)
            to_near.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(CHUNK_BYTES):
                if self.holding:
                    await self._swallow(reader)
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(piece)
                await writer.drain()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        """Take everything and say nothing, also after the line healed; ends by a cut only."""
        with contextlib.suppress(OSError):
            while await reader.read(CHUNK_BYTES):
                pass
        # Not even the end of the other side is passed on.
        await asyncio.Event().wait()

    async def _end_all(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _ask(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _now(self, change: Callable[[], object]) -> None:
        done = threading.Event()

        def carry_out() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(carry_out)
        assert done.wait(10)
