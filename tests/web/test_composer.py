"""The composer over HTTP, as a browser without script meets it, and the answers that a script asks for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import db, platforms, publishing
from tests.web.studio import OWN, Person, Studio, open_studio
from tests.world import clip

pytestmark = pytest.mark.anyio
WORDS = "Three knots 🪢 #sailing"


class Desk:
    """Maya at the composer, with two accounts and a video that is still being made."""

    def __init__(self, studio: Studio, maya: Person, first: int, second: int, video_id: int) -> None:
        self.studio, self.maya = studio, maya
        self.first, self.second, self.video_id = first, second, video_id

    def form(self, *, without: tuple[str, ...] = (), **changes: str) -> dict[str, Any]:
        """A form that can be sent; names of accounts' fields are given as `first_own` and `second_text`."""
        fields: dict[str, Any] = {
            "key": "k1",
            "video": str(self.video_id),
            "account": [str(self.first), str(self.second)],
            "text": WORDS,
            "when": "now",
            "zone": "Europe/Kyiv",
        }
        for account_id in (self.first, self.second):
            fields |= {f"{account_id}-open": "1", f"{account_id}-privacy_level": "SELF_ONLY"}
        for name, value in changes.items():
            which, _, word = name.partition("_")
            number = {"first": self.first, "second": self.second}.get(which)
            fields[name if number is None else f"{number}-{word}"] = value
        return {name: value for name, value in fields.items() if name not in without}

    async def send(self, **form: Any) -> Any:
        return await self.maya.post("/compose", self.form(**form))

    async def check(self, **form: Any) -> Any:
        answer = await self.maya.post("/compose/check", self.form(**form))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def made(self) -> list[publishing.Publication]:
        async with db.owned_by(self.maya.workspace_id) as conn:
            found = await publishing.publications.list_for(conn)
            return [one for one in found if one.source == "composer"]

    async def drafts(self) -> list[publishing.drafts.Draft]:
        async with db.owned_by(self.maya.workspace_id) as conn:
            return await publishing.drafts.list_for(conn)


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Desk]:
    async with open_studio(tmp_path, monkeypatch, database) as studio:
        maya = await studio.person("Maya", browser=True)
        first, second = await studio.account(maya, "maya.makes"), await studio.account(maya, "maya.knots")
        far = datetime.now(UTC) + timedelta(days=200)
        answer = await maya.api.post(
            "/api/videos",
            data={"accountId": str(first), "title": "Knots", "publishAt": far.isoformat()},
            files={"file": ("knots.mp4", clip(), "video/mp4")},
        )
        assert answer.status_code == 201, answer.text
        yield Desk(studio, maya, first, second, answer.json()["video"]["id"])


def ticked(page: str, name: str) -> list[str]:
    """The values of the boxes of this name that are ticked on the page."""
    boxes = re.findall(rf'<input[^>]*name="{name}"[^>]*>', page)
    return [re.findall(r'value="([^"]*)"', box)[0] for box in boxes if " checked" in box]


async def test_one_form_makes_one_post_on_each_account_however_often_it_is_sent(desk: Desk) -> None:
    own = {"second_own": "1", "second_text": "Only for this one", "first_allow_comment": "1"}
    kept = (await desk.maya.post("/compose/drafts", desk.form(**own))).json()
    form = desk.form(draft=str(kept["id"]), **own)
    answers = await asyncio.gather(*(desk.maya.post("/compose", form) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {303}
    [publication] = await desk.made()
    assert {answer.headers["location"] for answer in answers} == {f"/publications/{publication.id}"}
    posts = {target.account_id: target.choices for target in publication.targets}
    assert posts[desk.first].title == WORDS and posts[desk.second].title == "Only for this one"
    assert not posts[desk.first].disable_comment and posts[desk.second].disable_comment
    assert publication.text == WORDS and await desk.drafts() == []


async def test_a_form_that_was_sent_before_is_not_taken_for_another_with_the_same_key(desk: Desk) -> None:
    await desk.send()
    changed = await desk.send(text="Other words")
    assert changed.status_code == 422 and "was sent before" in changed.text and "Other words" in changed.text
    [key] = re.findall(r'name="key" value="([^"]+)"', changed.text)
    assert key != "k1"
    again = await desk.send(text="Other words", key=key)
    assert again.status_code == 303 and len(await desk.made()) == 2


async def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(desk: Desk) -> None:
    answer = await desk.send(
        without=(f"{desk.second}-privacy_level",),
        first_own="1",
        first_text="Mine & only <mine>",
        first_commercial="1",
        when="later",
        at="2020-01-01T09:00",
    )
    page = answer.text
    assert answer.status_code == 422
    for name in (f"{desk.second}-privacy_level", f"{desk.first}-commercial", "at"):
        found = re.search(rf'data-wrong="{name}"[^>]*><span class="error"', page)
        assert found, name
    assert "Mine &amp; only &lt;mine&gt;" in page and WORDS in page and 'value="2020-01-01T09:00"' in page
    assert ticked(page, "account") == [str(desk.second), str(desk.first)]
    assert ticked(page, f"{desk.first}-privacy_level") == ["SELF_ONLY"]
    assert await desk.made() == []
    assert (await desk.send(without=("video",))).status_code == 422
    assert (await desk.send(without=("account",))).status_code == 422


async def test_nothing_is_chosen_beforehand_of_what_tiktok_wants_people_to_choose(desk: Desk) -> None:
    page = (await desk.maya.browser.get(f"/compose?video={desk.video_id}&account={desk.first}")).text
    assert ticked(page, "account") == [str(desk.first)]
    for word in (
        "privacy_level",
        "allow_comment",
        "allow_duet",
        "allow_stitch",
        "commercial",
        "ai_generated",
    ):
        assert f'name="{desk.first}-{word}"' in page and ticked(page, f"{desk.first}-{word}") == [], word
    duet = re.findall(rf'<input[^>]*name="{desk.first}-allow_duet"[^>]*>', page)
    assert "disabled" in duet[0] and "off in TikTok’s settings" in page
    assert "Music Usage Confirmation" in page and "Branded Content Policy" in page
    assert "PUBLIC_TO_EVERYONE" not in page, "only what this account offers"


async def test_the_check_counts_as_the_platform_does_and_refuses_what_it_would(desk: Desk) -> None:
    most = await desk.check(text="🪢" * 1100)
    assert most["counts"][f"{desk.first}-text"][0]["used"] == 2200 and most["problems"] == {}
    over = await desk.check(text="🪢" * 1101, second_own="1", second_text="short")
    assert over["counts"][f"{desk.first}-text"] == [{"used": 2202, "most": 2200, "unit": "characters"}]
    assert list(over["problems"]) == [f"{desk.first}-text"]
    assert "short" in over["pieces"][f"preview-{desk.second}"]
    assert "2202 / 2200" in over["pieces"]["text-counts"]
    branded = await desk.check(first_commercial="1", first_brand_content="1")
    assert "wider audience" in branded["problems"][f"{desk.first}-privacy_level"]
    assert "Paid partnership" in branded["pieces"][f"preview-{desk.first}"]


async def test_a_time_is_told_in_words_with_what_the_clocks_do_to_it(desk: Desk) -> None:
    year = datetime.now(UTC).year + 1

    def sunday(month: int) -> datetime:
        """The last one of the month: the clocks of Europe change on it."""
        last = datetime(year, month, 31, tzinfo=UTC)
        return last - timedelta(days=(last.weekday() + 1) % 7)

    async def said(day: datetime, at: str, **more: str) -> str:
        told = await desk.check(when="later", at=f"{day:%Y-%m-%d}T{at}", **more)
        return str(told["pieces"]["when-words"])

    spring, autumn = sunday(3), sunday(10)
    if spring - datetime.now(UTC) < timedelta(days=360):
        leapt = await said(spring, "03:30")
        assert "leap over 03:30" in leapt and "04:30 Europe/Kyiv" in leapt and 'name="fold"' not in leapt
    if autumn - datetime.now(UTC) < timedelta(days=360):
        assert "the first one is used" in await said(autumn, "03:30")
        assert "the second one is used" in await said(autumn, "03:30", fold="1")
    soon = datetime.now(UTC) + timedelta(days=2)
    assert re.search(r"09:00 Europe/Kyiv, in (2 days|\d+ hours)", await said(soon, "09:00"))
    wrong = await desk.check(when="later", at="soon")
    assert wrong["problems"] == {"at": "Give a day and a time."}
    assert list((await desk.check(zone="Europe/Atlantis"))["problems"]) == ["zone"]


async def test_a_draft_is_kept_under_its_own_address_and_removed_by_hand(desk: Desk) -> None:
    first = (await desk.maya.post("/compose/drafts", desk.form(text="Half a sentence"))).json()
    again = (
        await desk.maya.post("/compose/drafts", desk.form(text="A sentence", draft=str(first["id"])))
    ).json()
    assert again["id"] == first["id"] and datetime.fromisoformat(again["savedAt"]) > datetime.fromisoformat(
        first["savedAt"]
    )
    page = (await desk.maya.browser.get(f"/compose?draft={first['id']}")).text
    assert "A sentence" in page and ticked(page, f"{desk.first}-privacy_level") == ["SELF_ONLY"]
    assert "1 unfinished draft" in (await desk.maya.browser.get("/compose")).text
    noor = await desk.studio.person("Noor", browser=True)
    assert (await noor.browser.get(f"/compose?draft={first['id']}")).status_code == 404
    assert (await noor.post("/compose/drafts", {"draft": str(first["id"])})).status_code == 404
    by_hand = await desk.maya.post("/compose", desk.form(act="keep", draft=str(first["id"])))
    assert by_hand.headers["location"] == f"/compose?draft={first['id']}"
    await desk.maya.post(f"/compose/drafts/{first['id']}/remove")
    assert await desk.drafts() == []
    gone = await desk.maya.post("/compose/drafts", desk.form(draft=str(first["id"])))
    assert gone.status_code == 404


async def test_without_script_the_choices_of_an_account_come_with_a_look_at_the_form(desk: Desk) -> None:
    looked = await desk.send(act="look", without=(f"{desk.first}-open", f"{desk.second}-open"))
    assert looked.status_code == 200 and WORDS in looked.text and await desk.made() == []
    assert f'id="panel-{desk.first}"' in looked.text and f'id="preview-{desk.second}"' in looked.text
    one = await desk.maya.post(
        "/compose/panel", desk.form(show=str(desk.second)), headers={"hx-request": "true"}
    )
    assert f'id="tab-{desk.second}"' in one.text and f'id="panel-{desk.first}"' not in one.text
    assert (await desk.send(act="dance")).status_code == 422


async def test_the_next_free_slot_of_an_account_becomes_the_time(desk: Desk) -> None:
    none = await desk.maya.browser.get(
        f"/compose/slot?account={desk.first}", headers={"accept": "application/json"}
    )
    assert none.status_code == 422 and "no weekly slots" in none.json()["error"]["message"]
    async with db.owned_by(desk.maya.workspace_id) as conn:
        for weekday in (1, 4):
            await publishing.slots.add(
                conn, account_id=desk.first, weekday=weekday, wall="09:00", zone="Europe/Kyiv"
            )
        [free, after] = await publishing.slots.next_free(conn, desk.first, count=2)
    fields = (await desk.maya.browser.get(f"/compose/slot?account={desk.first}")).json()
    assert fields == {"when": "later", "at": free.wall, "zone": "Europe/Kyiv", "fold": "0"}
    page = (await desk.send(act=f"slot-{desk.first}")).text
    assert f'value="{free.wall}"' in page and WORDS in page and ticked(page, "when") == ["later"]
    await desk.send(when="later", at=free.wall, zone=free.zone)
    fields = (await desk.maya.browser.get(f"/compose/slot?account={desk.first}")).json()
    assert fields["at"] == after.wall


async def test_what_is_planned_is_changed_in_words_and_time_and_all_of_it_or_nothing(desk: Desk) -> None:
    at = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}T09:00"
    await desk.send(when="later", at=at)
    [publication] = await desk.made()
    address = f"/publications/{publication.id}/edit"
    page = (await desk.maya.browser.get(address)).text
    assert WORDS in page and ticked(page, "when") == ["keep"] and "Change the post" in page
    wrong = await desk.maya.post(address, desk.form(when="keep", text="New", second_privacy_level="NOBODY"))
    assert wrong.status_code == 422 and "New" in wrong.text
    assert (await desk.made())[0] == publication
    saved = await desk.maya.post(address, desk.form(when="keep", text="New"))
    assert saved.status_code == 303
    [changed] = await desk.made()
    assert changed.text == "New" and {one.choices.title for one in changed.targets} == {"New"}
    assert [one.when for one in changed.targets] == [one.when for one in publication.targets]
    later = f"{datetime.now(UTC) + timedelta(days=4):%Y-%m-%d}T10:30"
    await desk.maya.post(address, desk.form(when="later", at=later, text="New"))
    assert {one.wall_time for one in (await desk.made())[0].targets} == {later}


async def test_a_post_that_is_out_stays_as_it_is_when_the_rest_is_changed(desk: Desk) -> None:
    at = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}T09:00"
    await desk.send(when="later", at=at)
    [publication] = await desk.made()
    out = publication.targets[0]
    async with db.owned_by(desk.maya.workspace_id) as conn:
        await publishing.cancel(conn, out.id)
    address = f"/publications/{publication.id}/edit"
    page = (await desk.maya.browser.get(address)).text
    assert "can no longer be changed" in page
    assert f'name="{out.account_id}-privacy_level"' not in page
    assert (await desk.maya.post(address, desk.form(when="keep", text="New"))).status_code == 303
    titles = {one.id: one.choices.title for one in (await desk.made())[0].targets}
    assert titles == {out.id: WORDS, publication.targets[1].id: "New"}


async def test_a_post_whose_panel_does_not_come_with_the_form_stays_as_it_is(desk: Desk) -> None:
    at = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}T09:00"
    await desk.send(when="later", at=at, second_own="1", second_text="Only here", second_allow_comment="1")
    [publication] = await desk.made()
    only_first = {
        "text": "New",
        "when": "keep",
        f"{desk.first}-open": "1",
        f"{desk.first}-privacy_level": "SELF_ONLY",
    }
    answer = await desk.maya.post(f"/publications/{publication.id}/edit", only_first)
    assert answer.status_code == 303, answer.text
    before = {target.account_id: target.choices for target in publication.targets}
    after = {target.account_id: target.choices for target in (await desk.made())[0].targets}
    assert after[desk.first].title == "New" and after[desk.second] == before[desk.second]


async def test_with_the_platforms_own_schedule_the_file_goes_ahead_and_the_time_with_it(desk: Desk) -> None:
    made = await desk.maya.api.post(
        "/api/accounts/sandbox", json={"platform": "youtube", "displayName": "Maya"}
    )
    account_id = made.json()["account"]["id"]
    at = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}T09:00"
    form = desk.form(without=(f"{desk.second}-open",), when="later", at=at) | {
        "account": [str(desk.first), str(account_id)],
        f"{account_id}-open": "1",
        f"{account_id}-title": "Knots",
        f"{account_id}-made_for_kids": "no",
        f"{account_id}-privacy_level": "private",
        f"{account_id}-native": "1",
    }
    assert (await desk.maya.post("/compose", form)).status_code == 303
    [publication] = await desk.made()
    tiktok, youtube = sorted(publication.targets, key=lambda target: target.platform)
    then = publishing.When.on(at, "Europe/Kyiv").at
    assert tiktok.publish_at == then and then is not None
    assert datetime.fromisoformat(youtube.choices.native_at) == then
    assert youtube.publish_at <= datetime.now(UTC)
    address = f"/publications/{publication.id}/edit"
    answer = await desk.maya.post(
        address, {**form, "when": "keep", f"{account_id}-native_kept": then.isoformat()}
    )
    assert answer.status_code == 303, answer.text
    kept = {target.id: target.choices.native_at for target in (await desk.made())[0].targets}
    assert kept[youtube.id] == youtube.choices.native_at
    later = f"{datetime.now(UTC) + timedelta(days=5):%Y-%m-%d}T10:00"
    await desk.maya.post(address, {**form, "at": later})
    moved = {target.id: target for target in (await desk.made())[0].targets}
    assert moved[tiktok.id].wall_time == later and moved[youtube.id].publish_at <= datetime.now(UTC)
    assert moved[youtube.id].choices.native_at > youtube.choices.native_at


async def test_an_upload_for_the_composer_leads_there_with_its_account(desk: Desk) -> None:
    for chosen, then in (("compose", ""), (f"compose-{desk.second}", f"&account={desk.second}")):
        answer = await desk.maya.browser.post(
            "/videos",
            data={"csrf": desk.maya.csrf, "title": "More knots", "accountId": chosen},
            files={"file": ("more.mp4", clip(), "video/mp4")},
            headers=OWN,
        )
        assert answer.status_code == 303, answer.text
        [video_id] = re.findall(r"video=(\d+)", answer.headers["location"])
        assert answer.headers["location"] == f"/compose?video={video_id}{then}"
        page = (await desk.maya.browser.get(answer.headers["location"])).text
        assert "More knots" in page and "It is still being made" in page
    assert f"/compose?video={desk.video_id}" in (await desk.maya.browser.get(f"/videos/{desk.video_id}")).text


async def test_every_platform_has_a_panel_of_its_own_that_can_be_posted(desk: Desk) -> None:
    for platform in platforms.NAMES:
        await posts_by_the_panel_of(desk, platform)


async def posts_by_the_panel_of(desk: Desk, platform: str) -> None:
    made = await desk.maya.api.post(
        "/api/accounts/sandbox", json={"platform": platform, "displayName": f"maya.on.{platform}"}
    )
    assert made.status_code == 201, made.text
    account_id = made.json()["account"]["id"]
    adapter = platforms.get(platform)
    page = (await desk.maya.browser.get(f"/compose?video={desk.video_id}&account={account_id}")).text
    assert f'id="panel-{account_id}"' in page and f"Likeness of the post on {adapter.LABEL}" in page
    form = {
        "video": str(desk.video_id),
        "account": str(account_id),
        "text": "Knots",
        f"{account_id}-open": "1",
        f"{account_id}-title": "Knots",
        f"{account_id}-made_for_kids": "no",
        f"{account_id}-first_comment": "Mine is the bowline.",
    }
    if adapter.PRIVACY:
        [level, *_] = re.findall(rf'name="{account_id}-privacy_level" value="([^"]+)"', page)
        form[f"{account_id}-privacy_level"] = level
    told = (await desk.maya.post("/compose/check", form)).json()
    assert told["problems"] == {}
    assert 5 in [count["used"] for count in told["counts"][f"{account_id}-text"]]
    sent = await desk.maya.post("/compose", form)
    assert sent.status_code == 303, sent.text
    [target] = (await desk.made())[0].targets
    assert target.platform == platform
    assert (target.choices.first_comment != "") is adapter.COMMENTS
