"""One call to a Graph host, from the bearer to the row of the platform's table.

Every refusal is an object `error` with `code` and perhaps `error_subcode`, whatever the HTTP status says
(facebook sheet, section 4). Nothing is repeated here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from json import loads
from types import MappingProxyType
from typing import Any

from app import http
from app.errors import HouseError
from app.platforms import calls
from app.platforms.answers import Table
from app.platforms.base import OnCall
from app.platforms.meta import rows, usage

# What a call with an account's token says when a renewed token may do better; the rest of 190 is final.
RENEWABLE: Mapping[str, str] = MappingProxyType(dict.fromkeys(rows.RENEW, "access_token_invalid"))
AS_THEY_ARE: Mapping[str, str] = MappingProxyType({})
# Meta's tokens begin so and may stand in the address of a next page or in a message.
_TOKENS = re.compile(
    r"\b(?:EAA|IGAA|IGQ)[\w-]{6,}|([?&](?:access_token|fb_exchange_token|input_token)=)[^&\s\"']+"
)


async def ask(
    table: Table,
    step: str,
    method: str,
    url: str,
    *,
    token: str = "",
    params: Mapping[str, str] | None = None,
    json: Any = None,
    form: Mapping[str, str] | None = None,
    content: bytes | AsyncIterator[bytes] | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    meanings: Mapping[str, str] = RENEWABLE,
    irreversible: bool = False,
    body_is_secret: bool = False,
    timeout_s: float = calls.READ_S,
    on_refusal: Callable[[Mapping[str, Any]], None] | None = None,
    on_call: OnCall | None = None,
) -> dict[str, Any]:
    """Make one call and give the JSON object that was answered; raises what the platform's table says.

    The token goes as a bearer header, an empty one not at all. `meanings` gives a row of the table the code that
    it stands for in this step; by default a dead token that may be renewed is `access_token_invalid`. Use
    `body_is_secret` where a good answer holds tokens. `on_refusal` hears Meta's whole object `error` before it is
    raised. A refusal to wait waits as long as its headers say.
    """
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    sent = http.request(
        method,
        url,
        headers={**bearer, **headers},
        params=params,
        json=json,
        form=form,
        content=content,
        timeout_s=timeout_s,
        irreversible=irreversible,
    )

    def read(answer: http.Answer) -> dict[str, Any]:
        return said(table, answer, meanings=meanings, irreversible=irreversible, on_refusal=on_refusal)

    return await calls.told(
        table,
        step,
        method,
        url,
        sent,
        read,
        on_call,
        body_is_secret=body_is_secret,
        usage_of=usage.told,
    )


def said(
    table: Table,
    answer: http.Answer,
    *,
    meanings: Mapping[str, str] = RENEWABLE,
    irreversible: bool = False,
    on_refusal: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """The answer's JSON object; raises the row of the table for a refusal, a page or anything else."""
    try:
        found = calls.mapping(table, answer)
    except HouseError as error:
        if irreversible:
            # A page in place of an answer comes from a gateway, which may or may not have passed the call on.
            raise table.error("answer_lost") from error
        raise
    refusal = found.get("error")
    if isinstance(refusal, dict):
        if on_refusal is not None:
            on_refusal(refusal)
        raise refused(table, answer, refusal, meanings=meanings, irreversible=irreversible)
    if answer.status >= 400:
        raise table.classify(answer.status, "", "", irreversible=irreversible)
    return found


def refused(
    table: Table,
    answer: http.Answer,
    refusal: Mapping[str, Any],
    *,
    meanings: Mapping[str, str] = RENEWABLE,
    irreversible: bool = False,
) -> HouseError:
    """The failure for Meta's object `error`, ready to raise; its `code` is a row of the table where one fits."""
    row = key(table, refusal)
    words = str(refusal.get("error_user_msg") or refusal.get("message") or "")
    words = _TOKENS.sub(r"\1[redacted]", words)
    error = table.classify(answer.status, meanings.get(row, row), words, irreversible=irreversible)
    return usage.waits(error, answer)


def key(table: Table, refusal: Mapping[str, Any]) -> str:
    """The row of the table for Meta's code and subcode: both, the subcode alone, the code, the code's class.

    The upload numbers stand as code in some answers and as subcode in others (facebook sheet, section 4).
    """
    code, subcode = str(refusal.get("code") or ""), str(refusal.get("error_subcode") or "")
    named: tuple[str, ...] = (f"{code}/{subcode}", f"/{subcode}", subcode) if subcode else ()
    if "client secret" in str(refusal.get("message")).lower():
        # Comes as code 1, which stands for a passing trouble everywhere else.
        return "101"
    for name in (*named, code):
        if name in table.rows:
            return name
    if code.isdigit() and int(code) in rows.PERMISSION:
        return "200"
    if refusal.get("is_transient") is True:
        return "2"
    return f"{code}/{subcode}" if subcode else code


def details(refusal: Mapping[str, Any]) -> dict[str, Any]:
    """`error_data` of a refusal, which is an object in some answers and its JSON text in others."""
    found = refusal.get("error_data")
    if isinstance(found, str):
        with suppress(ValueError):
            found = loads(found)
    return found if isinstance(found, dict) else {}
