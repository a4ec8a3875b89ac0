"""The database stops again and again, for up to 40 s: web and workers go on in the same processes (Q8)."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import psycopg
import pytest

from app import db, migrate, postgres
from app.postgres.server import StopMode
from tests.faults.servers import own_server
from tests.faults.watch import MARKS, all_ended, found, marked, put_at_last
from tests.flows.house import House
from tests.queue.processes import workers
from tests.worker import until

pytestmark = pytest.mark.anyio

BACK_WITHIN_S = 5


async def stop_often(home: Path, times_s: list[float]) -> None:
    """Stop the server for each of these times while jobs run, and measure how soon web and worker are back."""
    with own_server("stops") as server:
        await migrate.run(server.dsn)
        async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as conn:
            await conn.execute(MARKS)
        await db.open_pools(server.dsn, pages=True)
        house = House(home, server, {})
        try:
            house.start("web")
            await house.answers()
            with workers(1, server.dsn, home) as (worker,):
                web_s, worker_s = [], []
                for number, away_s in enumerate(times_s):
                    web, work = await one_stop(house, server, number, away_s)
                    web_s.append(web)
                    worker_s.append(work)
                    assert worker.process.poll() is None, worker.said()[-3000:]
                    assert house.processes["web"].poll() is None, house.said("web")[-3000:]
                last = time.monotonic()
                await until(all_ended, within_s=120)
                settled_s = time.monotonic() - last
            ended = await found()
        finally:
            house.stop()
            await db.close_pools()
    print(f"stops={len(times_s)} away {sum(times_s):.0f} s in all; web back after at most {max(web_s):.2f} s, "
          f"worker after at most {max(worker_s):.2f} s; settled after {settled_s:.1f} s; "
          f"states={dict(ended.states)} outcomes={dict(ended.outcomes)}")  # fmt: skip
    assert set(ended.states) == {"succeeded"}
    assert set(ended.done.values()) == {1}
    assert max(web_s) < BACK_WITHIN_S
    assert max(worker_s) < BACK_WITHIN_S


async def one_stop(house: House, server: postgres.Server, number: int, away_s: float) -> tuple[float, float]:
    """Seconds until the web was ready again and until a new job was done, from the server's first answer on."""
    mode: StopMode = "immediate" if number % 2 else "fast"
    await put_at_last(f"during {number}", seconds=1.0)

    async def running() -> bool:
        return await marked(f"during {number}", "started")

    await until(running, within_s=40)
    await asyncio.to_thread(server.stop, mode)
    await asyncio.sleep(away_s)
    await asyncio.to_thread(server.restart)
    accepted_at = time.monotonic()
    web_s, worker_s = await asyncio.gather(
        ready_after(house, accepted_at), worked_after(server, number, accepted_at)
    )
    print(f"{mode}, away {away_s:.1f} s: web {web_s:.2f} s, worker {worker_s:.2f} s", flush=True)
    return web_s, worker_s


async def ready_after(house: House, since: float) -> float:
    await house.answers(within_s=40)
    return time.monotonic() - since


async def worked_after(server: postgres.Server, number: int, since: float) -> float:
    """By a line of the test's own: what is measured is the worker, not our pools."""
    async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as conn:
        await conn.execute("SET app.house = 'on'")
        await put_at_last(f"after {number}")
        async with asyncio.timeout(40):
            while True:
                cursor = await conn.execute(
                    "SELECT count(*) FROM marks WHERE name = %s AND what = 'done'", [f"after {number}"]
                )
                row = await cursor.fetchone()
                if row and row[0]:
                    return time.monotonic() - since
                await asyncio.sleep(0.02)
    raise AssertionError("unreachable")


async def test_web_and_worker_go_on_after_three_short_stops(tmp_path: Path) -> None:
    await stop_often(tmp_path, [0.0, 1.0, 3.0])


@pytest.mark.storm
async def test_web_and_worker_go_on_after_twenty_stops_of_up_to_40_s(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(request.config.getoption("--storm-seed"))
    await stop_often(tmp_path, [0.0, 40.0, *(chance.uniform(0, 40) for _ in range(18))])
