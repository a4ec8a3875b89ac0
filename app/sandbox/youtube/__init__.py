"""The simulated YouTube: its addresses, what each call costs and who may make it. It enforces section 7 of the sheet.

One folder for each of the platform's hosts. The API and the uploads stand on one host there, so both folders know
all of their addresses.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from app.sandbox.world import Creator, World
from app.sandbox.youtube import analytics, api, checks, consent, counters, oauth, upload, videos
from app.sandbox.youtube.calls import Step, endpoint
from app.sandbox.youtube.channels import (
    ALL,
    APP_SWITCHES,
    DEFAULTS,
    FORCE_SSL,
    LABEL,
    MONEY,
    NAME,
    READ,
    REPORTS,
    SCHEMA,
    SCOPES,
    SWITCHES,
    UPLOAD,
)
from app.sandbox.youtube.problems import Problem

STEPS = (
    "authorize", "token", "revoke", "start", "upload", "last_chunk", "half_chunk", "no_range", "probe", "videos",
    "stats", "update", "delete", "thumbnail", "channels", "categories", "search", "reports",
)  # fmt: skip
FAIL_REASONS = videos.FAILURES + videos.REJECTIONS + videos.PROCESSING_FAILURES
READING, WRITING, SENDING = (READ, ALL, FORCE_SSL), (ALL, FORCE_SSL), (UPLOAD, ALL, FORCE_SSL)


def routes() -> list[Route]:
    """Scopes and costs: the table of section 1."""
    found = [
        Route("/youtube/auth/o/oauth2/v2/auth", consent.authorize, methods=["GET", "POST"]),
        Route("/youtube/token/token", oauth.token, methods=["POST"]),
        Route("/youtube/token/revoke", oauth.revoke, methods=["POST"]),
        Route("/youtube/counters", counters.counters, methods=["GET", "POST"]),
        Route("/youtube/api/vi/{video_id}/{size}.jpg", api.picture, methods=["GET"]),
    ]
    reports = endpoint(Step("reports", (REPORTS, MONEY), "units", 0), analytics.reports)
    found.append(Route("/youtube/analytics/v2/reports", reports, methods=["GET"]))
    for host in ("/youtube/api", "/youtube/upload"):
        found += _data_api(host)
    return found


def _data_api(host: str) -> list[Route]:
    api_root, uploads = f"{host}/youtube/v3", f"{host}/upload/youtube/v3"
    start = endpoint(Step("start", SENDING, "uploads"), upload.start)
    thumbnail = Step("thumbnail", SENDING, cost=50, most_body_bytes=api.MOST_THUMBNAIL_BYTES + 1)
    return [
        Route(f"{uploads}/videos", start, methods=["POST"]),
        Route(f"{uploads}/videos", upload.put, methods=["PUT"]),
        Route(f"{uploads}/thumbnails/set", endpoint(thumbnail, api.set_thumbnail), methods=["POST"]),
        Route(f"{api_root}/videos", endpoint(Step("videos", READING), api.list_videos), methods=["GET"]),
        Route(f"{api_root}/videos", endpoint(Step("update", WRITING, cost=50), api.update), methods=["PUT"]),
        Route(f"{api_root}/videos", endpoint(Step("delete", WRITING, cost=50), api.delete), methods=["DELETE"]),
        Route(f"{api_root}/videos:batchGetStats",
              endpoint(Step("stats", READING, "stats"), api.batch_stats), methods=["GET"]),
        Route(f"{api_root}/channels", endpoint(Step("channels", READING), api.list_channels), methods=["GET"]),
        Route(f"{api_root}/videoCategories",
              endpoint(Step("categories", READING), api.categories), methods=["GET"]),
        Route(f"{api_root}/search",
              endpoint(Step("search", READING, "searches"), api.search), methods=["GET"]),
    ]  # fmt: skip


def connect(
    conn: sqlite3.Connection,
    world: World,
    client_key: str,
    creator: Creator,
    scopes: tuple[str, ...],
    at: float,
) -> str:
    """A one-use code with offline access, as if the person had approved everything."""
    return oauth.give_code(conn, world, client_key, creator, scopes, at, offline=True)


async def settle(world: World) -> None:
    """Look at every complete upload nobody has looked at; all else follows from the clock by itself."""
    await checks.check_all(world)


async def unfinished(world: World) -> list[dict[str, Any]]:
    """Sessions whose last byte has not come."""
    return [
        {"publishId": each.publish_id, "title": each.title, "receivedBytes": each.received_bytes,
         "bytes": each.total_bytes, "reason": None, "at": each.created_at}
        for each in await world.read(videos.unfinished)
    ]  # fmt: skip


def no_such_address(status: int) -> Response:
    return Problem(status, "notFound", "The requested URL was not found.", domain="global").answer()


__all__ = [
    "APP_SWITCHES",
    "DEFAULTS",
    "FAIL_REASONS",
    "LABEL",
    "NAME",
    "SCHEMA",
    "SCOPES",
    "STEPS",
    "SWITCHES",
    "connect",
    "no_such_address",
    "routes",
    "settle",
    "unfinished",
]
