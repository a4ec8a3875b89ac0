"""A change asked for twice under one `Idempotency-Key` is made once, and both callers get the first answer (R13)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app import db, dedup
from app.users import Who
from app.web.api.body import Answer, as_json, raw

HEADER = "idempotency-key"


async def idempotent(
    request: Request,
    who: Who,
    work: Callable[[db.Conn], Awaitable[Answer]],
    *,
    status: int = 200,
    request_sha256: bytes | None = None,
) -> Response:
    """Do `work` in a transaction of the caller's workspace and answer with what it gives.

    With the header `Idempotency-Key` the answer is kept in that same transaction; the same key again gives the
    kept answer without work, another body under it is refused (422, `idempotency_key_reused`), and a failure
    keeps nothing, so it may be tried again. `request_sha256` stands for a body that is too large to be kept in
    memory (an upload). The answer must hold no secret.
    """
    key = request.headers.get(HEADER)
    async with db.owned_by(who.workspace.id) as conn:
        if key is None:
            return JSONResponse(as_json(await work(conn)), status)

        async def first() -> dedup.Kept:
            return dedup.Kept(status, as_json(await work(conn)))

        digest = request_sha256 or hashlib.sha256(await raw(request)).digest()
        about = f"{who.person.id} {request.method} {request.url.path} ".encode()
        kept = await dedup.once(conn, who.workspace.id, key, hashlib.sha256(about + digest).digest(), first)
    return JSONResponse(kept.answer, kept.status)
