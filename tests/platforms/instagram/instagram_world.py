"""The simulated Instagram on a real port, with a clock that a test moves, and files beside it that it can fetch."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route

from app import config, http, sandbox
from app.platforms import App, Call, Grant, Handle, Media, Post, Status, Tokens, instagram

GOOD: dict[str, Any] = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "video_codec": "h264",
    "duration_s": 30.0,
    "width_px": 1080,
    "height_px": 1920,
    "fps": 30.0,
}
FILM = bytes(range(256)) * 400
PIECE_BYTES = 1 << 14


@dataclass
class Account:
    """A connected account."""

    username: str
    tokens: Tokens

    @property
    def grant(self) -> Grant:
        return self.tokens.grant


@dataclass
class Watch:
    """Everything that is told while a post is sent, in order."""

    told: list[str] = field(default_factory=list)
    progress: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    async def on_progress(self, at_byte: int) -> None:
        self.progress.append(at_byte)

    async def before_last(self) -> None:
        self.told.append("before last")

    def on_call(self, call: Call) -> None:
        self.calls.append(call)
        self.told.append(f"{call.step} {call.outcome}")

    def steps(self, name: str) -> int:
        return sum(call.step == name for call in self.calls)


@dataclass
class World:
    root: str
    settings: config.Config
    files: Path
    login: str = "instagram"
    ahead_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=lambda: dict(GOOD))

    def clock(self) -> float:
        return time.time() + self.ahead_s

    @property
    def url(self) -> str:
        return f"{self.root}/sandbox"

    @property
    def app(self) -> App:
        found = instagram.app(self.settings)
        if self.login == "instagram":
            return found
        return replace(found, auth_base=found.bases["facebook_auth"], api_base=found.bases["facebook_api"])

    async def tell(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await http.request("POST", self.url + path, json=body)
        assert answer.status < 300, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def code(self, name: str = "Studio One", **switches: Any) -> tuple[str, str]:
        made = await self.tell("/accounts", {"platform": "instagram", "displayName": name, **switches})
        return made["account"]["username"], made["code"]

    async def connect(self, name: str = "Studio One", **switches: Any) -> Account:
        """An account connected by the way of signing in that this world stands on."""
        username, code = await self.code(name, **switches)
        tokens = await instagram.exchange(self.app, code, "")
        choices = await instagram.choices(self.app, tokens)
        return Account(username, choices[0].tokens)

    async def change(self, account: Account, **switches: Any) -> None:
        await self.tell("/accounts", {"platform": "instagram", "username": account.username, **switches})

    async def arm(self, fault: str, step: str | None = None, **more: Any) -> None:
        steps = {"step": step} if step else {}
        await self.tell("/faults", {"fault": fault, "platform": "instagram", **steps, **more})

    async def fired(self) -> bool:
        return (await http.request("GET", f"{self.url}/faults")).json()["faults"] == []

    async def ledger(self) -> list[dict[str, Any]]:
        found = (await http.request("GET", f"{self.url}/ledger", params={"platform": "instagram"})).json()
        posts: list[dict[str, Any]] = found["posts"]
        return posts

    async def count(self, step: str) -> int:
        asked = {"platform": "instagram", "all": "1"}
        found = (await http.request("GET", f"{self.url}/ledger", params=asked)).json()
        return int(found["calls"].get(step, 0))

    async def begin(self, account: Account, post: Post, media: Media, watch: Watch | None = None) -> Handle:
        on_call = watch.on_call if watch else None
        return await instagram.begin(self.app, account.grant, post, media, on_call=on_call)

    async def send(
        self,
        account: Account,
        kept: Handle,
        post: Post,
        media: Media,
        watch: Watch | None = None,
        from_byte: int = 0,
    ) -> Handle | None:
        watch = watch or Watch()
        return await instagram.send(
            self.app,
            account.grant,
            kept,
            post,
            media,
            from_byte,
            on_progress=watch.on_progress,
            before_last=watch.before_last,
            on_call=watch.on_call,
        )

    async def status(
        self, account: Account, kept: Handle, post: Post, media: Media, since: datetime | None = None
    ) -> Status:
        return await instagram.status(self.app, account.grant, kept, post, media, since=since)

    async def posted(self, account: Account, post: Post, media: Media) -> Handle:
        """Begin and send in one go, for an account whose containers are finished at once."""
        kept = await self.begin(account, post, media)
        sent = await self.send(account, kept, post, media)
        assert sent is not None
        return sent

    def link(self, content: bytes, ending: str) -> str:
        name = hashlib.sha256(content).hexdigest()[:16] + ending
        (self.files / name).write_bytes(content)
        return f"{self.root}/files/{name}"

    def film(self, content: bytes = FILM, *, linked: bool = True, **changes: Any) -> Media:
        async def read(start: int, end: int) -> AsyncIterator[bytes]:
            for at in range(start, end, PIECE_BYTES):
                yield content[at : min(at + PIECE_BYTES, end)]

        async def link() -> str:
            return self.link(content, ".mp4")

        fields: dict[str, Any] = {
            "bytes_total": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "content_type": "video/mp4",
            "duration_s": 30.0,
            "width_px": 1080,
            "height_px": 1920,
            "fps": 30.0,
            "read": read,
            "link": link if linked else None,
        }
        return Media(**(fields | changes))

    def picture(
        self, number: int = 0, *, width_px: int = 1080, height_px: int = 1080, **changes: Any
    ) -> Media:
        content = jpeg(width_px, height_px, number)

        async def link() -> str:
            return self.link(content, ".jpg")

        fields: dict[str, Any] = {
            "content_type": "image/jpeg",
            "duration_s": 0.0,
            "width_px": width_px,
            "height_px": height_px,
            "fps": 0.0,
            "link": link,
        }
        return self.film(content, **(fields | changes))


def jpeg(width_px: int, height_px: int, number: int = 0) -> bytes:
    """As much of a JPEG as says its size; each number makes other bytes."""
    said = b"\xff\xfe\x00\x06" + number.to_bytes(4, "big")
    frame = b"\xff\xc0\x00\x0b\x08" + height_px.to_bytes(2, "big") + width_px.to_bytes(2, "big")
    return b"\xff\xd8" + said + frame + b"\x01\x01\x11\x00" + bytes(200) + b"\xff\xd9"


async def mine(world: World, account: Account) -> list[dict[str, object]]:
    return [post for post in await world.ledger() if post["account"] == account.username]


async def goes_out_once(world: World, account: Account, media: Media) -> dict[str, object]:
    posts = await mine(world, account)
    assert [post["sha256"] for post in posts] == [media.sha256]
    return posts[0]


@contextmanager
def running(home: Path) -> Iterator[World]:
    """A world served by uvicorn in another thread under /sandbox, as the product has it, with files beside it."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    root = f"http://127.0.0.1:{port}"
    files = home / "files"
    files.mkdir(parents=True)
    settings = config.load(
        {
            "PORT": str(port),
            "BACKLOT_HOME": str(home / "house"),
            "TEMP_DIR": str(home / "temp"),
            "SANDBOX_URL": f"{root}/sandbox",
            "SIMULATORS": "on",
        }
    )
    world = World(root, settings, files)

    async def probe(_: Path) -> dict[str, Any]:
        return dict(world.facts)

    async def file(request: Request) -> Response:
        return FileResponse(files / request.path_params["name"])

    simulated = sandbox.create(home / "world", root, probe, clock=world.clock)
    routes = [Mount("/sandbox", app=simulated), Route("/files/{name}", file, methods=["GET", "HEAD"])]
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=routes), log_level="critical", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield world
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
