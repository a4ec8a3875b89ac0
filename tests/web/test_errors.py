"""How a failure reads: as a page, as an alert, as JSON; and what it never shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app import db
from app.errors import HouseError, NotFound, NotYet, Permanent, Refused, Retryable, WrongState
from app.web import errors, pages
from app.web.access import Access, route
from tests.web.conftest import Client

pytestmark = pytest.mark.anyio
HTML = {"accept": "text/html,application/xhtml+xml"}
JSON = {"accept": "application/json"}


def failing(app: Starlette, error: Exception) -> None:
    async def fail(request: Request) -> Response:
        raise error

    app.router.routes[:0] = [route("/fail", fail, Access.PUBLIC)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("No.", code="too_large", status=413), 413),
        (NotFound(), 404),
        (WrongState("Too late."), 409),
        (Permanent("Never."), 409),
        (Retryable("Later."), 503),
        (NotYet("Not your turn."), 503),
    ],
)
async def test_each_kind_has_its_status_code_and_sentence(
    app: Starlette, client: Client, error: HouseError, status: int
) -> None:
    failing(app, error)
    browser = client()
    as_json = await browser.get("/fail", headers=JSON)
    assert as_json.status_code == status
    assert as_json.json() == {"error": {"code": error.code, "message": error.message, "fields": {}}}
    as_page = await browser.get("/fail", headers=HTML)
    assert as_page.status_code == status
    assert error.message in as_page.text
    assert error.code in as_page.text
    assert as_page.headers["x-request-id"] in as_page.text
    assert "<main>" in as_page.text or "<main" in as_page.text


async def test_htmx_gets_an_alert_and_the_page_stays(app: Starlette, client: Client) -> None:
    failing(app, WrongState("This video is already published."))
    answer = await client().get("/fail", headers=HTML | {"hx-request": "true"})
    assert answer.status_code == 409
    assert "already published" in answer.text
    assert "<html" not in answer.text
    assert answer.headers["hx-retarget"] == "#alerts"


async def test_fields_are_told(app: Starlette, client: Client) -> None:
    failing(app, Refused("No.", fields={"title": "Too long."}))
    assert (await client().get("/fail", headers=JSON)).json()["error"]["fields"] == {"title": "Too long."}
    assert "Too long." in (await client().get("/fail", headers=HTML)).text


@pytest.mark.parametrize("headers", [HTML, JSON, HTML | {"hx-request": "true"}])
async def test_the_unforeseen_shows_no_stack_and_no_secret(
    app: Starlette, client: Client, headers: dict[str, str]
) -> None:
    failing(app, RuntimeError("password=hunter2 at /srv/app.py"))
    answer = await client().get("/fail?token=abc", headers=headers)
    assert answer.status_code == 500
    for secret in ("hunter2", "Traceback", "app.py", "RuntimeError", "abc"):
        assert secret not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_a_secret_in_a_sentence_is_taken_out(app: Starlette, client: Client) -> None:
    failing(app, Permanent("TikTok said: access_token=act.verysecret1234 is wrong"))
    for headers in (HTML, JSON):
        assert "verysecret" not in (await client().get("/fail", headers=headers)).text


async def test_text_in_an_error_is_text(app: Starlette, client: Client) -> None:
    failing(app, Refused("<script>alert(1)</script>"))
    assert "<script>" not in (await client().get("/fail", headers=HTML)).text


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (Retryable("Later.", after_s=7.2), 8),
        (Retryable("Later."), errors.AGAIN_S),
        (NotYet("Later.", until=datetime.now(UTC) + timedelta(hours=1)), 3600),
        (NotYet("Now.", until=datetime.now(UTC) - timedelta(hours=1)), 1),
        (Refused("Too often.", status=429, after_s=3), 3),
    ],
)
def test_whoever_may_try_again_is_told_when(error: HouseError, wait_s: int) -> None:
    told = int(errors.problem(error).headers["retry-after"])
    # The table above is made when the file is read, which may be a while ago.
    assert wait_s - 1800 <= told <= wait_s


async def test_a_database_that_is_away_is_503_with_a_time(app: Starlette, client: Client) -> None:
    await db.close_pools()
    browser = client()
    for path in ("/sessions", "/api/me"):
        answer = await browser.get(
            path, headers={"cookie": "__Host-backlot=x", "authorization": "Bearer eyJhbGciOi.x.y"}
        )
        assert answer.status_code == 503
    answer = await browser.post("/api/auth/token", json={"email": "a@example.com", "password": "x" * 10})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "database_away"
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("DELETE", "/api/me", 405, "method_not_allowed"),
        ("GET", "/api/me", 401, "not_signed_in"),
        ("GET", "/api/auth/token", 405, "method_not_allowed"),
        ("GET", "/sessions/", 404, "not_found"),
        ("GET", "/sign-in?next=%00", 400, "invalid"),
        ("GET", "/sign-in%00", 404, "not_found"),
        ("GET", "/sessions/0/revoke", 404, "not_found"),
        ("GET", "/sessions/99999999999999999999/revoke", 404, "not_found"),
    ],
)
async def test_plain_http_failures_speak_the_same_way(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    answer = await client().request(method, path, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert status != 405 or answer.headers["allow"]


async def test_a_stranger_is_led_to_the_sign_in_and_back(client: Client) -> None:
    browser = client()
    page = await browser.get("/sessions?x=1", headers=HTML)
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=/sessions%3Fx%3D1")
    change = await browser.post("/sign-out", headers=HTML | {"sec-fetch-site": "same-origin"})
    assert (change.status_code, change.headers["location"]) == (303, "/sign-in")
    around = {"hx-request": "true", "hx-current-url": "https://studio.example/videos/7"}
    part = await browser.get("/sessions", headers=HTML | around)
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/sign-in?next=/videos/7")
    foreign = around | {"hx-current-url": "https://evil.example/x"}
    assert (await browser.get("/sessions", headers=foreign)).headers["hx-redirect"] == "/sign-in"
    assert (await browser.get("/sessions", headers=JSON)).status_code == 401


async def test_an_answer_that_breaks_off_is_not_made_to_look_whole(app: Starlette, client: Client) -> None:
    async def halves(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            raise RuntimeError("broken")

        return StreamingResponse(parts())

    app.router.routes[:0] = [route("/halves", halves, Access.PUBLIC)]
    with pytest.raises(RuntimeError):
        await client().get("/halves")


async def test_a_broken_template_still_answers(
    app: Starlette, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(app, NotFound())
    monkeypatch.setattr(pages, "page", lambda *_, **__: 1 / 0)
    answer = await client().get("/fail", headers=HTML)
    assert answer.status_code == 404
    assert "went wrong" in answer.text
