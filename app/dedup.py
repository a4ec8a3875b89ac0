"""A request sent twice: the first answer is kept and given again. And what was seen before is not done again.

The table `request_keys` is the only truth. `Seen` in this process and Redis, where there is one, only spare
questions to the database: they are told of a key after it was committed, so with or without them the answers are
the same. An entry lives 24 hours.
"""

from __future__ import annotations

import hashlib
import importlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from app import config, log
from app.errors import Refused, Retryable

MOST_ENTRIES = 10_000
LIFE_S = 86_400
LONGEST_KEY = 255
REDIS_LIMIT_S = 0.5
# No request key holds this sign, so what `first` keeps never meets one.
SEEN = "·"


@dataclass(frozen=True)
class Kept:
    """The first answer to a request: its status and its JSON body."""

    status: int
    answer: Any


class Seen:
    """Keys seen lately in this process: at most `max_entries`, the least used forgotten first, each for `ttl_s`."""

    def __init__(
        self,
        max_entries: int = MOST_ENTRIES,
        ttl_s: float = LIFE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._ttl_s, self._clock = max_entries, ttl_s, clock
        self._ends: OrderedDict[str, float] = OrderedDict()

    def add(self, key: str) -> None:
        """Remember the key from now on; a key that is there starts anew."""
        self._ends.pop(key, None)
        self._ends[key] = self._clock() + self._ttl_s
        if len(self._ends) > self._most:
            self._ends.popitem(last=False)

    def __contains__(self, key: str) -> bool:
        ends = self._ends.get(key)
        if ends is None:
            return False
        if ends <= self._clock():
            del self._ends[key]
            return False
        self._ends.move_to_end(key)
        return True

    def __len__(self) -> int:
        return len(self._ends)


async def claim(
    conn: AsyncConnection[Any], workspace_id: int, key: str, request_sha256: bytes
) -> Kept | None:
    """None when this is the first request with the key: do the work, then `keep` its answer, all in one transaction.

    Else the first answer. Two at once: the second waits for the first one's transaction; it gets its answer, or
    its turn when that was rolled back. Refused (`idempotency_key_reused`) for another body under the same key;
    Retryable (`request_in_progress`) when the first takes longer than the lock timeout. A claim that was committed
    without an answer is taken over.
    """
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Refused(
            "An idempotency key has 1 to 255 printable ASCII characters.", code="bad_idempotency_key"
        )
    if await _insert(conn, workspace_id, key, request_sha256):
        return None
    # The conflicting row is locked by the insert, whatever it decided.
    found = await conn.cursor(row_factory=tuple_row).execute(
        """
        SELECT request_sha256, status, answer
          FROM request_keys
         WHERE workspace_id = %(workspace_id)s AND key = %(key)s""",
        {"workspace_id": workspace_id, "key": key},
    )
    [(sha256, status, answer)] = await found.fetchall()
    if bytes(sha256) != request_sha256:
        raise Refused(
            "This idempotency key was used for another request: choose a new one.",
            code="idempotency_key_reused",
            status=422,
        )
    return Kept(status, answer)


async def keep(conn: AsyncConnection[Any], workspace_id: int, key: str, status: int, answer: Any) -> None:
    """Keep the answer of the request that `claim` let through, in the same transaction."""
    await conn.execute(
        """
        UPDATE request_keys
           SET status = %(status)s, answer = %(answer)s
         WHERE workspace_id = %(workspace_id)s AND key = %(key)s""",
        {"workspace_id": workspace_id, "key": key, "status": status, "answer": Jsonb(answer)},
    )


async def once(
    conn: AsyncConnection[Any],
    workspace_id: int,
    key: str,
    request_sha256: bytes,
    work: Callable[[], Awaitable[Kept]],
) -> Kept:
    """The first answer to this request: from `work`, which uses the same transaction, or kept from before."""
    if (before := await claim(conn, workspace_id, key, request_sha256)) is not None:
        return before
    answer = await work()
    await keep(conn, workspace_id, key, answer.status, answer.answer)
    return answer


async def first(conn: AsyncConnection[Any], workspace_id: int, key: str) -> bool:
    """Whether this is the first time in 24 hours that the key is met: true for exactly one committed transaction.

    Call `remember` after the commit: it makes the next question cheap and changes no answer.
    """
    if await _seen(_name(workspace_id, key)):
        return False
    return await _insert(conn, workspace_id, SEEN + _digest(key).hex(), _digest(key), answered=True)


async def remember(workspace_id: int, key: str) -> None:
    """Tell the caches of a key whose transaction is committed. Never before that: a rollback takes the key back."""
    name = _name(workspace_id, key)
    _lately.add(name)
    if (redis := _redis()) is not None:
        await redis.tell(name)


async def forget_old(conn: AsyncConnection[Any], most: int = MOST_ENTRIES, life_s: float = LIFE_S) -> int:
    """Delete entries past their life, and a workspace's oldest beyond `most`; how many. For upkeep; harmless twice."""
    gone = await conn.execute(
        """
        DELETE FROM request_keys AS old
         USING (SELECT workspace_id, key, created_at,
                       row_number() OVER (PARTITION BY workspace_id ORDER BY created_at DESC, key) AS place
                  FROM request_keys) AS ranked
         WHERE old.workspace_id = ranked.workspace_id AND old.key = ranked.key
           AND (ranked.place > %(most)s OR ranked.created_at <= now() - make_interval(secs => %(life_s)s))""",
        {"most": most, "life_s": life_s},
    )
    return gone.rowcount


async def _insert(
    conn: AsyncConnection[Any], workspace_id: int, key: str, request_sha256: bytes, *, answered: bool = False
) -> bool:
    """Whether the key is ours now: new, past its life, or left without an answer."""
    try:
        made = await conn.execute(
            """
            INSERT INTO request_keys AS old (workspace_id, key, request_sha256, status, created_at)
            VALUES (%(workspace_id)s, %(key)s, %(sha256)s, %(status)s, now())
            ON CONFLICT (workspace_id, key) DO UPDATE
               SET request_sha256 = excluded.request_sha256, status = excluded.status, answer = NULL,
                   created_at = excluded.created_at
             WHERE old.status IS NULL OR old.created_at <= now() - make_interval(secs => %(life_s)s)""",
            {
                "workspace_id": workspace_id,
                "key": key,
                "sha256": request_sha256,
                "status": 200 if answered else None,
                "life_s": LIFE_S,
            },
        )
    except LockNotAvailable as error:
        raise Retryable(
            "The first of these requests is still being worked on.", code="request_in_progress", after_s=2
        ) from error
    return made.rowcount == 1


class Redis:
    """Keys seen lately by any process. Off for good, with one warning, at the first trouble."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._off = False

    async def tell(self, name: str) -> None:
        await self._ask("set", name, "1", ex=LIFE_S)

    async def knows(self, name: str) -> bool:
        return bool(await self._ask("exists", name))

    async def _ask(self, command: str, *given: Any, **options: Any) -> Any:
        if self._off:
            return None
        try:
            return await getattr(self._client, command)(*given, **options)
        # The library raises its own errors, the socket's and the event loop's; all of them mean: do without.
        except Exception as error:
            self._off = True
            log.warning("redis is off: it cannot be used", reason=type(error).__name__)
            return None


_lately = Seen()
_opened: tuple[config.Config, Redis | None] | None = None


def _redis() -> Redis | None:
    """The accelerator of this process, made on first use; None when there is none to use."""
    global _opened
    settings = config.get()
    if _opened is None or _opened[0] is not settings:
        _opened = (settings, _make_redis(settings))
    return _opened[1]


def _make_redis(settings: config.Config) -> Redis | None:
    if not settings.redis:
        if settings.enable_redis and settings.redis_url:
            log.warning("redis is off: REDIS_URL cannot be used here")
        return None
    try:
        # Optional package, so it is imported only when asked for.
        client = importlib.import_module("redis.asyncio").from_url(
            settings.redis, socket_timeout=REDIS_LIMIT_S, socket_connect_timeout=REDIS_LIMIT_S
        )
    except (ImportError, ValueError) as error:
        log.warning("redis is off: it cannot be used", reason=type(error).__name__)
        return None
    return Redis(client)


async def _seen(name: str) -> bool:
    if name in _lately:
        return True
    redis = _redis()
    return redis is not None and await redis.knows(name)


def _name(workspace_id: int, key: str) -> str:
    return f"backlot:seen:{workspace_id}:{_digest(key).hex()}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
