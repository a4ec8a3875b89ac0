"""YouTube: connecting a channel, posting a video to it, asking what became of it.

Its rules stand in the YouTube sheet (2026-11-22), which each module here names by section. Hosts come from the
settings, so the simulator can stand in for all of them; the session's address comes from YouTube's own answer.
"""

from __future__ import annotations

from app import config
from app.platforms import registry
from app.platforms.base import App
from app.platforms.youtube.after import after, comment, comments
from app.platforms.youtube.channel import (
    PRIVATE,
    PUBLIC,
    UNLISTED,
    check,
    counted,
    creator,
    fit,
    profile,
    quotas,
)
from app.platforms.youtube.errors import classify, verdict
from app.platforms.youtube.oauth import (
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
from app.platforms.youtube.publish import begin, link, status
from app.platforms.youtube.upload import send

NAME = "youtube"
LABEL = "YouTube"
COMMENTS = False
PUBLISH_ID_STANDS_IN = False
FIELDS = (
    "title", "description", "tags", "privacy_level", "category_id", "made_for_kids", "ai_generated", "notify",
    "native_at", "use_cover",
)  # fmt: skip
PRIVACY = {PUBLIC: "Everyone", UNLISTED: "Anyone with the link", PRIVATE: "Only me"}


def app(settings: config.Config | None = None) -> App:
    """Our registration at Google from this process's settings, or the simulator's while it stands in."""
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
    "profile",
    "quotas",
    "refresh",
    "revoke",
    "send",
    "status",
    "verdict",
]
