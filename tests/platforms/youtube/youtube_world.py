"""The simulated YouTube on a real port, with a clock that a test can move and facts of the video it can choose."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from youtube_makers import Watch, a_post

from app import http, sandbox
from app.platforms import App, Grant, Handle, Media, Post, Status, Tokens, youtube

GOOD = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "video_codec": "h264",
    "duration_s": 30.0,
    "width_px": 1920,
    "height_px": 1080,
    "fps": 30.0,
}
# What tests change for the whole project, as it stands at first (sheet, sections 0 and 3.2).
FIGURES = {"sessionLifetimeS": 6 * 86_400, "uploadsPerDay": 100, "unitsPerDay": 10_000}


@dataclass
class Account:
    """A connected channel."""

    username: str
    tokens: Tokens

    @property
    def grant(self) -> Grant:
        return self.tokens.grant


@dataclass
class World:
    url: str
    ahead_s: float = 0.0
    facts: dict[str, Any] | None = field(default_factory=lambda: dict(GOOD))
    earlier: dict[str, int] = field(default_factory=dict)

    async def begin_anew(self) -> None:
        """Nothing of earlier tests is met: another Pacific day, no fault, no changed figure, an empty ledger."""
        self.ahead_s, self.facts, self.earlier = self.ahead_s + 90_000, dict(GOOD), {}
        await http.request("DELETE", f"{self.url}/faults")
        await self.tell("/apps", FIGURES)
        self.earlier = {kind: len(await self.ledger(kind)) for kind in ("posts", "rejected")}

    def clock(self) -> float:
        return time.time() + self.ahead_s

    @property
    def app(self) -> App:
        bases = {
            name: f"{self.url}/youtube/{name}" for name in ("auth", "token", "api", "upload", "analytics")
        }
        return App(
            "sandbox", "sandbox-secret", "http://localhost:3000/accounts/youtube/callback", "web",
            bases["auth"], bases["api"], simulated=True, bases=bases,
        )  # fmt: skip

    async def tell(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await http.request("POST", self.url + path, json=body)
        assert answer.status < 300, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def connect(self, name: str = "Maya Makes", **switches: Any) -> Account:
        made = await self.tell("/accounts", {"platform": "youtube", "displayName": name, **switches})
        tokens = await youtube.exchange(self.app, made["code"], youtube.new_verifier())
        (choice,) = await youtube.choices(self.app, tokens)
        return Account(made["account"]["username"], choice.tokens)

    async def change(self, account: Account, **switches: Any) -> None:
        await self.tell("/accounts", {"platform": "youtube", "username": account.username, **switches})

    async def arm(self, fault: str, step: str | None = None, **more: Any) -> None:
        armed = {"platform": "youtube", "fault": fault, **({"step": step} if step else {}), **more}
        await self.tell("/faults", armed)

    async def ledger(self, kind: str = "posts") -> list[dict[str, Any]]:
        asked = {"platform": "youtube", "all": "1"}
        found = (await http.request("GET", f"{self.url}/ledger", params=asked)).json()[kind]
        assert isinstance(found, list)
        return found[self.earlier.get(kind, 0) :]

    async def begin(self, account: Account, media: Media, watch: Watch | None = None, **post: Any) -> Handle:
        on_call = watch.on_call if watch else None
        return await youtube.begin(self.app, account.grant, a_post(**post), media, on_call=on_call)

    async def send(
        self, account: Account, kept: Handle, media: Media, watch: Watch, from_byte: int = 0
    ) -> Handle:
        handle = await youtube.send(
            self.app, account.grant, kept, a_post(), media, from_byte,
            on_progress=watch.on_progress, before_last=watch.before_last, on_call=watch.on_call,
        )  # fmt: skip
        assert handle is not None
        return handle

    async def status(self, account: Account, kept: Handle, media: Media, post: Post | None = None) -> Status:
        return await youtube.status(self.app, account.grant, kept, post or a_post(), media)

    async def settled(self, account: Account, kept: Handle, media: Media, post: Post | None = None) -> Status:
        """The status a minute later, when processing is through."""
        await self.status(account, kept, media, post)
        self.ahead_s += 60
        return await self.status(account, kept, media, post)

    async def fresh(self, account: Account) -> Account:
        tokens = await youtube.refresh(self.app, account.grant, account.tokens.refresh_token)
        return replace(account, tokens=replace(tokens, refresh_token=account.tokens.refresh_token))


@contextmanager
def running(home: Path, settings: sandbox.Settings | None = None) -> Iterator[World]:
    """A world of its own in `home`, served by uvicorn in another thread under /sandbox, as the product has it."""
    listening = socket.create_server(("127.0.0.1", 0))
    world = World(f"http://127.0.0.1:{listening.getsockname()[1]}/sandbox")

    async def probe(_: Path) -> dict[str, Any] | None:
        return None if world.facts is None else dict(world.facts)

    simulated = sandbox.create(
        home, world.url.removesuffix("/sandbox"), probe, clock=world.clock, settings=settings
    )
    server = uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=[Mount("/sandbox", app=simulated)]),
            log_level="critical",
            access_log=False,
            lifespan="off",
        )
    )
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listening.close()
