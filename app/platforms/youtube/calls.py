"""One call to YouTube or Google: sent, read, counted and told. Decides nothing.

The API answers JSON, and no in one shape (`error.errors[0].reason`); the token endpoint answers flat (sheet,
sections 2.2 and 5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from app import http
from app.platforms import calls
from app.platforms.base import App, Grant, OnCall
from app.platforms.calls import READ_S
from app.platforms.youtube import errors

T = TypeVar("T")


def bearer(grant: Grant) -> dict[str, str]:
    return {"Authorization": f"Bearer {grant.token}"}


async def ask(
    app: App,
    grant: Grant,
    step: str,
    path: str,
    params: Mapping[str, str],
    *,
    on_call: OnCall | None = None,
) -> dict[str, Any]:
    """Read something of the Data API with the account's token. Raises what the table of errors says."""
    url = app.api_base + path
    sent = http.request("GET", url, headers=bearer(grant), params=params, timeout_s=READ_S)
    return await told(step, "GET", url, sent, said, on_call)


async def ask_oauth(
    app: App,
    step: str,
    path: str,
    fields: Mapping[str, str],
    *,
    meanings: Mapping[str, str] = MappingProxyType({}),
    on_call: OnCall | None = None,
) -> dict[str, Any]:
    """Send a form to the token host; gives the flat answer.

    `meanings` gives a code of Google the row of the table that it stands for in this step.
    """
    url = app.bases["token"] + path
    sent = http.request("POST", url, form=fields, timeout_s=READ_S)

    def read(answer: http.Answer) -> dict[str, Any]:
        if answer.status >= 400:
            raise errors.refusal(answer, oauth=meanings)
        return calls.mapping(errors.TABLE, answer) if answer.body.strip() else {}

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
    """Await one call to YouTube and tell of it once."""
    return await calls.told(
        errors.TABLE, step, method, url, sent, read, on_call, body_is_secret=body_is_secret
    )


def said(answer: http.Answer) -> dict[str, Any]:
    """The JSON of a success; the error of anything else."""
    if answer.status >= 400:
        raise errors.refusal(answer)
    return calls.mapping(errors.TABLE, answer)
