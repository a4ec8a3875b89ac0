"""What a tester may choose for an Instagram account, how it is numbered, and this platform's own tables."""

from __future__ import annotations

from dataclasses import dataclass

from app.sandbox.world import Creator

NAME, LABEL = "instagram", "Instagram"
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

SCHEMA = """
CREATE TABLE IF NOT EXISTS ig_tokens (
  digest TEXT PRIMARY KEY, kind TEXT NOT NULL, login TEXT NOT NULL, issued_at REAL NOT NULL, ends_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS ig_user_tokens (
  digest TEXT PRIMARY KEY, client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, scopes TEXT NOT NULL,
  long INTEGER NOT NULL, issued_at REAL NOT NULL, expires_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS ig_containers (
  id TEXT PRIMARY KEY, client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, surface TEXT NOT NULL,
  video INTEGER NOT NULL, child INTEGER NOT NULL, source TEXT NOT NULL, url TEXT NOT NULL, cover_url TEXT NOT NULL,
  thumb_offset INTEGER, caption TEXT NOT NULL, children TEXT NOT NULL, wishes TEXT NOT NULL, created_at REAL NOT NULL,
  total_bytes INTEGER, sha256 TEXT, finished_at REAL, ready_at REAL, polls INTEGER NOT NULL,
  asked INTEGER NOT NULL DEFAULT 0, verdict TEXT, published_at REAL, media_id TEXT);
CREATE INDEX IF NOT EXISTS ig_containers_creator ON ig_containers (creator_id, created_at);
CREATE TABLE IF NOT EXISTS ig_media (
  id TEXT PRIMARY KEY, container_id TEXT NOT NULL UNIQUE, creator_id INTEGER NOT NULL, surface TEXT NOT NULL,
  video INTEGER NOT NULL, caption TEXT NOT NULL, shortcode TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS ig_media_creator ON ig_media (creator_id, at);
CREATE TABLE IF NOT EXISTS ig_comments (
  id TEXT PRIMARY KEY, media_id TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL);
"""

# Each right under its two names: of Instagram Login and of Facebook Login (sheet, section 1).
RIGHTS: dict[str, tuple[str, str]] = {
    "basic": ("instagram_business_basic", "instagram_basic"),
    "publish": ("instagram_business_content_publish", "instagram_content_publish"),
    "comments": ("instagram_business_manage_comments", "instagram_manage_comments"),
    "insights": ("instagram_business_manage_insights", "instagram_manage_insights"),
}
INSTAGRAM_SCOPES = tuple(pair[0] for pair in RIGHTS.values())
FACEBOOK_SCOPES = (
    *(pair[1] for pair in RIGHTS.values()),
    "pages_show_list",
    "pages_read_engagement",
    "business_management",
)
SCOPES = (*INSTAGRAM_SCOPES, *FACEBOOK_SCOPES)


def scopes_of(login: str) -> tuple[str, ...]:
    """The scopes that can be granted on this way of signing in."""
    return FACEBOOK_SCOPES if login == "facebook" else INSTAGRAM_SCOPES


@dataclass(frozen=True)
class Switches:
    """What a tester chose for an account.

    `dead` is the subcode with which every token is refused (458, 459, 460, 464; 0: none is). `polls` is how many
    questions a video container answers with IN_PROGRESS. `cut_at_byte` cuts the upload call that crosses this byte
    (0: none). `says` lets a call answer an error of the sheet for as long as it stands there: "publish 25/2207050".
    `owner` is the username of the person who manages this account's Page besides its own creator.
    """

    account_type: str = "BUSINESS"
    page: bool = True
    owner: str = ""
    wrapped: bool = True
    dead: int = 0
    quota_total: int = 50
    posts_last_24h: int = 0
    containers_a_day: int = 400
    limit_readable: bool = True
    resumable: bool = True
    polls: int = 1
    cut_at_byte: int = 0
    calls_per_day: int = 48_000
    insights_after_s: int = 300
    says: str = ""


DEFAULTS = Switches()
SWITCHES: dict[str, tuple[str, type]] = {
    "accountType": ("account_type", str),
    "page": ("page", bool),
    "owner": ("owner", str),
    "wrapped": ("wrapped", bool),
    "dead": ("dead", int),
    "quotaTotal": ("quota_total", int),
    "postsLast24h": ("posts_last_24h", int),
    "containersADay": ("containers_a_day", int),
    "limitReadable": ("limit_readable", bool),
    "resumable": ("resumable", bool),
    "polls": ("polls", int),
    "cutAtByte": ("cut_at_byte", int),
    "callsPerDay": ("calls_per_day", int),
    "insightsAfterS": ("insights_after_s", int),
    "says": ("says", str),
}
# Per app: how old a token must be to be renewed, how long the long one lives, and the app's calls in an hour.
APP_SWITCHES: dict[str, tuple[str, type]] = {
    "instagramRefreshFromS": ("instagram_refresh_from_s", int),
    "instagramLongLifeS": ("instagram_long_life_s", int),
    "instagramCallsPerHour": ("instagram_calls_per_hour", int),
}
REFRESH_FROM_S = 24 * 3600
# The sheet's example, section 3: a little less than 60 days.
LONG_LIFE_S = 5_183_944
SHORT_LIFE_S = 3600
CALLS_PER_HOUR = 100_000


def user_id(creator: Creator) -> str:
    """The professional account's id, the one in paths."""
    return str(17_841_400_000_000_000 + creator.id)


def scoped_id(creator: Creator) -> str:
    """The id that only this app sees."""
    return str(25_000_000_000_000_000 + creator.id)


def page_id(creator: Creator) -> str:
    return str(101_000_000_000_000 + creator.id)


def person_id(creator: Creator) -> str:
    """The Facebook person behind the account."""
    return str(10_220_000_000_000_000 + creator.id)
