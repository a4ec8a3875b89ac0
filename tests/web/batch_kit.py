"""How a program and a browser open batches, fill their places and look at them."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2

from app import db, videos
from tests.makers import pieces
from tests.web.studio import OWN, Person
from tests.web.test_uploads import said
from tests.world import clip

HTMX = {"hx-request": "true"}
JSON = {"accept": "application/json"}
WORDS = b"These are only words.\n" * 3000


def three(**more: Any) -> dict[str, Any]:
    """A body that announces three files of the size of the clip."""
    names = ("red_knot.mp4", "blue_knot.mp4", "words.mp4")
    return {"files": [{"filename": name, "bytes": len(clip())} for name in names], **more}


async def opened(person: Person, **more: Any) -> dict[str, Any]:
    answer = await person.api.post("/api/batches", json=three(**more))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["batch"]
    return found


async def send(
    person: Person, batch: dict[str, Any], at: int, content: bytes | None = None
) -> httpx2.Response:
    """The file of one place, by the API."""
    path = f"/api/batches/{batch['id']}/items/{batch['items'][at]['id']}/file"
    return await person.api.post(path, files={"file": ("knot.mp4", content or clip(), "video/mp4")})


async def seen(person: Person, batch: dict[str, Any]) -> dict[str, Any]:
    answer = await person.api.get(f"/api/batches/{batch['id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["batch"]
    return found


async def a_video(person: Person, account_id: int | None = None, title: str = "A knot") -> int:
    video = await videos.uploads.take_in(
        pieces(clip()),
        workspace_id=person.workspace_id,
        user_id=person.user_id,
        filename="knot.mp4",
        asked=videos.wishes.Wishes(title=title, account_id=account_id),
    )
    return video.id


async def rows_left() -> dict[str, int]:
    async with db.house() as conn:
        return {
            "batches": int(await db.value(conn, "SELECT count(*) FROM batches")),
            "items": int(await db.value(conn, "SELECT count(*) FROM batch_items")),
            "uploads": int(await db.value(conn, "SELECT count(*) FROM uploads")),
        }


def statuses(batch: dict[str, Any]) -> list[str]:
    return [item["status"] for item in batch["items"]]


async def begin(person: Person, item_id: int, size: int, name: str = "knot.mp4") -> httpx2.Response:
    pairs = {"filename": name, "item": str(item_id)}
    headers = said(person) | {"upload-length": str(size), "upload-metadata": encoded(pairs)}
    return await person.browser.post("/uploads", headers=headers)


def encoded(pairs: dict[str, str]) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


async def composed(person: Person, names: list[str], **form: str) -> httpx2.Response:
    """What upload.js sends for several files."""
    checked = await person.browser.post(
        "/videos/check", data=form, headers=OWN | JSON | {"x-csrf-token": person.csrf}
    )
    assert checked.status_code == 200, checked.text
    files = [{"filename": name, "bytes": len(clip()), "title": None} for name in names]
    return await person.post(
        "/batches",
        {
            "act": "upload",
            "files": json.dumps(files),
            "wishes": json.dumps(checked.json()["wishes"]),
            "key": "abc",
        },
        headers=JSON,
    )


async def act(person: Person, act: str, ids: list[int], **form: Any) -> httpx2.Response:
    return await person.post("/batches", {"act": act, "video": [str(one) for one in ids], **form})


async def result(person: Person, answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 303, answer.text
    return await seen(person, {"id": int(answer.headers["location"].rpartition("/")[2])})


async def failed(video_id: int, reason: str = "The picture cannot be decoded.") -> None:
    """As the edit's own end leaves it when no try is left."""
    async with db.house() as conn:
        job_id = await db.value(conn, "SELECT job_id FROM videos WHERE id = %s", [video_id])
        await videos.give_up(conn, job_id, video_id, reason, "bad")
        await conn.execute("DELETE FROM procrastinate_jobs WHERE id = %s", [job_id])
