"""The product's own making of a video, without database and storage: what `videos` calls of `media`, in its order.

The opening first (sound and the first segment, its small rungs before the large ones), then all other segments, then
the MP4 out of the finished segments, then the stills.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from app import media
from app.media import encode, join, stills
from app.media.cutting import Made
from app.media.plan import Plan, plan
from benchmarks.media.by_hand import Cost

SMALL_PX = 480
LOGO = {"url": "https://example.org/logo.png", "opacity": 0.8}


@dataclass(frozen=True)
class Making:
    """Where everything is: `folder`/<track>/{init.mp4,000000.m4s…}, the MP4 and the stills."""

    folder: Path
    mp4: Path
    plan: Plan
    cost: Cost
    steps: dict[str, float]


async def planned(source: Path) -> Plan:
    probe = await media.probe(source)
    design = media.read_design({"watermark": LOGO})
    return plan(probe, design, media.TIKTOK, formats=("hls", "dash", "mp4"))


async def _made(source: Path, logo: Path, folder: Path) -> tuple[Plan, Path, dict[str, float]]:
    steps: dict[str, float] = {}
    began = _cpu_s()

    def step(name: str) -> None:
        nonlocal began
        steps[name], began = _cpu_s() - began, _cpu_s()

    plan = await planned(source)
    sources = encode.Sources(source, logo=logo)
    spans = plan.grid.spans()
    kept: dict[str, list[Path]] = {}

    async def init(name: str, content: bytes) -> None:
        place = folder / name
        place.mkdir(exist_ok=True)
        (place / "init.mp4").write_bytes(content)
        kept.setdefault(name, [place / "init.mp4"])

    async def keep(made: Made) -> None:
        for name, path in made.files.items():
            target = folder / name / path.name
            shutil.move(path, target)
            kept[name].append(target)

    small = [rung.name for rung in plan.rungs if min(rung.width_px, rung.height_px) <= SMALL_PX]
    large = [rung.name for rung in plan.rungs if rung.name not in small]
    step("probe")
    places = [folder / f"work-{number}" for number in range(4)]
    for place in places:
        place.mkdir()
    sounding = asyncio.create_task(encode.sound(plan, sources, into=places[0], on_segment=keep, inits=init))
    for place, names in ((places[1], small), (places[2], large)):
        if names:
            await encode.picture(
                plan, sources, spans[:1], rungs=names, into=place, on_segment=keep, inits=init
            )
    await sounding
    step("opening")
    if spans[1:]:
        await encode.picture(plan, sources, spans[1:], into=places[3], on_segment=keep, inits=init)
    step("rest")
    top, small_one = plan.rungs[0], plan.rungs[-1]
    joined = await join.join(plan, kept[top.name], kept.get("a0"), into=folder)
    step("join")
    frame = stills.poster_frame(plan, None)
    await stills.poster(joined.path, frame, rate=plan.rate, size=plan.canvas, into=folder)
    size = (small_one.width_px, small_one.height_px)
    low = join.appended(kept[small_one.name], folder / "low.mp4")
    await stills.storyboard(low, duration_s=joined.probe.duration_s, size=size, into=folder)
    step("stills")
    return plan, joined.path, steps


def product(source: Path, logo: Path, folder: Path) -> Making:
    """Make everything once; CPU of this process and of its children, start of Python not counted."""
    folder.mkdir(parents=True)
    media.program()
    media.isolation()
    before, began = _cpu_s(), time.monotonic()
    plan, mp4, steps = asyncio.run(_made(source, logo, folder))
    cost = Cost(_cpu_s() - before, time.monotonic() - began, 0)
    return Making(folder, mp4, plan, cost, steps)


def _cpu_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)
