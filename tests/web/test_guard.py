"""Who acts, and whether a request comes from their own pages."""

from __future__ import annotations

import re

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app import db
from app.web import guard, pace
from app.web.access import Access, route
from app.web.routes import ROUTES
from tests.web.conftest import Client

pytestmark = pytest.mark.anyio
PERSON = {"email": "ada@example.com", "password": "correct horse", "name": "Ada"}
OWN = {"sec-fetch-site": "same-origin"}


async def signed_in(browser: httpx2.AsyncClient, **changed: str) -> str:
    """Sign up; gives the CSRF token of this browser's pages."""
    answer = await browser.post("/sign-up", data=PERSON | changed, headers=OWN)
    assert answer.status_code == 303, answer.text
    return await token_of(browser)


async def token_of(browser: httpx2.AsyncClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', (await browser.get("/sessions")).text)
    assert found
    return found[1]


async def count_sessions() -> int:
    async with db.house() as conn:
        return int(await db.value(conn, "SELECT count(*) FROM sessions WHERE revoked_at IS NULL"))


async def test_signing_up_signs_in_and_shows_the_session(client: Client) -> None:
    browser = client()
    await signed_in(browser)
    page = await browser.get("/sessions")
    assert page.status_code == 200
    assert len(re.findall(r'id="session-(\d+)"', page.text)) == 1
    assert "203.0.113.7" in page.text


async def test_the_cookie_under_tls_is_host_bound(client: Client) -> None:
    answer = await client().post("/sign-up", data=PERSON, headers=OWN)
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-backlot=")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= parts
    assert not any(part.startswith("domain") for part in parts)


@pytest.mark.parametrize(
    ("base_url", "agent", "name"),
    [
        ("http://192.168.1.5:3000", "Mozilla/5.0 Chrome/156.0", "backlot"),
        ("http://localhost:3000", "Mozilla/5.0 HeadlessChrome/156.0", "__Host-backlot"),
        ("http://localhost:3000", "Mozilla/5.0 Gecko/20100101 Firefox/140.0", "__Host-backlot"),
        ("http://localhost:3000", "Mozilla/5.0 Version/19.0 Safari/605.1.15", "backlot"),
        ("https://localhost:3000", "Mozilla/5.0 Version/19.0 Safari/605.1.15", "__Host-backlot"),
    ],
)
async def test_a_cookie_is_secure_wherever_the_browser_keeps_it(
    client: Client, base_url: str, agent: str, name: str
) -> None:
    answer = await client(base_url, headers={"user-agent": agent}).post("/sign-up", data=PERSON, headers=OWN)
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie.partition("=")[0] == name
    assert ("secure" in cookie.lower()) is name.startswith("__Host-")
    secret = cookie.partition("=")[2].partition(";")[0]
    back = await client(base_url).get("/sessions", headers={"cookie": f"{name}={secret}"})
    assert back.status_code == 200


async def test_a_plain_cookie_counts_for_nothing_under_tls(client: Client) -> None:
    browser = client()
    await signed_in(browser)
    secret = browser.cookies["__Host-backlot"]
    planted = await client().get("/sessions", headers={"cookie": f"backlot={secret}"})
    assert planted.status_code == 303


@pytest.mark.parametrize("secret", ["", "x", "x" * 10_000, "%00", "' OR 1=1 --"])
async def test_a_forged_cookie_is_nobody(client: Client, secret: str) -> None:
    answer = await client().get("/sessions", headers={"cookie": f"__Host-backlot={secret}"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/sessions"


async def test_the_cookie_of_a_disabled_person_is_nobody(client: Client) -> None:
    browser = client()
    await signed_in(browser)
    async with db.house() as conn:
        await conn.execute("UPDATE users SET disabled_at = now()")
    assert (await browser.get("/sessions")).status_code == 303


async def test_signing_in_makes_a_new_session_and_ends_the_old_one(client: Client) -> None:
    browser = client()
    await signed_in(browser)
    first = browser.cookies["__Host-backlot"]
    answer = await browser.post("/sign-in", data=PERSON, headers=OWN)
    assert answer.status_code == 303
    assert browser.cookies["__Host-backlot"] != first
    assert await count_sessions() == 1


async def test_signing_out_ends_the_session_everywhere(client: Client) -> None:
    browser = client()
    csrf = await signed_in(browser)
    secret = browser.cookies["__Host-backlot"]
    answer = await browser.post("/sign-out", data={"csrf": csrf}, headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "__Host-backlot" not in browser.cookies
    assert (
        await client().get("/sessions", headers={"cookie": f"__Host-backlot={secret}"})
    ).status_code == 303
    assert await count_sessions() == 0


async def test_another_session_can_be_ended_from_the_list(client: Client) -> None:
    here, there = client(), client()
    await signed_in(here)
    await there.post("/sign-in", data=PERSON, headers=OWN)
    ids = re.findall(r'id="session-(\d+)"', (await there.get("/sessions")).text)
    assert len(ids) == 2
    csrf = await token_of(here)
    answer = await here.post(f"/sessions/{ids[0]}/revoke", data={"csrf": csrf}, headers=OWN)
    assert answer.status_code == 303
    assert (await there.get("/sessions")).status_code == 303
    assert (await here.get("/sessions")).status_code == 200


async def test_the_session_of_another_person_is_not_there(client: Client) -> None:
    ada, eve = client(), client()
    await signed_in(ada)
    csrf = await signed_in(eve, email="eve@example.com")
    [own] = re.findall(r'id="session-(\d+)"', (await ada.get("/sessions")).text)
    foreign = await eve.post(f"/sessions/{own}/revoke", data={"csrf": csrf}, headers=OWN)
    unknown = await eve.post("/sessions/999/revoke", data={"csrf": csrf}, headers=OWN)
    assert foreign.status_code == unknown.status_code == 404
    assert (await ada.get("/sessions")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://studio.example.evil.example"},
        {"origin": "https://studio.example:444"},
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-up", "/preferences"])
async def test_a_change_from_another_site_is_refused(
    client: Client, headers: dict[str, str], path: str
) -> None:
    browser = client()
    csrf = await signed_in(browser)
    asked = PERSON | {"csrf": csrf, "theme": "dark"}
    answer = await browser.post(path, data=asked, headers=headers)
    assert answer.status_code == 403
    async with db.house() as conn:
        assert await db.value(conn, "SELECT theme FROM users") == "auto"
    assert await count_sessions() == 1


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"headers": OWN}, 403),
        ({"headers": OWN, "form": "wrong"}, 403),
        ({"headers": OWN, "form": "right"}, 303),
        ({"headers": OWN | {"x-csrf-token": "right"}}, 303),
        ({"headers": OWN | {"x-csrf-token": "wrong"}, "form": "right"}, 403),
        ({"headers": {"origin": "https://studio.example"}, "form": "right"}, 303),
        ({"headers": {}, "form": "right"}, 303),
        ({"headers": {}}, 403),
    ],
)
async def test_a_change_needs_the_token_of_the_page(
    client: Client, given: dict[str, object], status: int
) -> None:
    browser = client()
    words = {"right": await signed_in(browser), "wrong": "AAAA"}
    sent = {name: words.get(value, value) for name, value in dict(given["headers"]).items()}  # type: ignore[call-overload]  # a dict in this table
    form = {"theme": "dark"} | ({"csrf": words[str(given["form"])]} if "form" in given else {})
    answer = await browser.post("/preferences", data=form, headers=sent)
    assert answer.status_code == status
    async with db.house() as conn:
        assert await db.value(conn, "SELECT theme FROM users") == ("dark" if status == 303 else "auto")


async def test_the_token_of_one_session_is_not_that_of_another(client: Client) -> None:
    ada, eve = client(), client()
    await signed_in(ada)
    csrf = await signed_in(eve, email="eve@example.com")
    assert (await ada.post("/preferences", data={"csrf": csrf}, headers=OWN)).status_code == 403


@pytest.mark.parametrize(
    ("asked", "lands"),
    [
        ("/videos/7?tab=x", "/videos/7?tab=x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/x\r\nset-cookie: a=b", "/"),
        ("/sign-out", "/"),
        ("", "/"),
    ],
)
async def test_signing_in_leads_back_inside_the_house_only(client: Client, asked: str, lands: str) -> None:
    await signed_in(client())
    answer = await client().post("/sign-in", data=PERSON | {"next": asked}, headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, lands)


async def test_a_refused_form_comes_back_with_what_was_typed_and_without_the_password(client: Client) -> None:
    answer = await client().post("/sign-up", data=PERSON | {"email": 'x"><b>'}, headers=OWN)
    assert answer.status_code == 422
    assert "This is not an e-mail address." in answer.text
    assert "x&#34;&gt;&lt;b&gt;" in answer.text
    assert PERSON["password"] not in answer.text
    wrong = await client().post("/sign-in", data=PERSON, headers=OWN)
    assert wrong.status_code == 401
    assert "do not belong together" in wrong.text


@pytest.mark.parametrize("path", ["/sessions", "/api/me"])
async def test_the_two_ways_in_do_not_mix(client: Client, path: str) -> None:
    browser = client()
    await signed_in(browser)
    made = await client().post("/api/auth/token", json={k: PERSON[k] for k in ("email", "password")})
    bearer = {"authorization": f"Bearer {made.json()['accessToken']}"}
    by_cookie = (await browser.get(path)).status_code
    by_bearer = (await client().get(path, headers=bearer)).status_code
    assert (by_cookie, by_bearer) == ((200, 303) if path == "/sessions" else (401, 200))


async def test_a_person_who_does_too_much_is_asked_to_wait(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = client()
    csrf = await signed_in(browser)
    monkeypatch.setattr(pace, "BY_PERSON", 3)
    answers = [await browser.post("/preferences", data={"csrf": csrf}, headers=OWN) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [303, 303, 303, 429, 429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert (await browser.get("/sessions")).status_code == 200
    async with db.house() as conn:
        assert await db.value(conn, "SELECT count(*) FROM limit_grants WHERE NOT started") == 0


async def test_an_address_that_signs_up_too_much_is_asked_to_wait(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "ENTRIES", 2)
    statuses = []
    for n in range(3):
        answer = await client().post("/sign-up", data=PERSON | {"email": f"p{n}@example.com"}, headers=OWN)
        statuses.append(answer.status_code)
    elsewhere = await client(peer=("198.51.100.1", 1)).post("/sign-up", data=PERSON, headers=OWN)
    assert [*statuses, elsewhere.status_code] == [303, 303, 429, 303]


def test_every_route_says_who_may_pass() -> None:
    assert [door.path for door in ROUTES if not isinstance(door.access, Access)] == []
    names = [door.name for door in ROUTES]
    assert len(names) == len(set(names))


async def no_content(request: Request) -> Response:
    return PlainTextResponse("seen")


async def test_only_an_operator_passes_where_operators_pass(app: Starlette, client: Client) -> None:
    app.router.routes[:0] = [route("/secret", no_content, Access.OPERATOR)]
    first, second = client(), client()
    await signed_in(first)
    await signed_in(second, email="bob@example.com")
    answers = [(await one.get("/secret")).status_code for one in (first, second, client())]
    assert answers == [200, 403, 303]


async def test_a_destructive_act_wants_a_fresh_sign_in(app: Starlette, client: Client) -> None:
    async def destroy(request: Request) -> Response:
        guard.require_fresh(request)
        return PlainTextResponse("gone")

    app.router.routes[:0] = [route("/destroy", destroy, Access.OPERATOR)]
    browser = client()
    await signed_in(browser)
    assert (await browser.get("/destroy")).status_code == 200
    async with db.house() as conn:
        await conn.execute("UPDATE sessions SET signed_in_at = now() - interval '16 minutes'")
    assert (await browser.get("/destroy")).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"a" * (2 * 1024**2 + 1), 413),
        (b"&".join(b"a=b" for _ in range(501)), 400),
        (b"theme=%ff%fe", 400),
        (b"theme=\xff", 400),
        (b"theme=%00", 400),
    ],
)
async def test_a_form_that_cannot_be_kept_is_refused(client: Client, body: bytes, status: int) -> None:
    browser = client()
    csrf = await signed_in(browser)
    headers = OWN | {"content-type": "application/x-www-form-urlencoded", "x-csrf-token": csrf}
    assert (await browser.post("/preferences", content=body, headers=headers)).status_code == status
