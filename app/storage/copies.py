"""Copies of stored files in a folder of this machine, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import anyio

from app.errors import Retryable
from app.storage.disk import FILE_MODE, disk_errors
from app.storage.threads import in_thread

SETTING = "TEMP_DIR"


async def copy(
    chunks: AsyncGenerator[bytes, None], target: Path, bytes_total: int, sha256: str | None
) -> Path:
    """Write the stream to `target`, replacing any older; a short, changed or broken one leaves no file."""
    unfinished = target.with_name(f"{target.name}.partial")
    digest = hashlib.sha256()
    count = 0

    def begin() -> int:
        with disk_errors(SETTING):
            return os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE)

    def write(chunk: bytes) -> None:
        with disk_errors(SETTING):
            view = memoryview(chunk)
            while view:
                view = view[os.write(file, view) :]
        if sha256 is not None:
            digest.update(chunk)

    file = await in_thread(begin)
    try:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    await in_thread(partial(write, chunk))
                    count += len(chunk)
        finally:
            await in_thread(partial(os.close, file))
        if count != bytes_total or (sha256 is not None and digest.hexdigest() != sha256):
            raise Retryable("A file was damaged on its way from the storage.", code="checksum_mismatch")
        await in_thread(partial(unfinished.replace, target))
    except BaseException:
        with anyio.CancelScope(shield=True):
            await in_thread(partial(unfinished.unlink, missing_ok=True))
        raise
    return target
