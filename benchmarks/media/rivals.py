"""Goal 1: the same outputs by the product, by one command and by a command for each, in turn, in one run."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from app.media.plan import Plan
from benchmarks.media import crew, first, split
from benchmarks.media.by_hand import Cost, Wanted, each_output, one_command
from benchmarks.media.product import Making, planned, product
from benchmarks.media.quality import Worth, joined, worth
from benchmarks.queue.table import table


@dataclass
class Figures:
    """All costs by who made it, in the order they were made."""

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    worths: list[list[str]] = field(default_factory=list)
    beside: list[dict[str, float]] = field(default_factory=list)


NAMES = {
    "product": "Backlot",
    "worker": "Backlot's worker, with queue, rows and storage",
    "one": "one command by hand",
    "each": "one ffmpeg for each output",
}


async def wanted_of(source: Path, logo: Path, sheet: tuple[float, int, int, int], poster_s: float) -> Wanted:
    """What the product's own plan says, for the commands by hand."""
    plan = await planned(source)
    mark = plan.design.watermark
    assert mark is not None
    return Wanted(
        source=source,
        logo=logo,
        rungs=plan.rungs,
        preset=plan.preset,
        quality=plan.quality,
        video_kbps=plan.video_kbps,
        audio_kbps=plan.audio_kbps,
        group_frames=plan.grid.group_frames,
        opacity=mark.opacity,
        logo_px=round(plan.canvas[0] * mark.scale),
        margin_px=mark.margin_px,
        poster_s=poster_s,
        sheet=sheet,
    )


async def by_worker(wanted: Wanted, place: Path, figures: Figures) -> Cost:
    """The same video uploaded to a house of its own: CPU of its worker, from the upload to the video that is ready."""
    logo = {"WATERMARK_ENABLED": "true", "WATERMARK_PATH": str(wanted.logo)}
    async with crew.open_crew(place, 1, FFMPEG_PRESET=wanted.preset, **logo) as house:
        await house.listening("worker-1")
        browser = await crew.signed_up(house)
        pids = {
            "worker": house.processes["worker-1"].pid,
            "web": house.processes["web"].pid,
            **_database(house),
        }
        before = {name: crew.used_s(pid) for name, pid in pids.items()}
        _, sent, _ = await first.upload(browser, wanted.source, None)
        ready = await split.ended(house)
        used = {name: crew.used_s(pid) - before[name] for name, pid in pids.items()}
        await browser.http.aclose()
        found = await house.rows("SELECT count(*) FROM stream_tracks")
        assert found[0][0] == len(wanted.rungs) + 1, found
    figures.beside.append(used)
    return Cost(used["worker"], ready - sent, 0)


def _database(house: crew.Crew) -> dict[str, int]:
    """The server's first process; its children come and go, and it waits for them."""
    for path in house.server.home.rglob("postmaster.pid"):
        return {"database": int(path.read_text().split()[0])}
    return {}


def measure(wanted: Wanted, folder: Path, rounds: int, *, each: bool = True, worker: bool = True) -> Figures:
    """So many rounds; who begins changes from round to round."""
    figures = Figures()
    made: Making | None = None

    def ours(place: Path) -> Cost:
        nonlocal made
        made = product(wanted.source, wanted.logo, place)
        figures.steps.append(made.steps)
        return made.cost

    makers: list[tuple[str, Callable[[Path], Cost]]] = [
        ("product", ours),
        ("one", lambda place: one_command(wanted, place)),
    ]
    if worker:
        makers.append(("worker", lambda place: asyncio.run(by_worker(wanted, place, figures))))
    if each:
        makers.append(("each", lambda place: each_output(wanted, place)))
    for number in range(rounds):
        for name, make in makers[number % len(makers) :] + makers[: number % len(makers)]:
            figures.loads.append(os.getloadavg()[0])
            place = folder / name
            shutil.rmtree(place, ignore_errors=True)
            cost = make(place)
            figures.costs.setdefault(name, []).append(cost)
            print(
                f"round {number + 1}: {NAMES[name]} {cost.cpu_s:.2f} CPU s, {cost.seconds:.1f} s", flush=True
            )
    assert made is not None
    figures.worths = [_row(name, *pair) for name, pair in _compared(wanted, made, folder).items()]
    return figures


def _compared(wanted: Wanted, made: Making, folder: Path) -> dict[str, tuple[Worth, Worth]]:
    """Product and one command, rung by rung, and the MP4."""
    found = {}
    for number, rung in enumerate(wanted.rungs):
        theirs = folder / "one" / "stream"
        pairs = [
            joined(made.folder / rung.name / "init.mp4", sorted((made.folder / rung.name).glob("*.m4s")),
                   folder / "ours.mp4"),
            joined(theirs / f"init-stream{number}.m4s", sorted(theirs.glob(f"chunk-stream{number}-*.m4s")),
                   folder / "theirs.mp4"),
        ]  # fmt: skip
        ours, hand = (worth(wanted, path, rung.width_px, rung.height_px, vmaf=number == 0) for path in pairs)
        found[rung.name] = (ours, hand)
    top = wanted.rungs[0]
    mp4s = (made.mp4, folder / "one" / "video.mp4")
    ours, hand = (worth(wanted, path, top.width_px, top.height_px) for path in mp4s)
    return {**found, "MP4": (ours, hand)}


def _row(name: str, ours: Worth, hand: Worth) -> list[str]:
    vmaf = "–" if ours.vmaf is None or hand.vmaf is None else f"{ours.vmaf:.2f} / {hand.vmaf:.2f}"
    return [
        name,
        f"{ours.size} / {hand.size}",
        f"{ours.seconds:.2f} / {hand.seconds:.2f}",
        f"{ours.bytes:,} / {hand.bytes:,}",
        f"{ours.ssim:.5f} / {hand.ssim:.5f}",
        vmaf,
    ]


def printed(figures: Figures) -> str:
    """The tables: costs and ratios, steps of the product, and what was made beside what was made by hand."""
    rounds = len(figures.costs["product"])
    rows = []
    for name, costs in figures.costs.items():
        cells = [f"{cost.cpu_s:.2f}" for cost in costs]
        rows.append([NAMES[name], *cells, f"{statistics.median(cost.cpu_s for cost in costs):.2f}"])
    for name, goal in (("one", 1.05), ("each", 0.33)):
        if name in figures.costs:
            for own in ("product", "worker"):
                if own not in figures.costs:
                    continue
                pairs = zip(figures.costs[own], figures.costs[name], strict=True)
                ratios = [ours.cpu_s / theirs.cpu_s for ours, theirs in pairs]
                cells = [f"{ratio:.3f}" for ratio in (*ratios, statistics.median(ratios))]
                rows.append([f"{NAMES[own]} ÷ {NAMES[name]} (goal ≤ {goal})", *cells])
    heads = [f"round {number + 1}" for number in range(rounds)]
    steps = [[name, *(f"{each.get(name, 0):.2f}" for each in figures.steps)] for name in figures.steps[0]]
    beside = [
        [name, *(f"{each[name]:.2f}" for each in figures.beside)] for name in (figures.beside or [{}])[0]
    ]
    load = f"load while it ran {min(figures.loads):.1f} to {max(figures.loads):.1f}"
    return "\n".join(
        [
            table(f"CPU seconds for the same outputs ({load})", ["", *heads, "median"], rows),
            table("Backlot's own steps, CPU seconds", ["", *heads], steps),
            table("CPU seconds of the whole house meanwhile", ["", *heads], beside),
            table(
                "Backlot / one command by hand",
                ["", "pixels", "seconds", "bytes", "SSIM", "VMAF"],
                figures.worths,
            ),
        ]
    )


def plan_line(plan: Plan) -> str:
    rungs = ", ".join(f"{rung.width_px}×{rung.height_px}" for rung in plan.rungs)
    return f"preset {plan.preset}, CRF {plan.quality}, rungs {rungs}"
