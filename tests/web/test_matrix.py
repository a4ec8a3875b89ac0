"""Nobody passes a door that is not theirs: every route of the one list, as a stranger and as another workspace's owner.

A new route, or a new kind of id in a path, fails here until the matrix knows how to ask for it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app import batches, db, publishing, videos
from app.web.access import Access, Door
from app.web.routes import ROUTES
from tests.makers import a_picture, pieces
from tests.web import streams_kit
from tests.web.studio import OWN, Person, Studio, open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio

PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class Scene:
    """Maya owns one of everything; Noor owns nothing and knows every id of Maya's."""

    studio: Studio
    maya: Person
    noor: Person
    ids: dict[str, str]


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Scene]:
    async with open_studio(tmp_path, monkeypatch, database) as studio:
        maya = await studio.person("Maya", browser=True)
        noor = await studio.person("Noor", browser=True)
        account_id = await studio.account(maya)
        answer = await maya.api.post(
            "/api/videos",
            data={"accountId": str(account_id), "title": "Mine"},
            files={"file": ("mine.mp4", clip(), "video/mp4")},
        )
        video_id = answer.json()["video"]["id"]
        upload = await videos.uploads.begin(
            workspace_id=maya.workspace_id,
            user_id=maya.user_id,
            filename="half.mp4",
            bytes_total=1000,
            asked=videos.wishes.Wishes(title="Half"),
        )
        async with db.owned_by(maya.workspace_id) as conn:
            batch = await batches.upload_all(
                conn,
                workspace_id=maya.workspace_id,
                user_id=maya.user_id,
                files=[batches.File("Mine.mp4", 1000, "Mine, too")],
                asked=videos.wishes.Wishes(),
            )
            [place] = (await batches.show(conn, batch.id)).items
            kit = await videos.kits.add(
                conn, workspace_id=maya.workspace_id, user_id=maya.user_id, name="Mine", design={}
            )
            draft = await publishing.drafts.save(
                conn, workspace_id=maya.workspace_id, user_id=maya.user_id, form={"text": "Mine"}
            )
            slot = await publishing.slots.add(
                conn, account_id=account_id, weekday=0, wall="09:00", zone="Europe/Kyiv"
            )
        logo = await videos.assets.take_in(
            pieces(a_picture()), workspace_id=maya.workspace_id, user_id=maya.user_id, name="Mine.png"
        )
        stream_id = await streams_kit.a_stream(maya.workspace_id, maya.user_id, video_id)
        async with db.house() as conn:
            ids = {
                "stream_id": stream_id,
                "track": "v0",
                "number": "0",
                "language": "en",
                "video_id": video_id,
                "batch_id": batch.id,
                "item_id": place.item.id,
                "publication_id": await db.value(conn, "SELECT id FROM publications"),
                "draft_id": draft.id,
                "slot_id": slot.id,
                "kit_id": kit.id,
                "asset_id": logo.id,
                "account_id": account_id,
                "target_id": await db.value(conn, "SELECT id FROM targets"),
                "job_id": await db.value(conn, "SELECT min(id) FROM procrastinate_jobs"),
                "session_id": await db.value(
                    conn,
                    "SELECT max(id) FROM sessions WHERE user_id = %s AND kind = 'browser'",
                    [maya.user_id],
                ),
                "upload_id": upload.id,
                "queue": "video-edit",
                "task": "sweep",
                "platform": "tiktok",
                "token": "forged",
            }
        yield Scene(studio, maya, noor, {name: str(value) for name, value in ids.items()})


def doors() -> list[tuple[Door, str]]:
    return [
        (door, method)
        for door in ROUTES
        for method in sorted(door.methods or ())
        if not (method == "HEAD" and "GET" in (door.methods or ()))
    ]


def path_of(door: Door, ids: dict[str, str]) -> str:
    def fill(found: re.Match[str]) -> str:
        assert found[1] in ids, f"{door.path}: the matrix does not know {found[1]}"
        return ids[found[1]]

    return PARAMETER.sub(fill, door.path)


async def ask(door: Door, method: str, person: Person | None, scene: Scene) -> httpx2.Response:
    """Knock as `person` would, with all that a real request brings."""
    path = path_of(door, scene.ids)
    if door.path.startswith("/api/"):
        asking = person.api if person else await scene.studio.client()
        return await asking.request(method, path, json={} if method in UNSAFE else None)
    asking = person.browser if person else await scene.studio.client()
    form = {"csrf": person.csrf if person else ""}
    headers = dict(OWN)
    if method == "PATCH":
        headers |= {
            "tus-resumable": "1.0.0", "upload-offset": "0", "content-type": "application/offset+octet-stream",
            "x-csrf-token": form["csrf"],
        }  # fmt: skip
        return await asking.request(method, path, content=b"x" * 1000, headers=headers)
    if method in UNSAFE:
        headers |= {"tus-resumable": "1.0.0", "x-csrf-token": form["csrf"]}
        return await asking.request(method, path, data=form, headers=headers)
    return await asking.request(method, path, headers=headers | {"tus-resumable": "1.0.0"})


TABLES = (
    "videos",
    "targets",
    "uploads",
    "accounts",
    "assets",
    "batches",
    "batch_items",
    "streams",
    "brand_kits",
    "publications",
    "post_drafts",
    "weekly_slots",
)


async def everything() -> str:
    """A picture of all that belongs to anybody, to compare before and after."""
    async with db.house() as conn:
        pictures = []
        for table in TABLES:
            query = f"SELECT coalesce(jsonb_agg(t ORDER BY id), '[]')::text FROM {table} AS t"
            pictures.append(str(await db.value(conn, query)))  # type: ignore[arg-type]  # a table of ours
        return "|".join(pictures)


@pytest.mark.parametrize(("door", "method"), doors(), ids=lambda value: getattr(value, "path", value))
def test_every_route_has_a_class(door: Door, method: str) -> None:
    assert isinstance(door.access, Access)
    if "_id" in door.path and "/admin/" not in door.path and "session_id" not in door.path:
        assert door.access is Access.OWNED, f"{door.path} carries an id of somebody's"
    if door.path.startswith("/admin"):
        assert door.access is Access.OPERATOR


async def test_a_stranger_passes_public_doors_only(scene: Scene) -> None:
    before = await everything()
    for door, method in doors():
        if door.access in (Access.PUBLIC, Access.WORLD) or door.path == "/live":
            continue
        answer = await ask(door, method, None, scene)
        assert answer.status_code in (303, 401, 403, 404), f"{method} {door.path}: {answer.status_code}"
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/sign-in"), f"{method} {door.path}"
        assert "Mine" not in answer.text, f"{method} {door.path}"
    assert await everything() == before


async def test_another_owner_finds_nothing_behind_a_foreign_id(scene: Scene) -> None:
    before = await everything()
    for door, method in doors():
        if door.access is Access.OWNED:
            answer = await ask(door, method, scene.noor, scene)
            # 422: the empty form is refused before anything is looked up; the next test holds that against missing ids.
            assert answer.status_code in (404, 422), f"{method} {door.path}: {answer.status_code}"
            assert "Mine" not in answer.text, f"{method} {door.path}"
    assert await everything() == before


async def test_a_foreign_id_and_one_that_never_was_are_told_apart_to_nobody(scene: Scene) -> None:
    never = {
        **scene.ids,
        "video_id": "999999",
        "stream_id": "999999",
        "target_id": "999999",
        "account_id": "999999",
        "batch_id": "999999",
        "item_id": "999999",
        "publication_id": "999999",
        "draft_id": "999999",
        "slot_id": "999999",
        "kit_id": "999999",
        "asset_id": "999999",
        "upload_id": "00000000-0000-4000-8000-000000000000",
    }
    for door, method in doors():
        if door.access is not Access.OWNED:
            continue
        foreign = await ask(door, method, scene.noor, scene)
        missing = await ask(door, method, scene.noor, Scene(scene.studio, scene.maya, scene.noor, never))
        assert foreign.status_code == missing.status_code, f"{method} {door.path}"
        assert told(foreign) == told(missing), f"{method} {door.path}"


def told(answer: httpx2.Response) -> str:
    """What the answer says, without the address asked for and the number of the request."""
    return re.sub(r"[0-9a-f-]{16,}|csrf[^>]*|[0-9]+", "", answer.text)


async def test_an_ordinary_person_finds_no_operators_pages(scene: Scene) -> None:
    before = await everything()
    for door, method in doors():
        if door.access is Access.OPERATOR:
            answer = await ask(door, method, scene.noor, scene)
            assert answer.status_code in (403, 404), f"{method} {door.path}: {answer.status_code}"
    assert await everything() == before


async def test_lists_and_live_streams_show_the_own_workspace_only(scene: Scene) -> None:
    for door, method in doors():
        if (
            door.access is Access.SIGNED_IN
            and method == "GET"
            and not PARAMETER.search(door.path)
            and door.path != "/live"
        ):
            answer = await ask(door, method, scene.noor, scene)
            assert "Mine" not in answer.text and "maya.makes" not in answer.text, f"{method} {door.path}"
    for topic in (f"video-{scene.ids['video_id']}", f"target-{scene.ids['target_id']}",
                  f"publication-{scene.ids['publication_id']}",
                  f"account-{scene.ids['account_id']}", f"stream-{scene.ids['stream_id']}",
                  f"workspace-{scene.maya.workspace_id}"):  # fmt: skip
        answer = await scene.noor.browser.get("/live", params={"topic": topic})
        assert answer.status_code == 404, topic


async def test_somebody_elses_session_cannot_be_ended(scene: Scene) -> None:
    answer = await scene.noor.post(f"/sessions/{scene.ids['session_id']}/revoke")
    async with db.house() as conn:
        assert (
            await db.value(conn, "SELECT revoked_at FROM sessions WHERE id = %s", [scene.ids["session_id"]])
            is None
        )
    assert answer.status_code in (303, 404)


async def test_a_stored_file_opens_by_its_signed_link_only(scene: Scene) -> None:
    found = await scene.maya.api.get(f"/api/videos/{scene.ids['video_id']}")
    link = httpx2.URL(found.json()["video"]["srcUrl"]).raw_path.decode()
    stranger = await scene.studio.client()
    assert (await stranger.get(link)).status_code == 200
    for forged in (link[:-3] + "AAA", link + "x", "/media/forged", link.replace("/media/", "/media/x")):
        assert (await stranger.get(forged)).status_code == 404, forged
