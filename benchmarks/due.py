"""How exactly planned posts start, and how long a claim takes, beside many that are planned and a long history.

    python -m benchmarks.due [--scheduled 20000] [--accounts 200] [--finished 300000] [--due 300] [--over 150]

`--due` of the planned posts fall due one after another within `--over` seconds and are really sent to the simulators
by one worker process; the rest lies in the days ahead. A start counts from the post's time to the row that says that
it has begun. Our own pace of accounts and of the upload queue is lifted: it is not what is measured here.
Beside it: the same claim in an empty database.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import uvicorn
from psycopg.types.json import Jsonb
from starlette.applications import Starlette
from starlette.routing import Mount

from app import accounts, config, db, migrate, platforms, postgres, publishing, queue, sandbox, storage
from app.publishing import rows
from app.queue import claim, policy, pump
from tests.makers import Owner, a_video, an_owner

ROOT = Path(__file__).parents[1]
PLATFORMS = ("tiktok", "instagram", "facebook")
CLAIM_LINE = queue.Queue("bench", together=1)
MARK = queue.Job("mark", CLAIM_LINE, ("number",))
CLAIMS = 400
FINISHED = """
    INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, status, attempts, owner)
    SELECT 'social-publishing', 'settle-target', -5, '{"targetId": 1}', 'succeeded', 1, 1 + number %% 20
      FROM generate_series(1, %s) AS number"""
HISTORY = (
    """
    INSERT INTO procrastinate_events (job_id, type, at)
    SELECT id, type, now() - interval '7 d' + id * interval '1 s'
      FROM procrastinate_jobs,
           unnest('{deferred,started,succeeded}'::procrastinate_job_event_type[]) AS type
     WHERE status = 'succeeded' AND task_name = 'settle-target'""",
    """
    INSERT INTO job_records (job_id, workspace_id, correlation_id, put_at, ended_at)
    SELECT id, owner, md5(id::text), now() - interval '7 d', now() - interval '6 d'
      FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'settle-target'""",
    """
    INSERT INTO attempts (job_id, workspace_id, round, worker_id, queue, task, started_at, ended_at, outcome)
    SELECT id, owner, 1, 1, queue_name, task_name, now() - interval '7 d', now() - interval '6 d', 'done'
      FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'settle-target'""",
)


async def _facts(_: Path) -> Any:
    """Every upload is a fine vertical video: what is measured is when it starts."""
    return SimpleNamespace(
        container="mov,mp4,m4a,3gp,3g2,mj2", video_codec="h264", duration_s=20.0, width_px=1080,
        height_px=1920, fps=30.0, audio_codec="aac", index_first=True,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def world(home: Path, port: int) -> AsyncIterator[None]:
    open_to_all = sandbox.Settings(
        audited=True, posts_per_day=10**6, accounts_per_day=10**6, processing_s=0.1, moderation_s=0.1
    )
    served = sandbox.create(home, f"http://127.0.0.1:{port}", _facts, settings=open_to_all)
    server = uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=[Mount("/sandbox", app=served)]),
            port=port,
            log_level="critical",
            access_log=False,
            lifespan="off",
        )
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no word for it
        await asyncio.sleep(0.01)
    yield
    server.should_exit = True
    await serving


async def connected(many: int) -> list[tuple[Owner, accounts.Account]]:
    """So many accounts, ten to a workspace, on the platforms in turn."""
    found = []
    owner = None
    names = [name for name in PLATFORMS if name in platforms.NAMES]
    for number in range(many):
        if owner is None or number % 10 == 0:
            owner = await an_owner(f"Owner {number}")
        account = await accounts.connect_simulated(
            workspace_id=owner.workspace_id,
            platform=names[number % len(names)],
            display_name=f"Account {number}",
        )
        found.append((owner, account))
    return found


def post_on(platform: str) -> platforms.Post:
    level = "SELF_ONLY" if platform == "tiktok" else ""
    return platforms.Post(title="Planned", privacy_level=level, description="Planned")


async def plan(found: list[tuple[Owner, accounts.Account]], moments: list[datetime], key: str) -> None:
    """A target for each moment, its file ready, its alarm set, on the accounts in turn."""
    video_of: dict[int, int] = {}
    about = await storage.head(key)
    assert about is not None
    media = publishing.Media(key, about.bytes, "", "video/mp4", 20.0, 1080, 1920, 30.0)
    for number, at in enumerate(moments):
        owner, account = found[number % len(found)]
        if owner.workspace_id not in video_of:
            video_of[owner.workspace_id] = (await a_video(owner, None)).id
        video_id = video_of[owner.workspace_id]
        async with db.house() as conn:
            publication_id = await db.value(
                conn,
                "INSERT INTO publications (workspace_id, user_id, video_id) VALUES (%s, %s, %s) RETURNING id",
                [owner.workspace_id, owner.user_id, video_id],
            )
            await conn.execute(
                """
                INSERT INTO targets (workspace_id, publication_id, video_id, account_id, platform, post, media,
                                     publish_at, state)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'scheduled')""",
                [
                    owner.workspace_id,
                    publication_id,
                    video_id,
                    account.id,
                    account.platform,
                    Jsonb(post_on(account.platform).to_json()),
                    Jsonb(asdict(media)),
                    at,
                ],
            )
            await rows.set_alarm(conn, owner.workspace_id, at)


async def claims(dsn: str) -> list[float]:
    """Milliseconds of one claim that finds one job, as a worker makes it."""
    effective: policy.EffectiveQueue = CLAIM_LINE.effective()
    card = claim.Card("bench", "here", "here-1", 1, [CLAIM_LINE.name], "1", effective.together)
    async with db.house() as conn:
        worker_id = await claim.register(conn, card, [effective])
    line, taken_ms = pump.Pump(db.Place(dsn, dsn, False)), []
    ended: list[Any] = []
    for number in range(CLAIMS):
        async with db.house() as conn:
            await queue.defer(conn, MARK, workspace_id=1 + number % 20, number=number)
        line.ended = ended
        began = time.perf_counter()
        taken, _, _ = await line.turn(worker_id, [pump.Line(effective, running=0)], [], ripen=True)
        taken_ms.append((time.perf_counter() - began) * 1000)
        ended = [pump.Ended(job, time.monotonic(), 0.0) for job in taken]
        assert len(taken) == 1
    line.ended = ended
    await line.turn(worker_id, [pump.Line(effective, running=1)], [], ripen=False)
    await line.close()
    return taken_ms


def percentile(found: list[float], share: float) -> float:
    return sorted(found)[min(len(found) - 1, int(len(found) * share))]


async def _measure(asked: argparse.Namespace, dsn: str, worker: list[str], port: int, home: Path) -> None:
    await db.open_pools(dsn, pages=True, most=6)
    bare = await claims(dsn)
    async with world(home, port):
        found = await connected(asked.accounts)
        stored = await storage.put(
            _clip(home), storage.key_for(found[0][0].workspace_id, "renders", "mp4"), "video/mp4"
        )
        now = datetime.now(UTC)
        ahead = [now + timedelta(days=1, seconds=37 * n) for n in range(asked.scheduled - asked.due)]
        await plan(found, ahead, stored.key)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("SET session_replication_role = replica")
            conn.execute(FINISHED, [asked.finished])
            for statement in HISTORY:
                conn.execute(statement)  # type: ignore[arg-type]  # texts of our own, above
            conn.execute("VACUUM (ANALYZE)")
        laden = await claims(dsn)
        begin = datetime.now(UTC) + timedelta(seconds=20 + asked.due / 50)
        step_s = asked.over / asked.due
        await plan(found, [begin + timedelta(seconds=step_s * n) for n in range(asked.due)], stored.key)
        process = await asyncio.create_subprocess_exec(
            *worker, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            late = await _started(asked.due, begin, asked.over)
        finally:
            process.terminate()
            await process.wait()
    await db.close_pools()
    print(f"{asked.scheduled} planned, {asked.accounts} accounts, {asked.finished} finished jobs")
    print(f"start after its time, s     n={len(late)} early={sum(each < 0 for each in late)}"
          f" p50={statistics.median(late):.2f} p95={percentile(late, 0.95):.2f} p99={percentile(late, 0.99):.2f}"
          f" most={max(late):.2f}")  # fmt: skip
    for name, found_ms in (("claim beside all of it", laden), ("claim in an empty house", bare)):
        print(f"{name:26}  p50={statistics.median(found_ms):.2f} ms p95={percentile(found_ms, 0.95):.2f} ms")
    print(f"ratio of the p95            {percentile(laden, 0.95) / percentile(bare, 0.95):.2f}")


async def _started(due: int, begin: datetime, over_s: float) -> list[float]:
    """Seconds from each due post's time to its begin; waits until all have begun, a minute after the last at most."""
    late: list[float] = []
    last = begin + timedelta(seconds=over_s + 60)
    while len(late) < due and datetime.now(UTC) < last:
        await asyncio.sleep(2)
        async with db.house() as conn:
            found = await db.rows(
                conn,
                """
                SELECT extract(epoch FROM min(attempt.intent_at) - targets.publish_at)::float
                  FROM targets
                  JOIN target_attempts AS attempt ON attempt.target_id = targets.id
                 GROUP BY targets.id""",
            )
        late = [row[0] for row in found]
    if len(late) < due:
        print(f"only {len(late)} of {due} have begun")
    return late


def _clip(home: Path) -> Path:
    path = home / "clip.mp4"
    path.write_bytes(os.urandom(200_000))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, most in (("scheduled", 20_000), ("accounts", 200), ("finished", 300_000), ("due", 300)):
        parser.add_argument(f"--{name}", type=int, default=most)
    parser.add_argument("--over", type=float, default=150.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backlot-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        server = postgres.start(home)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        os.environ |= {
            "DATABASE_URL": server.dsn, "BACKLOT_HOME": folder, "SANDBOX_URL": f"http://127.0.0.1:{port}/sandbox",
            "ACCOUNT_UPLOADS_MOST": "none", "QUEUE_VIDEO_UPLOAD_MOST": "none", "QUEUE_VIDEO_UPLOAD_TOGETHER": "5",
            "LOG_LEVEL": "error",
        }  # fmt: skip
        config.get.cache_clear()
        worker = [sys.executable, "-m", "procrastinate", "--app=tasks.procrastinate_app", "worker"]
        try:
            asyncio.run(migrate.run(server.dsn))
            asyncio.run(_measure(asked, server.dsn, worker, port, home))
        finally:
            server.release()


if __name__ == "__main__":
    main()
