"""Resumable uploads for browsers: tus 1.0.0 with the extensions creation, termination and expiration.

The bytes go straight from the socket to the storage. The last piece makes the video, and its answer names it in
`Upload-Video`; a browser that lost that answer asks `finish`, which gives the same one.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app import batches, config, db, videos
from app.errors import Refused, WrongState
from app.users import Who
from app.web import compose, guard
from app.web.pages import page

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration"
OFFSET_TYPE = "application/offset+octet-stream"
MOST_METADATA = 64 * 1024
# More digits than any size has.
MOST_DIGITS = 18


async def options(request: Request) -> Response:
    """OPTIONS /uploads: what this server can do."""
    return _answer(
        204,
        {
            "tus-version": VERSION,
            "tus-extension": EXTENSIONS,
            "tus-max-size": str(config.get().max_upload_bytes),
        },
    )


async def create(request: Request) -> Response:
    """POST /uploads: opens an upload; `Upload-Metadata` carries `filename` and `wishes` (JSON), or instead of them
    `item`, the place in a batch that it fills.
    """
    who = guard.who_acts(request)
    _check_version(request)
    if "upload-defer-length" in request.headers:
        raise Refused("Say the size of the file at the start.", code="no_length", status=400)
    metadata = _metadata(request.headers.get("upload-metadata", ""))
    given = metadata.get("item")
    begin = _begin_alone if given is None else _begin_in_batch
    upload = await begin(who, metadata, _number(request, "upload-length"))
    return _answer(201, {"location": f"/uploads/{upload.id}", "upload-offset": "0", **_expires(upload)})


async def _begin_alone(who: Who, metadata: dict[str, str], bytes_total: int) -> videos.uploads.Upload:
    async with db.owned_by(who.workspace.id) as conn:
        asked = videos.wishes.read(await compose.unpacked(conn, _wishes(metadata.get("wishes", "{}"))))
    return await videos.uploads.begin(
        workspace_id=who.workspace.id,
        user_id=who.person.id,
        filename=metadata.get("filename", "video"),
        bytes_total=bytes_total,
        asked=asked,
    )


async def _begin_in_batch(who: Who, metadata: dict[str, str], bytes_total: int) -> videos.uploads.Upload:
    """What it asks for is the batch's; when it cannot begin, its place says why."""
    item = metadata["item"]
    if not item.isascii() or not item.isdigit() or len(item) > MOST_DIGITS:
        raise Refused("The item must be a whole number.", code="bad_header", status=400)
    async with db.owned_by(who.workspace.id) as conn:
        asked = await batches.open_place(conn, int(item))
    try:
        return await videos.uploads.begin(
            workspace_id=who.workspace.id,
            user_id=who.person.id,
            filename=metadata.get("filename", "video"),
            bytes_total=bytes_total,
            asked=asked,
            item_id=int(item),
        )
    except (Refused, WrongState) as error:
        async with db.owned_by(who.workspace.id) as conn:
            await batches.refuse(conn, int(item), error)
        raise


async def unfinished(request: Request) -> Response:
    """GET /uploads: the person's uploads that can go on, as JSON for the script or as a list for the page."""
    who = guard.who_acts(request)
    async with db.owned_by(who.workspace.id) as conn:
        found = await videos.uploads.unfinished(conn, who.person.id)
    if "application/json" not in request.headers.get("accept", ""):
        return page(request, "videos/_unfinished.html", uploads=found)
    return JSONResponse(
        {
            "uploads": [
                {
                    "id": upload.id,
                    "url": f"/uploads/{upload.id}",
                    "filename": upload.filename,
                    "title": upload.wishes.get("title") or upload.filename,
                    "bytesTotal": upload.bytes_total,
                    "bytesHere": upload.bytes_here,
                    "changedAt": upload.changed_at.isoformat(),
                }
                for upload in found
            ]
        }
    )


async def head(request: Request) -> Response:
    """HEAD /uploads/{id}: where it stands, by the storage's own count."""
    _check_version(request)
    upload, offset = await videos.uploads.offset_of(guard.who_acts(request).workspace.id, _id(request))
    return _answer(200, _standing(upload, offset) | {"cache-control": "no-store"})


async def append(request: Request) -> Response:
    """PATCH /uploads/{id}: more bytes. 409 when they do not begin where the upload stands."""
    workspace_id, upload_id = guard.who_acts(request).workspace.id, _id(request)
    _check_version(request)
    if request.headers.get("content-type", "").lower() != OFFSET_TYPE:
        raise Refused(f"Send the bytes as {OFFSET_TYPE}.", code="wrong_type", status=415)
    offset = _number(request, "upload-offset")
    async with db.owned_by(workspace_id) as conn:
        upload = await videos.uploads.get(conn, upload_id)
    if upload.state in ("done", "finishing") and offset == upload.bytes_total:
        # The answer to the last piece was lost: say again what came of it.
        here = offset
    else:
        here = await videos.uploads.append(workspace_id, upload_id, offset, request.stream())
    headers = {"upload-offset": str(here), **_expires(upload)}
    if here == upload.bytes_total:
        video = await videos.uploads.finish(workspace_id, upload_id)
        headers["upload-video"] = f"/videos/{video.id}"
    return _answer(204, headers)


async def finish(request: Request) -> Response:
    """POST /uploads/{id}/finish: the video of an upload whose every byte is here; the same one each time."""
    workspace_id, upload_id = guard.who_acts(request).workspace.id, _id(request)
    upload, offset = await videos.uploads.offset_of(workspace_id, upload_id)
    if offset < upload.bytes_total:
        raise WrongState("Some of the file is not here yet.", code="not_whole")
    video = await videos.uploads.finish(workspace_id, upload_id)
    return JSONResponse({"video": {"id": video.id, "url": f"/videos/{video.id}"}})


async def terminate(request: Request) -> Response:
    """DELETE /uploads/{id}: give it up; its bytes are removed. What became a video stays."""
    workspace_id, upload_id = guard.who_acts(request).workspace.id, _id(request)
    async with db.owned_by(workspace_id) as conn:
        await videos.uploads.get(conn, upload_id)
    await videos.uploads.drop(workspace_id, upload_id)
    return _answer(204, {})


async def drop(request: Request) -> Response:
    """POST /uploads/{id}/drop: the same for a form without script; gives the list that is left."""
    workspace_id, upload_id = guard.who_acts(request).workspace.id, _id(request)
    async with db.owned_by(workspace_id) as conn:
        await videos.uploads.get(conn, upload_id)
    await videos.uploads.drop(workspace_id, upload_id)
    if request.headers.get("hx-request") == "true":
        return await unfinished(request)
    return Response(status_code=303, headers={"location": "/videos"})


def _answer(status: int, headers: dict[str, str]) -> Response:
    return Response(status_code=status, headers={"tus-resumable": VERSION, **headers})


def _standing(upload: videos.uploads.Upload, offset: int) -> dict[str, str]:
    headers = {"upload-offset": str(offset), "upload-length": str(upload.bytes_total), **_expires(upload)}
    if upload.video_id is not None:
        headers["upload-video"] = f"/videos/{upload.video_id}"
    return headers


def _expires(upload: videos.uploads.Upload) -> dict[str, str]:
    until = upload.changed_at + timedelta(hours=videos.uploads.KEEP_H)
    return {"upload-expires": format_datetime(until, usegmt=True)}


def _id(request: Request) -> str:
    return str(request.path_params["upload_id"])


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        raise Refused(f"This server speaks tus {VERSION}.", code="tus_version", status=412)


def _number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        raise Refused(f"{header.title()} must be a whole number.", code="bad_header", status=400)
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """Upload-Metadata: pairs of a key and base64, with commas between them (tus 1.0.0, creation)."""
    if len(header) > MOST_METADATA:
        raise Refused("The metadata is too large.", code="too_large", status=413)
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Refused("Upload-Metadata cannot be read.", code="bad_header", status=400) from error
        if "\0" in text:
            raise Refused("Upload-Metadata cannot be used.", code="bad_header", status=400)
        found[key] = text
    return found


def _wishes(text: str) -> dict[str, Any]:
    try:
        asked = json.loads(text)
    except ValueError as error:
        raise Refused(
            "The wishes must be JSON.", code="invalid", fields={"wishes": "must be JSON"}
        ) from error
    if not isinstance(asked, dict):
        raise Refused("The wishes must be an object.", code="invalid", fields={"wishes": "must be an object"})
    return asked
