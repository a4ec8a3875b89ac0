"""Armed faults: what goes wrong, where, how often. Shared by all platforms; each call of theirs asks here.

Line faults concern a call and its answer; outcome faults what becomes of a post once its last byte is in. A
fault without `times` and `rate` fires once. A fault with a `platform` leaves the others alone. Which steps and
which reasons of failure there are, each platform says itself.
"""

from __future__ import annotations

import random
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from app.sandbox.world import Platform

LINE = {
    "drop_before": "the connection is cut before anything is done",
    "drop_after": "the act is done, then the connection is cut without an answer",
    "error_before": "5xx, nothing done",
    "error_after": "the act is done, the answer is a 5xx",
    "junk_after": "the act is done, the answer is 200 with an HTML page",
    "blocked_after": "the act is done, the answer says that there were too many calls",
    "slow": "the act is done, the answer comes `seconds` later",
    "rate_limit": "429, nothing done",
    "token_expired": "the account's access tokens die: at once, or with `step` right before that call",
    "act_after_cut": "the request is read, the connection is cut, the act takes effect `seconds` later",
}
OUTCOME = {
    "fail": "the post ends FAILED with `reason`",
    "processing_delay": "processing takes `seconds` longer",
    "moderation_delay": "the public id comes `seconds` later",
}
SHORTHAND: dict[str, dict[str, str]] = {
    "internal": {"fault": "fail", "reason": "internal"},
    "spam_risk_text": {"fault": "fail", "reason": "spam_risk_text"},
    "stored_no_answer": {"fault": "drop_after", "step": "upload"},
}
DEFAULT_SECONDS = {
    "slow": 5.0,
    "act_after_cut": 5.0,
    "processing_delay": 30.0,
    "moderation_delay": 30.0,
}


class BadFault(ValueError):
    """The fault asked for does not exist or says something that cannot be."""


@dataclass(frozen=True)
class Fault:
    fault: str
    step: str = "any"
    account: str | None = None
    remaining: int | None = 1
    rate: float | None = None
    seed: str = "0"
    seconds: float = 0.0
    reason: str | None = None
    platform: str | None = None
    id: int = 0
    seen: int = 0
    fired: int = 0

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def steps_of(platforms: Iterable[Platform]) -> tuple[str, ...]:
    """The calls a fault may hit: those of all these platforms, each name once."""
    return tuple(dict.fromkeys(["any", *(step for each in platforms for step in each.STEPS)]))


def wanted(body: Any, platforms: tuple[Platform, ...]) -> Fault:
    """The fault a tester asks for, checked; raises BadFault with a sentence. Arms nothing."""
    if not isinstance(body, dict):
        raise BadFault("The body must be a JSON object.")
    unknown = set(body) - {
        "fault", "step", "times", "rate", "seed", "account", "afterS", "seconds", "reason", "platform",
    }  # fmt: skip
    if unknown:
        raise BadFault(f"Unknown field: {', '.join(sorted(unknown))}.")
    concerned = _concerned(body.get("platform"), platforms)
    body = {**body, **SHORTHAND.get(str(body.get("fault")), {})}
    fault = body.get("fault")
    if fault not in LINE and fault not in OUTCOME:
        raise BadFault(f"`fault` must be one of: {', '.join([*LINE, *OUTCOME, *SHORTHAND])}.")
    step = body.get("step") or ("now" if fault == "token_expired" else "any")
    if step not in steps_of(concerned) and step != "now":
        raise BadFault(f"`step` must be one of: {', '.join(steps_of(concerned))}.")
    times, rate = body.get("times"), body.get("rate")
    if times is not None and (type(times) is not int or times < 1):
        raise BadFault("`times` must be a whole number of at least 1.")
    if rate is not None and (not _number(rate) or not 0 <= rate <= 1):
        raise BadFault("`rate` must be between 0 and 1.")
    seconds = body.get("seconds", body.get("afterS", DEFAULT_SECONDS.get(fault, 0.0)))
    if not _number(seconds) or seconds < 0:
        raise BadFault("`seconds` (or `afterS`) must be 0 or more.")
    reasons = tuple(dict.fromkeys(reason for each in concerned for reason in each.FAIL_REASONS))
    if fault == "fail" and body.get("reason") not in reasons:
        raise BadFault(f"`reason` must be one of: {', '.join(reasons)}.")
    knowing = [each.NAME for each in concerned if body.get("reason") in each.FAIL_REASONS]
    # A reason that one platform alone knows can hit nobody else.
    platform = knowing[0] if fault == "fail" and len(knowing) == 1 else body.get("platform")
    if body.get("account") is not None and not isinstance(body["account"], str):
        raise BadFault("`account` must be a username.")
    return Fault(
        fault=fault,
        step=step,
        account=body.get("account"),
        remaining=times if times is not None else (None if rate is not None else 1),
        rate=rate,
        seed=str(body.get("seed", secrets.token_hex(8))),
        seconds=float(seconds),
        reason=body.get("reason") if fault == "fail" else None,
        platform=platform,
    )


def _concerned(name: object, platforms: tuple[Platform, ...]) -> tuple[Platform, ...]:
    found = tuple(each for each in platforms if name in (None, each.NAME))
    if not found:
        raise BadFault(f"`platform` must be one of: {', '.join(each.NAME for each in platforms)}.")
    return found


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def arm(conn: sqlite3.Connection, fault: Fault, at: float) -> Fault:
    cursor = conn.execute(
        "INSERT INTO faults (fault, step, account, remaining, rate, seed, seconds, reason, platform, armed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (fault.fault, fault.step, fault.account, fault.remaining, fault.rate, fault.seed, fault.seconds,
         fault.reason, fault.platform, at),
    )  # fmt: skip
    return next(each for each in armed(conn) if each.id == cursor.lastrowid)


def armed(conn: sqlite3.Connection) -> list[Fault]:
    rows = conn.execute(
        "SELECT id, fault, step, account, remaining, rate, seed, seconds, reason, platform, seen, fired"
        " FROM faults WHERE remaining IS NULL OR remaining > 0 ORDER BY id"
    )
    return [Fault(**dict(row)) for row in rows]


def clear(conn: sqlite3.Connection) -> int:
    return conn.execute("DELETE FROM faults").rowcount


def take_line(
    conn: sqlite3.Connection, platform: str, steps: tuple[str, ...], accounts: tuple[str, ...]
) -> Fault | None:
    """The fault that hits this call, if one does: the first armed one whose turn it is."""
    for fault in armed(conn):
        if (
            fault.fault in LINE
            and (fault.step == "any" or fault.step in steps)
            and _fires(conn, fault, platform, accounts)
        ):
            return fault
    return None


def take_outcome(conn: sqlite3.Connection, platform: str, accounts: tuple[str, ...]) -> list[Fault]:
    """Every fault that hits the post now complete."""
    return [each for each in armed(conn) if each.fault in OUTCOME and _fires(conn, each, platform, accounts)]


def _fires(conn: sqlite3.Connection, fault: Fault, platform: str, accounts: tuple[str, ...]) -> bool:
    if fault.platform not in (None, platform):
        return False
    if fault.account is not None and fault.account not in accounts:
        return False
    # The nth call of a seed always falls out the same, whichever process serves it.
    fires = fault.rate is None or random.Random(f"{fault.seed}/{fault.seen}").random() < fault.rate
    conn.execute(
        "UPDATE faults SET seen = seen + 1, fired = fired + ?, remaining = remaining - ? WHERE id = ?",
        (fires, fires, fault.id),
    )
    return fires
