"""Makers: the people, accounts and videos a test starts from, made by the product's own verbs."""

from __future__ import annotations

import io
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

from PIL import Image

from app import accounts, db, media, videos
from tests.world import clip

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Owner:
    user_id: int
    workspace_id: int


async def an_owner(name: str = "Maya") -> Owner:
    """A person with a workspace of their own. Written as rows: signing up is the users room's own test."""
    number = next(_numbers)
    async with db.house() as conn:
        user_id = await db.value(
            conn,
            "INSERT INTO users (email, name, password_hash) VALUES (%s, %s, '-') RETURNING id",
            [f"{name.lower()}{number}@example.org", name],
        )
        workspace_id = await db.value(conn, "INSERT INTO workspaces (name) VALUES (%s) RETURNING id", [name])
        await conn.execute(
            "INSERT INTO members (workspace_id, user_id, role) VALUES (%s, %s, 'owner')",
            [workspace_id, user_id],
        )
    return Owner(user_id, workspace_id)


async def an_account(owner: Owner, name: str = "maya.makes", platform: str = "tiktok") -> accounts.Account:
    """An account connected at the simulator by the ordinary exchange."""
    return await accounts.connect_simulated(
        workspace_id=owner.workspace_id, platform=platform, display_name=name
    )


async def a_video(
    owner: Owner,
    account: accounts.Account | None,
    *,
    title: str = "A knot",
    design: media.Design | None = None,
) -> videos.Video:
    """A short clip taken in as by `POST /api/videos`."""
    return await videos.uploads.take_in(
        pieces(clip()),
        workspace_id=owner.workspace_id,
        user_id=owner.user_id,
        filename="knot.mp4",
        asked=videos.wishes.Wishes(
            title=title, account_id=account.id if account else None, design=design or media.Design()
        ),
    )


async def shown(owner: Owner, video_id: int) -> videos.Shown:
    async with db.owned_by(owner.workspace_id) as conn:
        return await videos.show(conn, video_id)


async def pieces(content: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def a_picture(kind: str = "PNG", size: tuple[int, int] = (120, 60), **more: object) -> bytes:
    """A red picture, e.g. to be a logo; `more` goes to Pillow."""
    out = io.BytesIO()
    Image.new("RGB", size, (200, 40, 40)).save(out, kind, **more)
    return out.getvalue()
