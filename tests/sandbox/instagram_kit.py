"""What a client of the simulated Instagram says and holds, and files that it can fetch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import sandbox_serve
import uvicorn
from sandbox_kit import Client, answering, free_port, made_clip
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

REDIRECT = "http://127.0.0.1:3000/accounts/instagram/callback"
V = "v26.0"
DAY_S = 24 * 3600
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
WORDS = {"media_type": "REELS", "upload_type": "resumable"}


@dataclass
class Account:
    """A connected account: what a client holds after the exchange."""

    world: Client
    username: str
    id: str
    token: str
    root: str = "/instagram/api"

    def call(self, method: str, path: str, token: str = "", **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {token or self.token}"}
        return self.world.http.request(method, f"{self.root}/{V}/{path}", headers=headers, **more)

    def get(self, path: str, **query: Any) -> httpx2.Response:
        return self.call("GET", path, params=query)

    def create(self, **fields: Any) -> httpx2.Response:
        return self.call("POST", f"{self.id}/media", json=fields)

    def made(self, **fields: Any) -> dict[str, Any]:
        answer = self.create(**fields)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def upload(
        self, uri: str, content: bytes, offset: int = 0, size: int | None = None, token: str = ""
    ) -> httpx2.Response:
        headers = {
            "authorization": f"OAuth {token or self.token}",
            "offset": str(offset),
            "file_size": str(len(content) if size is None else size),
        }
        return self.world.http.post(uri, content=content[offset:], headers=headers)

    def state(self, container_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(container_id, fields="id,status_code,status").json()
        return found

    def publish(self, container_id: str) -> httpx2.Response:
        return self.call("POST", f"{self.id}/media_publish", json={"creation_id": container_id})

    def posted(self, clip: bytes, **words: Any) -> str:
        """Post a clip, for an account without `polls`; gives the id of the post."""
        made = self.made(**WORDS, **words)
        assert self.upload(made["uri"], clip).status_code == 200
        answer = self.publish(made["id"])
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def change(self, **switches: Any) -> None:
        body = {"platform": "instagram", "username": self.username, **switches}
        assert self.world.http.post("/accounts", json=body).status_code == 200


def code_of(world: Client, **more: Any) -> tuple[str, str]:
    body = {"platform": "instagram", "displayName": "Studio One", **more}
    made = world.http.post("/accounts", json=body)
    assert made.status_code == 201, made.text
    return made.json()["account"]["username"], made.json()["code"]


def trade(world: Client, code: str, **form: str) -> httpx2.Response:
    """Row 2: the code against a token of an hour."""
    asked = {
        "client_id": "sandbox",
        "client_secret": "sandbox-secret",
        "grant_type": "authorization_code",
        "redirect_uri": REDIRECT,
        "code": code,
    }
    return world.http.post("/instagram/token/oauth/access_token", data=asked | form)


def lengthen(world: Client, token: str, secret: str = "sandbox-secret") -> httpx2.Response:
    query = {"grant_type": "ig_exchange_token", "client_secret": secret, "access_token": token}
    return world.http.get("/instagram/api/access_token", params=query)


def refresh(world: Client, token: str) -> httpx2.Response:
    query = {"grant_type": "ig_refresh_token", "access_token": token}
    return world.http.get("/instagram/api/refresh_access_token", params=query)


def account(world: Client, **more: Any) -> Account:
    """Connected by Instagram Login, with the long token; its containers are finished when their bytes are."""
    username, code = code_of(world, **{"polls": 0, "wrapped": False, **more})
    short = trade(world, code).json()
    return Account(
        world, username, str(short["user_id"]), lengthen(world, short["access_token"]).json()["access_token"]
    )


def facebook(world: Client, path: str, token: str = "", **query: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return world.http.get(f"/instagram/facebook_api/{V}/{path}", headers=headers, params=query)


def person(world: Client, **more: Any) -> tuple[str, str]:
    """A Facebook person's username here, and their token of 60 days."""
    username, code = code_of(world, **{"polls": 0, **more})
    client = {"client_id": "sandbox", "client_secret": "sandbox-secret"}
    short = facebook(world, "oauth/access_token", **client, redirect_uri=REDIRECT, code=code).json()
    long = facebook(
        world,
        "oauth/access_token",
        **client,
        grant_type="fb_exchange_token",
        fb_exchange_token=short["access_token"],
    )
    return username, long.json()["access_token"]


def pages(world: Client, token: str) -> list[dict[str, Any]]:
    fields = "id,name,access_token,tasks,instagram_business_account{id,username}"
    found: list[dict[str, Any]] = facebook(world, "me/accounts", token, fields=fields).json()["data"]
    return found


def error(answer: httpx2.Response) -> tuple[int, int | None]:
    """Code and subcode of a refusal; it must be one."""
    assert answer.status_code in (400, 401, 403, 404, 500), answer.text
    found = answer.json()["error"]
    assert {"message", "type", "code", "is_transient", "fbtrace_id"} <= set(found)
    return found["code"], found.get("error_subcode")


@contextmanager
def served(home: Path) -> Iterator[Client]:
    """A world for a whole module, in a thread of this process."""
    port = free_port()
    server = sandbox_serve.server(home, port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    client = answering(home, port)
    yield client
    client.http.close()
    server.should_exit = server.force_exit = True
    thread.join(10)
    asyncio.run(sandbox_serve.close(server))


def posts(world: Client, who: Account) -> list[dict[str, Any]]:
    """What the ledger holds of this account."""
    return [post for post in world.ledger(platform="instagram")["posts"] if post["account"] == who.username]


def reel(path: Path) -> bytes:
    """Three seconds upright, with the index first, as Instagram wants it."""
    return made_clip(path, *H264, "-movflags", "+faststart", length_s=3, size="180x320")


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """A host with what stands in the folder: `/files/x` well served, `/whole/x` without Range, `/text/x` under a
    wrong type, `/moved/x` elsewhere.
    """

    async def well(request: Request) -> Response:
        path = folder / request.path_params["name"]
        return FileResponse(path) if path.exists() else Response(status_code=404)

    async def whole(request: Request) -> Response:
        kind = "video/mp4" if request.path_params["name"].endswith("mp4") else "image/jpeg"
        return Response((folder / request.path_params["name"]).read_bytes(), media_type=kind)

    async def text(request: Request) -> Response:
        return FileResponse(folder / request.path_params["name"], media_type="text/plain")

    async def moved(request: Request) -> Response:
        return RedirectResponse(f"/files/{request.path_params['name']}")

    routes = [
        Route(f"/{root}/{{name}}", handler)
        for root, handler in (("files", well), ("whole", whole), ("text", text), ("moved", moved))
    ]
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=routes), port=port, log_level="critical", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
