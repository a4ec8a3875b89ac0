"""Who a Page is, what it may post, and what Facebook would refuse. Sheet, sections 3 and 5."""

from __future__ import annotations

from typing import Any

from app.platforms.base import App, Count, Creator, Grant, Media, OnCall, Post, Profile, Quota
from app.platforms.facebook.errors import TABLE
from app.platforms.meta import graph

KINDS = ("reel", "video", "image")
# The sheet names no length; these are the ones that Facebook's own forms keep to.
LONGEST_TEXT_UNITS = 63_206
LONGEST_TITLE_UNITS = 255
# "2 GB" may mean less than 2 GiB, so the number stays inside either reading (section 3.2).
MOST_BYTES = 2_000_000_000
LEAST_BYTES = 1024
MOST_PICTURE_BYTES = 10_000_000
LEAST_VIDEO_S, MOST_VIDEO_S = 1.0, 40 * 60.0
LEAST_REEL_S, MOST_REEL_S = 3.0, 90.0
LEAST_REEL_PX = (540, 960)
LEAST_REEL_FPS, MOST_REEL_FPS = 24.0, 60.0
UPRIGHT = 9 / 16
# Encoders round a side to an even number, and rates are measured quotients.
ASPECT_SLACK = 0.01
FPS_SLACK = 0.03
LENGTH_SLACK_S = 0.05
REELS_A_DAY = 30
DAY_S = 24 * 3600.0
VIDEO_TYPES = ("video/mp4", "video/quicktime")
PICTURE_TYPES = ("image/jpeg", "image/png")


async def profile(app: App, grant: Grant, *, on_call: OnCall | None = None) -> Profile:
    """Whose account this is. A Page without a name of its own in its address is called by its title."""
    page = await _page(app, grant, "profile", on_call)
    name = str(page.get("name") or page["id"])
    return Profile(
        remote_id=str(page["id"]),
        handle=str(page.get("username") or name),
        display_name=name,
        avatar_url=_picture(page),
    )


async def creator(app: App, grant: Grant, *, on_call: OnCall | None = None) -> Creator:
    """What the Page may post. Facebook tells no limits here: its quota of Reels is counted by us."""
    page = await _page(app, grant, "creator", on_call)
    name = str(page.get("name") or page["id"])
    return Creator(
        handle=str(page.get("username") or name),
        display_name=name,
        avatar_url=_picture(page),
        kinds=KINDS,
        notes=("What is posted on a Page is public.",),
    )


def quotas(creator: Creator | None) -> tuple[Quota, ...]:
    """Facebook's limit of Reels by way of other programs, per Page and any 24 hours (section 3.1)."""
    sentence = f"Facebook takes {REELS_A_DAY} Reels in any 24 hours for one Page."
    return (Quota("reels", "account", REELS_A_DAY, DAY_S, sentence),)


def text_of(post: Post) -> str:
    """What people read with the post: the description, or the title where that is all there is."""
    return post.description or post.title


def title_of(post: Post) -> str:
    """The title above a video; none when the title already is the text."""
    return post.title if post.description else ""


def kind_of(post: Post, media: Media) -> str:
    """What the post becomes: what was chosen, else an image, a Reel if the video is one, else a video."""
    if post.kind:
        return post.kind
    if media.content_type.startswith("image/"):
        return "image"
    return "video" if _reel_problem(media) else "reel"


def fit(creator: Creator, post: Post) -> Post:
    """The same post: a Page switches nothing off."""
    return post


def counted(post: Post) -> tuple[Count, ...]:
    """How long the texts are, in UTF-16 units: most emoji count twice."""
    text = "description" if post.description else "title"
    found = [Count(text, _units(text_of(post)), LONGEST_TEXT_UNITS)]
    if title_of(post):
        found.append(Count("title", _units(title_of(post)), LONGEST_TITLE_UNITS))
    return tuple(found)


def check(creator: Creator, post: Post, media: Media) -> dict[str, str]:
    """What Facebook would refuse, as sentences by field of Post, or under `media`; empty when all is well."""
    problems: dict[str, str] = {}
    for count in counted(post):
        if count.used > count.most:
            problems[count.field] = (
                f"This text may have {count.most} characters on Facebook; it has {count.used} (an emoji counts as "
                "two or more)."
            )
    kind = kind_of(post, media)
    if kind not in KINDS:
        problems["kind"] = "Facebook takes a Reel, a video or an image from here."
    elif found := _media_problem(kind, media):
        problems["media"] = found
    return problems


def _media_problem(kind: str, media: Media) -> str | None:
    if kind == "image":
        if media.content_type not in PICTURE_TYPES:
            return "Facebook takes JPEG and PNG pictures only."
        if not 0 < media.bytes_total <= MOST_PICTURE_BYTES:
            return "Facebook takes pictures of up to 10 MB; export it smaller."
        return None
    if media.content_type not in VIDEO_TYPES:
        return "Facebook takes MP4 and MOV videos only."
    if media.bytes_total < LEAST_BYTES:
        return "This file is smaller than 1 KB, which Facebook does not take."
    if media.bytes_total > MOST_BYTES:
        return "Facebook takes videos of up to 2 GB; export it smaller."
    if kind == "reel":
        return _reel_problem(media)
    if not LEAST_VIDEO_S <= media.duration_s <= MOST_VIDEO_S:
        return (
            f"Facebook takes videos of {LEAST_VIDEO_S:.0f} s to {MOST_VIDEO_S / 60:.0f} min; this one has "
            f"{media.duration_s:.1f} s."
        )
    aspect = media.width_px / media.height_px if media.height_px else 0.0
    if not UPRIGHT - ASPECT_SLACK <= aspect <= 1 / UPRIGHT + ASPECT_SLACK:
        return f"Facebook takes videos from 9:16 to 16:9; this one has {media.width_px} × {media.height_px} pixels."
    return None


def _reel_problem(media: Media) -> str | None:
    if media.content_type != "video/mp4":
        return "A Reel is an MP4; export it again, or choose an ordinary video."
    if not LEAST_REEL_S - LENGTH_SLACK_S <= media.duration_s <= MOST_REEL_S + LENGTH_SLACK_S:
        return (
            f"A Reel lasts {LEAST_REEL_S:.0f} to {MOST_REEL_S:.0f} s; this video has {media.duration_s:.1f} s. "
            "Choose an ordinary video."
        )
    size = f"{media.width_px} × {media.height_px}"
    if not media.height_px or abs(media.width_px / media.height_px - UPRIGHT) > ASPECT_SLACK:
        return f"A Reel is upright, 9:16; this video has {size} pixels. Choose an ordinary video."
    if media.width_px < LEAST_REEL_PX[0] or media.height_px < LEAST_REEL_PX[1]:
        return f"A Reel has at least 540 × 960 pixels; this video has {size}."
    if not LEAST_REEL_FPS - FPS_SLACK <= media.fps <= MOST_REEL_FPS + FPS_SLACK:
        return f"A Reel has {LEAST_REEL_FPS:.0f} to {MOST_REEL_FPS:.0f} frames a second; this video has {media.fps:g}."
    return None


async def _page(app: App, grant: Grant, step: str, on_call: OnCall | None) -> dict[str, Any]:
    page = await graph.ask(
        TABLE,
        step,
        "GET",
        f"{app.api_base}/{app.version}/{grant.remote_id}",
        token=grant.token,
        params={"fields": "id,name,username,picture"},
        on_call=on_call,
    )
    if not page.get("id"):
        raise TABLE.error("unreadable_answer")
    return page


def _picture(page: dict[str, Any]) -> str | None:
    picture = page.get("picture")
    found = picture.get("data") if isinstance(picture, dict) else None
    return str(found["url"]) if isinstance(found, dict) and found.get("url") else None


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
