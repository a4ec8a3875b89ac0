"""One consent that covers several accounts: what it offers is kept sealed for ten minutes, until the person picks.

Facebook gives all Pages of a person at once, and Instagram the accounts behind those Pages. A ticket stands for the
kept consent; it works once, in the session that began it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from app import crypto, db, platforms
from app.errors import Refused

PICK_MINUTES = 10
_GONE = "This list was not made here, is too old, or was already used. Start connecting again."


@dataclass(frozen=True)
class Offer:
    """One account that can be picked. `account_id` is set when it is connected here already: it would be renewed."""

    remote_id: str
    name: str
    detail: str
    account_id: int | None


async def keep(
    conn: db.Conn, *, workspace_id: int, session_id: int, platform: str, found: list[platforms.Choice]
) -> str:
    """Keep what this consent offers; gives the ticket for it."""
    await forget(conn)
    ticket = crypto.token()
    digest = crypto.digest(ticket)
    await conn.execute(
        """
        INSERT INTO account_choices (ticket_sha256, workspace_id, session_id, platform, offered_enc)
        VALUES (%s, %s, %s, %s, %s)""",
        [
            digest,
            workspace_id,
            session_id,
            platform,
            crypto.seal(json.dumps([asdict(choice) for choice in found]), _where(digest)),
        ],
    )
    return ticket


async def offered(conn: db.Conn, *, session_id: int, ticket: str) -> tuple[str, list[Offer]]:
    """The platform and what can be picked, without any token; Refused for a ticket that does not count (any more)."""
    digest = crypto.digest(ticket)
    found = await db.rows(
        conn,
        """
        SELECT platform, offered_enc
          FROM account_choices
         WHERE ticket_sha256 = %s AND session_id = %s AND used_at IS NULL AND offered_enc IS NOT NULL
           AND created_at > now() - make_interval(mins => %s)""",
        [digest, session_id, PICK_MINUTES],
    )
    if not found:
        raise Refused(_GONE, code="choice_refused")
    platform, sealed = found[0]
    kept = _opened(digest, sealed, 0.0)
    here = dict(
        await db.rows(
            conn,
            """
            SELECT remote_id, id
              FROM accounts
             WHERE platform = %s AND remote_id = ANY (%s) AND state <> 'disconnected'""",
            [platform, [choice.remote_id for choice in kept]],
        )
    )
    return str(platform), [
        Offer(choice.remote_id, choice.name, choice.detail, here.get(choice.remote_id)) for choice in kept
    ]


async def take(
    conn: db.Conn, *, session_id: int, ticket: str, remote_ids: list[str]
) -> tuple[str, list[platforms.Choice]]:
    """Use up the ticket: the platform and what was picked, with tokens whose lifetimes count from now.

    Refused, and nothing is used up, when nothing of what is offered was picked; Refused for a ticket of another
    session, an old one and the second time.
    """
    platform, offers = await offered(conn, session_id=session_id, ticket=ticket)
    picked = {offer.remote_id for offer in offers} & set(remote_ids)
    if not picked or len(picked) != len(set(remote_ids)):
        raise Refused("Tick at least one of the accounts in the list.", code="nothing_picked")
    digest = crypto.digest(ticket)
    found = await db.rows(
        conn,
        """
        WITH before AS (
            SELECT ticket_sha256, offered_enc, extract(epoch FROM now() - created_at)::float8 AS age_s
              FROM account_choices
             WHERE ticket_sha256 = %s AND used_at IS NULL
               FOR UPDATE
        )
        UPDATE account_choices
           SET used_at = now(), offered_enc = NULL
          FROM before
         WHERE account_choices.ticket_sha256 = before.ticket_sha256
        RETURNING before.offered_enc, before.age_s""",
        [digest],
    )
    if not found:
        raise Refused(_GONE, code="choice_refused")
    sealed, age_s = found[0]
    return platform, [choice for choice in _opened(digest, sealed, age_s) if choice.remote_id in picked]


async def forget(conn: db.Conn) -> int:
    """Remove what nobody picked in time, with its tokens; gives how many."""
    return await db.run(
        conn,
        "DELETE FROM account_choices WHERE created_at < now() - make_interval(mins => %s)",
        [PICK_MINUTES],
    )


def _where(digest: bytes) -> str:
    return f"account_choices|{digest.hex()}|offered_enc"


def _opened(digest: bytes, sealed: str, age_s: float) -> list[platforms.Choice]:
    return [_choice(kept, age_s) for kept in json.loads(crypto.unseal(sealed, _where(digest)))]


def _choice(kept: dict[str, Any], age_s: float) -> platforms.Choice:
    """A kept choice, with what has passed since taken off its lifetimes."""
    tokens = platforms.Tokens(**{**kept["tokens"], "scopes": tuple(kept["tokens"]["scopes"])})
    left = replace(
        tokens,
        access_expires_in_s=_left(tokens.access_expires_in_s, age_s),
        refresh_expires_in_s=_left(tokens.refresh_expires_in_s, age_s),
        renew_in_s=_left(tokens.renew_in_s, age_s),
    )
    return platforms.Choice(str(kept["remote_id"]), str(kept["name"]), str(kept["detail"]), left)


def _left(lifetime_s: int | None, age_s: float) -> int | None:
    return None if lifetime_s is None else max(0, int(lifetime_s - age_s))
