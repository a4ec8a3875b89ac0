"""One call to a platform: awaited, read, counted and told. Knows no platform; decides nothing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from app import http, log, metrics
from app.errors import HouseError, Retryable, Unsure
from app.platforms.answers import Table
from app.platforms.base import Call, OnCall, Usage

READ_S = 20.0
LONGEST_BODY = 2000
UNREADABLE = "unreadable_answer"
T = TypeVar("T")
# What an answer's headers tell of limits; must not raise.
UsageOf = Callable[[http.Answer], tuple[Usage, ...]]


async def told(
    table: Table,
    step: str,
    method: str,
    url: str,
    sent: Awaitable[http.Answer],
    read: Callable[[http.Answer], T],
    on_call: OnCall | None,
    *,
    body_is_secret: bool = False,
    usage_of: UsageOf | None = None,
) -> T:
    """Await one call, read its answer, and tell of it once, whatever happened: the metric and `on_call`."""
    begun = time.monotonic()
    answer: http.Answer | None = None
    outcome = "interrupted"
    try:
        answer = await _answered(table, sent)
        result = read(answer)
        outcome = "ok"
        return result
    except HouseError as error:
        outcome = error.code
        raise
    finally:
        kind = outcome if outcome in ("ok", "interrupted") else str(table.verdict(outcome).kind)
        metrics.outside_calls.labels(platform=table.platform, step=step, outcome=kind).inc()
        if on_call is not None:
            shown = answer is not None and not (body_is_secret and outcome == "ok")
            on_call(
                Call(
                    step=step,
                    method=method,
                    path=urlsplit(url).path,
                    status=answer.status if answer else None,
                    seconds=round(time.monotonic() - begun, 3),
                    body_redacted=log.redact(answer.text)[:LONGEST_BODY] if answer and shown else "",
                    outcome=outcome,
                    usage=usage_of(answer) if answer and usage_of else (),
                )
            )


async def _answered(table: Table, sent: Awaitable[http.Answer]) -> http.Answer:
    """The answer, or a fault of the line in the platform's table; failures of our own body come as they are."""
    try:
        return await sent
    except Unsure as error:
        raise table.error("answer_lost") from error
    except Retryable as error:
        if error.code == "not_reached":
            raise table.error("not_reached") from error
        if error.code == "answer_lost":
            raise table.error("no_answer") from error
        raise


def mapping(table: Table, answer: http.Answer) -> dict[str, Any]:
    """The answer's JSON object; the error of a page or of anything else in its place."""
    try:
        said = answer.json()
    except Retryable as error:
        raise unreadable(table, answer) from error
    if not isinstance(said, dict):
        raise unreadable(table, answer)
    return said


def unreadable(table: Table, answer: http.Answer) -> HouseError:
    return table.classify(answer.status, "", "") if answer.status >= 400 else table.error(UNREADABLE)
