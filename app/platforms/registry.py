"""Our registrations at the platforms: from the settings, or as operators entered them while everything runs.

An entered one goes before the settings. Rooms fill it (`enter`); adapters read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app import config
from app.platforms.base import App

# The simulator's own, known to everybody.
SANDBOX_KEY = "sandbox"
SANDBOX_SECRET = "sandbox-secret"  # noqa: S105 - not a credential


@dataclass(frozen=True)
class Entered:
    """What an operator entered for one platform."""

    client_key: str
    client_secret: str = field(repr=False)


_entered: dict[str, Entered] = {}


def enter(found: Mapping[str, Entered]) -> None:
    """Take these registrations, and no others, in place of the settings; platforms without one go by them."""
    _entered.clear()
    _entered.update(found)


def app(platform: str, settings: config.Config | None = None) -> App:
    """Our registration at this platform, or the simulator's while it stands in. Without one its key is empty."""
    settings = settings or config.get()
    entered = _entered.get(platform)
    simulated = settings.simulates(platform) and (entered is None or settings.simulators == "on")
    given = settings.registration(platform)
    own = entered or Entered(given.client_key, given.client_secret)
    key, secret = (SANDBOX_KEY, SANDBOX_SECRET) if simulated else (own.client_key, own.client_secret)
    bases = settings.bases(platform, simulated=simulated)
    return App(
        client_key=key,
        client_secret=secret,
        redirect_uri=given.redirect_uri,
        app_type=settings.tiktok_app_type if platform == "tiktok" else "web",
        auth_base=bases["auth"],
        api_base=bases["api"],
        simulated=simulated,
        version=settings.meta_version if platform in ("instagram", "facebook") else "",
        bases=bases,
    )
