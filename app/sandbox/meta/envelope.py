"""Meta's way of saying no, and of telling how much of its limits is used. Facebook sheet, sections 4 and 5."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MOST_BODY_BYTES = 1024 * 1024
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
# What each code is called; anything else is an OAuthException, as on the platform.
TYPES = {1: "OAuthException", 100: "OAuthException", 803: "GraphMethodException"}


class Problem(Exception):
    """A refusal. `error_data` goes out as an object, or as its JSON text when it is given as text."""

    def __init__(
        self,
        code: int,
        message: str,
        subcode: int | None = None,
        *,
        status: int = 400,
        transient: bool = False,
        title: str = "",
        words: str = "",
        error_data: Any = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.subcode, self.status = code, message, subcode, status
        self.transient, self.title, self.words, self.error_data = transient, title, words, error_data

    def answer(self, headers: Mapping[str, str] | None = None) -> Response:
        error: dict[str, Any] = {
            "message": self.message,
            "type": TYPES.get(self.code, "OAuthException"),
            "code": self.code,
            "is_transient": self.transient,
            "fbtrace_id": trace_id(),
        }
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.title:
            error |= {"error_user_title": self.title, "error_user_msg": self.words}
        if self.error_data is not None:
            error["error_data"] = self.error_data
        return said({"error": error}, self.status, headers)


def invalid(message: str, subcode: int | None = None) -> Problem:
    """A parameter is wrong or missing."""
    return Problem(100, f"(#100) {message}", subcode)


def unknown_object(name: str) -> Problem:
    return Problem(
        100,
        f"Unsupported request. Object with ID '{name}' does not exist, cannot be loaded due to missing permissions, "
        "or does not support this operation.",
        33,
    )


def no_permission(scope: str) -> Problem:
    return Problem(200, f"(#200) Requires {scope} permission to manage the object.", status=403)


def dead_token(subcode: int | None) -> Problem:
    """The words of each kind of death; None for a string that never was a token."""
    messages = {
        None: "Invalid OAuth access token - Cannot parse access token.",
        458: "Error validating access token: The user has not authorized the application.",
        459: "Error validating access token: The user is enrolled in a blocking, logged-in checkpoint.",
        460: "Error validating access token: The session has been invalidated because the user changed their "
        "password or Facebook has changed the session for security reasons.",
        463: "Error validating access token: Session has expired. The current time is unknown.",
        464: "Error validating access token: Sessions for the user are not allowed because the user is not a "
        "confirmed user.",
        467: "Error validating access token: This may be because the user logged out or may be due to a system error.",
        492: "Error validating access token: The user does not have the appropriate role on the Page.",
    }
    return Problem(190, messages.get(subcode, messages[467]), subcode, status=400 if subcode else 401)


def trace_id() -> str:
    return "A" + secrets.token_urlsafe(8)


def said(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(
        body, status, {"cache-control": "no-store", "facebook-api-version": "v26.0", **(headers or {})}
    )


def upload_problem(kind: str, message: str, *, retriable: bool, status: int = 400) -> Response:
    """The upload host's own form of a refusal."""
    return said({"debug_info": {"retriable": retriable, "type": kind, "message": message}}, status)


async def fields_of(request: Request) -> dict[str, str]:
    """Everything the caller sent, from query and body: JSON, form, or none. Text stays text, the rest is JSON text.

    Raises Problem for a body that is too large or cannot be read. Not for multipart and raw bytes.
    """
    found = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise invalid("The request is too large.")
    if not body:
        return found
    if kind == "application/json":
        try:
            sent = json.loads(body)
        except ValueError:
            raise invalid("The body is not valid JSON.") from None
        if not isinstance(sent, dict):
            raise invalid("The body must be a JSON object.")
        return found | {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in sent.items()
        }
    if kind == "application/x-www-form-urlencoded":
        pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        return found | dict(pairs)
    raise invalid(f"A body of type {kind or 'unknown'} cannot be read here.")


def token_of(headers: Headers, fields: Mapping[str, str] | None = None) -> str:
    """The caller's token: header (Bearer or OAuth) before the field `access_token`; empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme in ("Bearer", "OAuth") and token:
        return token.strip()
    return (fields or {}).get("access_token", "")


def uploader_of(headers: Headers) -> str:
    """The token on the upload host, which takes it as `Authorization: OAuth` only."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme == "OAuth" else ""


@dataclass(frozen=True)
class Limit:
    """A limit of calls: counted under `key` in `allowed`, at most `most` in any `window_s`."""

    key: str
    most: int
    window_s: float

    def take(self, conn: sqlite3.Connection, at: float) -> float:
        """Count this call and give the percent used, it included. Past 100 the call is refused, yet counted."""
        conn.execute("DELETE FROM allowed WHERE key = ? AND at <= ?", (self.key, at - self.window_s))
        conn.execute("INSERT INTO allowed VALUES (?, ?)", (self.key, at))
        (taken,) = conn.execute("SELECT count(*) FROM allowed WHERE key = ?", (self.key,)).fetchone()
        return 100.0 * float(taken) / self.most if self.most else 101.0

    def minutes_left(self, conn: sqlite3.Connection, at: float) -> int:
        """Whole minutes until the oldest counted call leaves the window."""
        (oldest,) = conn.execute("SELECT min(at) FROM allowed WHERE key = ?", (self.key,)).fetchone()
        return max(1, -int(-((oldest or at) + self.window_s - at) // 60))


def app_usage(percent: float) -> dict[str, str]:
    """`X-App-Usage`, in whole percent."""
    return {
        "x-app-usage": json.dumps(
            {"call_count": int(percent), "total_time": int(percent / 2), "total_cputime": int(percent / 3)}
        )
    }


def account_usage(remote_id: str, kind: str, percent: float, minutes: int = 0) -> dict[str, str]:
    """`X-Business-Use-Case-Usage` for one account; `minutes` only once its calls are refused."""
    limit = {
        "type": kind,
        "call_count": int(percent),
        "total_cputime": int(percent / 3),
        "total_time": int(percent / 2),
        "estimated_time_to_regain_access": minutes,
    }
    return {"x-business-use-case-usage": json.dumps({remote_id: [limit]})}


def app_full() -> Problem:
    return Problem(4, "(#4) Application request limit reached", transient=True)


def account_full(code: int) -> Problem:
    """32 and 80001 for Pages, 80002 for Instagram."""
    return Problem(
        code,
        f"(#{code}) There have been too many calls to this account. Wait a bit and try again.",
        2446079 if code >= 80000 else None,
        transient=True,
    )
