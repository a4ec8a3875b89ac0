from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app import config, media
from app.errors import HouseError, Interrupted, Refused, Retryable
from app.media import walls
from app.media.failure import failure
from app.media.run import execute, run, scaled
from app.media.walls import Limits
from tests.media.clips import FAST, Clip, branded, running_in

pytestmark = pytest.mark.anyio

GRAY = media.Design(effects=("grayscale",))
ROOMY = Limits(file_bytes=1024**3)
# For a test that wants to act while ffmpeg works: minutes of easy work, ended by the test.
LONG = ("-re", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=30:d=600", *FAST)


def long_command(folder: Path) -> list[str]:
    return [str(media.program().path), *LONG, "-y", str(folder / "long.mp4")]


def hard_command(folder: Path) -> list[str]:
    words = [word for word in long_command(folder) if word != "-re"]
    return [*words[:-1], "-preset", "medium", words[-1]]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding takes long enough to be met at work."""
    monkeypatch.setenv("FFMPEG_PRESET", "veryslow")
    config.get.cache_clear()


@pytest.fixture
def long_clip(clip: Clip) -> Path:
    return clip(size="1280x720", seconds=20)


async def brand_and_stop(
    source: Path, folder: Path, stop: Callable[[asyncio.Task[media.Branded]], bool]
) -> float:
    """Brand until the first word of progress, do `stop`, and say how long the end then took."""
    found = await media.probe(source)
    at_work = asyncio.Event()
    task = asyncio.create_task(
        media.brand(
            source, GRAY, logo=None, into=folder, probe=found, profile=media.TIKTOK,
            on_progress=lambda _: at_work.set(),
        )
    )  # fmt: skip
    await asyncio.wait_for(at_work.wait(), 30)
    assert running_in(folder)
    started = time.monotonic()
    stop(task)
    with contextlib.suppress(asyncio.CancelledError, HouseError):
        await task
    return time.monotonic() - started


async def test_cancelling_ends_ffmpeg_within_two_seconds_and_leaves_nothing(
    long_clip: Path, folder: Path, slow: None
) -> None:
    took_s = await brand_and_stop(long_clip, folder, lambda task: task.cancel())
    assert took_s < 2
    assert running_in(folder) == []
    assert list(folder.iterdir()) == []


async def test_cancelling_is_raised_on_and_is_no_failure(folder: Path) -> None:
    at_work = asyncio.Event()
    task = asyncio.create_task(
        run(long_command(folder), limits=ROOMY, writable=folder, on_progress=lambda _: at_work.set())
    )
    await asyncio.wait_for(at_work.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running_in(folder) == []


async def test_cancelling_twice_kills_at_once(folder: Path) -> None:
    at_work = asyncio.Event()
    task = asyncio.create_task(
        run(long_command(folder), limits=ROOMY, writable=folder, on_progress=lambda _: at_work.set())
    )
    await asyncio.wait_for(at_work.wait(), 30)
    for pid in running_in(folder):
        os.kill(pid, signal.SIGSTOP)
    task.cancel()
    await asyncio.wait({task}, timeout=0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(folder)


def gone(folder: Path, within_s: float = 5) -> bool:
    """Whether every ffmpeg of this folder has ended; waits on the processes themselves."""
    until = time.monotonic() + within_s
    for pid in running_in(folder):
        with contextlib.suppress(ProcessLookupError):
            watched = os.pidfd_open(pid)
            select.select([watched], [], [], max(0.0, until - time.monotonic()))
            os.close(watched)
    return running_in(folder) == []


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (signal.SIGTERM, Interrupted, "stopped"),
        (signal.SIGINT, Interrupted, "stopped"),
        (signal.SIGKILL, Retryable, "killed"),
    ],
)
async def test_a_signal_from_outside_is_told_apart_from_bad_input(
    folder: Path, number: signal.Signals, kind: type[HouseError], code: str
) -> None:
    def shoot(_: float) -> None:
        for pid in running_in(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    with pytest.raises(kind) as failed:
        await run(long_command(folder), limits=ROOMY, writable=folder, on_progress=shoot)
    assert failed.value.code == code
    assert gone(folder)


async def test_ffmpeg_that_stands_still_is_stopped(folder: Path) -> None:
    def freeze(_: float) -> None:
        for pid in running_in(folder):
            os.kill(pid, signal.SIGSTOP)

    with pytest.raises(Retryable, match="stood still"):
        await run(long_command(folder), limits=replace(ROOMY, idle_s=1), writable=folder, on_progress=freeze)
    assert gone(folder)


async def test_ffmpeg_that_takes_too_long_is_stopped(folder: Path) -> None:
    with pytest.raises(Retryable, match="longer than 1 seconds"):
        await run(long_command(folder), limits=replace(ROOMY, wall_s=1), writable=folder)
    assert running_in(folder) == []


async def test_ffmpeg_that_computes_too_much_is_stopped(folder: Path) -> None:
    with pytest.raises(Retryable, match="more than 1 CPU seconds"):
        await run(hard_command(folder), limits=replace(ROOMY, cpu_s=1), writable=folder)


async def test_ffmpeg_that_wants_too_much_memory_may_be_tried_again(folder: Path) -> None:
    with pytest.raises(Retryable) as failed:
        await run(hard_command(folder), limits=replace(ROOMY, address_bytes=250 * 1024**2), writable=folder)
    assert failed.value.code in ("no_memory", "crashed")


async def test_a_result_that_grows_too_large_is_stopped(folder: Path) -> None:
    with pytest.raises(Retryable) as failed:
        await run(hard_command(folder), limits=replace(ROOMY, file_bytes=100_000), writable=folder)
    assert failed.value.code == "result_too_large"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=300k,mode=0700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("only root, outside a locked container, can make a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


async def test_a_full_disk_may_be_tried_again_and_is_left_clean(clip: Clip, tiny_disk: Path) -> None:
    with pytest.raises(Retryable, match="the disk is full") as failed:
        await branded(clip(size="1280x720", seconds=3), GRAY, tiny_disk)
    assert failed.value.code == "disk_full"
    assert list(tiny_disk.iterdir()) == []


async def test_progress_rises_and_comes_at_most_four_times_a_second(
    clip: Clip, folder: Path, slow: None
) -> None:
    told: list[tuple[float, float]] = []

    async def tell(percent: float) -> None:
        told.append((time.monotonic(), percent))

    source = clip(size="1280x720", seconds=2)
    found = await media.probe(source)
    await media.brand(
        source, GRAY, logo=None, into=folder, probe=found, profile=media.TIKTOK, on_progress=tell
    )
    assert len(told) > 3
    percents = [percent for _, percent in told]
    assert percents == sorted(set(percents))
    assert percents[0] >= 0 and percents[-1] <= 100
    for first, fifth in zip(told, told[4:], strict=False):
        assert fifth[0] - first[0] >= 0.95


async def test_an_error_in_the_callers_hands_ends_ffmpeg_too(folder: Path) -> None:
    def fail(_: float) -> None:
        raise Interrupted("the lease is lost")

    with pytest.raises(Interrupted, match="lease"):
        await run(long_command(folder), limits=ROOMY, writable=folder, on_progress=fail)
    assert running_in(folder) == []


async def test_each_of_two_runs_at_once_is_charged_its_own_seconds(folder: Path) -> None:
    program = str(media.program().path)

    def work(seconds: int) -> list[str]:
        source = f"testsrc2=s=640x360:r=30:d={seconds}"
        return [program, "-f", "lavfi", "-i", source, "-c:v", "libx264", "-f", "null", "-"]

    light, heavy = await asyncio.gather(
        *(run(work(seconds), limits=ROOMY, writable=folder) for seconds in (1, 12))
    )
    assert 0 < light.cpu_s < heavy.cpu_s / 3
    # Python's own rusage of all its children would have said the sum for both.
    alone = await run(work(1), limits=ROOMY, writable=folder)
    assert light.cpu_s == pytest.approx(alone.cpu_s, rel=0.6)


async def test_only_the_last_lines_are_kept_however_much_ffmpeg_says(folder: Path) -> None:
    ended = await execute(
        [str(media.program().path), "-hide_banner", "-h", "full"], limits=Limits(), writable=folder
    )
    assert ended.code == 0
    said = await execute(
        ["/bin/sh", "-c", "yes 0123456789 | head -c 3000000 >&2; printf %05000d 7 >&2"],
        limits=Limits(),
        writable=folder,
    )
    assert len(said.log_tail) == 50
    assert max(len(line) for line in said.log_tail) <= 1000


async def test_ffmpeg_sees_nothing_of_our_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCRYPTION_KEY", "0123456789abcdef0123456789abcdef")
    said = await execute(["/bin/sh", "-c", "env >&2"], limits=Limits(), writable=folder)
    assert said.code == 0
    assert not any("ENCRYPTION_KEY" in line for line in said.log_tail)


async def test_the_limits_stand_and_the_rights_are_gone(folder: Path) -> None:
    limits = Limits(address_bytes=3 * 1024**3, cpu_s=77, file_bytes=123 * 1024**2)
    said = await execute(
        ["/bin/sh", "-c", "cat /proc/self/limits /proc/self/status >&2; nice >&2"],
        limits=limits,
        writable=folder,
        lines=200,
    )
    text = "\n".join(" ".join(line.split()) for line in said.log_tail)
    assert f"Max address space {limits.address_bytes}" in text
    assert "Max cpu time 77" in text
    assert f"Max file size {limits.file_bytes}" in text
    if walls.way() != "rlimits":
        assert "NoNewPrivs: 1" in text
        assert said.log_tail[-1] == "15"


PARENT = """
import asyncio, sys
from pathlib import Path
from app import media

async def main():
    source, into = Path(sys.argv[1]), Path(sys.argv[2])
    found = await media.probe(source)
    await media.brand(source, media.Design(effects=("grayscale",)), logo=None, into=into, probe=found,
                      profile=media.TIKTOK, on_progress=lambda percent: print("at work", flush=True))

asyncio.run(main())
"""


def test_killing_the_worker_leaves_no_ffmpeg(long_clip: Path, folder: Path, slow: None) -> None:
    if walls.way() == "rlimits":
        pytest.skip("without bwrap and setpriv ffmpeg may outlive its worker, as the start says")
    worker = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(long_clip), str(folder)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert worker.stdout is not None
    while b"at work" not in (line := worker.stdout.readline()):
        assert line, "the worker ended before it began"
    assert running_in(folder)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    assert gone(folder, within_s=2)


@pytest.mark.parametrize(
    ("code", "line", "kind", "expected"),
    [
        (1, "av_interleaved_write_frame(): No space left on device", Retryable, "disk_full"),
        (228, "Error writing trailer: No space left on device", Retryable, "disk_full"),
        (244, "Error while filtering: Cannot allocate memory", Retryable, "no_memory"),
        (137, "", Retryable, "killed"),
        (-9, "", Retryable, "killed"),
        (139, "", Retryable, "crashed"),
        (-11, "", Retryable, "crashed"),
        (255, "", Interrupted, "stopped"),
        (143, "", Interrupted, "stopped"),
        (254, "Error opening input: No such file or directory", Retryable, "ffmpeg_failed"),
        (183, "[in#0 @ 0x5] moov atom not found", Refused, "unreadable_media"),
        (1, "/run/x/in-video: Invalid data found when processing input", Refused, "unreadable_media"),
        (234, "Error opening encoder", Retryable, "ffmpeg_failed"),
    ],
)
def test_every_end_of_ffmpeg_has_its_meaning(
    code: int, line: str, kind: type[HouseError], expected: str
) -> None:
    found = failure(code, [line], Limits())
    assert type(found) is kind
    assert found.code == expected
    assert "/run/x" not in found.message
    assert "0x5" not in found.message


async def test_progress_of_a_piece_is_told_as_progress_of_the_whole() -> None:
    told: list[float] = []
    piece = scaled(told.append, 0.25, 0.5)
    assert piece is not None
    for percent in (0.0, 50.0, 100.0):
        answer = piece(percent)
        if inspect.isawaitable(answer):
            await answer
    assert told == [25.0, 50.0, 75.0]
    assert scaled(None, 0.0, 1.0) is None
