"""Connecting a TikTok account, and keeping the connection alive. Sheet, section 2.

Refresh tokens rotate and the old one dies at once: call `refresh` under a lock of the account's row and write
the new pair before anything else. Lifetimes are what TikTok says each time, never a number of ours.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from app.errors import HouseError
from app.platforms.base import App, Choice, Grant, OnCall, Tokens
from app.platforms.tiktok import calls, errors

SCOPE_WORDS = {
    "user.info.basic": "see whose account it is",
    "user.info.profile": "see its @name",
    "video.publish": "post videos",
    "video.upload": "send drafts to its inbox",
    "video.list": "read how its videos do",
}
SCOPES: tuple[str, ...] = (
    "user.info.basic",
    "user.info.profile",
    "video.publish",
    "video.upload",
    "video.list",
)
# Without these there is nothing to connect for; the person may untick any of them on TikTok's page.
NEEDED_SCOPES: tuple[str, ...] = ("user.info.basic", "video.publish")
# More than an idle house's hour between two looks, and more than the sheet's tenth of the lifetime.
RENEW_AHEAD_S = 75 * 60
# Answers after which the new pair may exist at TikTok and not here.
LOST = ("no_answer", "unreadable_answer")


def new_verifier() -> str:
    """A fresh PKCE verifier of 64 letters, digits, - and _; keep it sealed beside the state."""
    return secrets.token_urlsafe(48)


def challenge(verifier: str) -> str:
    """TikTok wants the hash in hexadecimal, not base64url as everybody else (Login Kit for Desktop)."""
    return hashlib.sha256(verifier.encode("ascii")).hexdigest()


def authorize_url(app: App, state: str, verifier: str, scopes: Sequence[str] = SCOPES) -> str:
    """Where the browser goes to allow the connection. Desktop apps send a challenge, web apps none."""
    query = {
        "client_key": app.client_key,
        "response_type": "code",
        "scope": ",".join(scopes),
        "redirect_uri": app.redirect_uri,
        "state": state,
    }
    if app.app_type == "desktop":
        query |= {"code_challenge": challenge(verifier), "code_challenge_method": "S256"}
    return f"{app.auth_base}/v2/auth/authorize/?{urlencode(query)}"


def declined(error: str, description: str) -> HouseError:
    """The failure for a browser that comes back with `error` in place of a code."""
    return errors.error(errors.WHILE_CONNECTING.get(error, error), description)


async def exchange(app: App, code: str, verifier: str, *, on_call: OnCall | None = None) -> Tokens:
    """Turn the code that the browser brought back, URL-decoded, into tokens.

    A code works once, so nothing is repeated: after any failure the person starts connecting again. Compare
    `scopes` of the answer with NEEDED_SCOPES.
    """
    fields = {"code": code, "grant_type": "authorization_code", "redirect_uri": app.redirect_uri}
    if app.app_type == "desktop":
        fields["code_verifier"] = verifier
    try:
        said = await calls.ask_oauth(
            app, "exchange", "/v2/oauth/token/", fields, meanings=errors.WHILE_CONNECTING, on_call=on_call
        )
        return _tokens(said)
    except HouseError as error:
        if error.code in LOST:
            raise errors.error("connect_answer_lost") from error
        raise


async def choices(app: App, tokens: Tokens, *, on_call: OnCall | None = None) -> list[Choice]:
    """The one account that a consent on TikTok covers."""
    return [Choice(tokens.remote_id, "", "", tokens)]


async def refresh(app: App, grant: Grant, refresh_token: str, *, on_call: OnCall | None = None) -> Tokens:
    """Trade the refresh token for a new pair; the old one may be dead the moment this is called.

    A lost answer is repeated once with the old token (sheet, section 2.4). Permanent `invalid_grant` means
    that the person has to connect again; `invalid_client` is the operator's fault and no account's.
    """
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    for last_try in (False, True):
        try:
            return _tokens(await calls.ask_oauth(app, "refresh", "/v2/oauth/token/", fields, on_call=on_call))
        except HouseError as error:
            if error.code not in LOST:
                raise
            if last_try:
                raise errors.error("refresh_answer_lost") from error
    raise AssertionError("the second try returns or raises")


async def revoke(app: App, grant: Grant, *, on_call: OnCall | None = None) -> None:
    """End our permission at TikTok; both tokens die, and a post that still runs ends there.

    Permanent `access_token_invalid` means that this token cannot do it any more: refresh, then revoke again.
    """
    meanings = {"invalid_request": "access_token_invalid", "invalid_grant": "access_token_invalid"}
    await calls.ask_oauth(
        app, "revoke", "/v2/oauth/revoke/", {"token": grant.token}, meanings=meanings, on_call=on_call
    )


def _tokens(said: dict[str, Any]) -> Tokens:
    try:
        return Tokens(
            access_token=str(said["access_token"]),
            refresh_token=str(said["refresh_token"]),
            access_expires_in_s=int(said["expires_in"]),
            renew_in_s=max(int(said["expires_in"]) - RENEW_AHEAD_S, int(said["expires_in"]) // 10),
            refresh_expires_in_s=int(said["refresh_expires_in"]),
            scopes=tuple(scope for scope in str(said.get("scope", "")).split(",") if scope),
            remote_id=str(said["open_id"]),
        )
    except (KeyError, TypeError, ValueError):
        # Without the cause, whose text may quote a token.
        raise errors.error("unreadable_answer") from None
