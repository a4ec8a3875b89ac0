"""Goal 2: seconds from the end of an upload to the first second that plays, as a player sees it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2

from app import media
from benchmarks.browser import OWN, Browser

EVERY_S = 0.1
# A line of text makes every picture another one; without any design a video that fits is handed on as it is.
BRANDED = {"title": {"text": "Bench"}}
# Enough for a whole upload; a segment is a few hundred KB.
PIECE_BYTES = 1024 * 1024
MAP = re.compile(r'#EXT-X-MAP:URI="([^"]+)"')
SOUND = re.compile(r'#EXT-X-MEDIA:.*TYPE=AUDIO.*URI="([^"]+)"')
DECODED = re.compile(r"time=(\d+):(\d\d):(\d\d\.\d+)")


@dataclass(frozen=True)
class First:
    """Seconds after the last byte was sent. `answered_s`: the upload's answer was there; `playable_s`: first bytes
    and first segment of picture and sound were fetched. `picture` is the rung that came first.
    """

    bytes: int
    answered_s: float
    playable_s: float
    picture: str
    decoded_s: float


async def upload(browser: Browser, path: Path, design: dict[str, Any] | None) -> tuple[str, float, float]:
    """Send it as the page's script does: address of its video, moment of the last byte, moment of the answer.

    Without any design it gets the house's logo, where there is one.
    """
    size = path.stat().st_size
    headers = {**OWN, "tus-resumable": "1.0.0", "x-csrf-token": browser.csrf}
    asked = {"title": "A clip", **({} if design is None else {"design": design})}
    wishes = base64.b64encode(json.dumps(asked).encode()).decode()
    opened = await browser.http.post(
        "/uploads",
        headers={**headers, "upload-length": str(size), "upload-metadata": f"wishes {wishes}"},
    )
    assert opened.status_code == 201, opened.text
    last_byte = 0.0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal last_byte
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
        last_byte = time.monotonic()

    patched = await browser.http.patch(
        opened.headers["location"],
        content=pieces(),
        headers={
            **headers,
            "upload-offset": "0",
            "content-type": "application/offset+octet-stream",
            "content-length": str(size),
        },
    )
    assert patched.status_code == 204, patched.text
    return str(patched.headers["upload-video"]), last_byte, time.monotonic()


async def watch(
    browser: Browser, path: Path, folder: Path, design: dict[str, Any], within_s: float = 300
) -> First:
    """Upload a file and play its first second as soon as that can be done."""
    address, last_byte, answered = await upload(browser, path, design)
    async with asyncio.timeout(within_s):
        while True:
            found = await _playable(browser, f"{address}/stream/master.m3u8")
            if found is not None:
                break
            await asyncio.sleep(EVERY_S)
    playable = time.monotonic()
    name, tracks = found
    decoded = [await _decoded_s(content, folder / f"first-{kind}.mp4") for kind, content in tracks.items()]
    return First(path.stat().st_size, answered - last_byte, playable - last_byte, name, min(decoded))


async def _playable(browser: Browser, master: str) -> tuple[str, dict[str, bytes]] | None:
    """The first rung of the playlist that has a segment, with the sound: the bytes that a player would be given."""
    text = await _text(browser, master)
    if text is None:
        return None
    lines = text.splitlines()
    rungs = [lines[at + 1] for at, line in enumerate(lines[:-1]) if line.startswith("#EXT-X-STREAM-INF")]
    sound = SOUND.search(text)
    tracks: dict[str, bytes] = {}
    if sound:
        heard = await _begun(browser, urljoin(master, sound[1]))
        if heard is None:
            return None
        tracks["sound"] = heard
    for rung in rungs:
        shown = await _begun(browser, urljoin(master, rung))
        if shown is not None:
            return rung, {"picture": shown, **tracks}
    return None


async def _begun(browser: Browser, playlist: str) -> bytes | None:
    text = await _text(browser, playlist)
    if text is None:
        return None
    begins = MAP.search(text)
    segments = [line for line in text.splitlines() if line and not line.startswith("#")]
    if begins is None or not segments:
        return None
    pieces = [await _bytes(browser, urljoin(playlist, place)) for place in (begins[1], segments[0])]
    return b"".join(pieces) if all(pieces) else None


async def _text(browser: Browser, address: str) -> str | None:
    answer = await _get(browser, address)
    return answer.text if answer is not None and answer.status_code == 200 else None


async def _bytes(browser: Browser, address: str) -> bytes:
    answer = await _get(browser, address)
    return bytes(answer.content) if answer is not None and answer.status_code == 200 else b""


async def _get(browser: Browser, address: str) -> httpx2.Response | None:
    try:
        return await browser.http.get(address, follow_redirects=True)
    except httpx2.HTTPError:
        return None


async def _decoded_s(content: bytes, path: Path) -> float:
    """How many seconds of it ffmpeg decodes, complaining of nothing."""
    path.write_bytes(content)
    words = ["-hide_banner", "-nostdin", "-xerror", "-i", str(path), "-f", "null", "-"]
    child = await asyncio.create_subprocess_exec(
        str(media.program().path), *words, stderr=asyncio.subprocess.PIPE
    )
    _, said = await child.communicate()
    times = DECODED.findall(said.decode())
    assert child.returncode == 0 and times, said.decode()[-2000:]
    hours, minutes, seconds = times[-1]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
