"""Another look for a video that is there: the form with what it has, the picture of what it would have, the new run."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from app import db, videos
from app.limits import Limit, take
from app.web import pace
from tests.web.studio import Person, Studio, open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio
PLAIN = {"frameAspect": "original", "captionsMode": "off"}


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    monkeypatch.setenv("VIDEO_FORMATS", "mp4")
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def a_video(person: Person) -> int:
    answer = await person.browser.post(
        "/videos",
        data={"titleText": "As it was", "titleColour": "#ff0000", "captionsMode": "burned",
              "captionsText": "1\n00:00:00,000 --> 00:00:09,000\nHello\n"},
        files={"file": ("knot.mp4", clip(), "video/mp4")},
        headers={"sec-fetch-site": "same-origin"},
    )  # fmt: skip
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rpartition("/")[2])


async def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.jpg")] if folder.exists() else []


async def test_a_picture_of_another_look_is_drawn_and_nothing_of_it_is_kept(
    studio: Studio, tmp_path: Path
) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya)
    page = (await maya.browser.get(f"/videos/{video_id}/look")).text
    assert 'value="As it was"' in page and "00:00:09,000" in page
    assert re.search(r'name="captionsMode" value="burned" checked', page) and "style=" not in page
    shots = {}
    for name, look in (
        ("plain", PLAIN),
        ("square", PLAIN | {"frameAspect": "1:1", "frameFit": "pad", "frameColour": "#00ff00"}),
        ("grey", PLAIN | {"effect-grayscale": "1"}),
    ):
        answer = await maya.browser.get(f"/videos/{video_id}/look/preview", params={"at": "0.4", **look})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.text
        assert answer.headers["cache-control"] == "no-store"
        shots[name] = Image.open(io.BytesIO(answer.content)).convert("RGB")
    assert shots["plain"].size == (640, 360) and shots["square"].size == (720, 720)
    red, green, blue = shots["square"].getpixel((300, 20))  # type: ignore[misc]  # RGB is a tuple
    assert green > 200 and red < 60 and blue < 60
    assert all(max(pixel) - min(pixel) < 12 for pixel in shots["grey"].resize((8, 8)).get_flattened_data())
    assert not all(
        max(pixel) - min(pixel) < 12 for pixel in shots["plain"].resize((8, 8)).get_flattened_data()
    )
    assert await left_in(tmp_path / "temp") == []


async def test_a_look_that_cannot_be_drawn_says_why_and_costs_no_turn(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya)
    most = Limit(f"web:preview:{maya.user_id}", pace.PREVIEWS, pace.WINDOW_S, "Too many")
    async with db.house() as conn:
        for number in range(pace.PREVIEWS - 1):
            assert await take(conn, f"before-{number}", [most]) is None
    address = f"/videos/{video_id}/look/preview"
    for query, field in (({"frameAspect": "3:2"}, "frameAspect"), (PLAIN | {"logo": "asset:4711"}, "logo")):
        answer = await maya.browser.get(address, params=query, headers={"accept": "application/json"})
        assert answer.status_code == 422 and field in answer.json()["error"]["fields"], answer.text
    for status in (200, 429):
        answer = await maya.browser.get(address, params=PLAIN | {"at": "nan"})
        assert answer.status_code == status, answer.text
    assert float(answer.headers["retry-after"]) > 0


async def test_a_video_is_branded_anew_once_it_is_out_and_not_before(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya)
    page = (await maya.browser.get(f"/videos/{video_id}/look")).text
    assert "The video is on its way" in page
    early = await maya.post(f"/videos/{video_id}/look", {"titleText": "Anew"})
    assert early.status_code == 409
    await studio.worker.run_until_idle()
    refused = await maya.post(
        f"/videos/{video_id}/look", {"titleText": "Anew", "titleSize": "900", "effect-warm": "1"}
    )
    assert refused.status_code == 422 and "Must be a number from 1 to 30." in refused.text
    assert re.search(r'name="effect-warm" value="1" checked', refused.text) and 'value="Anew"' in refused.text
    async with db.owned_by(maya.workspace_id) as conn:
        before = await videos.get(conn, video_id)
    assert before.design["title"]["text"] == "As it was" and before.state == videos.State.EDITED
    done = await maya.post(f"/videos/{video_id}/look", {"titleText": "Anew", "effect-warm": "1"})
    assert (done.status_code, done.headers["location"]) == (303, f"/videos/{video_id}")
    await studio.worker.run_until_idle()
    async with db.owned_by(maya.workspace_id) as conn:
        after = await videos.get(conn, video_id)
    assert after.state == videos.State.EDITED and after.design["title"]["text"] == "Anew"
    assert after.design["effects"] == ["warm"] and "captions" not in after.design
    assert after.edited_sha256 != before.edited_sha256


async def test_without_script_the_look_is_tried_by_loading_the_page(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya)
    page = (
        await maya.browser.get(f"/videos/{video_id}/look", params={"frameAspect": "4:5", "at": "0.5"})
    ).text
    found = re.search(r'<img src="(/videos/\d+/look/preview\?[^"]+)"', page)
    assert found and "frameAspect=4%3A5" in found[1] and "at=0.5" in found[1]
    assert (await maya.browser.get(found[1].replace("&amp;", "&"))).status_code == 200
