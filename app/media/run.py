"""Runs ffmpeg: once, behind walls, with progress, within limits, and never longer than whoever asked for it.

The child is started and reaped here rather than by asyncio's own subprocess calls, because those throw away
the kernel's account of what the child used (`wait4`), and that account is the only exact one when several
run at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.errors import Retryable
from app.media import walls
from app.media.failure import failure
from app.media.walls import Limits

OnProgress = Callable[[float], Awaitable[None] | None]

GLOBAL = ("-hide_banner", "-nostdin", "-nostats", "-progress", "pipe:1", "-stats_period", "0.25")
PROGRESS_PAUSE_S = 0.25
# ffmpeg finishes its files on SIGTERM, which took 2.7 s with 7.0.2 (parts.md, section 2); nobody wants them.
PATIENCE_S = 1.5
TAIL_LINES = 50
LONGEST_LINE = 1000


@dataclass(frozen=True)
class Run:
    """A run that ended well. `argv` can be run by hand; `cpu_s` is what this ffmpeg alone used."""

    argv: tuple[str, ...]
    seconds: float
    cpu_s: float
    log_tail: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal), its last lines, its last progress report."""

    code: int
    seconds: float
    cpu_s: float
    log_tail: tuple[str, ...]
    report: dict[str, str]


async def run(
    argv: Sequence[str],
    *,
    limits: Limits,
    writable: Path,
    readable: Sequence[Path] = (),
    duration_s: float | None = None,
    on_progress: OnProgress | None = None,
) -> Run:
    """Run ffmpeg to its end and say what it cost; an error of the house if it did not end well.

    `argv` begins with the program; the house's global options are added behind it. `writable` is the private
    folder of this run, `readable` what it may read besides. Refused if the input is at fault, Interrupted if
    it was told to stop from outside, Retryable for all else. Cancelling ends ffmpeg within 2 s and raises on.
    """
    whole = (argv[0], *GLOBAL, "-loglevel", "warning", *argv[1:])
    ended = await execute(
        whole,
        limits=limits,
        writable=writable,
        readable=readable,
        duration_s=duration_s,
        on_progress=on_progress,
    )
    if ended.code != 0:
        error = failure(ended.code, ended.log_tail, limits, ended.cpu_s)
        # Its own last lines go with the error, for whoever keeps them.
        error.add_note("\n".join(ended.log_tail))
        raise error
    return Run(whole, ended.seconds, ended.cpu_s, ended.log_tail)


async def execute(
    argv: Sequence[str],
    *,
    limits: Limits,
    writable: Path,
    readable: Sequence[Path] = (),
    duration_s: float | None = None,
    on_progress: OnProgress | None = None,
    lines: int = TAIL_LINES,
) -> Ended:
    """Run exactly this command behind walls and say how it ended, well or not; `lines` of stderr are kept.

    Retryable when it takes longer than its limits allow or makes no progress.
    """
    through = await asyncio.to_thread(walls.way)
    started = time.monotonic()
    child = _Child(
        walls.wrap(argv, limits, writable=writable, readable=readable, through=through),
        environment=walls.environment(),
        before_exec=walls.before_exec(limits, through),
        folder=writable,
    )
    tail: deque[str] = deque(maxlen=lines)
    try:
        stdout, stderr = await child.streams()
        reading = asyncio.create_task(_keep(stderr, tail))
        try:
            async with asyncio.timeout(limits.wall_s), asyncio.timeout(limits.idle_s) as idle:
                progress = _Progress(duration_s, on_progress, idle, limits.idle_s)
                await _each_line(stdout, progress.line)
                code, cpu_s = await asyncio.shield(child.ended)
                await reading
        finally:
            reading.cancel()
            await asyncio.wait({reading})
    except TimeoutError as error:
        if idle.expired():
            message = f"Work on this video stood still for {limits.idle_s:.0f} seconds and was stopped"
        else:
            message = f"Work on this video took longer than {limits.wall_s:.0f} seconds and was stopped"
        raise Retryable(message, code="too_slow") from error
    finally:
        await child.stop()
    return Ended(code, time.monotonic() - started, cpu_s, tuple(tail), progress.report)


def scaled(on_progress: OnProgress | None, before: float, share: float) -> OnProgress | None:
    """Percent of one piece of work, told as percent of the whole: of 1, `before` was done and the piece is `share`."""
    if on_progress is None:
        return None

    async def told(percent: float) -> None:
        answer = on_progress(round(100 * before + share * percent, 1))
        if inspect.isawaitable(answer):
            await answer

    return told


def paced(on_progress: OnProgress | None) -> OnProgress | None:
    """Progress of several runs, one behind the other, told no more often than that of one."""
    if on_progress is None:
        return None
    told_at = float("-inf")

    async def told(percent: float) -> None:
        nonlocal told_at
        if (now := time.monotonic()) - told_at < PROGRESS_PAUSE_S:
            return
        told_at = now
        answer = on_progress(percent)
        if inspect.isawaitable(answer):
            await answer

    return told


class _Child:
    """One process in a session of its own. `ended` holds its exit code and its CPU seconds."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: dict[str, str],
        before_exec: Callable[[], None] | None,
        folder: Path,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[tuple[int, float]] = self._loop.create_future()
        self._process = subprocess.Popen(  # noqa: S603 - a list of our own words, never a shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=before_exec,
            env=environment,
            cwd=folder,
        )
        self._pipes = [pipe for pipe in (self._process.stdout, self._process.stderr) if pipe is not None]
        self._transports: list[asyncio.ReadTransport] = []
        self._readers: list[asyncio.StreamReader] = []
        threading.Thread(target=self._reap, name="ffmpeg-reaper", daemon=True).start()

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
        """Its stdout and stderr, readable without blocking."""
        return await self._reader(self._pipes[0]), await self._reader(self._pipes[0])

    async def _reader(self, pipe: IO[bytes]) -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        transport, _ = await self._loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        # From here on the transport closes the pipe, and nobody else may.
        self._pipes.remove(pipe)
        self._transports.append(transport)
        self._readers.append(reader)
        return reader

    async def stop(self) -> None:
        """End it and all its children: asked first, then killed; nothing to do if it has ended."""
        try:
            await self._end()
            await asyncio.wait({self.ended})
            await self._hung_up()
        finally:
            for transport in self._transports:
                transport.close()
            for pipe in self._pipes:
                pipe.close()

    async def _end(self) -> None:
        if self.ended.done():
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait({self.ended}, timeout=PATIENCE_S)
        finally:
            # Also when cancelled once more while waiting.
            if not self.ended.done():
                self._signal(signal.SIGKILL)

    async def _hung_up(self) -> None:
        """Wait until nobody holds our pipes: what bwrap ran dies a moment after bwrap."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                for reader in self._readers:
                    while await reader.read(65536):
                        pass

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        _, status, usage = os.wait4(self._process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        # Told to the Popen object, or it would ask the kernel for a child that is gone.
        self._process.returncode = code
        # The loop may be closed already; nobody waits then.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._set_ended, code, usage.ru_utime + usage.ru_stime)

    def _set_ended(self, code: int, cpu_s: float) -> None:
        if not self.ended.done():
            self.ended.set_result((code, cpu_s))


class _Progress:
    """Reads the lines of `-progress`, tells percent at most four times a second, and keeps the idle clock."""

    def __init__(
        self,
        duration_s: float | None,
        on_progress: OnProgress | None,
        idle: asyncio.Timeout,
        idle_s: float,
    ) -> None:
        self.report: dict[str, str] = {}
        self._duration_s = duration_s
        self._on_progress = on_progress
        self._idle = idle
        self._idle_s = idle_s
        self._moved = ""
        self._told_percent = -1.0
        self._told_at = float("-inf")

    async def line(self, line: str) -> None:
        name, _, value = line.partition("=")
        self.report[name] = value.strip()
        if name != "progress":
            return
        moved = " ".join(self.report.get(key, "") for key in ("frame", "out_time_us", "total_size"))
        now = time.monotonic()
        if moved != self._moved:
            self._moved = moved
            self._idle.reschedule(asyncio.get_running_loop().time() + self._idle_s)
        percent = self._percent()
        if self._on_progress is None or percent <= self._told_percent:
            return
        if now - self._told_at < PROGRESS_PAUSE_S:
            return
        self._told_percent, self._told_at = percent, now
        told = self._on_progress(percent)
        if inspect.isawaitable(told):
            await told

    def _percent(self) -> float:
        if self.report.get("progress") == "end":
            return 100.0
        try:
            done_s = int(self.report["out_time_us"]) / 1e6
        except (KeyError, ValueError):
            return 0.0
        if not self._duration_s:
            return 0.0
        return round(min(max(100 * done_s / self._duration_s, 0.0), 99.0), 1)


async def _keep(stream: asyncio.StreamReader, tail: deque[str]) -> None:
    async def keep(line: str) -> None:
        tail.append(line)

    await _each_line(stream, keep)


async def _each_line(stream: asyncio.StreamReader, told: Callable[[str], Awaitable[None]]) -> None:
    """Every line, cut to a bearable length: ffmpeg prints what a file says of itself, which may be endless."""
    rest = ""
    while chunk := await stream.read(65536):
        *whole, rest = (rest + chunk.decode(errors="replace")).replace("\r", "\n").split("\n")
        for line in whole:
            if line.strip():
                await told(line[:LONGEST_LINE])
        rest = rest[:LONGEST_LINE]
    if rest.strip():
        await told(rest)
