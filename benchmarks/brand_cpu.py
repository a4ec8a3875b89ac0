"""CPU seconds of branding a video, beside the very same ffmpeg command run by hand; in turn, several pairs.

python -m benchmarks.brand_cpu VIDEO [--pairs 3]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

from app import media

LOGO = (
    "-f", "lavfi", "-i", "color=c=white:size=320x320,format=rgba,colorchannelmixer=aa=0.6", "-frames:v", "1",
)  # fmt: skip


def by_hand(argv: tuple[str, ...], source: Path, logo: Path, folder: Path) -> float:
    """The command of the run before, on the same files: its own copies of them are gone by now."""
    (folder / "in-video").symlink_to(source.resolve())
    (folder / "in-logo").symlink_to(logo)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (folder / "in-video").unlink()
    (folder / "in-logo").unlink()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def ours(source: Path, logo: Path, folder: Path) -> media.Branded:
    design = media.read_design({"watermark": {"url": "https://example.org/logo.png", "opacity": 0.8}})
    probe = await media.probe(source)
    return await media.brand(source, design, logo=logo, into=folder, probe=probe, profile=media.TIKTOK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--pairs", type=int, default=3)
    args = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(prefix="backlot-bench-", dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        logo = folder / "logo.png"
        subprocess.run([str(media.program().path), "-loglevel", "error", *LOGO, str(logo)], check=True)
        for number in range(1, args.pairs + 1):
            branded = asyncio.run(ours(args.video, logo, folder))
            hand_s = by_hand(branded.run.argv, args.video, logo, folder)
            ratios.append(branded.run.cpu_s / hand_s)
            print(
                f"pair {number}: Backlot {branded.run.cpu_s:.2f} s, by hand {hand_s:.2f} s, ratio {ratios[-1]:.3f}"
            )
    print(f"median ratio {statistics.median(ratios):.3f}; ffmpeg {media.version()}, {media.isolation()}")


if __name__ == "__main__":
    main()
