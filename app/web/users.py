"""Pages of people: sign up, sign in, sign out, the list of sessions, theme and time zone."""

from __future__ import annotations

from zoneinfo import available_timezones

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app import db, users
from app.errors import Refused
from app.web import forms, guard, pace
from app.web.pages import page, safe_next


async def sign_up_page(request: Request) -> Response:
    if request.state.who is not None:
        return RedirectResponse("/", 303)
    return _sign_up(request)


async def sign_up(request: Request) -> Response:
    form = await forms.read(request)
    email, name = forms.text(form, "email"), forms.text(form, "name")
    try:
        await pace.take_entry(request)
        person, workspace = await users.sign_up(
            email, forms.text(form, "password"), name, address=guard.address_of(request)
        )
    except Refused as refused:
        return _sign_up(request, refused, email, name)
    async with db.house() as conn:
        _, secret = await users.start(
            conn,
            person.id,
            workspace.id,
            kind="browser",
            user_agent=request.headers.get("user-agent", ""),
            address=guard.address_of(request),
        )
    return await _enter(request, secret)


async def sign_in_page(request: Request) -> Response:
    if request.state.who is not None:
        return RedirectResponse(_next(request.query_params.get("next", "/")), 303)
    return _sign_in(request, where=request.query_params.get("next", "/"))


async def sign_in(request: Request) -> Response:
    form = await forms.read(request)
    email = forms.text(form, "email")
    try:
        await pace.take_entry(request)
        _, secret = await users.sign_in(
            email,
            forms.text(form, "password"),
            address=guard.address_of(request),
            user_agent=request.headers.get("user-agent", ""),
            kind="browser",
        )
    except Refused as refused:
        return _sign_in(request, refused, email, forms.text(form, "next"))
    return await _enter(request, secret)


async def sign_out(request: Request) -> Response:
    async with db.house() as conn:
        await users.sign_out(conn, guard.who_acts(request).session.id)
    response = RedirectResponse("/sign-in", 303)
    guard.forget_cookie(request, response)
    return response


async def sessions(request: Request) -> Response:
    who = guard.who_acts(request)
    async with db.house() as conn:
        living = await users.sessions(conn, who.person.id)
    return page(request, "users/sessions.html", sessions=living, zones=sorted(available_timezones()))


async def revoke(request: Request) -> Response:
    """Ends one session; ending the own one is signing out."""
    who, session_id = guard.who_acts(request), request.path_params["session_id"]
    if session_id == who.session.id:
        return await sign_out(request)
    async with db.house() as conn:
        await users.revoke(conn, who.person.id, session_id)
    return RedirectResponse("/sessions", 303)


async def prefer(request: Request) -> Response:
    """Theme or time zone, whichever the form brings."""
    who, form = guard.who_acts(request), await forms.read(request)
    async with db.house() as conn:
        if theme := forms.text(form, "theme"):
            await users.set_theme(conn, who.person.id, theme)
        if zone := forms.text(form, "zone"):
            await users.set_zone(conn, who.person.id, zone)
    return RedirectResponse(safe_next(forms.text(form, "next") or "/sessions"), 303)


async def _enter(request: Request, secret: str) -> Response:
    """A new session begins, and the one this browser had before ends."""
    before = request.state.who
    if before is not None:
        async with db.house() as conn:
            await users.sign_out(conn, before.session.id)
    form = await forms.read(request)
    response = RedirectResponse(_next(forms.text(form, "next")), 303)
    guard.set_cookie(request, response, secret)
    return response


def _next(where: str) -> str:
    """Where to go after signing in; never back to signing in."""
    found = safe_next(where)
    return "/" if found.startswith(("/sign-in", "/sign-up", "/sign-out")) else found


def _sign_up(request: Request, refused: Refused | None = None, email: str = "", name: str = "") -> Response:
    return page(
        request,
        "users/sign_up.html",
        status=refused.status if refused else 200,
        headers=_retry(refused),
        refused=refused,
        email=email,
        name=name,
        shortest=users.SHORTEST_PASSWORD,
        longest=users.LONGEST_PASSWORD,
    )


def _sign_in(request: Request, refused: Refused | None = None, email: str = "", where: str = "/") -> Response:
    return page(
        request,
        "users/sign_in.html",
        status=refused.status if refused else 200,
        headers=_retry(refused),
        refused=refused,
        email=email,
        next=_next(where),
    )


def _retry(refused: Refused | None) -> dict[str, str]:
    return {"retry-after": str(int(refused.after_s))} if refused and refused.after_s else {}
