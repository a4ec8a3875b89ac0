"""The simulated world on a real port for the adapters to prove themselves against, and what they are given to post."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route

from app import config, http, sandbox
from app.platforms import App, Grant, Media, Tokens
from app.sandbox import Settings
from tests.platforms.conformance.subjects import Subject
from tests.world import clip

# What the world is told of every file: a clip that each platform takes.
FACTS: dict[str, Any] = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "video_codec": "h264",
    "audio_codec": "aac",
    "duration_s": 30.0,
    "width_px": 1080,
    "height_px": 1920,
    "fps": 30.0,
    "pixel_format": "yuv420p",
    "audio_channels": 2,
    "audio_rate_hz": 48_000,
    "bitrate_kbps": 4000,
}
SMALL_BYTES = 96_000
PIECE_BYTES = 1 << 14


@dataclass
class Account:
    """A connected creator, with every secret that was ever handed out for it."""

    username: str
    display_name: str
    tokens: Tokens
    secrets: list[str] = field(default_factory=list)

    @property
    def grant(self) -> Grant:
        return self.tokens.grant

    def take(self, tokens: Tokens) -> None:
        """Keep renewed tokens; an empty refresh token never replaces one that is there."""
        self.tokens = replace(
            tokens,
            refresh_token=tokens.refresh_token or self.tokens.refresh_token,
            remote_id=tokens.remote_id or self.tokens.remote_id,
            scopes=tokens.scopes or self.tokens.scopes,
            facts=tokens.facts or self.tokens.facts,
        )
        self.secrets += [each for each in (tokens.access_token, tokens.refresh_token) if each]


@dataclass
class World:
    """The simulators' control desk, with a clock that a test moves."""

    root: str
    settings: config.Config
    files: Path
    ahead_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=lambda: dict(FACTS))

    def clock(self) -> float:
        return time.time() + self.ahead_s

    @property
    def url(self) -> str:
        return f"{self.root}/sandbox"

    def app(self, subject: Subject) -> App:
        return subject.adapter.app(self.settings)

    async def tell(self, path: str, body: dict[str, Any], status: tuple[int, ...] = (200, 201)) -> Any:
        answer = await http.request("POST", self.url + path, json=body)
        assert answer.status in status, answer.text
        return answer.json()

    async def arm(self, subject: Subject, fault: str, step: str = "", **more: Any) -> None:
        steps = {"step": step} if step else {}
        await self.tell("/faults", {"fault": fault, "platform": subject.name, **steps, **more})

    async def armed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await http.request("GET", f"{self.url}/faults")).json()["faults"]
        return found

    async def fired(self) -> bool:
        """Whether nothing that was armed is left: each armed fault has hit."""
        return await self.armed() == []

    async def clear(self) -> None:
        await http.request("DELETE", f"{self.url}/faults")

    async def posts(self, subject: Subject, account: Account) -> list[dict[str, Any]]:
        asked = {"platform": subject.name}
        found = (await http.request("GET", f"{self.url}/ledger", params=asked)).json()["posts"]
        return [post for post in found if post["account"] == account.username]

    async def code(self, subject: Subject, name: str = "Maya Makes", **more: Any) -> tuple[str, str]:
        """A new creator's username, and the one-use code of a consent."""
        asked = {"platform": subject.name, "displayName": name, **subject.switches, **more}
        made = await self.tell("/accounts", asked)
        return made["account"]["username"], made["code"]

    async def connect(self, subject: Subject, name: str = "Maya Makes", **more: Any) -> Account:
        username, code = await self.code(subject, name, **more)
        adapter, app = subject.adapter, self.app(subject)
        tokens = await adapter.exchange(app, code, adapter.new_verifier())
        choices = await adapter.choices(app, tokens)
        assert choices, "a consent that covers no account"
        account = Account(username, name, choices[0].tokens, [code, app.client_secret])
        account.take(tokens)
        account.take(choices[0].tokens)
        return account

    def link(self, content: bytes, ending: str) -> str:
        name = hashlib.sha256(content).hexdigest()[:16] + ending
        path = self.files / name
        if not path.exists():
            path.write_bytes(content)
        return f"{self.root}/files/{name}"


async def browse(
    subject: Subject, world: World, verifier: str, *, decision: str = "approve", leave: int = 0
) -> dict[str, str]:
    """A person opens the consent page, unticks the last `leave` boxes and presses a button; what comes back."""
    app = world.app(subject)
    url = subject.adapter.authorize_url(app, "the state", verifier)
    page = await http.request("GET", url)
    assert page.status == 200, page.text
    boxes = re.findall(r'<input type="checkbox" name="([^"]+)" value="([^"]+)" checked', unescape(page.text))
    fields = [("creator", "new"), ("display_name", "Maya Makes"), ("decision", decision)]
    body = urlencode([*fields, *boxes[: len(boxes) - leave]]).encode()
    answer = await http.request(
        "POST", url, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status in (302, 303), answer.text
    back = urlsplit(answer.headers["location"])
    assert back._replace(query="", fragment="").geturl() == app.redirect_uri
    brought = dict(parse_qsl(back.query, strict_parsing=True))
    assert brought.pop("state") == "the state"
    return brought


@lru_cache(maxsize=4)
def film(size_bytes: int = SMALL_BYTES) -> bytes:
    """A real clip, filled up with a box that players skip."""
    content = clip(0.2, "160x288")
    room = size_bytes - len(content)
    assert room >= 8, len(content)
    return (
        content + room.to_bytes(4, "big") + b"free" + bytes(i % 251 for i in range(256)) * (room // 256 + 1)
    )


@lru_cache(maxsize=8)
def picture(colour: tuple[int, int, int] = (200, 40, 40), size_px: tuple[int, int] = (1080, 1920)) -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", size_px, colour).save(kept, "JPEG", quality=60)
    return kept.getvalue()


class Torn(Exception):
    """The sender's process ended in the middle of its bytes."""


def a_media(world: World, size_bytes: int = SMALL_BYTES, *, tear_at: list[int] | None = None) -> Media:
    """A video to post. Reading past the first of `tear_at` takes it off the list and tears."""
    content = film(size_bytes)[:size_bytes]

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, PIECE_BYTES):
            if tear_at and at >= tear_at[0]:
                tear_at.pop(0)
                raise Torn
            yield content[at : min(at + PIECE_BYTES, end)]

    async def link() -> str:
        return world.link(content, ".mp4")

    return Media(
        bytes_total=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content_type="video/mp4",
        duration_s=FACTS["duration_s"],
        width_px=FACTS["width_px"],
        height_px=FACTS["height_px"],
        fps=FACTS["fps"],
        read=read,
        link=link,
        cover=_cover(world),
    )


def a_picture(world: World, *more: Media, colour: tuple[int, int, int] = (200, 40, 40)) -> Media:
    """A JPEG to post; with `more` it is the first of a carousel."""
    return replace(_picture(world, picture(colour, (1080, 1350))), more=more)


def _cover(world: World) -> Media:
    return _picture(world, picture())


def _picture(world: World, content: bytes) -> Media:

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        yield content[start:end]

    async def link() -> str:
        return world.link(content, ".jpg")

    width_px, height_px = Image.open(io.BytesIO(content)).size
    digest = hashlib.sha256(content).hexdigest()
    return Media(len(content), digest, "image/jpeg", 0.0, width_px, height_px, 0.0, read, link)


@contextmanager
def running(home: Path) -> Iterator[World]:
    """One world for a whole run, served by uvicorn in another thread as the product has it; files stand beside it."""
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

    async def probe(path: Path) -> dict[str, Any]:
        return dict(world.facts)

    async def file(request: Request) -> Response:
        return FileResponse(files / request.path_params["name"])

    simulated = sandbox.create(
        home / "world", root, probe, clock=world.clock, settings=Settings(accounts_per_day=100_000)
    )
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
