"""One call of the Graph hosts, from the token to the envelope: what every endpoint has in common.

Order of the checks: version, armed faults, token (190), limits (4, 17, 32, 80001), whose token (200), scope (10 or
200), the act. Facebook sheet, sections 4, 5 and 7.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from app.sandbox import faults, later
from app.sandbox.answering import base_of, expire_tokens, names_of, tagged, under, world_of
from app.sandbox.facebook.creators import CALLS_PER_HOUR, NAME, Page, page_of, user_id
from app.sandbox.faults import Fault
from app.sandbox.meta import envelope
from app.sandbox.meta.envelope import DAY_S, HOUR_S, Limit, Problem
from app.sandbox.world import App, Creator, World, app_of, count_call, creator_of, digest, open_id

VERSIONS = re.compile(r"^v(2[3-6])\.0$")
# A word in the text of a post arms a fault for that post alone.
LAST_TAGS = {
    "#sandbox-drop-last-chunk": Fault("drop_after", "last_chunk"),
    "#sandbox-error-last-chunk": Fault("error_after", "last_chunk"),
}
OUTCOME_TAGS = {
    "#sandbox-internal": Fault("fail", reason="error"),
    "#sandbox-slow-processing": Fault("processing_delay", seconds=30.0),
}


@dataclass(frozen=True)
class Caller:
    """Who calls: an app alone, a person, or a Page in the hands of one."""

    app: App
    kind: str
    grant_id: int = 0
    person: Creator | None = None
    page: Page | None = None
    scopes: frozenset[str] = frozenset()

    @property
    def creator(self) -> Creator:
        if self.person is None:
            raise envelope.no_permission("a user's or a Page's")
        return self.person

    @property
    def names(self) -> tuple[str, ...]:
        """What a fault may call this account."""
        if self.person is None:
            return ()
        ids = (open_id(self.app.client_key, self.person.id), user_id(self.person.id))
        return names_of(self.person, *ids, *([self.page.id] if self.page else []))


@dataclass(frozen=True)
class Call:
    """One call whose caller is known. `object_id` is the id in its path, `base` the simulator's own address."""

    caller: Caller
    object_id: str
    fields: Mapping[str, str]
    at: float
    base: str = ""
    files: Mapping[str, UploadFile] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    method: str = "POST"

    @property
    def page(self) -> Page:
        """The Page the call is for, with its own token; a person's token may not write to a Page (200)."""
        if self.caller.kind != "page" or self.caller.page is None or self.caller.page.id != self.object_id:
            raise Problem(
                200, "(#200) A Page access token of this Page is required to manage the object.", status=403
            )
        return self.caller.page

    @property
    def asked(self) -> list[str]:
        """The names in `fields`, without what follows a dot, a bracket or a brace."""
        listed = re.sub(r"\{[^{}]*\}|\([^()]*\)", "", self.fields.get("fields", ""))
        return [name.partition(".")[0].strip() for name in listed.split(",") if name.strip()]

    def only(self, *names: str) -> list[str]:
        """The names asked for; an unknown one fails the whole call."""
        for name in self.asked:
            if name not in names:
                raise Problem(100, f"(#100) Tried accessing nonexisting field ({name})")
        return self.asked


Act = Callable[[World, Call], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Endpoint:
    """What a call is, once its fields are read. `steps` are its names for faults, the first one counts."""

    steps: tuple[str, ...]
    act: Act
    # Whose token it needs: any, user, page or app.
    whose: str = "page"
    scope: str = ""
    writes: bool = False


# By the call's fields and the id in its path.
Chosen = Callable[[Mapping[str, str], str], Endpoint]
Handler = Callable[[Request], Awaitable[Response]]
_ACTS: dict[str, Endpoint] = {}


def fixed(endpoint: Endpoint) -> Chosen:
    return lambda fields, object_id: endpoint


def put_off_as(name: str, endpoint: Endpoint) -> Endpoint:
    """Let this act take effect later, too, under `act_after_cut`."""
    _ACTS[name] = endpoint
    return endpoint


def handler(chosen: Chosen, *, files: bool = False) -> Handler:
    """The handler of one address. `files`: its body is a multipart form."""

    async def handle(request: Request) -> Response:
        world = world_of(request)
        await later.settle(world)
        if not VERSIONS.match(request.path_params.get("version", "v26.0")):
            return Problem(2635, "(#2635) You are calling a version of the API that does not exist.").answer()
        try:
            fields, parts = await _sent(request, files)
            endpoint = chosen(fields, request.path_params.get("object_id", ""))
        except Problem as problem:
            return problem.answer()
        at = world.clock()
        token = envelope.token_of(request.headers, fields)
        entry = await world.write(_enter, world, endpoint, token, fields, at)

        async def acted() -> Response:
            try:
                caller = entry.known()
                _allow(endpoint, caller)
                call = Call(
                    caller,
                    request.path_params.get("object_id", ""),
                    fields,
                    at,
                    base_of(request),
                    parts,
                    token,
                    request.method,
                )
                return envelope.said(await endpoint.act(world, call), headers=entry.headers)
            except Problem as problem:
                return problem.answer(entry.headers)

        async def put_off(due_at: float) -> None:
            name = next((name for name, each in _ACTS.items() if each is endpoint), None)
            if name is not None and entry.caller is not None and entry.problem is None:
                await world.write(later.put, NAME, due_at, _kept(name, entry.caller, request, fields))

        broken = Problem(2, "Service temporarily unavailable", status=500, transient=True).answer(
            entry.headers
        )
        return await under(
            world, entry.fault, acted, put_off, broken=broken, limited=entry.full().answer(entry.headers)
        )

    return handle


async def _sent(request: Request, files: bool) -> tuple[dict[str, str], dict[str, UploadFile]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not files or kind != "multipart/form-data":
        return await envelope.fields_of(request), {}
    form = await request.form()
    fields = dict(request.query_params)
    parts = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            parts[name] = value
        else:
            fields[name] = value
    return fields, parts


@dataclass(frozen=True)
class Entry:
    fault: Fault | None
    caller: Caller | None
    problem: Problem | None
    headers: dict[str, str]

    def known(self) -> Caller:
        if self.problem is not None:
            raise self.problem
        if self.caller is None:
            raise envelope.dead_token(None)
        return self.caller

    def full(self) -> Problem:
        """What a call too many is answered: by the Page's limit, or by the app's."""
        if self.caller is not None and self.caller.kind == "page":
            return envelope.account_full(self.caller.creator.switches.page_limit_code)
        return envelope.app_full()


def _enter(
    conn: sqlite3.Connection,
    world: World,
    endpoint: Endpoint,
    token: str,
    fields: Mapping[str, str],
    at: float,
) -> Entry:
    for step in endpoint.steps:
        count_call(conn, NAME, step)
    caller, problem = caller_of(conn, world, token, at)
    names = caller.names if caller else ()
    fault = faults.take_line(conn, NAME, endpoint.steps, names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        fault = None
        caller, problem = caller_of(conn, world, token, at)
    if fault is None and "last_chunk" in endpoint.steps:
        text = fields.get("description") or fields.get("message") or fields.get("title")
        fault = next(iter(tagged(LAST_TAGS, text)), None)
    headers: dict[str, str] = {}
    if caller is not None and problem is None:
        headers, problem = _counted(conn, caller, at)
    if fault is not None and fault.fault == "rate_limit" and caller is not None:
        headers |= _stopped(caller)
    return Entry(fault, caller, problem, headers)


def caller_of(
    conn: sqlite3.Connection, world: World, token: str, at: float
) -> tuple[Caller | None, Problem | None]:
    """Who holds this token; with a Problem when it is dead. The caller of a dead one is known for faults only."""
    if "|" in token:
        key, _, secret = token.partition("|")
        app = app_of(conn, world.settings, key)
        known = app is not None and app.client_secret == secret
        return (Caller(app, "app"), None) if app and known else (None, envelope.dead_token(None))
    mark = digest(token)
    user = conn.execute("SELECT * FROM fb_user_tokens WHERE digest = ?", (mark,)).fetchone()
    page = conn.execute("SELECT * FROM fb_page_tokens WHERE digest = ?", (mark,)).fetchone()
    row = user or page
    if row is None:
        return None, envelope.dead_token(None)
    caller, ended = _holder(conn, world, row["grant_id"], page["page_id"] if page else None)
    if caller is None:
        return None, envelope.dead_token(458)
    if ended:
        return caller, envelope.dead_token(458)
    if caller.creator.switches.dead_token:
        return caller, envelope.dead_token(caller.creator.switches.dead_token)
    lives = user or conn.execute("SELECT * FROM access_tokens WHERE digest = ?", (mark,)).fetchone()
    if lives is None or lives["expires_at"] <= at:
        return caller, envelope.dead_token(463)
    if page and caller.page is None:
        return caller, envelope.dead_token(492)
    return caller, None


def _holder(
    conn: sqlite3.Connection, world: World, grant_id: int, page_id: str | None
) -> tuple[Caller | None, bool]:
    grant = conn.execute("SELECT * FROM grants WHERE id = ?", (grant_id,)).fetchone()
    app = app_of(conn, world.settings, grant["client_key"]) if grant else None
    person = creator_of(conn, grant["creator_id"]) if grant else None
    if app is None or person is None:
        return None, True
    scopes = frozenset(filter(None, grant["scopes"].split(",")))
    page = page_of(person, page_id) if page_id else None
    kind = "page" if page_id else "user"
    return Caller(app, kind, grant_id, person, page, scopes), grant["ended_at"] is not None


def _counted(conn: sqlite3.Connection, caller: Caller, at: float) -> tuple[dict[str, str], Problem | None]:
    """Count the call; where both limits could apply, the Page's own does (section 5)."""
    if caller.kind == "page" and caller.page is not None:
        switches = caller.creator.switches
        page = Limit(f"{NAME}|page|{caller.page.id}", switches.calls_per_day, DAY_S)
        percent = page.take(conn, at)
        over = percent > 100
        minutes = page.minutes_left(conn, at) if over else 0
        headers = envelope.account_usage(caller.page.id, "pages", percent, minutes)
        return headers, envelope.account_full(switches.page_limit_code) if over else None
    most = int(caller.app.more.get("facebook_calls_per_hour", CALLS_PER_HOUR))
    percent = Limit(f"{NAME}|app|{caller.app.client_key}", most, HOUR_S).take(conn, at)
    headers = envelope.app_usage(percent)
    if percent > 100:
        return headers, envelope.app_full()
    if caller.person is not None and caller.person.switches.calls_per_hour:
        own = Limit(f"{NAME}|user|{caller.person.id}", caller.person.switches.calls_per_hour, HOUR_S)
        if own.take(conn, at) > 100:
            return headers, Problem(17, "(#17) User request limit reached", transient=True)
    return headers, None


def _stopped(caller: Caller) -> dict[str, str]:
    if caller.kind == "page" and caller.page is not None:
        return envelope.account_usage(caller.page.id, "pages", 100, 1)
    return envelope.app_usage(100)


def _allow(endpoint: Endpoint, caller: Caller) -> None:
    if endpoint.whose == "user" and caller.kind != "user":
        raise Problem(190, "A user access token is required to request this resource.", status=401)
    if endpoint.whose == "app" and caller.kind != "app":
        raise Problem(190, "An app access token is required to request this resource.", status=401)
    if endpoint.whose == "page" and caller.kind != "page":
        raise Problem(200, "(#200) A Page access token is required to manage the object.", status=403)
    if endpoint.scope and endpoint.scope not in caller.scopes:
        if endpoint.writes:
            raise envelope.no_permission(endpoint.scope)
        raise Problem(
            10, f"(#10) This endpoint requires the '{endpoint.scope}' permission to be granted.", status=403
        )


def _kept(name: str, caller: Caller, request: Request, fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        "act": name,
        "grant_id": caller.grant_id,
        "page_id": caller.page.id if caller.page else None,
        "object_id": request.path_params.get("object_id", ""),
        "fields": {key: value for key, value in fields.items() if key != "access_token"},
        "base": base_of(request),
    }


async def _act_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    if not await world.write(later.done, arguments["later_id"]):
        return
    caller, ended = await world.read(_holder, world, arguments["grant_id"], arguments["page_id"])
    endpoint = _ACTS[arguments["act"]]
    if caller is None or ended:
        return
    try:
        _allow(endpoint, caller)
        await endpoint.act(
            world, Call(caller, arguments["object_id"], arguments["fields"], due_at, arguments["base"])
        )
    except Problem:
        return


later.knows(NAME, _act_later)
