"""Server-sent events: an open page hears which of its topics changed, and how far work on them is.

A notice carries no content: the page fetches the piece of HTML it shows and gets what its person may see. Whose
a topic is, is checked when the stream opens; whether the session still lives, every 30 seconds.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app import accounts, db, publishing, queue, users, videos
from app.errors import HouseError, NotFound, Refused, Retryable
from app.live import Hub, Notice
from app.web import guard

MOST_TOPICS = 50
HEARTBEAT_S = 15.0
# A revoked session's stream ends within 60 s (reliability, section 7).
SESSION_EVERY_S = 30.0
TOPIC = re.compile(r"(video|stream|publication|target|account|workspace|job)-([1-9][0-9]{0,17})")
# The operators' pages of the queues. Told again after each silence, as a worker that is gone tells nothing.
QUEUES = "queues"
LOOK: Mapping[str, Callable[[db.Conn, int], Awaitable[Any]]] = {
    "video": videos.get,
    "stream": videos.streams.get,
    "publication": publishing.publications.get,
    "target": publishing.get,
    "account": accounts.get,
}


async def stream(request: Request) -> Response:
    """GET /live?topic=video-7&topic=target-9; 404 when one of them is not the person's."""
    who = guard.who_acts(request)
    topics = frozenset(request.query_params.getlist("topic"))
    if not 1 <= len(topics) <= MOST_TOPICS:
        raise Refused(f"Ask for 1 to {MOST_TOPICS} topics.", code="invalid", fields={"topic": "is missing"})
    await _check(who, topics)
    hub: Hub = request.app.state.hub
    stopping: asyncio.Event = request.app.state.stopping
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(
        _events(hub, stopping, topics, who.session.id), headers=headers, media_type="text/event-stream"
    )


async def _check(who: guard.Who, topics: frozenset[str]) -> None:
    """NotFound unless every topic is of this person's workspace (jobs and queues: unless they are an operator)."""
    if QUEUES in topics and not who.person.is_operator:
        raise NotFound
    found = [TOPIC.fullmatch(topic) for topic in topics - {QUEUES}]
    if any(match is None for match in found):
        raise NotFound
    wanted = [(match[1], int(match[2])) for match in found if match is not None]
    async with db.owned_by(who.workspace.id) as conn:
        for kind, number in wanted:
            if kind == "workspace" and number != who.workspace.id:
                raise NotFound
            if kind in LOOK:
                await LOOK[kind](conn, number)
    jobs = [number for kind, number in wanted if kind == "job"]
    if jobs and not who.person.is_operator:
        raise NotFound
    if jobs:
        async with db.house() as conn:
            for number in jobs:
                await queue.get(conn, number)


async def _events(
    hub: Hub, stopping: asyncio.Event, topics: frozenset[str], session_id: int
) -> AsyncIterator[str]:
    """Notices as they come; ends when the house stops or the session is over. The browser comes back by itself."""
    async with hub.subscribe(topics) as page:
        stopped = asyncio.ensure_future(stopping.wait())
        told: asyncio.Future[list[Notice]] | None = None
        asked_at = time.monotonic()
        try:
            # The head leaves at once, so that the page knows from when on it is told everything.
            yield "retry: 2000\n\n"
            while not stopping.is_set():
                told = asyncio.ensure_future(page.next(HEARTBEAT_S))
                await asyncio.wait({told, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not told.done():
                    return
                notices = told.result()
                if time.monotonic() - asked_at >= SESSION_EVERY_S:
                    asked_at = time.monotonic()
                    if not await _lives(session_id):
                        return
                if not notices and QUEUES in topics:
                    notices = [Notice(QUEUES)]
                yield "".join(map(_event, notices)) or ": still here\n\n"
        finally:
            stopped.cancel()
            if told is not None:
                told.cancel()


def _event(notice: Notice) -> str:
    said: dict[str, object] = {"topic": notice.topic}
    if notice.percent is not None:
        said["percent"] = notice.percent
    return f"event: notice\ndata: {json.dumps(said)}\n\n"


async def _lives(session_id: int) -> bool:
    try:
        async with db.house() as conn:
            return await users.is_living(conn, session_id)
    except Retryable:
        # The database is away for a moment: nobody is signed out for that, the next look tells.
        return True
    except HouseError:
        return False
