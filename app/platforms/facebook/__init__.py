"""Facebook Pages: connecting them, posting a Reel, a video or a picture, asking what became of it.

Its rules stand in the Facebook sheet (2026-11-22), which each module here names by section. What Instagram shares
is in `platforms/meta`. Hosts come from the settings, so the simulator can stand in for all of them; an address that
Facebook names for bytes is used only when its host is the configured one.
"""

from __future__ import annotations

from app import config
from app.platforms import registry
from app.platforms.base import App
from app.platforms.facebook.errors import classify, verdict
from app.platforms.facebook.oauth import (
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
from app.platforms.facebook.page import check, counted, creator, fit, profile, quotas
from app.platforms.facebook.publish import after, begin, comment, comments, link, send, status

NAME = "facebook"
LABEL = "Facebook"
COMMENTS = True
# A video has an id of its own beside the one of its post, and its status tells the address.
PUBLISH_ID_STANDS_IN = False
FIELDS = ("title", "description", "kind", "alt_text", "use_cover", "first_comment")
# What a Page posts is always public.
PRIVACY: dict[str, str] = {}


def app(settings: config.Config | None = None) -> App:
    """Our registration at Facebook from this process's settings, or the simulator's while it stands in."""
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
