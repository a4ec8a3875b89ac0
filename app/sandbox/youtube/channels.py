"""The channels of the simulated YouTube: what a tester chose for them, who they are, and this platform's own tables."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from app.sandbox import world
from app.sandbox.world import Creator

NAME = "youtube"
LABEL = "YouTube"
AUTH = "https://www.googleapis.com/auth/"
UPLOAD, READ = f"{AUTH}youtube.upload", f"{AUTH}youtube.readonly"
ALL, FORCE_SSL = f"{AUTH}youtube", f"{AUTH}youtube.force-ssl"
REPORTS, MONEY = f"{AUTH}yt-analytics.readonly", f"{AUTH}yt-analytics-monetary.readonly"
SCOPES = (UPLOAD, READ, ALL, FORCE_SSL, REPORTS, MONEY)

SCHEMA = """
CREATE TABLE IF NOT EXISTS yt_codes (digest TEXT PRIMARY KEY, offline INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS yt_grants (
  grant_id INTEGER PRIMARY KEY, client_key TEXT NOT NULL, google_account TEXT NOT NULL,
  offline INTEGER NOT NULL, made_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS yt_quota (
  client_key TEXT NOT NULL, bucket TEXT NOT NULL, day TEXT NOT NULL, used INTEGER NOT NULL,
  PRIMARY KEY (client_key, bucket, day));
CREATE TABLE IF NOT EXISTS yt_sessions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, publish_id TEXT NOT NULL UNIQUE, upload_digest TEXT NOT NULL UNIQUE,
  client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, parts TEXT NOT NULL, resource TEXT NOT NULL,
  total_bytes INTEGER, received_bytes INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL,
  expires_at REAL NOT NULL, finished_at REAL, video_id TEXT UNIQUE, file_gone INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS yt_videos (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, session_id INTEGER NOT NULL UNIQUE,
  creator_id INTEGER NOT NULL, resource TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
  uploaded_at REAL NOT NULL, ready_at REAL NOT NULL, verdict TEXT, duration_s REAL, width_px INTEGER,
  height_px INTEGER, shown_at REAL, deleted_at REAL, thumbnail TEXT);
CREATE INDEX IF NOT EXISTS yt_videos_creator ON yt_videos (creator_id, sha256);
"""


@dataclass(frozen=True)
class Switches:
    """What a tester chose for a channel.

    `google_account` is the sign-in that owns it, empty for one of its own; several channels may share one.
    `long_uploads` is allowed, eligible or disallowed; `closed` is the reason every write is refused with.
    `refresh_dead`: the refresh tokens of this channel no longer work.
    """

    google_account: str = ""
    has_channel: bool = True
    long_uploads: str = "allowed"
    upload_limit_reached: bool = False
    custom_thumbnails: bool = True
    closed: str = ""
    refresh_dead: bool = False


DEFAULTS = Switches()
SWITCHES: dict[str, tuple[str, type]] = {
    "googleAccount": ("google_account", str),
    "hasChannel": ("has_channel", bool),
    "longUploads": ("long_uploads", str),
    "uploadLimitReached": ("upload_limit_reached", bool),
    "customThumbnails": ("custom_thumbnails", bool),
    "closed": ("closed", str),
    "refreshDead": ("refresh_dead", bool),
}
# Per project: the tester's own figures in place of the sheet's (sections 2.2, 3.2 and 7).
APP_SWITCHES: dict[str, tuple[str, type]] = {
    "testing": ("testing", bool),
    "apiDisabled": ("api_disabled", bool),
    "tokenLifetimeS": ("token_lifetime_s", int),
    "sessionLifetimeS": ("session_lifetime_s", int),
    "uploadsPerDay": ("uploads_per_day", int),
    "searchesPerDay": ("searches_per_day", int),
    "unitsPerDay": ("units_per_day", int),
    "statsPerDay": ("stats_per_day", int),
    "finalStatus": ("final_status", int),
}


def channel_id(creator_id: int) -> str:
    """The same channel for every app, as on the platform: UC and 22 letters."""
    name = hashlib.sha256(f"channel|{creator_id}".encode()).digest()
    return "UC" + base64.urlsafe_b64encode(name).decode()[:22]


def google_account(creator: Creator) -> str:
    return creator.switches.google_account or f"{creator.username}@accounts.example"


def names_of(creator: Creator) -> tuple[str, ...]:
    """What a fault may call this account."""
    return (creator.username, creator.display_name, channel_id(creator.id))


world.knows(NAME, DEFAULTS)
