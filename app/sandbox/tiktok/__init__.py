"""The simulated TikTok: its addresses and their limits. It enforces section 9 of the platform's sheet."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.sandbox.tiktok import consent, display, oauth, publish, upload
from app.sandbox.tiktok.calls import Handler, endpoint

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
        Route("/tiktok/avatars/{username}.svg", avatar, methods=["GET"]),
    ]
