"""Receiving the bytes of a post (section 4.3 of the platform's sheet): one declared chunk after the other.

A chunk is streamed into a part file of its own, so two calls for the same chunk never mix; the first whole
one is appended under a file lock (gone with its process) and counted by compare-and-set. What was not counted
is written over by the next try.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.sandbox import faults, later
from app.sandbox.answering import expire_tokens, names_of, tagged, world_of
from app.sandbox.faults import Fault
from app.sandbox.tiktok import posts
from app.sandbox.tiktok.calls import LAST_CHUNK_TAGS, envelope, under
from app.sandbox.tiktok.creators import NAME
from app.sandbox.tiktok.posts import Post
from app.sandbox.world import World, count_call, creator_of, digest

CONTENT_TYPES = ("video/mp4", "video/quicktime", "video/webm")
CONTENT_RANGE = re.compile(r"^bytes (\d{1,15})-(\d{1,15})/(\d{1,15})$")
BLOCK_BYTES = 1024 * 1024


class Rejected(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


async def put(request: Request) -> Response:
    world = world_of(request)
    await later.settle(world)
    post = await world.read(posts.by_upload_id, request.query_params.get("upload_id", ""))
    known = post is not None and hmac.compare_digest(
        digest(request.query_params.get("upload_token", "")), post.upload_digest or ""
    )
    if post is not None and not known:
        post = None
    at = world.clock()
    range_ = CONTENT_RANGE.match(request.headers.get("content-range", ""))
    last = bool(post and range_ and int(range_[2]) + 1 == post.total_bytes and post.finished_at is None)
    fault = await world.write(_enter, post, last, at)
    if fault is not None and fault.fault in ("error_before", "rate_limit"):
        async for _ in request.stream():
            pass

    async def acted() -> Response:
        try:
            wanted, start, stop = _wanted(request, post, at)
            part = await _received(request, world, stop - start)
            try:
                stored = await append(world, wanted, start, stop, part, at)
            finally:
                part.unlink(missing_ok=True)
        except Rejected as no:
            return _answer(post, no.status, no.message)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        if stored is None:
            return _answer(post, 416, "The range does not match the progress of the upload.")
        return _answer(stored, 201 if stored.finished_at is not None else 206, "")

    async def put_off(due_at: float) -> None:
        try:
            wanted, start, stop = _wanted(request, post, at)
            part = await _received(request, world, stop - start)
        except (Rejected, ClientDisconnect):
            return
        arguments = {"upload_id": wanted.upload_id, "start": start, "stop": stop, "part": part.name}
        await world.write(later.put, "upload", due_at, arguments)

    return await under(world, fault, acted, put_off)


def _enter(conn: sqlite3.Connection, post: Post | None, last: bool, at: float) -> Fault | None:
    count_call(conn, NAME, "upload")
    if last:
        count_call(conn, NAME, "last_chunk")
    creator = creator_of(conn, post.creator_id) if post else None
    names = names_of(creator, post.open_id) if post and creator else ()
    fault = faults.take_line(conn, NAME, ("upload", "last_chunk") if last else ("upload",), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)  # the upload itself goes on: its address is its own credential
        fault = None
    if fault is None and post is not None and last:
        fault = next(iter(tagged(LAST_CHUNK_TAGS, post.title)), None)
    return fault


def _wanted(request: Request, post: Post | None, at: float) -> tuple[Post, int, int]:
    """The post and the bytes this call brings, `stop` exclusive; Rejected when they cannot be taken."""
    if post is None:
        raise Rejected(404, "The upload task does not exist.")
    if at >= post.expires_at or (post.verdict is not None and post.finished_at is None):
        raise Rejected(403, "The upload address has expired.")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise Rejected(400, f"Content-Type must be one of {', '.join(CONTENT_TYPES)}.")
    found = CONTENT_RANGE.match(request.headers.get("content-range", ""))
    if found is None:
        raise Rejected(400, "Content-Range is missing or malformed.")
    start, end, total = (int(number) for number in found.groups())
    if end < start or total != post.total_bytes:
        raise Rejected(400, "Content-Range does not fit the upload.")
    if request.headers.get("content-length", "") != str(end + 1 - start):
        raise Rejected(400, "Content-Length does not match Content-Range.")
    if post.finished_at is not None or (start, end) != post.expected():
        raise Rejected(416, "The range does not match the progress of the upload.")
    return post, start, end + 1


async def _received(request: Request, world: World, size: int) -> Path:
    """Stream the body into a new part file; nothing is left behind when the line breaks."""
    part = world.files / f"part-{secrets.token_hex(12)}"
    count, block = 0, bytearray()
    try:
        with part.open("xb") as file:
            async for piece in request.stream():
                count += len(piece)
                block += piece
                if count > size:
                    break
                if len(block) >= BLOCK_BYTES:
                    await asyncio.to_thread(file.write, bytes(block))
                    block.clear()
            await asyncio.to_thread(file.write, bytes(block))
        if count != size:
            raise Rejected(400, "The body is not as long as Content-Range says.")
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


async def append(world: World, post: Post, start: int, stop: int, part: Path, at: float) -> Post | None:
    """Add one whole chunk to its post; None when another call was first. The last one makes it a post."""
    path = world.files / post.file_name
    lock = await asyncio.to_thread(_locked, path.with_suffix(".lock"))
    try:
        now = await world.read(posts.by_publish_id, post.publish_id)
        if now is None or now.received_bytes != start or now.finished_at is not None:
            return None
        sha256 = await asyncio.to_thread(_written, path, part, start, stop == post.total_bytes)
        stored = await world.write(posts.store, world, post, start, stop, sha256, at)
        if stored is not None and stored.finished_at is not None:
            path.with_suffix(".lock").unlink(missing_ok=True)
        return stored
    finally:
        os.close(lock)


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _written(path: Path, part: Path, start: int, whole: bool) -> str | None:
    """Write the part at its place and give the hash of the whole file if this completes it."""
    with path.open("r+b" if path.exists() else "x+b") as file, part.open("rb") as piece:
        file.truncate(start)
        file.seek(start)
        shutil.copyfileobj(piece, file, BLOCK_BYTES)
        if not whole:
            return None
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _answer(post: Post | None, status: int, message: str) -> Response:
    codes = {400: "invalid_params", 403: "upload_url_expired", 404: "upload_not_found", 416: "range_mismatch"}
    answer = envelope({}, status, codes.get(status, "ok"), message)
    if post is not None:
        # Whether this number is an index or a count is not documented; this world counts.
        answer.headers["content-range"] = f"bytes 0-{post.received_bytes}/{post.total_bytes}"
    return answer


async def _append_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    post = await world.read(posts.by_upload_id, arguments["upload_id"])
    part = world.files / arguments["part"]
    if post is None or not part.exists():
        return
    if post.verdict is None and (arguments["start"], arguments["stop"] - 1) == post.expected():
        await append(world, post, arguments["start"], arguments["stop"], part, due_at)
    part.unlink(missing_ok=True)


later.knows("upload", _append_later)
