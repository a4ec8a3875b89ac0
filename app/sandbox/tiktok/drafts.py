"""The person's side of a draft: they open it in their inbox and post it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox import control
from app.sandbox.answering import world_of
from app.sandbox.tiktok import checks, posts


async def send_on(request: Request) -> Response:
    """POST {publishId}: the draft becomes a post."""
    world = world_of(request)
    try:
        body = await control.asked(request)
    except control.Wrong as wrong:
        return control.no(400, "refused", str(wrong))
    post = await world.read(posts.by_publish_id, str(body.get("publishId", "")))
    if post is None:
        return control.no(404, "not_found", "There is no such draft.")
    post = await checks.checked(world, post)
    if post.state(world.clock()) != "SEND_TO_USER_INBOX":
        return control.no(409, "wrong_state", "This is no draft in an inbox.")
    await world.write(posts.send_on, post, world.clock())
    return JSONResponse({"publishId": post.publish_id, "status": "PUBLISH_COMPLETE"})
