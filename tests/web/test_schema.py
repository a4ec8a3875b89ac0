"""What the published document allows and forbids is asked of the whole web over a socket, and its word is kept."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import hypothesis
import psycopg
import pytest
import schemathesis
from psycopg import sql
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app import config, db, main, postgres, users
from app.web import pace, pages, server
from app.web.api import openapi
from app.web.routes import ROUTES
from tests.world import clip, free_port

PASSWORD = "correct horse battery"
EMAIL = "maya@example.org"
EXAMPLES = 12
# A schema cannot say what makes a file a video, nor what a design, a zone or a time may be, nor which act of a batch
# needs which of its fields.
NOT_ASKED_OF_A_FILE: list[CheckFunction] = [positive_data_acceptance]
MORE_THAN_A_SCHEMA_SAYS = (
    "/api/batches",
    "/api/videos/{video_id}/look",
    "/api/publications",
    "/api/publications/{publication_id}",
)


def _strict() -> dict[str, Any]:
    """The document without its "anything else": each status that is met must stand there by its number."""
    made = openapi.document(ROUTES)
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop("default", None)
    return made


schema = schemathesis.openapi.from_dict(_strict())
schema.config.generation.update(deterministic=True, database="none", no_shrink=True)


class House:
    """The web as a program sees it, with an account and a video of the one who asks."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.keys = itertools.count(1)
        self.http = httpx2.Client(base_url=base, trust_env=False, timeout=20)
        self.bearer = self.signed_in()
        made = self.post("/api/accounts/sandbox", json={"platform": "tiktok", "displayName": "Maya"})
        self.account_id = int(made["account"]["id"])
        form = {"accountId": str(self.account_id), "title": "One"}
        made = self.post("/api/videos", data=form, files={"file": ("one.mp4", clip(), "video/mp4")})
        self.video_id = int(made["video"]["id"])
        made = self.post("/api/batches", json={"files": [{"filename": "two.mp4", "bytes": 1000}]})
        self.batch_id = int(made["batch"]["id"])
        self.item_id = int(made["batch"]["items"][0]["id"])
        asked = {"videoId": self.video_id, "targets": [{"accountId": self.account_id}], "text": "Once more"}
        made = self.post("/api/publications", json=asked)
        self.publication_id = int(made["publication"]["id"])
        self.target_id = int(made["publication"]["targets"][0]["id"])

    def signed_in(self) -> dict[str, str]:
        """The header of a new session; the first call signs up."""
        person = {"email": EMAIL, "password": PASSWORD, "name": "Maya"}
        answer = self.http.post("/api/auth/sign-up", json=person)
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['accessToken']}"}

    def post(self, path: str, **body: object) -> dict[str, Any]:
        answer = self.http.post(path, headers=self.bearer, **body)  # type: ignore[arg-type]  # the client's own options
        assert answer.status_code == 201, answer.text
        # The check shows what was asked, which the client has forgotten by now.
        answer.request.read()
        schema[path]["POST"].validate_response(answer)
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def house(pg: postgres.Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The web's own server in a thread, the simulated world in it, on a database of this file alone."""
    home, port = tmp_path_factory.mktemp("schema"), free_port()
    database = f"schema_{port}"
    with psycopg.connect(pg.dsn, autocommit=True) as conn:
        names = {"new": sql.Identifier(database), "old": sql.Identifier(template)}
        conn.execute(sql.SQL("CREATE DATABASE {new} TEMPLATE {old} STRATEGY FILE_COPY").format(**names))
    with pytest.MonkeyPatch.context() as settings:
        for name, value in {
            "DATABASE_URL": pg.dsn_of(database),
            "APP_ENV": "test",
            "ENCRYPTION_KEY": "k" * 32,
            "BACKLOT_HOME": str(home / "home"),
            "TEMP_DIR": str(home / "temp"),
            "PORT": str(port),
            "SIMULATORS": "on",
            "LOG_LEVEL": "error",
        }.items():
            settings.setenv(name, value)
        # All of this is one person's, within seconds.
        for limit in ("BY_PERSON", "BY_ADDRESS", "ENTRIES"):
            settings.setattr(pace, limit, 10**6)
        _forget_settings()
        users.passwords.use(users.passwords.CHEAP)
        web = server.make(main.create(), "127.0.0.1", port)
        thread = threading.Thread(target=web.run, name="web", daemon=True)
        thread.start()
        while not web.started and thread.is_alive():
            time.sleep(0.01)
        opened = House(f"http://127.0.0.1:{port}")
        yield opened
        opened.http.close()
        web.stop()
        thread.join(10)
    users.passwords.use(users.passwords.STRONG)
    _forget_settings()
    with psycopg.connect(pg.dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {new} WITH (FORCE)").format(**names))


def _forget_settings() -> None:
    for kept in (config.get, db.locate, pages.environment):
        kept.cache_clear()


def test_the_document_that_is_served_is_the_one_that_is_asked_here(house: House) -> None:
    assert house.http.get("/api/openapi.json").json() == openapi.document(ROUTES)


@schema.parametrize()
@hypothesis.settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
def test_every_operation_keeps_its_word(case: schemathesis.Case[Any], house: House) -> None:
    if case.meta is not None and case.meta.generation.mode.is_positive:
        _make_real(case, house)
    # The token that is used there ends there.
    bearer = house.signed_in() if case.path == "/api/auth/sign-out" else house.bearer
    has_file = case.media_type == "multipart/form-data" or case.path in MORE_THAN_A_SCHEMA_SAYS
    case.call_and_validate(
        base_url=house.base,
        headers=bearer,
        excluded_checks=NOT_ASKED_OF_A_FILE if has_file else None,
    )


def _make_real(case: schemathesis.Case[Any], house: House) -> None:
    """What a document cannot know of a valid request: ids that exist, a key that is new, a file that is a video."""
    if "video_id" in case.path_parameters:
        case.path_parameters["video_id"] = house.video_id
    if "batch_id" in case.path_parameters:
        case.path_parameters["batch_id"] = house.batch_id
    if "item_id" in case.path_parameters:
        case.path_parameters["item_id"] = house.item_id
    if "publication_id" in case.path_parameters:
        case.path_parameters["publication_id"] = house.publication_id
    if "target_id" in case.path_parameters:
        case.path_parameters["target_id"] = house.target_id
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{next(house.keys)}"
    if case.media_type == "multipart/form-data" and isinstance(case.body, dict):
        form: dict[str, Any] = case.body
        if case.path == "/api/videos":
            form["accountId"] = house.account_id
        form |= {name: clip() for name in ("file", "video") if name in form}
