"""Everything that happened, one row each, written in the transaction in which it happened.

The timeline of a page is these rows; so are completion and failure events (S2.46, S2.47). Writing one also
tells its live topic. Names are `<thing>.<what happened>`; details are plain values and never a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from app import db, live


@dataclass(frozen=True)
class Event:
    id: int
    at: datetime
    workspace_id: int | None
    topic: str
    name: str
    run: int | None
    detail: dict[str, Any]


async def emit(
    conn: db.Conn, name: str, topic: str, *, workspace_id: int | None, run: int | None = None, **detail: Any
) -> None:
    """Add the event and tell its topic, and the workspace's own topic, on commit."""
    await conn.execute(
        "INSERT INTO events (workspace_id, topic, name, run, detail) VALUES (%s, %s, %s, %s, %s)",
        [workspace_id, topic, name, run, Jsonb(detail)],
    )
    await live.tell(conn, topic, *([f"workspace-{workspace_id}"] if workspace_id is not None else []))


async def timeline(conn: db.Conn, topics: Sequence[str], *, most: int = 200) -> list[Event]:
    """What happened to these topics, oldest first; the newest `most` of it."""
    latest = await db.many(
        conn,
        Event,
        """
        SELECT {columns}
          FROM events
         WHERE topic = ANY (%s)
         ORDER BY id DESC
         LIMIT %s""",
        [list(topics), most],
    )
    return latest[::-1]
