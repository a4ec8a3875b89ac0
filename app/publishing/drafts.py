"""What is typed into the composer and not posted yet, kept as it is typed. The form's words are the composer's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from app import db
from app.errors import NotFound


@dataclass(frozen=True)
class Draft:
    """`version` counts the writes: whoever sees another one than the last was overtaken."""

    id: int
    workspace_id: int
    user_id: int
    form: dict[str, Any]
    version: int
    saved_at: datetime
    created_at: datetime


async def save(
    conn: db.Conn, *, workspace_id: int, user_id: int, form: Mapping[str, Any], draft_id: int | None = None
) -> Draft:
    """Keep the form, in a draft of its own or in that one; the last write wins. NotFound for a stranger's draft."""
    if draft_id is None:
        return await db.one(
            conn,
            Draft,
            """
            INSERT INTO post_drafts (workspace_id, user_id, form)
            VALUES (%s, %s, %s)
            RETURNING {columns}""",
            [workspace_id, user_id, Jsonb(dict(form))],
        )
    return await db.one(
        conn,
        Draft,
        """
        UPDATE post_drafts
           SET form = %s, user_id = %s, version = version + 1, saved_at = clock_timestamp()
         WHERE id = %s
        RETURNING {columns}""",
        [Jsonb(dict(form)), user_id, draft_id],
    )


async def get(conn: db.Conn, draft_id: int) -> Draft:
    return await db.one(conn, Draft, "SELECT {columns} FROM post_drafts WHERE id = %s", [draft_id])


async def list_for(conn: db.Conn, *, most: int = 50) -> list[Draft]:
    """The workspace's drafts, the one saved last first."""
    return await db.many(
        conn, Draft, "SELECT {columns} FROM post_drafts ORDER BY saved_at DESC LIMIT %s", [most]
    )


async def remove(conn: db.Conn, draft_id: int) -> None:
    """Forget the draft; NotFound for a stranger's, and for one that is gone."""
    if not await db.run(conn, "DELETE FROM post_drafts WHERE id = %s", [draft_id]):
        raise NotFound
