"""The memory of the simulated world: one SQLite file and a folder of uploaded bytes.

It knows tables and time, no protocol. Several processes may hold the same file; every act is one short
transaction, flushed before it counts, so `kill -9` at any moment leaves either the whole act or none of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from starlette.routing import Route

P = ParamSpec("P")
T = TypeVar("T")

# Gives container, duration_s, width_px, height_px, fps and video_codec, as attributes or keys; None for a
# file that is no video. Whatever it raises is the world's own trouble: nothing is decided, it is asked again.
Probe = Callable[[Path], Awaitable[Any]]

SCHEMA = """
CREATE TABLE IF NOT EXISTS apps (client_key TEXT PRIMARY KEY, changes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS creators (
  id INTEGER PRIMARY KEY, platform TEXT NOT NULL, username TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL, switches TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS codes (
  digest TEXT PRIMARY KEY, client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, scopes TEXT NOT NULL,
  redirect_uri TEXT, challenge TEXT, expires_at REAL NOT NULL, used_at REAL);
CREATE TABLE IF NOT EXISTS grants (
  id INTEGER PRIMARY KEY, client_key TEXT NOT NULL, creator_id INTEGER NOT NULL, open_id TEXT NOT NULL,
  scopes TEXT NOT NULL, refresh_digest TEXT NOT NULL UNIQUE, refresh_expires_at REAL NOT NULL, ended_at REAL);
CREATE TABLE IF NOT EXISTS access_tokens (
  digest TEXT PRIMARY KEY, grant_id INTEGER NOT NULL REFERENCES grants, expires_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
  platform TEXT, step TEXT, count INTEGER NOT NULL, PRIMARY KEY (platform, step));
CREATE TABLE IF NOT EXISTS allowed (key TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS allowed_key_at ON allowed (key, at);
CREATE TABLE IF NOT EXISTS faults (
  id INTEGER PRIMARY KEY AUTOINCREMENT, fault TEXT NOT NULL, step TEXT NOT NULL, account TEXT,
  remaining INTEGER, rate REAL, seed TEXT NOT NULL, seconds REAL NOT NULL, reason TEXT,
  seen INTEGER NOT NULL DEFAULT 0, fired INTEGER NOT NULL DEFAULT 0, armed_at REAL NOT NULL, platform TEXT);
CREATE TABLE IF NOT EXISTS later (
  id INTEGER PRIMARY KEY AUTOINCREMENT, due_at REAL NOT NULL, act TEXT NOT NULL, arguments TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ledger (
  number INTEGER PRIMARY KEY AUTOINCREMENT, platform TEXT NOT NULL, publish_id TEXT NOT NULL UNIQUE,
  id TEXT NOT NULL UNIQUE, account TEXT NOT NULL, title TEXT NOT NULL, bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, rejected TEXT,
  draft INTEGER NOT NULL DEFAULT 0);
"""
# Columns that came after the first worlds were written to disk: an older memory gets them when it is opened.
ADDED = (("faults", "platform", "TEXT"), ("ledger", "draft", "INTEGER NOT NULL DEFAULT 0"))


class Platform(Protocol):
    """What the package of one simulated platform offers to the world.

    `SWITCHES` maps what a tester writes (`maxDurationS`) to a field of `DEFAULTS` and its type; `DEFAULTS` is
    the platform's own frozen dataclass of switches with a new creator's values. `STEPS` names the platform's
    calls for faults; the irreversible one is also called `last_chunk`. `connect` gives a one-use code for a
    consent to `scopes`, as if the person had approved. `settle` finishes what is due by the world's clock.
    A package may also have `APP_SWITCHES`, like SWITCHES, for what is chosen per app (kept in `App.more`), and
    `unfinished(world)`, what the ledger lists as incomplete, and `no_such_address(status)`, its own 404.
    """

    @property
    def NAME(self) -> str: ...
    @property
    def LABEL(self) -> str: ...
    @property
    def SCHEMA(self) -> str: ...
    @property
    def SCOPES(self) -> tuple[str, ...]: ...
    @property
    def SWITCHES(self) -> dict[str, tuple[str, type]]: ...
    @property
    def DEFAULTS(self) -> Any: ...
    @property
    def STEPS(self) -> tuple[str, ...]: ...
    @property
    def FAIL_REASONS(self) -> tuple[str, ...]: ...

    def routes(self) -> list[Route]: ...

    def connect(
        self,
        conn: sqlite3.Connection,
        world: World,
        client_key: str,
        creator: Creator,
        scopes: tuple[str, ...],
        at: float,
    ) -> str: ...

    async def settle(self, world: World) -> None: ...


@dataclass(frozen=True)
class Settings:
    """How this world behaves. What one app may have otherwise is set per app (`POST /apps`).

    Lifetimes, limits and defaults: the platform sheet of TikTok, sections 1, 2, 4 and 9 (2026-11-22). The other
    platforms take their own figures from their sheets, and from `App.more` what a tester chose.
    """

    client_key: str = "sandbox"
    client_secret: str = "sandbox-secret"  # noqa: S105 - the world's public demo secret, not a credential
    app_type: str = "web"
    audited: bool = False
    access_lifetime_s: int = 7200
    refresh_lifetime_s: int = 15_552_000
    redirect_uris: tuple[str, ...] | None = None
    verified_url_prefixes: tuple[str, ...] = ()
    posts_per_day: int = 15
    accounts_per_day: int = 5
    drafts_per_day: int = 5
    code_lifetime_s: float = 600
    upload_lifetime_s: float = 3600
    processing_s: float = 1.0
    moderation_s: float = 2.0
    kept_files: int = 20
    pull_ca: Path | None = None


@dataclass(frozen=True)
class App:
    """A client of the platform as it stands now: the settings with that app's own changes laid over them."""

    client_key: str
    client_secret: str
    app_type: str
    audited: bool
    access_lifetime_s: int
    refresh_lifetime_s: int
    redirect_uris: tuple[str, ...] | None
    verified_url_prefixes: tuple[str, ...]
    posts_per_day: int
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Creator:
    """A made-up person on one platform. `switches` is that platform's own dataclass."""

    id: int
    platform: str
    username: str
    display_name: str
    created_at: float
    switches: Any


_defaults: dict[str, Any] = {}


def knows(platform: str, defaults: Any) -> None:
    """Creators of this platform carry switches of this dataclass."""
    _defaults[platform] = defaults


@dataclass
class World:
    """One simulated world. `write` and `read` run one transaction each, in order, off the event loop."""

    home: Path
    base_url: str
    probe: Probe
    clock: Callable[[], float]
    settings: Settings
    platforms: tuple[Platform, ...] = ()
    pulls: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    looking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _connection: sqlite3.Connection | None = None
    _line: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox")
    )

    @property
    def files(self) -> Path:
        return self.home / "files"

    async def settle(self) -> None:
        """Finish on every platform what is due by now."""
        for platform in self.platforms:
            await platform.settle(self)

    async def write(
        self, act: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `act(conn, …)` in a transaction of its own; it counts from the moment this returns."""
        return await self._run("BEGIN IMMEDIATE", lambda conn: act(conn, *args, **kwargs))

    async def read(
        self, act: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._run("BEGIN", lambda conn: act(conn, *args, **kwargs))

    async def _run(self, begin: str, act: Callable[[sqlite3.Connection], T]) -> T:
        def whole() -> T:
            conn = self._connected()
            conn.execute(begin)
            try:
                outcome = act(conn)
            except BaseException:
                conn.execute("ROLLBACK")
                raise
            conn.execute("COMMIT")
            return outcome

        return await asyncio.get_running_loop().run_in_executor(self._line, whole)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self.files.mkdir(parents=True, exist_ok=True)
            conn = sqlite3.connect(
                self.home / "world.sqlite", timeout=30, isolation_level=None, check_same_thread=False
            )
            conn.row_factory = sqlite3.Row
            _into_wal(conn)
            conn.execute("PRAGMA synchronous=FULL")
            conn.executescript("".join([SCHEMA, *(each.SCHEMA for each in self.platforms)]))
            _bring_up(conn)
            self._connection = conn
        return self._connection

    async def close(self) -> None:
        """Let go of the file. A world that is used again opens it anew."""
        for pull in self.pulls.values():
            pull.cancel()

        def shut() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        await asyncio.get_running_loop().run_in_executor(self._line, shut)


def _into_wal(conn: sqlite3.Connection) -> None:
    # Changing the journal mode does not honour the busy timeout when two processes open a new file at once.
    conn.execute("PRAGMA busy_timeout=30000")
    for _ in range(200):
        try:
            conn.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            conn.execute("SELECT 1 FROM sqlite_master").fetchall()
    conn.execute("PRAGMA journal_mode=WAL")


def _bring_up(conn: sqlite3.Connection) -> None:
    """Give an older memory the columns it lacks. Two processes may open it at once."""
    conn.execute("BEGIN IMMEDIATE")
    for table, column, kind in ADDED:
        if column not in {row["name"] for row in conn.execute(f"PRAGMA table_info({table})")}:
            conn.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            if table == "ledger":
                # Before the column a draft was told from the post it belongs to; only TikTok had drafts.
                conn.execute(
                    "UPDATE ledger SET draft = 1 WHERE publish_id IN (SELECT publish_id FROM posts"
                    " WHERE kind IN ('inbox', 'photo_inbox') AND sent_on_at IS NULL)"
                )
    conn.execute("COMMIT")


def digest(secret: str) -> str:
    """Tokens and codes are kept as their SHA-256 only, also in a made-up world."""
    return hashlib.sha256(secret.encode()).hexdigest()


def app_of(conn: sqlite3.Connection, settings: Settings, client_key: str) -> App | None:
    row = conn.execute("SELECT changes FROM apps WHERE client_key = ?", (client_key,)).fetchone()
    if row is None and client_key != settings.client_key:
        return None
    names = {each.name for each in fields(App)} - {"more"}
    start = App(**{name: value for name, value in vars(settings).items() if name in names})
    kept: dict[str, Any] = json.loads(row["changes"]) if row else {}
    changes = {name: value for name, value in kept.items() if name in names}
    for name in ("redirect_uris", "verified_url_prefixes"):
        if changes.get(name) is not None:
            changes[name] = tuple(changes[name])
    more = {name: value for name, value in kept.items() if name not in names}
    return replace(start, client_key=client_key, more=more, **changes)


def change_app(conn: sqlite3.Connection, client_key: str, changes: dict[str, Any]) -> None:
    row = conn.execute("SELECT changes FROM apps WHERE client_key = ?", (client_key,)).fetchone()
    merged = (json.loads(row["changes"]) if row else {}) | changes
    conn.execute("INSERT OR REPLACE INTO apps VALUES (?, ?)", (client_key, json.dumps(merged)))


def make_creator(
    conn: sqlite3.Connection, platform: str, display_name: str, switches: Any, at: float
) -> Creator:
    """A new creator; the same name again is another person with another username."""
    stem = "".join(c if c.isascii() and c.isalnum() else "." for c in display_name.lower()).strip(".")
    stem = ".".join(part for part in stem.split(".") if part)[:18] or "creator"
    username = stem
    while conn.execute("SELECT 1 FROM creators WHERE username = ?", (username,)).fetchone():
        username = f"{stem}.{secrets.randbelow(100_000):05}"
    cursor = conn.execute(
        "INSERT INTO creators (platform, username, display_name, switches, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (platform, username, display_name, json.dumps(vars(switches)), at),
    )
    return Creator(cursor.lastrowid or 0, platform, username, display_name, at, switches)


def creator_of(conn: sqlite3.Connection, creator_id: int) -> Creator | None:
    return next(_creators(conn.execute("SELECT * FROM creators WHERE id = ?", (creator_id,))), None)


def creators(conn: sqlite3.Connection, platform: str) -> list[Creator]:
    return list(_creators(conn.execute("SELECT * FROM creators WHERE platform = ? ORDER BY id", (platform,))))


def change_creator(
    conn: sqlite3.Connection, platform: str, username: str, changes: dict[str, Any]
) -> Creator | None:
    rows = conn.execute("SELECT * FROM creators WHERE platform = ? AND username = ?", (platform, username))
    found = next(_creators(rows), None)
    if found is None:
        return None
    changed = replace(found, switches=replace(found.switches, **changes))
    conn.execute(
        "UPDATE creators SET switches = ? WHERE id = ?", (json.dumps(vars(changed.switches)), found.id)
    )
    return changed


def _creators(rows: Iterable[sqlite3.Row]) -> Iterator[Creator]:
    return (
        Creator(
            row["id"],
            row["platform"],
            row["username"],
            row["display_name"],
            row["created_at"],
            replace(_defaults[row["platform"]], **json.loads(row["switches"])),
        )
        for row in rows
    )


def open_id(client_key: str, creator_id: int) -> str:
    """Stable per person and app, as on the platform."""
    return "oid-" + digest(f"{client_key}|{creator_id}")[:28]


def enter(
    conn: sqlite3.Connection,
    *,
    platform: str,
    publish_id: str,
    id: str,
    account: str,
    title: str,
    bytes: int,
    sha256: str,
    at: float,
    kind: str,
    rejected: str | None = None,
    draft: bool = False,
) -> None:
    """Note a post this world has seen. The same content again under another `publish_id` is another row.

    `account` is the creator's username. `rejected` is the reason it is not shown, `draft` a post that waits
    for its person; both are listed apart.
    """
    conn.execute(
        "INSERT INTO ledger (platform, publish_id, id, account, title, bytes, sha256, at, kind, rejected, draft)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (platform, publish_id, id, account, title, bytes, sha256, at, kind, rejected, draft),
    )


def reject(conn: sqlite3.Connection, publish_id: str, reason: str) -> None:
    """The post is not, or no longer, shown: the ledger lists it apart."""
    conn.execute("UPDATE ledger SET rejected = ? WHERE publish_id = ?", (reason, publish_id))


def fact(probed: Any, name: str) -> Any:
    """One fact of a file, whether `probe` gave a mapping or an object; None when it is not known."""
    return probed.get(name) if isinstance(probed, Mapping) else getattr(probed, name, None)


def count_call(conn: sqlite3.Connection, platform: str, step: str) -> None:
    conn.execute(
        "INSERT INTO calls VALUES (?, ?, 1) ON CONFLICT (platform, step) DO UPDATE SET count = count + 1",
        (platform, step),
    )


def within_limit(conn: sqlite3.Connection, key: str, most: int, at: float, window_s: float = 60) -> bool:
    """Take a place in the sliding window of `key`, or say that it is full. Refused calls take no place."""
    conn.execute("DELETE FROM allowed WHERE key = ? AND at <= ?", (key, at - window_s))
    (taken,) = conn.execute("SELECT count(*) FROM allowed WHERE key = ?", (key,)).fetchone()
    if taken >= most:
        return False
    conn.execute("INSERT INTO allowed VALUES (?, ?)", (key, at))
    return True
