"""Runs the processes of a peer: a role that ends with a result, and workers whose marks can be read meanwhile."""

from __future__ import annotations

import contextlib
import json
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.queue.ground import Ground, Place
from benchmarks.queue.rivals import HERE, environment

ROLE_S = 900
SLOTS = 4096
LOOK_S = 0.002


class Failed(Exception):
    """A peer did not do what was asked of it; its row says so."""


def role(ground: Ground, place: Place, name: str, **bench: Any) -> dict[str, Any]:
    """Run one role of the place's peer to its end and give its result."""
    env = environment(place.peer, ground.tools, address=place.address, together=10, bench=bench, marks=None)
    command = place.peer.role(ground.tools, name)
    done = subprocess.run(
        command, env=env, cwd=HERE, capture_output=True, text=True, timeout=ROLE_S, check=False
    )
    if done.returncode != 0:
        raise Failed(f"{place.peer.name} {name}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


class Workers:
    """Worker processes of one peer, and what they say of their jobs."""

    def __init__(self, ground: Ground, place: Place, processes: int, concurrency: int) -> None:
        self.place = place
        self.marks = [ground.folder / f"marks-{number}" for number in range(processes)]
        self.logs = [ground.folder / f"log-{place.peer.name}-{number}" for number in range(processes)]
        command = place.peer.worker(ground.tools, concurrency)
        self.processes = []
        for marks, log in zip(self.marks, self.logs, strict=True):
            marks.write_bytes(bytes(16 + 8 * SLOTS))
            env = environment(
                place.peer, ground.tools, address=place.address, together=processes * concurrency,
                bench={"concurrency": concurrency}, marks=marks,
            )  # fmt: skip
            with log.open("wb") as out:
                self.processes.append(subprocess.Popen(command, env=env, cwd=HERE, stdout=out, stderr=out))

    def heads(self) -> list[tuple[int, int]]:
        """(when the first job began, how many have begun) of each process."""
        return [struct.unpack("<QQ", _head(path)) for path in self.marks]

    def count(self) -> int:
        return sum(count for _, count in self.heads())

    def slots(self, many: int) -> list[int]:
        """When the jobs numbered 1 … many began; 0 for one that did not."""
        return list(struct.unpack(f"<{many}Q", self.marks[0].read_bytes()[16 : 16 + 8 * many]))

    def until(self, condition: Callable[[], bool], what: str, limit_s: float = 180) -> None:
        """Wait, looking each 2 ms; a worker that ended, or never gets there, is a failure."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if any(process.poll() is not None for process in self.processes):
                raise Failed(f"{self.place.peer.name}: a worker ended: {self._said()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.place.peer.name}: no {what} within {limit_s:.0f} s: {self._said()}")
            time.sleep(LOOK_S)

    def memory_kib(self) -> tuple[int, int]:
        """(resident, proportional) of the first process."""
        lines = Path(f"/proc/{self.processes[0].pid}/smaps_rollup").read_text().splitlines()
        found = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
        return int(found["Rss"]), int(found["Pss"])

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _said(self) -> str:
        return " | ".join(path.read_text(errors="replace")[-1000:] for path in self.logs)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


@contextlib.contextmanager
def workers(ground: Ground, place: Place, processes: int, concurrency: int) -> Iterator[Workers]:
    crew = Workers(ground, place, processes, concurrency)
    try:
        yield crew
    finally:
        crew.stop()
