"""A signed-in browser without a browser: cookie, token against forged requests, and the resumable upload."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2

OWN = {"sec-fetch-site": "same-origin"}


class Browser:
    def __init__(self, base: str) -> None:
        self.base = base
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self.http = httpx2.AsyncClient(base_url=base, trust_env=False, timeout=120, limits=limits)
        self.csrf = ""

    async def sign_up(self) -> None:
        form = {"email": "bench@example.org", "password": "a long enough password", "name": "Bench"}
        answer = await self.http.post("/sign-up", data=form, headers=OWN)
        assert answer.status_code == 303, answer.text
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.http.get("/sessions")).text)
        assert found
        self.csrf = found[1]

    async def upload(self, path: Path) -> str:
        """Send a file as the page's script does; gives the address of its video."""
        size = path.stat().st_size
        headers = {**OWN, "tus-resumable": "1.0.0", "x-csrf-token": self.csrf}
        opened = await self.http.post("/uploads", headers={**headers, "upload-length": str(size)})
        assert opened.status_code == 201, opened.text

        async def pieces() -> AsyncIterator[bytes]:
            with path.open("rb") as file:
                while piece := file.read(1024 * 1024):
                    yield piece

        sent = await self.http.patch(
            opened.headers["location"],
            content=pieces(),
            headers={
                **headers,
                "upload-offset": "0",
                "content-type": "application/offset+octet-stream",
                "content-length": str(size),
            },
        )
        assert sent.status_code == 204, sent.text
        return str(sent.headers["upload-video"])
