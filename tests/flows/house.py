"""The whole product as processes on one machine: web and workers that a test kills, freezes and starts again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from app import postgres
from tests.world import free_port

ROOT = Path(__file__).parents[2]
WEB = [sys.executable, "-m", "app", "web"]
WORKER = [sys.executable, "-m", "procrastinate", "--app=tasks.procrastinate_app", "worker"]


class House:
    """`processes` by name: `web`, `worker-1`, `worker-2`. Each can be killed and started again."""

    def __init__(self, home: Path, server: postgres.Server, env: dict[str, str]) -> None:
        self.home, self.server = home, server
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.env = {
            **os.environ,
            "BACKLOT_HOME": str(home),
            "TEMP_DIR": str(home / "temp"),
            "PORT": str(self.port),
            "DATABASE_URL": server.dsn,
            "LOG_FORMAT": "json",
            "FFMPEG_PRESET": "ultrafast",
            "VIDEO_FORMATS": "mp4",
            **env,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                WEB if name == "web" else WORKER, cwd=ROOT, env=self.env, stdout=log, stderr=subprocess.STDOUT
            )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def freeze(self, name: str, seconds: float) -> None:
        self.processes[name].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.processes[name].send_signal(signal.SIGCONT)

    def said(self, name: str) -> str:
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def answers(self, within_s: float = 30) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    if (await client.get(f"{self.base}/ready", timeout=5)).status_code == 200:
                        return
                await asyncio.sleep(0.1)

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            process.wait()


@contextlib.asynccontextmanager
async def open_house(home: Path, *, workers: int = 2, **env: str) -> AsyncIterator[House]:
    """A house on a durable server of its own; everything is gone at the end."""
    home.mkdir(parents=True, exist_ok=True)
    # The server's socket needs a short path, and its account a way in when we are root.
    place = Path("/tmp") / f"backlot-house-{time.monotonic_ns()}"
    place.mkdir(mode=0o711)
    server = postgres.start(place)
    house = House(home, server, env)
    try:
        subprocess.run(
            [sys.executable, "-m", "app", "migrate"], cwd=ROOT, env=house.env, check=True, capture_output=True
        )
        for name in ("web", *(f"worker-{number}" for number in range(1, workers + 1))):
            house.start(name)
        await house.answers()
        yield house
    finally:
        house.stop()
        server.release()
        subprocess.run(["rm", "-rf", str(place)], check=True)


class Client:
    """A program that uses the JSON API as a careful one does: it repeats what got no answer, with the same key."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.http = httpx2.AsyncClient(trust_env=False, timeout=20)
        self.token = ""

    async def ask(
        self, method: str, path: str, *, key: str | None = None, within_s: float = 120, **more: Any
    ) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        if key is not None:
            headers["idempotency-key"] = key
        async with asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    answer = await self.http.request(method, f"{self.base}{path}", headers=headers, **more)
                    if answer.status_code not in (409, 429, 500, 502, 503) or (
                        answer.status_code == 409 and key is None
                    ):
                        return answer
                await asyncio.sleep(0.2)

    async def sign_up(self, email: str = "maya@example.org") -> None:
        who = {"email": email, "password": "a long enough password", "name": "Maya"}
        answer = await self.ask("POST", "/api/auth/sign-up", json=who)
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["accessToken"]
        self.who = who

    async def renew(self) -> None:
        """The token lives a quarter of an hour; a long storm needs new ones."""
        answer = await self.ask(
            "POST", "/api/auth/token", json={k: self.who[k] for k in ("email", "password")}
        )
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["accessToken"]

    async def account(self, name: str, platform: str = "tiktok") -> int:
        answer = await self.ask(
            "POST",
            "/api/accounts/sandbox",
            key=f"account-{platform}-{name}",
            json={"platform": platform, "displayName": name},
        )
        assert answer.status_code == 201, answer.text
        return int(answer.json()["account"]["id"])

    async def upload(self, content: bytes, account_id: int, title: str) -> int:
        answer = await self.ask(
            "POST",
            "/api/videos",
            key=f"video-{title}",
            data={"accountId": str(account_id), "title": title},
            files={"file": ("clip.mp4", content, "video/mp4")},
        )
        assert answer.status_code == 201, answer.text
        return int(answer.json()["video"]["id"])

    async def video(self, video_id: int) -> dict[str, Any]:
        answer = await self.ask("GET", f"/api/videos/{video_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["video"]
        return found

    async def posts(self, platform: str = "tiktok") -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/sandbox/ledger?platform={platform}")
        found: list[dict[str, Any]] = answer.json()["posts"]
        return found

    async def close(self) -> None:
        await self.http.aclose()
