"""The two consent pages: a tester picks or names an account, unticks scopes, allows or denies (section 3).

The address to return to is compared exactly and checked again when the form comes back; a wrong client or address is
shown, never followed.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.sandbox import faults, later, pages
from app.sandbox.answering import body_of, under, world_of
from app.sandbox.faults import Fault
from app.sandbox.instagram import calls, tokens
from app.sandbox.instagram.creators import DEFAULTS, LABEL, NAME, scopes_of
from app.sandbox.instagram.oauth import BROKEN
from app.sandbox.meta.envelope import app_full
from app.sandbox.world import App, World, app_of, count_call, creator_of, creators, make_creator

LOCAL_HOSTS = ("localhost", "127.0.0.1")


def page(login: str) -> calls.Handler:
    """The handler of the consent page of one way of signing in."""

    async def handler(request: Request) -> Response:
        world = world_of(request)
        await later.settle(world)
        fault = await world.write(_enter)

        async def acted() -> Response:
            app = await world.read(app_of, world.settings, request.query_params.get("client_id", ""))
            if app is None:
                return pages.problem(request, LABEL, "client_id", "Invalid platform app.")
            redirect_uri = request.query_params.get("redirect_uri", "")
            if not may_return(app, redirect_uri, world.base_url):
                return pages.problem(request, LABEL, "redirect_uri", "Invalid redirect_uri.")
            wrong = _wrong(request, login)
            if wrong is not None:
                return pages.problem(request, LABEL, *wrong)
            if request.method == "POST":
                return await _decided(request, world, app, login)
            return await _asked(request, world, login, "")

        return await under(world, fault, acted, broken=BROKEN.answer(), limited=app_full().answer())

    return handler


def _enter(conn: sqlite3.Connection) -> Fault | None:
    count_call(conn, NAME, "authorize")
    return faults.take_line(conn, NAME, ("authorize",), ())


def may_return(app: App, redirect_uri: str, base_url: str) -> bool:
    """Whether this is one of the app's addresses, to the letter. An app without a list may return to this machine
    and to the install's own address.
    """
    if app.redirect_uris is not None:
        return redirect_uri in app.redirect_uris
    parts, own = urlsplit(redirect_uri), urlsplit(base_url)
    at_home = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
    return parts.scheme in ("http", "https") and (parts.hostname in LOCAL_HOSTS or at_home)


def _wrong(request: Request, login: str) -> tuple[str, str] | None:
    query = request.query_params
    if login == "facebook" and not calls.VERSION.match(request.path_params["version"]):
        return "version", "There is no such version."
    if query.get("response_type") != "code":
        return "response_type", "response_type must be code."
    if _scopes(query.get("scope", ""), login) is None:
        return "scope", f"Invalid Scopes: {query.get('scope', '')}."
    if not query.get("state"):
        return "state", "state is missing."
    return None


def _scopes(asked: str, login: str) -> tuple[str, ...] | None:
    """The scopes asked for, in their order; None when one of them does not exist on this way of signing in."""
    names = tuple(dict.fromkeys(filter(None, re.split(r"[, ]+", asked))))
    return names if names and all(name in scopes_of(login) for name in names) else None


async def _asked(request: Request, world: World, login: str, message: str) -> Response:
    target = urlsplit(request.query_params["redirect_uri"])
    values: dict[str, Any] = {
        "label": LABEL,
        "creators": [(each, each.switches.account_type.lower()) for each in await world.read(creators, NAME)],
        "hint": "",
        "scopes": _scopes(request.query_params["scope"], login) or (),
        "client_key": request.query_params["client_id"],
        "message": message,
    }
    return pages.page(
        request, "consent.html", values, 400 if message else 200, form_to=f"{target.scheme}://{target.netloc}"
    )


async def _decided(request: Request, world: World, app: App, login: str) -> Response:
    pairs = parse_qsl((await body_of(request)).decode(errors="replace"), keep_blank_values=True)
    form = dict(pairs)
    if form.get("decision") != "approve":
        return _back(
            request,
            {
                "error": "access_denied",
                "error_reason": "user_denied",
                "error_description": "The user denied your request.",
            },
        )
    ticked = {value for name, value in pairs if name == "grant"}
    scopes = tuple(scope for scope in _scopes(request.query_params["scope"], login) or () if scope in ticked)
    if not scopes:
        return await _asked(request, world, login, "Leave at least one permission ticked, or deny.")
    code = await world.write(_approve, world, app, form, scopes, request.query_params["redirect_uri"])
    if code is None:
        return await _asked(request, world, login, "Pick an account, or give the new one a name.")
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
        creator_id = make_creator(conn, NAME, name, DEFAULTS, at).id
    else:
        found = creator_of(conn, int(chosen)) if re.fullmatch(r"\d{1,9}", chosen) else None
        if found is None or found.platform != NAME:
            return None
        creator_id = found.id
    return tokens.issue_code(conn, app.client_key, creator_id, scopes, at, redirect_uri=redirect_uri)


def _back(request: Request, answer: dict[str, str]) -> Response:
    query = answer | {"state": request.query_params["state"]}
    # The fragment is no part of the code; the platform sends it all the same.
    return RedirectResponse(f"{request.query_params['redirect_uri']}?{urlencode(query)}#_", 303)
