"""Runs the web process: `serve(app, host, port)` returns when the process was asked to stop and has stopped.

Stopping takes at most three seconds: open live streams are told at once (`app.state.stopping`), requests that
run get two seconds, then they are cancelled. uvicorn raises the signal it caught a second time after it has
shut down, so what follows `uvicorn.run` never happens (parts, section 9, pitfall 2); this server does not.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from app import log
from app.web.protocol import Patience, connection_class

GRACE_S = 2
# After this the process ends whatever still hangs, e.g. a database that does not answer while pools close.
HARD_STOP_S = 3.0
# Files kept free of connections: database, storage, live notices, log.
SPARE_FILES = 256


class Server(uvicorn.Server):
    """uvicorn's server, with a signal that reaches open streams at once and is not raised again."""

    def __init__(self, app: Starlette, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self.asked_to_stop = False
        # Called once with the first signal.
        self.on_stop: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called between two lines of whatever runs; so it only sets flags."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.stop()

    def stop(self) -> None:
        """Stop soon. Harmless twice."""
        self.should_exit = True
        if not self.asked_to_stop:
            self.asked_to_stop = True
            self.on_stop()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._app.state.stopping.set)


def make(app: Starlette, host: str, port: int, patience: Patience | None = None) -> Server:
    """A server that is not running yet. `app.state.stopping` is the event its open streams wait for."""
    patience = patience or Patience()
    settings = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=connection_class(patience),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=list(patience.trusted),
        timeout_keep_alive=patience.idle_s,
        timeout_graceful_shutdown=GRACE_S,
        # Fields bound to the log by one request must not be seen by the next one on the same connection.
        reset_contextvars=True,
    )
    return Server(app, settings)


def serve(app: Starlette, host: str, port: int, patience: Patience | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Call it from the main thread. Exits with code 3 when the start fails."""
    # A signal before uvicorn listens to it ends the process in order, so that `finally` clauses run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    patience = patience or Patience()
    server = make(app, host, port, replace(patience, in_all=min(patience.in_all, _most_connections())))
    last_resort = threading.Timer(HARD_STOP_S, _stop_by_force)
    last_resort.daemon = True
    server.on_stop = last_resort.start
    try:
        server.run()
    finally:
        last_resort.cancel()


def _stop_by_force() -> None:
    log.warning("stopped by force: something did not end in time", after_s=HARD_STOP_S)
    # What leaves the embedded server in order is registered there; a hard exit alone would skip it.
    atexit._run_exitfuncs()
    os._exit(0)


def _most_connections() -> int:
    """As many as this process may hold open, after asking for all it can get."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError) as error:
            log.warning("the limit of open files stays as it is", files=soft, reason=str(error))
    return max(64, soft - SPARE_FILES)
