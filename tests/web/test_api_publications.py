"""Publications of the JSON API: planned, seen, changed, called off, retried and settled, each once for each key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from app import db
from tests.makers import Owner
from tests.publishing import room_kit
from tests.web.conftest import Client

pytestmark = pytest.mark.anyio
DAY = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")


@dataclass
class Desk:
    """Somebody with an edited video and two accounts, who asks by API."""

    owner: Owner
    api: httpx2.AsyncClient
    video_id: int
    accounts: list[int]

    def asked(self, **more: Any) -> dict[str, Any]:
        targets = [{"accountId": account_id} for account_id in self.accounts]
        return {
            "videoId": self.video_id,
            "text": "A knot",
            "targets": targets,
            "at": f"{DAY}T09:00",
            "zone": "Europe/Kyiv",
            **more,
        }

    async def plan(self, **more: Any) -> dict[str, Any]:
        answer = await self.api.post("/api/publications", json=self.asked(**more))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()["publication"]
        return found


async def sit_down(client: Client, name: str) -> Desk:
    api = client()
    email = f"{name}@example.org"
    answer = await api.post(
        "/api/auth/sign-up", json={"email": email, "password": "correct horse battery", "name": name}
    )
    told = answer.json()
    api.headers["authorization"] = f"Bearer {told['accessToken']}"
    owner = Owner(told["user"]["id"], told["workspace"]["id"])
    accounts = [await room_kit.an_account(owner) for _ in range(2)]
    return Desk(owner, api, await room_kit.a_video(owner), accounts)


@pytest.fixture
async def maya(app: Starlette, client: Client, settings: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    yield await sit_down(client, "maya")


async def count(table: str) -> int:
    async with db.house() as conn:
        return int(await db.value(conn, f"SELECT count(*) FROM {table}"))  # type: ignore[arg-type]  # a table of ours


async def test_a_publication_is_planned_and_shown_with_its_targets(maya: Desk) -> None:
    made = await maya.plan()
    assert made["status"] == "scheduled" and made["text"] == "A knot"
    assert made["when"].startswith(datetime.fromisoformat(DAY).strftime("%a"))
    for target in made["targets"]:
        assert (target["at"], target["zone"], target["status"]) == (
            f"{DAY}T09:00",
            "Europe/Kyiv",
            "scheduled",
        )
        assert target["post"] == {"title": "A knot", "privacyLevel": "SELF_ONLY"}
        assert target["attempts"] == [] and target["next"] == "It goes out at its time."
    seen = await maya.api.get(f"/api/publications/{made['id']}")
    assert seen.json() == {"publication": made}
    listed = await maya.api.get("/api/publications", params={"status": "scheduled"})
    assert listed.json() == {"publications": [made], "nextBefore": None}
    none = await maya.api.get("/api/publications", params={"status": "published"})
    assert none.json()["publications"] == []
    by_account = await maya.api.get("/api/publications", params={"accountId": str(maya.accounts[1])})
    assert [one["id"] for one in by_account.json()["publications"]] == [made["id"]]


async def test_lists_go_on_where_they_ended(maya: Desk) -> None:
    made = [await maya.plan(at=f"{DAY}T1{hour}:00", allowDuplicate=True) for hour in range(3)]
    first = (await maya.api.get("/api/publications", params={"limit": "2"})).json()
    rest = (await maya.api.get("/api/publications", params={"before": str(first["nextBefore"])})).json()
    found = [one["id"] for one in first["publications"] + rest["publications"]]
    assert found == [one["id"] for one in reversed(made)]


async def test_a_moment_with_an_offset_is_the_same_moment(maya: Desk) -> None:
    made = await maya.plan(at=None, publishAt=f"{DAY}T09:00:00+05:30", zone="Asia/Kolkata")
    [first, _] = made["targets"]
    assert first["publishAt"] == f"{DAY}T03:30:00Z" and first["at"] == f"{DAY}T09:00"


async def test_without_a_time_it_is_in_line_at_once(maya: Desk) -> None:
    made = await maya.plan(at=None, zone=None)
    assert {target["status"] for target in made["targets"]} == {"queued"}


async def test_the_same_key_plans_once(maya: Desk) -> None:
    key = {"idempotency-key": "one"}
    answers = [await maya.api.post("/api/publications", json=maya.asked(), headers=key) for _ in range(2)]
    assert answers[0].status_code == answers[1].status_code == 201
    assert answers[0].json() == answers[1].json()
    assert await count("publications") == 1
    other = await maya.api.post("/api/publications", json=maya.asked(text="Another"), headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"at": "2001-01-01T09:00"}, "at"),
        ({"at": "soon"}, "at"),
        ({"at": f"{DAY}T09:00+02:00"}, "at"),
        ({"at": (datetime.now(UTC) + timedelta(days=400)).strftime("%Y-%m-%dT%H:%M")}, "at"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"publishAt": f"{DAY}T09:00:00Z"}, "publishAt"),
        ({"at": None, "publishAt": f"{DAY}T09:00:00"}, "publishAt"),
        ({"targets": []}, "targets"),
        ({"text": "x" * 2201}, "targets.0.post.title"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_planned_is_named_by_its_field_and_leaves_nothing(
    maya: Desk, more: dict[str, Any], field: str
) -> None:
    answer = await maya.api.post("/api/publications", json=maya.asked(**more))
    assert answer.status_code == 422, answer.text
    assert field in answer.json()["error"]["fields"]
    assert await count("publications") == await count("targets") == await count("procrastinate_jobs") == 0


async def test_a_mistake_of_one_account_is_named_by_its_place(maya: Desk) -> None:
    targets = [
        {"accountId": maya.accounts[0]},
        {"accountId": maya.accounts[1], "post": {"privacyLevel": "FOLLOWER_OF_CREATOR"}},
    ]
    answer = await maya.api.post("/api/publications", json=maya.asked(targets=targets))
    assert list(answer.json()["error"]["fields"]) == ["targets.1.post.privacyLevel"]
    twice = [{"accountId": maya.accounts[0]}] * 2
    answer = await maya.api.post("/api/publications", json=maya.asked(targets=twice))
    assert list(answer.json()["error"]["fields"]) == ["targets"]
    assert await count("publications") == 0


async def test_the_same_within_a_day_is_refused_unless_it_is_meant(maya: Desk) -> None:
    await maya.plan()
    again = await maya.api.post("/api/publications", json=maya.asked(at=f"{DAY}T18:00"))
    assert (again.status_code, again.json()["error"]["code"]) == (409, "duplicate")
    assert list(again.json()["error"]["fields"]) == ["targets.0", "targets.1"]
    assert await count("publications") == 1
    await maya.plan(at=f"{DAY}T18:00", allowDuplicate=True)
    await maya.plan(text="Another knot")


async def test_accounts_that_cannot_post_are_refused(maya: Desk) -> None:
    broken = await room_kit.an_account(maya.owner, state="needs_reconnect")
    answer = await maya.api.post("/api/publications", json=maya.asked(targets=[{"accountId": broken}]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "needs_reconnect")
    failed = await room_kit.a_video(maya.owner, state="FAILED")
    answer = await maya.api.post("/api/publications", json=maya.asked(videoId=failed))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_ready")


async def test_text_and_time_are_changed_together(maya: Desk) -> None:
    own = {"accountId": maya.accounts[1], "post": {"title": "Mine alone"}}
    made = await maya.plan(targets=[{"accountId": maya.accounts[0]}, own])
    answer = await maya.api.patch(
        f"/api/publications/{made['id']}",
        json={"text": "A better knot", "at": f"{DAY}T20:00"},
        headers={"idempotency-key": "one"},
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json()["publication"]
    assert changed["text"] == "A better knot"
    # Only those that had the common text get the new one.
    assert [target["post"]["title"] for target in changed["targets"]] == ["A better knot", "Mine alone"]
    assert {target["at"] for target in changed["targets"]} == {f"{DAY}T20:00"}
    assert {target["zone"] for target in changed["targets"]} == {"Europe/Kyiv"}


async def test_a_change_of_one_account_leaves_what_it_does_not_name(maya: Desk) -> None:
    made = await maya.plan()
    choices = {"accountId": maya.accounts[0], "post": {"disableComment": True}}
    answer = await maya.api.patch(f"/api/publications/{made['id']}", json={"targets": [choices]})
    first, second = answer.json()["publication"]["targets"]
    assert first["post"] == {"title": "A knot", "privacyLevel": "SELF_ONLY", "disableComment": True}
    assert second == made["targets"][1]
    wrong = {"targets": [choices, {"accountId": 4711, "post": {"title": "x"}}], "text": "New"}
    answer = await maya.api.patch(f"/api/publications/{made['id']}", json=wrong)
    assert answer.status_code == 422 and list(answer.json()["error"]["fields"]) == ["targets.1"]
    seen = await maya.api.get(f"/api/publications/{made['id']}")
    assert seen.json()["publication"]["text"] == "A knot"


async def test_a_post_that_the_platform_may_have_is_not_changed(maya: Desk) -> None:
    made = await maya.plan(targets=[{"accountId": maya.accounts[0]}])
    target_id = made["targets"][0]["id"]
    async with db.house() as conn:
        for state in ("queued", "publishing", "unconfirmed"):
            await conn.execute("UPDATE targets SET state = %s WHERE id = %s", [state, target_id])
    for method, path, body in (
        ("PATCH", f"/api/publications/{made['id']}", {"at": f"{DAY}T20:00"}),
        ("DELETE", f"/api/publications/{made['id']}", None),
        ("POST", f"/api/targets/{target_id}/cancel", None),
        ("POST", f"/api/targets/{target_id}/retry", None),
    ):
        answer = await maya.api.request(method, path, json=body)
        assert answer.status_code == 409, f"{method} {path}"
    answer = await maya.api.post(f"/api/targets/{target_id}/settle", json={"published": True})
    assert answer.json()["target"]["status"] == "published"


async def test_calling_off_again_changes_nothing_and_a_retry_plans_it_again(maya: Desk) -> None:
    made = await maya.plan()
    for _ in range(2):
        answer = await maya.api.delete(f"/api/publications/{made['id']}")
        assert answer.json()["publication"]["status"] == "cancelled"
    target_id = made["targets"][0]["id"]
    again = await maya.api.post(f"/api/targets/{target_id}/retry", headers={"idempotency-key": "one"})
    assert again.json()["target"]["status"] == "queued"
    repeat = await maya.api.post(f"/api/targets/{target_id}/retry", headers={"idempotency-key": "one"})
    assert repeat.json() == again.json()
    assert (await maya.api.post(f"/api/targets/{target_id}/retry")).status_code == 409


async def test_another_workspace_finds_nothing_and_changes_nothing(maya: Desk, client: Client) -> None:
    made = await maya.plan()
    noor = await sit_down(client, "noor")
    target_id = made["targets"][0]["id"]
    for method, path, body in (
        ("GET", f"/api/publications/{made['id']}", None),
        ("PATCH", f"/api/publications/{made['id']}", {"text": "Theirs"}),
        ("DELETE", f"/api/publications/{made['id']}", None),
        ("POST", f"/api/targets/{target_id}/retry", None),
        ("POST", f"/api/targets/{target_id}/cancel", None),
        ("POST", f"/api/targets/{target_id}/settle", {"published": True}),
        ("POST", "/api/publications", noor.asked(videoId=maya.video_id)),
        ("POST", "/api/publications", noor.asked(targets=[{"accountId": maya.accounts[0]}])),
    ):
        answer = await noor.api.request(method, path, json=body)
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    assert (await maya.api.get(f"/api/publications/{made['id']}")).json() == {"publication": made}
    assert (await noor.api.get("/api/publications")).json()["publications"] == []
