"""Multipart uploads that can be continued anywhere: the parts in the bucket are the only truth.

All parts but the last have one size, as some servers demand. Bytes too few for a part are kept as an object
of their own under `tmp/` (the tail), with the byte they begin at; a tail that does not begin where the parts
end is an old one and is ignored. Rules of parts and of lost answers: storage sheet, section 2.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Protocol

import anyio

from app.errors import HouseError, NotFound, Retryable, WrongState
from app.storage.hashes import Run, Runs, sha256_of
from app.storage.keys import ROOTS
from app.storage.shapes import UPLOAD_GONE, Stored, Unfinished, Upload, busy, offset_mismatch
from app.storage.threads import blocks, in_thread

MIB = 1024**2
SMALLEST_PART_BYTES = 8 * MIB
# Below the 10 000 that S3 allows.
MOST_PARTS = 9_000
# The word on an object that tells whose upload made it.
MARK = "backlot-mark"
START = "backlot-start"
# Parts in flight may survive an abort, so it is repeated until the upload is not known any more.
MOST_ABORTS = 5
# How long a failed or cancelled write may spend on leaving nothing behind; the sweep does what is left.
CLEANING_S = 5.0


class Bucket(Protocol):
    """What parts need of the provider."""

    name: str

    async def call(self, operation: str, **given: Any) -> dict[str, Any]: ...
    async def call_once(self, operation: str, **given: Any) -> dict[str, Any]: ...
    async def is_ours(self, key: str, bytes_total: int, mark: str, looks: int = ...) -> bool: ...
    def read(self, key: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]: ...
    async def delete(self, key: str) -> None: ...


def part_bytes_for(bytes_total: int) -> int:
    """The size of every part but the last: at least 8 MiB, and few enough parts."""
    needed = -(-bytes_total // MOST_PARTS)
    return max(SMALLEST_PART_BYTES, -(-needed // MIB) * MIB)


class Parts:
    """Uploads in parts to one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._runs = Runs()
        self._writing: set[str] = set()

    async def begin(self, key: str, bytes_total: int, content_type: str, mark: str) -> Upload:
        answer = await self._bucket.call(
            "create_multipart_upload", Key=key, ContentType=content_type, Metadata={MARK: mark}
        )
        return Upload(
            self._bucket.name, key, answer["UploadId"], bytes_total, content_type,
            part_bytes=part_bytes_for(bytes_total), tail_key=f"tmp/{secrets.token_hex(16)}.tail", mark=mark,
        )  # fmt: skip

    async def put_all(
        self,
        first: bytearray,
        rest: AsyncIterator[bytearray],
        key: str,
        content_type: str,
        most_bytes: int,
        mark: str,
    ) -> Stored:
        """Write whole parts and the rest in one go; the upload is aborted when that fails."""
        upload = await self.begin(key, most_bytes, content_type, mark)
        run = self._runs.at(upload.name, 0) or Run()
        try:
            await self._send(upload, 1, first, run)
            async for block in rest:
                await self._send(upload, len(run.etags) + 1, block, run)
            return await self.finish(upload, run.bytes_seen)
        except BaseException:
            with anyio.move_on_after(CLEANING_S, shield=True):
                await self.abort(upload)
            raise

    async def append(self, upload: Upload, offset: int, chunks: AsyncIterator[bytes], most: int) -> int:
        if upload.name in self._writing:
            raise busy()
        self._writing.add(upload.name)
        try:
            return await self._append(upload, offset, chunks, most)
        finally:
            self._writing.discard(upload.name)

    async def offset(self, upload: Upload) -> int:
        try:
            in_parts = _bytes_in(await self._listed(upload))
        except NotFound:
            if await self._bucket.is_ours(upload.key, upload.bytes_total, upload.mark, looks=1):
                return upload.bytes_total
            raise
        return in_parts + len(await self._tail(upload, in_parts))

    async def finish(self, upload: Upload, bytes_total: int) -> Stored:
        parts: list[dict[str, Any]] = []
        try:
            parts = await self._listed(upload)
            if _bytes_in(parts) != bytes_total:
                raise WrongState(
                    f"The upload is not whole: {_bytes_in(parts)} of {bytes_total} bytes are here.",
                    code="not_whole",
                )
            await self._bucket.call_once(
                "complete_multipart_upload",
                Key=upload.key,
                UploadId=upload.name,
                MultipartUpload={"Parts": [{n: part[n] for n in ("PartNumber", "ETag")} for part in parts]},
            )
        except (NotFound, WrongState) as error:
            # Completed before and the answer was lost, or the client repeated its call and met its own.
            if error.code not in ("upload_gone", "file_gone", "key_exists"):
                raise
            if not await self._bucket.is_ours(upload.key, bytes_total, upload.mark):
                raise
        else:
            if not await self._bucket.is_ours(upload.key, bytes_total, upload.mark):
                raise Retryable("The storage does not show the finished upload yet.", code="storage_away")
        await self._remove_tail(upload)
        return Stored(upload.key, bytes_total, await self._sha256(upload, parts), upload.content_type)

    async def abort(self, upload: Upload) -> None:
        self._runs.forget(upload.name)
        with suppress(NotFound):
            for _ in range(MOST_ABORTS):
                await self._bucket.call("abort_multipart_upload", Key=upload.key, UploadId=upload.name)
                await self._listed(upload)
        await self._remove_tail(upload)

    async def unfinished(self) -> AsyncGenerator[Unfinished, None]:
        """Every upload under our roots that was neither finished nor aborted."""
        for root in ROOTS:
            after: dict[str, Any] = {}
            while True:
                page = await self._bucket.call("list_multipart_uploads", Prefix=f"{root}/", **after)
                for entry in page.get("Uploads", []):
                    yield Unfinished(entry["Key"], entry["UploadId"], entry["Initiated"])
                if not page.get("IsTruncated"):
                    break
                after = {
                    "KeyMarker": page.get("NextKeyMarker", ""),
                    "UploadIdMarker": page.get("NextUploadIdMarker", ""),
                }

    async def _append(self, upload: Upload, offset: int, chunks: AsyncIterator[bytes], most: int) -> int:
        durable = _bytes_in(await self._listed(upload))
        tail = await self._tail(upload, durable)
        if offset != durable + len(tail):
            raise offset_mismatch(offset, durable + len(tail))
        run = self._runs.at(upload.name, durable)
        most = min(most, upload.bytes_total - offset)
        async with aclosing(blocks(chunks, upload.part_bytes, most=most, first=tail)) as whole:
            async for block in whole:
                if len(block) == upload.part_bytes or durable + len(block) == upload.bytes_total:
                    await self._send(upload, durable // upload.part_bytes + 1, block, run)
                    durable += len(block)
                    offset = durable
                elif durable + len(block) > offset:
                    await self._bucket.call(
                        "put_object", Key=upload.tail_key, Body=block, Metadata={START: str(durable)}
                    )
                    offset = durable + len(block)
        return offset

    async def _send(self, upload: Upload, number: int, block: bytearray, run: Run | None) -> None:
        answer = await self._bucket.call(
            "upload_part", Key=upload.key, UploadId=upload.name, PartNumber=number, Body=block
        )
        if run is not None:
            await in_thread(partial(run.add, block, answer["ETag"].strip('"')))

    async def _listed(self, upload: Upload) -> list[dict[str, Any]]:
        """The parts in the bucket, in order, without a gap. NotFound (`upload_gone`) when it is over."""
        parts: list[dict[str, Any]] = []
        after: dict[str, Any] = {}
        while True:
            try:
                page = await self._bucket.call("list_parts", Key=upload.key, UploadId=upload.name, **after)
            except NotFound as error:
                raise NotFound(UPLOAD_GONE, code="upload_gone") from error
            parts += page.get("Parts", [])
            if not page.get("IsTruncated"):
                break
            after = {"PartNumberMarker": page["NextPartNumberMarker"]}
        return [part for place, part in enumerate(parts, 1) if part["PartNumber"] == place]

    async def _tail(self, upload: Upload, durable: int) -> bytes:
        """The bytes kept behind the parts, if any."""
        if not upload.tail_key:
            return b""
        try:
            head = await self._bucket.call("head_object", Key=upload.tail_key)
            if head.get("Metadata", {}).get(START) != str(durable):
                return b""
            pieces = [piece async for piece in self._bucket.read(upload.tail_key, 0, None)]
        except NotFound:
            return b""
        return b"".join(pieces)

    async def _remove_tail(self, upload: Upload) -> None:
        """The sweep finds what stays behind, so no failure here is worth failing the upload."""
        if upload.tail_key:
            with suppress(HouseError):
                await self._bucket.delete(upload.tail_key)

    async def _sha256(self, upload: Upload, parts: list[dict[str, Any]]) -> str:
        """From the running hash when the bucket holds the very parts it has seen, else by reading back."""
        run = self._runs.at(upload.name, upload_bytes := sum(part["Size"] for part in parts))
        if run and upload_bytes and run.etags == [part["ETag"].strip('"') for part in parts]:
            return run.sha.hexdigest()
        self._runs.forget(upload.name)
        sha256, _ = await sha256_of(self._bucket.read(upload.key, 0, None))
        return sha256


def _bytes_in(parts: list[dict[str, Any]]) -> int:
    return sum(part["Size"] for part in parts)
