"""The API's way in, the reading of bodies, and a change asked for twice."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from app import db, events
from app.errors import Refused
from app.web import guard
from app.web.access import Access
from app.web.api.body import Answer, Body, Line, Text
from app.web.api.endpoint import api, takes
from app.web.api.repeats import idempotent
from tests.web.conftest import Client

pytestmark = pytest.mark.anyio
PERSON = {"email": "ada@example.com", "password": "correct horse", "name": "Ada"}


async def bearer(browser: httpx2.AsyncClient, email: str = "ada@example.com") -> dict[str, str]:
    made = await browser.post("/api/auth/sign-up", json=PERSON | {"email": email})
    assert made.status_code == 201, made.text
    return {"authorization": f"Bearer {made.json()['accessToken']}"}


async def test_a_sign_up_gives_a_token_that_says_who_acts(client: Client) -> None:
    browser = client()
    made = await browser.post("/api/auth/sign-up", json=PERSON)
    assert made.status_code == 201
    told = made.json()
    assert set(told) == {"accessToken", "expiresIn", "user", "workspace"}
    assert told["expiresIn"] == 900
    assert (told["user"]["email"], told["user"]["isOperator"]) == ("ada@example.com", True)
    assert "set-cookie" not in made.headers
    me = await browser.get("/api/me", headers={"authorization": f"Bearer {told['accessToken']}"})
    assert me.json() == {"user": told["user"], "workspace": told["workspace"], "role": "owner"}


async def test_a_token_is_given_for_the_right_password_only(client: Client) -> None:
    browser = client()
    await bearer(browser)
    right = await browser.post("/api/auth/token", json={k: PERSON[k] for k in ("email", "password")})
    assert (right.status_code, set(right.json())) == (200, {"accessToken", "expiresIn"})
    refusals = [
        await browser.post("/api/auth/token", json={"email": email, "password": "wrong password"})
        for email in ("ada@example.com", "nobody@example.com")
    ]
    assert [answer.status_code for answer in refusals] == [401, 401]
    assert refusals[0].json() == refusals[1].json()
    assert refusals[0].headers["www-authenticate"] == "Bearer"


async def test_too_many_failures_say_when_to_come_back(client: Client) -> None:
    browser = client()
    wrong = {"email": "ada@example.com", "password": "wrong password"}
    answers = [await browser.post("/api/auth/token", json=wrong) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60


async def test_signing_out_ends_the_token(client: Client) -> None:
    browser = client()
    headers = await bearer(browser)
    assert (await browser.post("/api/auth/sign-out", headers=headers)).status_code == 204
    assert (await browser.get("/api/me", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer x.y.z", "bearer \x00", "Bearer " + "a" * 9000]
)
async def test_anything_else_is_no_token(client: Client, header: str) -> None:
    answer = await client().get("/api/me", headers={"authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "not_signed_in"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"email", "password", "name"}),
        (PERSON | {"isOperator": True}, {"isOperator"}),
        (PERSON | {"email": 7}, {"email"}),
        (PERSON | {"password": "short"}, {"password"}),
        (PERSON | {"email": "ada", "name": ""}, {"email", "name"}),
        (PERSON | {"name": "A\x00da"}, {"name"}),
    ],
)
async def test_a_wrong_body_is_told_field_by_field(
    client: Client, body: dict[str, object], fields: set[str]
) -> None:
    answer = await client().post("/api/auth/sign-up", json=body)
    assert answer.status_code == 422
    assert set(answer.json()["error"]["fields"]) == fields
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM users") == 0


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'"x"', "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"email=a", "application/x-www-form-urlencoded", 415),
        (b'{"email": "' + b"a" * 300_000 + b'"}', "application/json", 413),
        (b"[" * 100_000, "application/json", 400),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    client: Client, content: bytes, kind: str, status: int
) -> None:
    answer = await client().post("/api/auth/sign-up", content=content, headers={"content-type": kind})
    assert (answer.status_code, set(answer.json())) == (status, {"error"})


class Note(Body):
    title: Line
    long_text: Text = ""


class Noted(Answer):
    noted_as: str


@takes(Note, gives=Noted, status=201, summary="Note something.")
async def note(request: Request, asked: Note) -> Response:
    who = guard.who_acts(request)

    async def work(conn: db.Conn) -> Noted:
        if asked.title == "wrong":
            raise Refused("Not this one.")
        await events.emit(conn, "note.made", "note-1", workspace_id=who.workspace.id, title=asked.title)
        return Noted(noted_as=asked.title)

    return await idempotent(request, who, work, status=201)


@pytest.fixture
def noting(app: Starlette) -> Starlette:
    app.router.routes[:0] = [api("/api/notes", note, Access.SIGNED_IN, methods=("POST",))]
    return app


async def made() -> int:
    async with db.house() as conn:
        return int(await db.value(conn, "SELECT count(*) FROM events WHERE name = 'note.made'"))


async def test_a_change_asked_for_twice_is_made_once(noting: Starlette, client: Client) -> None:
    browser = client()
    headers = await bearer(browser) | {"idempotency-key": "k1"}
    answers = await asyncio.gather(
        *(browser.post("/api/notes", json={"title": "one"}, headers=headers) for _ in range(4))
    )
    assert [(a.status_code, a.json()) for a in answers] == [(201, {"notedAs": "one"})] * 4
    assert await made() == 1
    other = await browser.post("/api/notes", json={"title": "two"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert await made() == 1


async def test_without_a_key_each_request_counts(noting: Starlette, client: Client) -> None:
    browser = client()
    headers = await bearer(browser)
    for _ in range(2):
        await browser.post("/api/notes", json={"title": "one"}, headers=headers)
    assert await made() == 2


async def test_a_refusal_is_not_kept(noting: Starlette, client: Client) -> None:
    browser = client()
    headers = await bearer(browser) | {"idempotency-key": "k1"}
    assert (await browser.post("/api/notes", json={"title": "wrong"}, headers=headers)).status_code == 422
    assert (await browser.post("/api/notes", json={"title": "right"}, headers=headers)).status_code == 201


async def test_the_same_key_of_another_workspace_is_another_key(noting: Starlette, client: Client) -> None:
    browser = client()
    for email in ("ada@example.com", "eve@example.com"):
        headers = await bearer(browser, email) | {"idempotency-key": "k1"}
        assert (await browser.post("/api/notes", json={"title": email}, headers=headers)).json() == {
            "notedAs": email
        }
    assert await made() == 2


@pytest.mark.parametrize(
    ("body", "field"), [({"title": "a\nb"}, "title"), ({"title": "a", "longText": "a\x00b"}, "longText")]
)
async def test_text_that_no_column_can_hold_is_refused(
    noting: Starlette, client: Client, body: dict[str, str], field: str
) -> None:
    browser = client()
    answer = await browser.post("/api/notes", json=body, headers=await bearer(browser))
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (422, {field})
    assert await made() == 0


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "ä"])
async def test_a_key_that_cannot_be_kept_is_refused(noting: Starlette, client: Client, key: str) -> None:
    browser = client()
    headers = httpx2.Headers(await bearer(browser), encoding="utf-8")
    headers["idempotency-key"] = key
    answer = await browser.post("/api/notes", json={"title": "one"}, headers=headers)
    assert answer.status_code == (201 if key == "a b" else 422)
