"""Workers as processes, started by the engine's own command line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Process:
    """A worker of `tests.queue.<app>` that a test may kill, freeze and stop. `options` are the command line's,
    `before` is put in front of it (`prlimit …`).
    """

    def __init__(
        self,
        dsn: str,
        home: Path,
        *,
        app: str = "house_app",
        options: Sequence[str] = (),
        before: Sequence[str] = (),
        **env: str,
    ) -> None:
        self.log = (home / f"worker-{os.urandom(4).hex()}.log").open("wb")
        self.process = subprocess.Popen(
            [
                *before,
                sys.executable,
                "-m",
                "procrastinate",
                f"--app=tests.queue.{app}.procrastinate_app",
                "worker",
                *options,
            ],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": dsn, "BACKLOT_HOME": str(home), "LOG_FORMAT": "json", **env},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def gone(self) -> bool:
        return self.process.poll() is not None

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


class Crew:
    """Workers of the storm's house. With `keep` running, one that is gone is started again at once, as a platform
    does; `exits` are the codes they left with (negative: the signal).
    """

    def __init__(self, dsn: str, home: Path, **env: str) -> None:
        self.dsn, self.home = dsn, home
        self.env = {"TEMP_DIR": str(home / "temp"), **env}
        self.workers: dict[str, Process] = {}
        self.past: list[Process] = []
        self.exits: list[int] = []

    def start(
        self, name: str, *, options: Sequence[str] = (), before: Sequence[str] = (), **env: str
    ) -> Process:
        if (old := self.workers.get(name)) is not None:
            self.past.append(old)
        more = {**self.env, **env}
        self.workers[name] = Process(
            self.dsn, self.home, app="storm_app", options=options, before=before, **more
        )
        return self.workers[name]

    def start_many(self, many: int, name: str = "worker", **env: str) -> list[Process]:
        return [self.start(f"{name}-{number}", **env) for number in range(1, many + 1)]

    def kill(self, name: str) -> None:
        self.workers[name].send(signal.SIGKILL)
        self.workers[name].process.wait()

    async def keep(self) -> None:
        while True:
            for name, worker in list(self.workers.items()):
                if worker.gone:
                    self.exits.append(worker.process.returncode)
                    self.start(name)
            await asyncio.sleep(0.05)

    def said(self) -> str:
        return "".join(worker.said() for worker in [*self.past, *self.workers.values()])

    def end(self) -> None:
        for worker in [*self.past, *self.workers.values()]:
            worker.end()


@contextlib.contextmanager
def crew(dsn: str, home: Path, **env: str) -> Iterator[Crew]:
    ours = Crew(dsn, home, **env)
    try:
        yield ours
    finally:
        ours.end()


def descendants(pid: int, *, of: bytes = b"") -> dict[int, str]:
    """Every process below this one that lives and whose command line has these words, with its start as the kernel
    counts it: the two name it for good.
    """
    parents: dict[int, list[tuple[int, str]]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text()
            fields = text[text.rfind(")") + 2 :].split()
            if fields[0] not in "ZX":
                parents.setdefault(int(fields[1]), []).append((int(stat.parent.name), fields[19]))
    found: dict[int, str] = {}
    look = [pid]
    while look:
        for child, started in parents.get(look.pop(), []):
            look.append(child)
            with contextlib.suppress(OSError):
                if of in Path(f"/proc/{child}/cmdline").read_bytes():
                    found[child] = started
    return found


def alive(children: dict[int, str]) -> list[int]:
    """Which of these processes still live."""
    left = []
    for pid, started in children.items():
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/stat").read_text()
            fields = text[text.rfind(")") + 2 :].split()
            if fields[0] not in "ZX" and fields[19] == started:
                left.append(pid)
    return left


def encodes(worker: Process, many: int) -> Callable[[], Awaitable[bool]]:
    """Whether so many films are made by this worker."""

    async def check() -> bool:
        return len(descendants(worker.pid, of=b"film.mp4")) >= many

    return check
