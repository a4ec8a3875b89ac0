"""How this process is: its memory and how long it runs. For `/health` of the web and of the workers (S2.83)."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
import time
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

PROC = Path("/proc")
PAGE_BYTES = resource.getpagesize()
_STARTED = time.monotonic()


def uptime_s() -> float:
    """Seconds since this process began to import the house."""
    return round(time.monotonic() - _STARTED, 3)


def memory() -> dict[str, int]:
    """Bytes: `rss` of this process, `heapTotal` and `heapUsed` of the interpreter's allocators, `external` the
    rss of all child processes (ffmpeg). Takes a few milliseconds; what a machine cannot tell is 0.
    """
    total, used = _heap()
    return {"rss": _rss(), "heapTotal": total, "heapUsed": used, "external": _children()}


def _rss() -> int:
    try:
        return int((PROC / "self/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        # Without /proc only the highest so far is known; macOS tells bytes, others KiB.
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return highest if sys.platform == "darwin" else highest * 1024


def _children() -> int:
    """What the processes below this one hold; they come and go while we look."""
    below: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold anything; fields are counted after it (proc(5)).
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        below[int(fields[1])].append((int(stat.parent.name), int(fields[21]) * PAGE_BYTES))
    found, look_at = 0, [os.getpid()]
    while look_at:
        for pid, rss in below.get(look_at.pop(), ()):
            found += rss
            look_at.append(pid)
    return found


class _Mallinfo(ctypes.Structure):
    """struct mallinfo2 of glibc 2.33 and later (mallinfo(3))."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]  # fmt: skip


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL | None:
    """The C library with everything used here declared, or None where it has not got that."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallinfo2.restype = _Mallinfo
        libc.open_memstream.restype = ctypes.c_void_p
        libc.open_memstream.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t)]
        libc.fclose.argtypes = [ctypes.c_void_p]
        libc.free.argtypes = [ctypes.c_void_p]
        ctypes.pythonapi._PyObject_DebugMallocStats.argtypes = [ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return libc


def _heap() -> tuple[int, int]:
    """Bytes held and bytes in use by malloc and by the interpreter's own allocator above it."""
    libc = _libc()
    if libc is None:
        return 0, 0
    info = libc.mallinfo2()
    total, used = info.arena + info.hblkhd, info.uordblks + info.hblkhd
    report = _small_objects(libc)
    arenas = re.search(r"arenas \* \d+ bytes/arena\s*=\s*([\d,]+)", report)
    blocks = re.search(r"# bytes in allocated blocks\s*=\s*([\d,]+)", report)
    if arenas and blocks:
        total += int(arenas[1].replace(",", ""))
        used += int(blocks[1].replace(",", ""))
    return total, used


def _small_objects(libc: ctypes.CDLL) -> str:
    """The report of sys._debugmallocstats, which itself can only print it to stderr."""
    text, length = ctypes.c_void_p(), ctypes.c_size_t()
    stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(length))
    if not stream:
        return ""
    ctypes.pythonapi._PyObject_DebugMallocStats(stream)
    libc.fclose(stream)
    report = ctypes.string_at(text, length.value).decode(errors="replace")
    libc.free(text)
    return report
