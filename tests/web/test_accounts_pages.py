"""The accounts' pages: connecting by OAuth through the simulator, and what each card says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from app import accounts, config, db
from tests.makers import Owner, a_video
from tests.web.studio import Person, Studio, open_studio

pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def account_of(person: Person) -> accounts.Account:
    async with db.owned_by(person.workspace_id) as conn:
        [account] = await accounts.list_for(conn)
        return account


async def change(**columns: object) -> None:
    async with db.house() as conn:
        for name, value in columns.items():
            assert name.isidentifier()
            await conn.execute(f"UPDATE accounts SET {name} = %s".encode(), [value])


async def card(person: Person, account_id: int) -> str:
    answer = await person.browser.get(f"/accounts/{account_id}/card")
    assert answer.status_code == 200
    return " ".join(answer.text.split())


async def consent(person: Person, **decided: object) -> str:
    """Go through the simulator's consent page as a person does; gives the address it leads back to."""
    begun = await person.browser.get("/accounts/tiktok/connect")
    assert begun.status_code == 303
    # The browser would open it at the studio's address; the simulated world listens on its own port here.
    there = urlsplit(begun.headers["location"])
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{config.get().port}") as world:
        shown = await world.get(f"{there.path}?{there.query}")
        assert shown.status_code == 200, shown.text
        scopes = re.findall(r'name="grant" value="([^"]+)"', shown.text)
        form = {
            "creator": "new",
            "display_name": "Maya Makes",
            "grant": scopes,
            "decision": "approve",
        } | decided
        answer = await world.post(f"{there.path}?{there.query}", data=form)
        assert answer.status_code in (302, 303), answer.text
    back = urlsplit(answer.headers["location"])
    return f"{back.path}?{back.query}"


async def test_without_accounts_the_page_says_how_to_begin(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    page = (await maya.browser.get("/accounts")).text
    assert "No account is connected yet" in page
    assert 'href="/accounts/tiktok/connect"' in page
    assert "Create a simulated account" in page


async def test_a_simulated_account_is_made_in_one_go(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    answer = await maya.post("/accounts/simulated", {"name": "  Maya   Makes "})
    account = await account_of(maya)
    assert answer.headers["location"] == f"/accounts#account-{account.id}"
    page = (await maya.browser.get("/accounts")).text
    assert account.display_name == "Maya Makes"
    for told in ("Maya Makes", "Simulator", "Connected", "renews by itself in ", "nothing planned"):
        assert told in page, told


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
async def test_a_name_that_cannot_be_used_makes_nothing(studio: Studio, name: str) -> None:
    maya = await studio.person(browser=True)
    answer = await maya.post("/accounts/simulated", {"name": name})
    assert answer.status_code == 422
    assert "Give a name of 1 to 100 letters." in answer.text
    async with db.owned_by(maya.workspace_id) as conn:
        assert await accounts.list_for(conn) == []


async def test_an_account_is_connected_through_the_consent_page(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    back = await consent(maya)
    answer = await maya.browser.get(back)
    account = await account_of(maya)
    assert answer.headers["location"] == f"/accounts#account-{account.id}"
    assert account.usable


async def test_an_answer_works_once_and_for_its_own_session_only(studio: Studio) -> None:
    maya, noa = await studio.person(browser=True), await studio.person("Noa", browser=True)
    back = await consent(maya)
    stolen = await noa.browser.get(back)
    assert stolen.status_code == 422
    assert "was not started here" in stolen.text
    assert (await maya.browser.get(back)).status_code == 303
    again = await maya.browser.get(back)
    assert (again.status_code, "Start again from here" in again.text) == (422, True)
    async with db.owned_by(noa.workspace_id) as conn:
        assert await accounts.list_for(conn) == []


async def test_a_refusal_is_shown_with_what_to_do_and_connects_nothing(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    back = await consent(maya, decision="deny")
    answer = await maya.browser.get(back)
    assert answer.status_code >= 400
    assert "The account was not connected" in answer.text
    assert 'href="/accounts/tiktok/connect"' in answer.text
    async with db.owned_by(maya.workspace_id) as conn:
        assert await accounts.list_for(conn) == []


async def test_a_permission_that_was_unticked_is_named_and_nothing_is_connected(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    answer = await maya.browser.get(await consent(maya, grant=["user.info.basic"]))
    assert answer.status_code == 422
    assert "video.publish" in answer.text
    assert "Leave all of them ticked." in answer.text
    async with db.owned_by(maya.workspace_id) as conn:
        assert await accounts.list_for(conn) == []


async def test_connecting_again_keeps_the_account_and_its_history(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await maya.browser.get(await consent(maya))
    before = await account_of(maya)
    await change(state="needs_reconnect", reason="It was revoked.")
    await maya.browser.get(await consent(maya, creator="1", display_name=""))
    after = await account_of(maya)
    assert (after.id, after.state, after.reason) == (before.id, "connected", None)


async def test_an_unknown_platform_is_nowhere(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    assert (await maya.browser.get("/accounts/myspace/connect")).status_code == 404
    assert (await maya.browser.get("/accounts/myspace/callback?state=x&code=y")).status_code == 404


async def test_without_credentials_and_simulator_the_page_says_what_is_missing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    maya = await studio.person(browser=True)
    monkeypatch.setenv("SIMULATORS", "off")
    config.get.cache_clear()
    answer = await maya.browser.get("/accounts/tiktok/connect")
    assert answer.status_code == 422
    assert "TIKTOK_CLIENT_KEY" in answer.text
    page = (await maya.browser.get("/accounts")).text
    assert "Create a simulated account" not in page


async def test_the_card_says_what_is_wrong_and_what_to_do(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    now = datetime.now(UTC)
    await change(paused_at=now)
    assert "Nothing of this account starts until it goes on." in await card(maya, account_id)
    await change(
        paused_at=None, held_until=now + timedelta(hours=5), held_reason="Its daily limit is reached."
    )
    told = await card(maya, account_id)
    assert "On hold" in told
    assert "Its daily limit is reached." in told
    await change(held_until=None, held_reason=None, access_expires_at=now + timedelta(minutes=5))
    assert "is being renewed" in await card(maya, account_id)
    await change(scopes=["user.info.basic"])
    told = await card(maya, account_id)
    assert "May not post videos" in told
    assert "video.publish" in told
    assert "Connect again" in told
    await change(state="needs_reconnect", reason="TikTok <b>no longer</b> accepts it.")
    told = await card(maya, account_id)
    assert "TikTok &lt;b&gt;no longer&lt;/b&gt; accepts it." in told
    assert "Test call" not in told


async def test_a_permission_that_ends_soon_is_told_before_it_does(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await change(refresh_expires_at=datetime.now(UTC) + timedelta(days=14, minutes=1))
    assert "The permission ends" not in await card(maya, account_id)
    await change(refresh_expires_at=datetime.now(UTC) + timedelta(days=14))
    assert "The permission ends" in await card(maya, account_id)


async def test_an_account_is_paused_and_goes_on(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    told = await maya.post(f"/accounts/{account_id}/pause", headers={"hx-request": "true"})
    assert f'id="account-{account_id}"' in told.text
    assert "Paused" in told.text
    assert (await account_of(maya)).paused_at is not None
    plain = await maya.post(f"/accounts/{account_id}/resume")
    assert plain.headers["location"] == f"/accounts#account-{account_id}"
    assert (await account_of(maya)).paused_at is None


async def test_a_test_call_asks_the_platform_now(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await change(creator_at=None)
    told = await maya.post(f"/accounts/{account_id}/test", headers={"hx-request": "true"})
    assert "It works: TikTok answered for @maya.makes." in told.text
    assert (await account_of(maya)).creator_at is not None


async def test_a_test_call_renews_a_token_that_is_turned_down(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await studio.world.arm("token_expired")
    told = await maya.post(f"/accounts/{account_id}/test", headers={"hx-request": "true"})
    assert "It works" in told.text


async def test_a_test_call_that_fails_says_why(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await studio.world.arm("rate_limit", step="creator_info")
    told = await maya.post(f"/accounts/{account_id}/test", headers={"hx-request": "true"})
    assert "It works" not in told.text
    assert "tone-failed" in told.text


async def test_disconnecting_tells_what_happens_and_forgets_the_tokens(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    async with db.owned_by(maya.workspace_id) as conn:
        account = await accounts.get(conn, account_id)
    await a_video(Owner(maya.user_id, maya.workspace_id), account)
    told = await card(maya, account_id)
    assert "1 post on the way or planned will fail" in told
    assert "A knot" in told
    assert (await maya.post(f"/accounts/{account_id}/disconnect")).headers["location"] == "/accounts"
    assert "No account is connected yet" in (await maya.browser.get("/accounts")).text
    assert (await maya.browser.get(f"/accounts/{account_id}/card")).status_code == 404
    async with db.house() as conn:
        kept = await db.rows(conn, "SELECT access_token_enc, refresh_token_enc FROM accounts")
    assert kept == [(None, None)]


async def test_a_strangers_account_cannot_be_seen_or_touched(studio: Studio) -> None:
    maya, noa = await studio.person(browser=True), await studio.person("Noa", browser=True)
    account_id = await studio.account(maya)
    assert (await noa.browser.get(f"/accounts/{account_id}/card")).status_code == 404
    for verb in ("pause", "resume", "test", "disconnect"):
        assert (await noa.post(f"/accounts/{account_id}/{verb}")).status_code == 404, verb
    assert (await account_of(maya)).state == "connected"


async def test_no_page_holds_a_token(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    for text in (await card(maya, account_id), (await maya.browser.get("/accounts")).text):
        assert "act." not in text
        assert "rft." not in text
