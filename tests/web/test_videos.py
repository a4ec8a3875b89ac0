"""The creator's pages of videos: library, composer, one video, and what can be done there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app import accounts, db, platforms, publishing, queue, videos
from app.web import compose
from app.web import videos as web_videos
from tests.makers import pieces
from tests.web.studio import NOTHING, OWN, Person, Studio, open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio
HTMX = {"hx-request": "true"}


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def a_video(
    person: Person,
    account_id: int | None = None,
    title: str = "A knot",
    *,
    privacy: str = "SELF_ONLY",
    at: datetime | None = None,
) -> int:
    wishes = videos.wishes.Wishes(
        title=title,
        account_id=account_id,
        post=platforms.Post(title=title, privacy_level=privacy) if account_id else None,
        publish_at=at,
    )
    video = await videos.uploads.take_in(
        pieces(clip()),
        workspace_id=person.workspace_id,
        user_id=person.user_id,
        filename="knot.mp4",
        asked=wishes,
    )
    return video.id


def file_form(person: Person, content: bytes, **fields: str) -> dict[str, Any]:
    return {
        "files": {"file": ("my_first knot.mp4", content, "video/mp4")},
        "data": {"csrf": person.csrf, **fields},
        "headers": OWN,
    }


# ---- library ----


async def test_an_empty_library_says_what_to_do(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    page = (await maya.browser.get("/videos")).text
    assert "No videos yet" in page and "/videos/new" in page


async def test_the_library_is_filtered_by_state_and_words_in_its_address(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await a_video(maya, title="Red knot")
    cancelled = await a_video(maya, title="Blue knot")
    async with db.owned_by(maya.workspace_id) as conn:
        await videos.cancel(conn, cancelled)
    titles = {}
    for query in ("", "?state=CANCELLED", "?words=red", "?words=knot.mp4", "?words=red&state=CANCELLED"):
        text = (await maya.browser.get(f"/videos{query}")).text
        titles[query] = re.findall(r'class="title"[^>]*>([^<]+)<', text)
    assert titles == {
        "": ["Blue knot", "Red knot"],
        "?state=CANCELLED": ["Blue knot"],
        "?words=red": ["Red knot"],
        "?words=knot.mp4": ["Blue knot", "Red knot"],
        "?words=red&state=CANCELLED": [],
    }
    assert (await maya.browser.get("/videos?state=LOST")).status_code == 404


async def test_a_long_library_goes_on_on_further_pages(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_videos, "A_PAGE", 2)
    maya = await studio.person(browser=True)
    for number in range(3):
        await a_video(maya, title=f"Knot {number}")
    first = (await maya.browser.get("/videos")).text
    older = re.search(r'href="(/videos\?before=\d+)"', first)
    assert older is not None and "Knot 2" in first and "Knot 0" not in first
    second = (await maya.browser.get(older[1])).text
    assert "Knot 0" in second and "Knot 2" not in second and "Newest" in second


async def test_text_of_people_is_shown_as_text(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya, title='<script>alert(1)</script> "quoted" & more')
    for path in ("/videos", f"/videos/{video_id}", "/", "/videos?words=<b>"):
        page = (await maya.browser.get(path)).text
        assert "<script>alert" not in page and "<b>" not in page, path


# ---- composer ----


async def test_the_composer_offers_what_the_creator_may_and_preselects_nothing(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    page = (await maya.browser.get("/videos/new")).text
    levels = re.findall(r'name="privacyLevel" value="([A-Z_]+)"([^>]*)', page)
    async with db.owned_by(maya.workspace_id) as conn:
        from_account = await accounts.get(conn, account_id)
    creator = accounts.creator_of(from_account)
    assert creator is not None
    assert [level for level, _ in levels] == list(creator.privacy_levels)
    assert all("checked" not in rest for _, rest in levels)
    for name, off in (
        ("allowComment", creator.comment_disabled),
        ("allowDuet", creator.duet_disabled),
        ("allowStitch", creator.stitch_disabled),
    ):
        box = re.search(rf'name="{name}" value="1"([^>]*)>', page)
        assert box is not None and "checked" not in box[1] and ("disabled" in box[1]) == off
    assert "Music Usage Confirmation" in page and "a few minutes to process" in page
    assert creator.display_name in page


async def check(person: Person, **fields: str) -> httpx2.Response:
    return await person.browser.post(
        "/videos/check",
        data=fields,
        headers=OWN | {"x-csrf-token": person.csrf, "accept": "application/json"},
    )


async def test_a_form_without_a_chosen_audience_is_told_so(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    answer = await check(maya, accountId=str(account_id), title="A knot")
    assert answer.status_code == 422
    assert set(answer.json()["error"]["fields"]) == {"privacyLevel"}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"commercial": "1"}, "commercial"),
        ({"privacyLevel": "SELF_ONLY", "commercial": "1", "brandContent": "1"}, "privacyLevel"),
        ({"privacyLevel": "NOBODY_AT_ALL"}, "privacyLevel"),
        ({"title": "x" * 2300}, "title"),
        ({"when": "later", "at": "soon"}, "at"),
        ({"when": "later", "at": "2020-01-01T09:00"}, "at"),
        ({"zone": "Middle/Earth"}, "zone"),
        ({"titleText": "Hi", "titleColour": "red"}, "titleColour"),
        ({"logo": "asset:4711"}, "logo"),
        ({"logo": "house", "logoOpacity": "lots"}, "logoOpacity"),
        ({"accountId": "x"}, "accountId"),
    ],
)
async def test_each_problem_of_the_form_stands_under_its_own_field(
    studio: Studio, fields: dict[str, str], wrong: str
) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    asked = {"accountId": str(account_id), "title": "A knot", "privacyLevel": "SELF_ONLY"} | fields
    answer = await check(maya, **asked)
    assert answer.status_code == 422, answer.text
    assert wrong in answer.json()["error"]["fields"]


async def test_a_foreign_account_is_not_found(studio: Studio) -> None:
    maya, eve = await studio.person(browser=True), await studio.person("Eve", browser=True)
    account_id = await studio.account(maya)
    answer = await check(eve, accountId=str(account_id), title="A knot", privacyLevel="SELF_ONLY")
    assert answer.status_code == 404


async def test_the_form_becomes_exactly_what_was_chosen(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    answer = await check(
        maya,
        accountId=str(account_id),
        title="A knot",
        privacyLevel="SELF_ONLY",
        allowComment="1",
        commercial="1",
        brandOrganic="1",
        titleText="Three knots",
        titlePosition="bottom",
        titleSize="8",
        titleColour="#ffcc00",
        **{"effect-fade-in": "1"},
        when="later",
        at=f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT09:00}",
        zone="Europe/Kyiv",
    )
    assert answer.status_code == 200, answer.text
    wishes = answer.json()["wishes"]
    assert wishes["post"] == {
        "title": "A knot",
        "privacyLevel": "SELF_ONLY",
        "disableComment": False,
        "disableDuet": True,
        "disableStitch": True,
        "coverMs": None,
        "brandContent": False,
        "brandOrganic": True,
        "aiGenerated": False,
    }
    assert wishes["design"] == {
        "title": {"text": "Three knots", "position": "bottom", "sizePercent": 8, "colour": "#ffcc00"},
        "effects": ["fade-in"],
    }
    assert wishes["zone"] == "Europe/Kyiv" and wishes["publishAt"].endswith("+00:00")
    assert videos.wishes.read(wishes).account_id == account_id


def test_a_time_the_clock_leaps_over_is_moved_on_and_said() -> None:
    moment = compose.moment("2026-03-29T03:30", "Europe/Kyiv")
    assert moment.at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert moment.note is not None and "04:30 is used" in moment.note


def test_of_a_time_that_comes_twice_the_first_is_used_and_said() -> None:
    moment = compose.moment("2026-10-25T03:30", "Europe/Kyiv")
    assert moment.at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert moment.note is not None and "the first one is used" in moment.note


async def test_a_chosen_time_is_echoed_with_zone_and_distance(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    at = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M}"
    text = (await maya.browser.get("/videos/new/when", params={"at": at, "zone": "UTC"})).text
    assert "UTC" in text and "in 2 days" in text
    past = (await maya.browser.get("/videos/new/when", params={"at": "2020-01-01T00:00", "zone": "UTC"})).text
    assert "is past" in past
    assert (
        "Give a day" in (await maya.browser.get("/videos/new/when", params={"at": "x", "zone": "UTC"})).text
    )


async def test_a_browser_without_script_sends_form_and_file_at_once(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    fields = {"accountId": str(account_id), "privacyLevel": "SELF_ONLY", "when": "now", "zone": "UTC"}
    answer = await maya.browser.post("/videos", **file_form(maya, clip(), **fields))
    assert answer.status_code == 303, answer.text
    page = (await maya.browser.get(answer.headers["location"])).text
    assert "my first knot" in page and "In line for branding" in page


async def test_a_browser_without_script_may_fill_in_every_field(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    page = (await maya.browser.get("/videos/new")).text
    form = page[page.index('<form id="composer"') : page.index("</form>", page.index('<form id="composer"'))]
    tags = re.findall(r"<(?:input|select|textarea)[^>]*>", form)
    names = {
        found[1]
        for tag in tags
        if (found := re.search(r' name="([^"]+)"', tag)) and " disabled" not in tag and "file" not in found[1]
    }
    filled = dict.fromkeys(names, "1") | {
        "accountId": str(account_id),
        "privacyLevel": "MUTUAL_FOLLOW_FRIENDS",
        "title": "A knot",
        "logo": "",
        "logoPosition": "top",
        "titlePosition": "top",
        "titleFont": "Vollkorn",
        "titleColour": "#ffcc00",
        "frameAspect": "4:5",
        "frameFit": "pad",
        "frameColour": "#102030",
        "captionsMode": "both",
        "captionsText": "00:00:00,000 --> 00:00:01,000\nHello",
        "captionsLanguage": "en",
        "captionsPosition": "top",
        "captionsColour": "#ffcc00",
        "captionsBackground": "#000000",
        "captionsFont": "Kaushan Script",
        "captionsSize": "5",
        "intro": "",
        "outro": "",
        "when": "later",
        "at": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}",
        "zone": "UTC",
    }
    sent = file_form(maya, clip(), **filled)
    del sent["data"]["csrf"]
    answer = await maya.browser.post("/videos", **sent)
    assert answer.status_code == 303, answer.text


@pytest.mark.parametrize(
    ("content", "fields", "said"),
    [
        (b"just words " * 500, {}, "not a video"),
        (b"", {}, "empty"),
        (None, {"titleText": "Hi", "titlePosition": "outside"}, "Must be one of"),
    ],
)
async def test_a_refused_form_is_shown_again_with_the_reason_and_leaves_nothing(
    studio: Studio, content: bytes | None, fields: Mapping[str, str], said: str
) -> None:
    maya = await studio.person(browser=True)
    answer = await maya.browser.post(
        "/videos", **file_form(maya, clip() if content is None else content, **fields)
    )
    assert answer.status_code in (415, 422)
    assert said in answer.text and 'id="composer"' in answer.text
    assert await studio.left_behind() == NOTHING


async def test_a_form_without_a_file_is_refused(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    answer = await maya.browser.post(
        "/videos", files={"title": (None, "A knot")}, headers=OWN, data={"csrf": maya.csrf}
    )
    assert answer.status_code == 422 and "Choose a video" in answer.text


# ---- one video ----


async def test_the_page_says_why_a_video_waits(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya, await studio.account(maya))
    page = (await maya.browser.get(f"/videos/{video_id}")).text
    assert "No worker is running" in page and "In line for branding" in page
    assert f'data-live="video-{video_id}"' in page


async def test_a_posted_video_shows_player_link_attempts_and_timeline(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya, await studio.account(maya))
    await studio.worker.run_until_idle(ahead=True)
    page = (await maya.browser.get(f"/videos/{video_id}")).text
    assert "Open the post" in page and "<video" in page and "1 attempt" in page
    for said in ("Uploaded", "Branding started", "Posting started", "Posted"):
        assert said in page
    [target_id] = re.findall(rf"/videos/{video_id}/targets/(\d+)", page)
    detail = (await maya.browser.get(f"/videos/{video_id}/targets/{target_id}")).text
    assert "Calls to TikTok" in detail and "send last" in detail and "published" in detail
    played = await maya.browser.get(f"/videos/{video_id}/file")
    assert played.status_code == 303
    part = await maya.browser.get(played.headers["location"], headers={"range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    saved = await maya.browser.get(f"/videos/{video_id}/file?download=1")
    headers = (await maya.browser.head(saved.headers["location"])).headers
    assert headers["content-disposition"].startswith('attachment; filename="knot-branded.mp4"')


async def test_a_failed_post_says_why_and_goes_on_by_retry(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya, await studio.account(maya), privacy="NOT_OFFERED")
    await studio.worker.run_until_idle(ahead=True)
    page = (await maya.browser.get(f"/videos/{video_id}")).text
    assert "Posting failed" in page and "Choose who may see the post" in page and "Retry" in page
    piece = await maya.post(f"/videos/{video_id}/retry", headers=HTMX)
    assert piece.status_code == 200 and "In line to post" in piece.text and "<html" not in piece.text
    again = await maya.post(f"/videos/{video_id}/retry", headers=HTMX)
    assert again.status_code == 409 and again.headers["hx-retarget"] == "#alerts"


async def test_a_video_is_cancelled_with_its_job_and_says_so(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya, await studio.account(maya))
    assert (await maya.post(f"/videos/{video_id}/cancel")).status_code == 303
    page = (await maya.browser.get(f"/videos/{video_id}")).text
    assert "Cancelled" in page and "Retry" in page
    async with db.house() as conn:
        assert [job.shown for job in await queue.find(conn, queue.Filter(task="edit-video"))] == ["cancelled"]
    assert (await maya.post(f"/videos/{video_id}/cancel")).status_code == 409


async def test_a_finished_video_goes_to_a_second_account(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya)
    await studio.worker.run_until_idle(ahead=True)
    second = await studio.account(maya, "second.channel")
    assert "second.channel" in (await maya.browser.get(f"/videos/{video_id}/publish")).text
    form = {"accountId": str(second), "title": "Again", "when": "now", "zone": "UTC"}
    refused = await maya.post(f"/videos/{video_id}/publish", form)
    assert refused.status_code == 422 and "hoose who may see" in refused.text
    planned = await maya.post(f"/videos/{video_id}/publish", form | {"privacyLevel": "SELF_ONLY"})
    assert planned.status_code == 303, planned.text
    await studio.worker.run_until_idle(ahead=True)
    assert [post["title"] for post in await studio.world.posts()] == ["Again"]


async def test_a_planned_post_says_when_and_can_be_cancelled_alone(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    at = datetime.now(UTC) + timedelta(hours=30)
    video_id = await a_video(maya, await studio.account(maya), at=at)
    await studio.worker.run_until_idle()
    page = (await maya.browser.get(f"/videos/{video_id}")).text
    assert "Planned" in page and "in 30 hours" in page
    [target_id] = re.findall(rf"/videos/{video_id}/targets/(\d+)/cancel\"", page)[:1]
    piece = await maya.post(f"/videos/{video_id}/targets/{target_id}/cancel", headers=HTMX)
    assert "Cancelled" in piece.text and f'id="targets-{video_id}"' in piece.text


async def test_an_unconfirmed_post_is_settled_by_hand(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya, await studio.account(maya))
    await studio.worker.run_until_idle()
    async with db.owned_by(maya.workspace_id) as conn:
        [target] = (await publishing.of_videos(conn, [video_id]))[video_id]
    assert target.state == "unconfirmed"
    assert "I have looked" in (await maya.browser.get(f"/videos/{video_id}")).text
    where = f"/videos/{video_id}/targets/{target.id}/settle"
    assert (await maya.post(where, {"published": "perhaps"})).status_code == 422
    assert (await maya.post(where, {"published": "no"})).status_code == 303
    page = (await maya.browser.get(f"/videos/{video_id}")).text
    assert "Posting failed" in page and "did not go out" in page


async def test_nothing_of_a_video_is_shown_to_another_workspace(studio: Studio) -> None:
    maya, eve = await studio.person(browser=True), await studio.person("Eve", browser=True)
    video_id = await a_video(maya, await studio.account(maya))
    own = await a_video(eve)
    async with db.owned_by(maya.workspace_id) as conn:
        [target] = (await publishing.of_videos(conn, [video_id]))[video_id]
    for part in (
        "",
        "/view",
        "/card",
        "/row",
        "/targets",
        "/timeline",
        "/file",
        "/publish",
        f"/targets/{target.id}",
    ):
        assert (await eve.browser.get(f"/videos/{video_id}{part}")).status_code == 404, part
    for part in (
        "/cancel",
        "/retry",
        "/publish",
        f"/targets/{target.id}/cancel",
        f"/targets/{target.id}/retry",
    ):
        assert (await eve.post(f"/videos/{video_id}{part}")).status_code == 404, part
    # A target of another video is not reached through one's own.
    assert (await eve.browser.get(f"/videos/{own}/targets/{target.id}")).status_code == 404
    assert "Nothing fits" in (await eve.browser.get("/videos?words=A+knot&state=EDITING")).text


async def test_every_page_of_a_video_stays_light(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya, await studio.account(maya))
    for path in ("/", "/videos", "/videos/new", f"/videos/{video_id}", "/start"):
        page = await maya.browser.get(path)
        assert page.status_code == 200
        assert len(page.content) < 40_000, path
        assert "style=" not in page.text and "onclick" not in page.text, path
