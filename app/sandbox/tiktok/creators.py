"""What a tester may choose for a TikTok creator, and what follows from it; and this platform's own tables."""

from __future__ import annotations

from dataclasses import dataclass

from app.sandbox.world import Creator

NAME, LABEL = "tiktok", "TikTok"

SCHEMA = """
CREATE TABLE IF NOT EXISTS posts (
  id INTEGER PRIMARY KEY AUTOINCREMENT, publish_id TEXT NOT NULL UNIQUE, upload_id TEXT UNIQUE,
  upload_digest TEXT, client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, open_id TEXT NOT NULL,
  kind TEXT NOT NULL, source TEXT NOT NULL, urls TEXT NOT NULL, wishes TEXT NOT NULL, title TEXT NOT NULL,
  privacy_level TEXT NOT NULL, total_bytes INTEGER NOT NULL, chunk_bytes INTEGER NOT NULL,
  chunk_count INTEGER NOT NULL, received_bytes INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL,
  expires_at REAL NOT NULL, finished_at REAL, ready_at REAL, public_at REAL, verdict TEXT, decided_at REAL,
  post_id TEXT, duration_s REAL, width_px INTEGER, height_px INTEGER,
  sent_on_at REAL, file_gone INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS posts_creator ON posts (creator_id, created_at);
"""


@dataclass(frozen=True)
class Switches:
    """What a tester chose for a creator. Private by default: an unaudited app may post to nobody else."""

    private: bool = True
    max_duration_s: int = 600
    comment_disabled: bool = False
    duet_disabled: bool = False
    stitch_disabled: bool = False
    banned: bool = False
    posts_last_24h: int = 0
    pending_drafts: int = 0


DEFAULTS = Switches()
SWITCHES: dict[str, tuple[str, type]] = {
    "private": ("private", bool),
    "maxDurationS": ("max_duration_s", int),
    "commentDisabled": ("comment_disabled", bool),
    "duetDisabled": ("duet_disabled", bool),
    "stitchDisabled": ("stitch_disabled", bool),
    "banned": ("banned", bool),
    "postsLast24h": ("posts_last_24h", int),
    "pendingDrafts": ("pending_drafts", int),
}


def privacy_levels(creator: Creator) -> tuple[str, ...]:
    first = "FOLLOWER_OF_CREATOR" if creator.switches.private else "PUBLIC_TO_EVERYONE"
    return (first, "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY")
