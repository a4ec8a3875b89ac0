"""The platforms we post to, each behind the same interface (S0.8): `platforms.get("tiktok").begin(...)`.

Adding one adds its package and one line here. Knows no row, no job and no setting but the platform's own.
"""

from __future__ import annotations

from app.errors import NotFound
from app.platforms import facebook, instagram, registry, tiktok, youtube
from app.platforms.base import (
    App,
    Call,
    Choice,
    Chunks,
    Count,
    Creator,
    Found,
    Grant,
    Handle,
    Kind,
    Media,
    OnCall,
    Platform,
    Post,
    Profile,
    Quota,
    QuotaLeft,
    Status,
    Tokens,
    Usage,
    Verdict,
)

_PLATFORMS: dict[str, Platform] = {
    "tiktok": tiktok,
    "youtube": youtube,
    "instagram": instagram,
    "facebook": facebook,
}
NAMES: tuple[str, ...] = tuple(_PLATFORMS)
LABELS: dict[str, str] = {name: platform.LABEL for name, platform in _PLATFORMS.items()}


def get(name: str) -> Platform:
    """The platform of this name; NotFound for one we do not know."""
    if name not in _PLATFORMS:
        raise NotFound(f"There is no platform called {name}.", code="unknown_platform")
    return _PLATFORMS[name]


__all__ = [
    "LABELS",
    "NAMES",
    "App",
    "Call",
    "Choice",
    "Chunks",
    "Count",
    "Creator",
    "Found",
    "Grant",
    "Handle",
    "Kind",
    "Media",
    "OnCall",
    "Platform",
    "Post",
    "Profile",
    "Quota",
    "QuotaLeft",
    "Status",
    "Tokens",
    "Usage",
    "Verdict",
    "get",
    "registry",
]
