"""Hashing of passwords: Argon2id, in a thread, at most two at once in a process (reliability, section 7).

Argon2 stands for the scrypt named there: at the cost used it is stronger (RFC 9106, section 4, the second
recommended choice: 64 MiB, 3 passes).
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import CHEAPEST as CHEAP
from argon2.profiles import RFC_9106_LOW_MEMORY as STRONG

from app.errors import Retryable

__all__ = ["CHEAP", "STRONG", "hashed", "is_outdated", "matches", "turn", "use"]

AT_ONCE = 2
# Some ten seconds of work; whoever comes later is better told so at once.
MOST_WAITING = 100


@dataclass
class _Line:
    """Who hashes and who waits, in one event loop."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    inside: int = 0


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
_hasher = PasswordHasher.from_parameters(STRONG)


def use(profile: Parameters) -> None:
    """Hash with another profile from now on: tests take CHEAP. What was hashed before is still understood."""
    global _hasher
    _hasher = PasswordHasher.from_parameters(profile)


@asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """A place among those who may hash now. Retryable (`busy`) when too many wait already."""
    line = _lines.setdefault(asyncio.get_running_loop(), _Line())
    if line.inside >= MOST_WAITING:
        raise Retryable("Too many people are signing in right now.", code="busy", after_s=10)
    line.inside += 1
    try:
        async with line.places:
            yield
    finally:
        line.inside -= 1


async def hashed(password: str) -> str:
    """What is kept of a password. Call it inside a `turn`."""
    return await asyncio.to_thread(_hasher.hash, password)


async def matches(kept: str | None, password: str) -> bool:
    """Whether this is the password that was kept. None takes the same time and is always false."""
    return await asyncio.to_thread(_verify, kept or _nobodys(), password)


def is_outdated(kept: str) -> bool:
    """Whether it was hashed with another profile than today's."""
    return _hasher.check_needs_rehash(kept)


def _verify(kept: str, password: str) -> bool:
    try:
        return _hasher.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def _nobodys() -> str:
    """A hash that no password gives, and that costs as much to check as a real one."""
    salt, digest = (
        base64.b64encode(os.urandom(length)).rstrip(b"=").decode()
        for length in (_hasher.salt_len, _hasher.hash_len)
    )
    cost = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${digest}"
