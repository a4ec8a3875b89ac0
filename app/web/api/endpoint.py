"""Declares what an API endpoint takes and gives, right above the code that does it.

    @takes(Rename, gives=Renamed, summary="Give a video another title.")
    async def rename(request: Request, asked: Rename) -> Renamed: ...

    @gives(VideoAnswer, summary="One video with everything that happened to it.")
    async def get(request: Request) -> VideoAnswer: ...

    # in routes.py
    api("/api/videos/{video_id:id}", videos.get, Access.OWNED)

The declared body is what is read, the declared answer is what is sent: `openapi` publishes the same objects,
so document and code cannot part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.web.access import Access, Door, api_door
from app.web.api.body import Answer, Body, as_json, read

B = TypeVar("B", bound=Body)
Result = Answer | Response


@dataclass(frozen=True)
class Endpoint:
    """A handler and what is published of it. `content` is the schema of a body that is no JSON, by its type.

    `query` are parameters of the query by name, each a JSON schema; `errors` are statuses beyond the usual.
    """

    run: Callable[[Request], Awaitable[Result]]
    name: str
    summary: str
    gives: type[Answer] | None
    status: int
    takes: type[Body] | None = None
    content: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: tuple[int, ...] = ()

    async def __call__(self, request: Request) -> Response:
        result = await self.run(request)
        if isinstance(result, Response):
            return result
        return JSONResponse(as_json(result), self.status)


def gives(
    answer: type[Answer] | None,
    *,
    summary: str,
    status: int = 200,
    content: Mapping[str, Mapping[str, Any]] | None = None,
    query: Mapping[str, Mapping[str, Any]] | None = None,
    errors: Sequence[int] = (),
) -> Callable[[Callable[[Request], Awaitable[Result]]], Endpoint]:
    """An endpoint without a JSON body. `answer` None: it answers with a `Response` that has no body (204).

    `content` declares a body of another type, which the handler reads itself, e.g.
    `{"multipart/form-data": {"type": "object", "properties": {...}, "required": [...]}}`.
    """

    def declared(run: Callable[[Request], Awaitable[Result]]) -> Endpoint:
        return Endpoint(
            run, _name(run), summary, answer, status, None, content or {}, query or {}, tuple(errors)
        )

    return declared


def takes(
    body: type[B],
    *,
    gives: type[Answer] | None,
    summary: str,
    status: int = 200,
    query: Mapping[str, Mapping[str, Any]] | None = None,
    errors: Sequence[int] = (),
) -> Callable[[Callable[[Request, B], Awaitable[Result]]], Endpoint]:
    """An endpoint with a JSON body, which is read and checked before the handler runs."""

    def declared(run: Callable[[Request, B], Awaitable[Result]]) -> Endpoint:
        async def with_body(request: Request) -> Result:
            return await run(request, await read(request, body))

        return Endpoint(with_body, _name(run), summary, gives, status, body, {}, query or {}, tuple(errors))

    return declared


def api(
    path: str,
    endpoint: Endpoint,
    access: Access,
    *,
    methods: Sequence[str] = ("GET",),
    name: str | None = None,
    paced: bool = True,
) -> Door:
    """A line of the list of routes for the API: bearer token, JSON, published in the document."""

    async def handler(request: Request) -> Response:
        return await endpoint(request)

    return api_door(
        path,
        handler,
        access,
        methods=methods,
        name=name or f"api_{endpoint.name}",
        paced=paced,
        declared=endpoint,
    )


def _name(run: Callable[..., Any]) -> str:
    """`videos_retry` for `retry` in `app.web.api.videos`: unique over the API."""
    return f"{run.__module__.rpartition('.')[2]}_{run.__name__}"
