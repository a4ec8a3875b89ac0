"""How long `POST /api/videos` takes for a short clip, upload and checks included (S1.6: p95 of at most 200 ms).

python -m benchmarks.intake [--videos 60]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.pickup import figures
from tests.flows.house import Client, open_house
from tests.flows.test_storm import UNLIMITED
from tests.world import clip


async def measure(folder: Path, videos: int) -> None:
    content = clip(1.0)
    took: list[float] = []
    async with open_house(folder / "home", workers=0, **UNLIMITED) as house:
        client = Client(house.base)
        await client.sign_up()
        account_id = await client.account("bench")
        for number in range(videos):
            began = time.monotonic()
            await client.upload(content, account_id, f"video {number}")
            took.append((time.monotonic() - began) * 1000)
        await client.close()
    middle, most, _ = figures(took)
    print(f"POST /api/videos, {videos} clips of {len(content)} bytes: p50 {middle:.1f} ms, p95 {most:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=60)
    with tempfile.TemporaryDirectory(prefix="backlot-bench-") as folder:
        asyncio.run(measure(Path(folder), parser.parse_args().videos))


if __name__ == "__main__":
    main()
