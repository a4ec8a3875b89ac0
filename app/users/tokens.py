"""Access tokens of the API: JWT, HS256 and nothing else, 15 minutes, tied to a living API session.

The claims and the leeway of 30 s are those of reliability, section 7. The algorithm named in a token is never
trusted, and a token whose session has ended is worth nothing, however long it still runs.
"""

from __future__ import annotations

import hashlib
import time

import jwt

from app import crypto, db
from app.users.sessions import Session, Who, by_id

ISSUER, AUDIENCE = "backlot", "backlot-api"
ALGORITHM = "HS256"
TOKEN_S = 900
LEEWAY_S = 30


def issue(session: Session) -> tuple[str, int]:
    """A token for this API session, and the seconds it is good for."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + TOKEN_S,
        "sub": str(session.user_id),
        "sid": str(session.id),
    }
    return jwt.encode(claims, _key(), ALGORITHM, {"kid": _key_id()}), TOKEN_S


async def by_token(conn: db.Conn, token: str) -> Who | None:
    """Who acts with this token, or None when it is not ours, has run out, or its session has ended."""
    try:
        if jwt.get_unverified_header(token).get("kid") != _key_id():
            return None
        claims = jwt.decode(
            token,
            _key(),
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "sid"]},
        )
        session_id, user_id = int(claims["sid"]), int(claims["sub"])
    except (jwt.InvalidTokenError, ValueError, TypeError):
        return None
    who = await by_id(conn, session_id)
    return who if who is not None and who.person.id == user_id else None


def _key() -> bytes:
    return crypto.derive("jwt")


def _key_id() -> str:
    """Names the key without telling anything of it."""
    return hashlib.sha256(b"jwt key id" + _key()).hexdigest()[:8]
