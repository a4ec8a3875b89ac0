"""A client of the simulated Facebook: the calls of its sheet, one by one, and a place that serves a file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import sandbox_serve
from sandbox_kit import Client, answering, free_port

REDIRECT = "http://127.0.0.1:3000/accounts/facebook/callback"
CLIENT = {"client_id": "sandbox", "client_secret": "sandbox-secret"}
API, VIDEO, UPLOAD = "/facebook/api/v26.0", "/facebook/video/v26.0", "/facebook/upload/video-upload/v26.0"
POSTING = [
    "pages_show_list",
    "pages_read_engagement",
    "pages_manage_posts",
    "pages_manage_engagement",
    "read_insights",
]


def refused(answer: httpx2.Response) -> tuple[int, int | None]:
    """The code and subcode of a refusal in Meta's envelope."""
    error = answer.json()["error"]
    assert answer.status_code >= 400 and error["fbtrace_id"] and error["message"] and error["type"], (
        answer.text
    )
    return error["code"], error.get("error_subcode")


@dataclass
class Page:
    """A connected Page, with the person's token beside its own."""

    world: Client
    id: str
    token: str
    user_token: str
    username: str

    def get(self, path: str, token: str | None = None, **params: Any) -> httpx2.Response:
        return self.world.http.get(f"{API}/{path}", params=params, headers=bearer(token or self.token))

    def post(
        self, path: str, fields: dict[str, Any], token: str | None = None, host: str = API
    ) -> httpx2.Response:
        return self.world.http.post(f"{host}/{path}", json=fields, headers=bearer(token or self.token))

    def switch(self, **switches: Any) -> None:
        body = {"platform": "facebook", "username": self.username, **switches}
        assert self.world.http.post("/accounts", json=body).status_code == 200

    def reel(self) -> str:
        begun = self.post(f"{self.id}/video_reels", {"upload_phase": "start"})
        assert begun.status_code == 200, begun.text
        return str(begun.json()["video_id"])

    def send(
        self, video_id: str, content: bytes, offset: int = 0, size: int | None = None, **headers: str
    ) -> Any:
        sent = {
            "authorization": f"OAuth {self.token}",
            "offset": str(offset),
            "file_size": str(size or len(content)),
        }
        return self.world.http.post(f"{UPLOAD}/{video_id}", content=content, headers=sent | headers)

    def finish(self, video_id: str, **fields: Any) -> httpx2.Response:
        wish = {
            "upload_phase": "finish",
            "video_id": video_id,
            "video_state": "PUBLISHED",
            "description": "Knots",
        }
        return self.post(f"{self.id}/video_reels", wish | fields)

    def posted(self, clip: bytes, **fields: Any) -> str:
        """A Reel of this clip, whole; gives the video's id."""
        video_id = self.reel()
        assert self.send(video_id, clip).status_code == 200
        answer = self.finish(video_id, **fields)
        assert answer.json()["success"] is True, answer.text
        return video_id

    def chunked(
        self, phase: str, host: str = VIDEO, chunk: bytes | None = None, **fields: Any
    ) -> httpx2.Response:
        body = {"upload_phase": phase, **{name: str(value) for name, value in fields.items()}}
        headers, url = bearer(self.token), f"{host}/{self.id}/videos"
        if chunk is None:
            return self.world.http.post(url, data=body, headers=headers)
        return self.world.http.post(url, data=body, files={"video_file_chunk": ("a", chunk)}, headers=headers)

    def status(self, video_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(video_id, fields="status,published,permalink_url,post_id").json()
        return found

    @property
    def taken(self) -> list[dict[str, Any]]:
        """What was published as far as Facebook knew then, also what its checks turned down later."""
        found = self.world.ledger(platform="facebook", all="1")
        return [each for each in found["posts"] + found["rejected"] if each["account"] == self.username]

    @property
    def seen(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.world.ledger(platform="facebook")["posts"]
        return [each for each in found if each["account"] == self.username]


@contextmanager
def one_world(home: Path) -> Iterator[Client]:
    """A world for all tests of a file: each has people of its own, and only moves the clock on."""
    home.mkdir(exist_ok=True)
    port = free_port()
    server = sandbox_serve.server(home, port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    client = answering(home, port)
    try:
        yield client
    finally:
        client.http.close()
        server.should_exit = server.force_exit = True
        thread.join(10)
        asyncio.run(sandbox_serve.close(server))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def token(world: Client, **fields: str) -> httpx2.Response:
    return world.http.post(f"{API}/oauth/access_token", data=CLIENT | fields)


def code(world: Client, **switches: Any) -> dict[str, Any]:
    made = world.http.post("/accounts", json={"platform": "facebook", "displayName": "Studio One"} | switches)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def long_token(world: Client, made: dict[str, Any]) -> str:
    short = token(world, code=made["code"], redirect_uri=REDIRECT).json()["access_token"]
    return str(token(world, grant_type="fb_exchange_token", fb_exchange_token=short).json()["access_token"])


def a_page(world: Client, **switches: Any) -> Page:
    made = code(world, **({"scopes": POSTING} | switches))
    user = long_token(world, made)
    listed = world.http.get(f"{API}/me/accounts", headers=bearer(user)).json()["data"]
    return Page(world, listed[0]["id"], listed[0]["access_token"], user, made["account"]["username"])


@dataclass
class Site:
    """Somebody's web server: a file by Range, or as a test wants it spoilt."""

    url: str
    content: bytes
    kind: str = "video/mp4"
    robots: str = ""
    ranges: bool = True
    redirect: str = ""
    agents: list[str] = field(default_factory=list)


@contextmanager
def site(content: bytes, **spoilt: Any) -> Iterator[Site]:
    found = Site("", content, **spoilt)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            return

        def do_GET(self) -> None:
            found.agents.append(self.headers.get("user-agent", ""))
            if self.path == "/robots.txt":
                self.reply(200 if found.robots else 404, found.robots.encode(), "text/plain", {})
            elif found.redirect:
                self.reply(302, b"", "text/plain", {"Location": found.redirect})
            elif found.ranges and "range" in self.headers:
                first, _, last = self.headers["range"].removeprefix("bytes=").partition("-")
                end = min(int(last) + 1 if last else len(found.content), len(found.content))
                told = f"bytes {first}-{end - 1}/{len(found.content)}"
                self.reply(206, found.content[int(first) : end], found.kind, {"Content-Range": told})
            else:
                self.reply(200, found.content, found.kind, {})

        def reply(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/clip.mp4"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
