"""The simulated Facebook on a real port, with a clock that a test can move and facts of the video it can choose."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from facebook_makers import Watch, a_media, a_picture, a_post, an_app, sha256_of
from starlette.applications import Starlette
from starlette.routing import Mount

from app import http, sandbox
from app.errors import HouseError
from app.platforms import facebook
from app.platforms.base import App, Choice, Grant, Handle, Media, Status, Tokens

DAY_S = 24 * 3600.0
KINDS = ["reel", "video", "image"]
GOOD = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "video_codec": "h264",
    "duration_s": 30.0,
    "width_px": 1080,
    "height_px": 1920,
    "fps": 30.0,
}


@dataclass
class Account:
    """A connected Page."""

    username: str
    tokens: Tokens
    choices: list[Choice]

    @property
    def grant(self) -> Grant:
        return self.tokens.grant


@dataclass
class World:
    url: str
    ahead_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def clock(self) -> float:
        return time.time() + self.ahead_s

    async def anew(self) -> None:
        self.ahead_s += DAY_S + 60
        self.facts = dict(GOOD)
        await http.request("DELETE", f"{self.url}/faults")

    @property
    def app(self) -> App:
        return an_app(f"{self.url}/facebook")

    async def tell(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await http.request("POST", self.url + path, json=body)
        assert answer.status < 300, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def connect(self, name: str = "Studio One", **more: Any) -> Account:
        made = await self.tell("/accounts", {"platform": "facebook", "displayName": name, **more})
        found = await facebook.exchange(self.app, made["code"], "")
        choices = await facebook.choices(self.app, found)
        return Account(made["account"]["username"], choices[0].tokens, choices)

    async def switch(self, account: Account, **switches: Any) -> None:
        await self.tell("/accounts", {"platform": "facebook", "username": account.username, **switches})

    async def arm(self, fault: str, step: str | None = None, **more: Any) -> None:
        await self.tell(
            "/faults", {"fault": fault, "platform": "facebook", **({"step": step} if step else {}), **more}
        )

    async def fired(self) -> bool:
        """Whether nothing that was armed is left: each armed fault has hit."""
        return (await http.request("GET", f"{self.url}/faults")).json()["faults"] == []

    async def posts(self, account: Account) -> list[dict[str, Any]]:
        return [each for each in (await self.ledger())["posts"] if each["account"] == account.username]

    async def ledger(self) -> dict[str, Any]:
        asked = {"platform": "facebook", "all": "1"}
        found: dict[str, Any] = (await http.request("GET", f"{self.url}/ledger", params=asked)).json()
        return found

    async def begin(self, account: Account, media: Media, watch: Watch | None = None, **post: Any) -> Handle:
        on_call = watch.on_call if watch else None
        return await facebook.begin(self.app, account.grant, a_post(**post), media, on_call=on_call)

    async def send(
        self,
        account: Account,
        kept: Handle,
        media: Media,
        watch: Watch,
        from_byte: int = 0,
        **post: Any,
    ) -> Handle | None:
        return await facebook.send(
            self.app,
            account.grant,
            kept,
            a_post(**post),
            media,
            from_byte,
            on_progress=watch.on_progress,
            before_last=watch.before_last,
            on_call=watch.on_call,
        )

    async def status(self, account: Account, kept: Handle, media: Media) -> Status:
        return await facebook.status(self.app, account.grant, kept, a_post(), media)

    async def settled(self, account: Account, kept: Handle, media: Media) -> Status:
        """The status a minute later, when processing is through."""
        self.ahead_s += 60
        return await self.status(account, kept, media)

    async def fresh(self, account: Account) -> Account:
        tokens = await facebook.refresh(self.app, account.grant, account.tokens.refresh_token)
        return replace(account, tokens=tokens)


async def failure(call: Any) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await call
    return caught.value


def media_of(kind: str) -> Media:
    return a_picture() if kind == "image" else a_media(100_000)


async def seen_once(world: World, account: Account, media: Media) -> dict[str, Any]:
    """The one post of this Page that the world has seen, byte for byte ours."""
    (entry,) = await world.posts(account)
    whole = media.sha256 or sha256_of(media.bytes_total)
    assert (entry["bytes"], entry["sha256"]) == (media.bytes_total, whole)
    return entry


@contextmanager
def running(home: Path) -> Iterator[World]:
    """A world of its own in `home`, served by uvicorn in another thread under /sandbox, as the product has it."""
    listening = socket.create_server(("127.0.0.1", 0))
    world = World(f"http://127.0.0.1:{listening.getsockname()[1]}/sandbox")

    async def probe(_: Path) -> dict[str, Any] | None:
        return dict(world.facts) or None

    simulated = sandbox.create(home, world.url.removesuffix("/sandbox"), probe, clock=world.clock)
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
