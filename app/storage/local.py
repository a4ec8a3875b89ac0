"""Storage in a folder of this machine: BACKLOT_HOME/storage. The default, and what tests and laptops use.

A file is written under `.partial/`, made safe, and then appears under its key in one step, by a hard link
that fails when the key is taken. So a key never shows half a file and is never overwritten.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio

from app.errors import NotFound, WrongState
from app.storage import links
from app.storage.disk import FILE_MODE, disk_errors, make_folder, sync_folder, write_block
from app.storage.hashes import Run, Runs, sha256_of
from app.storage.shapes import (
    FILE_GONE,
    UPLOAD_GONE,
    Head,
    Stored,
    Unfinished,
    Upload,
    busy,
    key_exists,
    offset_mismatch,
)
from app.storage.threads import blocks, in_thread

SETTING = "BACKLOT_HOME"
BLOCK_BYTES = 1024**2
# What one reader holds in memory; a page full of players has many.
READ_BYTES = 256 * 1024
_PARTIAL = re.compile(r"[0-9a-f]{32}")


class Local:
    """The provider `local`."""

    name = "local"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partials = root / ".partial"
        self._runs = Runs()

    async def put_stream(
        self, chunks: AsyncIterator[bytes], key: str, content_type: str, most_bytes: int
    ) -> Stored:
        upload = await self.begin(key, most_bytes, content_type)
        run = Run()
        published: list[str] = []

        def publish() -> None:
            self._publish(upload, run.bytes_seen)
            published.append(key)

        try:
            await self._write(upload, 0, chunks, most_bytes, run)
            await in_thread(publish)
        except BaseException:
            # Cancelled in the moment of publishing: the caller will not know of the file, so it goes too.
            with anyio.CancelScope(shield=True):
                if published:
                    await self.delete(key)
                await self.abort(upload)
            raise
        return Stored(key, run.bytes_seen, run.sha.hexdigest(), content_type)

    async def head(self, key: str) -> Head | None:
        return await in_thread(partial(self._head, key))

    async def read(self, key: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        file = await in_thread(partial(self._open_to_read, key))
        try:
            at = start
            while end is None or at < end:
                length = READ_BYTES if end is None else min(READ_BYTES, end - at)
                chunk = await in_thread(partial(_read_block, file, length, at))
                if not chunk:
                    return
                at += len(chunk)
                yield chunk
        finally:
            await in_thread(partial(os.close, file))

    async def delete(self, key: str) -> None:
        def remove() -> None:
            with disk_errors(SETTING):
                (self._root / key).unlink(missing_ok=True)

        await in_thread(remove)

    async def keys(self, prefix: str) -> AsyncGenerator[str, None]:
        waiting = [prefix.rpartition("/")[0]]
        while waiting:
            folder = waiting.pop()
            for name, is_folder in await in_thread(partial(self._listed, folder)):
                key = f"{folder}/{name}"
                if is_folder and (key.startswith(prefix) or prefix.startswith(key)):
                    waiting.append(key)
                elif not is_folder and key.startswith(prefix):
                    yield key

    def path(self, key: str) -> Path:
        """The stored file itself, never to be written. NotFound without one."""
        if self._head(key) is None:
            raise NotFound(FILE_GONE, code="file_gone")
        return self._root / key

    def link(self, key: str, seconds: int, content_type: str, disposition: str) -> str:
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        return f"/media/{links.sign(links.Link(key, content_type, disposition, expires_at))}"

    async def begin(self, key: str, bytes_total: int, content_type: str) -> Upload:
        upload = Upload(self.name, key, secrets.token_hex(16), bytes_total, content_type)

        def make() -> None:
            with disk_errors(SETTING):
                if (self._root / key).exists():
                    raise key_exists(key)
                make_folder(self._partials)
                path = self._partials / upload.name
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))
                sync_folder(self._partials)

        try:
            await in_thread(make)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.abort(upload)
            raise
        return upload

    async def append(self, upload: Upload, offset: int, chunks: AsyncIterator[bytes], most: int) -> int:
        run = self._runs.at(upload.name, offset)
        return await self._write(upload, offset, chunks, most, run)

    async def offset(self, upload: Upload) -> int:
        def size() -> int:
            with suppress(FileNotFoundError):
                return self._partial(upload).stat().st_size
            self._require_published(upload, upload.bytes_total)
            return upload.bytes_total

        return await in_thread(size)

    async def finish(self, upload: Upload, bytes_total: int) -> Stored:
        await in_thread(partial(self._publish, upload, bytes_total))
        run = self._runs.at(upload.name, bytes_total) if bytes_total else Run()
        if run is not None:
            sha256 = run.sha.hexdigest()
        else:
            sha256, _ = await sha256_of(self.read(upload.key, 0, None))
        return Stored(upload.key, bytes_total, sha256, upload.content_type)

    async def abort(self, upload: Upload) -> None:
        self._runs.forget(upload.name)

        def remove() -> None:
            with disk_errors(SETTING):
                self._partial(upload).unlink(missing_ok=True)

        await in_thread(remove)

    async def unfinished(self, before: datetime) -> list[Unfinished]:
        def look() -> list[Unfinished]:
            found = []
            with disk_errors(SETTING), suppress(FileNotFoundError):
                for path in sorted(self._partials.iterdir()):
                    with suppress(FileNotFoundError):
                        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                        if at < before:
                            found.append(Unfinished(f".partial/{path.name}", path.name, at))
            return found

        return await in_thread(look)

    async def discard(self, left: Unfinished) -> None:
        await self.abort(Upload(self.name, left.key, left.name, 0, ""))

    async def _write(
        self, upload: Upload, offset: int, chunks: AsyncIterator[bytes], most: int, run: Run | None
    ) -> int:
        """Append the stream and make it safe; what came before a break is kept. The new offset."""
        file = await in_thread(partial(self._open_to_append, upload, offset))
        at = offset

        def keep(block: bytearray) -> None:
            with disk_errors(SETTING):
                write_block(file, at, block)
            if run is not None:
                run.add(block)

        try:
            async with aclosing(blocks(chunks, BLOCK_BYTES, most=most)) as whole:
                async for block in whole:
                    await in_thread(partial(keep, block))
                    at += len(block)
        finally:
            await in_thread(partial(_close_safely, file))
        return at

    def _partial(self, upload: Upload) -> Path:
        if not _PARTIAL.fullmatch(upload.name):
            raise NotFound(UPLOAD_GONE, code="upload_gone")
        return self._partials / upload.name

    def _open_to_append(self, upload: Upload, offset: int) -> int:
        """The partial file, locked against every other writer, when it really ends at `offset`."""
        path = self._partial(upload)
        try:
            with disk_errors(SETTING):
                file = _open(path, os.O_RDWR)
        except FileNotFoundError:
            raise NotFound(UPLOAD_GONE, code="upload_gone") from None
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy() from None
            status = os.fstat(file)
            # Published between our open and our lock: this is no longer a partial file.
            if status.st_nlink != 1 or not path.exists():
                raise NotFound(UPLOAD_GONE, code="upload_gone")
            if status.st_size != offset:
                raise offset_mismatch(offset, status.st_size)
        except BaseException:
            os.close(file)
            raise
        return file

    def _publish(self, upload: Upload, bytes_total: int) -> None:
        """Let the finished file appear under its key. Harmless when it already did."""
        source, target = self._partial(upload), self._root / upload.key
        try:
            with disk_errors(SETTING):
                file = _open(source, os.O_RDWR)
        except FileNotFoundError:
            self._require_published(upload, bytes_total)
            return
        try:
            with disk_errors(SETTING):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise busy() from None
                size = os.fstat(file).st_size
                if size != bytes_total:
                    raise WrongState(
                        f"The upload is not whole: {size} of {bytes_total} bytes are here.", code="not_whole"
                    )
                os.fsync(file)
                make_folder(target.parent)
                self._link_once(source, target, upload.key)
                source.unlink(missing_ok=True)
                sync_folder(target.parent)
        finally:
            os.close(file)

    def _link_once(self, source: Path, target: Path, key: str) -> None:
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            # The same file: a process died between the link and the unlink below it.
            if not target.samefile(source):
                raise key_exists(key) from None

    def _require_published(self, upload: Upload, bytes_total: int) -> None:
        head = self._head(upload.key)
        if head is None or head.bytes != bytes_total:
            raise NotFound(UPLOAD_GONE, code="upload_gone")

    def _head(self, key: str) -> Head | None:
        try:
            status = (self._root / key).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return Head(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def _open_to_read(self, key: str) -> int:
        if self._head(key) is None:
            raise NotFound(FILE_GONE, code="file_gone")
        try:
            return _open(self._root / key, os.O_RDONLY)
        except FileNotFoundError:
            raise NotFound(FILE_GONE, code="file_gone") from None

    def _listed(self, folder: str) -> list[tuple[str, bool]]:
        """Names in a folder, sorted, with whether each is a folder. A folder that is not there is empty."""
        try:
            with os.scandir(self._root / folder) as entries:
                return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return []


def _open(path: Path, mode: int) -> int:
    return os.open(path, mode | os.O_NOFOLLOW | os.O_CLOEXEC)


def _read_block(file: int, length: int, at: int) -> bytes:
    with disk_errors(SETTING):
        return os.pread(file, length, at)


def _close_safely(file: int) -> None:
    """Bytes are durable before anybody hears that they were taken."""
    try:
        with disk_errors(SETTING):
            os.fsync(file)
    finally:
        os.close(file)
