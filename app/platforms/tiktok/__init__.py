"""TikTok: connecting an account, posting a video to it, asking what became of it.

Its rules stand in the TikTok sheet (2026-11-22), which each module here names by section. Hosts come from the
settings, so the simulator can stand in for all of them; the upload host comes from TikTok's own answer.
"""

from __future__ import annotations

from app import config
from app.platforms import registry
from app.platforms.base import App
from app.platforms.tiktok.chunks import plan
from app.platforms.tiktok.creator import check, counted, creator, fit, profile, quotas
from app.platforms.tiktok.errors import classify, verdict
from app.platforms.tiktok.oauth import (
    NEEDED_SCOPES,
    SCOPE_WORDS,
    SCOPES,
    authorize_url,
    choices,
    declined,
    exchange,
    new_verifier,
    refresh,
    revoke,
)
from app.platforms.tiktok.publish import after, begin, comment, comments, link, status
from app.platforms.tiktok.upload import send

NAME = "tiktok"
LABEL = "TikTok"
COMMENTS = False
PUBLISH_ID_STANDS_IN = True
FIELDS = (
    "title", "privacy_level", "disable_comment", "disable_duet", "disable_stitch", "cover_ms", "brand_content",
    "brand_organic", "ai_generated", "kind",
)  # fmt: skip
PRIVACY = {
    "PUBLIC_TO_EVERYONE": "Everyone",
    "MUTUAL_FOLLOW_FRIENDS": "Friends",
    "FOLLOWER_OF_CREATOR": "Followers",
    "SELF_ONLY": "Only me",
}


def app(settings: config.Config | None = None) -> App:
    """Our registration at TikTok from this process's settings, or the simulator's while it stands in."""
    return registry.app(NAME, settings)


__all__ = [
    "COMMENTS",
    "FIELDS",
    "LABEL",
    "NAME",
    "NEEDED_SCOPES",
    "PRIVACY",
    "PUBLISH_ID_STANDS_IN",
    "SCOPES",
    "SCOPE_WORDS",
    "after",
    "app",
    "authorize_url",
    "begin",
    "check",
    "choices",
    "classify",
    "comment",
    "comments",
    "counted",
    "creator",
    "declined",
    "exchange",
    "fit",
    "link",
    "new_verifier",
    "plan",
    "profile",
    "quotas",
    "refresh",
    "revoke",
    "send",
    "status",
    "verdict",
]
