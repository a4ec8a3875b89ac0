"""The people of this Facebook, their Pages and what a tester may choose for them. Pure but for its tables."""

from __future__ import annotations

from dataclasses import dataclass

from app.sandbox.world import Creator

NAME = "facebook"
LABEL = "Facebook"
SCOPES = (
    "pages_show_list",
    "pages_read_engagement",
    "pages_manage_posts",
    "pages_manage_engagement",
    "pages_read_user_content",
    "read_insights",
    "business_management",
)
FIRST_USER = 10_000_000_000_000_000
FIRST_PAGE = 101_000_000_000_000
PAGES_EACH = 1000
MOST_PEOPLE = 1_000_000_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS fb_user_tokens (
  digest TEXT PRIMARY KEY, grant_id INTEGER NOT NULL, kind TEXT NOT NULL, expires_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS fb_page_tokens (
  digest TEXT PRIMARY KEY, grant_id INTEGER NOT NULL, page_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fb_videos (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, page_id TEXT NOT NULL,
  creator_id INTEGER NOT NULL, kind TEXT NOT NULL, session_id TEXT UNIQUE, total_bytes INTEGER NOT NULL DEFAULT 0,
  chunk_bytes INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL, expires_at REAL NOT NULL,
  was_cut INTEGER NOT NULL DEFAULT 0, finished_at REAL, state TEXT NOT NULL DEFAULT '', title TEXT NOT NULL DEFAULT '',
  description TEXT NOT NULL DEFAULT '', publish_at REAL, ready_at REAL, verdict TEXT, sha256 TEXT, post_id TEXT,
  length_s REAL, cover_sha256 TEXT, file_gone INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS fb_photos (
  id TEXT PRIMARY KEY, page_id TEXT NOT NULL, creator_id INTEGER NOT NULL, bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL, alt TEXT NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL, post_id TEXT);
CREATE TABLE IF NOT EXISTS fb_posts (
  id TEXT PRIMARY KEY, page_id TEXT NOT NULL, creator_id INTEGER NOT NULL, message TEXT NOT NULL,
  publish_id TEXT NOT NULL UNIQUE, created_at REAL NOT NULL, publish_at REAL, media INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS fb_comments (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, object_id TEXT NOT NULL, page_id TEXT NOT NULL,
  message TEXT NOT NULL, at REAL NOT NULL);
"""


@dataclass(frozen=True)
class Switches:
    """What a tester chose for a person.

    `dead_token`: their tokens answer 190 with this subcode. `calls_per_hour` limits the person (code 17),
    `calls_per_day` the Page (`page_limit_code`: 80001 or 32); 0 is no limit. `cut_at_byte`: the first upload of each
    video is cut there. `chunk_bytes`: how the chunks of an ordinary video are cut.
    """

    pages: int = 1
    create_content: bool = True
    dead_token: int = 0
    blocked: bool = False
    too_fast: bool = False
    needs_page_authorization: bool = False
    needs_identity: bool = False
    reels_last_24h: int = 0
    cut_at_byte: int = 0
    chunk_bytes: int = 1024 * 1024
    calls_per_hour: int = 0
    calls_per_day: int = 48_000
    page_limit_code: int = 80001


DEFAULTS = Switches()
SWITCHES: dict[str, tuple[str, type]] = {
    "pages": ("pages", int),
    "createContent": ("create_content", bool),
    "deadToken": ("dead_token", int),
    "blocked": ("blocked", bool),
    "tooFast": ("too_fast", bool),
    "needsPageAuthorization": ("needs_page_authorization", bool),
    "needsIdentity": ("needs_identity", bool),
    "reelsLast24h": ("reels_last_24h", int),
    "cutAtByte": ("cut_at_byte", int),
    "chunkBytes": ("chunk_bytes", int),
    "callsPerHour": ("calls_per_hour", int),
    "callsPerDay": ("calls_per_day", int),
    "pageLimitCode": ("page_limit_code", int),
}
# Chosen per app: the limit of all calls with people's and the app's own tokens, in any hour.
APP_SWITCHES: dict[str, tuple[str, type]] = {"facebookCallsPerHour": ("facebook_calls_per_hour", int)}
CALLS_PER_HOUR = 20_000


@dataclass(frozen=True)
class Page:
    id: str
    name: str
    username: str
    tasks: tuple[str, ...]


def user_id(creator_id: int) -> str:
    return str(FIRST_USER + creator_id)


def creator_number(object_id: str) -> int | None:
    """The person behind a person's or a Page's id; None when it is neither."""
    if not object_id.isascii() or not object_id.isdigit() or len(object_id) > 17:
        return None
    number = int(object_id)
    if number > FIRST_USER:
        return number - FIRST_USER
    if FIRST_PAGE < number < FIRST_PAGE + MOST_PEOPLE * PAGES_EACH:
        return (number - FIRST_PAGE) // PAGES_EACH
    return None


def page_id(creator_id: int, number: int = 1) -> str:
    return str(FIRST_PAGE + creator_id * PAGES_EACH + number)


def pages_of(creator: Creator) -> list[Page]:
    """The Pages this person has a role on, the main one first."""
    tasks = ("ANALYZE", "CREATE_CONTENT", "MANAGE") if creator.switches.create_content else ("ANALYZE",)
    return [
        Page(
            page_id(creator.id, number),
            creator.display_name if number == 1 else f"{creator.display_name} {number}",
            creator.username if number == 1 else f"{creator.username}.{number}",
            tasks,
        )
        for number in range(1, min(creator.switches.pages, PAGES_EACH - 1) + 1)
    ]


def page_of(creator: Creator, object_id: str) -> Page | None:
    return next((page for page in pages_of(creator) if page.id == object_id), None)
