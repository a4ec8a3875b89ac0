"""A house whose jobs watch limits from inside: each writes its first and its last line, with the clock that all
processes of a machine share, into the file WATCHED.
"""

from __future__ import annotations

import asyncio
import os
import time

from app import queue

LINE = queue.Queue("test-line", together=8, tries=3, first_wait_s=0)
OTHER = queue.Queue("test-other", together=2)
WATCH = queue.Job("watch", LINE, ("seconds",))
BESIDE = queue.Job("beside", OTHER, ("seconds",))

procrastinate_app = queue.HouseApp()


def write(what: str) -> None:
    """One line in one write, so that no two mix."""
    run = queue.current()
    line = f"{what} {time.monotonic_ns()} {os.getpid()} {run.workspace_id} {run.job_id}\n"
    file = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


async def watched(seconds: float) -> None:
    write("began")
    try:
        await asyncio.sleep(seconds)
    finally:
        write("ended")


procrastinate_app.bind(WATCH)(watched)
procrastinate_app.bind(BESIDE)(watched)
