"""Connecting Facebook Pages, and keeping the connection alive. Sheet, section 2.

A person signs in; what posts is a Page's own token, which has no end by time. The person's long token renews it
and itself lives about 60 days, so it is what is kept as the refresh token. Nothing rotates: both stay valid when an
answer is lost.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from app.errors import HouseError
from app.platforms.base import App, Choice, Grant, OnCall, Tokens
from app.platforms.facebook.errors import TABLE, WHILE_CONNECTING
from app.platforms.meta import graph

SCOPE_WORDS = {
    "pages_show_list": "see which Pages you manage",
    "pages_read_engagement": "read what the Page has posted",
    "pages_manage_posts": "post to the Page",
    "pages_manage_engagement": "write a first comment as the Page",
    "pages_read_user_content": "read comments on the Page's posts",
}
SCOPES: tuple[str, ...] = tuple(SCOPE_WORDS)
# Without these there is nothing to connect for; the person may untick any of them in the dialog.
NEEDED_SCOPES: tuple[str, ...] = ("pages_show_list", "pages_read_engagement", "pages_manage_posts")
MAY_POST = "CREATE_CONTENT"
RENEW_S = 30 * 24 * 3600
# What the sheet saw, for an answer that names no lifetime.
LONG_S = 5_183_944
PAGES_AT_ONCE = 100
# More lists than anybody manages Pages; without an end a wrong cursor would go round for ever.
MOST_LISTS = 50
LOST = ("no_answer", "unreadable_answer", "internal_error", "1", "2")


def new_verifier() -> str:
    """Random text for the connection; Facebook's dialog takes no PKCE challenge from a server's app."""
    return secrets.token_urlsafe(48)


def authorize_url(app: App, state: str, verifier: str, scopes: Sequence[str] = SCOPES) -> str:
    """Where the browser goes to allow the connection. What was declined once is asked for again."""
    query = {
        "client_id": app.client_key,
        "redirect_uri": app.redirect_uri,
        "state": state,
        "response_type": "code",
        "scope": ",".join(scopes),
        "auth_type": "rerequest",
    }
    return f"{app.auth_base}/{app.version}/dialog/oauth?{urlencode(query)}"


def declined(error: str, description: str) -> HouseError:
    """The failure for a browser that comes back with `error` in place of a code."""
    return TABLE.error("access_denied" if error == "access_denied" else "connect_refused", description)


async def exchange(app: App, code: str, verifier: str, *, on_call: OnCall | None = None) -> Tokens:
    """Turn the code that the browser brought back into the person's long token; `choices` makes Pages of it.

    A code works once, so nothing is repeated: after any failure the person starts connecting again. Compare
    `scopes` of the answer with NEEDED_SCOPES.
    """
    try:
        short = await _token(
            app,
            "exchange",
            {"redirect_uri": app.redirect_uri, "code": code},
            meanings=WHILE_CONNECTING,
            on_call=on_call,
        )
        found = await _long(app, "exchange_long", short["access_token"], WHILE_CONNECTING, on_call)
        scopes = await _scopes(app, found.access_token, WHILE_CONNECTING, on_call)
        user = await _user_id(app, found.access_token, on_call)
    except HouseError as error:
        if error.code in LOST or error.code.startswith("http_5"):
            raise TABLE.error("connect_answer_lost") from error
        raise
    return Tokens(
        access_token=found.access_token,
        refresh_token=found.access_token,
        access_expires_in_s=found.refresh_expires_in_s,
        refresh_expires_in_s=found.refresh_expires_in_s,
        scopes=scopes,
        remote_id=user,
        facts={"user": user},
        renew_in_s=RENEW_S,
    )


async def choices(app: App, tokens: Tokens, *, on_call: OnCall | None = None) -> list[Choice]:
    """The Pages of this consent on which the person may create content, each with tokens of its own.

    Refused `no_page` when Facebook shows none, `no_page_task` when the person may create content on none of them.
    """
    pages = await _pages(app, tokens.refresh_token, graph.AS_THEY_ARE, on_call)
    if not pages:
        raise TABLE.error("no_page")
    found = [
        Choice(
            remote_id=str(page["id"]),
            name=str(page.get("name") or page["id"]),
            detail="Facebook Page",
            tokens=_page_tokens(page, tokens),
        )
        for page in pages
        if MAY_POST in (page.get("tasks") or ()) and page.get("access_token")
    ]
    if not found:
        raise TABLE.error("no_page_task")
    return found


async def refresh(app: App, grant: Grant, refresh_token: str, *, on_call: OnCall | None = None) -> Tokens:
    """Trade the person's long token for a fresh one and read the Page's token again.

    Both old tokens stay valid, so this may be repeated; a lost answer is, once. A code of AUTHORISATION_LOST
    (190 and its subcodes, `no_page_left`) means that the person has to connect again.
    """
    for last_try in (False, True):
        try:
            return await _refreshed(app, grant, refresh_token, on_call)
        except HouseError as error:
            if error.code not in LOST and not error.code.startswith("http_5"):
                raise
            if last_try:
                raise TABLE.error("refresh_answer_lost") from error
    raise AssertionError("the second try returns or raises")


async def _refreshed(app: App, grant: Grant, refresh_token: str, on_call: OnCall | None) -> Tokens:
    # Here a dead token is the person's own, and nothing renews that one.
    found = await _long(app, "refresh", refresh_token, graph.AS_THEY_ARE, on_call)
    scopes = await _scopes(app, found.access_token, graph.AS_THEY_ARE, on_call)
    for page in await _pages(app, found.access_token, graph.AS_THEY_ARE, on_call):
        if str(page["id"]) == grant.remote_id and page.get("access_token"):
            if MAY_POST not in (page.get("tasks") or ()):
                break
            return Tokens(
                access_token=str(page["access_token"]),
                refresh_token=found.access_token,
                access_expires_in_s=None,
                refresh_expires_in_s=found.refresh_expires_in_s,
                scopes=scopes,
                remote_id=grant.remote_id,
                facts=grant.facts,
                renew_in_s=RENEW_S,
            )
    raise TABLE.error("no_page_left")


async def revoke(app: App, grant: Grant, *, on_call: OnCall | None = None) -> None:
    """End everything this person has allowed us, on all their Pages: Facebook knows no end for one Page alone.

    Do not call it while another account has the same `user` in its facts. May be repeated; a permission that is
    already gone is no failure.
    """
    user = grant.facts.get("user", "")
    if not user:
        return
    try:
        await graph.ask(
            TABLE,
            "revoke",
            "POST",
            f"{app.api_base}/{app.version}/{user}/permissions",
            # The app's own token holds our secret, so it goes where secrets are known to go: into a form.
            form={"method": "delete", "access_token": f"{app.client_key}|{app.client_secret}"},
            meanings=graph.AS_THEY_ARE,
            on_call=on_call,
        )
    except HouseError as error:
        if error.code not in ("190/458", "100/33", "803"):
            raise


async def _token(
    app: App,
    step: str,
    fields: Mapping[str, str],
    *,
    meanings: Mapping[str, str],
    on_call: OnCall | None,
) -> dict[str, Any]:
    # By POST, so that no token stands in an address (sheet, section 1, row 2).
    found = await graph.ask(
        TABLE,
        step,
        "POST",
        f"{app.api_base}/{app.version}/oauth/access_token",
        form={"client_id": app.client_key, "client_secret": app.client_secret, **fields},
        meanings=meanings,
        body_is_secret=True,
        on_call=on_call,
    )
    if not isinstance(found.get("access_token"), str) or not found["access_token"]:
        raise TABLE.error("unreadable_answer")
    return found


async def _long(
    app: App, step: str, token: str, meanings: Mapping[str, str], on_call: OnCall | None
) -> Tokens:
    """The person's token in its long form; takes a short one as well as a long one that still lives."""
    fields = {"grant_type": "fb_exchange_token", "fb_exchange_token": token}
    found = await _token(app, step, fields, meanings=meanings, on_call=on_call)
    lifetime_s = found.get("expires_in")
    lives_s = lifetime_s if isinstance(lifetime_s, int) and lifetime_s > 0 else LONG_S
    return Tokens(found["access_token"], found["access_token"], lives_s, lives_s, (), "")


async def _scopes(
    app: App, token: str, meanings: Mapping[str, str], on_call: OnCall | None
) -> tuple[str, ...]:
    url = f"{app.api_base}/{app.version}/me/permissions"
    found = await graph.ask(TABLE, "permissions", "GET", url, token=token, meanings=meanings, on_call=on_call)
    listed = found.get("data")
    if not isinstance(listed, list):
        raise TABLE.error("unreadable_answer")
    return tuple(
        str(each["permission"])
        for each in listed
        if isinstance(each, dict) and each.get("status") == "granted" and each.get("permission")
    )


async def _user_id(app: App, token: str, on_call: OnCall | None) -> str:
    found = await graph.ask(
        TABLE,
        "user",
        "GET",
        f"{app.api_base}/{app.version}/me",
        token=token,
        params={"fields": "id"},
        meanings=WHILE_CONNECTING,
        on_call=on_call,
    )
    if not found.get("id"):
        raise TABLE.error("unreadable_answer")
    return str(found["id"])


async def _pages(
    app: App, token: str, meanings: Mapping[str, str], on_call: OnCall | None
) -> list[dict[str, Any]]:
    """Every Page of the list, over all of its parts."""
    pages: list[dict[str, Any]] = []
    after: Mapping[str, str] = MappingProxyType({})
    for _ in range(MOST_LISTS):
        found = await graph.ask(
            TABLE,
            "pages",
            "GET",
            f"{app.api_base}/{app.version}/me/accounts",
            token=token,
            params={"fields": "id,name,access_token,tasks", "limit": str(PAGES_AT_ONCE), **after},
            meanings=meanings,
            body_is_secret=True,
            on_call=on_call,
        )
        listed = found.get("data")
        if not isinstance(listed, list):
            raise TABLE.error("unreadable_answer")
        pages += [page for page in listed if isinstance(page, dict) and page.get("id")]
        paging = found.get("paging") if isinstance(found.get("paging"), dict) else {}
        # The address of the next part carries the token, so only its cursor is used.
        cursor = (paging.get("cursors") or {}).get("after") if paging and paging.get("next") else None
        if not cursor:
            break
        after = {"after": str(cursor)}
    return pages


def _page_tokens(page: Mapping[str, Any], tokens: Tokens) -> Tokens:
    return Tokens(
        access_token=str(page["access_token"]),
        refresh_token=tokens.refresh_token,
        access_expires_in_s=None,
        refresh_expires_in_s=tokens.refresh_expires_in_s,
        scopes=tokens.scopes,
        remote_id=str(page["id"]),
        facts=tokens.facts,
        renew_in_s=RENEW_S,
    )
