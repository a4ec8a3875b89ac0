"""How soon a commit reaches open pages, and what they cost: many live streams on one web process.

    python -m benchmarks.live_pages [--pages 500] [--tells 40]

Every page watches one topic; each tell is one committed transaction. The delay is from the return of the commit to the
event in the page, over all pages and tells; the bare limit in the same run is one LISTEN connection.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from app import db, live
from benchmarks.browser import Browser
from benchmarks.pickup import figures
from tests.flows.house import House, open_house


def memory_mib(house: House) -> float:
    status = Path(f"/proc/{house.processes['web'].pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


async def page(browser: Browser, topic: str, heard: asyncio.Queue[float], opened: asyncio.Semaphore) -> None:
    async with browser.http.stream("GET", "/live", params={"topic": topic}) as stream:
        assert stream.status_code == 200
        opened.release()
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                heard.put_nowait(time.monotonic())


async def ear(dsn: str, heard: asyncio.Queue[float]) -> None:
    async with await db.connect(dsn) as conn:
        await conn.execute("LISTEN live")
        async for _ in conn.notifies():
            heard.put_nowait(time.monotonic())


async def measure(folder: Path, pages: int, tells: int) -> None:
    async with open_house(folder / "home", workers=0) as house:
        browser = Browser(house.base)
        await browser.sign_up()
        await db.open_pools(house.server.dsn, pages=False)
        async with db.house() as conn:
            workspace_id = await db.value(conn, "SELECT id FROM workspaces")
        topic = f"workspace-{workspace_id}"
        before = memory_mib(house)
        heard: asyncio.Queue[float] = asyncio.Queue()
        bare: asyncio.Queue[float] = asyncio.Queue()
        opened = asyncio.Semaphore(0)
        watching = [asyncio.create_task(page(browser, topic, heard, opened)) for _ in range(pages)]
        watching.append(asyncio.create_task(ear(house.server.dsn, bare)))
        for _ in range(pages):
            await asyncio.wait_for(opened.acquire(), 60)
        await asyncio.sleep(1)
        open_mib = memory_mib(house)
        while not heard.empty():
            heard.get_nowait()
        delays: list[float] = []
        limits: list[float] = []
        for _ in range(tells):
            async with db.house() as conn:
                await live.tell(conn, topic)
            told = time.monotonic()
            delays += [(await asyncio.wait_for(heard.get(), 10) - told) * 1000 for _ in range(pages)]
            limits.append((await asyncio.wait_for(bare.get(), 10) - told) * 1000)
            await asyncio.sleep(0.1)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await db.close_pools()
    print(f"{pages} open pages, {tells} commits; ms{'p50':>10}{'p95':>8}{'p99':>8}")
    print(f"{'commit to event':28}" + "".join(f"{value:8.1f}" for value in figures(delays)))
    print(f"{'bare LISTEN':28}" + "".join(f"{value:8.1f}" for value in figures(limits)))
    print(f"memory of web: {before:.1f} MiB before, {open_mib:.1f} MiB with the pages open")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=500)
    parser.add_argument("--tells", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backlot-bench-") as folder:
        asyncio.run(measure(Path(folder), args.pages, args.tells))


if __name__ == "__main__":
    main()
