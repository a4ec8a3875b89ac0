"""Routes that know who may pass them: `route` for pages, `api.endpoint.api` for JSON, `machine` for monitors.

Before a handler runs, its door has checked where the request comes from, who acts, whether they may, and how
often they did. So a handler never asks; and the matrix test reads `access` of every route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.errors import NotFound, Refused
from app.web import forms, guard, pace

Handler = Callable[[Request], Awaitable[Response]]
# Key of the scope under which the pattern of the route stands, for log lines and metrics.
PATTERN = "backlot.pattern"
# Set in the scope where failures are told as JSON, whatever the caller accepts.
SPEAKS_JSON = "backlot.json"
HARMLESS = ("GET", "HEAD")


class Access(StrEnum):
    """Who may pass. OWNED: an id in the path belongs to a workspace, and the handler looks it up with
    `db.owned_by`, so a foreign id is NotFound. WORLD: a signed link is the permission; nobody is signed in.
    """

    PUBLIC = "public"
    SIGNED_IN = "signed_in"
    OWNED = "owned"
    OPERATOR = "operator"
    WORLD = "world"


class Id(Convertor[int]):
    """`{video_id:id}`: a number that fits a bigint; anything else is no address of ours."""

    regex = "[1-9][0-9]{0,17}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("id", Id())


class Number(Convertor[int]):
    """`{number:number}`: from 0 on, and no more than a database's integer holds."""

    regex = "0|[1-9][0-9]{0,8}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


class Name(Convertor[str]):
    """`{track:name}`: a short word of ours, as tracks and languages have."""

    regex = "[a-z][a-z0-9-]{0,19}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("number", Number())
register_url_convertor("name", Name())


class Door(Route):
    """A line of the list of routes. `declared` is what an API route publishes of itself, None for a page."""

    def __init__(
        self,
        path: str,
        handler: Handler,
        access: Access,
        methods: Sequence[str],
        name: str | None,
        declared: Any = None,
    ) -> None:
        super().__init__(path, handler, methods=list(methods), name=name or path)
        self.access = access
        self.declared = declared


def route(
    path: str,
    handler: Handler,
    access: Access,
    *,
    methods: Sequence[str] = ("GET",),
    name: str | None = None,
    paced: bool = True,
    for_players: bool = False,
) -> Door:
    """A page, for the cookie's session. Changes need the page's CSRF token and count against the limits of the
    person and the address, unless `paced` is False (many small parts of one upload).

    What is `for_players` also opens to the bearer of an API token, and fails in JSON: a player follows a way on to
    the sign-in page and takes it for a broken video.
    """

    async def enter(request: Request) -> Response:
        if for_players:
            request.scope[SPEAKS_JSON] = True
        _start(request, path)
        changes = request.method not in HARMLESS
        if changes:
            guard.check_origin(request)
        bears = for_players and "authorization" in request.headers
        who_acts = guard.by_bearer if bears else guard.by_cookie
        who = None if access is Access.WORLD else await who_acts(request)
        _admit(request, access, who)
        if changes:
            form = await forms.read(request) if forms.is_small(request) else None
            if access not in (Access.PUBLIC, Access.WORLD):
                guard.check_token(request, form)
            if paced and who is not None:
                await pace.take(request, who)
        return await handler(request)

    return Door(path, enter, access, methods, name or _name(handler))


def api_door(
    path: str,
    handler: Handler,
    access: Access,
    *,
    methods: Sequence[str],
    name: str | None,
    paced: bool,
    declared: Any,
) -> Door:
    """A JSON route, for the bearer of a token; cookies are never read. Use `api.endpoint.api`, which calls this."""

    async def enter(request: Request) -> Response:
        request.scope[SPEAKS_JSON] = True
        _start(request, path)
        who = await guard.by_bearer(request) if access not in (Access.PUBLIC, Access.WORLD) else None
        _admit(request, access, who)
        if request.method not in HARMLESS and paced and who is not None:
            await pace.take(request, who)
        return await handler(request)

    return Door(path, enter, access, methods, name, declared)


def machine(path: str, handler: Handler, *, name: str | None = None) -> Door:
    """A public address for machines (health, metrics): nobody signs in, no cookie is read, nothing is published."""
    return api_door(
        path,
        handler,
        Access.PUBLIC,
        methods=("GET",),
        name=name or _name(handler),
        paced=False,
        declared=None,
    )


def _start(request: Request, path: str) -> None:
    """Note the pattern; refuse what no address and no column of ours can hold."""
    request.scope[PATTERN] = path
    if "\0" in request.url.path or any("\0" in str(part) for part in request.path_params.values()):
        raise NotFound
    if any("\0" in part for pair in request.query_params.multi_items() for part in pair):
        raise Refused("The address holds a character that cannot be used.", code="invalid", status=400)


def _admit(request: Request, access: Access, who: guard.Who | None) -> None:
    request.state.who = who
    if access in (Access.PUBLIC, Access.WORLD):
        return
    if who is None:
        raise guard.not_signed_in()
    if access is Access.OPERATOR and not who.person.is_operator:
        raise Refused("Only operators may see this.", code="operators_only", status=403)


def _name(handler: Handler) -> str:
    return str(getattr(handler, "__name__", handler))
