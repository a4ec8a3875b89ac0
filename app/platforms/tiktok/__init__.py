"""TikTok: connecting an account, posting a video to it, asking what became of it.

Its rules stand in the TikTok sheet (2026-11-22), which each module here names by section. Hosts come from the
settings, so the simulator can stand in for all of them; the upload host comes from TikTok's own answer.
"""

from __future__ import annotations

from app import config
from app.platforms.base import App
from app.platforms.tiktok.chunks import plan
from app.platforms.tiktok.creator import check, creator, fit, profile
from app.platforms.tiktok.errors import classify, verdict
from app.platforms.tiktok.oauth import (
    NEEDED_SCOPES,
    SCOPES,
    authorize_url,
    declined,
    exchange,
    new_verifier,
    refresh,
    revoke,
)
from app.platforms.tiktok.publish import begin, link, status
from app.platforms.tiktok.upload import send

SANDBOX_KEY = "sandbox"
SANDBOX_SECRET = "sandbox-secret"  # noqa: S105 - the simulator's own, known to everybody


def app(settings: config.Config | None = None) -> App:
    """Our registration at TikTok from this process's settings, or the simulator's while it stands in."""
    settings = settings or config.get()
    simulated = settings.tiktok_simulated
    return App(
        client_key=SANDBOX_KEY if simulated else settings.tiktok_client_key or "",
        client_secret=SANDBOX_SECRET if simulated else settings.tiktok_client_secret or "",
        redirect_uri=settings.tiktok_redirect,
        app_type=settings.tiktok_app_type,
        auth_base=settings.tiktok_auth,
        api_base=settings.tiktok_api,
        simulated=simulated,
    )


__all__ = [
    "NEEDED_SCOPES",
    "SCOPES",
    "app",
    "authorize_url",
    "begin",
    "check",
    "classify",
    "creator",
    "declined",
    "exchange",
    "fit",
    "link",
    "new_verifier",
    "plan",
    "profile",
    "refresh",
    "revoke",
    "send",
    "status",
    "verdict",
]
