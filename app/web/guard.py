"""Who acts, and whether the request is their own: cookie, bearer token, CSRF.

The cookie is `__Host-backlot` with Secure wherever a browser keeps such a cookie: over TLS, and on
http://localhost in Chromium and Firefox. Over plain http elsewhere (an install in a home network, Safari on
localhost) no browser would send it back, so there it is `backlot` without Secure; put TLS in front to have the
better one. Each kind is read only where it is given out: a planted `backlot` counts for nothing under TLS.

A change by cookie must come from our own pages: `Sec-Fetch-Site` or `Origin` must say so, and the page's token
must come along, in the header `X-CSRF-Token` or the form field `csrf`. The token is made from the session, so
nothing is stored. A bearer request needs none, as no browser adds a bearer token by itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from app import config, crypto, db, users
from app.errors import Refused
from app.users import Who

__all__ = [
    "FRESH_S",
    "Who",
    "address_of",
    "by_bearer",
    "by_cookie",
    "check_origin",
    "check_token",
    "csrf_token",
    "forget_cookie",
    "not_signed_in",
    "require_fresh",
    "set_cookie",
    "who_acts",
]

SECURE_COOKIE, PLAIN_COOKIE = "__Host-backlot", "backlot"
KEEPS_SECURE_ON_LOCALHOST = re.compile(r"Chrom(e|ium)/|Firefox/")
LONGEST_SECRET = 200
COOKIE_S = 30 * 86_400
# Age of a sign-in that is fresh enough for batch and destructive acts: reliability, section 7, Admin.
FRESH_S = 900


def who_acts(request: Request) -> Who:
    """The person of a route that only signed-in people pass."""
    who: Who | None = request.state.who
    if who is None:
        raise not_signed_in()
    return who


def not_signed_in() -> Refused:
    return Refused("Sign in first.", code="not_signed_in", status=401)


def require_fresh(request: Request) -> None:
    """Refused (403, `sign_in_again`) when the last sign-in is longer ago than 15 minutes."""
    if time.time() - who_acts(request).session.signed_in_at.timestamp() > FRESH_S:
        raise Refused("Sign in again to do this.", code="sign_in_again", status=403)


def address_of(request: Request) -> str:
    """The caller's address as limits see it (an IPv6 network of /64 counts as one); empty when unknown."""
    return str(getattr(request.state, "address", ""))


async def by_cookie(request: Request) -> Who | None:
    secret = _secret(request)
    if secret is None:
        return None
    async with db.house() as conn:
        return await users.by_session(conn, secret)


async def by_bearer(request: Request) -> Who | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    async with db.house() as conn:
        return await users.by_token(conn, token.strip())


def set_cookie(request: Request, response: Response, secret: str) -> None:
    """Give the browser its session."""
    secure = _keeps_secure(request)
    response.set_cookie(
        SECURE_COOKIE if secure else PLAIN_COOKIE,
        secret,
        max_age=COOKIE_S,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def forget_cookie(request: Request, response: Response) -> None:
    for name in _names(request):
        response.delete_cookie(name, path="/", secure=name == SECURE_COOKIE, httponly=True, samesite="lax")


def csrf_token(who: Who) -> str:
    """What a page of this session must send along with every change."""
    digest = hmac.digest(crypto.derive("csrf"), str(who.session.id).encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def check_origin(request: Request) -> None:
    """Refused (403, `csrf`) when a browser says that another site sent this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        # `none`: typed or from a bookmark; no other site can cause it.
        if site not in ("same-origin", "none"):
            raise _foreign()
        return
    origin = request.headers.get("origin")
    # Neither header: not a browser of the last years; the token still has to be right.
    if origin is not None and urlsplit(origin).netloc.lower() not in _own_hosts(request):
        raise _foreign()


def check_token(request: Request, form: FormData | None) -> None:
    """Refused (403, `csrf`) without the token of this session's pages. `form` is None for other bodies.

    A form with files is not read before its token is known, so there it is the browser's word that counts.
    """
    given = request.headers.get("x-csrf-token") or (form.get("csrf") if form is not None else None)
    has_files = request.headers.get("content-type", "").startswith("multipart/form-data")
    if given is None and has_files and ("sec-fetch-site" in request.headers or "origin" in request.headers):
        return
    wanted = csrf_token(who_acts(request))
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Refused(
            "This page is out of date. Load it again, then repeat what you did.", code="csrf", status=403
        )


def _foreign() -> Refused:
    return Refused("This request came from another site.", code="csrf", status=403)


def _own_hosts(request: Request) -> set[str]:
    return {request.headers.get("host", "").lower(), urlsplit(config.get().base_url).netloc.lower()} - {""}


def _is_localhost(request: Request) -> bool:
    return request.url.scheme == "http" and request.url.hostname == "localhost"


def _keeps_secure(request: Request) -> bool:
    if request.url.scheme == "https":
        return True
    agent = request.headers.get("user-agent", "")
    return _is_localhost(request) and KEEPS_SECURE_ON_LOCALHOST.search(agent) is not None


def _names(request: Request) -> tuple[str, ...]:
    if request.url.scheme == "https":
        return (SECURE_COOKIE,)
    return (SECURE_COOKIE, PLAIN_COOKIE) if _is_localhost(request) else (PLAIN_COOKIE,)


def _secret(request: Request) -> str | None:
    for name in _names(request):
        secret = request.cookies.get(name)
        if secret and len(secret) <= LONGEST_SECRET:
            return secret
    return None
