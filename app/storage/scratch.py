"""Private working folders under TEMP_DIR: one for each run, gone when the run is over, however it ends.

A living run holds a lock on its folder. The lock goes with the process, so a folder without one is dead; a
process number would not tell: numbers are used again, and containers that share TEMP_DIR have their own.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from app import config, log
from app.errors import NotYet, Permanent, Refused, Retryable
from app.storage.threads import in_thread

# Free space first: reliability.md, section 6.
TIMES_SOURCE = 3
SPARE_BYTES = 1024**3
LOOK_AGAIN_S = 60.0
_OURS = re.compile(r"[a-z0-9][a-z0-9-]{0,60}\.[0-9]+\.[0-9a-f]{16}")


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A private folder (0700) for one run, named after it; removed on success, failure and cancel."""
    folder, lock = _make(home(), name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        if folder.exists():
            log.warning("scratch folder not removed", folder=str(folder))


async def clear_dead_folders() -> list[str]:
    """Remove the folders of runs whose process is gone; their names. Harmless twice."""
    place = await in_thread(home)
    folders = [folder for folder in await in_thread(lambda: sorted(place.iterdir())) if _is_ours(folder)]
    removed = [folder.name for folder in folders if await in_thread(partial(_remove_dead, folder))]
    if removed:
        log.info("folders of dead runs removed", folders=len(removed))
    return removed


def need_space(source_bytes: int, *, here_bytes: int = 0) -> None:
    """NotYet when TEMP_DIR has less than 3 × source + 1 GiB free; what of the source is here already counts less."""
    needed = TIMES_SOURCE * source_bytes - min(here_bytes, source_bytes) + SPARE_BYTES
    free = shutil.disk_usage(home()).free
    if free < needed:
        raise NotYet(
            f"Waiting for disk space in TEMP_DIR: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free.",
            code="no_space",
            after_s=LOOK_AGAIN_S,
        )


def _is_ours(folder: Path) -> bool:
    return _OURS.fullmatch(folder.name) is not None


def home() -> Path:
    """TEMP_DIR, made when it is not there. Retryable or Permanent (`temp_dir`) when it cannot be used."""
    place = config.get().temp_dir
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = place.stat().st_uid
    except OSError as error:
        raise Retryable(f"TEMP_DIR {place} cannot be used: {error.strerror}.", code="temp_dir") from error
    # Whoever owns the folder can swap what is in it; /tmp is open to all.
    if owner not in (os.geteuid(), 0):
        raise Permanent(f"TEMP_DIR {place} belongs to somebody else: choose another folder.", code="temp_dir")
    return place


def _make(place: Path, name: str) -> tuple[Path, int]:
    """A new folder and the lock that keeps it alive."""
    while True:
        full_name = f"{name}.{os.getpid()}.{secrets.token_hex(8)}"
        if not _OURS.fullmatch(full_name):
            raise Refused("A scratch name has small letters, digits and dashes.", code="bad_name")
        folder = place / full_name
        folder.mkdir(mode=0o700)
        if (lock := locked(folder)) is not None:
            return folder, lock


def locked(folder: Path) -> int | None:
    """A lock on this very folder, or None when it is held by somebody or the folder is gone."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A clearing process may have removed it between open and lock.
        if os.path.samestat(os.fstat(lock), folder.lstat()):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _remove_dead(folder: Path) -> bool:
    lock = locked(folder)
    if lock is None:
        return False
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
    return not folder.exists()
