"""Runs the processes of `backlot up` and keeps them running: one that dies is started again, none outlives us."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

STOP_S = 10.0
AGAIN_S = (0.5, 5.0)
CALM_S = 30.0
PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    """In the child, before exec: the kernel ends it when we are gone, however we went (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # Gone before the kernel was told: it will never say so.
    if os.getppid() != parent:
        os._exit(1)


# Past any proxy of the environment: this machine asks itself.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _Child:
    def __init__(self, name: str, argv: Sequence[str]) -> None:
        self.name, self.argv = name, list(argv)
        self.wait_s = AGAIN_S[0]
        self.start_at = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0

    def start(self) -> None:
        # A session of its own: Ctrl-C reaches us alone, and we end the children in order.
        parent = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603  # our own program, a fixed list
            self.argv, start_new_session=True, preexec_fn=lambda: _die_with(parent)
        )
        self.started_at = time.monotonic()

    def check(self) -> None:
        """Start it when its time has come; note when it has died, and wait a little longer each time it dies soon."""
        if self.process is None:
            if time.monotonic() >= self.start_at:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            return
        lived_s = time.monotonic() - self.started_at
        self.wait_s = AGAIN_S[0] if lived_s > CALM_S else min(self.wait_s * 2, AGAIN_S[1])
        print(
            f"{self.name} ended with {code}; it starts again in {self.wait_s:g} s",
            file=sys.stderr,
            flush=True,
        )
        self.process = None
        self.start_at = time.monotonic() + self.wait_s


def run(commands: Mapping[str, Sequence[str]], *, say: Callable[[], None], ready_url: str) -> int:
    """Keep these commands running until SIGTERM or Ctrl-C, then end them within ten seconds; gives an exit status.

    `say` is called once, when `ready_url` answers for the first time.
    """
    children = [_Child(name, argv) for name, argv in commands.items()]
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    told = False
    while not stopping.is_set():
        for child in children:
            child.check()
        if not told and _answers(ready_url):
            told = True
            say()
        stopping.wait(0.05 if not told else 0.3)
    _end(children)
    return 0


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _end(children: Sequence[_Child]) -> None:
    """SIGTERM to each, and after ten seconds the end of its whole group."""
    living = [
        child.process for child in children if child.process is not None and child.process.poll() is None
    ]
    for process in living:
        process.send_signal(signal.SIGTERM)
    until = time.monotonic() + STOP_S
    for process in living:
        try:
            process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
