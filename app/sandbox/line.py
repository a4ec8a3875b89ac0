"""Cutting the line: ends the TCP connection of a request without one byte of an answer.

An ASGI server has no word for this: an exception becomes a 500, a half answer is still an answer. So the
socket is looked up among this process's open files by its two addresses and shut down; the server then sees
its client gone. Works under any server and middleware in this process, while no proxy stands in front.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Cut(Response):
    """An answer that is none: the connection ends with nothing sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = _socket_of(scope)
        if line is None:
            # Behind a proxy the socket cannot be told: a promised body that never comes is the next best cut.
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]}
            )
            await send({"type": "http.response.body", "body": b"\0", "more_body": True})
            raise ConnectionAbortedError("the simulator cut this connection")
        with line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.shutdown(socket.SHUT_RDWR)
        while (await receive())["type"] != "http.disconnect":
            pass


def _socket_of(scope: Scope) -> socket.socket | None:
    client, server = scope.get("client"), scope.get("server")
    if not client or not server:
        return None
    wanted = (tuple(client)[:2], tuple(server)[:2])
    for entry in Path("/dev/fd").iterdir():
        found = _as_socket(int(entry.name))
        if found is None:
            continue
        try:
            if (found.getpeername()[:2], found.getsockname()[:2]) == wanted:
                return found
        except (OSError, TypeError):
            pass  # a listening or a nameless socket
        found.close()
    return None


def _as_socket(number: int) -> socket.socket | None:
    try:
        copy = os.dup(number)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
