"""Running SHA-256 of uploads whose every byte passed through this process, in order.

An upload that was continued elsewhere, or pushed out of this small memory, is hashed by reading it back.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from app.storage.threads import in_thread

MOST_RUNS = 1024


@dataclass
class Run:
    """The hash of the first `bytes_seen` bytes; `etags` are the parts they went into, if any."""

    bytes_seen: int = 0
    sha: hashlib._Hash = field(default_factory=hashlib.sha256)
    etags: list[str] = field(default_factory=list)

    def add(self, block: bytes | bytearray, etag: str = "") -> None:
        self.sha.update(block)
        self.bytes_seen += len(block)
        if etag:
            self.etags.append(etag)


class Runs:
    """The runs of this process, oldest forgotten first."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def at(self, name: str, offset: int) -> Run | None:
        """The run of this upload if it stands exactly at `offset`; a new one at 0; else None."""
        run = self._runs.pop(name, None)
        if offset == 0:
            run = Run()
        if run is None or run.bytes_seen != offset:
            return None
        self._runs[name] = run
        if len(self._runs) > MOST_RUNS:
            self._runs.popitem(last=False)
        return run

    def forget(self, name: str) -> None:
        self._runs.pop(name, None)


async def sha256_of(chunks: AsyncGenerator[bytes, None]) -> tuple[str, int]:
    """SHA-256 in hex and length of a stream, hashed in the threads."""
    run = Run()
    async with aclosing(chunks):
        async for chunk in chunks:
            await in_thread(partial(run.add, chunk))
    return run.sha.hexdigest(), run.bytes_seen
