"""Rows of people and workspaces, and the settings a person chooses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from zoneinfo import available_timezones

from app import db
from app.errors import NotFound, Refused

THEMES = ("auto", "light", "dark")
# Any constant of our own: one sign-up at a time looks whether it is the first.
FIRST_PERSON = 5_261_120_743


@dataclass(frozen=True)
class Person:
    id: int
    email: str
    name: str
    is_operator: bool
    zone: str
    theme: str


@dataclass(frozen=True)
class Workspace:
    id: int
    name: str


@dataclass(frozen=True)
class Known:
    """What sign-in needs of an account that may sign in."""

    id: int
    password_hash: str


async def known(conn: db.Conn, email: str) -> Known | None:
    """The account of this address; a disabled one counts as none."""
    return await db.maybe(
        conn, Known, "SELECT {columns} FROM users WHERE email = %s AND disabled_at IS NULL", [email]
    )


async def get(conn: db.Conn, user_id: int) -> Person:
    return await db.one(conn, Person, "SELECT {columns} FROM users WHERE id = %s", [user_id])


async def add(conn: db.Conn, email: str, name: str, password_hash: str) -> tuple[Person, Workspace] | None:
    """A new person with a workspace of their own, or None when the address is taken.

    The first person of the house becomes its operator, also when several sign up at the same moment.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", [FIRST_PERSON])
    person = await db.maybe(
        conn,
        Person,
        """
        INSERT INTO users (email, name, password_hash, is_operator)
        SELECT %(email)s, %(name)s, %(password_hash)s, NOT EXISTS (SELECT FROM users)
            ON CONFLICT (email) DO NOTHING
        RETURNING {columns}""",
        {"email": email, "name": name, "password_hash": password_hash},
    )
    if person is None:
        return None
    workspace = await db.one(
        conn, Workspace, "INSERT INTO workspaces (name) VALUES (%s) RETURNING {columns}", [name]
    )
    await conn.execute(
        "INSERT INTO members (workspace_id, user_id, role) VALUES (%s, %s, 'owner')",
        [workspace.id, person.id],
    )
    return person, workspace


async def names(conn: db.Conn, user_ids: Collection[int]) -> dict[int, str]:
    """What these people are called, for operators' lists; one that is not known is missing."""
    found = await db.rows(conn, "SELECT id, name FROM users WHERE id = ANY (%s)", [list(user_ids)])
    return {int(user_id): str(name) for user_id, name in found}


async def workspace_names(conn: db.Conn, workspace_ids: Collection[int]) -> dict[int, str]:
    """What these workspaces are called, for operators' lists; one that is not known is missing."""
    found = await db.rows(conn, "SELECT id, name FROM workspaces WHERE id = ANY (%s)", [list(workspace_ids)])
    return {int(workspace_id): str(name) for workspace_id, name in found}


async def first_workspace(conn: db.Conn, user_id: int) -> Workspace:
    """The workspace a person starts in: the oldest they are a member of."""
    return await db.one(
        conn,
        Workspace,
        """
        SELECT {workspaces.columns}
          FROM members
          JOIN workspaces ON workspaces.id = members.workspace_id
         WHERE members.user_id = %s
         ORDER BY members.created_at, workspaces.id
         LIMIT 1""",
        [user_id],
    )


async def rehash(conn: db.Conn, user_id: int, before: str, after: str) -> None:
    """Keep the same password under today's profile, unless it was changed meanwhile."""
    await conn.execute(
        "UPDATE users SET password_hash = %s WHERE id = %s AND password_hash = %s", [after, user_id, before]
    )


async def make_operator(conn: db.Conn, user_id: int) -> None:
    """Let this person see the admin pages. Harmless twice."""
    if not await db.run(conn, "UPDATE users SET is_operator = true WHERE id = %s", [user_id]):
        raise NotFound


async def set_theme(conn: db.Conn, user_id: int, theme: str) -> None:
    """Remember light, dark or auto (as the device says)."""
    if theme not in THEMES:
        raise Refused(
            "There is no such theme.", code="invalid", fields={"theme": "Choose auto, light or dark."}
        )
    await conn.execute("UPDATE users SET theme = %s WHERE id = %s", [theme, user_id])


async def set_zone(conn: db.Conn, user_id: int, zone: str) -> None:
    """Remember the IANA time zone in which this person reads times."""
    if zone not in available_timezones():
        raise Refused(
            "There is no such time zone.", code="invalid", fields={"zone": "Choose one from the list."}
        )
    await conn.execute("UPDATE users SET zone = %s WHERE id = %s", [zone, user_id])
