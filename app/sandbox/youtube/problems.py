"""How this platform says no: one JSON shape for the API, a flat one for OAuth (sections 2.2 and 5)."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

QUIET = {"cache-control": "no-store"}
# The word that newer front ends put beside the number.
WORDS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
         429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip


class Problem(Exception):
    """A no of the Data API."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        domain: str = "youtube.video",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message
        self.domain, self.headers = domain, headers or {}

    def answer(self) -> Response:
        said: dict[str, Any] = {
            "code": self.status,
            "message": self.message,
            "errors": [{"message": self.message, "domain": self.domain, "reason": self.reason}],
        }
        if self.status in WORDS:
            said["status"] = WORDS[self.status]
        return JSONResponse({"error": said}, self.status, headers=QUIET | self.headers)


class OAuthProblem(Exception):
    """A no of the token endpoint."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status

    def answer(self) -> Response:
        said = {"error": self.error, "error_description": self.description}
        return JSONResponse(said, self.status, headers=QUIET)


def unauthorized() -> Problem:
    return Problem(401, "authError", "Invalid Credentials", domain="global")


def not_allowed() -> Problem:
    return Problem(
        403,
        "insufficientPermissions",
        "Request had insufficient authentication scopes.",
        domain="global",
    )


def used_up(bucket: str) -> Problem:
    """Section 0: the upload bucket answers 429 and names its metric, the units 403."""
    if bucket == "uploads":
        return Problem(
            429,
            "rateLimitExceeded",
            "Quota exceeded for quota metric 'Video Uploads' and limit 'Video Uploads per day' of service "
            "'youtube.googleapis.com' for consumer 'project_number:100200300400'.",
            domain="usageLimits",
        )
    return Problem(
        403,
        "quotaExceeded",
        "The request cannot be completed because you have exceeded your quota.",
        domain="youtube.quota",
    )


def backend(retry_after_s: float = 0.0) -> Problem:
    headers = {"retry-after": str(int(retry_after_s))} if retry_after_s else {}
    return Problem(503, "backendError", "Backend Error", domain="global", headers=headers)


def too_fast() -> Problem:
    return Problem(429, "rateLimitExceeded", "Too many requests. Please slow down.", domain="usageLimits")


def no_video() -> Problem:
    return Problem(404, "videoNotFound", "The video identified by the request cannot be found.")
