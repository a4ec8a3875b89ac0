"""Workers as processes, started by the engine's own command line."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Process:
    """A worker of `tests.queue.house_app` that a test may kill, freeze and stop."""

    def __init__(self, dsn: str, home: Path, **env: str) -> None:
        self.log = (home / f"worker-{os.urandom(4).hex()}.log").open("wb")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "procrastinate",
                "--app=tests.queue.house_app.procrastinate_app",
                "worker",
            ],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": dsn, "BACKLOT_HOME": str(home), "LOG_FORMAT": "json", **env},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def said(self) -> str:
        return Path(self.log.name).read_text()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self.log.close()


@contextlib.contextmanager
def workers(many: int, dsn: str, home: Path, **env: str) -> Iterator[list[Process]]:
    started = [Process(dsn, home, **env) for _ in range(many)]
    try:
        yield started
    finally:
        for process in started:
            process.end()
