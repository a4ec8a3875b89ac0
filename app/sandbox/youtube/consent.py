"""The consent page: a tester signs in as somebody, picks a channel, unticks scopes, approves or denies.

Sections 2.1 and 7 (item 1) of the platform's sheet. The address is checked again when the form comes back; what
is wrong with the client or the return address is shown, never followed.
"""

from __future__ import annotations

import re
import sqlite3
from itertools import groupby
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.sandbox import faults, later, pages
from app.sandbox.answering import body_of, under, world_of
from app.sandbox.faults import Fault
from app.sandbox.world import App, Creator, World, app_of, count_call, creator_of, creators, make_creator
from app.sandbox.youtube.channels import LABEL, NAME, Switches, google_account
from app.sandbox.youtube.oauth import consented, give_code, redirect_problem, scopes_of
from app.sandbox.youtube.problems import backend, too_fast

CHALLENGE = re.compile(r"^[A-Za-z0-9_-]{43}$")
SIGN_IN = re.compile(r"^[^\s@]{1,64}@[^\s@]{1,64}$")


async def authorize(request: Request) -> Response:
    world = world_of(request)
    await later.settle(world)
    fault = await world.write(_enter)

    async def acted() -> Response:
        query = request.query_params
        app = await world.read(app_of, world.settings, query.get("client_id", ""))
        if app is None:
            return pages.problem(request, LABEL, "client_id", "The OAuth client was not found.")
        wrong = redirect_problem(app, query.get("redirect_uri", ""), world.base_url)
        if wrong is not None:
            return pages.problem(request, LABEL, "redirect_uri", f"redirect_uri_mismatch: {wrong}.")
        refusal = _refusal(query)
        if refusal is not None:
            return pages.problem(request, LABEL, *refusal)
        if request.method == "POST":
            return await _decided(request, world, app)
        return await _asked(request, world, "")

    return await under(world, fault, acted, broken=backend().answer(), limited=too_fast().answer())


def _enter(conn: sqlite3.Connection) -> Fault | None:
    count_call(conn, NAME, "authorize")
    return faults.take_line(conn, NAME, ("authorize",), ())


def _refusal(query: QueryParams) -> tuple[str, str] | None:
    """The parameter that is wrong, and why; this platform shows it and sends nobody back."""
    if len(query.multi_items()) != len(query):
        return "request", "invalid_request: a parameter stands there twice."
    if query.get("response_type") != "code":
        return "response_type", "unsupported_response_type: it must be code."
    if scopes_of(query.get("scope", "")) is None:
        return "scope", "invalid_scope: it is missing or names a scope that does not exist."
    if query.get("access_type", "online") not in ("online", "offline"):
        return "access_type", "invalid_request: it is online or offline."
    if set(query.get("prompt", "").split()) - {"none", "consent", "select_account"}:
        return "prompt", "invalid_request: it is none, consent or select_account."
    challenge, method = query.get("code_challenge"), query.get("code_challenge_method", "plain")
    if challenge is not None and (method != "S256" or not CHALLENGE.match(challenge)):
        return "code_challenge", "invalid_request: it must be the base64url form of SHA-256, method S256."
    return None


async def _asked(request: Request, world: World, message: str) -> Response:
    found = sorted(await world.read(creators, NAME), key=lambda each: (google_account(each), each.id))
    values: dict[str, Any] = {
        "label": LABEL,
        "accounts": [(name, list(each)) for name, each in groupby(found, google_account)],
        "hint": request.query_params.get("login_hint", ""),
        "scopes": scopes_of(request.query_params["scope"]) or (),
        "client_key": request.query_params["client_id"],
        "message": message,
    }
    target = urlsplit(request.query_params["redirect_uri"])
    return pages.page(
        request, "youtube_consent.html", values, 400 if message else 200,
        form_to=f"{target.scheme}://{target.netloc}",
    )  # fmt: skip


async def _decided(request: Request, world: World, app: App) -> Response:
    pairs = parse_qsl((await body_of(request)).decode(errors="replace"), keep_blank_values=True)
    form = dict(pairs)
    if form.get("decision") != "approve":
        return _back(request, {"error": "access_denied"})
    ticked = {value for name, value in pairs if name == "grant"}
    scopes = tuple(scope for scope in scopes_of(request.query_params["scope"]) or () if scope in ticked)
    if not scopes:
        return await _asked(request, world, "Leave at least one permission ticked, or cancel.")
    approved = await world.write(_approve, world, app, form, scopes, request.query_params)
    if approved is None:
        return await _asked(
            request, world, "Pick a channel, or give the new one a name (and a sign-in with an @)."
        )
    code, granted = approved
    return _back(request, {"code": code, "scope": " ".join(granted)})


def _approve(
    conn: sqlite3.Connection,
    world: World,
    app: App,
    form: dict[str, str],
    scopes: tuple[str, ...],
    query: QueryParams,
) -> tuple[str, tuple[str, ...]] | None:
    at = world.clock()
    creator = _chosen(conn, form, at)
    if creator is None:
        return None
    earlier = consented(conn, app.client_key, creator)
    if query.get("include_granted_scopes") == "true":
        scopes = tuple(dict.fromkeys((*scopes, *(earlier or ()))))
    asked_again = earlier is None or "consent" in query.get("prompt", "").split()
    code = give_code(
        conn, world, app.client_key, creator, scopes, at,
        offline=query.get("access_type") == "offline" and asked_again,
        redirect_uri=query["redirect_uri"], challenge=query.get("code_challenge"),
    )  # fmt: skip
    return code, scopes


def _chosen(conn: sqlite3.Connection, form: dict[str, str], at: float) -> Creator | None:
    chosen, name = form.get("channel", ""), form.get("display_name", "").strip()
    # Without a script a typed name is the only sign that somebody forgot to move the dot.
    if chosen == "new" or name:
        sign_in = form.get("google_account", "").strip()
        if not 1 <= len(name) <= 100 or (sign_in and not SIGN_IN.match(sign_in)):
            return None
        return make_creator(conn, NAME, name, Switches(google_account=sign_in), at)
    found = creator_of(conn, int(chosen)) if re.fullmatch(r"\d{1,9}", chosen) else None
    return found if found is not None and found.platform == NAME else None


def _back(request: Request, answer: dict[str, str]) -> Response:
    query = answer | ({"state": request.query_params["state"]} if "state" in request.query_params else {})
    redirect_uri = request.query_params["redirect_uri"]
    return RedirectResponse(f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(query)}", 303)
