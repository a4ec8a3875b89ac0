"""The web as a caller sees it: the whole app on a fresh database, asked without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from app import config, db, main, users
from app.web import pages

STRANGER = ("203.0.113.7", 40_000)
Client = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Sets the environment of this test; the house reads it on first use. Hashes are cheap."""
    monkeypatch.setenv("APP_ENV", "test")
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ENCRYPTION_KEY", "k" * 32)
    config.get.cache_clear()
    pages.environment.cache_clear()
    users.passwords.use(users.passwords.CHEAP)
    yield monkeypatch
    users.passwords.use(users.passwords.STRONG)
    config.get.cache_clear()
    pages.environment.cache_clear()


@pytest.fixture
async def app(settings: pytest.MonkeyPatch, database: str) -> AsyncIterator[Starlette]:
    """The app with its pools open; its lifespan is not run, so nothing listens."""
    await db.open_pools(database, pages=True)
    yield main.create()
    await db.close_pools()


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[Client]:
    """Makes browsers: each call a new one with its own cookies, at an address of the wide world."""
    opened: list[httpx2.AsyncClient] = []

    def make(
        base_url: str = "https://studio.example",
        peer: tuple[str, int] = STRANGER,
        headers: dict[str, str] | None = None,
        of: Starlette | None = None,
    ) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=of or app, client=peer)
        opened.append(httpx2.AsyncClient(transport=transport, base_url=base_url, headers=headers))
        return opened[-1]

    yield make
    for one in opened:
        await one.aclose()
