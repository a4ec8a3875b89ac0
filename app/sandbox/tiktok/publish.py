"""Creator info, init, status and cancel: sections 3, 4.1, 4.4 and 4.5 of the platform's sheet."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from starlette.datastructures import URL

from app.sandbox import later
from app.sandbox.answering import Caller, caller_of
from app.sandbox.tiktok import checks, posts, pull
from app.sandbox.tiktok.calls import Call, Problem, invalid
from app.sandbox.tiktok.creators import privacy_levels
from app.sandbox.tiktok.rules import MOST_SECONDS, Wish, wish_of
from app.sandbox.world import World

# code and message of what may stand in the way, whatever is in the post
BANNED = ("spam_risk_user_banned_from_posting", "The user is banned from making new posts.")
TOO_MANY_POSTS = (
    "spam_risk_too_many_posts",
    "The daily post cap from the API is reached for the current user.",
)
CAP = ("reached_active_user_cap", "The daily quota for active publishing users from your client is reached.")


async def creator_info(world: World, call: Call) -> dict[str, Any]:
    obstacle = await world.read(_obstacle, world, call.caller, "direct", call.at)
    if obstacle is not None:
        # "Cannot post now" is told with HTTP 200 here, unlike at init.
        raise Problem(200, *obstacle)
    creator = call.caller.creator
    return {
        "creator_avatar_url": f"{call.base}/tiktok/avatars/{creator.username}.svg",
        "creator_username": creator.username,
        "creator_nickname": creator.display_name,
        "privacy_level_options": list(privacy_levels(creator)),
        "comment_disabled": creator.switches.comment_disabled,
        "duet_disabled": creator.switches.duet_disabled or creator.switches.private,
        "stitch_disabled": creator.switches.stitch_disabled or creator.switches.private,
        "max_video_post_duration_sec": min(creator.switches.max_duration_s, MOST_SECONDS),
    }


async def init(world: World, call: Call) -> dict[str, Any]:
    """One accepted wish is one post on its way, however often it is asked: there is no idempotency key."""
    made = await world.write(_init, world, call.caller, call.kind, call.body, call.at)
    post, upload_token = made
    await checks.sweep(world)
    if post.source == "PULL_FROM_URL":
        pull.start(world, post)
        return {"publish_id": post.publish_id}
    query = {"upload_id": post.upload_id or "", "upload_token": upload_token}
    upload_url = str(URL(f"{call.base}/tiktok/video/").include_query_params(**query))
    assert len(upload_url) <= 256, "the base address is too long for an upload address"
    return {"publish_id": post.publish_id, "upload_url": upload_url}


def _init(
    conn: sqlite3.Connection, world: World, caller: Caller, kind: str, body: dict[str, Any], at: float
) -> tuple[posts.Post, str]:
    wish = wish_of(kind, body, caller)
    obstacle = _obstacle(conn, world, caller, wish.kind, at)
    if obstacle is not None:
        raise Problem(403, *obstacle)
    if wish.kind in ("direct", "photo"):
        _check_audience(caller, wish)
    elif posts.pending_drafts(conn, caller.creator, at) >= world.settings.drafts_per_day:
        raise Problem(
            403,
            "spam_risk_too_many_pending_share",
            "The user has too many drafts to finish in the last 24 hours.",
        )
    return posts.make(conn, world, caller, wish, body.get("post_info", {}), at)


def _obstacle(
    conn: sqlite3.Connection, world: World, caller: Caller, kind: str, at: float
) -> tuple[str, str] | None:
    """Why this creator cannot post now, whatever is in the post."""
    if caller.creator.switches.banned:
        return BANNED
    if (
        kind in ("direct", "photo")
        and posts.posts_today(conn, caller.creator, at) >= caller.app.posts_per_day
    ):
        return TOO_MANY_POSTS
    active = posts.active_creators(conn, caller.app.client_key, at)
    full = caller.creator.id not in active and len(active) >= world.settings.accounts_per_day
    return CAP if full and not caller.app.audited else None


def _check_audience(caller: Caller, wish: Wish) -> None:
    if not caller.app.audited and not (caller.creator.switches.private and wish.privacy_level == "SELF_ONLY"):
        raise Problem(
            403,
            "unaudited_client_can_only_post_to_private_accounts",
            "Unaudited clients can only post to a private account, visible to its owner only.",
        )
    if wish.privacy_level not in privacy_levels(caller.creator):
        raise Problem(
            403,
            "privacy_level_option_mismatch",
            "privacy_level is not among the creator's privacy_level_options.",
        )


async def _init_later(world: World, arguments: dict[str, Any], due_at: float) -> None:
    await world.write(_init_once, world, arguments, due_at)


def _init_once(conn: sqlite3.Connection, world: World, arguments: dict[str, Any], due_at: float) -> None:
    if not later.done(conn, arguments["later_id"]):
        return
    caller = caller_of(conn, world, arguments["grant_id"])
    try:
        body = json.loads(arguments["raw"])
        if caller is not None and isinstance(body, dict):
            _init(conn, world, caller, arguments["kind"], body, due_at)
    except (ValueError, Problem):
        return


later.knows("init", _init_later)


async def status(world: World, call: Call) -> dict[str, Any]:
    post = await _mine(world, call)
    if post.source == "PULL_FROM_URL" and post.finished_at is None and post.verdict is None:
        pull.start(world, post)
    post = await checks.checked(world, post)
    at = world.clock()
    state = post.state(at)
    progress = "uploaded_bytes" if post.source == "FILE_UPLOAD" else "downloaded_bytes"
    answer: dict[str, Any] = {"status": state, progress: post.received_bytes}
    if state == "FAILED":
        answer["fail_reason"] = post.verdict
    if state == "PUBLISH_COMPLETE":
        answer["publicaly_available_post_id"] = [int(post.post_id or 0)] if post.is_public(at) else []
    return answer


async def cancel(world: World, call: Call) -> dict[str, Any]:
    """Stops a download; anything else is past stopping."""
    post = await _mine(world, call)
    if post.state(call.at) != "PROCESSING_DOWNLOAD" or not await world.write(
        posts.decide, post, "publish_cancelled", None, call.at
    ):
        raise invalid("The publish can no longer be cancelled.", "publish_not_cancellable")
    return {}


async def _mine(world: World, call: Call) -> posts.Post:
    extra = set(call.body) - {"publish_id"}
    publish_id = call.body.get("publish_id")
    if extra or not isinstance(publish_id, str) or not publish_id:
        raise invalid("publish_id is missing, or there is an unknown field.")
    post = await world.read(posts.by_publish_id, publish_id)
    if post is None:
        raise invalid("The publish_id does not exist.", "invalid_publish_id")
    if (post.client_key, post.creator_id) != (call.caller.app.client_key, call.caller.creator.id):
        raise invalid(
            "The access token is not authorized for this publish_id.",
            "token_not_authorized_for_specified_publish_id",
        )
    return post
