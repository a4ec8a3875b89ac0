"""The simulated Instagram with both ways of signing in. It enforces section 9 of the platform's sheet.

Six host roots, each with the real paths below it: auth, token and api of Instagram Login; facebook_auth and
facebook_api of Facebook Login; upload for both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.sandbox.answering import world_of
from app.sandbox.instagram import checks, consent, containers, graph, insights, oauth, tokens, upload
from app.sandbox.instagram.calls import Handler, endpoint
from app.sandbox.instagram.creators import APP_SWITCHES, DEFAULTS, LABEL, NAME, SCHEMA, SCOPES, SWITCHES
from app.sandbox.instagram.problems import FAIL_REASONS
from app.sandbox.meta.envelope import Problem, unknown_object
from app.sandbox.world import Creator, World

__all__ = [
    "APP_SWITCHES", "DEFAULTS", "FAIL_REASONS", "LABEL", "NAME", "SCHEMA", "SCOPES", "STEPS", "SWITCHES",
    "connect", "no_such_address", "routes", "settle", "unfinished",
]  # fmt: skip

# The last six are other names of some of these, shared with other platforms; `last_chunk` is `publish`.
STEPS = (
    "authorize", "token", "exchange_token", "refresh", "facebook_token", "permissions", "pages", "person",
    "me", "create", "container", "upload", "publish", "limit", "media", "list", "stories", "comment", "comments",
    "insights", "account_insights",
    "init", "status", "last_chunk", "user_info", "creator_info",
)  # fmt: skip


def routes() -> list[Route]:
    api, facebook = "/instagram/api", "/instagram/facebook_api"
    return [
        Route("/instagram/auth/oauth/authorize", consent.page("instagram"), methods=["GET", "POST"]),
        Route(
            "/instagram/facebook_auth/{version}/dialog/oauth",
            consent.page("facebook"),
            methods=["GET", "POST"],
        ),
        Route(
            "/instagram/token/oauth/access_token", _tokens("token", version=False, old=True), methods=["POST"]
        ),
        Route(f"{api}/access_token", _tokens("exchange_token", version=False), methods=["GET"]),
        Route(f"{api}/refresh_access_token", _tokens("refresh", version=False), methods=["GET"]),
        Route(
            f"{facebook}/{{version}}/oauth/access_token", _tokens("facebook_token"), methods=["GET", "POST"]
        ),
        Route(f"{facebook}/{{version}}/me/accounts", _tokens("pages"), methods=["GET"]),
        Route(f"{facebook}/{{version}}/me/permissions", _tokens("permissions"), methods=["GET"]),
        Route(f"{facebook}/{{version}}/me", _tokens("person"), methods=["GET"]),
        *_graph(api, "instagram"),
        *_graph(facebook, "facebook"),
        Route("/instagram/upload/ig-api-upload/{version}/{container}", upload.post, methods=["POST"]),
    ]


def _tokens(step: str, *, version: bool = True, old: bool = False) -> Handler:
    return oauth.address(step, oauth.give(step), version=version, old_form=old)


def _graph(root: str, login: str) -> list[Route]:
    """The calls of an account; both logins have the same ones under another host."""
    node = f"{root}/{{version}}/{{node}}"

    def edge(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(f"{node}/{path}", handler, methods=[method])

    return [
        edge(
            "media", endpoint("create", graph.create, login, right="publish", put_off_as="ig_create"), "POST"
        ),
        edge(
            "media_publish",
            endpoint("publish", graph.publish, login, right="publish", put_off_as="ig_publish"),
            "POST",
        ),
        edge("content_publishing_limit", endpoint("limit", graph.limit, login, right="publish")),
        edge("media", endpoint("list", graph.media_list, login)),
        edge("stories", endpoint("stories", graph.stories, login)),
        edge("comments", endpoint("comment", graph.comment, login, right="comments"), "POST"),
        edge("comments", endpoint("comments", graph.comments, login, right="comments")),
        edge("insights", _insights(login)),
        Route(node, _node(login), methods=["GET"]),
    ]


def _node(login: str) -> Handler:
    """One id in the path may be the account, a container or a medium."""
    own = endpoint("me", graph.profile, login)
    container = endpoint("container", graph.container, login, right="publish")
    medium = endpoint("media", graph.medium, login)

    async def handler(request: Request) -> Response:
        node = request.path_params["node"]
        kind = await world_of(request).read(_kind, node)
        return await {"container": container, "medium": medium}.get(kind, own)(request)

    return handler


def _insights(login: str) -> Handler:
    of_medium = endpoint("insights", insights.of_medium, login, right="insights")
    of_account = endpoint("account_insights", insights.of_account, login, right="insights")

    async def handler(request: Request) -> Response:
        medium = await world_of(request).read(_kind, request.path_params["node"]) == "medium"
        return await (of_medium if medium else of_account)(request)

    return handler


def _kind(conn: sqlite3.Connection, node: str) -> str:
    if containers.by_id(conn, node) is not None:
        return "container"
    return "medium" if containers.medium_of(conn, node) is not None else "account"


def connect(
    conn: sqlite3.Connection,
    world: World,
    client_key: str,
    creator: Creator,
    scopes: tuple[str, ...],
    at: float,
) -> str:
    """A code as if the person had approved; it is good for either way of signing in, with that way's scopes."""
    return tokens.issue_code(conn, client_key, creator.id, scopes, at)


async def settle(world: World) -> None:
    await checks.check_all(world)


async def unfinished(world: World) -> list[Mapping[str, Any]]:
    """Containers that are not published, for the ledger; `at` in seconds since 1970."""
    at = world.clock()
    return [
        {"publishId": each.id, "title": each.caption, "receivedBytes": checks.received(world, each),
         "bytes": each.total_bytes or 0, "reason": each.state(at), "at": each.created_at}
        for each in await world.read(containers.unfinished)
    ]  # fmt: skip


def no_such_address(status: int) -> Response:
    if status == 405:
        return Problem(100, "(#100) Unsupported request method.").answer()
    return unknown_object("unknown").answer()
