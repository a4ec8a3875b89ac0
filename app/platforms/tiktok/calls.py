"""One call to TikTok: sent, read, counted and told. Knows TikTok's two ways of saying no; decides nothing.

All calls but OAuth answer `{data, error: {code, message}}`, where only the code `ok` is success, whatever the
HTTP status says. OAuth answers a flat `{error, error_description}`, mostly with HTTP 200 (sheet, section 0).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from app import http
from app.platforms import calls
from app.platforms.base import App, Grant, OnCall
from app.platforms.calls import READ_S, UNREADABLE
from app.platforms.tiktok import errors

JSON = {"Content-Type": "application/json; charset=UTF-8"}
T = TypeVar("T")
Reader = Callable[[http.Answer], None]


async def ask(
    app: App,
    grant: Grant,
    step: str,
    path: str,
    *,
    method: str = "POST",
    json: Any = None,
    params: Mapping[str, str] | None = None,
    on_call: OnCall | None = None,
) -> dict[str, Any]:
    """Call with the account's token; gives `data` of the answer. Raises what the table of errors says."""
    bearer = {"Authorization": f"Bearer {grant.token}"}
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
    """Await one call to TikTok and tell of it once."""
    return await calls.told(
        errors.TABLE, step, method, url, sent, read, on_call, body_is_secret=body_is_secret
    )


def _enveloped(answer: http.Answer) -> dict[str, Any]:
    said = calls.mapping(errors.TABLE, answer)
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
    said = calls.mapping(errors.TABLE, answer)
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
