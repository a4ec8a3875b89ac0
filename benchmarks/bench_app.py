"""The house that the pick-up benchmark measures: one job whose first line says when it began."""

from __future__ import annotations

import os
import socket
import time

from app import queue

LINE = queue.Queue("bench", together=10)
MARK = queue.Job("mark", LINE, ("number",))

procrastinate_app = queue.HouseApp()
_out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


@procrastinate_app.bind(MARK)
async def mark(number: int) -> None:
    began = time.monotonic_ns()
    _out.sendto(f"{number} {began}".encode(), os.environ["BENCH_SOCKET"])
