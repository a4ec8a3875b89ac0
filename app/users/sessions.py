"""Sessions: a row for each browser that is signed in and for each API token that was given out.

A browser's session ends after 14 days without a visit and after 30 days in any case (reliability, section 7);
an API session lives as long as its token. Only the SHA-256 of the secret is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app import crypto, db, live
from app.errors import NotFound
from app.users.people import Person, Workspace

Kind = Literal["browser", "api"]
IDLE_DAYS = 14
LONGEST_DAYS = 30
# Longer than a token by more than the leeway its check allows.
API_S = 960
LONGEST_USER_AGENT = 300


@dataclass(frozen=True)
class Session:
    id: int
    kind: str
    user_id: int
    workspace_id: int
    user_agent: str
    address: str
    signed_in_at: datetime
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Who:
    """Who acts, in which workspace, by which session."""

    person: Person
    workspace: Workspace
    role: str
    session: Session


@dataclass(frozen=True)
class _Acting:
    """The same as one row."""

    session_id: int
    kind: str
    user_agent: str
    address: str
    signed_in_at: datetime
    seen_at: datetime
    expires_at: datetime
    user_id: int
    email: str
    name: str
    is_operator: bool
    zone: str
    theme: str
    workspace_id: int
    workspace_name: str
    role: str

    def who(self) -> Who:
        return Who(
            Person(self.user_id, self.email, self.name, self.is_operator, self.zone, self.theme),
            Workspace(self.workspace_id, self.workspace_name),
            self.role,
            Session(
                self.session_id,
                self.kind,
                self.user_id,
                self.workspace_id,
                self.user_agent,
                self.address,
                self.signed_in_at,
                self.seen_at,
                self.expires_at,
            ),
        )


async def start(
    conn: db.Conn, user_id: int, workspace_id: int, *, kind: Kind, user_agent: str = "", address: str = ""
) -> tuple[Session, str]:
    """A new session and its secret, which is told this once and kept nowhere."""
    secret = crypto.token()
    session = await db.one(
        conn,
        Session,
        """
        INSERT INTO sessions (secret, kind, user_id, workspace_id, user_agent, address, expires_at)
        VALUES (%(secret)s, %(kind)s, %(user_id)s, %(workspace_id)s, %(user_agent)s, %(address)s,
                now() + make_interval(secs => %(life_s)s))
        RETURNING {columns}""",
        {
            "secret": crypto.digest(secret),
            "kind": kind,
            "user_id": user_id,
            "workspace_id": workspace_id,
            "user_agent": user_agent[:LONGEST_USER_AGENT],
            "address": address,
            "life_s": API_S if kind == "api" else LONGEST_DAYS * 86_400,
        },
    )
    return session, secret


async def by_session(conn: db.Conn, secret: str) -> Who | None:
    """Whose browser this is, or None when the session has ended. Notes the visit, at most once a minute."""
    return await _acting(conn, crypto.digest(secret), None)


async def by_id(conn: db.Conn, session_id: int) -> Who | None:
    """Who acts with a token of this API session, or None when it has ended."""
    return await _acting(conn, None, session_id)


async def _acting(conn: db.Conn, digest: bytes | None, session_id: int | None) -> Who | None:
    """By the digest of a browser's secret or by the id of an API session; exactly one of them is given."""
    found = await db.maybe(
        conn,
        _Acting,
        """
        WITH acting AS (
            SELECT sessions.id AS session_id, sessions.kind, sessions.user_agent, sessions.address,
                   sessions.signed_in_at, sessions.seen_at, sessions.expires_at, users.id AS user_id,
                   users.email, users.name, users.is_operator, users.zone, users.theme,
                   workspaces.id AS workspace_id, workspaces.name AS workspace_name, members.role
              FROM sessions
              JOIN users ON users.id = sessions.user_id
              JOIN workspaces ON workspaces.id = sessions.workspace_id
              JOIN members ON members.workspace_id = sessions.workspace_id
                          AND members.user_id = sessions.user_id
             WHERE (sessions.secret = %(digest)s AND sessions.kind = 'browser'
                    OR sessions.id = %(session_id)s AND sessions.kind = 'api')
               AND sessions.revoked_at IS NULL
               AND sessions.expires_at > now()
               AND sessions.seen_at > now() - make_interval(days => %(idle_days)s)
               AND users.disabled_at IS NULL),
        noted AS (
            UPDATE sessions SET seen_at = now()
              FROM acting
             WHERE sessions.id = acting.session_id AND sessions.seen_at < now() - interval '1 minute')
        SELECT {columns} FROM acting""",
        {"digest": digest, "session_id": session_id, "idle_days": IDLE_DAYS},
    )
    return found.who() if found else None


async def is_living(conn: db.Conn, session_id: int) -> bool:
    """Whether the session still counts; open streams ask this again every minute."""
    return bool(
        await db.value(
            conn,
            """
            SELECT EXISTS (SELECT
                             FROM sessions
                             JOIN users ON users.id = sessions.user_id AND users.disabled_at IS NULL
                            WHERE sessions.id = %s AND revoked_at IS NULL AND expires_at > now()
                              AND seen_at > now() - make_interval(days => %s))""",
            [session_id, IDLE_DAYS],
        )
    )


async def sessions(conn: db.Conn, user_id: int) -> list[Session]:
    """The living sessions of a person, the latest seen first."""
    return await db.many(
        conn,
        Session,
        """
        SELECT {columns}
          FROM sessions
         WHERE user_id = %s AND revoked_at IS NULL AND expires_at > now()
           AND seen_at > now() - make_interval(days => %s)
         ORDER BY seen_at DESC, id DESC
         LIMIT 200""",
        [user_id, IDLE_DAYS],
    )


async def sign_out(conn: db.Conn, session_id: int) -> None:
    """End a session now. Harmless twice."""
    await conn.execute(
        "UPDATE sessions SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL", [session_id]
    )
    await live.tell(conn, f"session-{session_id}")


async def revoke(conn: db.Conn, user_id: int, session_id: int) -> None:
    """End one of this person's sessions; NotFound when it is not theirs. Harmless twice."""
    if not await db.value(
        conn, "SELECT id FROM sessions WHERE id = %s AND user_id = %s", [session_id, user_id]
    ):
        raise NotFound
    await sign_out(conn, session_id)


async def forget_sessions(conn: db.Conn, *, most: int = 5_000) -> int:
    """Remove one batch of sessions that ended more than a day ago; gives how many. For upkeep; harmless twice."""
    return await db.run(
        conn,
        """
        DELETE FROM sessions
         WHERE id IN (SELECT id
                        FROM sessions
                       WHERE least(revoked_at, expires_at, seen_at + make_interval(days => %s))
                             < now() - interval '1 day'
                       LIMIT %s)""",
        [IDLE_DAYS, most],
    )
