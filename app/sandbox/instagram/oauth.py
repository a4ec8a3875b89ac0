"""The addresses that give tokens: Instagram's three and Facebook's (sections 2 and 3; facebook sheet, section 1)."""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.sandbox import faults, later
from app.sandbox.answering import base_of, expire_tokens, names_of, under, world_of
from app.sandbox.faults import Fault
from app.sandbox.instagram import calls, problems, tokens
from app.sandbox.instagram.creators import (
    FACEBOOK_SCOPES,
    INSTAGRAM_SCOPES,
    NAME,
    page_id,
    person_id,
    scoped_id,
    user_id,
)
from app.sandbox.meta.envelope import Problem, app_full, fields_of, said, token_of
from app.sandbox.world import App, Creator, World, app_of, count_call, creator_of, creators, digest

# (conn, world, fields, token, at, base) -> body of the answer; raises Problem.
Give = Callable[[sqlite3.Connection, World, dict[str, str], str, float, str], Any]
BROKEN = Problem(2, "Service temporarily unavailable", status=500, transient=True)


def address(step: str, give: Give, *, version: bool, old_form: bool = False) -> calls.Handler:
    """The handler of one address. `old_form`: refusals go out in the other envelope (row 2)."""

    async def handler(request: Request) -> Response:
        world = world_of(request)
        await later.settle(world)
        at = world.clock()
        try:
            if version and not calls.VERSION.match(request.path_params["version"]):
                raise Problem(2500, "Unknown path components", status=404)
            fields = await fields_of(request)
        except Problem as problem:
            return problem.answer()
        token = token_of(request.headers, fields)
        base = base_of(request)
        fault = await world.write(_enter, step, fields, token, at)

        async def acted() -> Response:
            try:
                return said(await world.write(give, world, fields, token, at, base))
            except Problem as problem:
                if old_form:
                    return said(problems.old_form(problem.status, problem.message), problem.status)
                return problem.answer()

        async def put_off(due_at: float) -> None:
            await world.write(
                later.put, "ig_token", due_at, {"step": step, "fields": fields, "token": token, "base": base}
            )

        return await under(world, fault, acted, put_off, broken=BROKEN.answer(), limited=app_full().answer())

    return handler


def _enter(
    conn: sqlite3.Connection, step: str, fields: Mapping[str, str], token: str, at: float
) -> Fault | None:
    count_call(conn, NAME, step)
    names = _names(conn, fields, token)
    fault = faults.take_line(conn, NAME, (step,), names)
    if fault is not None and fault.fault == "token_expired":
        expire_tokens(conn, names, at, NAME)
        return None
    return fault


def _names(conn: sqlite3.Connection, fields: Mapping[str, str], token: str) -> tuple[str, ...]:
    row = conn.execute(
        "SELECT creator_id FROM codes WHERE digest = ?"
        " UNION SELECT g.creator_id FROM grants g JOIN access_tokens a ON a.grant_id = g.id WHERE a.digest = ?"
        " UNION SELECT creator_id FROM ig_user_tokens WHERE digest = ?",
        (digest(fields.get("code", "")), digest(token), digest(fields.get("fb_exchange_token", token))),
    ).fetchone()
    creator = creator_of(conn, row["creator_id"]) if row else None
    return names_of(creator, user_id(creator)) if creator else ()


def _client(conn: sqlite3.Connection, world: World, fields: Mapping[str, str]) -> App:
    app = app_of(conn, world.settings, fields.get("client_id", ""))
    secret = fields.get("client_secret", "")
    if app is None or not hmac.compare_digest(app.client_secret.encode(), secret.encode()):
        raise Problem(101, "Error validating client secret.")
    return app


def _granted(row: sqlite3.Row, known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(scope for scope in row["scopes"].split(",") if scope in known)


def trade(
    conn: sqlite3.Connection, world: World, fields: dict[str, str], token: str, at: float, base: str
) -> Any:
    """Row 2: a code against an hour's token, in one of the two shapes seen."""
    app = _client(conn, world, fields)
    if fields.get("grant_type") != "authorization_code":
        raise Problem(400, "Invalid grant_type")
    try:
        row = tokens.take_code(conn, app, fields.get("code", ""), fields.get("redirect_uri", ""), at)
    except tokens.CodeRefused as refused:
        raise Problem(400, str(refused)) from None
    creator = creator_of(conn, row["creator_id"])
    scopes = _granted(row, INSTAGRAM_SCOPES)
    if creator is None or not scopes:
        raise Problem(400, "Matching code was not found or was already used")
    made = tokens.short(conn, app, creator, scopes, at)
    if creator.switches.wrapped:
        flat = {"access_token": made, "user_id": user_id(creator), "permissions": ",".join(scopes)}
        return {"data": [flat]}
    return {"access_token": made, "user_id": int(user_id(creator)), "permissions": list(scopes)}


def lengthen(
    conn: sqlite3.Connection, world: World, fields: dict[str, str], token: str, at: float, base: str
) -> Any:
    """Row 3."""
    if fields.get("grant_type") != "ig_exchange_token" or "access_token" not in fields:
        raise Problem(100, "(#100) grant_type must be ig_exchange_token, with an access_token.")
    found = conn.execute(
        "SELECT client_key FROM grants g JOIN access_tokens a ON a.grant_id = g.id WHERE a.digest = ?",
        (digest(fields["access_token"]),),
    ).fetchone()
    if found is not None:
        _client(conn, world, {**fields, "client_id": found["client_key"]})
    return tokens.lengthened(conn, world, fields["access_token"], at)


def refresh(
    conn: sqlite3.Connection, world: World, fields: dict[str, str], token: str, at: float, base: str
) -> Any:
    """Row 4."""
    if fields.get("grant_type") != "ig_refresh_token" or "access_token" not in fields:
        raise Problem(100, "(#100) grant_type must be ig_refresh_token, with an access_token.")
    return tokens.refreshed(conn, world, fields["access_token"], at)


def facebook_token(
    conn: sqlite3.Connection, world: World, fields: dict[str, str], token: str, at: float, base: str
) -> Any:
    """Rows 2 and 3 of the facebook sheet: a code, or a living user token against a long one."""
    app = _client(conn, world, fields)
    if fields.get("grant_type") == "fb_exchange_token":
        person = tokens.person_of(conn, world, fields.get("fb_exchange_token", ""), at)
        if person.app.client_key != app.client_key:
            raise Problem(190, "The token belongs to another app.")
        return tokens.issue_person(conn, app, person.creator, person.scopes, at, long=True)
    try:
        row = tokens.take_code(conn, app, fields.get("code", ""), fields.get("redirect_uri", ""), at)
    except tokens.CodeRefused as refused:
        raise Problem(100, str(refused), 36009 if "used" in str(refused) else None) from None
    creator = creator_of(conn, row["creator_id"])
    scopes = _granted(row, FACEBOOK_SCOPES)
    if creator is None or not scopes:
        raise Problem(100, "This authorization code is invalid.")
    return tokens.issue_person(conn, app, creator, scopes, at, long=False)


def permissions(
    conn: sqlite3.Connection, world: World, fields: dict[str, str], token: str, at: float, base: str
) -> Any:
    """Row 4 of the facebook sheet: what was granted; what was not is declined."""
    person = tokens.person_of(conn, world, token, at)
    return {
        "data": [
            {"permission": scope, "status": "granted" if scope in person.scopes else "declined"}
            for scope in FACEBOOK_SCOPES
        ]
    }


def pages(
    conn: sqlite3.Connection, world: World, fields: dict[str, str], token: str, at: float, base: str
) -> Any:
    """Row 5 of the facebook sheet: the person's Pages, each with its token and the Instagram account behind it."""
    person = tokens.person_of(conn, world, token, at)
    if "pages_show_list" not in person.scopes:
        raise Problem(200, "(#200) Requires pages_show_list permission", status=403)
    own = [each for each in creators(conn, NAME) if _manages(person.creator, each)]
    limit, after = int(fields.get("limit", "25")), int(fields.get("after", "0"))
    shown = [_page(conn, person, each, fields, at, base) for each in own[after : after + limit]]
    answer: dict[str, Any] = {
        "data": shown,
        "paging": {"cursors": {"before": str(after), "after": str(after + len(shown))}},
    }
    if after + limit < len(own):
        # As on the platform, the next address carries the token.
        answer["paging"]["next"] = (
            f"{base}/instagram/facebook_api/v26.0/me/accounts?limit={limit}&after={after + limit}"
            f"&fields={fields.get('fields', '')}&access_token={token}"
        )
    return answer


def _manages(person: Creator, creator: Creator) -> bool:
    return creator.id == person.id or creator.switches.owner == person.username


def _page(
    conn: sqlite3.Connection,
    person: tokens.Person,
    creator: Creator,
    fields: Mapping[str, str],
    at: float,
    base: str,
) -> dict[str, Any]:
    asked = fields.get("fields", "id,name,access_token")
    values: dict[str, Any] = {"id": page_id(creator), "name": f"{creator.display_name} (Page)"}
    if "access_token" in asked:
        values["access_token"] = tokens.page_token(conn, person, creator, at)
    if "tasks" in asked:
        values["tasks"] = ["ANALYZE", "CREATE_CONTENT", "MANAGE"]
    if "instagram_business_account" in asked and creator.switches.page and "instagram_basic" in person.scopes:
        values["instagram_business_account"] = {
            "id": user_id(creator),
            "username": creator.username,
            "name": creator.display_name,
            "profile_picture_url": picture(base, creator),
        }
    return values


def person_fields(
    conn: sqlite3.Connection, world: World, fields: dict[str, str], token: str, at: float, base: str
) -> Any:
    """`/me` of a Facebook user token."""
    person = tokens.person_of(conn, world, token, at)
    values = {"id": person_id(person.creator), "name": person.creator.display_name}
    return calls.picked(fields, "User", values, "id,name")


def picture(base: str, creator: Creator) -> str:
    # The one made-up face that every platform of this world shows.
    return f"{base}/tiktok/avatars/{creator.username}.svg"


def profile_values(base: str, creator: Creator, login: str) -> dict[str, Any]:
    """What an account says of itself; the two logins call the ids differently (section 3)."""
    values: dict[str, Any] = {
        "id": scoped_id(creator) if login == "instagram" else user_id(creator),
        "username": creator.username,
        "name": creator.display_name,
        "profile_picture_url": picture(base, creator),
        "followers_count": 100 + creator.id,
        "follows_count": 50,
        "media_count": 0,
    }
    if login == "instagram":
        values |= {"user_id": user_id(creator), "account_type": creator.switches.account_type}
    return values


_GIVES: dict[str, Give] = {
    "token": trade,
    "exchange_token": lengthen,
    "refresh": refresh,
    "facebook_token": facebook_token,
    "pages": pages,
    "permissions": permissions,
    "person": person_fields,
}


def give(step: str) -> Give:
    return _GIVES[step]


async def _token_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    await world.write(_once, world, arguments, due_at)


def _once(conn: sqlite3.Connection, world: World, arguments: dict[str, Any], due_at: float) -> None:
    if later.done(conn, arguments["later_id"]):
        try:
            _GIVES[arguments["step"]](
                conn, world, arguments["fields"], arguments["token"], due_at, arguments["base"]
            )
        except Problem:
            return


later.knows("ig_token", _token_later)
