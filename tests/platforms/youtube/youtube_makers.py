"""A YouTube that answers what a test tells it to, over a real socket, and videos made of nothing but numbers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app import http
from app.platforms import App, Call, Grant, Handle, Media, Post

BLOCK = bytes(range(256)) * 256
PIECE_BYTES = 1 << 18
CHUNK = 8_388_608
CUT = "cut"
SESSION = "PUT /upload/youtube/v3/videos"
START = "POST /upload/youtube/v3/videos"
VIDEOS = "GET /youtube/v3/videos"
CHANNELS = "GET /youtube/v3/channels"
TOKEN = "POST /token"
REVOKE = "POST /revoke"
THUMBNAIL = "POST /upload/youtube/v3/thumbnails/set"
ENDS = datetime.now(UTC) + timedelta(days=6)
VIDEO = {"kind": "youtube#video", "id": "a1B2c3D4e5F"}


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


@dataclass(frozen=True)
class Says:
    """One answer: a status, what is said, and further headers.."""

    status: int
    said: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CutAfter:
    """The line breaks once so many bytes of the body have come."""

    reads: int


@dataclass
class Scripted:
    """`says["METHOD /path"]` lists the answers in order: `CUT`, a CutAfter or a Says. The last one stays."""

    url: str = ""
    says: dict[str, list[Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def to(self, address: str) -> list[Request]:
        method, path = address.split(" ")
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    @property
    def ranges(self) -> list[str]:
        return [request.headers["content-range"] for request in self.to(SESSION)]

    @property
    def session(self) -> Handle:
        address = f"{self.url}/upload/youtube/v3/videos?uploadType=resumable&upload_id=verysecret"
        return Handle("yt-1", address, ENDS, "video")


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
            listed = world.says[f"{method} {path}"]
            told = listed.pop(0) if len(listed) > 1 else listed[0]
            size = int(headers.get("content-length", "0"))
            body = await reader.readexactly(min(size, told.reads) if isinstance(told, CutAfter) else size)
            world.requests.append(Request(method, path, query, headers, body))
            if isinstance(told, CutAfter) or told == CUT:
                break
            said = told.said
            text = said if isinstance(said, bytes) else json.dumps(said).encode() if said is not None else b""
            kind = "text/html" if text.startswith(b"<") else "application/json"
            more = "".join(f"{name}: {value}\r\n" for name, value in told.headers.items())
            more += f"Content-Type: {kind}\r\nContent-Length: {len(text)}\r\n"
            writer.write(f"HTTP/1.1 {told.status} X\r\n{more}\r\n".encode() + text)
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


def refused(status: int, reason: str, message: str = "No.", **headers: str) -> Says:
    """A no of the Data API, in the shape of the sheet's section 5."""
    error = {"message": message, "domain": "youtube.video", "reason": reason}
    return Says(status, {"error": {"code": status, "message": message, "errors": [error]}}, headers)


def has(received: int) -> Says:
    """308: so many bytes are stored."""
    return Says(308, None, {"Range": f"bytes=0-{received - 1}"} if received else {})


def an_app(url: str, **changes: Any) -> App:
    fields: dict[str, Any] = {
        "client_key": "sandbox",
        "client_secret": "sandbox-secret",
        "redirect_uri": "http://localhost:3000/accounts/youtube/callback",
        "app_type": "web",
        "auth_base": url,
        "api_base": url,
        "simulated": True,
        "bases": {"auth": url, "token": url, "api": url, "upload": url},
    }
    return App(**(fields | changes))


def a_grant(token: str = "ya29.demo") -> Grant:
    return Grant(token, "UCdemo0000000000000000aa")


def a_post(**changes: Any) -> Post:
    return Post(**({"title": "Three knots", "privacy_level": "unlisted"} | changes))


def content(start: int, end: int) -> bytes:
    """The bytes of every synthetic video: byte n is known without the bytes before it."""
    first = start // len(BLOCK)
    return (BLOCK * (end // len(BLOCK) - first + 1))[start - first * len(BLOCK) : end - first * len(BLOCK)]


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
