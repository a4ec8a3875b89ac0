"""Where the files are: a local folder (BACKLOT_HOME/storage) or an S3-compatible bucket (STORAGE_PROVIDER).

Keys are ours (`key_for`), files are written once and never changed, every stream is held to a few MiB of
memory. Only this folder sees the bucket. It knows no row: who owns a file, what it is called and whether it
may be seen is the caller's business. Call it outside of database transactions: everything here can wait.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeGuard

from app import config, log
from app.errors import HouseError, NotFound, Refused
from app.storage.copies import copy
from app.storage.keys import check_key, check_prefix, key_for
from app.storage.lending import Wanted, bytes_here, clear_sources, lend, need_space
from app.storage.links import Link, check_content_type, disposition_for, open_token
from app.storage.local import Local
from app.storage.ranges import Unsatisfiable, parse_range
from app.storage.scratch import clear_dead_folders, scratch
from app.storage.shapes import FILE_GONE, Head, Store, Stored, Unfinished, Upload, read_upload
from app.storage.threads import file_chunks, in_thread

__all__ = [
    "Head", "Link", "Stored", "Unsatisfiable",
    "abort", "append", "begin", "borrow", "clear_dead_scratch", "delete", "fetch", "finish", "head", "key_for",
    "keys", "lending_link", "link", "need_space", "need_space_for", "offset", "open_link", "parse_range", "put",
    "put_stream", "read", "scratch", "start", "storage_check", "sweep",
]  # fmt: skip

FILE_CHUNK_BYTES = 1024**2
# Read links live at most 15 minutes: reliability.md, section 7.
LONGEST_LINK_S = 900
# Platforms that fetch by themselves may do so for a day (Instagram sheet, section 4.2).
LENT_S = 26 * 3600
# Part of a link's life in which the same link is given out again, so that a page drawn anew keeps its player.
SAME_LINK = 3
UNFINISHED_AFTER_H = 48

_lock = threading.Lock()
# The provider, with the process and the settings it was made for.
Opened = tuple[int, config.Config, Store]
_open: Opened | None = None


async def start() -> None:
    """Make the provider ready, so that the first caller does not wait for it. Harmless twice."""
    await in_thread(_store)


async def put(path: Path, key: str, content_type: str) -> Stored:
    """Store a local file under a new key; the file stays where it is."""
    most_bytes = (await in_thread(path.stat)).st_size
    return await put_stream(file_chunks(path, FILE_CHUNK_BYTES), key, content_type, most_bytes=most_bytes)


async def put_stream(chunks: AsyncIterator[bytes], key: str, content_type: str, *, most_bytes: int) -> Stored:
    """Store a stream under a new key. A broken, cancelled or too large one leaves nothing behind.

    Refused (`too_large`) past `most_bytes`; WrongState (`key_exists`) when the key is taken.
    """
    store = await _ready()
    return await store.put_stream(chunks, check_key(key), check_content_type(content_type), most_bytes)


async def fetch(key: str, into: Path, *, sha256: str | None = None) -> Path:
    """Copy a stored file into a folder of this machine, checked for size and, if given, for its SHA-256.

    Returns the path, named as the end of the key. Leaves nothing behind when it fails; run twice, the second
    copy replaces the first.
    """
    about = await head(key)
    if about is None:
        raise NotFound(FILE_GONE, code="file_gone")
    return await copy(read(key), into / key.rpartition("/")[2], about.bytes, sha256)


async def borrow(key: str, *, into: Path, bytes_total: int | None = None, sha256: str | None = None) -> Path:
    """The stored file in a folder of this machine, for reading only: a link to the one that all runs share.

    In the local storage it takes no time and no space, whatever the length; a file of a bucket is fetched once a
    machine, checked for its size and, if given, its SHA-256, and kept until nobody has used it for 15 minutes.
    Returns the path, named as the end of the key; run twice, it is made anew. NotFound without a file. Never write
    to it and never open it for writing: it is the original. Remove it like any file of the folder.
    """
    store = await _ready()
    return await lend(store, await _wanted(key, bytes_total, sha256), into)


async def need_space_for(key: str, *, bytes_total: int | None = None, sha256: str | None = None) -> None:
    """NotYet when TEMP_DIR is too full to `borrow` this file and work on it; what is there already is not counted."""
    wanted = await _wanted(key, bytes_total, sha256)
    here = await bytes_here(await _ready(), wanted)
    await in_thread(partial(need_space, wanted.bytes, here_bytes=here))


async def clear_dead_scratch() -> list[str]:
    """Remove the folders of runs whose process is gone; their names. For a worker's start; harmless twice.

    Borrowed files that nobody needs any more go with them.
    """
    removed = await clear_dead_folders()
    await in_thread(clear_sources)
    return removed


async def read(key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
    """The bytes from `start` up to `end` (exclusive), in pieces of at most 256 KiB; NotFound without a file.

    A download that breaks is continued where it stood. Close it (`aclosing`) when you leave before the end.
    """
    store = await _ready()
    pieces = store.read(check_key(key), max(0, start), end)
    try:
        async for piece in pieces:
            yield piece
    finally:
        await pieces.aclose()


async def head(key: str) -> Head | None:
    """Size and age of a stored file; None when there is none."""
    return await (await _ready()).head(check_key(key))


async def delete(key: str) -> None:
    """Remove a file. Harmless when it is not there."""
    await (await _ready()).delete(check_key(key))


async def keys(prefix: str) -> AsyncGenerator[str, None]:
    """The keys that begin with `prefix`, e.g. `tenants/7/`."""
    async for key in (await _ready()).keys(check_prefix(prefix)):
        yield key


async def begin(key: str, bytes_total: int, content_type: str) -> str:
    """Open a write that can be continued later and elsewhere; keep the text it returns in your row.

    Refused (`empty`) for no bytes at all; WrongState (`key_exists`) when the key is taken.
    """
    if bytes_total < 1:
        raise Refused("The file is empty.", code="empty")
    store = await _ready()
    return (await store.begin(check_key(key), bytes_total, check_content_type(content_type))).to_text()


async def append(upload: str, offset: int, chunks: AsyncIterator[bytes], *, most: int) -> int:
    """Add the stream at `offset`; the new offset, with everything before it durable.

    When the stream breaks, what arrived is kept where possible and the error is raised: ask `offset`. Refused
    (`too_large`) past `most` bytes or the size told at `begin`; WrongState (`offset_mismatch`, `upload_busy`)
    when the upload stands elsewhere or somebody else is writing; NotFound (`upload_gone`) when it is over.
    Retryable (`disk_full`) keeps what fits: abort it, or go on when there is space.
    """
    store, opened = await _opened(upload)
    return await store.append(opened, offset, chunks, min(most, max(0, opened.bytes_total - offset)))


async def offset(upload: str) -> int:
    """How many bytes the storage really holds. NotFound (`upload_gone`) when the upload was aborted."""
    store, opened = await _opened(upload)
    return await store.offset(opened)


async def finish(upload: str, bytes_total: int) -> Stored:
    """Let the whole file appear under its key. Run again after a lost answer it gives the same.

    WrongState (`not_whole`) while bytes are missing; NotFound (`upload_gone`) when it was aborted.
    """
    store, opened = await _opened(upload)
    return await store.finish(opened, bytes_total)


async def abort(upload: str) -> None:
    """Give an unfinished write up and free its space. Harmless twice, and never touches a finished file."""
    store, opened = await _opened(upload)
    await store.abort(opened)


def link(
    key: str,
    *,
    seconds: int = LONGEST_LINK_S,
    content_type: str,
    filename: str | None = None,
    download: bool = False,
) -> str:
    """An address that shows (or downloads) this one file for at most `seconds` (1 to 900) without signing in.

    The same address is given out again during a third of that time; it always lives the other two thirds.
    """
    if not 1 <= seconds <= LONGEST_LINK_S:
        raise Refused(f"A link lives 1 to {LONGEST_LINK_S} seconds.", code="bad_link")
    turn_s = max(1, seconds // SAME_LINK)
    turn = int(datetime.now(UTC).timestamp()) // turn_s
    disposition = disposition_for(filename, download=download)
    return _link(_store(), check_key(key), seconds, check_content_type(content_type), disposition, turn)


def lending_link(key: str, *, content_type: str) -> str:
    """An absolute address under which a platform may fetch this one file for `LENT_S` seconds, with ranges."""
    address = _store().link(check_key(key), LENT_S, check_content_type(content_type), "inline")
    return address if "://" in address else f"{config.get().base_url}{address}"


def open_link(token: str, *, now: datetime | None = None) -> Link | None:
    """What the token of `/media/<token>` allows; None when it is forged, damaged or too old."""
    return open_token(token, now or datetime.now(UTC))


async def storage_check() -> list[str]:
    """Write, read and delete a small file, look for leavings and at TEMP_DIR. Gives the problems in words."""
    problems = []
    try:
        await _probe()
        old = await _unfinished(UNFINISHED_AFTER_H)
        if old:
            problems.append(
                f"{len(old)} unfinished uploads are older than {UNFINISHED_AFTER_H} hours, and the sweep"
                f" removes them: {', '.join(left.key for left in old[:5])}"
            )
    except HouseError as error:
        problems.append(error.message)
    try:
        await in_thread(partial(need_space, 0))
    except HouseError as error:
        problems.append(error.message)
    return problems


async def sweep(older_than_h: float = UNFINISHED_AFTER_H, *, alive: Collection[str] = ()) -> list[str]:
    """Remove unfinished writes older than that, except `alive` (texts of `begin`); the keys of what went.

    May run in two places at once. What cannot be removed now is left for the next sweep. The folders of dead runs on
    this machine go too.
    """
    store = await _ready()
    await clear_dead_scratch()
    living = {word for text in alive for word in _names_in(text, store)}
    removed = []
    for left in await store.unfinished(datetime.now(UTC) - timedelta(hours=older_than_h)):
        if left.name in living or left.key in living:
            continue
        try:
            await store.discard(left)
        except HouseError as error:
            log.warning("unfinished upload not removed", object_key=left.key, reason=error.message)
            continue
        removed.append(left.key)
    if removed:
        log.info("unfinished uploads removed", uploads=len(removed))
    return removed


async def _probe() -> None:
    said = os.urandom(1024)

    async def once() -> AsyncGenerator[bytes, None]:
        yield said

    key = f"tmp/check-{os.urandom(8).hex()}.bin"
    await put_stream(once(), key, "application/octet-stream", most_bytes=len(said))
    try:
        if b"".join([piece async for piece in read(key)]) != said:
            raise Refused("The storage gives back other bytes than it took.", code="storage_damaged")
    finally:
        await delete(key)
    if await head(key) is not None:
        raise Refused("The storage still shows a file that was deleted.", code="storage_damaged")


async def _wanted(key: str, bytes_total: int | None, sha256: str | None) -> Wanted:
    if bytes_total is None:
        about = await head(key)
        if about is None:
            raise NotFound(FILE_GONE, code="file_gone")
        bytes_total = about.bytes
    return Wanted(check_key(key), bytes_total, sha256)


async def _unfinished(older_than_h: float) -> list[Unfinished]:
    store = await _ready()
    return await store.unfinished(datetime.now(UTC) - timedelta(hours=older_than_h))


async def _opened(text: str) -> tuple[Store, Upload]:
    store = await _ready()
    return store, read_upload(text, store.name)


def _names_in(text: str, store: Store) -> tuple[str, ...]:
    """The names under which this upload leaves something in the storage; none for another provider's."""
    try:
        upload = read_upload(text, store.name)
    except HouseError:
        return ()
    return (upload.name, upload.tail_key) if upload.tail_key else (upload.name,)


@lru_cache(maxsize=4096)
def _link(store: Store, key: str, seconds: int, content_type: str, disposition: str, turn: int) -> str:
    return store.link(key, seconds, content_type, disposition)


async def _ready() -> Store:
    """The provider; made in a thread, as the first client of a bucket takes half a second."""
    return _open[2] if _is_current(_open) else await in_thread(_store)


def _store() -> Store:
    """The provider of this process and these settings, made once; made again after a fork."""
    global _open
    with _lock:
        if not _is_current(_open):
            _open = (os.getpid(), config.get(), _make(config.get()))
        return _open[2]


def _is_current(opened: Opened | None) -> TypeGuard[Opened]:
    return opened is not None and opened[0] == os.getpid() and opened[1] is config.get()


def _make(settings: config.Config) -> Store:
    if settings.storage_provider == "local":
        return Local(settings.backlot_home / "storage")
    # boto3 costs half a second and 30 MB: only a house that has a bucket pays for it.
    store: Store = importlib.import_module("app.storage.s3").S3(settings)
    return store
