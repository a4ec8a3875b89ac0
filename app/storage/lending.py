"""Stored files for reading only, in a run's own folder, at the price of a link: whoever comes later pays nothing.

A file of the local provider is linked. A file of a bucket is fetched once a machine into TEMP_DIR/sources and linked
from there by every run that asks. The kernel keeps the books: a file with one link is used by nobody, and the time
of its last change is the moment the last run let it go. So nothing has to be given back, and a killed run, whose
folder is cleared like every other, keeps nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from app import config, log
from app.errors import NotFound, NotYet, Retryable
from app.storage import scratch
from app.storage.copies import copy
from app.storage.disk import FOLDER_MODE, disk_errors
from app.storage.local import Local
from app.storage.shapes import FILE_GONE, Store
from app.storage.threads import in_thread

SETTING = "TEMP_DIR"
# How long a file that nobody uses waits for the next run.
KEPT_S = 15 * 60.0
LOOK_AGAIN_S = 0.1
# A maker whose file has not grown for this long is frozen or hangs on his line: others fetch it without him.
STILL_S = 60.0
# What a system says that has no links here, or none between these two places.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP)
_READ_ONLY = 0o400


@dataclass(frozen=True)
class Wanted:
    """One stored file as its borrower knows it."""

    key: str
    bytes: int
    sha256: str | None


async def lend(store: Store, wanted: Wanted, into: Path) -> Path:
    """The file in the folder `into`, named as the end of its key; see `storage.borrow`."""
    target = into / wanted.key.rpartition("/")[2]
    if isinstance(store, Local):
        path = store.path
        if await in_thread(lambda: _linked(path(wanted.key), target)):
            return _of_right_size(target, wanted)
    place = await in_thread(partial(_place, store, wanted))
    size, since = -1, time.monotonic()
    while not await in_thread(partial(_lent, place, target)):
        if await _made(store, wanted, place, target):
            break
        grown = await in_thread(partial(_bytes_in, place))
        if grown != size:
            size, since = grown, time.monotonic()
        elif time.monotonic() - since > STILL_S:
            log.warning("a source is fetched beside a run that stands still", object_key=wanted.key)
            return await copy(store.read(wanted.key, 0, None), target, wanted.bytes, wanted.sha256)
        await anyio.sleep(LOOK_AGAIN_S)
    return _of_right_size(target, wanted)


async def bytes_here(store: Store, wanted: Wanted) -> int:
    """How many bytes of this file lie in TEMP_DIR already, or need not lie there because a link will do."""

    def look() -> int:
        if isinstance(store, Local) and _same_disk(store.path(wanted.key), scratch.home()):
            return wanted.bytes
        return min(wanted.bytes, _bytes_in(_place(store, wanted)))

    return await in_thread(look)


def need_space(source_bytes: int, *, here_bytes: int = 0) -> None:
    """NotYet when TEMP_DIR has less than 3 × source + 1 GiB free; what of the source is here already counts less.

    Files that wait for a next run make room first.
    """
    try:
        scratch.need_space(source_bytes, here_bytes=here_bytes)
    except NotYet:
        if not clear_sources(0):
            raise
        scratch.need_space(source_bytes, here_bytes=here_bytes)


def clear_sources(unused_s: float = KEPT_S) -> int:
    """Remove what nobody has used for this long and what killed runs left half; how many. Harmless beside others."""
    places: list[Path] = []
    with suppress(FileNotFoundError):
        places = sorted((scratch.home() / "sources").iterdir())
    removed = sum(_cleared(place, unused_s) for place in places)
    if removed:
        log.info("sources that nobody uses removed", sources=removed)
    return removed


def _place(store: Store, wanted: Wanted) -> Path:
    """The folder of this file on this machine: of another bucket or with another checksum it is another file."""
    settings = config.get()
    words = (store.name, settings.s3_endpoint_url, settings.bucket, wanted.key, wanted.sha256)
    name = hashlib.sha256("\n".join(str(word) for word in words).encode()).hexdigest()[:40]
    return scratch.home() / "sources" / name


def _linked(source: Path, target: Path) -> bool:
    """Let `target` be a link to `source`; False where the system cannot link these two places."""
    with disk_errors(SETTING):
        # First, because renaming one link over another of the same file does nothing.
        target.unlink(missing_ok=True)
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            if isinstance(error, FileNotFoundError) and target.parent.is_dir():
                raise NotFound(FILE_GONE, code="file_gone") from error
            raise
    return True


def _lent(place: Path, target: Path) -> bool:
    """Whether there is a whole file in `place` and `target` is now a link to it, or a copy where there are no links."""
    whole = place / "whole"
    try:
        if not _linked(whole, target):
            with disk_errors(SETTING):
                shutil.copyfile(whole, target)
    except (NotFound, FileNotFoundError):
        if target.parent.is_dir():
            return False
        raise
    return True


async def _made(store: Store, wanted: Wanted, place: Path, target: Path) -> bool:
    """Fetch the file as the only run that does, and lend it; False when another run is at it."""
    held: list[int] = []

    def lock() -> None:
        place.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if (file := scratch.locked(place)) is not None:
            held.append(file)

    def publish() -> None:
        with disk_errors(SETTING):
            file = os.open(making, os.O_RDONLY)
            try:
                # The name must not outlive a power cut that the bytes do not.
                os.fsync(file)
                os.fchmod(file, _READ_ONLY)
            finally:
                os.close(file)
            making.rename(place / "whole")

    making = place / "making"
    try:
        await in_thread(lock)
        if not held:
            return False
        if await in_thread(partial(_lent, place, target)):
            return True
        await in_thread(clear_sources)
        await copy(store.read(wanted.key, 0, None), making, wanted.bytes, wanted.sha256)
        await in_thread(publish)
        return await in_thread(partial(_lent, place, target))
    finally:
        for file in held:
            os.close(file)


def _of_right_size(target: Path, wanted: Wanted) -> Path:
    if target.stat().st_size != wanted.bytes:
        target.unlink()
        raise Retryable("A file in the storage has another size than it should.", code="checksum_mismatch")
    return target


def _bytes_in(place: Path) -> int:
    """The bytes of the whole file, or of what has been fetched of it so far."""
    for name in ("whole", "making", "making.partial"):
        with suppress(FileNotFoundError):
            return (place / name).stat().st_size
    return 0


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _cleared(place: Path, unused_s: float) -> bool:
    lock = scratch.locked(place)
    if lock is None:
        return False
    try:
        with suppress(FileNotFoundError):
            status = (place / "whole").stat()
            if status.st_nlink > 1 or time.time() - status.st_ctime < unused_s:
                return False
        shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(lock)
    return not place.exists()
