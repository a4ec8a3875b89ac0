"""python -m benchmarks.media MEASUREMENT VIDEO […]; see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

from app import config
from app.media.stills import ACROSS, DOWN, POSTER_S, TILE_PX
from benchmarks.media import crew, first, rivals, seams, split
from benchmarks.media.product import planned
from benchmarks.queue.table import table


def cpu(args: argparse.Namespace, folder: Path) -> None:
    """Goal 1: CPU seconds beside the commands by hand."""
    wanted = asyncio.run(
        rivals.wanted_of(args.video, crew.logo(folder), (2.0, ACROSS, DOWN, TILE_PX), POSTER_S)
    )
    print(rivals.plan_line(asyncio.run(planned(args.video))))
    print(
        rivals.printed(
            rivals.measure(
                wanted, folder, args.rounds, each=not args.without_each, worker=not args.without_worker
            )
        )
    )


async def _first(args: argparse.Namespace, folder: Path) -> list[list[str]]:
    sources = {f"{args.seconds[0]:g} s": args.video}
    for seconds in args.seconds[1:]:
        sources[f"{seconds:g} s"] = crew.looped(args.video, seconds, folder / f"{seconds:g}.mp4")
    rows: list[list[str]] = []
    designs = {"branded": first.BRANDED, "as it is": {}}
    for preset in args.presets:
        for (name, path), (kind, design) in product(sources.items(), designs.items()):
            for _ in range(args.rounds):
                # A house for each: what the one before left to be encoded would be in the way.
                home = folder / f"house-{len(rows)}"
                async with crew.open_crew(home, args.workers, FFMPEG_PRESET=preset) as house:
                    for worker in range(1, args.workers + 1):
                        await house.listening(f"worker-{worker}")
                    browser = await crew.signed_up(house)
                    load = os.getloadavg()[0]
                    seen = await first.watch(browser, path, folder, design)
                    await browser.http.aclose()
                shutil.rmtree(home, ignore_errors=True)
                rows.append(
                    [preset, name, kind, f"{seen.bytes / 1e6:.0f}", f"{seen.answered_s:.2f}", f"{seen.playable_s:.2f}",
                     f"{seen.decoded_s:.2f}", seen.picture.rpartition("/")[2], f"{load:.1f}"]
                )  # fmt: skip
                print(" | ".join(rows[-1]), flush=True)
    return rows


def soon(args: argparse.Namespace, folder: Path) -> None:
    """Goal 2: from the last byte of an upload to a first second that plays."""
    rows = asyncio.run(_first(args, folder))
    head = [
        "preset",
        "source",
        "design",
        "MB",
        "answer, s",
        "playable, s",
        "decodes, s",
        "rung",
        "load before",
    ]
    print(table(f"From the last byte to the first second that plays, {args.workers} workers", head, rows))


def _source(args: argparse.Namespace, folder: Path) -> Path:
    return crew.looped(args.video, args.length, folder / "long.mp4", args.height)


def _seamless(made: split.Long | split.Killed, source: Path, folder: Path) -> list[str]:
    """One row of the seam check."""
    shown = seams.seen(made.mp4, source, made.plan, made.joints, folder)
    sound = seams.heard(made.mp4, source)
    return [
        f"{shown.frames} of {shown.due}" + ("" if shown.evenly else ", not evenly"),
        str(shown.joints),
        f"{shown.ssim_joints:.5f} (least {shown.ssim_joints_least:.5f})",
        f"{shown.ssim_rest:.5f} (least {shown.ssim_rest_least:.5f})",
        f"{shown.worst_fall:+.5f}",
        f"{sound.seconds:.2f} of {sound.source_s:.2f}",
        f"{sound.correlation:.4f} (least {sound.correlation_least:.4f})",
        f"{sound.lag_least_ms:+.2f} to {sound.lag_most_ms:+.2f}",
        f"{sound.gaps}, {sound.click:.2f}",
    ]


SEAMS = [
    "", "pictures", "joints", "SSIM around joints", "SSIM of the rest", "worst fall at a joint", "sound, s",
    "correlation, median of windows", "lag, ms", "gaps, largest step ÷ source's",
]  # fmt: skip


def long(args: argparse.Namespace, folder: Path) -> None:
    """Goal 3: one long video on more and fewer cores."""
    source = _source(args, folder)
    rows, checks = [], []
    alone: dict[float, float] = {}
    for cores, count in ((1.0, 1), (1.0, 2), (0.5, 1), (0.5, 4)):
        if cores not in args.cores:
            continue
        name = f"{count} × {cores:g} core"
        with contextlib.ExitStack() as stack:
            befores = [
                crew.pinned(number) if cores == 1 else stack.enter_context(crew.share(f"w{number}", cores))
                for number in range(count)
            ]
            made = asyncio.run(split.long(source, folder, befores, args.preset))
        alone.setdefault(cores, made.seconds)
        rows.append(
            [name, f"{made.seconds:.1f}", f"{alone[cores] / made.seconds:.2f}", str(made.parts),
             f"{made.cpu_s:.1f}", f"{made.load:.1f}"]
        )  # fmt: skip
        print(" | ".join(rows[-1]), flush=True)
        if count > 1 or args.all_seams:
            checks.append([name, *_seamless(made, source, folder)])
    about = (
        f"{args.length:g} s, {'as it is' if args.height is None else f'{args.height} lines'}, {args.preset}"
    )
    head = ["workers", "seconds until ready", "speed-up", "parts", "CPU s of workers", "load before"]
    print(table(f"A long video ({about})", head, rows))
    print(table("Whether its parts fit", SEAMS, checks))


def kill(args: argparse.Namespace, folder: Path) -> None:
    """Goal 5: `kill -9` of a worker and its ffmpeg in the middle of a long video."""
    source = _source(args, folder)
    rows, checks = [], []
    for number in range(args.rounds):
        made = asyncio.run(split.killed(source, folder, args.preset))
        name = f"round {number + 1}"
        rows.append(
            [name, str(made.parts), f"{made.encoded_s:.1f}", f"{made.stored_s:.1f}", f"{made.again_s:.1f}",
             f"{made.idle_s:.1f}", f"{made.seconds:.1f}"]
        )  # fmt: skip
        checks.append([name, *_seamless(made, source, folder)])
    head = ["", "parts it held", "encoded, s", "stored of it, s", "made twice at most, s", "until taken over, s",
            "until ready, s"]  # fmt: skip
    print(table("kill -9 of one of two workers (goal: at most 120 s made twice)", head, rows))
    print(table("Whether its parts fit", SEAMS, checks))


MEASUREMENTS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "cpu": cpu,
    "first": soon,
    "long": long,
    "kill": kill,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.media", description=__doc__)
    parser.add_argument("measurement", choices=MEASUREMENTS)
    parser.add_argument("video", type=Path, help="a file of some seconds, e.g. 30 s of 1080p with sound")
    parser.add_argument("--preset", default="medium", help="FFMPEG_PRESET of everybody")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-each", action="store_true", help="leave the one-ffmpeg-per-output way out")
    parser.add_argument("--without-worker", action="store_true", help="leave the real worker out")
    parser.add_argument("--presets", nargs="+", default=["medium", "veryfast"], help="of `first`")
    parser.add_argument(
        "--seconds", nargs="+", type=float, default=[30, 600], help="the video's length, longer ones"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--length", type=float, default=600, help="seconds of the long video of `long` and `kill`"
    )
    parser.add_argument("--height", type=int, help="make the long video this tall first; unset: as it is")
    parser.add_argument(
        "--cores", nargs="+", type=float, default=[1, 0.5], help="of `long`: whole cores, halves"
    )
    parser.add_argument("--all-seams", action="store_true", help="check what one worker made, too")
    args = parser.parse_args()
    os.environ["FFMPEG_PRESET"] = args.preset
    config.get.cache_clear()
    args.video = args.video.resolve()
    print(crew.machine())
    with tempfile.TemporaryDirectory(prefix="backlot-bench-", dir=os.environ.get("TMPDIR")) as name:
        os.environ["TEMP_DIR"] = f"{name}/temp"
        MEASUREMENTS[args.measurement](args, Path(name))
    print(crew.machine())


if __name__ == "__main__":
    main()
