"""Comments under an own post: writing the first one, and reading whether it is there. Sheet, section 1."""

from __future__ import annotations

from app.platforms.base import App, Grant, OnCall
from app.platforms.instagram import calls
from app.platforms.instagram.errors import TABLE

SCOPE = "instagram_business_manage_comments"
MOST_LISTED = 50


async def comment(app: App, grant: Grant, remote_id: str, text: str, *, on_call: OnCall | None = None) -> str:
    """Write a comment under this post; gives its id. Each call writes another, so read `comments` after a lost answer.

    Permanent `comments_not_allowed` when the account did not allow it; then nothing was asked.
    """
    _check(grant)
    found = await calls.ask(
        app,
        grant,
        "comment",
        f"{remote_id}/comments",
        method="POST",
        json={"message": text},
        irreversible=True,
        on_call=on_call,
    )
    if not found.get("id"):
        raise TABLE.error("answer_lost")
    return str(found["id"])


async def comments(
    app: App, grant: Grant, remote_id: str, *, on_call: OnCall | None = None
) -> list[tuple[str, str]]:
    """The newest comments under this post, each with its id and text."""
    _check(grant)
    said = await calls.ask(
        app,
        grant,
        "comments",
        f"{remote_id}/comments",
        params={"fields": "id,text", "limit": str(MOST_LISTED)},
        on_call=on_call,
    )
    listed = said.get("data")
    return [
        (str(each["id"]), str(each.get("text") or ""))
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and each.get("id")
    ]


def _check(grant: Grant) -> None:
    if SCOPE not in grant.scopes:
        raise TABLE.error("comments_not_allowed")
