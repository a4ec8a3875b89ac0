"""The published document says what the code does."""

from __future__ import annotations

import jsonschema_rs
import pytest
from starlette.requests import Request
from starlette.routing import BaseRoute

from app import users
from app.web.access import Access
from app.web.api import openapi
from app.web.api.auth import SignUp
from app.web.api.body import Answer, Body
from app.web.api.endpoint import api, gives, takes
from app.web.routes import ROUTES
from tests.web.conftest import Client

PERSON = {"email": "ada@example.com", "password": "correct horse", "name": "Ada"}


class Asked(Body):
    wanted_title: str


class Given(Answer):
    given_title: str | None


@takes(Asked, gives=Given, status=201, summary="Do it.")
async def do_it(request: Request, asked: Asked) -> Given:
    return Given(given_title=asked.wanted_title)


@gives(Given, summary="See it.", query={"state": {"type": "string", "enum": ["a", "b"]}})
async def see_it(request: Request) -> Given:
    return Given(given_title=None)


OWN: list[BaseRoute] = [
    api("/api/things/{thing_id:id}", see_it, Access.OWNED),
    api("/api/things/{thing_id:id}", do_it, Access.OWNED, methods=("POST",)),
]


def test_every_api_route_is_published() -> None:
    paths = openapi.document(ROUTES)["paths"]
    ours = {
        door.path_format
        for door in ROUTES
        if door.path.startswith("/api/") and door.path != "/api/openapi.json"
    }
    assert ours == set(paths)


def test_an_operation_says_what_it_takes_gives_and_needs() -> None:
    made = openapi.document(OWN)
    path = made["paths"]["/api/things/{thing_id}"]
    assert set(path) == {"get", "post"}
    post = path["post"]
    assert post["security"] == [{"bearer": []}]
    assert post["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Asked"
    }
    assert set(post["responses"]) == {
        "201", "400", "401", "404", "413", "415", "422", "429", "503", "default"
    }  # fmt: skip
    assert [(p["name"], p["in"]) for p in post["parameters"]] == [
        ("thing_id", "path"),
        ("Idempotency-Key", "header"),
    ]
    assert path["get"]["parameters"][1]["schema"] == {"type": "string", "enum": ["a", "b"]}
    assert made["components"]["schemas"]["Asked"]["required"] == ["wantedTitle"]
    assert set(made["components"]["schemas"]["Given"]["properties"]) == {"givenTitle"}


def test_operation_ids_are_unique() -> None:
    paths = openapi.document([*ROUTES, *OWN])["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]
    # The same endpoint stands under two paths (S1.51).
    assert len(ids) - len(set(ids)) <= 1


def test_what_the_sign_up_publishes_is_what_the_room_refuses() -> None:
    check = jsonschema_rs.Draft202012Validator(SignUp.model_json_schema(by_alias=True)).is_valid
    assert check(PERSON)
    assert check(PERSON | {"password": "x" * users.LONGEST_PASSWORD, "name": "x" * users.LONGEST_NAME})
    for wrong in (
        {"email": "ada"},
        {"email": "ada@localhost"},
        {"password": "x" * (users.SHORTEST_PASSWORD - 1)},
        {"password": "x" * (users.LONGEST_PASSWORD + 1)},
        {"password": "with\x00zero byte"},
        {"name": ""},
        {"name": " "},
        {"name": "a\nb"},
        {"more": "x"},
    ):
        assert not check(PERSON | wrong), wrong


@pytest.mark.anyio
async def test_answers_fit_their_schemas(client: Client) -> None:
    browser = client()
    document = (await browser.get("/api/openapi.json")).json()
    assert document["openapi"] == "3.1.0"

    def fits(path: str, method: str, status: int, answer: object) -> bool:
        response = document["paths"][path][method]["responses"][str(status)]
        schema = response["content"]["application/json"]["schema"] | {"components": document["components"]}
        return bool(jsonschema_rs.is_valid(schema, answer))

    made = await browser.post("/api/auth/sign-up", json=PERSON)
    assert fits("/api/auth/sign-up", "post", 201, made.json())
    bearer = {"authorization": f"Bearer {made.json()['accessToken']}"}
    for path in ("/api/me", "/api/monitor/queue-health", "/api/monitor/queue-usage"):
        assert fits(path, "get", 200, (await browser.get(path, headers=bearer)).json())
        assert fits(path, "get", 401, (await browser.get(path)).json())
    again = await browser.post("/api/auth/sign-up", json=PERSON | {"password": "another one"})
    assert fits("/api/auth/sign-up", "post", again.status_code, again.json())
