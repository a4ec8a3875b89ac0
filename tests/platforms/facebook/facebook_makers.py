"""A Facebook that answers what a test tells it to, over a real socket, and files made of nothing but numbers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from app import http
from app.platforms.base import App, Call, Grant, Media, Post

BLOCK = bytes(range(256)) * 256
PIECE_BYTES = 1 << 16
CUT = "cut"
PAGE = "101000000000001"
SCOPES = ("pages_show_list", "pages_read_engagement", "pages_manage_posts")


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
    """`says[path]` lists the answers in order: `CUT`, or a status, what is said and headers. The last one stays."""

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
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            listed = world.says[path]
            told = listed.pop(0) if len(listed) > 1 else listed[0]
            world.requests.append(Request(method, path, query, headers, body))
            if told == CUT:
                break
            status, said, *more = told
            text = said if isinstance(said, bytes) else json.dumps(said).encode()
            kind = "text/html" if text.startswith(b"<") else "application/json"
            extra = "".join(f"{name}: {value}\r\n" for name, value in (more[0] if more else {}).items())
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(text)}\r\n\r\n".encode()
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
    """Every host under one address; `upload` under a path of its own, as the simulator has it."""
    fields: dict[str, Any] = {
        "client_key": "sandbox",
        "client_secret": "sandbox-secret",
        "redirect_uri": "http://localhost:3000/accounts/facebook/callback",
        "app_type": "web",
        "auth_base": f"{url}/auth",
        "api_base": f"{url}/api",
        "simulated": True,
        "version": "v26.0",
        "bases": {
            "auth": f"{url}/auth",
            "api": f"{url}/api",
            "video": f"{url}/video",
            "upload": f"{url}/upload",
        },
    }
    return App(**(fields | changes))


def a_grant(**changes: Any) -> Grant:
    return Grant(**({"token": "EAAPpagetoken", "remote_id": PAGE, "scopes": SCOPES} | changes))


def refusal(
    code: int, subcode: int | None = None, message: str = "It cannot be.", **more: Any
) -> dict[str, Any]:
    """Meta's envelope as the sheet's section 4 records it."""
    error = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1b2"}
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"error": error | more}


def a_post(**changes: Any) -> Post:
    return Post(**({"description": "Three knots"} | changes))


def content(start: int, end: int) -> bytes:
    """The bytes of every synthetic video: byte n is known without the bytes before it."""
    first = start // len(BLOCK)
    return (BLOCK * (end // len(BLOCK) - first + 1))[start - first * len(BLOCK) : end - first * len(BLOCK)]


def sha256_of(size: int) -> str:
    return hashlib.sha256(content(0, size)).hexdigest()


def a_media(
    size: int = 100_000, read: Callable[[int, int], AsyncIterator[bytes]] | None = None, **changes: Any
) -> Media:
    """An upright clip that is good for a Reel, unless changed."""

    async def synthetic(start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, PIECE_BYTES):
            yield content(at, min(at + PIECE_BYTES, end))

    fields: dict[str, Any] = {
        "bytes_total": size,
        "sha256": "",
        "content_type": "video/mp4",
        "duration_s": 30.0,
        "width_px": 1080,
        "height_px": 1920,
        "fps": 30.0,
        "read": read or synthetic,
    }
    return Media(**(fields | changes))


def a_picture(**changes: Any) -> Media:
    """A white PNG of 4 × 5 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + b"\xff" * 4 for _ in range(5))
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 5, 8, 0, 0, 0, 0))
    whole += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        yield whole[start:end]

    fields = {
        "size": len(whole),
        "read": read,
        "sha256": hashlib.sha256(whole).hexdigest(),
        "content_type": "image/png",
        "duration_s": 0.0,
        "width_px": 4,
        "height_px": 5,
    }
    return a_media(**(fields | changes))


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
