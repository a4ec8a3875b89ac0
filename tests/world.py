"""The simulated world under a real HTTP server on loopback, and short clips to send into it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import subprocess
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from app import http, media, sandbox
from app.errors import Refused
from app.web import media as web_media


async def probe(path: Path) -> dict[str, Any] | None:
    """What the simulator asks about a file, answered by the product's own media floor."""
    try:
        found = await media.probe(path)
    except Refused:
        return None
    return found.to_json()


def free_port() -> int:
    """One below those that outgoing connections take: such a one may be gone again before it is used."""
    while True:
        port = random.randint(15_000, 31_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class World:
    """The simulator's control desk as a test uses it: arm faults, read the ledger."""

    def __init__(self, base: str) -> None:
        self.base = base

    async def posts(self, platform: str = "tiktok") -> list[dict[str, Any]]:
        answer = await http.request("GET", f"{self.base}/ledger", params={"platform": platform})
        found: list[dict[str, Any]] = answer.json()["posts"]
        return found

    async def ledger(self, platform: str = "tiktok") -> dict[str, Any]:
        answer = await http.request("GET", f"{self.base}/ledger", params={"platform": platform, "all": "1"})
        found: dict[str, Any] = answer.json()
        return found

    async def arm(self, fault: str, **more: Any) -> None:
        answer = await http.request("POST", f"{self.base}/faults", json={"fault": fault, **more})
        assert answer.status == 201, answer.text

    async def allow(self, more: dict[str, Any]) -> None:
        """Change what our registration may do at all platforms; an empty wish changes nothing."""
        answer = await http.request("POST", f"{self.base}/apps", json=more)
        assert answer.status == 200, answer.text

    async def armed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await http.request("GET", f"{self.base}/faults")).json()["faults"]
        return found

    async def clear(self) -> None:
        await http.request("DELETE", f"{self.base}/faults")


@contextlib.asynccontextmanager
async def open_world(home: Path, port: int) -> AsyncIterator[World]:
    world = sandbox.create(
        home, f"http://127.0.0.1:{port}", probe, settings=sandbox.Settings(processing_s=0.2)
    )
    server = uvicorn.Server(
        uvicorn.Config(
            # Beside it the product's own files, which platforms fetch by their address.
            Starlette(routes=[Mount("/sandbox", app=world), Route("/media/{token}", web_media.file)]),
            port=port,
            log_level="critical",
            access_log=False,
            lifespan="off",
        )
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield World(f"http://127.0.0.1:{port}/sandbox")
    finally:
        server.should_exit = True
        await serving
        await world.state.world.close()


@lru_cache(maxsize=16)
def clip(seconds: float = 1.0, size: str = "640x360") -> bytes:
    """A short H.264/AAC clip, made once."""
    argv = [
        str(media.program().path), "-hide_banner", "-loglevel", "error", "-nostdin",
        "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}",
        "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2",
        "-f", "mp4", "-movflags", "frag_keyframe+empty_moov", "pipe:1",
    ]  # fmt: skip
    return subprocess.run(argv, check=True, capture_output=True).stdout
