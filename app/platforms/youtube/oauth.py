"""Connecting a YouTube channel, and keeping the connection alive. Sheet, section 2.

An access token lives an hour; the refresh token stays the same, so a lost answer loses nothing. Which channel of a
sign-in it is for, the person picks on Google's page.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from app.errors import HouseError
from app.platforms.base import App, Choice, Grant, OnCall, Tokens
from app.platforms.youtube import calls, errors
from app.platforms.youtube.channel import profile

UPLOAD = "https://www.googleapis.com/auth/youtube.upload"
READ = "https://www.googleapis.com/auth/youtube.readonly"
REPORTS = "https://www.googleapis.com/auth/yt-analytics.readonly"
SCOPES: tuple[str, ...] = (UPLOAD, READ, REPORTS)
# Without these there is nothing to connect for; the person may untick any of them on Google's page.
NEEDED_SCOPES: tuple[str, ...] = (UPLOAD, READ)
SCOPE_WORDS = {
    UPLOAD: "post videos",
    READ: "see the channel and what becomes of its videos",
    REPORTS: "read how its videos do",
}
LOST = ("no_answer", "unreadable_answer")


def new_verifier() -> str:
    """A fresh PKCE verifier of 64 letters, digits, - and _; keep it sealed beside the state."""
    return secrets.token_urlsafe(48)


def challenge(verifier: str) -> str:
    """The SHA-256 of the verifier in base64url without padding (RFC 7636), unlike TikTok's."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).decode().rstrip("=")


def authorize_url(app: App, state: str, verifier: str, scopes: Sequence[str] = SCOPES) -> str:
    """Where the browser goes to allow the connection. Without `offline` and `consent` no refresh token comes."""
    query = {
        "client_id": app.client_key,
        "redirect_uri": app.redirect_uri,
        "response_type": "code",
        "scope": " ".join(scopes),
        "access_type": "offline",
        "prompt": "consent",
        "state": state,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
    }
    return f"{app.auth_base}/o/oauth2/v2/auth?{urlencode(query)}"


def declined(error: str, description: str) -> HouseError:
    """The failure for a browser that comes back with `error` in place of a code."""
    return errors.error(errors.WHILE_CONNECTING.get(error, error), description)


async def exchange(app: App, code: str, verifier: str, *, on_call: OnCall | None = None) -> Tokens:
    """Turn the code that the browser brought back, URL-decoded, into tokens.

    A code works once, so nothing is repeated: after any failure the person starts connecting again. Compare
    `scopes` of the answer with NEEDED_SCOPES. Whose they are, `choices` tells.
    """
    fields = {
        "client_id": app.client_key,
        "client_secret": app.client_secret,
        "code": code,
        "redirect_uri": app.redirect_uri,
        "grant_type": "authorization_code",
        "code_verifier": verifier,
    }
    try:
        said = await calls.ask_oauth(
            app, "exchange", "/token", fields, meanings=errors.WHILE_CONNECTING, on_call=on_call
        )
        tokens = _tokens(said)
    except HouseError as error:
        if error.code in LOST:
            raise errors.error("connect_answer_lost") from error
        raise
    if not tokens.refresh_token:
        raise errors.error("no_lasting_permission")
    return tokens


async def choices(app: App, tokens: Tokens, *, on_call: OnCall | None = None) -> list[Choice]:
    """The one channel that a consent covers; Refused `youtubeSignupRequired` when the sign-in has none."""
    found = await profile(app, tokens.grant, on_call=on_call)
    own = replace(tokens, remote_id=found.remote_id)
    return [Choice(found.remote_id, found.display_name, f"@{found.handle}", own)]


async def refresh(app: App, grant: Grant, refresh_token: str, *, on_call: OnCall | None = None) -> Tokens:
    """A new access token for the same refresh token; calling it again, or twice at once, does no harm.

    Permanent `invalid_grant` means that the person has to connect again; `invalid_client` is the operator's fault
    and no account's. The answer has no refresh token, as a rule: the old one stays.
    """
    fields = {
        "client_id": app.client_key,
        "client_secret": app.client_secret,
        "refresh_token": refresh_token,
        "grant_type": "refresh_token",
    }
    try:
        tokens = _tokens(await calls.ask_oauth(app, "refresh", "/token", fields, on_call=on_call))
    except HouseError as error:
        if error.code in LOST:
            raise errors.error("refresh_answer_lost") from error
        raise
    return replace(tokens, remote_id=grant.remote_id)


async def revoke(app: App, grant: Grant, *, on_call: OnCall | None = None) -> None:
    """End all that this sign-in allowed us, other channels of it too. A token that is dead already is no failure."""
    try:
        await calls.ask_oauth(app, "revoke", "/revoke", {"token": grant.token}, on_call=on_call)
    except HouseError as error:
        if error.code != "invalid_token":
            raise


def _tokens(said: dict[str, Any]) -> Tokens:
    try:
        lifetime_s = int(said["expires_in"])
        ends_s = said.get("refresh_token_expires_in")
        return Tokens(
            access_token=str(said["access_token"]),
            refresh_token=str(said.get("refresh_token") or ""),
            access_expires_in_s=lifetime_s,
            refresh_expires_in_s=None if ends_s is None else int(ends_s),
            scopes=tuple(str(said.get("scope", "")).split()),
            remote_id="",
            # Any call renews when it must, so looking ahead only finds permissions that were taken back.
            renew_in_s=lifetime_s * 5 // 6,
        )
    except (KeyError, TypeError, ValueError):
        # Without the cause, whose text may quote a token.
        raise errors.error("unreadable_answer") from None
