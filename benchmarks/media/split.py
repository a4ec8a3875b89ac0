"""Goals 3 and 5: a long video on workers that have so many cores each, whether its parts fit, and a worker killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.media.cmaf import Growing
from app.media.plan import Plan
from benchmarks.media import crew, first
from benchmarks.media.crew import Crew

GREY = {"effects": ["grayscale"]}
WITHIN_S = 3 * 3600
HURRY_S = 0.5
# The kill comes when a run has written this much.
INTO_S = 8.0
SEGMENT_S = 4.0
# A group of pictures that is not whole yet, and the pictures that x264 looks ahead (40, at 24 a second).
UNSEEN_S = 2 + 40 / 24


@dataclass(frozen=True)
class Long:
    """One making. `seconds` from the upload's last byte to the ready stream; `encode_s` from the first job's start."""

    seconds: float
    parts: int
    cpu_s: float
    mp4: Path
    plan: Plan
    joints: list[int]
    load: float


async def long(source: Path, folder: Path, befores: Sequence[list[str]], preset: str, **env: str) -> Long:
    """Make the video with one worker for each of `befores`, the words that give it its cores."""
    home = folder / "house"
    shutil.rmtree(home, ignore_errors=True)
    async with crew.open_crew(home, 0, FFMPEG_PRESET=preset, **env) as house:
        for number, before in enumerate(befores, start=1):
            house.start_worker(f"worker-{number}", before)
        for number in range(1, len(befores) + 1):
            await house.listening(f"worker-{number}")
        browser = await crew.signed_up(house)
        load = os.getloadavg()[0]
        _, last_byte, _ = await first.upload(browser, source, GREY)
        await browser.http.aclose()
        began_s = sum(crew.used_s(house.processes[f"worker-{n}"].pid) for n in range(1, len(befores) + 1))
        ready = await ended(house)
        used_s = sum(crew.used_s(house.processes[f"worker-{n}"].pid) for n in range(1, len(befores) + 1))
        plan, joints, mp4 = await kept(house, folder)
    return Long(ready - last_byte, len(joints) + 1, used_s - began_s, mp4, plan, joints, load)


async def ended(house: Crew) -> float:
    """The moment when the video is edited; RuntimeError when it failed."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            found = await house.rows("SELECT state, reason FROM videos")
            if found and found[0][0] == "EDITED":
                return time.monotonic()
            if found and found[0][0] in ("FAILED", "CANCELLED"):
                raise RuntimeError(f"the video was not made: {found[0][1]}")
            await asyncio.sleep(0.2)


async def kept(house: Crew, folder: Path) -> tuple[Plan, list[int], Path]:
    """The plan of the stream, the first picture of each part but the first, and the MP4 out of the storage."""
    [(key, as_json)] = await house.rows(
        "SELECT mp4_key, plan FROM streams WHERE state = 'ready' ORDER BY id DESC LIMIT 1"
    )
    parts = await house.rows("SELECT first_segment FROM stream_parts WHERE number > 0 ORDER BY number")
    plan = Plan.from_json(as_json)
    mp4 = folder / "made.mp4"
    mp4.unlink(missing_ok=True)
    os.link(house.home / "storage" / key, mp4)
    spans = plan.grid.spans()
    joints = [spans[segment].start_frame for (segment,) in parts]
    return plan, joints, mp4


@dataclass(frozen=True)
class Killed:
    """A worker killed in the middle. Of the parts it held: seconds that were finished in ffmpeg's files, and of them
    stored; what is not stored is made twice, and up to `UNSEEN_S` for each part that ffmpeg had not written yet.
    `idle_s` is how long nobody worked at them.
    """

    parts: int
    encoded_s: float
    stored_s: float
    again_s: float
    idle_s: float
    seconds: float
    mp4: Path
    plan: Plan
    joints: list[int]


async def killed(source: Path, folder: Path, preset: str, share: float = 0.5, **env: str) -> Killed:
    """Two workers; when this share of all segments is stored, the one that holds a part is frozen, looked at, and
    killed with its ffmpeg by SIGKILL.
    """
    home = folder / "house"
    shutil.rmtree(home, ignore_errors=True)
    async with crew.open_crew(home, 2, FFMPEG_PRESET=preset, **env) as house:
        for number in (1, 2):
            await house.listening(f"worker-{number}")
        browser = await crew.signed_up(house)
        _, last_byte, _ = await first.upload(browser, source, GREY)
        await browser.http.aclose()
        await _until(house, share)
        victim = house.processes["worker-1"]
        crew.signalled(victim.pid, signal.SIGSTOP)
        # What it had sent before is committed by now.
        await asyncio.sleep(HURRY_S)
        held = await _held(house, victim.pid)
        stored = await _stored(house, [part for part, _, _ in held])
        plan = Plan.from_json((await house.rows("SELECT plan FROM streams"))[0][0])
        encoded_s, stored_s = _seconds(plan, held, stored)
        crew.signalled(victim.pid, signal.SIGKILL)
        victim.wait()
        gone = time.monotonic()
        runs = {part: run for part, run, _ in held}
        idle_s = await _taken_over(house, runs, gone)
        ready = await ended(house)
        plan, joints, mp4 = await kept(house, folder)
    return Killed(
        len(held),
        encoded_s,
        stored_s,
        encoded_s - stored_s + UNSEEN_S * len(held),
        idle_s,
        ready - last_byte,
        mp4,
        plan,
        joints,
    )


async def _until(house: Crew, share: float) -> None:
    """This share of the segments is stored, and worker-1 has written some seconds of a part in its last run."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            found = await house.rows("SELECT segments_made::float8 / greatest(segments, 1) FROM streams")
            if found and found[0][0] >= share:
                folders = _folders(house, house.processes["worker-1"].pid)
                if max((_written_s(folder) for folder in folders), default=0.0) >= INTO_S:
                    return
            await asyncio.sleep(0.1)


def _folders(house: Crew, pid: int) -> list[Path]:
    """The private folders of this worker's runs of parts: its number stands in their names."""
    return [
        path for path in (house.home / "temp").glob(f"*.{pid}.*") if path.name.startswith(("part-", "edit-"))
    ]


async def _held(house: Crew, pid: int) -> list[tuple[int, int, Path]]:
    """Number, run and folder of each part that this worker works at."""
    working = dict(await house.rows("SELECT number, run FROM stream_parts WHERE state = 'working'"))
    held = []
    for folder in _folders(house, pid):
        name = folder.name.partition(".")[0]
        part = int(name.rpartition("-")[2]) if name.startswith("part-") else 0
        if part in working:
            held.append((part, working[part], folder))
    return held


async def _stored(house: Crew, parts: list[int]) -> dict[int, int]:
    """Segments stored of each part, over all rungs."""
    found = await house.rows(
        """
        SELECT parts.number, count(segments.number)
          FROM stream_parts AS parts
          LEFT JOIN stream_segments AS segments
            ON segments.stream_id = parts.stream_id AND track LIKE 'v%%'
           AND segments.number BETWEEN first_segment AND last_segment
         WHERE parts.number = ANY (%s)
         GROUP BY 1""",
        parts,
    )
    return {int(number): int(count) for number, count in found}


def _written_s(folder: Path) -> float:
    """Seconds of picture in ffmpeg's files here, of the rung that has most."""
    most = 0.0
    for path in folder.rglob("v*.mp4"):
        growing = Growing(path)
        ticks = sum(fragment.ticks for fragment in growing.take())
        if growing.facts:
            most = max(most, ticks / growing.facts.timescale)
    return most


def _seconds(plan: Plan, held: list[tuple[int, int, Path]], stored: dict[int, int]) -> tuple[float, float]:
    """Seconds of the slowest rung's picture that ffmpeg had written in its last run, and that were stored of them."""
    encoded = kept_s = 0.0
    for part, _, folder in held:
        written = _written_s(folder)
        if written:
            encoded += written
            segments = stored.get(part, 0) / len(plan.rungs)
            kept_s += min(written, segments * SEGMENT_S)
    return encoded, kept_s


async def _taken_over(house: Crew, runs: dict[int, int], gone: float) -> float:
    """Seconds until another run holds every part that the dead worker held."""
    async with asyncio.timeout(WITHIN_S):
        while runs:
            now = await house.rows("SELECT number, run, state FROM stream_parts")
            for number, run, state in now:
                if number in runs and (state == "done" or run != runs[number]):
                    del runs[number]
            await asyncio.sleep(0.1)
    return time.monotonic() - gone
