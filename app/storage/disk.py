"""Writing to a disk that may be full, slow or not ours: small blocking steps, and what their errors mean."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import Retryable

FOLDER_MODE = 0o700
FILE_MODE = 0o600
# EFBIG: the file system or our own limit allows no larger file; for a person it is the same trouble.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(setting: str) -> Iterator[None]:
    """Turn the errors of the disk into Retryable with words that name the setting of the folder."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, BlockingIOError):
        # Answers, not trouble: the caller knows what they mean.
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise Retryable(
                f"The disk of {setting} is full: free some space.", code="disk_full", after_s=60
            ) from error
        said = error.strerror or str(error)
        raise Retryable(f"The disk of {setting} cannot be used: {said}.", code="disk_error") from error


def make_folder(folder: Path) -> None:
    """Make the folder and its parents (0700), each safe on the disk before the next."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make names in this folder safe on the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_block(file: int, at: int, block: bytes | bytearray) -> None:
    """Write the whole block at byte `at`; when it does not fit, the file ends at `at` as before."""
    view = memoryview(block)
    written = 0
    try:
        while written < len(view):
            written += os.pwrite(file, view[written:], at + written)
    except OSError:
        os.ftruncate(file, at)
        raise
