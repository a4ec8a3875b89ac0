"""Every code of the sheet's section 6, as Instagram says it: what it becomes, and what people read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from instagram_world import World
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.errors import HouseError, NotYet, Permanent, Retryable, Unsure
from app.platforms import App, Grant, Kind, Post, instagram
from app.platforms.instagram import errors

# Section 6 row by row: code, subcode, the kind that decides, the error raised before anything irreversible.
TABLE: tuple[tuple[int, int | None, Kind, type[HouseError]], ...] = (
    (-2, 2207003, Kind.RETRY_NOW, Retryable),
    (-2, 2207020, Kind.RETRY_NOW, Retryable),
    (-1, 2207001, Kind.RETRY_NOW, Retryable),
    (-1, 2207032, Kind.RETRY_NOW, Retryable),
    (-1, 2207053, Kind.RETRY_NOW, Retryable),
    (1, 2207057, Kind.CONTENT_REJECTED, Permanent),
    (4, 2207051, Kind.QUOTA, NotYet),
    (4, None, Kind.RETRY_AFTER, NotYet),
    (17, None, Kind.RETRY_AFTER, NotYet),
    (32, None, Kind.RETRY_AFTER, NotYet),
    (613, None, Kind.RETRY_AFTER, NotYet),
    (80002, None, Kind.RETRY_AFTER, NotYet),
    (9, 2207042, Kind.QUOTA, NotYet),
    (10, None, Kind.AUTHORISATION_LOST, Permanent),
    (24, 2207006, Kind.RETRY_NOW, Retryable),
    (24, 2207008, Kind.RETRY_NOW, Retryable),
    (25, 2207050, Kind.PERMANENT, Permanent),
    (100, 2207023, Kind.PERMANENT, Permanent),
    (100, 2207028, Kind.CONTENT_REJECTED, Permanent),
    (100, 2207040, Kind.CONTENT_REJECTED, Permanent),
    (100, 2207035, Kind.CONTENT_REJECTED, Permanent),
    (100, 2207036, Kind.CONTENT_REJECTED, Permanent),
    (100, 2207037, Kind.CONTENT_REJECTED, Permanent),
    (102, None, Kind.AUTHORISATION_LOST, Permanent),
    (190, None, Kind.AUTHORISATION_LOST, Permanent),
    (190, 458, Kind.AUTHORISATION_LOST, Permanent),
    (190, 459, Kind.AUTHORISATION_LOST, Permanent),
    (190, 460, Kind.AUTHORISATION_LOST, Permanent),
    (190, 463, Kind.AUTHORISATION_LOST, Permanent),
    (190, 464, Kind.AUTHORISATION_LOST, Permanent),
    (190, 467, Kind.AUTHORISATION_LOST, Permanent),
    (200, None, Kind.AUTHORISATION_LOST, Permanent),
    (352, 2207026, Kind.CONTENT_REJECTED, Permanent),
    (9004, 2207052, Kind.RETRY_NOW, Retryable),
    (9007, 2207027, Kind.RETRY_AFTER, NotYet),
    (36000, 2207004, Kind.CONTENT_REJECTED, Permanent),
    (36001, 2207005, Kind.CONTENT_REJECTED, Permanent),
    (36003, 2207009, Kind.CONTENT_REJECTED, Permanent),
    (36004, 2207010, Kind.CONTENT_REJECTED, Permanent),
    (0, 2207076, Kind.RETRY_NOW, Retryable),
    (0, 2207077, Kind.RETRY_NOW, Retryable),
    (0, 2207082, Kind.RETRY_NOW, Retryable),
    (0, 2207085, Kind.RETRY_NOW, Retryable),
    (0, 2207081, Kind.PERMANENT, Permanent),
)
# These end the work of this moment, and a renewed token may do better (all others of 190 end the connection).
RENEWABLE = {(102, None), (190, None), (190, 463), (190, 467)}
# What Meta's own page shows, with the fields of the error envelope in their order (sheet, section 6).
RECORDED = {
    "message": "Application request limit reached",
    "type": "OAuthException",
    "code": 4,
    "error_subcode": 2207051,
    "is_transient": False,
    "error_user_title": "Action blocked",
    "error_user_msg": "We limit how often you can do certain things on Instagram.",
    "fbtrace_id": "AbCdEf",
}


class Answers:
    """An Instagram that says one thing, whatever it is asked."""

    url = ""
    status = 400
    body: Any = ""

    @property
    def app(self) -> App:
        bases = ("auth", "token", "api", "facebook_auth", "facebook_api", "upload")
        hosts = {name: self.url + "/" + name for name in bases}
        return App(
            "sandbox", "sandbox-secret", "http://localhost:3000/back", "web", hosts["auth"], hosts["api"], True,
            "v26.0", hosts,
        )  # fmt: skip

    async def says(self, _: Request) -> Response:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        kind = "text/html" if text.startswith("<") else "application/json"
        return Response(text, self.status, media_type=kind)


GRANT = Grant("IGAAtokenOfThisAccount", "17841400000000001", instagram.SCOPES, {"login": "instagram"})


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def said(anyio_backend: str) -> AsyncIterator[Answers]:
    answers = Answers()
    methods = ["GET", "POST"]
    app = Starlette(routes=[Route("/{path:path}", answers.says, methods=methods)])
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", access_log=False, lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    answers.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield answers
    server.should_exit = True
    await serving


def recorded(code: int, subcode: int | None) -> dict[str, Any]:
    body = RECORDED | {"code": code, "error_subcode": subcode}
    return {"error": {name: value for name, value in body.items() if value is not None}}


async def raised(said: Answers) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await instagram.profile(said.app, GRANT)
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize(("code", "subcode", "kind", "error"), TABLE)
async def test_every_code_of_the_sheet_is_what_it_says(
    code: int, subcode: int | None, kind: Kind, error: type[HouseError], said: Answers
) -> None:
    said.status, said.body = 403 if code == 200 else 400, recorded(code, subcode)
    found = await raised(said)
    assert type(found) is error, found
    assert instagram.verdict(found.code).kind is kind
    assert (found.code == "access_token_invalid") is ((code, subcode) in RENEWABLE)
    if code == 190 and (code, subcode) not in RENEWABLE:
        assert found.code == f"190/{subcode}", "its own row, with its own sentence"
    assert "Instagram" in found.message or "picture" in found.message, found.message
    if isinstance(found, NotYet):
        assert (found.after_s or 0) >= {Kind.QUOTA: 3600, Kind.RETRY_AFTER: 10}[kind]


@pytest.mark.parametrize("subcode", sorted({row[1] for row in TABLE if row[1] and row[1] > 2_000_000}))
def test_a_container_that_failed_is_understood_by_its_subcode_alone(subcode: int) -> None:
    text = f"Error: Media upload has failed with error code {subcode}"
    assert errors.subcode_of(text) == str(subcode)
    error = errors.failed(errors.subcode_of(text))
    assert instagram.verdict(error.code).kind is next(row[2] for row in TABLE if row[1] == subcode)


def test_a_container_that_failed_without_a_number_or_with_a_new_one_ends_the_attempt() -> None:
    assert (
        errors.subcode_of("Error: something") == errors.subcode_of("Error 12207026999") == "container_failed"
    )
    assert isinstance(errors.failed("container_failed"), Permanent)
    new = errors.failed("2209999")
    assert isinstance(new, Permanent) and "2209999" in new.message


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Error validating access token: The session has been invalidated because …", "190"),
        ("The user is not an Instagram Business account", "not_professional"),
        ("REVOKED_ACCESS_TOKEN", "190"),
    ],
)
async def test_a_connection_that_ended_is_known_by_its_words_too(
    words: str, code: str, said: Answers
) -> None:
    said.status, said.body = 400, {"error": {"message": words, "code": 100, "type": "IGApiException"}}
    found = await raised(said)
    assert (type(found), found.code) == (Permanent, code)
    assert instagram.verdict(found.code).kind is Kind.AUTHORISATION_LOST


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, ""),
        (502, "<html>Bad gateway</html>"),
        (503, {"error": {"message": "x", "code": 2}}),
        (200, "<html>"),
    ],
)
async def test_an_outage_is_tried_again(status: int, body: Any, said: Answers) -> None:
    said.status, said.body = status, body
    assert isinstance(await raised(said), Retryable)


@pytest.mark.anyio
async def test_an_error_nobody_knows_is_quoted_and_tried_a_few_times(said: Answers) -> None:
    said.status, said.body = 400, {"error": {"message": "Brand new", "code": 4242, "error_subcode": 77}}
    found = await raised(said)
    assert isinstance(found, Retryable) and "Brand new" in found.message and found.code == "4242/77"


@pytest.mark.anyio
async def test_only_a_definite_no_to_publishing_gives_the_permit_back(world: World) -> None:
    """The same table at the one irreversible call: whatever asks to try again is unknown until asked."""
    account = await world.connect(polls=0)
    film, post = world.film(), Post(title="Once")
    kept = await world.begin(account, post, film)
    for code, subcode, _, error in TABLE:
        words = f"publish {code}/{subcode}" if subcode else f"publish {code}"
        await world.change(account, says=words)
        with pytest.raises(HouseError) as caught:
            await world.send(account, kept, post, film)
        expected = Unsure if issubclass(error, (Retryable, NotYet)) else error
        assert type(caught.value) is expected, (words, caught.value)
    await world.change(account, says="")
    assert (await world.status(account, kept, post, film)).state == "unpublished"


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 500, 502, 504])
async def test_a_page_in_place_of_the_answer_to_publishing_is_unsure(status: int, said: Answers) -> None:
    said.status, said.body = status, "<html><body>Please stand by</body></html>"
    with pytest.raises(Unsure):
        await instagram.comment(said.app, GRANT, "1", "the other call that is made once")


@pytest.mark.anyio
async def test_no_error_quotes_a_token(said: Answers) -> None:
    other = "IGAAsomebodyElsesToken"
    words = f"Cannot parse access token {GRANT.token} or {other} in ?access_token={other}"
    said.status, said.body = 400, {"error": {"message": words, "code": 100}}
    found = await raised(said)
    assert "Cannot parse" in found.message
    assert GRANT.token not in found.message and other not in found.message
