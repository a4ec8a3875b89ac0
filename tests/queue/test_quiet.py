"""While the database is away a house says so now and then, and does not fill its logs (S1.58)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx2
import psycopg
import pytest

from app import db, migrate
from tests.faults.servers import own_server
from tests.faults.watch import MARKS, all_ended, put
from tests.flows.house import House
from tests.queue.processes import workers
from tests.worker import until

pytestmark = pytest.mark.anyio

# The bound: so many lines when the database goes and comes back, and so many for each ten seconds between.
AT_ONCE, EACH_TEN_S = 5, 2


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


async def ask_as_a_watchman_does(base: str, away_s: float) -> None:
    """Each second for readiness and health, as a platform does, for so long."""
    async with httpx2.AsyncClient(base_url=base, trust_env=False, timeout=10) as client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(away_s):
                while True:
                    answer = await client.get("/ready")
                    assert answer.status_code == 503
                    assert (await client.get("/health")).status_code == 200
                    await asyncio.sleep(1)


async def go_without_database(home: Path, away_s: float) -> None:
    """Take the database away for so long while a job runs and others wait; count the lines of log it costs."""
    with own_server("quiet") as server:
        await migrate.run(server.dsn)
        async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as conn:
            await conn.execute(MARKS)
        await db.open_pools(server.dsn, pages=True)
        house = House(home, server, {})
        try:
            house.start("web")
            await house.answers()
            with workers(1, server.dsn, home) as (worker,):
                for number in range(6):
                    await put(f"job {number}", seconds=2.0)
                before = {"web": len(house.said("web")), "worker": len(worker.said())}
                server.stop("immediate")
                await ask_as_a_watchman_does(house.base, away_s)
                server.restart()
                await until(all_ended, within_s=60)
                said = {
                    "web": lines(house.said("web")[before["web"] :]),
                    "worker": lines(worker.said()[before["worker"] :]),
                }
                assert worker.process.poll() is None
                assert house.processes["web"].poll() is None
        finally:
            house.stop()
            await db.close_pools()
    most = AT_ONCE + EACH_TEN_S * away_s / 10
    for name, told in said.items():
        loud = [line for line in told if line.get("level") in ("warning", "error")]
        print(f"{name}: {len(told)} lines, {len(loud)} of them warnings, in {away_s:.0f} s without database")
        assert loud, f"{name} never said that the database was away"
        assert len(loud) <= most, (len(loud), most, loud[-5:])


async def test_half_a_minute_without_database_costs_few_lines_of_log(tmp_path: Path) -> None:
    await go_without_database(tmp_path, 30.0)


@pytest.mark.storm
async def test_ten_minutes_without_database_cost_few_lines_of_log(tmp_path: Path) -> None:
    await go_without_database(tmp_path, 600.0)
