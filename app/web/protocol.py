"""One connection of the web server, which does not wait for ever: reliability, section 7, "Slow clients".

uvicorn alone keeps sockets open that send nothing, or a byte now and then, and has no bound on headers. Here
the head of a request must be there within 5 s and hold at most 64 KiB, a body must come at 10 KB/s over 30 s
of listening, one address has at most 20 connections, and all together leave the process some files to open.
A proxy we trust is no single client: its connections are not counted by address.
"""

from __future__ import annotations

import asyncio
import ipaddress
from asyncio import TimerHandle
from collections import Counter
from dataclasses import dataclass, field

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app import log
from app.web.addresses import neighbourhood

LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True)
class Patience:
    """How long and how much the server bears."""

    head_s: float = 5.0
    head_bytes: int = 64 * 1024
    body_bytes_per_s: int = 10_000
    body_window_s: float = 30.0
    per_address: int = 20
    in_all: int = 10_000
    # Peers whose X-Forwarded-* headers are believed; networks in CIDR notation or addresses.
    trusted: tuple[str, ...] = LOOPBACK
    idle_s: int = 5
    # A proxy keeps connections and reuses them: one that we close under its hands costs somebody a request.
    idle_trusted_s: int = 75

    def trusts(self, address: str) -> bool:
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in ipaddress.ip_network(net, strict=False) for net in self.trusted)


@dataclass
class Counted:
    """Open connections of one server."""

    by_address: Counter[str] = field(default_factory=Counter)
    in_all: int = 0


class Connection(HttpToolsProtocol):
    """Made by `connection_class`, which gives each server its own `patience` and `counted`."""

    patience = Patience()
    counted = Counted()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._refused = False
        self._counted_as: str | None = None
        self._reading_head = True
        self._head_bytes = 0
        self._exact_bytes = 0
        self._head_timer: TimerHandle | None = None
        self._body_timer: TimerHandle | None = None
        self._body_bytes = 0
        self._listened_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What uvicorn calls a Transport is one; asyncio's own type is wider.
        super().connection_made(transport)  # type: ignore[arg-type]  # see above
        address = self.client[0] if self.client else ""
        trusted = self.patience.trusts(address)
        self.counted.in_all += 1
        self._counted_as = "" if trusted or not address else neighbourhood(address)
        if self._counted_as:
            self.counted.by_address[self._counted_as] += 1
        if trusted:
            self.timeout_keep_alive = self.patience.idle_trusted_s
        if self.counted.in_all > self.patience.in_all:
            self._refuse(503, "too many connections")
        elif self._counted_as and self.counted.by_address[self._counted_as] > self.patience.per_address:
            self._refuse(429, "too many connections of one address")
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        if self._counted_as is not None:
            self.counted.in_all -= 1
            if self._counted_as:
                self.counted.by_address[self._counted_as] -= 1
                self.counted.by_address += Counter()  # drops addresses at nought
            self._counted_as = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._reading_head:
            self._head_bytes += len(data)
        else:
            self._body_bytes += len(data)
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if not self._reading_head:
            self._start_body_timer()
            return
        # Bytes of a head still incomplete. A kept connection that begins to speak is measured from now on.
        if self._head_bytes > self.patience.head_bytes:
            self._refuse(431, "head too large")
        elif self.cycle is None or self.cycle.response_complete:
            self._start_head_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._exact_bytes = 0
        self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._exact_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._exact_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        self._reading_head = False
        self._head_bytes = 0
        if self._exact_bytes > self.patience.head_bytes:
            self._refuse(431, "head too large")
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._reading_head = True
        self._stop_body_timer()
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._reading_head and not self.transport.is_closing():
            # Answered before the body was whole (refused, too large): the rest is not waited for, however fast.
            self._stop_body_timer()
            self._body_timer = self.loop.call_later(self.patience.head_s, self.transport.close)

    def timeout_keep_alive_handler(self) -> None:
        self._stop_timers()
        super().timeout_keep_alive_handler()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.patience.head_s, self._head_too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(408, "head too slow")
        else:
            # Nothing was ever said: a browser that opened a line ahead of need.
            self.transport.close()

    def _start_body_timer(self) -> None:
        if self._body_timer is None:
            self._body_bytes, self._listened_s = 0, 0.0
            self._body_timer = self.loop.call_later(self._tick_s, self._look_at_body)

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    @property
    def _tick_s(self) -> float:
        return self.patience.body_window_s / 30

    def _look_at_body(self) -> None:
        """Only time in which we listened counts: a disk or bucket that is slow is not the sender's fault."""
        self._body_timer = self.loop.call_later(self._tick_s, self._look_at_body)
        if self.flow.read_paused:
            return
        self._listened_s += self._tick_s
        if self._listened_s < self.patience.body_window_s - self._tick_s / 2:
            return
        if self._body_bytes < self.patience.body_bytes_per_s * self.patience.body_window_s:
            self._refuse(408, "body too slow")
        self._body_bytes, self._listened_s = 0, 0.0

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        self._stop_body_timer()
        self._unset_keepalive_if_required()

    def _refuse(self, status: int, reason: str) -> None:
        """Say why, if no answer has begun, and close. What still arrives is not looked at."""
        self._refused = True
        self._stop_timers()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            again = b"retry-after: 5\r\n" if status in (429, 503) else b""
            self.transport.write(
                STATUS_LINE[status] + again + b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        log.info("connection refused", reason=reason, status=status, address=self._counted_as or "trusted")


def connection_class(patience: Patience) -> type[Connection]:
    """The class of one server's connections; its counts are its own."""
    return type("Connection", (Connection,), {"patience": patience, "counted": Counted()})
