"""Peak memory of the web process while a file of 1 GiB comes in, beside what it needs when idle.

    python -m benchmarks.upload_memory [--mib 1024]

The file is a real video with a long `free` box behind it, so every check of an ordinary upload is passed.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.browser import Browser
from tests.flows.house import House, open_house
from tests.world import clip


def peak_mib(house: House) -> float:
    status = Path(f"/proc/{house.processes['web'].pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def padded(path: Path, mib: int) -> None:
    """A playable MP4 of this many MiB: players and probes skip a box called `free`."""
    video = clip(1.0)
    free = mib * 1024**2 - len(video)
    with path.open("wb") as file:
        file.write(video)
        file.write(free.to_bytes(4, "big") + b"free")
        file.seek(free - 9, 1)
        file.write(b"\0")


async def measure(folder: Path, mib: int) -> None:
    path = folder / "large.mp4"
    padded(path, mib)
    async with open_house(folder / "home", workers=0) as house:
        browser = Browser(house.base)
        await browser.sign_up()
        await browser.http.get("/videos")
        # Signing up cost 64 MiB for the password's hash: forget that peak.
        Path(f"/proc/{house.processes['web'].pid}/clear_refs").write_text("5")
        before = peak_mib(house)
        began = time.monotonic()
        await browser.upload(path)
        seconds = time.monotonic() - began
        after = peak_mib(house)
        await browser.http.aclose()
    print(f"upload of {mib} MiB: {seconds:.1f} s, {mib / seconds:.0f} MiB/s")
    print(
        f"peak memory of web: {before:.1f} MiB before, {after:.1f} MiB after, {after - before:.1f} MiB more"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    with tempfile.TemporaryDirectory(prefix="backlot-bench-") as folder:
        asyncio.run(measure(Path(folder), parser.parse_args().mib))


if __name__ == "__main__":
    main()
