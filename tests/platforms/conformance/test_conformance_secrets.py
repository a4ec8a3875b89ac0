"""What may never be told: tokens, secrets of ours and addresses that are keys, wherever a platform quotes them back."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from app.errors import HouseError
from app.platforms import App, Call, Handle
from tests.platforms.conformance.kit import World, a_media
from tests.platforms.conformance.protocol import Walk
from tests.platforms.conformance.subjects import Subject

pytestmark = pytest.mark.anyio

# Shorter parts of an address are names, not keys.
LEAST_KEY_LENGTH = 20
FORMS = ("nested", *(pytest.param(form, marks=pytest.mark.storm) for form in ("flat", "page")))


@asynccontextmanager
async def a_platform_that_quotes(form: str) -> AsyncIterator[str]:
    """Answers every call with a refusal that holds all that was sent: headers, address and body."""

    async def refuse(request: Request) -> Response:
        said = (
            f"{request.url} {dict(request.headers)} {(await request.body())[:4000].decode(errors='replace')}"
        )
        token = request.headers.get("authorization", "").rpartition(" ")[2] or request.query_params.get(
            "access_token", ""
        )
        said = f"Malformed access token {token} in {said}"
        if form == "page":
            return HTMLResponse(f"<h1>{said}</h1>", 502)
        if form == "flat":
            return JSONResponse(
                {"error": "invalid_request", "error_description": said, "error_message": said}, 400
            )
        error = {
            "message": said,
            "code": 100,
            "type": "OAuthException",
            "errors": [{"message": said, "reason": "x"}],
        }
        return JSONResponse({"error": error, "debug_info": {"message": said, "type": "x"}}, 400)

    app = Starlette(routes=[Route("/{path:path}", refuse, methods=["GET", "POST", "PUT", "DELETE"])])
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", access_log=False, lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


def keys_in(handle: Handle) -> list[str]:
    """The parts of an upload address that let whoever knows them send bytes."""
    return [
        value for _, value in parse_qsl(urlsplit(handle.upload_url).query) if len(value) >= LEAST_KEY_LENGTH
    ]


def told_by(errors: list[HouseError], calls: list[Call]) -> str:
    said = [repr(calls)]
    for error in errors:
        said += [str(error), repr(error), error.message, *traceback.format_exception(error)]
    return "\n".join(said)


def clean(said: str, secrets: list[str], where: str) -> None:
    for secret in filter(None, secrets):
        at = said.find(secret)
        assert at < 0, f"{where}: …{said[max(at - 120, 0) : at]}▶{secret[:6]}…"


async def test_no_repr_shows_a_secret(subject: Subject, world: World) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    post = adapter.fit(await adapter.creator(app, account.grant), subject.post)
    handle = await adapter.begin(app, account.grant, post, a_media(world))
    (choice, *_) = await adapter.choices(app, account.tokens)
    shown = repr([app, account.tokens, account.grant, handle, choice])
    clean(shown, [*account.secrets, *keys_in(handle)], "repr")


async def test_no_call_and_no_failure_of_a_troubled_post_tells_a_secret(
    subject: Subject, world: World
) -> None:
    walk = Walk(world, subject, await world.connect(subject), a_media(world), subject.post)
    secrets: list[str] = []
    for step in (*subject.steps, subject.sends, subject.asks):
        for fault in ("drop_after", "error_after", "token_expired"):
            await world.arm(subject, fault, step)
    await walk.run()
    secrets += [*walk.account.secrets, *(keys_in(walk.handle) if walk.kept else [])]
    clean(told_by(walk.errors, walk.calls), secrets, "a troubled post")


@pytest.mark.parametrize(
    "form", ["nested", *(pytest.param(each, marks=pytest.mark.storm) for each in ("flat", "page"))]
)
async def test_a_platform_that_quotes_our_secrets_back_is_not_quoted(
    form: str, subject: Subject, world: World
) -> None:
    adapter, app = subject.adapter, world.app(subject)
    account = await world.connect(subject)
    post = adapter.fit(await adapter.creator(app, account.grant), subject.post)
    media = a_media(world)
    handle = await adapter.begin(app, account.grant, post, media)
    walk = Walk(world, subject, account, media, post)
    verifier = adapter.new_verifier()
    secrets = [*account.secrets, "a-code-of-the-sign-in", verifier, "a-secret-of-our-own", *keys_in(handle)]
    async with a_platform_that_quotes(form) as url:
        there = moved(app, url)
        at = replace(
            handle, upload_url=url + urlsplit(handle.upload_url)._replace(scheme="", netloc="").geturl()
        )
        told = {"on_call": walk.on_call}
        refused = 0
        for call in (
            lambda: adapter.exchange(there, "a-code-of-the-sign-in", verifier, **told),
            lambda: adapter.choices(there, account.tokens, **told),
            lambda: adapter.refresh(there, account.grant, account.tokens.refresh_token, **told),
            lambda: adapter.profile(there, account.grant, **told),
            lambda: adapter.creator(there, account.grant, **told),
            lambda: adapter.begin(there, account.grant, post, media, **told),
            lambda: adapter.send(
                there, account.grant, at, post, media, 0,
                on_progress=walk.on_progress, before_last=walk.before_last, **told,
            ),
            lambda: adapter.status(there, account.grant, at, post, media, **told),
            lambda: adapter.comment(there, account.grant, "1", "Hello", **told),
            lambda: adapter.after(there, account.grant, at, post, media, **told),
            lambda: adapter.revoke(there, account.grant, **told),
        ):  # fmt: skip
            try:
                await call()
            except HouseError as error:
                refused += 1
                walk.errors.append(error)
    assert refused >= 6, "the calls met no platform"
    clean(told_by(walk.errors, walk.calls), secrets, form)


def moved(app: App, url: str) -> App:
    """The same registration with a secret of its own, all of whose hosts are this one."""
    return replace(
        app,
        client_secret="a-secret-of-our-own",
        auth_base=url,
        api_base=url,
        bases=dict.fromkeys(app.bases, url),
    )
