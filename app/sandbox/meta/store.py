"""The bytes of one upload, kept in the world's folder as they come: what arrived before a cut stays.

Facebook sheet, section 3.1, step 2; instagram sheet, section 4.3. The caller keeps no count of its own: the length
of the file is the count, so a kill at any moment leaves nothing that disagrees.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.sandbox.meta.envelope import invalid, upload_problem


@dataclass(frozen=True)
class Sent:
    """What the headers of an upload call say: where its bytes begin, and how long the whole file is."""

    offset: int
    file_size: int


class Refused(Exception):
    """The upload host's refusal, in its own form."""

    def __init__(self, kind: str, message: str, *, retriable: bool, status: int = 400) -> None:
        super().__init__(message)
        self.kind, self.message, self.retriable, self.status = kind, message, retriable, status

    def answer(self) -> Response:
        return upload_problem(self.kind, self.message, retriable=self.retriable, status=self.status)


class Interrupted(Exception):
    """The line is to be cut here, by the tester's wish; what came before it is kept."""


def headers_of(request: Request) -> Sent:
    """`offset` and `file_size` as the call has them; Refused when they are missing or no numbers."""
    found = {}
    for name in ("offset", "file_size"):
        text = request.headers.get(name, "")
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise Refused(
                "ProcessingFailedError", f"The header {name} is missing or no number.", retriable=False
            )
        found[name] = int(text)
    return Sent(found["offset"], found["file_size"])


def received(path: Path) -> int:
    """How many bytes of this upload are here."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def take(
    path: Path, body: AsyncIterator[bytes], sent: Sent, *, most_bytes: int, cut_at_byte: int | None = None
) -> bool:
    """Append a call's bytes to the file; True once the whole file is here. What came before a cut stays.

    Refused: `OffsetInvalidError` when `offset` is not the count of bytes here, `PartialRequestError` when the body
    ends before `file_size`, `ProcessingFailedError` when it goes past it or the file is too large. Interrupted when
    `cut_at_byte` is reached in this call. One call at a time may write; another gets OffsetInvalidError.
    """
    if not 0 < sent.file_size <= most_bytes:
        raise Refused("ProcessingFailedError", "The file is empty or too large.", retriable=False)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _hold(lock)
        here = received(path)
        if sent.offset != here:
            raise Refused(
                "OffsetInvalidError",
                f"The offset is {sent.offset}, and {here} bytes are here.",
                retriable=True,
            )
        count = await _append(path, body, sent, cut_at_byte)
        if count != sent.file_size:
            raise Refused(
                "PartialRequestError",
                f"The body ended after {count} of {sent.file_size} bytes.",
                retriable=True,
            )
        return True
    finally:
        os.close(lock)


def _hold(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(
            "OffsetInvalidError", "Another call is sending bytes of this file.", retriable=True
        ) from None


async def _append(path: Path, body: AsyncIterator[bytes], sent: Sent, cut_at_byte: int | None) -> int:
    """Write every piece as it comes; how long the file is then."""
    count = sent.offset
    cut = cut_at_byte if cut_at_byte is not None and cut_at_byte > sent.offset else None
    room_until = sent.file_size if cut is None else min(cut, sent.file_size)
    with path.open("ab", buffering=0) as file:
        try:
            async for piece in body:
                kept = piece[: room_until - count]
                await asyncio.to_thread(file.write, kept)
                count += len(kept)
                if cut is not None and count == cut:
                    raise Interrupted
                if len(kept) < len(piece):
                    raise Refused(
                        "ProcessingFailedError", "The body is longer than file_size says.", retriable=False
                    )
        except ClientDisconnect:
            # Nobody is there to hear of it; what came is kept.
            pass
    return count


async def whole(request: Request, most_bytes: int) -> bytes:
    """A body that is read as one piece (a picture, a chunk); Problem when it is larger."""
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > most_bytes:
            raise invalid("The file is too large.")
    return bytes(found)
