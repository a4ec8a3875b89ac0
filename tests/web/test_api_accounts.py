"""The accounts of the JSON API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import accounts, config, db
from tests.web.studio import Studio, open_studio

pytestmark = pytest.mark.anyio
NEW = {"platform": "tiktok", "displayName": "Maya makes"}


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def test_a_simulated_account_is_made_and_listed(studio: Studio) -> None:
    maya = await studio.person()
    answer = await maya.api.post("/api/accounts/sandbox", json=NEW)
    assert answer.status_code == 201
    account = answer.json()["account"]
    assert account["displayName"] == "Maya makes"
    assert (account["platform"], account["state"], account["simulated"]) == ("tiktok", "connected", True)
    assert account["missingScopes"] == []
    assert account["accessExpiresAt"].endswith("Z")
    listed = await maya.api.get("/api/accounts")
    assert listed.json() == {"accounts": [account]}


async def test_no_answer_holds_a_token(studio: Studio) -> None:
    maya = await studio.person()
    answer = await maya.api.post("/api/accounts/sandbox", json=NEW)
    for text in (answer.text, (await maya.api.get("/api/accounts")).text):
        assert "act." not in text
        assert "rft." not in text


async def test_another_workspace_sees_nothing_of_it(studio: Studio) -> None:
    await studio.account(await studio.person())
    other = await studio.person("Noa")
    assert (await other.api.get("/api/accounts")).json() == {"accounts": []}


async def test_the_same_key_makes_one_account(studio: Studio) -> None:
    maya = await studio.person()
    key = {"idempotency-key": "first"}
    first = await maya.api.post("/api/accounts/sandbox", json=NEW, headers=key)
    second = await maya.api.post("/api/accounts/sandbox", json=NEW, headers=key)
    assert (second.status_code, second.json()) == (201, first.json())
    assert len((await maya.api.get("/api/accounts")).json()["accounts"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"platform": "tiktok"}, "displayName"),
        ({"displayName": "Maya"}, "platform"),
        ({"platform": "myspace", "displayName": "Maya"}, "platform"),
        ({"platform": "tiktok", "displayName": ""}, "displayName"),
        ({"platform": "tiktok", "displayName": "  "}, "displayName"),
        ({"platform": "tiktok", "displayName": "x" * 101}, "displayName"),
        ({"platform": "tiktok", "displayName": "Maya", "extra": 1}, "extra"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_made(
    studio: Studio, body: dict[str, str], field: str
) -> None:
    maya = await studio.person()
    answer = await maya.api.post("/api/accounts/sandbox", json=body)
    assert answer.status_code == 422
    assert field in answer.json()["error"]["fields"]
    async with db.owned_by(maya.workspace_id) as conn:
        assert await accounts.list_for(conn) == []


async def test_where_the_real_platform_is_configured_none_is_made(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    maya = await studio.person()
    for name, value in {"SIMULATORS": "off", "TIKTOK_CLIENT_KEY": "k", "TIKTOK_CLIENT_SECRET": "s"}.items():
        monkeypatch.setenv(name, value)
    config.get.cache_clear()
    answer = await maya.api.post("/api/accounts/sandbox", json=NEW)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not_simulated")


async def test_a_stranger_gets_nothing(studio: Studio) -> None:
    stranger = await studio.client()
    assert (await stranger.get("/api/accounts")).status_code == 401
    assert (await stranger.post("/api/accounts/sandbox", json=NEW)).status_code == 401
