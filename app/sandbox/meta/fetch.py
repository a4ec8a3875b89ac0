"""Fetching a file by its address as Meta does: over Range requests, with no redirect, when robots.txt allows it.

Instagram sheet, section 4.2 (Range, no warm-up, right type); facebook sheet, section 3.1, step 2 (`file_url`).
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

import httpx2

AGENT = "facebookexternalhit/1.1"
FETCH_S = 60.0
TOTAL = re.compile(r"^bytes \d+-\d+/(\d+)$")


@dataclass(frozen=True)
class Fetched:
    bytes: int
    sha256: str
    content_type: str


class Unfetchable(Exception):
    """The file cannot be had; the message is for people, `reason` for the platform's choice of a code.

    `address`: not an address we fetch. `robots`: robots.txt forbids it. `unreachable`: no answer or a bad one.
    `range`: the host ignores Range. `type`: another content type. `size`: larger than allowed.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def fetch(
    url: str,
    into: Path,
    *,
    most_bytes: int,
    types: tuple[str, ...],
    trust: Path | None = None,
    robots: bool = True,
    needs_range: bool = True,
) -> Fetched:
    """Write what stands at `url` into a file; raises Unfetchable and leaves nothing behind.

    The first request asks for one byte, so a host that ignores Range is found before anything is taken.
    `trust` is a CA file for https; http is fetched too.
    """
    _checked(url)
    tls = ssl.create_default_context(cafile=trust)
    try:
        async with httpx2.AsyncClient(
            trust_env=False,
            verify=tls,
            timeout=FETCH_S,
            headers={"user-agent": AGENT, "accept-encoding": "identity"},
        ) as client:
            if robots and not await _allowed(client, url):
                raise Unfetchable("robots", f"robots.txt of {urlsplit(url).hostname} forbids {AGENT}.")
            total = await _total(client, url, needs_range)
            if total is not None and total > most_bytes:
                raise Unfetchable("size", f"The file has {total} bytes.")
            return await _taken(client, url, into, most_bytes, types, total)
    except httpx2.HTTPError as cause:
        raise Unfetchable("unreachable", "The file could not be fetched from the address.") from cause


def _checked(url: str) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        fine = False
    if not fine or not url.isascii() or " " in url:
        raise Unfetchable("address", "The address must be http or https, in US-ASCII, without a user name.")


async def _allowed(client: httpx2.AsyncClient, url: str) -> bool:
    parts = urlsplit(url)
    answer = await client.get(f"{parts.scheme}://{parts.netloc}/robots.txt")
    if answer.status_code != 200:
        # Nothing there forbids nothing; a server that is broken is asked for the file all the same.
        return True
    rules = RobotFileParser()
    rules.parse(answer.text.splitlines())
    return rules.can_fetch(AGENT, url)


async def _total(client: httpx2.AsyncClient, url: str, needs_range: bool) -> int | None:
    async with client.stream("GET", url, headers={"range": "bytes=0-0"}) as answer:
        whole = TOTAL.match(answer.headers.get("content-range", ""))
        if answer.status_code == 206 and whole:
            return int(whole[1])
        if answer.status_code != 200:
            raise Unfetchable("unreachable", f"The address answers {answer.status_code}.")
        if needs_range:
            raise Unfetchable("range", "The host ignores Range requests.")
        return None


async def _taken(
    client: httpx2.AsyncClient,
    url: str,
    into: Path,
    most_bytes: int,
    types: tuple[str, ...],
    total: int | None,
) -> Fetched:
    whole, size = hashlib.sha256(), 0
    try:
        headers = {"range": "bytes=0-"} if total is not None else {}
        async with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code not in (200, 206):
                raise Unfetchable("unreachable", f"The address answers {answer.status_code}.")
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in types:
                raise Unfetchable("type", f"The file is of type {kind or 'unknown'}.")
            with into.open("wb") as file:
                async for piece in answer.aiter_raw():
                    size += len(piece)
                    if size > most_bytes:
                        raise Unfetchable("size", "The file is too large.")
                    file.write(piece)
                    whole.update(piece)
        if size == 0 or (total is not None and size != total):
            raise Unfetchable("unreachable", "The file broke off.")
    except BaseException:
        into.unlink(missing_ok=True)
        raise
    return Fetched(size, whole.hexdigest(), kind)
