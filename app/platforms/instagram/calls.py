"""One call to Instagram: on the host of the account's own way of signing in, read and told. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app import http
from app.errors import HouseError
from app.platforms import calls
from app.platforms.base import App, Grant, Kind, OnCall
from app.platforms.instagram.errors import LOST_WORDS, TABLE
from app.platforms.meta import graph, usage

# reliability.md, section 2, step 4: the irreversible call ends within 60 s.
LAST_S = 60.0
FACEBOOK = "facebook"


def login_of(app: App) -> str:
    """The way in which new accounts are connected."""
    return FACEBOOK if app.auth_base == app.bases["facebook_auth"] else "instagram"


def is_facebook(grant: Grant) -> bool:
    """Whether this account was connected through a Page."""
    return grant.facts.get("login") == FACEBOOK


def root(app: App, grant: Grant) -> str:
    """The host, with the version, that answers for this account."""
    return f"{app.bases['facebook_api' if is_facebook(grant) else 'api']}/{app.version}"


async def ask(
    app: App,
    grant: Grant,
    step: str,
    path: str,
    *,
    method: str = "GET",
    params: Mapping[str, str] | None = None,
    json: Any = None,
    irreversible: bool = False,
    meanings: Mapping[str, str] = graph.RENEWABLE,
    on_call: OnCall | None = None,
) -> dict[str, Any]:
    """Call with the account's token; gives the object that was answered. Raises what the table of errors says."""
    url = f"{root(app, grant)}/{path}"
    sent = http.request(
        method,
        url,
        headers={"Authorization": f"Bearer {grant.token}"},
        params=params,
        json=json,
        timeout_s=LAST_S if irreversible else calls.READ_S,
        irreversible=irreversible,
    )

    def read(answer: http.Answer) -> dict[str, Any]:
        return _read(answer, meanings, irreversible)

    return await calls.told(TABLE, step, method, url, sent, read, on_call, usage_of=usage.told)


def _read(answer: http.Answer, meanings: Mapping[str, str], irreversible: bool) -> dict[str, Any]:
    try:
        return graph.said(TABLE, answer, meanings=meanings, irreversible=irreversible)
    except HouseError as error:
        said = answer.text.lower() if 400 <= answer.status < 500 else ""
        code = next((code for words, code in LOST_WORDS.items() if words in said), None)
        if code is None or TABLE.verdict(error.code).kind is Kind.AUTHORISATION_LOST:
            raise
        raise TABLE.error(code) from error


async def ask_tokens(
    step: str,
    method: str,
    url: str,
    *,
    token: str = "",
    params: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    meanings: Mapping[str, str] = MappingProxyType({}),
    on_call: OnCall | None = None,
) -> dict[str, Any]:
    """Call an address that gives tokens; a good answer is told to nobody."""
    return await graph.ask(
        TABLE,
        step,
        method,
        url,
        token=token,
        params=params,
        form=form,
        meanings=meanings,
        body_is_secret=True,
        on_call=on_call,
    )
