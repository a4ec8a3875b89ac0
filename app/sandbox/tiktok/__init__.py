"""The simulated TikTok: its addresses and their limits. It enforces section 9 of the platform's sheet."""

from __future__ import annotations

import sqlite3
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.sandbox.answering import issue_code
from app.sandbox.tiktok import checks, consent, display, drafts, oauth, posts, publish, upload
from app.sandbox.tiktok.calls import SCOPES, Handler, endpoint, envelope
from app.sandbox.tiktok.creators import DEFAULTS, LABEL, NAME, SCHEMA, SWITCHES
from app.sandbox.world import Creator, World

__all__ = [
    "DEFAULTS", "FAIL_REASONS", "LABEL", "NAME", "SCHEMA", "SCOPES", "STEPS", "SWITCHES",
    "connect", "no_such_address", "routes", "settle", "unfinished",
]  # fmt: skip

FAIL_REASONS = (
    "file_format_check_failed",
    "duration_check_failed",
    "frame_rate_check_failed",
    "picture_size_check_failed",
    "internal",
    "video_pull_failed",
    "photo_pull_failed",
    "publish_cancelled",
    "auth_removed",
    "spam_risk_too_many_posts",
    "spam_risk_user_banned_from_posting",
    "spam_risk_text",
    "spam_risk",
)
# `last_chunk` is the upload call that completes a post: it also counts as `upload`.
STEPS = (
    "authorize",
    "token",
    "revoke",
    "creator_info",
    "init",
    "upload",
    "last_chunk",
    "status",
    "cancel",
    "user_info",
    "list",
    "query",
)
EITHER = ("video.publish", "video.upload")


async def avatar(request: Request) -> Response:
    """A made-up face: the first letter of the username, an image so that no page shows a hole."""
    letter = request.path_params["username"][:1].upper()
    letter = letter if letter.isascii() and letter.isalnum() else "?"
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100">'
        '<rect width="100" height="100" fill="#345"/><text x="50" y="68" font-size="52" fill="#fff" '
        f'text-anchor="middle" font-family="sans-serif">{letter}</text></svg>'
    )
    return Response(svg, media_type="image/svg+xml", headers={"cache-control": "max-age=7200"})


def routes() -> list[Route]:
    """Limits per minute: section 1. The three inits share one limit: the narrower reading."""

    def init(kind: str, *scopes: str) -> Handler:
        return endpoint("init", publish.init, any_scope=scopes, per_minute=6, kind=kind)

    api, posting = "/tiktok/v2", "/tiktok/v2/post/publish"
    info = endpoint("user_info", display.user_info, per_minute=600, for_app=True)
    listed = endpoint("list", display.video_list, any_scope=("video.list",), per_minute=600, for_app=True)
    queried = endpoint("query", display.video_query, any_scope=("video.list",), per_minute=600, for_app=True)
    creator = endpoint("creator_info", publish.creator_info, any_scope=("video.publish",), per_minute=20)
    return [
        Route(f"{api}/auth/authorize/", consent.authorize, methods=["GET", "POST"]),
        Route(f"{api}/oauth/token/", oauth.token, methods=["POST"]),
        Route(f"{api}/oauth/revoke/", oauth.revoke, methods=["POST"]),
        Route(f"{api}/user/info/", info, methods=["GET"]),
        Route(f"{api}/video/list/", listed, methods=["POST"]),
        Route(f"{api}/video/query/", queried, methods=["POST"]),
        Route(f"{posting}/creator_info/query/", creator, methods=["POST"]),
        Route(f"{posting}/video/init/", init("direct", "video.publish"), methods=["POST"]),
        Route(f"{posting}/inbox/video/init/", init("inbox", "video.upload"), methods=["POST"]),
        Route(f"{posting}/content/init/", init("content", *EITHER), methods=["POST"]),
        Route(
            f"{posting}/status/fetch/",
            endpoint("status", publish.status, any_scope=EITHER, per_minute=30),
            methods=["POST"],
        ),
        Route(f"{posting}/cancel/", endpoint("cancel", publish.cancel, any_scope=EITHER), methods=["POST"]),
        Route("/tiktok/video/", upload.put, methods=["PUT"]),
        Route("/drafts", drafts.send_on, methods=["POST"]),
        Route("/tiktok/avatars/{username}.svg", avatar, methods=["GET"]),
    ]


def connect(
    conn: sqlite3.Connection,
    world: World,
    client_key: str,
    creator: Creator,
    scopes: tuple[str, ...],
    at: float,
) -> str:
    return issue_code(conn, world, client_key, creator.id, scopes, at)


async def settle(world: World) -> None:
    await checks.check_all(world)


async def unfinished(world: World) -> list[dict[str, Any]]:
    """Uploads that were begun and not completed, for the ledger; `at` in seconds since 1970."""
    return [
        {"publishId": post.publish_id, "title": post.title, "receivedBytes": post.received_bytes,
         "bytes": post.total_bytes, "reason": post.verdict, "at": post.created_at}
        for post in await world.read(posts.unfinished)
    ]  # fmt: skip


def no_such_address(status: int) -> Response:
    return envelope({}, status, "invalid_request", "There is no such address or method.")
