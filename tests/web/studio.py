"""The whole web with the simulated world beside it, and people who use it by API and by browser."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from app import config, db, http, main, storage, users
from app.web import pages
from tasks import procrastinate_app
from tests.worker import TestWorker
from tests.world import World, free_port, open_world

OWN = {"sec-fetch-site": "same-origin"}
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@dataclass
class Person:
    """Somebody with an account: `api` speaks with a bearer token, `browser` with a cookie."""

    email: str
    user_id: int
    workspace_id: int
    api: httpx2.AsyncClient
    browser: httpx2.AsyncClient
    csrf: str = ""

    async def enter(self) -> None:
        """Sign in with the browser."""
        answer = await self.browser.post(
            "/sign-in", data={"email": self.email, "password": PASSWORD}, headers=OWN
        )
        assert answer.status_code == 303, answer.text
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.browser.get("/sessions")).text)
        assert found
        self.csrf = found[1]

    async def post(self, path: str, form: dict[str, Any] | None = None, **options: Any) -> httpx2.Response:
        """Send a form of an own page."""
        return await self.browser.post(
            path,
            data={"csrf": self.csrf, **(form or {})},
            headers=OWN | options.pop("headers", {}),
            **options,
        )


class Studio:
    def __init__(self, app: Starlette, world: World, database: str) -> None:
        self.app, self.world = app, world
        self.stack = contextlib.AsyncExitStack()
        procrastinate_app.perform_import_paths()
        self.worker = TestWorker(procrastinate_app, database)

    async def client(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=self.app, client=("203.0.113.7", 40_000))
        return await self.stack.enter_async_context(
            httpx2.AsyncClient(transport=transport, base_url="https://studio.example")
        )

    async def person(self, name: str = "Maya", *, browser: bool = False) -> Person:
        """Sign somebody up. The first one is the operator."""
        email = f"{name.lower()}{next(_numbers)}@example.org"
        api = await self.client()
        answer = await api.post(
            "/api/auth/sign-up", json={"email": email, "password": PASSWORD, "name": name}
        )
        assert answer.status_code == 201, answer.text
        told = answer.json()
        api.headers["authorization"] = f"Bearer {told['accessToken']}"
        person = Person(email, told["user"]["id"], told["workspace"]["id"], api, await self.client())
        if browser:
            await person.enter()
        return person

    async def account(self, person: Person, name: str = "maya.makes") -> int:
        answer = await person.api.post(
            "/api/accounts/sandbox", json={"platform": "tiktok", "displayName": name}
        )
        assert answer.status_code == 201, answer.text
        return int(answer.json()["account"]["id"])

    async def left_behind(self) -> dict[str, int]:
        """Rows, jobs and objects that a refused upload must not leave."""
        async with db.house() as conn:
            left = {
                "videos": int(await db.value(conn, "SELECT count(*) FROM videos")),
                "targets": int(await db.value(conn, "SELECT count(*) FROM targets")),
                "jobs": int(await db.value(conn, "SELECT count(*) FROM procrastinate_jobs")),
                "events": int(await db.value(conn, "SELECT count(*) FROM events WHERE name LIKE 'video.%%'")),
            }
        left["objects"] = len([key async for key in storage.keys("tenants/")])
        return left


NOTHING = {"videos": 0, "targets": 0, "jobs": 0, "events": 0, "objects": 0}


@contextlib.asynccontextmanager
async def open_studio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> AsyncIterator[Studio]:
    port = free_port()
    for name, value in {
        "APP_ENV": "test",
        "ENCRYPTION_KEY": "k" * 32,
        "BACKLOT_HOME": str(tmp_path / "home"),
        "TEMP_DIR": str(tmp_path / "temp"),
        "PORT": str(port),
        "PUBLIC_URL": "https://studio.example",
        "TIKTOK_REDIRECT_URI": f"http://localhost:{port}/accounts/tiktok/callback",
        "FFMPEG_PRESET": "ultrafast",
        "VIDEO_FORMATS": "mp4",
        "SIMULATORS": "on",
        "QUEUE_VIDEO_EDIT_MOST": "none",
        "QUEUE_VIDEO_UPLOAD_MOST": "none",
        "QUEUE_VIDEO_EDIT_FIRST_WAIT_S": "0",
        "QUEUE_VIDEO_UPLOAD_FIRST_WAIT_S": "0",
    }.items():
        monkeypatch.setenv(name, value)
    config.get.cache_clear()
    pages.environment.cache_clear()
    users.passwords.use(users.passwords.CHEAP)
    await db.open_pools(database, pages=True)
    async with open_world(tmp_path / "world", port) as world:
        made = Studio(main.create(), world, database)
        async with made.stack:
            yield made
    await db.close_pools()
    await http.close()
    users.passwords.use(users.passwords.STRONG)
    config.get.cache_clear()
    pages.environment.cache_clear()
