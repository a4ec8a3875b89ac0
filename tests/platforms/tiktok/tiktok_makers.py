"""A TikTok that answers what a test tells it to, over a real socket, and videos made of nothing but numbers."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from app import http
from app.platforms import App, Call, Grant, Media, Post

A_GRANT = Grant("act.1")
BLOCK = bytes(range(256)) * 256
PIECE_BYTES = 1 << 18
CUT = "cut"


@dataclass
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Scripted:
    """`says[path]` lists the answers in order: `CUT`, or a status and what is said. The last one stays."""

    url: str = ""
    says: dict[str, list[Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def to(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]


async def _answer(world: Scripted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, target, _ = first.split(" ")
            path, _, query = target.partition("?")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            listed = world.says[path]
            told = listed.pop(0) if len(listed) > 1 else listed[0]
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            world.requests.append(Request(method, path, query, headers, body))
            if told == CUT:
                break
            status, said = told
            text = said if isinstance(said, bytes) else json.dumps(said).encode() if said is not None else b""
            kind = "text/html" if text.startswith(b"<") else "application/json"
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n".encode()
                + text
            )
            await writer.drain()
    writer.close()


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    world = Scripted()
    server = await asyncio.start_server(lambda r, w: _answer(world, r, w), "127.0.0.1", 0)
    world.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield world
    finally:
        server.close()
        await http.close()


def an_app(url: str, **changes: Any) -> App:
    fields: dict[str, Any] = {
        "client_key": "sandbox",
        "client_secret": "sandbox-secret",
        "redirect_uri": "http://localhost:3000/accounts/tiktok/callback",
        "app_type": "web",
        "auth_base": url,
        "api_base": url,
        "simulated": True,
    }
    return App(**(fields | changes))


def a_post(**changes: Any) -> Post:
    return Post(**({"title": "Three knots", "privacy_level": "SELF_ONLY"} | changes))


def content(start: int, end: int) -> bytes:
    """The bytes of every synthetic video: byte n is known without the bytes before it."""
    first = start // len(BLOCK)
    return (BLOCK * (end // len(BLOCK) - first + 1))[start - first * len(BLOCK) : end - first * len(BLOCK)]


def sha256_of(size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size, 1 << 20):
        digest.update(content(start, min(start + (1 << 20), size)))
    return digest.hexdigest()


def a_media(
    size: int, read: Callable[[int, int], AsyncIterator[bytes]] | None = None, **changes: Any
) -> Media:
    async def synthetic(start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, PIECE_BYTES):
            yield content(at, min(at + PIECE_BYTES, end))

    fields: dict[str, Any] = {
        "bytes_total": size,
        "sha256": "",
        "content_type": "video/mp4",
        "duration_s": 30.0,
        "width_px": 1920,
        "height_px": 1080,
        "fps": 30.0,
        "read": read or synthetic,
    }
    return Media(**(fields | changes))


@dataclass
class Watch:
    """Everything `send` tells its caller, in order."""

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
