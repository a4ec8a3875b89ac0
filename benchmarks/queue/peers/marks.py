"""What a worker tells the benchmark: when its first job began, how many began, and when each numbered one did.

One small write a job into a file that the benchmark reads; the same for every peer and both languages.
"""

from __future__ import annotations

import os
import struct
import time

_file = os.open(os.environ["BENCH_MARKS"], os.O_RDWR) if os.environ.get("BENCH_MARKS") else -1
_seen = {"first": 0, "count": 0}


def mark(number: int, many: int = 1) -> None:
    """The first line of a job. `many` is for the bare loop, whose jobs have no function to call."""
    began = time.monotonic_ns()
    _seen["first"] = _seen["first"] or began
    _seen["count"] += many
    os.pwrite(_file, struct.pack("<QQ", _seen["first"], _seen["count"]), 0)
    if number > 0:
        os.pwrite(_file, struct.pack("<Q", began), 8 + 8 * number)
