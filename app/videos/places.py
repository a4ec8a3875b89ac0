"""The places of a batch as its files see them: taken by one file each, and closed when the batch is called off.

What a batch is, the room above knows; here a place is a number that the database holds to these rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from app import db, live
from app.errors import Refused


@contextmanager
def told() -> Iterator[None]:
    """Around a transaction: what the database refuses of a place, in words. It alone decides races."""
    try:
        yield
    except psycopg.errors.CheckViolation as error:
        if error.diag.constraint_name != "batch_items_open":
            raise
        raise Refused("This part of the batch was cancelled.", code="cancelled", status=410) from error
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name not in ("uploads_item_idx", "videos_item_idx"):
            raise
        raise filled() from error


def filled() -> Refused:
    return Refused("This place in the batch has its file already.", code="item_filled")


async def tell(conn: db.Conn, workspace_id: int, item_id: int | None) -> None:
    """A file of a batch moves on: the batch's open pages hear of it."""
    if item_id is not None:
        await live.tell(conn, f"workspace-{workspace_id}")
