"""Blocking work of storage, away from the event loop, and streams cut into blocks of one size.

Nobody outside this folder sees the threads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio

from app.errors import Refused

THREADS = 16
# A network call that is cancelled is left to end alone after this long; its answer is not needed any more.
PATIENCE_S = 2.0

T = TypeVar("T")
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")


def _after_fork() -> None:
    global _pool
    _pool = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")


os.register_at_fork(after_in_child=_after_fork)


async def in_thread(work: Callable[[], T], *, patience_s: float | None = None) -> T:
    """Run `work` in a thread. When cancelled, wait for its end first, so that nobody closes a file under it.

    `patience_s` bounds that wait for work that shares nothing with us, e.g. a network call on its own bytes.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(_pool, work)
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        leave_at = None if patience_s is None else loop.time() + patience_s
        # The shield is against cancel scopes, which cancel at every turn; the loop against Task.cancel().
        with anyio.CancelScope(shield=True):
            while not future.done() and (leave_at is None or loop.time() < leave_at):
                with suppress(asyncio.CancelledError):
                    left_s = None if leave_at is None else leave_at - loop.time()
                    await asyncio.wait([future], timeout=left_s)
        raise
    return future.result()


async def blocks(
    chunks: AsyncIterator[bytes], block_bytes: int, *, most: int, first: bytes = b""
) -> AsyncGenerator[bytearray, None]:
    """The stream in blocks of exactly `block_bytes`, the last one shorter; `first` stands before it.

    One block is in memory at a time. When the stream breaks, what came before is given out as a last block
    and then the error is raised. More than `most` new bytes: Refused (`too_large`).
    """
    # One buffer for the whole stream: whoever takes a block is done with it before asking for the next.
    block = bytearray(block_bytes)
    filled = len(first)
    block[:filled] = first
    count = 0
    try:
        async for chunk in chunks:
            count += len(chunk)
            if count > most:
                raise Refused(
                    f"This is larger than the {most:,} bytes allowed.", code="too_large", status=413
                )
            view = memoryview(chunk)
            while view:
                some = view[: block_bytes - filled]
                block[filled : filled + len(some)] = some
                filled += len(some)
                view = view[len(some) :]
                if filled == block_bytes:
                    yield block
                    filled = 0
    except Exception:
        if filled:
            yield block[:filled]
        raise
    if filled:
        yield block[:filled]


async def file_chunks(path: Path, chunk_bytes: int) -> AsyncGenerator[bytes, None]:
    """A local file, piece by piece."""
    file = await in_thread(lambda: path.open("rb", buffering=0))
    try:
        while chunk := await in_thread(partial(file.read, chunk_bytes)):
            yield chunk
    finally:
        await in_thread(file.close)
