"""Instagram: connecting a professional account, posting to it, asking what became of it.

Its rules stand in the Instagram sheet (2026-11-22), which each module here names by section. There are two ways in,
Instagram's own and Facebook's; they differ in the host and in how tokens are had, and each account keeps its own
in `facts`. Hosts come from the settings, so the simulator can stand in for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app import config
from app.platforms import registry
from app.platforms.base import App
from app.platforms.instagram.comments import comment, comments
from app.platforms.instagram.containers import begin
from app.platforms.instagram.creator import check, counted, creator, fit, profile, quotas
from app.platforms.instagram.errors import verdict
from app.platforms.instagram.oauth import (
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
from app.platforms.instagram.publish import after, link, send, status

NAME = "instagram"
LABEL = "Instagram"
COMMENTS = True
PUBLISH_ID_STANDS_IN = False
FIELDS = (
    "title", "kind", "share_to_feed", "cover_ms", "use_cover", "alt_text", "collaborators", "first_comment",
    "ai_generated", "pictures",
)  # fmt: skip
PRIVACY: Mapping[str, str] = {}


def app(settings: config.Config | None = None) -> App:
    """Our registration at Instagram, or the simulator's while it stands in; new accounts come in by INSTAGRAM_LOGIN."""
    settings = settings or config.get()
    found = registry.app(NAME, settings)
    if settings.instagram_login != "facebook":
        return found
    bases = found.bases
    return replace(found, auth_base=bases["facebook_auth"], api_base=bases["facebook_api"])


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
