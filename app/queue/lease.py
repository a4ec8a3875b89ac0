"""Proof that a worker lives, and the watchdog that ends it when it no longer can prove it.

Others take a worker for lost 30 s after its last heartbeat. So a process whose event loop stood still for 25
s, or that lost its lease although a connection of its own works, ends itself before anyone else acts on its
jobs.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from app.queue.running import Lease

ALIVE_S = 25.0
STUCK_S = 10.0
EXIT_STUCK = 70


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """The start time of a process as the kernel counts it; empty when it is gone or a zombie, None when
    unknown.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    stat = _read(f"/proc/{pid}/stat")
    fields = stat[stat.rfind(")") + 1 :].split()
    if len(fields) < 20:
        return None
    return "" if fields[0] in "ZX" else fields[19]


def _machine() -> str:
    try:
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        space = ""
    boot = _read("/proc/sys/kernel/random/boot_id")
    return f"{boot}/{space}" if boot and space else ""


def identity() -> str:
    """This process, told apart from every other one on every machine; empty where the system cannot say."""
    machine = _machine()
    return f"{machine}/{os.getpid()}/{_started(os.getpid())}" if machine else ""


def surely_dead(process: str) -> bool:
    """True only when the process was on this very machine and is certainly gone. False says nothing."""
    machine, _, rest = process.rpartition("/")
    machine, _, pid = machine.rpartition("/")
    if not machine or machine != _machine() or not pid.isdigit():
        return False
    started = _started(int(pid))
    return started is not None and started != rest


class Watchdog(threading.Thread):
    """A plain thread, so that a blocked event loop cannot block it. `alive` is stamped by the loop each
    second.
    """

    def __init__(self, dsn: str, lease: Lease) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.dsn = dsn
        self.lease = lease
        self.alive = time.monotonic()
        self._ended = threading.Event()
        self._answers_since: float | None = None

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(1.0):
            if time.monotonic() - self.alive >= ALIVE_S:
                self._exit("the event loop stood still")
            if self.lease.held:
                self._answers_since = None
            elif self._database_answers():
                self._answers_since = self._answers_since or time.monotonic()
                if time.monotonic() - self._answers_since >= STUCK_S:
                    self._exit("the lease is lost although the database answers")
            else:
                self._answers_since = None

    def _database_answers(self) -> bool:
        try:
            dsn = make_conninfo(
                self.dsn, connect_timeout=2, tcp_user_timeout=10_000, options="-c statement_timeout=3s"
            )
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute("SELECT 1")
                return True
        except (psycopg.Error, OSError):
            return False

    def _exit(self, why: str) -> None:
        # The loop may be stuck anywhere, the logging lock included: a bare write and the hardest exit.
        if not self._ended.is_set():
            os.write(
                sys.stderr.fileno(), f'{{"level": "error", "event": "worker ends itself: {why}"}}\n'.encode()
            )
            os._exit(EXIT_STUCK)


def host() -> str:
    return socket.gethostname()
