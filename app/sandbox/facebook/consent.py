"""The dialog: a tester picks or names a person, unticks permissions, approves or denies. Sheet, section 1, row 1.

The address is checked again when the form comes back; a wrong client or return address is shown, never followed.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.sandbox import faults, later, pages
from app.sandbox.answering import body_of, issue_code, under, world_of
from app.sandbox.facebook.creators import DEFAULTS, LABEL, NAME, SCOPES
from app.sandbox.faults import Fault
from app.sandbox.meta import envelope
from app.sandbox.meta.envelope import Problem
from app.sandbox.world import App, Creator, World, app_of, count_call, creator_of, creators, make_creator

LOCAL_HOSTS = ("localhost", "127.0.0.1")
KINDS_OF_ASKING = (None, "rerequest", "reauthorize")


async def dialog(request: Request) -> Response:
    world = world_of(request)
    await later.settle(world)
    fault = await world.write(_enter)

    async def acted() -> Response:
        app = await world.read(app_of, world.settings, request.query_params.get("client_id", ""))
        if app is None:
            return pages.problem(request, LABEL, "client_id", "This app id is not known here.")
        wrong = redirect_problem(app, request.query_params.get("redirect_uri", ""), world.base_url)
        if wrong is not None:
            return pages.problem(request, LABEL, "redirect_uri", f"{wrong[0].upper()}{wrong[1:]}.")
        refusal = _refusal(request)
        if refusal is not None:
            return pages.problem(request, LABEL, *refusal)
        if request.method == "POST":
            return await _decided(request, world, app)
        return await _asked(request, world, "")

    broken = Problem(2, "Service temporarily unavailable", status=500, transient=True).answer()
    return await under(world, fault, acted, broken=broken, limited=envelope.app_full().answer())


def _enter(conn: sqlite3.Connection) -> Fault | None:
    count_call(conn, NAME, "authorize")
    return faults.take_line(conn, NAME, ("authorize",), ())


def redirect_problem(app: App, redirect_uri: str, base_url: str) -> str | None:
    """Why this address may not be returned to, or None.

    An app without a list of its own may return to this machine on any port, and to the install's own address; one
    with a list to exactly the addresses on it.
    """
    try:
        parts = urlsplit(redirect_uri)
        host = parts.hostname
    except ValueError:
        return "redirect_uri is not an address"
    if parts.scheme not in ("http", "https") or not host or parts.fragment:
        return "redirect_uri is missing or not an address"
    if app.redirect_uris is not None:
        return None if redirect_uri in app.redirect_uris else "redirect_uri is not registered for this app"
    own = urlsplit(base_url)
    if host in LOCAL_HOSTS or (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
        return None
    return "redirect_uri is not on this machine and not on this install's own address"


def granted_scopes(asked: str) -> tuple[str, ...] | None:
    """The scopes asked for, in their order; None when one of them does not exist."""
    names = tuple(dict.fromkeys(filter(None, (each.strip() for each in asked.split(",")))))
    return names if names and all(name in SCOPES for name in names) else None


def _refusal(request: Request) -> tuple[str, str] | None:
    query = request.query_params
    if len(query.multi_items()) != len(query):
        return "query", "A parameter stands there twice."
    if query.get("response_type") != "code":
        return "response_type", "response_type must be code."
    if granted_scopes(query.get("scope", "")) is None:
        return "scope", "Invalid Scopes: scope is missing or names a permission that does not exist."
    if not query.get("state"):
        return "state", "state is missing."
    if query.get("auth_type") not in KINDS_OF_ASKING:
        return "auth_type", "auth_type must be rerequest or reauthorize."
    return None


async def _asked(request: Request, world: World, message: str) -> Response:
    found = await world.read(creators, NAME)
    values: dict[str, Any] = {
        "label": LABEL,
        "creators": [(each, _note(each)) for each in found],
        "hint": "",
        "scopes": granted_scopes(request.query_params["scope"]) or (),
        "client_key": request.query_params["client_id"],
        "message": message,
    }
    target = urlsplit(request.query_params["redirect_uri"])
    return pages.page(
        request, "consent.html", values, 400 if message else 200, form_to=f"{target.scheme}://{target.netloc}"
    )


async def _decided(request: Request, world: World, app: App) -> Response:
    pairs = parse_qsl((await body_of(request)).decode(errors="replace"), keep_blank_values=True)
    form = dict(pairs)
    if form.get("decision") != "approve":
        denied = {
            "error": "access_denied",
            "error_code": "200",
            "error_reason": "user_denied",
            "error_description": "Permissions error",
        }
        return _back(request, denied)
    asked = granted_scopes(request.query_params["scope"]) or ()
    ticked = {value for name, value in pairs if name == "grant"}
    scopes = tuple(scope for scope in asked if scope in ticked)
    if not scopes:
        return await _asked(request, world, "Leave at least one permission ticked, or deny.")
    code = await world.write(_approve, world, app, form, scopes, request.query_params["redirect_uri"])
    if code is None:
        return await _asked(request, world, "Pick a creator, or give the new one a name.")
    return _back(request, {"code": code})


def _approve(
    conn: sqlite3.Connection,
    world: World,
    app: App,
    form: dict[str, str],
    scopes: tuple[str, ...],
    redirect_uri: str,
) -> str | None:
    at = world.clock()
    chosen, name = form.get("creator", ""), form.get("display_name", "").strip()
    # Without a script a typed name is the only sign that somebody forgot to move the dot.
    if chosen == "new" or name:
        if not 1 <= len(name) <= 100:
            return None
        creator = make_creator(conn, NAME, name, DEFAULTS, at)
    else:
        found = creator_of(conn, int(chosen)) if re.fullmatch(r"\d{1,9}", chosen) else None
        if found is None or found.platform != NAME:
            return None
        creator = found
    return issue_code(conn, world, app.client_key, creator.id, scopes, at, redirect_uri=redirect_uri)


def _note(creator: Creator) -> str:
    count = creator.switches.pages
    return "one Page" if count == 1 else f"{count} Pages"


def _back(request: Request, answer: dict[str, str]) -> Response:
    query = answer | {"state": request.query_params["state"]}
    joint = "&" if urlsplit(request.query_params["redirect_uri"]).query else "?"
    # The dialog ends its redirect so; the fragment is not part of the code.
    return RedirectResponse(f"{request.query_params['redirect_uri']}{joint}{urlencode(query)}#_=_", 303)
