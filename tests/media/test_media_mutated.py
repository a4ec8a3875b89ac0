"""Damaged videos end in a video or in a reason, soon, and never take the worker with them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.media.clips import running_in
from tests.media.mutants import SEEDS, mutant

# Besides the first thirty those that once ended in something else: counts that ask for all memory, a picture of which
# nothing can be decoded, a rate of one picture in an hour.
ORDINARY = (*range(30), 112, 460, 498)
STORM = 1000
PARTS = 4
MOST_S = 15.0
# Past this the worker counts as dead.
HUNG_S = 90.0
MOST_WORKER_BYTES = 400 * 1024**2
REPO = Path(__file__).parents[2]


class Worker:
    """A process of its own that tries one file after the other."""

    def __init__(self, home: Path) -> None:
        self.run, self.temporary = home / "run", home / "tmp"
        self.run.mkdir(mode=0o700)
        self.temporary.mkdir()
        self.said = (home / "worker.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.media.mutants", str(self.run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            cwd=REPO,
            env={**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": str(REPO)},
        )

    def tries(self, path: Path) -> tuple[str, float]:
        """What it said of this file and the seconds it took; "dead" or "hung" if it said nothing."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], HUNG_S)[0]:
            return "hung", HUNG_S
        line = self.process.stdout.readline()
        if not line:
            return "dead", 0.0
        answer = json.loads(line)
        return answer["said"], answer["seconds"]

    def left_behind(self) -> list[str]:
        """Children and files that should be gone."""
        children = [f"process {pid}" for pid in running_in(self.run)]
        return [*children, *(str(left) for left in (*self.run.iterdir(), *self.temporary.iterdir()))]

    def most_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    one = Worker(tmp_path)
    yield one
    one.close()


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    return {name: make(tmp_path).read_bytes() for name, make in SEEDS.items()}


def test_some_damaged_videos_end_in_a_video_or_a_reason(
    worker: Worker, whole: dict[str, bytes], tmp_path: Path
) -> None:
    _storm(worker, whole, ORDINARY, tmp_path)


@pytest.mark.storm
@pytest.mark.parametrize("part", range(PARTS))
def test_a_thousand_damaged_videos_end_in_a_video_or_a_reason(
    worker: Worker, whole: dict[str, bytes], tmp_path: Path, part: int
) -> None:
    each = STORM // PARTS
    _storm(worker, whole, range(part * each, (part + 1) * each), tmp_path)


def _storm(worker: Worker, whole: dict[str, bytes], numbers: Sequence[int], tmp_path: Path) -> None:
    for name in whole:
        assert worker.tries(tmp_path / SEEDS[name].name)[0] == "made"
    open_files = worker.open_files()
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    slowest = (0.0, "")
    for number in numbers:
        how, held = mutant(whole, number)
        path = tmp_path / "mutant.bin"
        path.write_bytes(held)
        said, seconds = worker.tries(path)
        outcomes[said.partition(":")[0]] += 1
        slowest = max(slowest, (seconds, f"{number} {how}: {said}"))
        if said in ("dead", "hung") or said.startswith("foreign") or seconds > MOST_S:
            wrong.append(f"{number} ({how}) after {seconds} s: {said}")
        if said in ("dead", "hung"):
            break
        if left := worker.left_behind():
            wrong.append(f"{number} ({how}) left {left}")
        if said.startswith("Retryable"):
            outcomes[f"retryable: {said}"] += 1
    _note(numbers, outcomes, slowest, worker.most_bytes())
    assert wrong == []
    assert worker.open_files() <= open_files + 2
    assert worker.most_bytes() < MOST_WORKER_BYTES
    # Otherwise the damage is no damage, or all of it is turned away at the door.
    assert outcomes["made"] > 0
    assert sum(count for said, count in outcomes.items() if said.startswith("Refused")) > 0


def _note(
    numbers: Sequence[int], outcomes: Counter[str], slowest: tuple[float, str], most_bytes: int
) -> None:
    """The counts, kept where MUTANTS_TABLE says."""
    if path := os.environ.get("MUTANTS_TABLE"):
        with Path(path).open("a") as table:
            table.write(f"## {numbers[0]} to {numbers[-1]}: worker at most {most_bytes // 1024**2} MiB\n")
            table.write(f"slowest {slowest[0]} s: {slowest[1]}\n")
            table.writelines(f"{count:5d} {said}\n" for said, count in outcomes.most_common())
