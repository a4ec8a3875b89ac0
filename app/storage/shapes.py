"""The shapes that storage gives and takes, and what every provider can do. Knows no bucket and no disk."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol

from app.errors import NotFound, Permanent, Refused, WrongState
from app.storage.keys import check_key

FILE_GONE = "The file is not in the storage (any more)."
UPLOAD_GONE = "This upload is not known (any more): start it again."


@dataclass(frozen=True)
class Stored:
    """A file that is whole and safe in the storage. `sha256` is lower-case hex."""

    key: str
    bytes: int
    sha256: str
    content_type: str


@dataclass(frozen=True)
class Head:
    """What the storage says of a file without opening it."""

    key: str
    bytes: int
    changed_at: datetime


@dataclass(frozen=True)
class Unfinished:
    """Something a broken-off write left behind; `name` is what the provider needs to remove it."""

    key: str
    name: str
    begun_at: datetime


@dataclass(frozen=True)
class Upload:
    """One resumable write. Callers keep `to_text` in their row and never look inside.

    `name` is the provider's own id, `tail_key` where S3 keeps bytes that are too few for a part, `mark` the
    random word written on the object, by which a finished upload recognises itself after a lost answer.
    """

    provider: str
    key: str
    name: str
    bytes_total: int
    content_type: str
    part_bytes: int = 0
    tail_key: str = ""
    mark: str = ""

    def to_text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def read_upload(text: str, provider: str) -> Upload:
    """The upload that `begin` wrote as text; Permanent when it was begun in another provider."""
    try:
        upload = Upload(**json.loads(text))
        check_key(upload.key)
    except (ValueError, TypeError, Refused) as error:
        raise NotFound(UPLOAD_GONE, code="upload_gone") from error
    if upload.provider != provider:
        raise Permanent(
            f"This upload was begun in the {upload.provider} storage, and STORAGE_PROVIDER is now {provider}:"
            " start it again.",
            code="upload_gone",
        )
    return upload


def key_exists(key: str) -> WrongState:
    return WrongState(f"There is already a file under {key}; files are never overwritten.", code="key_exists")


def offset_mismatch(offset: int, expected: int) -> WrongState:
    return WrongState(
        f"The upload stands at byte {expected}, not at {offset}: continue there.", code="offset_mismatch"
    )


def busy() -> WrongState:
    return WrongState("Another request is writing to this upload.", code="upload_busy")


class Store(Protocol):
    """What a provider does. `__init__` checks every key before it comes here."""

    name: str

    def __hash__(self) -> int: ...
    async def put_stream(
        self, chunks: AsyncIterator[bytes], key: str, content_type: str, most_bytes: int
    ) -> Stored: ...
    async def head(self, key: str) -> Head | None: ...
    def read(self, key: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]: ...
    async def delete(self, key: str) -> None: ...
    def keys(self, prefix: str) -> AsyncGenerator[str, None]: ...
    def link(self, key: str, seconds: int, content_type: str, disposition: str) -> str: ...

    async def begin(self, key: str, bytes_total: int, content_type: str) -> Upload: ...
    async def append(self, upload: Upload, offset: int, chunks: AsyncIterator[bytes], most: int) -> int: ...
    async def offset(self, upload: Upload) -> int: ...
    async def finish(self, upload: Upload, bytes_total: int) -> Stored: ...
    async def abort(self, upload: Upload) -> None: ...

    async def unfinished(self, before: datetime) -> list[Unfinished]: ...
    async def discard(self, left: Unfinished) -> None: ...
