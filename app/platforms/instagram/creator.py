"""Whose Instagram account this is, what it may post now, and what Instagram would refuse. Sheet, sections 1, 4.1, 5.

Everything is checked before a call is made: Instagram itself tells most of it only minutes later.
"""

from __future__ import annotations

import re
from typing import Any

from app.errors import HouseError
from app.platforms.base import (
    App,
    Count,
    Creator,
    Grant,
    Kind,
    Media,
    OnCall,
    Post,
    Profile,
    Quota,
    QuotaLeft,
)
from app.platforms.instagram import calls
from app.platforms.instagram.errors import DAY_S, TABLE

MIB = 1024**2
MOST_CAPTION_UNITS, MOST_HASHTAGS, MOST_MENTIONS = 2200, 30, 20
MOST_ALT_TEXT, MOST_COLLABORATORS = 1000, 3
LEAST_CHILDREN, MOST_CHILDREN = 2, 10
# Section 5: the documents disagree between 50 and 100, so 50 stands until the account's own number is read.
POSTS_A_DAY, CONTAINERS_A_DAY = 50, 400
KINDS = ("reel", "story", "image", "carousel")
VIDEO_TYPES = ("video/mp4", "video/quicktime")
MOST_VIDEO_BYTES = {"reel": 300 * MIB, "story": 100 * MIB, "carousel": 300 * MIB}
MOST_VIDEO_S = {"reel": 900.0, "story": 60.0, "carousel": 900.0}
ASPECTS = {"reel": (0.01, 10.0), "story": (0.1, 10.0), "carousel": (0.01, 10.0)}
LEAST_VIDEO_S = 3.0
MOST_WIDTH_PX = 1920
LEAST_FPS, MOST_FPS = 23.0, 60.0
MOST_IMAGE_BYTES = 8 * MIB
LEAST_IMAGE_WIDTH_PX = 320
LOWEST_ASPECT, HIGHEST_ASPECT = 0.8, 1.91
# Rates, lengths and shapes are measured: a hundredth is no difference.
SLACK = 0.01
HASHTAG = re.compile(r"(?<![\w&])#\w+")
MENTION = re.compile(r"(?<![\w.])@[\w.]+")
USERNAME = re.compile(r"^@?[A-Za-z0-9._]{1,30}$")


async def profile(app: App, grant: Grant, *, on_call: OnCall | None = None) -> Profile:
    """Whose account this is."""
    found = await _read(app, grant, on_call)
    remote_id = str(found.get("user_id") or found.get("id") or "")
    if not remote_id or not found.get("username"):
        raise TABLE.error("unreadable_answer")
    username = str(found["username"])
    return Profile(remote_id, username, str(found.get("name") or username), _text(found))


async def creator(app: App, grant: Grant, *, on_call: OnCall | None = None) -> Creator:
    """What the account may post now, and how much of its 24 hours' posts is used.

    When Instagram does not tell that, the account goes on with 50 a day by our own count (section 5); only a
    connection that has ended fails.
    """
    found = await _read(app, grant, on_call)
    notes: tuple[str, ...] = ()
    try:
        quotas = await _quota_left(app, grant, on_call)
    except HouseError as error:
        if TABLE.verdict(error.code).kind is Kind.AUTHORISATION_LOST and error.code not in ("10", "200"):
            raise
        quotas = ()
        notes = (f"Instagram does not tell how many posts are left; {POSTS_A_DAY} in 24 hours are assumed.",)
    username = str(found.get("username") or "")
    return Creator(
        handle=username,
        display_name=str(found.get("name") or username),
        avatar_url=_text(found),
        max_duration_s=int(MOST_VIDEO_S["reel"]),
        kinds=KINDS,
        quotas=quotas,
        notes=notes,
    )


async def _read(app: App, grant: Grant, on_call: OnCall | None) -> dict[str, Any]:
    if calls.is_facebook(grant):
        fields, path = "id,username,name,profile_picture_url", grant.remote_id
    else:
        fields, path = "user_id,username,name,profile_picture_url", "me"
    return await calls.ask(app, grant, "me", path, params={"fields": fields}, on_call=on_call)


async def _quota_left(app: App, grant: Grant, on_call: OnCall | None) -> tuple[QuotaLeft, ...]:
    said = await calls.ask(
        app,
        grant,
        "limit",
        f"{grant.remote_id}/content_publishing_limit",
        params={"fields": "config,quota_usage"},
        on_call=on_call,
    )
    found = said.get("data")
    limit = found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
    config, used = limit.get("config"), limit.get("quota_usage")
    most = config.get("quota_total") if isinstance(config, dict) else None
    if not isinstance(used, int):
        raise TABLE.error("unreadable_answer")
    return (QuotaLeft("posts", used, most if isinstance(most, int) and most > 0 else POSTS_A_DAY),)


def quotas(creator: Creator | None) -> tuple[Quota, ...]:
    """Section 5: what Instagram counts per account in any 24 hours. Without a creator, the lower of its two numbers."""
    told = next((each.most for each in creator.quotas if each.name == "posts"), None) if creator else None
    most = told or POSTS_A_DAY
    return (
        Quota(
            "posts",
            "account",
            most,
            DAY_S,
            f"Instagram takes {most} posts of an account in 24 hours. It goes on when the oldest is a day old.",
        ),
        Quota(
            "containers",
            "account",
            CONTAINERS_A_DAY,
            DAY_S,
            f"Instagram takes {CONTAINERS_A_DAY} begun posts of an account in 24 hours. It goes on by itself.",
        ),
    )


def kind_of(post: Post, media: Media) -> str:
    """What this becomes: what was chosen, else by the file. A single video is a reel since 2023-07 (section 4.1)."""
    if post.kind in KINDS:
        return post.kind
    if media.more:
        return "carousel"
    return "image" if is_picture(media) else "reel"


def is_picture(media: Media) -> bool:
    return media.content_type.startswith("image/")


def units(text: str) -> int:
    """How Instagram counts a "character" is not documented; UTF-16 units are the most it can be."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def counted(post: Post) -> tuple[Count, ...]:
    if post.kind == "story":
        return ()
    return (
        Count("title", units(post.title), MOST_CAPTION_UNITS),
        Count("title", len(HASHTAG.findall(post.title)), MOST_HASHTAGS, "hashtags"),
        Count("title", len(MENTION.findall(post.title)), MOST_MENTIONS, "mentions"),
    )


def fit(creator: Creator, post: Post) -> Post:
    """The same post: Instagram lets an account switch nothing off."""
    return post


def check(creator: Creator, post: Post, media: Media) -> dict[str, str]:
    """What Instagram would refuse, as sentences by field of Post, or under `media`; empty when all is well."""
    kind = kind_of(post, media)
    problems = {
        "kind": _kind_problem(post, kind, media),
        "title": _caption_problem(post, kind),
        "collaborators": _collaborators_problem(post, kind),
        "alt_text": _alt_text_problem(post, kind),
        "cover_ms": _cover_problem(post, kind, media),
        "use_cover": _picture_cover_problem(post, kind, media),
        "first_comment": _comment_problem(post, kind),
        "media": _media_problem(kind, media),
    }
    return {field: problem for field, problem in problems.items() if problem}


def _kind_problem(post: Post, kind: str, media: Media) -> str | None:
    if post.kind not in ("", "video", *KINDS):
        return "Instagram has reels, stories, pictures and carousels: choose one of them."
    if kind == "reel" and is_picture(media):
        return "A reel is a video: post the picture as a picture or a story."
    if kind == "image" and not is_picture(media):
        return "This is a video: post it as a reel or a story."
    if kind != "carousel" and media.more:
        return "Several pictures together are a carousel on Instagram: choose that."
    return None


def _caption_problem(post: Post, kind: str) -> str | None:
    if kind == "story":
        return (
            "A story has no caption on Instagram: remove the text, or post it as a reel."
            if post.title
            else None
        )
    used = units(post.title)
    if used > MOST_CAPTION_UNITS:
        return (
            f"The caption may have {MOST_CAPTION_UNITS} characters on Instagram; this one has {used} (an emoji counts "
            "as two or more)."
        )
    if (tags := len(HASHTAG.findall(post.title))) > MOST_HASHTAGS:
        return f"Instagram takes {MOST_HASHTAGS} hashtags; this caption has {tags}."
    if (mentions := len(MENTION.findall(post.title))) > MOST_MENTIONS:
        return f"Instagram takes {MOST_MENTIONS} mentions; this caption has {mentions}."
    return None


def _collaborators_problem(post: Post, kind: str) -> str | None:
    if not post.collaborators:
        return None
    if kind == "story":
        return "A story cannot have collaborators on Instagram."
    if len(post.collaborators) > MOST_COLLABORATORS:
        return f"Instagram takes {MOST_COLLABORATORS} collaborators; these are {len(post.collaborators)}."
    wrong = next((name for name in post.collaborators if not USERNAME.match(name)), None)
    return f"“{wrong}” is no Instagram username." if wrong else None


def _alt_text_problem(post: Post, kind: str) -> str | None:
    if not post.alt_text:
        return None
    if kind not in ("image", "carousel"):
        return "Instagram takes a description for pictures only."
    if len(post.alt_text) > MOST_ALT_TEXT:
        return f"The description may have {MOST_ALT_TEXT} characters; this one has {len(post.alt_text)}."
    return None


def _cover_problem(post: Post, kind: str, media: Media) -> str | None:
    if post.cover_ms is None or kind != "reel":
        return None
    if not 0 <= post.cover_ms <= media.duration_s * 1000:
        return "The cover has to be a moment inside the video."
    return None


def _picture_cover_problem(post: Post, kind: str, media: Media) -> str | None:
    if not post.use_cover or kind != "reel":
        return None
    if media.cover is None or media.cover.link is None:
        return "There is no cover picture that Instagram could fetch."
    if media.cover.content_type != "image/jpeg" or media.cover.bytes_total > MOST_IMAGE_BYTES:
        return "Instagram takes JPEG covers of up to 8 MB."
    return None


def _comment_problem(post: Post, kind: str) -> str | None:
    if not post.first_comment:
        return None
    if kind == "story":
        return "A story takes no comments on Instagram."
    used = units(post.first_comment)
    return (
        f"A comment may have {MOST_CAPTION_UNITS} characters; this one has {used}."
        if used > MOST_CAPTION_UNITS
        else None
    )


def _media_problem(kind: str, media: Media) -> str | None:
    if kind == "carousel":
        count = 1 + len(media.more)
        if not LEAST_CHILDREN <= count <= MOST_CHILDREN:
            return f"A carousel has {LEAST_CHILDREN} to {MOST_CHILDREN} pictures on Instagram; this one has {count}."
        found = (_one_problem(kind, each) for each in (media, *media.more))
        return next((problem for problem in found if problem), None)
    return _one_problem(kind, media)


def _one_problem(kind: str, media: Media) -> str | None:
    return _picture_problem(kind, media) if is_picture(media) else _video_problem(kind, media)


def _picture_problem(kind: str, media: Media) -> str | None:
    if kind == "reel":
        return None
    if media.content_type != "image/jpeg":
        return "Instagram takes JPEG pictures only."
    if not 0 < media.bytes_total <= MOST_IMAGE_BYTES:
        return "Instagram takes pictures of up to 8 MB; export it smaller."
    if media.link is None:
        return TABLE.rows["no_public_address"].sentence
    if kind == "story":
        return None
    if media.width_px < LEAST_IMAGE_WIDTH_PX:
        return f"Instagram takes pictures from {LEAST_IMAGE_WIDTH_PX} pixels of width; this one has {media.width_px}."
    aspect = media.width_px / media.height_px if media.height_px else 0.0
    if not LOWEST_ASPECT - SLACK <= aspect <= HIGHEST_ASPECT + SLACK:
        return f"Instagram takes pictures between 4:5 and 1.91:1; this one has {media.width_px} × {media.height_px}."
    return None


def _video_problem(kind: str, media: Media) -> str | None:
    if kind == "image":
        return None
    called = {"reel": "reels", "story": "stories", "carousel": "videos in a carousel"}[kind]
    if media.content_type not in VIDEO_TYPES:
        return "Instagram takes MP4 and MOV videos only."
    if kind == "carousel" and media.link is None:
        return TABLE.rows["no_public_address"].sentence
    if not 0 < media.bytes_total <= MOST_VIDEO_BYTES[kind]:
        return f"Instagram takes {called} of up to {MOST_VIDEO_BYTES[kind] // MIB} MB; export it smaller."
    if not LEAST_VIDEO_S - SLACK <= media.duration_s <= MOST_VIDEO_S[kind] + SLACK:
        return (
            f"Instagram takes {called} of {LEAST_VIDEO_S:.0f} to {MOST_VIDEO_S[kind]:.0f} s; this one has "
            f"{media.duration_s:.1f} s."
        )
    if not 0 < media.width_px <= MOST_WIDTH_PX:
        return (
            f"Instagram takes videos of up to {MOST_WIDTH_PX} pixels of width; this one has {media.width_px}."
        )
    low, high = ASPECTS[kind]
    if not media.height_px or not low <= media.width_px / media.height_px <= high:
        return f"Instagram does not take this shape ({media.width_px} × {media.height_px}); 9:16 is best."
    if not LEAST_FPS - SLACK <= media.fps <= MOST_FPS + SLACK:
        return f"Instagram takes {LEAST_FPS:.0f} to {MOST_FPS:.0f} frames a second; this video has {media.fps:g}."
    return None


def _text(found: dict[str, Any]) -> str | None:
    url = found.get("profile_picture_url")
    return str(url) if url else None
