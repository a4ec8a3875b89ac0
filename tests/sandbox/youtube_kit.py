"""A client of the simulated YouTube: the calls of its sheet, one by one."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import sandbox_serve
import uvicorn
from sandbox_kit import Client, answering, free_port

AUTH = "https://www.googleapis.com/auth/"
UPLOAD, READ, ALL = f"{AUTH}youtube.upload", f"{AUTH}youtube.readonly", f"{AUTH}youtube"
REPORTS = f"{AUTH}yt-analytics.readonly"
REDIRECT = "http://127.0.0.1:3000/accounts/youtube/callback"
CLIENT = {"client_id": "sandbox", "client_secret": "sandbox-secret"}
API, SENDING = "/youtube/api/youtube/v3", "/youtube/upload/upload/youtube/v3"
STEP = 262_144
SNIPPET = {"title": "Three knots", "description": "Two metres of rope.", "categoryId": "26"}
STATUS = {"privacyStatus": "unlisted", "selfDeclaredMadeForKids": False}


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


@contextmanager
def still(home: Path, stop: Callable[[uvicorn.Server, threading.Thread], None]) -> Iterator[Client]:
    """One world for many refusals, which leave nothing behind in it."""
    port = free_port()
    server = sandbox_serve.server(home, port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    client = answering(home, port)
    yield client
    client.http.close()
    stop(server, thread)


@dataclass
class Channel:
    """A connected channel: what a client holds after the exchange."""

    world: Client
    username: str
    tokens: dict[str, Any]

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens['access_token']}"}

    def get(self, path: str, **params: str) -> httpx2.Response:
        return self.world.http.get(f"{API}/{path}", params=params, headers=self.bearer)

    def video(self, video_id: str, part: str = "status,processingDetails,snippet") -> dict[str, Any]:
        (found,) = self.get("videos", part=part, id=video_id).json()["items"]
        assert isinstance(found, dict)
        return found

    def start(
        self, size: int | None, snippet: dict[str, Any] | None = None, status: dict[str, Any] | None = None,
        **headers: str,
    ) -> httpx2.Response:  # fmt: skip
        length = {} if size is None else {"x-upload-content-length": str(size)}
        return self.world.http.post(
            f"{SENDING}/videos",
            params={"uploadType": "resumable", "part": "snippet,status"},
            json={"snippet": {**SNIPPET, **(snippet or {})}, "status": {**STATUS, **(status or {})}},
            headers=self.bearer | {"x-upload-content-type": "video/mp4"} | length | headers,
        )

    def session(self, size: int | None, **words: Any) -> str:
        begun = self.start(size, **words)
        assert begun.status_code == 200 and begun.content == b"", begun.text
        return str(begun.headers["location"])

    def put(self, url: str, chunk: bytes, start: int = 0, total: int | str | None = None) -> httpx2.Response:
        whole = len(chunk) if total is None else total
        ranged = {"content-range": f"bytes {start}-{start + len(chunk) - 1}/{whole}"}
        return self.world.http.put(url, content=chunk, headers=self.bearer | ranged)

    def probe(self, url: str, total: int | str = "*") -> httpx2.Response:
        ranged = {"content-range": f"bytes */{total}", "content-length": "0"}
        return self.world.http.put(url, headers=self.bearer | ranged)

    def posted(self, clip: bytes, **words: Any) -> str:
        """Upload a clip in one call; gives the video's id."""
        answer = self.put(self.session(len(clip), **words), clip)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def thumbnail(self, video_id: str, picture: bytes, kind: str = "image/jpeg") -> httpx2.Response:
        return self.world.http.post(
            f"{SENDING}/thumbnails/set",
            params={"videoId": video_id},
            content=picture,
            headers=self.bearer | {"content-type": kind},
        )


def exchange(world: Client, code: str, **form: str) -> httpx2.Response:
    grant = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code": code}
    return world.http.post("/youtube/token/token", data=CLIENT | grant | form)


def refresh(world: Client, refresh_token: str, **form: str) -> httpx2.Response:
    grant = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return world.http.post("/youtube/token/token", data=CLIENT | grant | form)


def a_channel(world: Client, name: str = "Maya Makes", **switches: Any) -> Channel:
    made = world.http.post("/accounts", json={"platform": "youtube", "displayName": name, **switches})
    assert made.status_code == 201, made.text
    tokens = exchange(world, made.json()["code"]).json()
    assert "access_token" in tokens, tokens
    return Channel(world, made.json()["account"]["username"], tokens)


def reason(answer: httpx2.Response) -> tuple[int, str]:
    """Status and reason of a refusal, in the one shape this API says no in."""
    error = answer.json()["error"]
    assert error["code"] == answer.status_code and error["errors"][0]["message"] == error["message"]
    return answer.status_code, str(error["errors"][0]["reason"])


def stored(answer: httpx2.Response) -> int:
    """How many bytes a 308 says are stored."""
    assert answer.status_code == 308, answer.text
    said = answer.headers.get("range")
    return int(said.removeprefix("bytes=0-")) + 1 if said else 0
