"""Connecting an Instagram account, by either way of signing in, and keeping the connection alive. Sheet, section 3.

Scopes are called by Instagram Login's names everywhere in the house; `facebook_login` translates. Instagram's token
is its own refresh token: it can be renewed from its second day to its last, and not once it has run out.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from app import http
from app.errors import HouseError
from app.platforms import calls as platform_calls
from app.platforms.base import App, Choice, Grant, OnCall, Tokens
from app.platforms.instagram import calls, facebook_login
from app.platforms.instagram.errors import TABLE

SCOPES: tuple[str, ...] = (
    "instagram_business_basic",
    "instagram_business_content_publish",
    "instagram_business_manage_comments",
    "instagram_business_manage_insights",
)
# Without these there is nothing to connect for; the person may untick any of them on Instagram's page.
NEEDED_SCOPES: tuple[str, ...] = SCOPES[:2]
SCOPE_WORDS: Mapping[str, str] = {
    "instagram_business_basic": "see the profile and its posts",
    "instagram_business_content_publish": "post reels, stories and pictures",
    "instagram_business_manage_comments": "write the first comment",
    "instagram_business_manage_insights": "read views and reach",
}
PROFESSIONAL = ("BUSINESS", "MEDIA_CREATOR")
RENEW_IN_S = 7 * 24 * 3600
# Answers after which it may have worked all the same; asking again does no harm.
LOST = ("no_answer", "unreadable_answer", "internal_error", "1", "2")


def new_verifier() -> str:
    """A fresh random text. Meta offers no PKCE for these sign-ins, so it goes nowhere."""
    return secrets.token_urlsafe(48)


def authorize_url(app: App, state: str, verifier: str, scopes: Sequence[str] = SCOPES) -> str:
    """Where the browser goes to allow the connection."""
    query = {
        "client_id": app.client_key,
        "redirect_uri": app.redirect_uri,
        "response_type": "code",
        "scope": ",".join(scopes),
        "state": state,
    }
    if calls.login_of(app) == calls.FACEBOOK:
        query["scope"] = ",".join(facebook_login.asked(scopes))
        return f"{app.auth_base}/{app.version}/dialog/oauth?{urlencode(query)}"
    return f"{app.auth_base}/oauth/authorize?{urlencode(query)}"


def declined(error: str, description: str) -> HouseError:
    """The failure for a browser that comes back with `error` in place of a code."""
    return TABLE.error("access_denied" if error == "access_denied" else "connect_refused", description)


async def exchange(app: App, code: str, verifier: str, *, on_call: OnCall | None = None) -> Tokens:
    """Turn the code that the browser brought back, URL-decoded, into tokens that last.

    A code works once, so its trade is not repeated: after any failure the person starts connecting again. Compare
    `scopes` of the answer with NEEDED_SCOPES. Through Facebook the tokens are the person's: ask `choices` next.
    """
    code = code.removesuffix("#_")
    if calls.login_of(app) == calls.FACEBOOK:
        return await facebook_login.exchange(app, code, on_call=on_call)
    short = await _trade(app, code, on_call)
    long = await _again_if_lost(
        lambda: calls.ask_tokens(
            "exchange_token",
            "GET",
            f"{app.bases['api']}/access_token",
            params={
                "grant_type": "ig_exchange_token",
                "client_secret": app.client_secret,
                "access_token": _text(short, "access_token"),
            },
            on_call=on_call,
        ),
        "connect_answer_lost",
    )
    scopes = _granted(short.get("permissions"))
    fresh = _tokens(long, Grant("", "", scopes, {"login": "instagram"}))
    return await _whose(app, fresh, on_call)


async def _whose(app: App, tokens: Tokens, on_call: OnCall | None) -> Tokens:
    """The same tokens under the professional account's id, which the calls need; refuses personal accounts."""
    fields = "user_id,id,username,account_type"
    me = await _again_if_lost(
        lambda: calls.ask(app, tokens.grant, "me", "me", params={"fields": fields}, on_call=on_call),
        "connect_answer_lost",
    )
    if str(me.get("account_type", PROFESSIONAL[0])).upper() not in PROFESSIONAL:
        raise TABLE.error("personal_account")
    facts = {"login": "instagram", "scoped_id": str(me.get("id") or "")}
    return Tokens(
        tokens.access_token,
        tokens.refresh_token,
        tokens.access_expires_in_s,
        tokens.refresh_expires_in_s,
        tokens.scopes,
        _text(me, "user_id"),
        facts,
        tokens.renew_in_s,
    )


async def choices(app: App, tokens: Tokens, *, on_call: OnCall | None = None) -> list[Choice]:
    """The accounts this consent covers: one, or those behind the person's Pages. Refused when there are none."""
    if calls.is_facebook(tokens.grant):
        return await facebook_login.choices(app, tokens, on_call=on_call)
    return [Choice(tokens.remote_id, "", "", tokens)]


async def refresh(app: App, grant: Grant, refresh_token: str, *, on_call: OnCall | None = None) -> Tokens:
    """Another 60 days from now. The old token goes on to work, so a lost answer is simply asked for again.

    Permanent with an AUTHORISATION_LOST code means that the person has to connect again; NotYet `renewal_refused`
    that Instagram does not renew a token that works (one younger than a day, for instance).
    """
    if calls.is_facebook(grant):
        return await facebook_login.refresh(app, grant, refresh_token, on_call=on_call)
    try:
        found = await _again_if_lost(
            lambda: calls.ask_tokens(
                "refresh",
                "GET",
                f"{app.bases['api']}/refresh_access_token",
                params={"grant_type": "ig_refresh_token", "access_token": refresh_token},
                on_call=on_call,
            ),
            "refresh_answer_lost",
        )
    except HouseError as error:
        if error.code not in ("100", "10", "200"):
            raise
        # The refusal does not tell a token that is too young from one that is no longer any good.
        kept = Grant(refresh_token, grant.remote_id, grant.scopes, grant.facts)
        await calls.ask(app, kept, "me", "me", params={"fields": "user_id"}, on_call=on_call)
        raise TABLE.error("renewal_refused") from error
    return _tokens(found, grant)


async def revoke(app: App, grant: Grant, *, on_call: OnCall | None = None) -> None:
    """Nothing: Instagram offers no call for it, and taking back a person's Facebook permission would end every
    other Page and account they connected. Forgetting the tokens is the caller's; the person may remove the app.
    """


async def _trade(app: App, code: str, on_call: OnCall | None) -> dict[str, Any]:
    """Row 2: the code against a token of one hour. Its refusals have a form of their own."""
    url = f"{app.bases['token']}/oauth/access_token"
    form = {
        "client_id": app.client_key,
        "client_secret": app.client_secret,
        "grant_type": "authorization_code",
        "redirect_uri": app.redirect_uri,
        "code": code,
    }
    sent = http.request("POST", url, form=form, timeout_s=platform_calls.READ_S)
    try:
        return await platform_calls.told(
            TABLE, "token", "POST", url, sent, _traded, on_call, body_is_secret=True
        )
    except HouseError as error:
        if error.code in LOST or error.code.startswith("http_5"):
            raise TABLE.error("connect_answer_lost") from error
        raise


def _traded(answer: http.Answer) -> dict[str, Any]:
    """The answer in either of its two shapes: wrapped in `data`, or flat (section 3)."""
    said = platform_calls.mapping(TABLE, answer)
    nested = said.get("error")
    words = said.get("error_message") or (nested.get("message") if isinstance(nested, dict) else "")
    if answer.status >= 500:
        raise TABLE.classify(answer.status, "", "")
    if answer.status >= 400 or "error_type" in said or nested:
        raise _refused(str(words or ""))
    wrapped = said.get("data")
    found = wrapped[0] if isinstance(wrapped, list) and wrapped else said
    if not isinstance(found, dict):
        raise TABLE.error("unreadable_answer")
    _text(found, "access_token")
    return found


def _refused(words: str) -> HouseError:
    said = words.lower()
    if "already used" in said or "has been used" in said or "was not found" in said or "expired" in said:
        return TABLE.error("code_refused", words)
    return TABLE.error("101" if "client secret" in said else "connect_refused", words)


def _granted(permissions: Any) -> tuple[str, ...]:
    """What the person left ticked: text with commas, or a list."""
    found = permissions.split(",") if isinstance(permissions, str) else permissions
    return tuple(str(scope).strip() for scope in found or () if str(scope).strip())


def _tokens(said: Mapping[str, Any], grant: Grant) -> Tokens:
    token = _text(said, "access_token")
    try:
        life_s = int(said["expires_in"])
    except (KeyError, TypeError, ValueError):
        raise TABLE.error("unreadable_answer") from None
    return Tokens(
        access_token=token,
        refresh_token=token,
        access_expires_in_s=life_s,
        refresh_expires_in_s=life_s,
        scopes=grant.scopes,
        remote_id=grant.remote_id,
        facts=grant.facts,
        # A token of a short life, as an operator of a test may want it, is renewed before its last quarter.
        renew_in_s=min(RENEW_IN_S, life_s * 3 // 4),
    )


def _text(said: Mapping[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str | int) or not found:
        # Without the cause, whose text may quote a token.
        raise TABLE.error("unreadable_answer")
    return str(found)


async def _again_if_lost(call: Callable[[], Awaitable[dict[str, Any]]], lost: str) -> dict[str, Any]:
    """Ask once more when the answer was lost; the second time it is the failure `lost`."""
    for last_try in (False, True):
        try:
            return await call()
        except HouseError as error:
            if error.code not in LOST and not error.code.startswith("http_5"):
                raise
            if last_try:
                raise TABLE.error(lost) from error
    raise AssertionError("the second try returns or raises")
