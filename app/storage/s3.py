"""Storage in an S3-compatible bucket: boto3 in threads, one client a process, imported only when configured.

Settings of the client: storage sheet, section 4. Parts and resuming are in `s3_uploads`.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from typing import Any

import anyio
import boto3.session
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from app import config
from app.errors import HouseError, NotFound, Permanent, Retryable, WrongState
from app.storage.hashes import Run
from app.storage.s3_errors import house_error
from app.storage.s3_uploads import CLEANING_S, MARK, Parts, part_bytes_for
from app.storage.shapes import Head, Stored, Unfinished, Upload, key_exists
from app.storage.threads import PATIENCE_S, THREADS, blocks, in_thread

READ_BYTES = 256 * 1024
# A download that breaks is continued where it stood, this many times without a byte in between.
TRIES_WITHOUT_PROGRESS = 4
LOOKS_AFTER_WRITE = 4
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")


class S3:
    """The provider `s3`."""

    name = "s3"

    def __init__(self, settings: config.Config) -> None:
        self._bucket = settings.bucket
        # boto3 makes a client's methods at run time, so it has no type of its own without the stubs.
        self._client: Any = _client(settings, settings.s3_endpoint_url)
        self._signer: Any = (
            _client(settings, settings.s3_public_url) if settings.s3_public_url else self._client
        )
        # Some compatible servers do not know conditional writes; then the look before must do.
        self._conditional = True
        self._parts = Parts(self)

    async def call(self, operation: str, **given: Any) -> dict[str, Any]:
        """One call of the client on our bucket; its errors become the house's."""
        return await in_thread(partial(self._call, operation, given), patience_s=PATIENCE_S)

    async def call_once(self, operation: str, **given: Any) -> dict[str, Any]:
        """A call that writes an object and fails with WrongState (`key_exists`) when the key is taken."""
        if self._conditional:
            try:
                return await self.call(operation, **given, IfNoneMatch="*")
            except HouseError as error:
                if error.code != "not_implemented":
                    raise
                self._conditional = False
        return await self.call(operation, **given)

    def _call(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._bucket, **given)
        except (ClientError, BotoCoreError) as error:
            raise house_error(error) from error
        return answer

    async def put_stream(
        self, chunks: AsyncIterator[bytes], key: str, content_type: str, most_bytes: int
    ) -> Stored:
        """One PUT when everything fits one part, else parts. Leaves nothing behind when it fails."""
        await self.require_free(key)
        part_bytes = part_bytes_for(most_bytes)
        mark = secrets.token_hex(16)
        whole = blocks(chunks, part_bytes, most=most_bytes)
        try:
            async with aclosing(whole):
                first = await anext(whole, bytearray())
                if len(first) == part_bytes:
                    return await self._parts.put_all(first, whole, key, content_type, most_bytes, mark)
                # Only a further step tells whether the stream ended well or broke.
                await anext(whole, None)
                return await self._put_one(first, key, content_type, mark)
        except BaseException:
            with anyio.move_on_after(CLEANING_S, shield=True):
                await self._take_back(key, mark)
            raise

    async def head(self, key: str) -> Head | None:
        answer = await self._look(key)
        return None if answer is None else Head(key, answer["ContentLength"], answer["LastModified"])

    async def read(self, key: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        at, tries = start, 0
        while end is None or at < end:
            before = at
            try:
                async with aclosing(self._read_once(key, at, end)) as pieces:
                    async for end_there, piece in pieces:
                        end = end_there
                        at += len(piece)
                        yield piece
                # An answer without any byte: the file ends before `start`.
                if at == start:
                    return
                trouble = Retryable("The storage broke off a download.", code="storage_away")
            except Retryable as error:
                if error.code != "storage_away":
                    raise
                trouble = error
            tries = 0 if at > before else tries + 1
            if (end is None or at < end) and tries >= TRIES_WITHOUT_PROGRESS:
                raise trouble

    async def delete(self, key: str) -> None:
        with suppress(NotFound):
            await self.call("delete_object", Key=key)

    async def keys(self, prefix: str) -> AsyncGenerator[str, None]:
        async for entry in self._listed(prefix):
            yield entry["Key"]

    def link(self, key: str, seconds: int, content_type: str, disposition: str) -> str:
        given = {
            "Bucket": self._bucket,
            "Key": key,
            "ResponseContentType": content_type,
            "ResponseContentDisposition": disposition,
        }
        url: str = self._signer.generate_presigned_url("get_object", Params=given, ExpiresIn=seconds)
        return url

    async def begin(self, key: str, bytes_total: int, content_type: str) -> Upload:
        await self.require_free(key)
        return await self._parts.begin(key, bytes_total, content_type, secrets.token_hex(16))

    async def append(self, upload: Upload, offset: int, chunks: AsyncIterator[bytes], most: int) -> int:
        return await self._parts.append(upload, offset, chunks, most)

    async def offset(self, upload: Upload) -> int:
        return await self._parts.offset(upload)

    async def finish(self, upload: Upload, bytes_total: int) -> Stored:
        return await self._parts.finish(upload, bytes_total)

    async def abort(self, upload: Upload) -> None:
        await self._parts.abort(upload)

    async def unfinished(self, before: datetime) -> list[Unfinished]:
        """Old multipart uploads under our roots, and old leavings under `tmp/`."""
        found = [left async for left in self._parts.unfinished() if left.begun_at < before]
        leavings = [
            Unfinished(entry["Key"], "", entry["LastModified"])
            async for entry in self._listed("tmp/")
            if entry["LastModified"] < before
        ]
        return found + leavings

    async def discard(self, left: Unfinished) -> None:
        if left.name:
            await self._parts.abort(Upload(self.name, left.key, left.name, 0, ""))
        else:
            await self.delete(left.key)

    async def require_free(self, key: str) -> None:
        if await self._look(key) is not None:
            raise key_exists(key)

    async def is_ours(self, key: str, bytes_total: int, mark: str, looks: int = LOOKS_AFTER_WRITE) -> bool:
        """Whether the object under the key is the one written under this mark, with this size.

        Looks again a few times: not every compatible server shows a new object at once.
        """
        for look in range(looks):
            await anyio.sleep(0.2 * look)
            if (answer := await self._look(key)) is not None:
                # A server that keeps no metadata gives none back; then the size must do.
                there = answer.get("Metadata", {}).get(MARK, mark)
                return bool(there == mark and answer["ContentLength"] == bytes_total)
        return False

    async def _put_one(self, body: bytearray, key: str, content_type: str, mark: str) -> Stored:
        run = Run()
        await in_thread(partial(run.add, body))
        try:
            await self.call_once(
                "put_object", Key=key, Body=body, ContentType=content_type, Metadata={MARK: mark}
            )
        except WrongState:
            # The client repeats a call whose answer was lost and then meets its own object.
            if not await self.is_ours(key, len(body), mark):
                raise
        else:
            if not await self.is_ours(key, len(body), mark):
                raise Retryable("The storage does not show what it took.", code="storage_away")
        return Stored(key, len(body), run.sha.hexdigest(), content_type)

    async def _take_back(self, key: str, mark: str) -> None:
        """Remove our object after a failure whose call may have worked all the same. Never anybody else's."""
        with suppress(HouseError):
            answer = await self._look(key)
            if answer is not None and answer.get("Metadata", {}).get(MARK) == mark:
                await self.delete(key)

    async def _look(self, key: str) -> dict[str, Any] | None:
        try:
            return await self.call("head_object", Key=key)
        except NotFound:
            return None

    async def _listed(self, prefix: str) -> AsyncGenerator[dict[str, Any], None]:
        after: dict[str, Any] = {}
        while True:
            page = await self.call("list_objects_v2", Prefix=prefix, **after)
            for entry in page.get("Contents", []):
                yield entry
            if not page.get("IsTruncated"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    async def _read_once(self, key: str, at: int, end: int | None) -> AsyncGenerator[tuple[int, bytes], None]:
        """The end of the bytes asked for, as the server has it, and the next piece. One try."""
        last = "" if end is None else end - 1
        wanted = {} if at == 0 and end is None else {"Range": f"bytes={at}-{last}"}
        try:
            answer = await self.call("get_object", Key=key, **wanted)
        except HouseError as error:
            if error.code == "no_such_bytes":
                return
            raise
        body = _Body(answer["Body"])
        try:
            end = _end_of(answer, at) if wanted else answer["ContentLength"]
            while piece := await in_thread(body.read, patience_s=0):
                yield end, piece
        finally:
            await in_thread(body.close, patience_s=0)


class _Body:
    """A streaming answer that is never closed under the thread that reads it, and always closed at last."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._lock = threading.Lock()

    def read(self) -> bytes:
        with self._lock:
            try:
                piece: bytes = self._body.read(READ_BYTES)
            except BotoCoreError as error:
                raise house_error(error) from error
            return piece

    def close(self) -> None:
        with self._lock:
            self._body.close()


def _end_of(answer: dict[str, Any], at: int) -> int:
    match = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
    if match is None or int(match[1]) != at:
        raise Permanent("The storage does not serve ranges of bytes.", code="no_ranges")
    return int(match[2]) + 1


def _client(settings: config.Config, endpoint_url: str | None) -> Any:
    """A client from a session of its own: the implicit default session must not be shared between threads."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=settings.aws_region,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=settings.aws_secret_access_key,
        config=ClientConfig(
            # Without it boto3 signs links the old way (SigV2), which newer regions and many servers refuse.
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.s3_path_style else "auto"},
            request_checksum_calculation=settings.s3_checksums,
            response_checksum_validation=settings.s3_checksums,
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=THREADS + 10,
            retries={"mode": "standard", "max_attempts": 4},
            ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # the stubs lag behind
        ),
    )
