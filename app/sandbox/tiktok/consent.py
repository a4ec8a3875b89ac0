"""The consent page: a tester picks or names a creator, unticks scopes, approves or denies.

Sections 2.1 and 9 (item 1) of the platform's sheet. The address is checked again when the form comes back; a
wrong client or return address is shown, never followed.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.sandbox import faults, later, pages
from app.sandbox.answering import body_of, issue_code, world_of
from app.sandbox.faults import Fault
from app.sandbox.tiktok.calls import under
from app.sandbox.tiktok.creators import LABEL, NAME, Switches
from app.sandbox.tiktok.oauth import granted_scopes, redirect_problem
from app.sandbox.world import App, Creator, World, app_of, count_call, creator_of, creators, make_creator

HINT = "an unaudited app may post to private ones only"
HEX_SHA256 = re.compile(r"^[0-9a-f]{64}$")


async def authorize(request: Request) -> Response:
    world = world_of(request)
    await later.settle(world)
    fault = await world.write(_enter)

    async def acted() -> Response:
        app = await world.read(app_of, world.settings, request.query_params.get("client_key", ""))
        if app is None:
            return pages.problem(request, LABEL, "client_key", "This client key is not known here.")
        wrong = redirect_problem(app, request.query_params.get("redirect_uri", ""), world.base_url)
        if wrong is not None:
            return pages.problem(request, LABEL, "redirect_uri", f"{wrong[0].upper()}{wrong[1:]}.")
        refusal = _refusal(request, app)
        if refusal is not None:
            return _back(request, {"error": refusal[0], "error_description": refusal[1]})
        if request.method == "POST":
            return await _decided(request, world, app)
        return await _asked(request, world, "")

    return await under(world, fault, acted)


def _enter(conn: sqlite3.Connection) -> Fault | None:
    count_call(conn, NAME, "authorize")
    return faults.take_line(conn, NAME, ("authorize",), ())


def _refusal(request: Request, app: App) -> tuple[str, str] | None:
    query = request.query_params
    if len(query.multi_items()) != len(query):
        return "invalid_request", "A parameter stands there twice."
    if query.get("response_type") != "code":
        return "unsupported_response_type", "response_type must be code."
    if granted_scopes(query.get("scope", "")) is None:
        return "invalid_scope", "scope is missing or names a scope that does not exist."
    if not query.get("state"):
        return "invalid_request", "state is missing."
    challenge, method = query.get("code_challenge"), query.get("code_challenge_method")
    if challenge is None and app.app_type == "desktop":
        return "invalid_request", "A desktop app must send code_challenge."
    if challenge is not None and (method != "S256" or not HEX_SHA256.match(challenge)):
        return (
            "invalid_request",
            "code_challenge must be the hex form of SHA-256, code_challenge_method S256.",
        )
    return None


async def _asked(request: Request, world: World, message: str) -> Response:
    found = await world.read(creators, NAME)
    values: dict[str, Any] = {
        "label": LABEL,
        "creators": [(each, _note(each)) for each in found],
        "hint": HINT,
        "scopes": granted_scopes(request.query_params["scope"]) or (),
        "client_key": request.query_params["client_key"],
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
        return _back(
            request, {"error": "access_denied", "error_description": "User canceled the authorization."}
        )
    asked = granted_scopes(request.query_params["scope"]) or ()
    ticked = {value for name, value in pairs if name == "grant"}
    scopes = tuple(scope for scope in asked if scope in ticked)
    if not scopes:
        return await _asked(request, world, "Leave at least one permission ticked, or deny.")
    code = await world.write(_approve, world, app, form, scopes, dict(request.query_params))
    if code is None:
        return await _asked(request, world, "Pick a creator, or give the new one a name.")
    return _back(request, {"code": code, "scopes": ",".join(scopes)})


def _approve(
    conn: sqlite3.Connection,
    world: World,
    app: App,
    form: dict[str, str],
    scopes: tuple[str, ...],
    query: dict[str, str],
) -> str | None:
    at = world.clock()
    chosen, name = form.get("creator", ""), form.get("display_name", "").strip()
    # Without a script a typed name is the only sign that somebody forgot to move the dot.
    if chosen == "new" or name:
        if not 1 <= len(name) <= 100:
            return None
        creator = make_creator(conn, NAME, name, Switches(private=form.get("public") != "yes"), at)
    else:
        found = creator_of(conn, int(chosen)) if re.fullmatch(r"\d{1,9}", chosen) else None
        if found is None or found.platform != NAME:
            return None
        creator = found
    return issue_code(
        conn, world, app.client_key, creator.id, scopes, at,
        redirect_uri=query["redirect_uri"], challenge=query.get("code_challenge"),
    )  # fmt: skip


def _note(creator: Creator) -> str:
    kind = "private" if creator.switches.private else "public"
    return f"{kind} · banned" if creator.switches.banned else kind


def _back(request: Request, answer: dict[str, str]) -> Response:
    query = answer | ({"state": request.query_params["state"]} if "state" in request.query_params else {})
    return RedirectResponse(f"{request.query_params['redirect_uri']}?{urlencode(query)}", 303)
