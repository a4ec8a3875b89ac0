"""Long texts on their way from a form to an upload, kept for two days under their sum: captions fit no header."""

from __future__ import annotations

import hashlib
import re

from app import db

KEPT_H = 48
NAME = re.compile(r"[0-9a-f]{64}")


async def keep(conn: db.Conn, workspace_id: int, text: str) -> str:
    """The name under which `of` gives this text back for two days. The same text twice is one.

    What nobody came back for goes at the next one.
    """
    name = hashlib.sha256(text.encode()).hexdigest()
    await conn.execute("DELETE FROM kept_texts WHERE kept_at < now() - make_interval(hours => %s)", [KEPT_H])
    await conn.execute(
        """
        INSERT INTO kept_texts (workspace_id, sha256, text)
        VALUES (%s, %s, %s)
            ON CONFLICT (workspace_id, sha256) DO UPDATE SET kept_at = now()""",
        [workspace_id, name, text],
    )
    return name


async def of(conn: db.Conn, name: str) -> str | None:
    """The text that was kept under this name; None when there is none, or none any more."""
    if not NAME.fullmatch(name):
        return None
    found = await db.value(conn, "SELECT text FROM kept_texts WHERE sha256 = %s", [name])
    return None if found is None else str(found)
