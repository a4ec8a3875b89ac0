"""Failed sign-ins: after 5 for an account or 20 from an address within 15 minutes comes a wait that doubles.

The first wait is one minute, the longest an hour (the figures of the first sentence: reliability, section 7;
the waits are ours). Accounts are counted by the address that was typed, so unknown ones are treated the same;
only its digest is kept, as people type passwords into the wrong field.
"""

from __future__ import annotations

import hashlib
import math

from app import db
from app.errors import Refused

ACCOUNT_MOST, ADDRESS_MOST = 5, 20
WINDOW_S = 900
LONGEST_WAIT_S = 3600
# Failures kept of a key: enough to reach the longest wait by doubling.
KEPT_BEYOND = 7
Keys = dict[str, int]


def account_key(email: str) -> Keys:
    return {f"account:{hashlib.sha256(email.encode()).hexdigest()}": ACCOUNT_MOST}


def address_key(address: str) -> Keys:
    return {f"address:{address}": ADDRESS_MOST} if address else {}


async def wait_s(conn: db.Conn, keys: Keys) -> int | None:
    """Whole seconds until one of these may try again; None when they may now."""
    left = await db.value(
        conn,
        """
        SELECT extract(epoch FROM max(blocked_until) - clock_timestamp())::float8
          FROM sign_in_failures
         WHERE key = ANY (%s) AND blocked_until > clock_timestamp()""",
        [list(keys)],
    )
    return None if left is None else max(1, math.ceil(left))


async def refuse_waiting(conn: db.Conn, keys: Keys) -> None:
    """Refused (429, `too_many_failures`) while one of these has to wait."""
    left_s = await wait_s(conn, keys)
    if left_s is not None:
        minutes = math.ceil(left_s / 60)
        raise Refused(
            f"Too many failed sign-ins. Try again in {minutes} minute{'' if minutes == 1 else 's'}.",
            code="too_many_failures",
            status=429,
            after_s=left_s,
        )


async def note(conn: db.Conn, keys: Keys) -> None:
    """Count a failure for each key. A failure soon after a wait goes on doubling; a quiet quarter forgets all."""
    await conn.execute(
        """
        INSERT INTO sign_in_failures AS kept (key, failed_at)
        SELECT key, ARRAY[clock_timestamp()] FROM unnest(%(keys)s::text[]) AS key ORDER BY key
            ON CONFLICT (key) DO UPDATE
           SET failed_at = (
                   SELECT coalesce(array_agg(at ORDER BY at), '{}')
                     FROM unnest(kept.failed_at[greatest(1, cardinality(kept.failed_at) - %(kept)s):]) AS at
                    WHERE greatest(at, kept.blocked_until)
                          > clock_timestamp() - make_interval(secs => %(window_s)s)
               ) || clock_timestamp()""",
        {
            "keys": list(keys),
            "kept": max(keys.values(), default=0) + KEPT_BEYOND,
            "window_s": WINDOW_S,
        },
    )
    # A second statement, as one cannot change the same row twice; the first one holds the rows.
    await conn.execute(
        """
        UPDATE sign_in_failures AS kept
           SET blocked_until = clock_timestamp() + make_interval(
                   secs => least(%(longest_s)s, 60 * power(2, cardinality(failed_at) - given.most)))
          FROM unnest(%(keys)s::text[], %(most)s::int[]) AS given (key, most)
         WHERE kept.key = given.key AND cardinality(failed_at) >= given.most""",
        {"keys": list(keys), "most": list(keys.values()), "longest_s": LONGEST_WAIT_S},
    )


async def clear(conn: db.Conn, keys: Keys) -> None:
    """Forget the failures of a key, e.g. of an account whose owner has just signed in."""
    await conn.execute("DELETE FROM sign_in_failures WHERE key = ANY (%s)", [list(keys)])


async def forget_failures(conn: db.Conn) -> int:
    """Remove keys that nothing depends on any more; gives how many. For upkeep; harmless twice."""
    return await db.run(
        conn,
        """
        DELETE FROM sign_in_failures
         WHERE greatest(failed_at[cardinality(failed_at)], blocked_until)
               < clock_timestamp() - make_interval(secs => %s)""",
        [WINDOW_S],
    )
