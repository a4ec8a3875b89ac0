"""A client that knows the calls of a simulated world, and a clip to post."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import imageio_ffmpeg

POSTING = "/tiktok/v2/post/publish"
REDIRECT = "http://127.0.0.1:3000/accounts/tiktok/callback"
CLIENT = {"client_key": "sandbox", "client_secret": "sandbox-secret"}
WISH = {
    "title": "Three knots",
    "privacy_level": "SELF_ONLY",
    "brand_content_toggle": False,
    "brand_organic_toggle": False,
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Person:
    """A connected creator: what a client holds after the exchange."""

    world: Client
    username: str
    tokens: dict[str, Any]

    def call(self, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.tokens['access_token']}"}
        return self.world.http.post(path, json={} if body is None else body, headers=headers, **more)

    def get(self, path: str, **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.tokens['access_token']}"}
        return self.world.http.get(path, headers=headers, **more)

    def creator_info(self) -> httpx2.Response:
        return self.call(f"{POSTING}/creator_info/query/")

    def init(self, size: int, chunk: int = 0, count: int = 1, **wish: Any) -> httpx2.Response:
        source = {
            "source": "FILE_UPLOAD",
            "video_size": size,
            "chunk_size": chunk or size,
            "total_chunk_count": count,
        }
        return self.call(f"{POSTING}/video/init/", {"post_info": WISH | wish, "source_info": source})

    def draft(self, size: int) -> httpx2.Response:
        source = {"source": "FILE_UPLOAD", "video_size": size, "chunk_size": size, "total_chunk_count": 1}
        return self.call(f"{POSTING}/inbox/video/init/", {"source_info": source})

    def status(self, publish_id: str) -> httpx2.Response:
        return self.call(f"{POSTING}/status/fetch/", {"publish_id": publish_id})

    def state(self, publish_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.status(publish_id).json()["data"]
        return found

    def posted(self, clip: bytes, **wish: Any) -> str:
        """Post a clip in one chunk; gives the publish_id."""
        begun = self.init(len(clip), **wish).json()["data"]
        assert self.world.put(begun["upload_url"], clip).status_code == 201
        return str(begun["publish_id"])


@dataclass
class Client:
    """The outside of one world: its address, its clock, and the calls a tester makes."""

    home: Path
    port: int
    http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.port}/sandbox", timeout=30, trust_env=False
        )

    def later(self, seconds: float) -> None:
        """Move this world's clock forward."""
        clock = self.home / "clock"
        now = float(clock.read_text()) if clock.exists() else 0.0
        fresh = self.home / "clock.new"
        fresh.write_text(str(now + seconds))
        fresh.replace(clock)

    def person(self, name: str = "Maya Makes", **switches: Any) -> Person:
        made = self.http.post("/accounts", json={"platform": "tiktok", "displayName": name, **switches})
        assert made.status_code == 201, made.text
        tokens = self.token(code=made.json()["code"]).json()
        assert "access_token" in tokens, tokens
        return Person(self, made.json()["account"]["username"], tokens)

    def token(self, **form: str) -> httpx2.Response:
        grant = {"grant_type": "authorization_code", "redirect_uri": REDIRECT} if "code" in form else {}
        return self.http.post("/tiktok/v2/oauth/token/", data=CLIENT | grant | form)

    def refresh(self, refresh_token: str) -> httpx2.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token)

    def put(
        self, url: str, chunk: bytes, start: int = 0, total: int | None = None, **headers: str
    ) -> httpx2.Response:
        end, whole = start + len(chunk) - 1, len(chunk) if total is None else total
        sent = {"content-type": "video/mp4", "content-range": f"bytes {start}-{end}/{whole}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.http.put(url, content=chunk, headers=sent)

    def arm(self, fault: str, **more: Any) -> dict[str, Any]:
        armed = self.http.post("/faults", json={"fault": fault, **more})
        assert armed.status_code == 201, armed.text
        found: dict[str, Any] = armed.json()["fault"]
        return found

    def apps(self, **changes: Any) -> None:
        answer = self.http.post("/apps", json=changes)
        assert answer.status_code == 200, answer.text

    def ledger(self, **query: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/ledger", params={"platform": "tiktok", **query}).json()
        return found

    @property
    def posts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ledger()["posts"]
        return found


@dataclass
class Process:
    """A world in a process of its own, to be killed."""

    client: Client
    program: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.program.kill()
        self.program.wait(10)


def answering(home: Path, port: int) -> Client:
    client = Client(home, port)
    until = time.monotonic() + 20
    while True:
        try:
            client.http.get("/faults")
            return client
        except httpx2.ConnectError:
            assert time.monotonic() < until, "the server did not come up"
            threading.Event().wait(0.02)


def made_clip(path: Path, *options: str, length_s: float = 1, size: str = "640x360", rate: int = 25) -> bytes:
    """A made test clip, H.264 in MP4 unless the options say otherwise."""
    source = ["-f", "lavfi", "-i", f"testsrc2=duration={length_s}:size={size}:rate={rate}"]
    codec = options or ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, *codec, str(path)], check=True
    )
    return path.read_bytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
