"""Batches for programs: several files or videos in one job, how each stands, a retry of what failed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urljoin

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app import batches, config, db, videos
from app.errors import Refused
from app.web import compose, guard, words
from app.web.api import multipart
from app.web.api.body import Answer, Body, Line
from app.web.api.endpoint import gives, takes
from app.web.api.repeats import idempotent
from app.web.api.videos import Failure

FILE_FIELDS = ("file", "video")
# Told in the schema; the room itself refuses, in a sentence.
FEW = {"minItems": 1, "maxItems": batches.MOST}


class BatchFile(Body):
    """A file that will be sent to its place. Without a title of its own it gets the common one."""

    filename: Annotated[Line, Field(min_length=1, max_length=255)]
    bytes: Annotated[int, Field(ge=1, lt=2**63)]
    title: Annotated[Line, Field(min_length=1, max_length=2200)] | None = None


class NewBatch(Body):
    """`files` for act `upload`, `videoIds` for the others. In `title`, `{name}` stands for each file's or video's own
    name. A post needs `accountId` and `post`; a retry and a cancel take nothing else.
    """

    act: Literal["upload", "post", "retry", "cancel"] = "upload"
    files: Annotated[list[BatchFile], Field(json_schema_extra=FEW)] | None = None
    video_ids: (
        Annotated[list[Annotated[int, Field(ge=1, lt=10**18)]], Field(json_schema_extra=FEW)] | None
    ) = None
    account_id: Annotated[int, Field(ge=1, lt=10**18)] | None = None
    title: Annotated[Line, Field(min_length=1, max_length=2200)] | None = None
    design: dict[str, Any] | None = None
    post: dict[str, Any] | None = None
    publish_at: Line | None = None
    zone: Line | None = None


class Counts(Answer):
    """How many items are at each stage; together they are `total`."""

    total: int
    waiting: int
    uploading: int
    working: int
    planned: int
    done: int
    failed: int
    refused: int
    skipped: int
    cancelled: int


class BatchItem(Answer):
    """One of several. `status` is WAITING_FOR_FILE, RECEIVING, REFUSED or SKIPPED (there is nothing to do) while
    nothing was begun, else its video's. `note` is why what was asked for it was not needed or not possible.
    """

    id: int
    title: str
    filename: str
    status: str
    stage: str
    progress: float
    video_id: int | None
    post_url: str | None
    poster_url: str | None
    failure: Failure | None
    note: str | None


class Batch(Answer):
    """`progress` is 0–100 over all that was not cancelled."""

    id: int
    act: str
    status: str
    progress: float
    counts: Counts
    items: list[BatchItem]
    created_at: datetime


class BatchAnswer(Answer):
    batch: Batch


class ActedAnswer(Answer):
    """`acted` is for how many items it was accepted; why not for the others stands with them."""

    acted: int
    batch: Batch


FORM = {
    "multipart/form-data": {
        "type": "object",
        "description": "Exactly one of `file` and `video` holds the video. Account, look and time are the batch's.",
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "video": {"type": "string", "format": "binary"},
        },
        "additionalProperties": False,
    }
}


@takes(
    NewBatch,
    gives=BatchAnswer,
    status=201,
    summary="Put several files or videos into one batch.",
    errors=(404, 409, 413),
)
async def create(request: Request, asked: NewBatch) -> Response:
    """Nothing is written unless all of it can be accepted; what an act cannot do for one video is its result."""
    who = guard.who_acts(request)
    wishes, act = _wishes(asked), batches.Act(asked.act)

    async def work(conn: db.Conn) -> BatchAnswer:
        common: dict[str, Any] = {"workspace_id": who.workspace.id, "user_id": who.person.id, "asked": wishes}
        if act == batches.Act.UPLOAD:
            files = [
                batches.File(
                    file.filename,
                    file.bytes,
                    file.title or batches.title_of(asked.title, compose.stem(file.filename)),
                )
                for file in asked.files or []
            ]
            made = await batches.upload_all(conn, files=files, **common)
        else:
            made = await batches.act_on(conn, act=act, video_ids=asked.video_ids or [], **common)
        return BatchAnswer(batch=await _whole(request, conn, made.id))

    return await idempotent(request, who, work, status=201)


@gives(BatchAnswer, summary="One batch with every item, how many stand where, and how far all of it is.")
async def get(request: Request) -> BatchAnswer:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        return BatchAnswer(batch=await _whole(request, conn, request.path_params["batch_id"]))


@gives(ActedAnswer, summary="Try again what failed or was not accepted; again, it changes nothing.")
async def retry(request: Request) -> Response:
    return await _act(request, batches.retry)


@gives(ActedAnswer, summary="Call off what is not posted yet; again, it changes nothing.")
async def cancel(request: Request) -> Response:
    answer = await _act(request, batches.cancel)
    await batches.clear_away(guard.who_acts(request).workspace.id, request.path_params["batch_id"])
    return answer


@gives(
    BatchAnswer,
    status=201,
    summary="Send the file of one place in a batch; one that was refused may be sent again.",
    content=FORM,
    errors=(409, 410),
)
async def fill(request: Request) -> Response:
    """Stored while it streams in. A refusal leaves no object, and its reason with the item."""
    who, item_id = guard.who_acts(request), request.path_params["item_id"]
    batch_id = request.path_params["batch_id"]
    async with db.owned_by(who.workspace.id) as conn:
        await batches.item(conn, item_id, batch_id)
    form = multipart.Form(request, files=FILE_FIELDS)
    file = await form.file()
    if file is None:
        raise Refused("Send the file.", code="invalid", fields={"file": "is missing"})
    made = False
    async with contextlib.AsyncExitStack() as stack:
        receiving = videos.uploads.receive(file.chunks, workspace_id=who.workspace.id, filename=file.filename)
        try:
            received = await stack.enter_async_context(receiving)
        except Refused as error:
            async with db.owned_by(who.workspace.id) as conn:
                await batches.refuse(conn, item_id, error)
            raise
        await form.rest()
        if form.fields:
            raise Refused(
                "The batch says the rest.", code="invalid", fields=dict.fromkeys(form.fields, "is not known")
            )

        async def work(conn: db.Conn) -> BatchAnswer:
            nonlocal made
            asked = await batches.open_place(conn, item_id, batch_id)
            await videos.uploads.make(
                conn,
                received,
                workspace_id=who.workspace.id,
                user_id=who.person.id,
                asked=asked,
                item_id=item_id,
            )
            made = True
            return BatchAnswer(batch=await _whole(request, conn, batch_id))

        said = json.dumps([file.filename, received.stored.sha256])
        with videos.places.told():
            answer = await idempotent(
                request, who, work, status=201, request_sha256=hashlib.sha256(said.encode()).digest()
            )
        received.kept = made
    return answer


async def _act(request: Request, verb: Any) -> Response:
    batch_id = request.path_params["batch_id"]

    async def work(conn: db.Conn) -> ActedAnswer:
        acted = await verb(conn, batch_id)
        return ActedAnswer(acted=acted, batch=await _whole(request, conn, batch_id))

    return await idempotent(request, guard.who_acts(request), work)


def _wishes(asked: NewBatch) -> videos.wishes.Wishes:
    """What all of them share. Refused with every problem under its field's name."""
    given = asked.model_dump(by_alias=True, exclude_none=True)
    problems, act = {}, batches.Act(asked.act)
    mine, other = ("files", "videoIds") if act == batches.Act.UPLOAD else ("videoIds", "files")
    if other in given:
        problems[other] = f"is not for this act; give {mine}"
    if act in (batches.Act.RETRY, batches.Act.CANCEL):
        problems |= {
            name: "is not for this act" for name in given if name not in ("act", "videoIds", "files")
        }
    if act == batches.Act.POST:
        problems |= {name: "is missing" for name in ("accountId", "post") if name not in given}
        problems |= {"design": "is not for this act"} if "design" in given else {}
    wishes = {name: value for name, value in given.items() if name not in ("act", "files", "videoIds")}
    try:
        read = videos.wishes.read(wishes)
    except Refused as refused:
        problems = {**refused.fields, **problems}
    if problems:
        raise Refused("This cannot be used as it is.", code="invalid", fields=problems)
    return read


async def _whole(request: Request, conn: db.Conn, batch_id: int) -> Batch:
    found = await batches.show(conn, batch_id)
    return Batch(
        id=found.batch.id,
        act=found.batch.act,
        status=found.status,
        progress=round(found.progress, 1),
        counts=Counts(**vars(found.counts)),
        items=[_item(request, one) for one in found.items],
        created_at=found.batch.created_at,
    )


def _item(request: Request, one: batches.ShownItem) -> BatchItem:
    shown = one.shown
    poster = None if shown is None else shown.still("medium") or shown.still("poster")
    failed = one.stage in (batches.Stage.FAILED, batches.Stage.REFUSED)
    return BatchItem(
        id=one.item.id,
        title=one.title,
        filename=one.filename,
        status=one.state,
        stage=one.stage,
        progress=round(one.progress, 1),
        video_id=None if shown is None else shown.video.id,
        post_url=None if shown is None or shown.target is None else shown.target.url,
        poster_url=_address(request, poster.url) if poster else None,
        failure=_failure(one) if failed else None,
        note=one.reason if one.stage == batches.Stage.SKIPPED else one.note,
    )


def _failure(one: batches.ShownItem) -> Failure:
    step = words.next_step(one.reason_code)
    if one.takes_file:
        onward = "Send a file for it again, or cancel the batch."
    else:
        onward = f"{step[1]}, then retry." if step else "Retry when the cause is gone, or leave it."
    return Failure(
        code=one.reason_code or "failed",
        message=one.reason or "It failed.",
        next=f"Nothing more happens by itself. {onward}",
    )


def _address(request: Request, link: str) -> str:
    """A whole address of a file's link: under PUBLIC_URL where it is set, else as the caller reached us."""
    return urljoin(config.get().public_url or str(request.base_url), link)
