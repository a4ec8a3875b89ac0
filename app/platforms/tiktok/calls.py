"""One call to TikTok: sent, read, counted and told. Knows TikTok's two ways of saying no; decides nothing.

All calls but OAuth answer `{data, error: {code, message}}`, where only the code `ok` is success, whatever the
HTTP status says. OAuth answers a flat `{error, error_description}`, mostly with HTTP 200 (sheet, section 0).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from app import http, log, metrics
from app.errors import HouseError, Retryable, Unsure
from app.platforms.base import App, Call, OnCall
from app.platforms.tiktok import errors

JSON = {"Content-Type": "application/json; charset=UTF-8"}
READ_S = 20.0
LONGEST_BODY = 2000
UNREADABLE = "unreadable_answer"
T = TypeVar("T")
Reader = Callable[[http.Answer], None]


async def ask(
    app: App,
    token: str,
    step: str,
    path: str,
    *,
    method: str = "POST",
    json: Any = None,
    params: Mapping[str, str] | None = None,
    on_call: OnCall | None = None,
) -> dict[str, Any]:
    """Call with the account's token; gives `data` of the answer. Raises what the table of errors says."""
    bearer = {"Authorization": f"Bearer {token}"}
    url = app.api_base + path
    sent = http.request(
        method,
        url,
        headers=bearer | (JSON if method == "POST" else {}),
        params=params,
        json=({} if json is None else json) if method == "POST" else None,
        timeout_s=READ_S,
    )
    return await told(step, method, url, sent, _enveloped, on_call)


async def ask_oauth(
    app: App,
    step: str,
    path: str,
    fields: Mapping[str, str],
    *,
    meanings: Mapping[str, str] = MappingProxyType({}),
    on_call: OnCall | None = None,
) -> dict[str, Any]:
    """Call an OAuth address with our own key and secret added to `fields`; gives the flat answer.

    `meanings` gives a code of TikTok the row of the table that it stands for in this step.
    """
    url = app.api_base + path
    form = {"client_key": app.client_key, "client_secret": app.client_secret, **fields}
    sent = http.request("POST", url, form=form, timeout_s=READ_S)

    def read(answer: http.Answer) -> dict[str, Any]:
        return _flat(answer, meanings)

    # A good answer is nothing but tokens, so none of it is told.
    return await told(step, "POST", url, sent, read, on_call, body_is_secret=True)


async def told(
    step: str,
    method: str,
    url: str,
    sent: Awaitable[http.Answer],
    read: Callable[[http.Answer], T],
    on_call: OnCall | None,
    *,
    body_is_secret: bool = False,
) -> T:
    """Await one call, read its answer, and tell of it once, whatever happened: the metric and `on_call`."""
    begun = time.monotonic()
    answer: http.Answer | None = None
    outcome = "interrupted"
    try:
        answer = await _answered(sent)
        result = read(answer)
        outcome = "ok"
        return result
    except HouseError as error:
        outcome = error.code
        raise
    finally:
        kind = outcome if outcome in ("ok", "interrupted") else str(errors.verdict(outcome).kind)
        metrics.outside_calls.labels(platform="tiktok", step=step, outcome=kind).inc()
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
                )
            )


async def _answered(sent: Awaitable[http.Answer]) -> http.Answer:
    """The answer, or a fault of the line in TikTok's table; failures of our own body come as they are."""
    try:
        return await sent
    except Unsure as error:
        raise errors.error("answer_lost") from error
    except Retryable as error:
        if error.code == "not_reached":
            raise errors.error("not_reached") from error
        if error.code == "answer_lost":
            raise errors.error("no_answer") from error
        raise


def _enveloped(answer: http.Answer) -> dict[str, Any]:
    said = _mapping(answer)
    error = said.get("error")
    if not isinstance(error, dict):
        raise errors.classify(answer.status, "", "") if answer.status >= 400 else errors.error(UNREADABLE)
    code = str(error.get("code") or "")
    if code != "ok" or answer.status >= 400:
        raise errors.classify(answer.status, "" if code == "ok" else code, str(error.get("message") or ""))
    found = said.get("data")
    return found if isinstance(found, dict) else {}


def _flat(answer: http.Answer, meanings: Mapping[str, str]) -> dict[str, Any]:
    if answer.status < 400 and not answer.body.strip():
        return {}
    said = _mapping(answer)
    error = said.get("error")
    if isinstance(error, dict):
        # A gateway in front of TikTok may answer in the other form.
        raise errors.classify(answer.status, str(error.get("code") or ""), str(error.get("message") or ""))
    if error or answer.status >= 400:
        code = str(error or "")
        raise errors.classify(
            answer.status, meanings.get(code, code), str(said.get("error_description") or "")
        )
    return said


def _mapping(answer: http.Answer) -> dict[str, Any]:
    try:
        said = answer.json()
    except Retryable as error:
        raise _unreadable(answer) from error
    if not isinstance(said, dict):
        raise _unreadable(answer)
    return said


def _unreadable(answer: http.Answer) -> HouseError:
    return errors.classify(answer.status, "", "") if answer.status >= 400 else errors.error(UNREADABLE)
