"""Publications over HTTP: how all posts of one stand and what can be done, the list, weekly slots, imports from CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app import db, publishing
from app.web import publications
from tests.publishing import room_kit
from tests.web.calendar_kit import ZONE, Desk, a_desk, forms, nine, row
from tests.web.studio import OWN, open_studio

pytestmark = pytest.mark.anyio
HTMX = {"hx-request": "true"}


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Desk]:
    async with open_studio(tmp_path, monkeypatch, database) as studio:
        yield await a_desk(studio)


def card(page: str, target_id: int) -> str:
    found = re.search(rf'<article[^>]* id="target-{target_id}".*?</article>', page, re.S)
    assert found is not None
    return found[0]


# ---- words ----


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["scheduled"], "It is planned."),
        (["published", "published"], "All 2 are out."),
        (["published", "failed", "published", "scheduled"], "2 of 4 are out; 1 failed; 1 is planned."),
        (["failed", "missed", "missed"], "1 of 3 failed; 2 missed their time."),
        (["held", "published"], "1 of 2 is out; 1 is held back."),
        ([], "It goes to no account."),
    ],
)
def test_how_a_publication_stands_is_told_in_one_sentence(states: list[str], said: str) -> None:
    assert publications.summary(states) == said


async def test_every_failed_post_names_its_next_action(desk: Desk) -> None:
    [target] = (await desk.plan()).targets
    steps: dict[str, tuple[str, str | None]] = {}
    for verdict, code in (
        ("content_rejected", "file_format_check_failed"),
        ("authorisation_lost", "x"),
        ("permanent", "y"),
        ("permanent", "needs_reconnect"),
    ):
        async with db.house() as conn:
            await conn.execute(
                "UPDATE targets SET state = 'failed', verdict = %s, reason_code = %s WHERE id = %s",
                [verdict, code, target.id],
            )
        step = publications.next_of(await row(target.id))
        assert step is not None
        steps[code] = (step.text, step.href)
    assert steps["file_format_check_failed"][1] == f"/publications/{target.publication_id}/edit"
    assert steps["x"] == ("Connect the account again, then retry.", "/accounts")
    assert steps["y"][0].startswith("Retry it") and steps["needs_reconnect"][1] == "/accounts"


# ---- one publication ----


async def test_the_page_tells_each_posts_state_reason_and_next_action_and_retries_only_what_failed(
    desk: Desk,
) -> None:
    found = await desk.plan(desk.tiktok, desk.youtube, title="Three knots")
    out, failed = found.targets
    await desk.out(out.id)
    async with db.house() as conn:
        await conn.execute("UPDATE targets SET url = 'https://example.org/p/1' WHERE id = %s", [out.id])
        await conn.execute(
            """UPDATE targets SET state = 'failed', reason = 'It is too short.', verdict = 'content_rejected'
                WHERE id = %s""",
            [failed.id],
        )
    page = await desk.see(f"/publications/{found.id}")
    assert "Partly posted" in page and "1 of 2 is out; 1 failed." in page
    assert 'href="https://example.org/p/1"' in card(page, out.id) and "Only me" in card(page, out.id)
    assert "It is too short." in card(page, failed.id) and "Edit the post" in card(page, failed.id)
    assert "Retry" not in card(page, out.id) and "Cancel" not in card(page, out.id)
    live = re.search(rf'id="publication-{found.id}"[^>]* data-live="([^"]+)"', page)
    assert live is not None and live[1].split() == [f"publication-{found.id}", f"video-{desk.video_id}"]
    answer = await desk.maya.post(f"/publications/{found.id}/retry", headers=HTMX)
    assert answer.text.lstrip().startswith(f'<div id="publication-{found.id}"')
    assert [(await row(one.id)).state for one in (out, failed)] == ["published", "queued"]
    assert "1 of 2 is out; 1 is in line." in answer.text
    again = await desk.maya.post(f"/publications/{found.id}/retry")
    assert (again.status_code, again.headers["location"]) == (303, f"/publications/{found.id}")
    assert [(await row(one.id)).state for one in (out, failed)] == ["published", "queued"]


async def test_what_is_not_out_is_moved_and_cancelled_together_or_one_by_one(desk: Desk) -> None:
    found = await desk.plan(desk.tiktok, desk.youtube)
    one, _ = found.targets
    later = nine(days=6)
    answer = await desk.maya.post(f"/publications/{found.id}/move", {"at": later.wall, "zone": ZONE})
    assert answer.status_code == 303
    assert {(await row(target.id)).publish_at for target in found.targets} == {later.at}
    assert (
        (await desk.maya.post(f"/publications/targets/{one.id}/stop"))
        .headers["location"]
        .endswith(f"#target-{one.id}")
    )
    assert [(await row(target.id)).state for target in found.targets] == ["cancelled", "scheduled"]
    page = await desk.see(f"/publications/{found.id}")
    assert "1 of 2 is planned; 1 was cancelled." in page and "Plan again" in card(page, one.id)
    assert (await desk.maya.post(f"/publications/targets/{one.id}/again")).status_code == 303
    assert (await desk.maya.post(f"/publications/{found.id}/cancel")).status_code == 303
    assert {(await row(target.id)).state for target in found.targets} == {"cancelled"}
    await desk.out((await desk.plan(desk.tiktok, title="Out")).targets[0].id)
    gone = (await desk.see("/publications?state=published")).split('id="pub-')[1].split('"')[0]
    answer = await desk.maya.post(f"/publications/{gone}/cancel", headers={"accept": "application/json"})
    assert answer.status_code == 409


async def test_an_unconfirmed_post_can_be_settled_by_who_has_looked(desk: Desk) -> None:
    [target] = (await desk.plan()).targets
    async with db.house() as conn:
        for state in ("queued", "publishing", "unconfirmed"):
            await conn.execute("UPDATE targets SET state = %s WHERE id = %s", [state, target.id])
    assert "I have looked on TikTok" in await desk.see(f"/publications/{target.publication_id}")
    path = f"/publications/targets/{target.id}/settled"
    assert (await desk.maya.post(path, {"published": "perhaps"})).status_code == 422
    assert (await desk.maya.post(path, {"published": "yes"})).status_code == 303
    assert (await row(target.id)).state == "published"


async def test_the_page_of_one_post_reads_well_on_a_platform_of_its_own_words(desk: Desk) -> None:
    found = await desk.plan(desk.youtube, title="On YouTube")
    [target] = found.targets
    async with db.house() as conn:
        await conn.execute(
            """UPDATE targets SET post = '{"title": "On YouTube", "privacy_level": "unlisted"}' WHERE id = %s""",
            [target.id],
        )
    page = await desk.see(f"/videos/{desk.video_id}/targets/{target.id}")
    assert (
        "YouTube" in page
        and "Anyone with the link" in page
        and f"/publications/{found.id}#target-{target.id}" in page
    )
    async with db.house() as conn:
        await conn.execute(
            """UPDATE targets SET post = '{"title": "On YouTube"}' WHERE id = %s""", [target.id]
        )
    assert "Visible to" not in await desk.see(f"/videos/{desk.video_id}/targets/{target.id}")
    assert "Visible to" not in await desk.see(f"/publications/{found.id}")


# ---- the list, and the first page ----


async def test_the_list_is_filtered_by_state_and_account_and_turns_its_pages(desk: Desk) -> None:
    for count in range(publications.A_PAGE):
        await desk.plan(when=nine(days=3 + count), title=f"Planned {count}")
    held = await desk.late(await desk.plan(desk.youtube, title="Held one"), "held")
    page = await desk.see("/publications")
    assert page.count('id="pub-') == publications.A_PAGE and "Held back" in page and "Planned 0" not in page
    older = re.search(r'href="([^"]+)" rel="next"', page)
    assert older is not None and "Planned 0" in await desk.see(older[1].replace("&amp;", "&"))
    only = await desk.see(f"/publications?account={desk.youtube}&state=scheduled")
    assert only.count('id="pub-') == 1 and "Held one" in only
    assert "Nothing of this choice" in await desk.see("/publications?state=failed")
    assert (await desk.maya.browser.get("/publications?state=odd")).status_code == 404
    rows = (await desk.maya.browser.get(f"/publications/rows?account={desk.youtube}")).text
    assert rows.lstrip().startswith('<div id="publications"') and f"#target-{held}" not in rows
    noor = await desk.studio.person("Noor", browser=True)
    assert "No publications yet" in (await noor.browser.get("/publications")).text


async def test_the_first_page_leads_to_every_post_that_needs_somebody(desk: Desk) -> None:
    both = await desk.plan(desk.tiktok, desk.youtube, title="Half failed")
    one, two = both.targets
    await desk.out(two.id)
    async with db.house() as conn:
        await conn.execute(
            "UPDATE targets SET state = 'failed', reason = 'It is too short.' WHERE id = %s", [one.id]
        )
    missed = await desk.late(await desk.plan(desk.youtube, title="Missed one"))
    unsure = (await desk.plan(desk.tiktok, title="Unsure one")).targets[0]
    waits = (await desk.plan(desk.youtube, title="Waiting one", when=nine(days=5))).targets[0]
    async with db.house() as conn:
        for state in ("queued", "publishing", "unconfirmed"):
            await conn.execute("UPDATE targets SET state = %s WHERE id = %s", [state, unsure.id])
        await conn.execute(
            "UPDATE targets SET changed_at = now() - interval '2 hours' WHERE id = %s", [unsure.id]
        )
        await conn.execute(
            "UPDATE targets SET reason_code = 'needs_reconnect', reason = 'Connect it.' WHERE id = %s",
            [waits.id],
        )
    soon = (await desk.plan(desk.youtube, title="Soon one", when=room_kit.in_(ZONE, hours=30))).targets[0]
    page = await desk.see("/")
    needs, following = page.split('id="next"')
    for target_id in (one.id, missed, unsure.id, waits.id):
        assert f"#target-{target_id}" in needs, target_id
    assert "It is too short." in needs and "1 post waits for your word" in needs
    assert (
        f"#target-{soon.id}" in following
        and "in 30 hours" in following
        and f"#target-{waits.id}" not in following
    )


# ---- weekly slots ----


async def test_slots_are_added_shown_as_a_week_and_removed(desk: Desk) -> None:
    path = f"/accounts/{desk.tiktok}/slots"
    form = {"weekday": ["0", "4"], "wall": "18:30", "zone": "America/New_York"}
    assert (await desk.maya.post(path, form)).status_code == 303
    assert (await desk.maya.post(path, form)).status_code == 303
    page = await desk.see(path)
    assert page.count('class="slot-one') == 2 and "America/New_York" in page and "Next free" in page
    for bad, said in (
        ({"weekday": []}, "Choose at least one day."),
        ({"weekday": ["9"]}, "Choose at least one day."),
        ({"wall": "25:00"}, "Give a time of day."),
        ({"zone": "Nowhere/City"}, "Choose a time zone."),
    ):
        answer = await desk.maya.post(path, {**form, **bad})
        assert answer.status_code == 422 and said in answer.text, bad
    async with db.owned_by(desk.maya.workspace_id) as conn:
        first, second = await publishing.slots.weekly(conn, desk.tiktok)
    assert (await desk.maya.post(f"{path}/{first.id}/remove")).status_code == 303
    # A slot of another account is none of this one's.
    other = f"/accounts/{desk.youtube}/slots/{second.id}/remove"
    assert (await desk.maya.post(other)).status_code == 404
    assert (await desk.see(path)).count('class="slot-one') == 1


# ---- imports ----


async def sent(desk: Desk, text: str | bytes) -> httpx2.Response:
    """The import's form with a file, as a browser sends it."""
    files = {"file": ("plan.csv", text, "text/csv")}
    headers = OWN | {"x-csrf-token": desk.maya.csrf}
    return await desk.maya.browser.post("/publications/import/preview", files=files, headers=headers)


async def count_of(table: str) -> int:
    async with db.house() as conn:
        return int(await db.value(conn, f"SELECT count(*) FROM {table}"))  # type: ignore[arg-type]  # a name of our own


async def test_the_example_file_is_one_that_can_be_planned(desk: Desk) -> None:
    answer = await desk.maya.browser.get("/publications/import/example.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert lines and set(lines[0]) == set(publishing.imports.COLUMNS)
    page = (await sent(desk, answer.text.replace(",public,", ",private,"))).text
    assert 'data-label="video"' in page and "knot-" in page


async def test_a_file_is_looked_at_first_and_its_mistakes_stand_in_their_columns(desk: Desk) -> None:
    async with db.owned_by(desk.maya.workspace_id) as conn:
        handle = (await publishing.publications.list_for(conn)) or None
    assert handle is None
    async with db.house() as conn:
        handle = await db.value(conn, "SELECT handle FROM accounts WHERE id = %s", [desk.tiktok])
    text = (
        "video;accounts;at;zone;title;privacy\n"
        f"{desk.video_id};{handle};{nine().wall};{ZONE};<b>Good</b>;SELF_ONLY\n"
        f"{desk.video_id};nobody;{nine(days=-1).wall};{ZONE};Bad;SELF_ONLY\n"
    )
    answer = await sent(desk, text)
    assert answer.status_code == 200, answer.text
    page = answer.text
    good, bad = re.findall(r"<tr>\s*<td class=\"num\".*?</tr>", page, re.S)
    assert "Can be planned" in good and "&lt;b&gt;Good" in good and f"@{handle}" in good
    assert re.search(r'data-label="accounts">(?:(?!</td>).)*No connected account is called nobody', bad, re.S)
    assert re.search(r'data-label="at">(?:(?!</td>).)*passed already', bad, re.S) and "Has mistakes" in bad
    assert (await count_of("publications"), await count_of("batches")) == (0, 0)
    form = next(one for one in forms(page) if one["action"] == "/publications/import")
    body: dict[str, Any] = {"key": form["key"], "csv": text}
    first = await desk.maya.post("/publications/import", body)
    assert first.status_code == 303 and first.headers["location"].startswith("/batches/")
    again = await desk.maya.post("/publications/import", body)
    assert again.headers["location"] == first.headers["location"] and await count_of("publications") == 1
    batch = await desk.see(first.headers["location"])
    assert "2 posts from a file" in batch and "No connected account is called nobody" in batch
    assert (
        "1 line"
        in (
            await desk.maya.post(
                "/publications/import/preview", {"csv": text.rpartition(str(desk.video_id))[0]}
            )
        ).text
    )


async def test_what_is_no_such_file_is_refused_in_a_sentence_and_the_text_is_kept(desk: Desk) -> None:
    for content, said in (
        (b"video,accounts,when do you want it\n1,a,b\n", "There is no column called"),
        (b"", "The file is empty."),
        ("video,accounts\n1,ж\n".encode("cp1251"), "not saved as UTF-8"),
        (b"\0\1\2", "not a text file"),
        (b"video,accounts\n", "no rows"),
    ):
        answer = await sent(desk, content)
        assert answer.status_code == 422 and said in answer.text, answer.text
    answer = await desk.maya.post("/publications/import/preview", {"csv": 'video,accounts,"odd\n1,2,3'})
    assert answer.status_code == 422 and "1,2,3" in answer.text
    kept = await desk.maya.post("/publications/import/text", {"csv": "video,accounts\n7,me"})
    assert "video,accounts\n7,me" in kept.text
    assert (await count_of("publications"), await count_of("batches")) == (0, 0)
