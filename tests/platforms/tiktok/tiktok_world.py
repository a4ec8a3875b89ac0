"""The simulated TikTok on a real port, with a clock that a test can move and facts of the video it can choose."""

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
from tiktok_makers import Watch, a_media, a_post, an_app

from app import http, sandbox
from app.platforms import App, Grant, Handle, Media, Status, Tokens, tiktok
from app.sandbox import Settings

GOOD = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "video_codec": "h264",
    "duration_s": 30.0,
    "width_px": 1920,
    "height_px": 1080,
    "fps": 30.0,
}


@dataclass
class Account:
    """A connected creator."""

    username: str
    tokens: Tokens

    @property
    def grant(self) -> Grant:
        return self.tokens.grant


@dataclass
class World:
    url: str
    ahead_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=lambda: dict(GOOD))

    def clock(self) -> float:
        return time.time() + self.ahead_s

    @property
    def app(self) -> App:
        return an_app(f"{self.url}/tiktok")

    async def tell(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await http.request("POST", self.url + path, json=body)
        assert answer.status < 300, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def connect(self, name: str = "Maya Makes", app: App | None = None, **switches: Any) -> Account:
        made = await self.tell("/accounts", {"platform": "tiktok", "displayName": name, **switches})
        tokens = await tiktok.exchange(app or self.app, made["code"], "")
        return Account(made["account"]["username"], tokens)

    async def arm(self, fault: str, step: str | None = None, **more: Any) -> None:
        await self.tell("/faults", {"fault": fault, **({"step": step} if step else {}), **more})

    async def ledger(self) -> list[dict[str, Any]]:
        posts = (await http.request("GET", f"{self.url}/ledger", params={"platform": "tiktok"})).json()[
            "posts"
        ]
        assert isinstance(posts, list)
        return posts

    async def begin(self, account: Account, media: Media, watch: Watch | None = None, **post: Any) -> Handle:
        on_call = watch.on_call if watch else None
        return await tiktok.begin(self.app, account.grant, a_post(**post), media, on_call=on_call)

    async def send(
        self, account: Account, kept: Handle, media: Media, watch: Watch, from_byte: int = 0
    ) -> None:
        await tiktok.send(
            self.app,
            account.grant,
            kept,
            a_post(),
            media,
            from_byte,
            on_progress=watch.on_progress,
            before_last=watch.before_last,
            on_call=watch.on_call,
        )

    async def status(self, account: Account, kept: Handle) -> Status:
        return await tiktok.status(self.app, account.grant, kept, a_post(), a_media(9))

    async def settled(self, account: Account, kept: Handle) -> Status:
        """The status a minute later, when processing and moderation are through."""
        self.ahead_s += 60
        return await self.status(account, kept)

    async def fresh(self, account: Account) -> Account:
        return replace(
            account, tokens=await tiktok.refresh(self.app, account.grant, account.tokens.refresh_token)
        )


@contextmanager
def running(home: Path, settings: Settings | None = None) -> Iterator[World]:
    """A world of its own in `home`, served by uvicorn in another thread under /sandbox, as the product has it."""
    listening = socket.create_server(("127.0.0.1", 0))
    world = World(f"http://127.0.0.1:{listening.getsockname()[1]}/sandbox")

    async def probe(_: Path) -> dict[str, Any]:
        return dict(world.facts)

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
        server.should_exit = True
        thread.join(10)
        listening.close()
