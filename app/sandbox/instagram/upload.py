"""The upload host: bytes of a resumable container, or an address to fetch them from (section 4.3).

What arrived before a cut stays, and the next call goes on at that count. The token travels as `OAuth`, not Bearer.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.sandbox import faults, later
from app.sandbox.answering import expire_tokens, names_of, under, world_of
from app.sandbox.faults import Fault
from app.sandbox.instagram import calls, containers
from app.sandbox.instagram.containers import Container
from app.sandbox.instagram.creators import NAME
from app.sandbox.instagram.rules import MOST_VIDEO_BYTES
from app.sandbox.line import Cut
from app.sandbox.meta import fetch, store
from app.sandbox.meta.envelope import app_full, said, upload_problem, uploader_of
from app.sandbox.world import World, count_call, creator_of

TYPES = ("video/mp4", "video/quicktime")
DONE = {"success": True, "message": "Upload successful."}


async def post(request: Request) -> Response:
    """Take what a call brings. Both logins upload here; the token says whose container it must be."""
    world = world_of(request)
    await later.settle(world)
    at = world.clock()
    token = uploader_of(request.headers)
    found, fault = await world.write(
        _enter, world, token, request.path_params["container"], request.path_params["version"], at
    )

    async def acted() -> Response:
        if found is None:
            return upload_problem(
                "NotAuthorizedError", "The token may not upload to this address.", retriable=False, status=401
            )
        try:
            return await _taken(request, world, found, at)
        except store.Refused as no:
            return no.answer()
        except store.Interrupted:
            return Cut()
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it

    async def put_off(due_at: float) -> None:
        await _keep_for_later(request, world, found, due_at)

    return await under(
        world,
        fault,
        acted,
        put_off,
        broken=upload_problem("ProcessingFailedError", "Something went wrong.", retriable=True, status=500),
        limited=app_full().answer(),
    )


def _enter(
    conn: sqlite3.Connection, world: World, token: str, container_id: str, version: str, at: float
) -> tuple[Container | None, Fault | None]:
    count_call(conn, NAME, "upload")
    found = containers.by_id(conn, container_id)
    creator = creator_of(conn, found.creator_id) if found else None
    names = names_of(creator) if creator else ()
    fault = faults.take_line(conn, NAME, ("upload",), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        fault = None
    callers = [calls.judged(conn, world, token, login, at)[0] for login in ("instagram", "facebook")]
    caller = next((each for each in callers if each is not None), None)
    own = caller is not None and found is not None and containers.mine(conn, caller, found.id) is not None
    usable = own and found is not None and found.source == "resumable" and calls.VERSION.match(version)
    return (found if usable else None), fault


async def _taken(request: Request, world: World, found: Container, at: float) -> Response:
    if found.state(at) != "IN_PROGRESS" or found.finished_at is not None:
        raise store.Refused("OffsetInvalidError", "The upload is complete or has ended.", retriable=False)
    path = world.files / found.file_name
    if "file_url" in request.headers:
        return await _pulled(world, found, path, request.headers["file_url"])
    sent = store.headers_of(request)
    if found.total_bytes is not None and sent.file_size != found.total_bytes:
        raise store.Refused("ProcessingFailedError", "file_size has changed.", retriable=False)
    await world.write(containers.note_size, found.id, sent.file_size)
    creator = await world.read(creator_of, found.creator_id)
    await store.take(
        path,
        request.stream(),
        sent,
        most_bytes=MOST_VIDEO_BYTES[found.surface],
        cut_at_byte=(creator.switches.cut_at_byte if creator else 0) or None,
    )
    await _complete(world, found, path, at)
    return said(DONE)


async def _pulled(world: World, found: Container, path: Path, url: str) -> Response:
    """Only an address and no body: Meta pulls (section 4.3)."""
    try:
        got = await fetch.fetch(
            url,
            path,
            most_bytes=MOST_VIDEO_BYTES[found.surface],
            types=TYPES,
            trust=world.settings.pull_ca,
            robots=False,
        )
    except fetch.Unfetchable as failure:
        raise store.Refused("ProcessingFailedError", str(failure), retriable=False) from failure
    await world.write(containers.finish, found.id, got.bytes, got.sha256, world.clock())
    return said(DONE)


async def _complete(world: World, found: Container, path: Path, at: float) -> None:
    sha256 = await asyncio.to_thread(store.sha256_of, path)
    await world.write(containers.finish, found.id, store.received(path), sha256, at)


async def _keep_for_later(request: Request, world: World, found: Container | None, due_at: float) -> None:
    """Read the call to its end and note it: its bytes count only later."""
    try:
        sent = store.headers_of(request)
        part = world.files / f"part-{secrets.token_hex(12)}"
        with part.open("xb") as file:
            async for piece in request.stream():
                file.write(piece)
    except (store.Refused, ClientDisconnect):
        return
    if found is not None:
        arguments = {
            "id": found.id,
            "offset": sent.offset,
            "file_size": sent.file_size,
            "part": part.name,
        }
        await world.write(later.put, "ig_upload", due_at, arguments)


async def _upload_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    found = await world.read(containers.by_id, arguments["id"])
    part = world.files / arguments["part"]
    if found is None or not part.exists():
        return
    path = world.files / found.file_name
    sent = store.Sent(arguments["offset"], arguments["file_size"])

    async def body() -> Any:
        yield part.read_bytes()

    try:
        if found.finished_at is None:
            await world.write(containers.note_size, found.id, sent.file_size)
            await store.take(path, body(), sent, most_bytes=MOST_VIDEO_BYTES[found.surface])
            await _complete(world, found, path, due_at)
    except store.Refused:
        pass
    part.unlink(missing_ok=True)


later.knows("ig_upload", _upload_later)
