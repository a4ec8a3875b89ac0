"""Brand kits on their pages, and the look in the composer, as a browser with and without script sends it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app import db, videos
from tests.makers import a_picture
from tests.web.studio import OWN, Person, Studio, open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio
JSON = {"accept": "application/json"}
LOOK = {
    "frameAspect": "9:16",
    "frameFit": "crop",
    "frameFocusX": "65",
    "frameFocusY": "50",
    "titleFont": "Vollkorn",
    "titleColour": "#ffcc00",
    "titlePosition": "bottom",
    "captionsBox": "1",
    "captionsBackground": "#102030",
    "captionsPosition": "top",
    "effect-warm": "1",
}


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def sent(
    person: Person, content: bytes, name: str, kind: str = "logo", **headers: str
) -> httpx2.Response:
    return await person.browser.post(
        f"/assets?kind={kind}",
        files={"file": (name, content, "application/octet-stream")},
        headers=OWN | headers,
    )


async def kits_of(person: Person) -> list[videos.kits.Kit]:
    async with db.owned_by(person.workspace_id) as conn:
        return await videos.kits.list_for(conn)


async def checked(person: Person, **form: str) -> dict[str, Any]:
    answer = await person.post("/videos/check", form, headers=JSON)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["wishes"]
    return found


async def test_a_kit_is_made_changed_made_the_default_and_removed(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    assert "No brand kit yet" in (await maya.browser.get("/kits")).text
    form = (await maya.browser.get("/kits/new")).text
    assert re.search(r'name="isDefault"[^>]* checked', form)
    assert (await maya.post("/kits", {"name": "Bold", "isDefault": "1", **LOOK})).status_code == 303
    assert (await maya.post("/kits", {"name": "Calm"})).status_code == 303
    bold, calm = await kits_of(maya)
    assert bold.is_default and bold.design["frame"]["focusX"] == 0.65 and bold.design["effects"] == ["warm"]
    assert bold.design["captions"]["background"] == "#102030" and bold.design["captions"]["enabled"] is False
    page = (await maya.browser.get("/kits")).text
    assert "Bold" in page and "Calm" in page and page.count(">Default<") == 1
    # The form shows what was kept, and kept again nothing of it changes.
    form = (await maya.browser.get(f"/kits/{bold.id}")).text
    assert re.search(r'name="frameAspect" value="9:16" checked', form) and 'value="#ffcc00"' in form
    assert (await maya.post(f"/kits/{calm.id}/default")).status_code == 303
    again = {"name": "Bold, too", **LOOK, "titleSize": "8"}
    assert (await maya.post(f"/kits/{bold.id}", again)).status_code == 303
    assert [(kit.name, kit.is_default) for kit in await kits_of(maya)] == [
        ("Calm", True),
        ("Bold, too", False),
    ]
    assert (await maya.post(f"/kits/{calm.id}/remove")).status_code == 303
    assert [kit.name for kit in await kits_of(maya)] == ["Bold, too"]


async def test_a_refused_kit_comes_back_as_it_was_written(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    answer = await maya.post("/kits", {"name": "", **LOOK, "logo": "asset:4711", "titleSize": "900"})
    assert answer.status_code == 422
    for said in ("Give the kit a name.", "This logo is gone", "#ffcc00"):
        assert said in answer.text or said == "This logo is gone", said
    assert "Must be a number from 1 to 30." in answer.text
    gone = await maya.post("/kits", {"name": "Bold", "logo": "asset:4711"})
    assert gone.status_code == 422 and "This logo is gone" in gone.text
    assert await kits_of(maya) == []


async def test_the_composer_begins_with_the_default_kit_and_can_begin_with_another(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await maya.post("/kits", {"name": "Bold", "isDefault": "1", **LOOK})
    await maya.post("/kits", {"name": "Calm", "frameAspect": "1:1"})
    calm = (await kits_of(maya))[1]
    for path, aspect in (
        ("/videos/new", "9:16"),
        (f"/videos/new?kit={calm.id}", "1:1"),
        ("/videos/new?kit=4711", "original"),
    ):
        page = (await maya.browser.get(path)).text
        assert re.search(rf'name="frameAspect" value="{aspect}" checked', page), path
        # A kit says how captions look; whether this video has some is asked anew.
        assert re.search(r'name="captionsMode" value="off" checked', page)
        assert "style=" not in page and "onclick" not in page and len(page) < 48_000, len(page)


async def test_the_whole_look_of_the_form_reaches_the_video(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    logo = (await sent(maya, a_picture(), "mark.png", **JSON)).json()["asset"]["address"]
    intro = (await sent(maya, clip(), "intro.mp4", "clip", **JSON)).json()["asset"]
    assert intro["length"] == "0:01"
    form = LOOK | {
        "logo": logo, "logoOpacity": "50", "titleText": "@maya", "titleMargin": "12", "captionsMode": "both",
        "captionsText": "1\n00:00:01,000 --> 00:00:02,000\nПривіт\n", "captionsLanguage": "uk",
        "intro": intro["address"], "streams": "1", "stream-dash": "1",
    }  # fmt: skip
    answer = await maya.browser.post(
        "/videos", data=form, files={"file": ("knot.mp4", clip(), "video/mp4")}, headers=OWN
    )
    assert answer.status_code == 303, answer.text
    async with db.owned_by(maya.workspace_id) as conn:
        video = await videos.get(conn, int(answer.headers["location"].rpartition("/")[2]))
    design = video.design
    assert design["watermark"]["url"] == logo and design["watermark"]["opacity"] == 0.5
    assert design["title"] | {"text": "@maya", "font": "Vollkorn", "marginPx": 12} == design["title"]
    assert design["captions"]["srt"] == form["captionsText"] and design["captions"]["mode"] == "both"
    assert design["captions"]["language"] == "uk" and design["intro"] == {"url": intro["address"]}
    assert design["frame"]["aspect"] == "9:16" and design["effects"] == ["warm"]
    assert video.formats == ["dash"]


async def test_captions_longer_than_a_header_go_beside_it_into_the_upload(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    text = "\n".join(
        f"{n}\n00:{n // 60:02}:{n % 60:02},000 --> 00:{n // 60:02}:{n % 60:02},900\nСлово {n}\n"
        for n in range(3500)
    )
    wishes = await checked(maya, captionsMode="side", captionsText=text, title="A knot")
    assert "srt" not in str(wishes["design"]["captions"].get("srt") or "") and len(str(wishes)) < 2000
    noor = await studio.person("Noor", browser=True)
    for person, status in ((noor, 422), (maya, 201)):
        answer = await person.browser.post("/uploads", headers=tus(person, wishes, len(clip())))
        assert answer.status_code == status, answer.text
    part = {"tus-resumable": "1.0.0", "upload-offset": "0", "content-type": "application/offset+octet-stream"}
    done = await maya.browser.patch(
        answer.headers["location"], content=clip(), headers=OWN | part | {"x-csrf-token": maya.csrf}
    )
    assert done.status_code == 204, done.text
    async with db.owned_by(maya.workspace_id) as conn:
        [shown] = await videos.list_for(conn, state=None, words=None, before_id=None, most=5)
    # As the form sends it: a browser ends its lines with CR LF, this client as they are.
    assert shown.video.design["captions"]["srt"] == text


def tus(person: Person, wishes: dict[str, Any], size: int) -> dict[str, str]:
    said = base64.b64encode(json.dumps(wishes).encode()).decode()
    return OWN | {
        "tus-resumable": "1.0.0", "upload-length": str(size), "x-csrf-token": person.csrf,
        "upload-metadata": f"filename {base64.b64encode(b'knot.mp4').decode()},wishes {said}",
    }  # fmt: skip


async def test_what_is_missing_in_the_look_is_said_under_its_field(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    for form, field in (
        ({"captionsMode": "burned"}, "captionsText"),
        ({"captionsMode": "burned", "captionsText": "no captions"}, "captionsText"),
        ({"captionsMode": "loud", "captionsText": "00:00 --> 00:01\nx"}, "captionsMode"),
        ({"frameAspect": "3:2"}, "frameAspect"),
        ({"frameAspect": "1:1", "frameFocusX": "200"}, "frameFocusX"),
        ({"intro": "asset:4711"}, "intro"),
        ({"intro": "https://example.org/x.mp4"}, "intro"),
        ({"titleText": "Hi", "titleFont": "Comic"}, "titleFont"),
    ):
        answer = await maya.post("/videos/check", {"title": "A knot", **form}, headers=JSON)
        assert answer.status_code == 422 and field in answer.json()["error"]["fields"], (form, answer.text)


async def test_a_file_in_use_stays_and_the_page_says_where_it_is_used(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    assert (await sent(maya, a_picture(), "mark.png")).headers["location"] == "/kits#files"
    async with db.owned_by(maya.workspace_id) as conn:
        [logo] = await videos.assets.list_for(conn)
    await maya.post("/kits", {"name": "Bold", "logo": logo.address})
    refused = await maya.post(f"/assets/{logo.id}/remove")
    assert refused.status_code == 409 and "still used in the kit “Bold”" in refused.text
    [kit] = await kits_of(maya)
    await maya.post(f"/kits/{kit.id}/remove")
    assert (await maya.post(f"/assets/{logo.id}/remove")).status_code == 303
    assert "Nothing is kept here yet" in (await maya.browser.get("/kits")).text


async def test_a_video_sent_by_the_api_without_a_design_gets_the_default_kit(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await maya.post("/kits", {"name": "Bold", "isDefault": "1", **LOOK})
    account_id = await studio.account(maya)
    for design, effects in ((None, ["warm"]), ("{}", None)):
        fields = {"accountId": str(account_id), "title": "A knot"} | ({"design": design} if design else {})
        answer = await maya.api.post(
            "/api/videos", data=fields, files={"file": ("a.mp4", clip(), "video/mp4")}
        )
        assert answer.status_code == 201, answer.text
        async with db.owned_by(maya.workspace_id) as conn:
            video = await videos.get(conn, answer.json()["video"]["id"])
        assert video.design.get("effects") == effects


async def test_a_logo_is_kept_and_offered(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    asked = {"hx-request": "true", "x-csrf-token": maya.csrf}
    answer = await sent(maya, a_picture(), "mark.png", **asked)
    assert answer.status_code == 200, answer.text
    assert "mark.png" in answer.text and "checked" in answer.text
    refused = await sent(maya, b"no picture at all", "mark.png", **asked)
    assert refused.status_code == 422
    assert (await maya.browser.get("/assets")).text.count("mark.png") == 1


async def test_a_kept_logo_is_put_on_a_video(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await sent(maya, a_picture(), "mark.png")
    look = {"logo": "asset:1", "logoPosition": "topleft", "logoScale": "20", "title": "A knot"}
    answer = await maya.browser.post(
        "/videos", data=look, files={"file": ("knot.mp4", clip(), "video/mp4")}, headers=OWN
    )
    assert answer.status_code == 303, answer.text
    await studio.worker.run_until_idle(ahead=True)
    page = (await maya.browser.get(answer.headers["location"])).text
    assert "Branded" in page and "Top left, 20 % wide" in page
