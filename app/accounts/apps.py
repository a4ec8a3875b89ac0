"""Our registrations at the platforms as operators enter them: sealed rows that every process knows within seconds.

They go before what stands in the environment (S2.70), and that is for `platforms.registry` to decide. Nothing here
gives a value back to a page: what was entered can be replaced or removed, never read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime

from app import crypto, db, log, platforms
from app.errors import HouseError, Refused

# How old what this process knows may be when it is used; a change takes no restart.
LOOK_EVERY_S = 5.0
LONGEST = 512


@dataclass(frozen=True)
class Entered:
    """That somebody entered credentials for a platform, and when; not what they are."""

    platform: str
    set_by: int | None
    set_at: datetime


@dataclass
class _Known:
    """What this process has told `platforms.registry`: by platform the sealed text it was opened from."""

    sealed: dict[str, tuple[str, str]] = field(default_factory=dict)
    look_at: float = 0.0


_known = _Known()


async def entered(conn: db.Conn) -> dict[str, Entered]:
    """Which platforms have credentials that were entered here, by name. For the house only."""
    found = await db.many(conn, Entered, "SELECT {columns} FROM platform_apps")
    return {each.platform: each for each in found}


async def enter(platform: str, client_key: str, client_secret: str, *, by: int) -> None:
    """Keep these credentials, in place of what was entered before. Refused, field by field, for what cannot be one.

    This process uses them at once, the others within LOOK_EVERY_S.
    """
    platforms.get(platform)
    given = {"client_key": client_key.strip(), "client_secret": client_secret.strip()}
    if wrong := {name: sentence for name, text in given.items() if (sentence := _wrong(text))}:
        raise Refused("These credentials cannot be used.", code="invalid", fields=wrong)
    async with db.house() as conn:
        await conn.execute(
            """
            INSERT INTO platform_apps (platform, client_key_enc, client_secret_enc, set_by)
            VALUES (%(platform)s, %(key)s, %(secret)s, %(by)s)
                ON CONFLICT (platform)
                DO UPDATE SET client_key_enc = excluded.client_key_enc, client_secret_enc = excluded.client_secret_enc,
                              set_by = excluded.set_by, set_at = now()""",
            {
                "platform": platform,
                "key": crypto.seal(given["client_key"], _where(platform, "client_key_enc")),
                "secret": crypto.seal(given["client_secret"], _where(platform, "client_secret_enc")),
                "by": by,
            },
        )
    await look(now=True)


async def remove(platform: str) -> bool:
    """Forget what was entered for this platform; gives whether there was anything. Twice is once."""
    async with db.house() as conn:
        gone = await db.run(conn, "DELETE FROM platform_apps WHERE platform = %s", [platform])
    await look(now=True)
    return bool(gone)


async def look(*, now: bool = False) -> None:
    """See that this process knows what was entered; asks the database only when the last look is old.

    Before whatever uses a platform's credentials. A row that cannot be opened counts as not there.
    """
    if not now and time.monotonic() < _known.look_at:
        return
    async with db.house() as conn:
        found = await db.rows(conn, "SELECT platform, client_key_enc, client_secret_enc FROM platform_apps")
    _known.look_at = time.monotonic() + LOOK_EVERY_S
    rows = {str(platform): (str(key), str(secret)) for platform, key, secret in found}
    if rows != _known.sealed:
        opened = {platform: _opened(platform, *sealed) for platform, sealed in rows.items()}
        platforms.registry.enter({name: entered for name, entered in opened.items() if entered is not None})
        _known.sealed = rows


def _opened(platform: str, key_sealed: str, secret_sealed: str) -> platforms.registry.Entered | None:
    try:
        return platforms.registry.Entered(
            crypto.unseal(key_sealed, _where(platform, "client_key_enc")),
            crypto.unseal(secret_sealed, _where(platform, "client_secret_enc")),
        )
    except HouseError as error:
        log.error("entered credentials cannot be opened", platform=platform, reason=error.message)
        return None


def _where(platform: str, column: str) -> str:
    return f"platform_apps|{platform}|{column}"


def _wrong(text: str) -> str:
    """Why this can be no key or secret; empty when it can."""
    if not text:
        return "This is needed."
    if len(text) > LONGEST:
        return f"This is longer than {LONGEST} characters."
    if not text.isascii() or not text.isprintable() or " " in text:
        return "This holds characters that no key has: letters, digits and signs only, on one line."
    return ""
