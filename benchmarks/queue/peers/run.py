"""One role of one Python peer: run.py <peer> setup|fill|ones|produce|work. Options in BENCH, as JSON.

The last line of output is the result, as JSON. A peer is a module beside this one with `setup`, `opened` (a line that
jobs are put in) and, where it has no command line of its own, `work`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from typing import Any

BLOCK = 100


async def ones(line: Any, jobs: int, bare: bool, **_: Any) -> dict[str, float | None]:
    """Blocks in turn, so that what the machine does meanwhile meets both."""
    queue_s = bare_s = 0.0
    for _block in range(0, jobs, BLOCK):
        began = time.perf_counter()
        for _number in range(BLOCK):
            await line.add(0)
        queue_s += time.perf_counter() - began
        if bare:
            began = time.perf_counter()
            for _number in range(BLOCK):
                await line.bare()
            bare_s += time.perf_counter() - began
    return {"queue_s": queue_s, "bare_s": bare_s if bare else None}


async def fill(line: Any, jobs: int, batch: int, **_: Any) -> dict[str, float]:
    began = time.perf_counter()
    for at in range(0, jobs, batch):
        await line.add_many(min(batch, jobs - at))
    return {"s": time.perf_counter() - began}


async def produce(line: Any, jobs: int, gap_ms: int, **_: Any) -> dict[str, list[str]]:
    sent = []
    for number in range(1, jobs + 1):
        await line.add(number)
        sent.append(str(time.monotonic_ns()))
        await asyncio.sleep(gap_ms / 1000)
    return {"sent": sent}


async def put(peer: Any, role: str, bench: dict[str, Any]) -> dict[str, Any]:
    async with peer.opened() as line:
        result: dict[str, Any] = await {"ones": ones, "fill": fill, "produce": produce}[role](line, **bench)
        return result


def main() -> None:
    name, role = sys.argv[1:]
    bench = json.loads(os.environ.get("BENCH", "{}"))
    peer = importlib.import_module(name)
    if role == "work":
        peer.work(**bench)
    elif role == "setup":
        asyncio.run(peer.setup())
        print("{}")
    else:
        print(json.dumps(asyncio.run(put(peer, role, bench))))


if __name__ == "__main__":
    main()
