"""Where the platforms answer, and our registrations there, as far as the environment gives them. Knows nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

# Every host of a platform by the name its adapter knows it under: the setting that replaces it, and the real one.
PLATFORM_HOSTS: Mapping[str, Mapping[str, tuple[str | None, str]]] = {
    "tiktok": {
        "auth": ("tiktok_auth_base", "https://www.tiktok.com"),
        "api": ("tiktok_api_base", "https://open.tiktokapis.com"),
    },
    "youtube": {
        "auth": ("google_auth_base", "https://accounts.google.com"),
        "token": ("google_token_base", "https://oauth2.googleapis.com"),
        "api": ("youtube_api_base", "https://www.googleapis.com"),
        "upload": ("youtube_upload_base", "https://www.googleapis.com"),
        "analytics": ("youtube_analytics_base", "https://youtubeanalytics.googleapis.com"),
    },
    "instagram": {
        "auth": ("instagram_auth_base", "https://www.instagram.com"),
        "token": ("instagram_token_base", "https://api.instagram.com"),
        "api": ("instagram_api_base", "https://graph.instagram.com"),
        "facebook_auth": ("facebook_auth_base", "https://www.facebook.com"),
        "facebook_api": ("facebook_api_base", "https://graph.facebook.com"),
        "upload": ("meta_upload_base", "https://rupload.facebook.com"),
    },
    "facebook": {
        "auth": ("facebook_auth_base", "https://www.facebook.com"),
        "api": ("facebook_api_base", "https://graph.facebook.com"),
        "video": ("facebook_video_base", "https://graph-video.facebook.com"),
        "upload": ("meta_upload_base", "https://rupload.facebook.com"),
    },
}

SETTINGS = tuple(
    dict.fromkeys(setting for found in PLATFORM_HOSTS.values() for setting, _ in found.values() if setting)
)


@dataclass(frozen=True)
class Registration:
    """Our registration at a platform, as far as the environment gives it."""

    client_key: str
    client_secret: str = field(repr=False)
    redirect_uri: str


def bases(
    platform: str, own: Mapping[str, str | None], simulated_under: tuple[str, str] | None
) -> dict[str, str]:
    """Where this platform answers, host by host: what the settings say (`own`), else the simulator's folders, else
    the real host. `simulated_under` are the simulator's roots for people's browsers and for our own processes.
    """
    found: dict[str, str] = {}
    for name, (setting, host) in PLATFORM_HOSTS[platform].items():
        folder = platform if platform == "tiktok" else f"{platform}/{name}"
        if simulated_under is not None:
            host = f"{simulated_under[0 if name.endswith('auth') else 1]}/{folder}"
        found[name] = (own.get(setting) if setting else None) or host
    return found


def names_several(url: str) -> bool:
    """`postgresql://u:p@h1:5432,h2:5433/db`, or hosts in `?host=`; a comma elsewhere says nothing."""
    parts = urlsplit(url)
    named = [parts.netloc.rpartition("@")[2], *parse_qs(parts.query).get("host", ())]
    return any("," in hosts for hosts in named)
