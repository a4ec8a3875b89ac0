"""Who a TikTok account belongs to, and what it may post at this moment. Sheet, sections 3 and 5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.platforms.base import App, Count, Creator, Grant, Media, OnCall, Post, Profile, Quota
from app.platforms.tiktok import calls, errors

LONGEST_TITLE_UNITS = 2200
# "About 15 per day, varies" (sheet, section 7).
POSTS_A_DAY = 15
MOST_BYTES = 4 * 1024**3
CONTENT_TYPES = ("video/mp4", "video/quicktime", "video/webm")
LEAST_PX, MOST_PX = 360, 4096
LEAST_FPS, MOST_FPS = 23.0, 60.0
# Rates are measured quotients: a hundredth of a frame is no difference.
FPS_SLACK = 0.01
ONLY_ME = "SELF_ONLY"
# A post that goes out, or a draft that its creator finishes in the app.
KINDS = ("video", "inbox")
# A field of the profile may only be asked for with its scope (sheet, section 2.3).
FIELDS_BY_SCOPE = {
    "user.info.basic": ("open_id", "avatar_url", "display_name"),
    "user.info.profile": ("username",),
}


async def profile(app: App, grant: Grant, *, on_call: OnCall | None = None) -> Profile:
    """Whose account this is. Without the scope user.info.profile the display name is the handle, too."""
    wanted = ",".join(
        field for scope in grant.scopes or FIELDS_BY_SCOPE for field in FIELDS_BY_SCOPE.get(scope, ())
    )
    found = await calls.ask(
        app, grant, "profile", "/v2/user/info/", method="GET", params={"fields": wanted}, on_call=on_call
    )
    user = found.get("user")
    if not isinstance(user, dict) or not user.get("open_id"):
        raise errors.error("unreadable_answer")
    name = str(user.get("display_name") or user.get("username") or "")
    return Profile(
        remote_id=str(user["open_id"]),
        handle=str(user.get("username") or name),
        display_name=name,
        avatar_url=_text(user.get("avatar_url")),
    )


async def creator(app: App, grant: Grant, *, on_call: OnCall | None = None) -> Creator:
    """What the account may do now; TikTok wants this asked before each direct post. At most 20 a minute."""
    found = await calls.ask(app, grant, "creator", "/v2/post/publish/creator_info/query/", on_call=on_call)
    levels = found.get("privacy_level_options")
    longest_s = found.get("max_video_post_duration_sec")
    if not isinstance(levels, list) or not isinstance(longest_s, int) or not found.get("creator_username"):
        raise errors.error("unreadable_answer")
    return Creator(
        handle=str(found["creator_username"]),
        display_name=str(found.get("creator_nickname") or found["creator_username"]),
        avatar_url=_text(found.get("creator_avatar_url")),
        privacy_levels=tuple(str(level) for level in levels),
        comment_disabled=bool(found.get("comment_disabled")),
        duet_disabled=bool(found.get("duet_disabled")),
        stitch_disabled=bool(found.get("stitch_disabled")),
        max_duration_s=longest_s,
        kinds=KINDS,
    )


def title_units(title: str) -> int:
    """The length TikTok counts: UTF-16 code units, so most emoji count twice."""
    return len(title.encode("utf-16-le", "surrogatepass")) // 2


def counted(post: Post) -> tuple[Count, ...]:
    """How long the caption is as TikTok counts it."""
    return (Count("title", title_units(post.title), LONGEST_TITLE_UNITS),)


def quotas(creator: Creator | None) -> tuple[Quota, ...]:
    """What one account may post in a day; TikTok counts other tools, too, so its own no may come earlier."""
    return (
        Quota(
            "posts",
            "account",
            POSTS_A_DAY,
            24 * 3600.0,
            f"TikTok takes about {POSTS_A_DAY} posts a day from one account.",
        ),
    )


def fit(creator: Creator, post: Post) -> Post:
    """The same post without what the account has switched off: TikTok refuses to switch it on again."""
    return replace(
        post,
        disable_comment=post.disable_comment or creator.comment_disabled,
        disable_duet=post.disable_duet or creator.duet_disabled,
        disable_stitch=post.disable_stitch or creator.stitch_disabled,
    )


def check(creator: Creator, post: Post, media: Media) -> dict[str, str]:
    """What TikTok would refuse, as sentences by field of Post, or under `media`; empty when all is well.

    Ask with a fresh Creator and a post that went through `fit`.
    """
    problems: dict[str, str] = {}
    if post.kind not in ("", *KINDS):
        return {"kind": "TikTok takes posts and drafts for the inbox."}
    if post.kind == "inbox":
        # Everything but the file is chosen in TikTok's own app.
        return {"media": found} if (found := _media_problem(creator, media)) else {}
    units = title_units(post.title)
    if units > LONGEST_TITLE_UNITS:
        problems["title"] = (
            f"The caption may have {LONGEST_TITLE_UNITS} characters on TikTok; this one has {units} "
            "(an emoji counts as two or more)."
        )
    if post.privacy_level not in creator.privacy_levels:
        offered = ", ".join(creator.privacy_levels)
        problems["privacy_level"] = f"Choose who may see the post; this account offers {offered}."
    elif post.brand_content and post.privacy_level == ONLY_ME:
        problems["privacy_level"] = "Branded content cannot be visible to you alone: choose a wider audience."
    for field, wanted, disabled, what in (
        ("disable_comment", not post.disable_comment, creator.comment_disabled, "comments"),
        ("disable_duet", not post.disable_duet, creator.duet_disabled, "duets"),
        ("disable_stitch", not post.disable_stitch, creator.stitch_disabled, "stitches"),
    ):
        if wanted and disabled:
            problems[field] = (
                f"This account has switched {what} off on TikTok, so the post cannot allow them."
            )
    if post.cover_ms is not None and not 0 <= post.cover_ms <= media.duration_s * 1000:
        problems["cover_ms"] = "The cover has to be a moment inside the video."
    if found := _media_problem(creator, media):
        problems["media"] = found
    return problems


def _media_problem(creator: Creator, media: Media) -> str | None:
    if media.content_type not in CONTENT_TYPES:
        return "TikTok takes MP4, MOV and WebM videos only."
    if not 0 < media.bytes_total <= MOST_BYTES:
        return "TikTok takes videos of up to 4 GiB; export it smaller."
    if media.duration_s > creator.max_duration_s:
        return (
            f"This account may post videos of up to {creator.max_duration_s} s; this one has "
            f"{media.duration_s:.1f} s. Shorten it."
        )
    if not all(LEAST_PX <= side <= MOST_PX for side in (media.width_px, media.height_px)):
        return (
            f"TikTok takes pictures of {LEAST_PX} to {MOST_PX} pixels a side; this video has "
            f"{media.width_px} × {media.height_px}."
        )
    if not LEAST_FPS - FPS_SLACK <= media.fps <= MOST_FPS + FPS_SLACK:
        return (
            f"TikTok takes {LEAST_FPS:.0f} to {MOST_FPS:.0f} frames a second; this video has {media.fps:g}."
        )
    return None


def _text(found: Any) -> str | None:
    return str(found) if found else None
