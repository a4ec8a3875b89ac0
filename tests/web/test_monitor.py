"""What machines ask: health, readiness, metrics, the queue's state and use."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from starlette.applications import Starlette

from app import config, db, jobs, migrate, queue, vitals
from tests.web.conftest import Client

pytestmark = pytest.mark.anyio
HERE = ("127.0.0.1", 40_000)
PERSON = {"email": "ada@example.com", "password": "correct horse", "name": "Ada"}


async def bearer(browser: httpx2.AsyncClient, email: str = "ada@example.com") -> dict[str, str]:
    made = await browser.post("/api/auth/sign-up", json=PERSON | {"email": email})
    return {"authorization": f"Bearer {made.json()['accessToken']}"}


async def test_health_has_the_promised_keys(client: Client) -> None:
    answer = await client().get("/health")
    told = answer.json()
    assert (answer.status_code, set(told)) == (200, {"status", "worker", "uptime", "memory"})
    assert (told["status"], told["worker"]) == ("ok", "web")
    assert set(told["memory"]) == {"rss", "heapTotal", "heapUsed", "external"}
    assert told["memory"]["rss"] > 10_000_000
    assert 0 < told["memory"]["heapUsed"] <= told["memory"]["heapTotal"]
    assert told["uptime"] > 0


async def test_health_does_not_need_the_database(client: Client) -> None:
    await db.close_pools()
    assert (await client().get("/health", headers={"cookie": "__Host-backlot=x"})).status_code == 200
    answer = await client().get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
    assert answer.headers["retry-after"]


async def test_a_process_that_stops_is_not_healthy(app: Starlette, client: Client) -> None:
    app.state.stopping.set()
    answer = await client().get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")


def test_child_processes_count_as_external() -> None:
    before = vitals.memory()["external"]
    holding = "x = bytearray(50_000_000); print('ready', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert vitals.memory()["external"] - before > 45_000_000
    finally:
        child.communicate(b"\n")


def test_the_heap_follows_what_is_held() -> None:
    before = vitals.memory()
    held = [bytearray(1_000) for _ in range(20_000)], [str(n) for n in range(200_000)]
    after = vitals.memory()
    assert after["heapUsed"] - before["heapUsed"] > 25_000_000
    del held


async def test_ready_tells_how_long_the_database_takes(client: Client) -> None:
    answer = await client().get("/ready")
    assert (answer.status_code, answer.json()["status"], answer.json()["migrationsMissing"]) == (
        200,
        "ready",
        [],
    )
    assert 0 < answer.json()["database"]["roundTripMs"] < 1000


async def test_a_missing_migration_is_not_ready(client: Client, database: str) -> None:
    async with await db.connect(database) as conn:
        await conn.execute("DELETE FROM schema_migrations WHERE name = '0002_users.sql'")
    answer = await client().get("/ready")
    assert (answer.status_code, answer.json()["migrationsMissing"]) == (503, ["0002_users.sql"])
    assert migrate.steps()


async def test_metrics_are_for_this_machine_and_for_operators(client: Client) -> None:
    here = await client(peer=HERE).get("/metrics")
    assert here.status_code == 200
    assert here.headers["content-type"].startswith("text/plain; version=")
    for name in ("jobs_queued", "jobs_running", "http_requests_total", "live_connections"):
        assert f"# TYPE {name} " in here.text
    away = client()
    assert (await away.get("/metrics")).status_code == 401
    operator, guest = await bearer(away), await bearer(away, "bob@example.com")
    assert (await away.get("/metrics", headers=operator)).status_code == 200
    assert (await away.get("/metrics", headers=guest)).status_code == 403


@pytest.mark.parametrize("path", ["queue-health", "queue-usage", "redis-usage"])
async def test_the_monitors_want_a_token(client: Client, path: str) -> None:
    assert (await client(peer=HERE).get(f"/api/monitor/{path}")).status_code == 401


async def test_the_usage_has_the_promised_keys_under_both_paths(client: Client) -> None:
    browser = client()
    headers = await bearer(browser)
    async with db.house() as conn:
        await conn.execute(
            "INSERT INTO queue_usage (month, operations) VALUES (date_trunc('month', now() AT TIME ZONE 'UTC'), 174700)"
            " ON CONFLICT (month) DO UPDATE SET operations = 174700"
        )
    for path in ("queue-usage", "redis-usage"):
        told = (await browser.get(f"/api/monitor/{path}", headers=headers)).json()
        assert told == {"total": 174_700, "limit": 500_000, "percentage": 34.94, "status": "OK"}


async def test_the_queue_health_has_the_promised_keys(client: Client) -> None:
    browser = client()
    headers = await bearer(browser)
    async with db.house() as conn:
        await queue.defer(conn, jobs.EDIT_VIDEO, workspace_id=1, videoId=1)
    told = (await browser.get("/api/monitor/queue-health", headers=headers)).json()
    assert {"postgres", "redis", "queuesActive", "usage"} <= set(told)
    assert (told["postgres"], told["redis"], told["queuesActive"]) == (True, None, 0)
    assert isinstance(told["usage"]["percentage"], float)
    by_name = {one["name"]: one for one in told["queues"]}
    assert by_name["video-edit"]["depth"] == 1
    assert by_name["video-edit"]["liveWorkers"] == by_name["video-edit"]["stalled"] == 0
    assert by_name["video-edit"]["oldestWaitS"] >= 0
    assert by_name["video-edit"]["atLeast"] == []


async def test_the_optional_cache_is_shown_as_it_answers(
    client: Client, settings: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"+PONG\r\n")
        await writer.drain()
        writer.close()

    browser = client()
    headers = await bearer(browser)
    cache = await asyncio.start_server(answer, "127.0.0.1", 0)
    settings.setenv("REDIS_URL", f"redis://127.0.0.1:{cache.sockets[0].getsockname()[1]}")
    config.get.cache_clear()
    assert (await browser.get("/api/monitor/queue-health", headers=headers)).json()["redis"] is True
    cache.close()
    await cache.wait_closed()
    assert (await browser.get("/api/monitor/queue-health", headers=headers)).json()["redis"] is False


async def test_each_workers_health_is_told_to_operators_alone(client: Client) -> None:
    browser = client()
    operator, guest = await bearer(browser), await bearer(browser, "bob@example.com")
    async with db.house() as conn:
        await conn.execute(
            """
            INSERT INTO worker_leases (worker_id, name, host, process, pid, queues, version, concurrency, seen_at,
                                       listening, stopping, jobs)
            VALUES (1, 'worker', 'alpha', '', 1, '{video-edit}', '3', 2, now(), true, false, '{7}'),
                   (2, 'worker', 'beta', '', 2, '{upkeep}', '3', 2, now() - interval '31 s', true, false, '{}'),
                   (3, 'worker', 'gamma', '', 3, '{upkeep}', '3', 2, now(), true, true, '{}')"""
        )
    told = (await browser.get("/api/monitor/queue-health", headers=operator)).json()
    found = {worker["host"]: (worker["healthy"], worker["running"]) for worker in told["workers"]}
    assert found == {"alpha": (True, 1), "beta": (False, 0), "gamma": (False, 0)}
    assert (await browser.get("/api/monitor/queue-health", headers=guest)).json()["workers"] is None


async def test_a_scrape_of_the_web_alone_tells_the_whole_house(client: Client) -> None:
    async with db.house() as conn:
        await queue.defer(conn, jobs.EDIT_VIDEO, workspace_id=None, videoId=1)
        await queue.defer(
            conn, jobs.EDIT_VIDEO, workspace_id=None, videoId=2, at=datetime.now(UTC) + timedelta(hours=1)
        )
        await conn.execute(
            """
            INSERT INTO queue_tallies (queue, task, outcome, many, ran_s)
            VALUES ('video-edit', 'edit-video', 'done', 3, 6.5), ('video-edit', 'edit-video', 'done', 2, 0.5);
            INSERT INTO queue_totals (queue, task, outcome, many, ran_s)
            VALUES ('video-edit', 'edit-video', 'done', 1000, 100);
            INSERT INTO queue_limits (queue, together) VALUES ('video-edit', 4);
            INSERT INTO pauses (queue, kind) VALUES ('edit-video', 'task')"""
        )
    text = (await client(peer=HERE).get("/metrics")).text
    for line in (
        'jobs_queued{queue="video-edit",task="edit-video"} 1.0',
        'jobs_scheduled{queue="video-edit",task="edit-video"} 1.0',
        'jobs_running{queue="video-edit",task="edit-video"} 0.0',
        'house_runs_total{outcome="done",queue="video-edit",task="edit-video"} 1005.0',
        'house_run_seconds_total{outcome="done",queue="video-edit",task="edit-video"} 107.0',
        'queue_live_workers{queue="video-edit"} 0.0',
        'queue_places_left{queue="video-edit"} 4.0',
        'queue_paused{queue="video-edit"} 0.0',
        'task_paused{task="edit-video"} 1.0',
    ):
        assert line in text, line
