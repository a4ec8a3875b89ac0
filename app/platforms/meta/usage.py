"""How much of Meta's limits is used, read from an answer's headers. Facebook sheet, section 5."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app import http
from app.errors import HouseError, NotYet
from app.platforms.base import Usage

FULL_PERCENT = 100
# The header gives minutes; a limit that is used up without a number is waited for this long (section 5).
STOP_S = 3600.0


def told(answer: http.Answer) -> tuple[Usage, ...]:
    """The app's usage and the accounts' own, in percent of the limit; what cannot be read is left out.

    `until_s` is set when calls are refused: what the header says, else an hour once the limit is used up.
    """
    found = []
    whole = _percent(_read(answer.headers.get("x-app-usage")))
    if whole is not None:
        found.append(_usage("app", "calls", whole, 0.0))
    by_account = _read(answer.headers.get("x-business-use-case-usage"))
    for limits in by_account.values():
        for limit in limits if isinstance(limits, list) else ():
            percent = _percent(limit) if isinstance(limit, dict) else None
            if percent is not None:
                minutes = _number(limit.get("estimated_time_to_regain_access")) or 0.0
                found.append(_usage("account", str(limit.get("type") or "calls"), percent, minutes * 60))
    return tuple(found)


def waits(error: HouseError, answer: http.Answer) -> HouseError:
    """The same failure; one that asks us to wait waits as long as the headers of its answer say."""
    if isinstance(error, NotYet):
        stops = [use.until_s for use in told(answer) if use.until_s]
        if stops:
            error.after_s = max(stops)
    return error


def _usage(scope: Any, name: str, percent: float, stop_s: float) -> Usage:
    whose = "this installation" if scope == "app" else "this account"
    return Usage(
        scope=scope,
        name=name,
        percent=percent,
        until_s=stop_s or (STOP_S if percent >= FULL_PERCENT else None),
        sentence=f"{percent:g} % of the calls that Meta allows {whose} are used.",
    )


def _read(header: str | None) -> Mapping[str, Any]:
    try:
        found = json.loads(header or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _percent(limit: Mapping[str, Any]) -> float | None:
    """The fullest of the three budgets: any of them stops the calls."""
    numbers = [_number(limit.get(name)) for name in ("call_count", "total_time", "total_cputime")]
    known = [number for number in numbers if number is not None]
    return max(known) if known else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
