"""The simulated Facebook: four hosts, their addresses and limits. It enforces section 7 of the platform's sheet.

Not simulated: stories, the generic upload handle, businesses' Pages, editing and deleting.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.sandbox.answering import issue_code
from app.sandbox.facebook import checks, consent, insights, oauth, objects, posts, publish, upload, videos
from app.sandbox.facebook.calls import Act, Endpoint, Handler, fixed, handler, put_off_as
from app.sandbox.facebook.creators import (
    APP_SWITCHES,
    DEFAULTS,
    LABEL,
    NAME,
    SCHEMA,
    SCOPES,
    SWITCHES,
    creator_number,
)
from app.sandbox.meta.envelope import Problem
from app.sandbox.world import Creator, World

__all__ = [
    "APP_SWITCHES", "DEFAULTS", "FAIL_REASONS", "LABEL", "NAME", "SCHEMA", "SCOPES", "STEPS", "SWITCHES",
    "connect", "no_such_address", "routes", "settle", "unfinished",
]  # fmt: skip

FAIL_REASONS = (
    "error",
    "upload_failed",
    "1363024",
    "1363031",
    "1363040",
    "1363127",
    "1363128",
    "1363129",
    "1346003",
    "1404102",
)
# `last_chunk` is the call that publishes: the last one of a Reel or a video, and the post with a picture.
STEPS = (
    "authorize",
    "token",
    "revoke",
    "permissions",
    "me",
    "accounts",
    "debug_token",
    "init",
    "upload",
    "finish",
    "feed",
    "one_shot",
    "last_chunk",
    "cancel",
    "page",
    "status",
    "list",
    "comment",
    "comments",
    "thumbnail",
    "insights",
)
READING = "pages_read_engagement"


async def avatar(request: Request) -> Response:
    """A made-up face, so that no page shows a hole."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100">'
        '<rect width="100" height="100" fill="#1b4b8a"/><circle cx="50" cy="50" r="24" fill="#fff"/></svg>'
    )
    return Response(svg, media_type="image/svg+xml", headers={"cache-control": "max-age=7200"})


A_PAGE = Endpoint(("page",), objects.read, "any", READING)
A_POST = Endpoint(("status",), objects.read, "any", READING)


def _looked_at(fields: Mapping[str, str], object_id: str) -> Endpoint:
    """One address for all there is; what a Page is asked for is another call than what became of a post."""
    return A_POST if creator_number(object_id) is None else A_PAGE


def _one(step: str, act: Act, whose: str = "page", scope: str = "", writes: bool = False) -> Handler:
    return handler(fixed(Endpoint((step,), act, whose, scope, writes)))


def _writing(steps: tuple[str, ...], act: Act, scope: str, files: bool = False, later: str = "") -> Handler:
    endpoint = Endpoint(steps, act, scope=scope, writes=True)
    return handler(fixed(put_off_as(later, endpoint) if later else endpoint), files=files)


def routes() -> list[Route]:
    """The four hosts, each under its own root; the rows are those of section 1."""
    api, video, own = "/facebook/api/{version}", "/facebook/video/{version}", "pages_manage_posts"
    a_thing = f"{api}/{{object_id}}"
    commented = _writing(("comment",), posts.comment, "pages_manage_engagement", later="comment")
    photo = _writing(("init",), posts.photos, own, files=True)
    fed = _writing(("feed", "last_chunk"), posts.feed, own, later="feed")
    cover = _writing(("thumbnail",), objects.thumbnail, own, files=True)
    return [
        Route("/facebook/auth/{version}/dialog/oauth", consent.dialog, methods=["GET", "POST"]),
        Route(f"{api}/oauth/access_token", oauth.access_token, methods=["GET", "POST"]),
        Route(f"{api}/debug_token", _one("debug_token", oauth.debug_token, "app"), methods=["GET"]),
        Route(f"{api}/me", _one("me", oauth.me, "any"), methods=["GET"]),
        Route(f"{api}/me/permissions", _one("permissions", oauth.permissions, "user"), methods=["GET"]),
        Route(f"{api}/me/accounts", _one("accounts", oauth.accounts, "user", "pages_show_list"), methods=["GET"]),
        Route(f"{a_thing}/permissions", _one("revoke", oauth.revoke, "app"), methods=["DELETE", "POST"]),
        Route(f"{a_thing}/video_reels", publish.video_reels, methods=["POST"]),
        Route(f"{a_thing}/video_reels", _one("list", publish.list_reels, scope=READING), methods=["GET"]),
        Route(f"{video}/{{object_id}}/videos", publish.page_videos, methods=["POST"]),
        Route("/facebook/upload/video-upload/{version}/{object_id}", upload.video_upload, methods=["POST"]),
        Route(f"{a_thing}/photos", photo, methods=["POST"]),
        Route(f"{a_thing}/feed", fed, methods=["POST"]),
        Route(f"{a_thing}/comments", commented, methods=["POST"]),
        Route(f"{a_thing}/comments", _one("comments", posts.comments, scope=READING), methods=["GET"]),
        Route(f"{a_thing}/thumbnails", cover, methods=["POST"]),
        Route(f"{a_thing}/insights", _one("insights", insights.of_object, scope="read_insights"), methods=["GET"]),
        Route(f"{a_thing}/video_insights", _one("insights", insights.of_video, scope="read_insights"), methods=["GET"]),
        Route(a_thing, handler(_looked_at), methods=["GET"]),
        Route("/facebook/pictures/{object_id}.svg", avatar, methods=["GET"]),
    ]  # fmt: skip


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
    await checks.settle(world)


async def unfinished(world: World) -> list[dict[str, Any]]:
    """Videos that were begun and not completed, for the ledger; `at` in seconds since 1970."""
    return [
        {"publishId": video.id, "title": video.text(), "receivedBytes": video.received(world),
         "bytes": video.total_bytes, "reason": None, "at": video.created_at}
        for video in await world.read(videos.listed, "finished_at IS NULL")
    ]  # fmt: skip


def no_such_address(status: int) -> Response:
    return Problem(2500, "Unknown path components.", status=status).answer()
