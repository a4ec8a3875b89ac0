"""From the commit of a job to its first line on an idle system, beside the bare limit in the same run.

    python -m benchmarks.pickup [--jobs 200]

The bare limit is one connection that listens and one UPDATE that claims: what PostgreSQL itself needs here.
Milliseconds; the clock is the machine's monotonic one, read in both processes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from app import db, migrate, postgres, queue
from benchmarks import bench_app

ROOT = Path(__file__).parents[1]


async def house(dsn: str, jobs: int, ear: socket.socket) -> list[float]:
    await db.open_pools(dsn, pages=False)
    waits = []
    for number in range(jobs + 5):
        async with db.house() as conn:
            await queue.defer(conn, bench_app.MARK, workspace_id=None, number=number)
        sent = time.monotonic_ns()
        began = int((await asyncio.to_thread(ear.recv, 100)).split()[1])
        waits.append((began - sent) / 1e6)
        await asyncio.sleep(0.05)
    await db.close_pools()
    return waits[5:]


async def bare(dsn: str, jobs: int) -> list[float]:
    """LISTEN in one task, insert and notify in another, claim by one UPDATE."""
    waits: list[float] = []
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as ear,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as mouth,
    ):
        await ear.execute(
            "CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY, taken boolean DEFAULT false)"
        )
        await ear.execute("LISTEN bare")
        heard = asyncio.Event()

        async def listen() -> None:
            async for _ in ear.notifies():
                heard.set()

        listening = asyncio.create_task(listen())
        for _ in range(jobs + 5):
            await mouth.execute(
                "WITH put AS (INSERT INTO bare DEFAULT VALUES RETURNING id) SELECT pg_notify('bare', id::text) FROM put"
            )
            sent = time.monotonic_ns()
            await heard.wait()
            heard.clear()
            await mouth.execute(
                """
                UPDATE bare
                   SET taken = true
                 WHERE id = (SELECT id FROM bare WHERE NOT taken ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"""
            )
            waits.append((time.monotonic_ns() - sent) / 1e6)
            await asyncio.sleep(0.05)
        listening.cancel()
    return waits[5:]


def figures(waits: list[float]) -> tuple[float, float, float]:
    ordered = sorted(waits)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.95)], ordered[int(len(ordered) * 0.99)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="backlot-bench-") as folder:
        Path(folder).chmod(0o711)
        server = postgres.start(Path(folder))
        asyncio.run(migrate.run(server.dsn))
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.settimeout(10)
        ear.bind(f"{folder}/ear")
        env = {
            **os.environ,
            "DATABASE_URL": server.dsn,
            "BACKLOT_HOME": folder,
            "BENCH_SOCKET": f"{folder}/ear",
        }
        worker = subprocess.Popen(
            [sys.executable, "-m", "procrastinate", "--app=benchmarks.bench_app.procrastinate_app", "worker"],
            cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(3)
            ours = figures(asyncio.run(house(server.dsn, jobs, ear)))
            limit = figures(asyncio.run(bare(server.dsn, jobs)))
        finally:
            worker.kill()
            worker.wait()
            server.release()
    print(f"{'':24}{'p50':>8}{'p95':>8}{'p99':>8}   ms, {jobs} jobs")
    print(f"{'Backlot':24}" + "".join(f"{value:8.2f}" for value in ours))
    print(f"{'bare LISTEN and claim':24}" + "".join(f"{value:8.2f}" for value in limit))
    print(f"{'ratio':24}" + "".join(f"{a / b:8.1f}" for a, b in zip(ours, limit, strict=True)))


if __name__ == "__main__":
    main()
