"""The whole product as processes, with workers that are given so many cores each; and what all of them have used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg

from app import media
from benchmarks.browser import Browser
from tests.flows.house import ROOT, WORKER, House, open_house

UNLIMITED = {f"QUEUE_{name}_MOST": "none" for name in ("VIDEO_EDIT", "VIDEO_UPLOAD", "VIDEO_PROCESSING")} | {
    "VIDEO_FORMATS": "hls,dash,mp4"
}
PERIOD_US = 100_000
TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def share(name: str, cores: float) -> Iterator[list[str]]:
    """The words before a command that give it and its children this share of the processors; [] when all are its own.

    A whole core is a pinned one (`taskset`); less is a CPU quota of a control group, which needs root.
    """
    group = _group(name)
    group.mkdir()
    try:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{round(cores * PERIOD_US)} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(round(cores * PERIOD_US)))
        yield ["sh", "-c", 'echo $$ > "$0"/cgroup.procs; exec "$@"', str(group)]
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)


def _group(name: str) -> Path:
    """Where a group of ours can be made: version 2's single tree, or the tree of version 1 for processors."""
    top = Path("/sys/fs/cgroup")
    tree = top if (top / "cgroup.controllers").exists() else top / "cpu"
    return tree / f"backlot-bench-{os.getpid()}-{name}"


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)]


class Crew(House):
    """A house whose workers begin with words of ours: `taskset` or a control group."""

    def start_worker(self, name: str, before: list[str], **env: str) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*before, *WORKER], cwd=ROOT, env={**self.env, **env}, stdout=log, stderr=subprocess.STDOUT
            )

    async def listening(self, name: str, within_s: float = 60) -> None:
        """Until this worker has said that it takes jobs."""
        async with asyncio.timeout(within_s):
            while "worker started" not in self.said(name):
                if self.processes[name].poll() is not None:
                    raise RuntimeError(f"{name} ended: {self.said(name)[-2000:]}")
                await asyncio.sleep(0.05)

    async def rows(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        """An operator's question to the database."""
        async with await psycopg.AsyncConnection.connect(self.server.dsn) as conn:
            return await (await conn.execute(query.encode(), given)).fetchall()


@contextlib.asynccontextmanager
async def open_crew(home: Path, workers: int, **env: str) -> AsyncIterator[Crew]:
    """A house with a web process; nothing limits how many videos begin a minute."""
    async with open_house(home, workers=workers, **{**UNLIMITED, **env}) as house:
        house.__class__ = Crew
        assert isinstance(house, Crew)
        yield house


def tree(pid: int) -> list[int]:
    """This process and all that came of it."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                found += tree(int(child))
    return found


def used_s(pid: int) -> float:
    """CPU seconds of a process, of its living descendants and of those it has waited for."""
    total = 0.0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
            total += sum(map(int, fields[11:15])) / TICKS
    return total


def signalled(pid: int, what: signal.Signals) -> None:
    """Send it to the whole tree, the root first, so that nobody starts another child."""
    for each in tree(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, what)


def looped(sample: Path, seconds: float, target: Path, height_px: int | None = None) -> Path:
    """The sample again and again: the picture's own packets (with a height, made smaller first), and the sound encoded
    again, as the joints between its packets would be heard and hide those that are looked for. Made once.
    """
    if target.exists():
        return target
    one = sample
    if height_px is not None:
        one = target.with_suffix(".one.mp4")
        run("-i", sample, "-vf", f"scale=-2:{height_px}", "-c:v", "libx264", "-preset", "veryfast",
            "-crf", 18, "-c:a", "copy", one)  # fmt: skip
    partial = target.with_suffix(".part.mp4")
    run("-stream_loop", -1, "-i", one, "-t", seconds, "-c:v", "copy", "-af", "aresample=async=1000:first_pts=0",
        "-c:a", "aac", "-b:a", "256k", partial)  # fmt: skip
    partial.rename(target)
    return target


def logo(folder: Path) -> Path:
    path = folder / "logo.png"
    if not path.exists():
        picture = "color=c=white:size=320x320,format=rgba,colorchannelmixer=aa=0.6"
        run("-f", "lavfi", "-i", picture, "-frames:v", 1, path)
    return path


def run(*words: object) -> str:
    """ffmpeg by hand; what it said."""
    argv = [str(media.program().path), "-hide_banner", "-nostdin", "-y", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}\n{done.stderr[-2000:]}")
    return done.stderr


def machine() -> str:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    free = shutil.disk_usage("/").free / 1e9
    return (
        f"ffmpeg {media.version()}, Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {load},"
        f" {free:.0f} GB free; {media.isolation()}"
    )


async def signed_up(house: House) -> Browser:
    browser = Browser(house.base)
    await browser.sign_up()
    return browser
