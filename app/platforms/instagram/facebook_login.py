"""The other way in: a Facebook person, their Pages, and the Instagram accounts behind those. Sheet, section 1;
facebook sheet, section 2.

The account's token is its Page's, which has no end by time; the person's own token is what it is renewed with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import HouseError
from app.platforms.base import App, Choice, Grant, OnCall, Tokens
from app.platforms.instagram import calls
from app.platforms.instagram.errors import TABLE
from app.platforms.meta import graph

# What stands for each of our scopes here; it is granted when all of them are.
NAMES: Mapping[str, tuple[str, ...]] = {
    "instagram_business_basic": ("instagram_basic", "pages_show_list"),
    "instagram_business_content_publish": ("instagram_content_publish", "pages_read_engagement"),
    "instagram_business_manage_comments": ("instagram_manage_comments",),
    "instagram_business_manage_insights": ("instagram_manage_insights",),
}
# Facebook sheet, section 2: exchange the person's token monthly while it lives.
RENEW_IN_S = 30 * 24 * 3600
PAGE_FIELDS = "id,name,access_token,instagram_business_account{id,username,name}"
PAGES_AT_ONCE = 100
# Nobody manages more; it ends a list that would never end.
MOST_PAGES = 2000
CODE_REFUSED = {"100": "code_refused", "100/36009": "code_refused"}
LOST = ("no_answer", "unreadable_answer", "internal_error", "1", "2")


def asked(scopes: Sequence[str]) -> list[str]:
    """Facebook's names for these scopes, each once."""
    return list(dict.fromkeys(name for scope in scopes for name in NAMES.get(scope, (scope,))))


def granted(names: set[str]) -> tuple[str, ...]:
    """Our scopes that these permissions of Facebook make up."""
    return tuple(scope for scope, needed in NAMES.items() if names.issuperset(needed))


async def exchange(app: App, code: str, *, on_call: OnCall | None = None) -> Tokens:
    """Code → the person's token of hours → of 60 days, and what they allowed. It is no account's token yet."""
    try:
        short = await _token(
            app,
            "facebook_token",
            {"redirect_uri": app.redirect_uri, "code": code},
            meanings=CODE_REFUSED,
            on_call=on_call,
        )
        long = await _lengthened(app, _text(short, "access_token"), on_call)
        person = Grant(_text(long, "access_token"), facts={"login": calls.FACEBOOK})
        allowed = await calls.ask(app, person, "permissions", "me/permissions", on_call=on_call)
    except HouseError as error:
        if error.code in LOST or error.code.startswith("http_5"):
            raise TABLE.error("connect_answer_lost") from error
        raise
    found = allowed.get("data")
    names = {
        str(each.get("permission"))
        for each in (found if isinstance(found, list) else ())
        if isinstance(each, dict) and each.get("status") == "granted"
    }
    life_s = _life_s(long)
    return Tokens(
        person.token, person.token, life_s, life_s, granted(names), "", {"login": calls.FACEBOOK}, RENEW_IN_S
    )


async def choices(app: App, tokens: Tokens, *, on_call: OnCall | None = None) -> list[Choice]:
    """The Instagram accounts behind the person's Pages; Refused `no_accounts` when there is none."""
    found = []
    person = tokens.refresh_token
    for page in await _pages(app, person, on_call):
        account = page.get("instagram_business_account")
        if isinstance(account, dict) and account.get("id") and page.get("access_token"):
            name = str(account.get("username") or account.get("name") or account["id"])
            detail = f"behind the Page {page.get('name') or page['id']}"
            found.append(
                Choice(
                    str(account["id"]),
                    name,
                    detail,
                    _of_page(page, person, tokens.refresh_expires_in_s, tokens.grant),
                )
            )
    if not found:
        raise TABLE.error("no_accounts")
    return found


async def refresh(app: App, grant: Grant, refresh_token: str, *, on_call: OnCall | None = None) -> Tokens:
    """The Page's token read anew with the person's, which is itself made to last again.

    The person's old token goes on to work, so a lost answer is asked for again. Permanent with an
    AUTHORISATION_LOST code: the person has to connect again.
    """
    try:
        long = await _lengthened(app, refresh_token, on_call)
        person = _text(long, "access_token")
        pages = await _pages(app, person, on_call)
    except HouseError as error:
        if error.code in LOST or error.code.startswith("http_5"):
            raise TABLE.error("refresh_answer_lost") from error
        raise
    page = next((each for each in pages if str(each.get("id")) == grant.facts.get("page")), None)
    if page is None or not page.get("access_token"):
        raise TABLE.error("page_gone")
    return _of_page(page, person, _life_s(long), grant)


def _of_page(page: Mapping[str, Any], person_token: str, life_s: int | None, grant: Grant) -> Tokens:
    account = page.get("instagram_business_account")
    remote_id = str(account["id"]) if isinstance(account, dict) and account.get("id") else grant.remote_id
    return Tokens(
        access_token=str(page["access_token"]),
        refresh_token=person_token,
        access_expires_in_s=None,
        refresh_expires_in_s=life_s,
        scopes=grant.scopes,
        remote_id=remote_id,
        facts={"login": calls.FACEBOOK, "page": str(page["id"])},
        renew_in_s=RENEW_IN_S if life_s is None else min(RENEW_IN_S, life_s * 3 // 4),
    )


async def _pages(app: App, person_token: str, on_call: OnCall | None) -> list[dict[str, Any]]:
    """All Pages of the person, page after page. The next page's address would carry the token, so its cursor goes."""
    url = f"{app.bases['facebook_api']}/{app.version}/me/accounts"
    found: list[dict[str, Any]] = []
    query = {"fields": PAGE_FIELDS, "limit": str(PAGES_AT_ONCE)}
    while len(found) < MOST_PAGES:
        said = await calls.ask_tokens(
            "pages", "GET", url, token=person_token, params=query, meanings=graph.AS_THEY_ARE, on_call=on_call
        )
        shown = said.get("data")
        found += [each for each in (shown if isinstance(shown, list) else ()) if isinstance(each, dict)]
        paging = said.get("paging")
        if not isinstance(paging, dict) or not paging.get("next") or not shown:
            return found
        query = {**query, "after": str((paging.get("cursors") or {}).get("after") or "")}
    return found


async def _lengthened(app: App, person_token: str, on_call: OnCall | None) -> dict[str, Any]:
    fields = {"grant_type": "fb_exchange_token", "fb_exchange_token": person_token}
    for last_try in (False, True):
        try:
            return await _token(app, "facebook_token", fields, meanings={}, on_call=on_call)
        except HouseError as error:
            if last_try or (error.code not in LOST and not error.code.startswith("http_5")):
                raise
    raise AssertionError("the second try returns or raises")


async def _token(
    app: App, step: str, fields: Mapping[str, str], *, meanings: Mapping[str, str], on_call: OnCall | None
) -> dict[str, Any]:
    url = f"{app.bases['facebook_api']}/{app.version}/oauth/access_token"
    form = {"client_id": app.client_key, "client_secret": app.client_secret, **fields}
    return await calls.ask_tokens(step, "POST", url, form=form, meanings=meanings, on_call=on_call)


def _life_s(said: Mapping[str, Any]) -> int | None:
    """A person's token without `expires_in` has no end by time."""
    found = said.get("expires_in")
    return found if isinstance(found, int) and found > 0 else None


def _text(said: Mapping[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not found:
        raise TABLE.error("unreadable_answer")
    return found
