"""Credentials that operators enter: sealed, used by every process within seconds, never shown again (S2.70)."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app import accounts, config, db, platforms
from app.errors import NotFound, Refused
from tests.web.operators import acts, operator, stale
from tests.web.studio import Studio

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
KEY, SECRET = "awx4client7key", "s3cr3t-of-ours"
GIVEN = {"client_key": KEY, "client_secret": SECRET}
# Another process of the house: says what it posts with, each time it is asked.
OTHER = """
import asyncio, sys
from app import accounts, db, platforms
async def main():
    await db.open_pools(sys.argv[1], pages=False)
    for line in sys.stdin:
        await accounts.apps.look(now=True)
        print(platforms.get("tiktok").app().client_key or "none", flush=True)
    await db.close_pools()
asyncio.run(main())
"""


@pytest.fixture
def real(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """No simulator stands in, and the environment names no credentials."""
    monkeypatch.setenv("SIMULATORS", "off")
    config.get.cache_clear()


async def test_what_is_entered_is_used_at_once_and_shown_never(real: None, studio: Studio) -> None:
    olga = await operator(studio)
    assert "TIKTOK_CLIENT_KEY" in (await olga.browser.get("/accounts/tiktok/connect")).text
    answer = await olga.post("/admin/platforms/tiktok", GIVEN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/platforms")
    begun = await olga.browser.get("/accounts/tiktok/connect")
    there = urlsplit(begun.headers["location"])
    assert (there.netloc, parse_qs(there.query)["client_key"]) == ("www.tiktok.com", [KEY])
    page = (await olga.browser.get("/admin/platforms")).text
    assert "Entered by Olga" in page
    assert KEY not in page and SECRET not in page
    async with db.house() as conn:
        [(key, secret)] = await db.rows(conn, "SELECT client_key_enc, client_secret_enc FROM platform_apps")
    assert KEY not in key and SECRET not in secret
    assert await acts() == [("platform.credentials_entered", "tiktok", 1)]


async def test_what_is_removed_is_gone_at_once(real: None, studio: Studio) -> None:
    olga = await operator(studio)
    await olga.post("/admin/platforms/tiktok", GIVEN)
    assert (await olga.post("/admin/platforms/tiktok/remove")).status_code == 303
    assert platforms.get("tiktok").app().client_key == ""
    assert (await olga.browser.get("/accounts/tiktok/connect")).status_code == 422
    # Twice is once, and only the first is an act.
    await olga.post("/admin/platforms/tiktok/remove")
    assert [act[0] for act in await acts()] == [
        "platform.credentials_removed",
        "platform.credentials_entered",
    ]


async def test_another_process_uses_it_without_a_restart(real: None, studio: Studio, database: str) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OTHER,
        database,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdin is not None and other.stdout is not None

    async def says() -> str:
        assert other.stdin is not None and other.stdout is not None
        other.stdin.write(b"?\n")
        return (await other.stdout.readline()).decode().strip()

    olga = await operator(studio)
    assert await says() == "none"
    await olga.post("/admin/platforms/tiktok", GIVEN)
    assert await says() == KEY
    await olga.post("/admin/platforms/tiktok", {**GIVEN, "client_key": "another"})
    assert await says() == "another"
    await olga.post("/admin/platforms/tiktok/remove")
    assert await says() == "none"
    other.stdin.close()
    assert await other.wait() == 0


async def test_a_look_asks_the_database_only_when_the_last_one_is_old(real: None, studio: Studio) -> None:
    await accounts.apps.look(now=True)
    async with db.house() as conn:
        await conn.execute(
            "INSERT INTO platform_apps (platform, client_key_enc, client_secret_enc) VALUES ('tiktok', 'x', 'y')"
        )
    await accounts.apps.look()
    assert accounts.apps._known.sealed == {}
    # A row that cannot be opened counts as none, and stops nothing.
    await accounts.apps.look(now=True)
    assert platforms.get("tiktok").app().client_key == ""


async def test_a_posting_call_sees_to_it_that_the_credentials_are_current(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    accounts.apps._known.look_at = 0.0
    await accounts.fresh_token(account_id)
    assert accounts.apps._known.look_at > 0.0


async def test_what_can_be_no_credential_is_refused_and_not_shown_again(real: None, studio: Studio) -> None:
    olga = await operator(studio)
    for given, field in (
        ({"client_key": "", "client_secret": SECRET}, "client_key"),
        ({"client_key": KEY, "client_secret": "   "}, "client_secret"),
        ({"client_key": "two words", "client_secret": SECRET}, "client_key"),
        ({"client_key": KEY, "client_secret": "x" * 513}, "client_secret"),
        ({"client_key": "schlüssel", "client_secret": SECRET}, "client_key"),
    ):
        answer = await olga.post("/admin/platforms/tiktok", given)
        assert (answer.status_code, f'id="tiktok-{field}-wrong"' in answer.text) == (422, True), given
        assert SECRET not in answer.text and KEY not in answer.text
    async with db.house() as conn:
        assert await accounts.apps.entered(conn) == {}
    assert await acts() == []


async def test_entering_wants_a_fresh_sign_in(real: None, studio: Studio) -> None:
    olga = await operator(studio)
    await stale(olga)
    for path in ("/admin/platforms/tiktok", "/admin/platforms/tiktok/remove"):
        answer = await olga.post(path, GIVEN)
        assert answer.headers["location"].startswith("/admin/again"), path
    async with db.house() as conn:
        assert await accounts.apps.entered(conn) == {}


async def test_only_operators_come_near(real: None, studio: Studio) -> None:
    await operator(studio)
    eve = await studio.person("Eve", browser=True)
    assert (await eve.browser.get("/admin/platforms")).status_code == 403
    assert (await eve.post("/admin/platforms/tiktok", GIVEN)).status_code == 403
    page = (await eve.browser.get("/accounts/tiktok/connect")).text
    assert "An operator of this installation" in page and "Enter credentials" not in page


async def test_a_platform_that_we_do_not_know_has_no_credentials(real: None, studio: Studio) -> None:
    olga = await operator(studio)
    assert (await olga.post("/admin/platforms/myspace", GIVEN)).status_code == 404
    with pytest.raises(NotFound):
        await accounts.apps.enter("myspace", KEY, SECRET, by=olga.user_id)
    with pytest.raises(Refused):
        await accounts.apps.enter("tiktok", "", "", by=olga.user_id)


async def test_an_entered_secret_is_in_no_repr(real: None, studio: Studio) -> None:
    olga = await operator(studio)
    await olga.post("/admin/platforms/tiktok", GIVEN)
    assert SECRET not in repr(platforms.get("tiktok").app())
    async with db.house() as conn:
        assert SECRET not in repr(await accounts.apps.entered(conn))
