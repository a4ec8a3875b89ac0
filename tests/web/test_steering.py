"""Operators steer while everything runs: limits of a queue, pauses of a task, a platform, an account."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from app import db, jobs, queue
from app.web.access import Access, route
from app.web.admin import frame, steering
from tests.web.operators import acts, operator, stale
from tests.web.studio import Person, Studio, open_studio

pytestmark = pytest.mark.anyio
LIMITS = "/admin/queues/video-edit/limits"


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def in_force(name: str = "video-edit") -> tuple[Any, ...] | None:
    async with db.house() as conn:
        found = await db.rows(
            conn,
            "SELECT together, starts, window_s, each, fair, set_by FROM queue_limits WHERE queue = %s",
            [name],
        )
    return found[0] if found else None


async def paused() -> list[tuple[str, str, str]]:
    async with db.house() as conn:
        return [(pause.kind, pause.name, pause.reason) for pause in await queue.pauses(conn)]


# Limits


async def test_limits_are_put_in_force_and_written_down(studio: Studio) -> None:
    olga = await operator(studio)
    answer = await olga.post(
        LIMITS, {"together": "4", "starts": "10", "window_s": "1.5", "each": "", "fair": " 2 "}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/queues")
    assert await in_force() == (4, 10, 1.5, None, 2, olga.user_id)
    assert await acts() == [("queue.limits_set", "video-edit", 1)]
    async with db.house() as conn:
        [act] = await queue.lately.acts(conn)
    assert act.detail["before"]["together"] is None
    assert act.detail["after"] == {"together": 4, "starts": 10, "window_s": 1.5, "each": None, "fair": 2}


async def test_an_empty_form_is_no_limit_at_all_whatever_the_settings_say(studio: Studio) -> None:
    olga = await operator(studio)
    assert jobs.VIDEO_EDIT.effective().fair == 2
    assert (await olga.post(LIMITS)).status_code == 303
    assert await in_force() == (None, None, None, None, None, olga.user_id)


async def test_a_reset_puts_the_settings_in_force_again(studio: Studio) -> None:
    olga = await operator(studio)
    await olga.post(LIMITS, {"together": "4"})
    assert (await olga.post(f"{LIMITS}/reset")).status_code == 303
    line = jobs.VIDEO_EDIT.effective()
    most = line.most or (None, None)
    assert await in_force() == (line.everywhere, *most, line.each, line.fair, None)
    assert [act[0] for act in await acts()] == ["queue.limits_reset", "queue.limits_set"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"together": "four"}, "“four” is no number"),
        ({"together": "-1"}, "“-1” is no number"),
        ({"together": "1e3"}, "“1e3” is no number"),
        ({"together": "٣"}, "is no number"),
        ({"together": "9" * 40}, "is no number"),
        ({"together": "0"}, "from 1 to 10,000"),
        ({"starts": "3"}, "belong together"),
        ({"starts": "3", "window_s": "nan"}, "“nan” is no number"),
        ({"starts": "3", "window_s": "0"}, "more than 0"),
        ({"starts": "3", "window_s": "86401"}, "a day"),
        ({"each": "2.5"}, "“2.5” is no number"),
        ({"fair": "<b>"}, "no number"),
    ],
)
async def test_what_is_no_limit_is_refused_and_nothing_is_written(
    studio: Studio, form: dict[str, str], said: str
) -> None:
    olga = await operator(studio)
    answer = await olga.post(LIMITS, form)
    assert answer.status_code == 422
    assert said in answer.text and "<b>" not in answer.text.replace("<body", "")
    assert (await in_force(), await acts()) == (None, [])


async def test_a_queue_nobody_knows_has_no_limits(studio: Studio) -> None:
    olga = await operator(studio)
    for path in ("/admin/queues/nothing/limits", "/admin/queues/nothing/limits/reset"):
        assert (await olga.post(path, {"together": "1"})).status_code == 404
    assert await acts() == []


# Pauses


async def test_a_task_a_platform_and_an_account_are_paused_and_let_go(studio: Studio) -> None:
    olga = await operator(studio)
    account_id = await studio.account(olga)
    for kind, subject in (("task", "upload-video"), ("platform", "tiktok"), ("account", str(account_id))):
        answer = await olga.post(
            "/admin/pauses", {"kind": kind, "subject": subject, "reason": " New   keys "}
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/queues")
    names = ["upload-video", "tiktok", f"account-{account_id}"]
    assert await paused() == [
        ("task", names[0], "New keys"), ("platform", names[1], "New keys"), ("account", names[2], "New keys"),
    ]  # fmt: skip
    async with db.house() as conn:
        lines = await steering.pause_lines(conn)
    assert [(line.label, line.by) for line in lines] == [
        ("upload-video", "Olga"), ("TikTok", "Olga"), ("maya.makes", "Olga"),
    ]  # fmt: skip
    for name in names:
        assert (await olga.post(f"/admin/pauses/{name}/end")).status_code == 303
    assert await paused() == []
    told = [act[:2] for act in await acts()][::-1]
    kinds = ["task", "platform", "account"]
    assert told == [(f"{kind}.{verb}", name) for verb in ("paused", "resumed")
                    for kind, name in zip(kinds, names, strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "subject", "status"),
    [
        ("task", "no-such-task", 422),
        ("task", "tiktok", 422),
        ("platform", "myspace", 422),
        ("account", "999999", 422),
        ("account", "account-x", 422),
        ("account", "9" * 30, 422),
        ("queue", "video-edit", 422),
        ("", "", 422),
    ],
)
async def test_what_does_not_exist_cannot_be_paused(
    studio: Studio, kind: str, subject: str, status: int
) -> None:
    olga = await operator(studio)
    answer = await olga.post("/admin/pauses", {"kind": kind, "subject": subject})
    assert answer.status_code == status
    assert (await paused(), await acts()) == ([], [])


async def test_a_second_pause_says_so_and_keeps_the_first(studio: Studio) -> None:
    olga = await operator(studio)
    await olga.post("/admin/pauses", {"kind": "platform", "subject": "tiktok", "reason": "First"})
    answer = await olga.post("/admin/pauses", {"kind": "platform", "subject": "tiktok", "reason": "Second"})
    assert (answer.status_code, "paused already" in answer.text) == (409, True)
    assert await paused() == [("platform", "tiktok", "First")]
    assert len(await acts()) == 1


async def test_what_is_not_paused_here_is_not_let_go(studio: Studio) -> None:
    olga = await operator(studio)
    await olga.post("/admin/queues/video-edit/pause")
    for name in ("tiktok", "video-edit"):
        assert (await olga.post(f"/admin/pauses/{name}/end")).status_code == 404
    assert [kind for kind, _, _ in await paused()] == ["queue"]


# Who may


PATHS = [
    (LIMITS, {"together": "1"}),
    (f"{LIMITS}/reset", {}),
    ("/admin/pauses", {"kind": "platform", "subject": "tiktok"}),
    ("/admin/pauses/upload-video/end", {}),
]


async def standing(olga: Person) -> None:
    await olga.post(LIMITS, {"together": "7"})
    await olga.post("/admin/pauses", {"kind": "task", "subject": "upload-video"})


@pytest.mark.parametrize(("path", "form"), PATHS, ids=[path for path, _ in PATHS])
async def test_only_operators_with_a_fresh_sign_in_steer(
    studio: Studio, path: str, form: dict[str, str]
) -> None:
    olga = await operator(studio)
    noa = await studio.person("Noa", browser=True)
    await standing(olga)
    before = (await in_force(), await paused(), await acts())
    assert (await noa.post(path, form)).status_code in (403, 404)
    await stale(olga)
    answer = await olga.post(path, form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/again?next=%2Fadmin%2Fqueues")
    assert (await in_force(), await paused(), await acts()) == before


# What the page shows


async def test_the_page_shows_what_is_in_force_for_each_queue(studio: Studio) -> None:
    olga = await operator(studio)
    await olga.post(LIMITS, {"together": "4", "starts": "3", "window_s": "90"})
    page = (await olga.browser.get("/admin/queues")).text
    [edit] = re.findall(r'<details class="limits" id="steering-video-edit">.*?</details>', page, re.S)
    [upkeep] = re.findall(r'<details class="limits" id="steering-upkeep">.*?</details>', page, re.S)
    for name, value in (("together", "4"), ("starts", "3"), ("window_s", "90"), ("each", ""), ("fair", "")):
        assert re.search(rf'name="{name}"[^>]* value="{value}"', edit), name
    assert f'action="{LIMITS}/reset"' in edit and "limits/reset" not in upkeep


async def test_what_is_paused_is_listed_with_who_why_and_a_way_on(studio: Studio) -> None:
    olga = await operator(studio)

    async def part(request: Request) -> Response:
        async with db.house() as conn:
            pauses = await steering.pause_lines(conn)
        return frame.show(request, "admin/_pauses.html", pauses=pauses, pausable=steering.pausable())

    studio.app.router.routes.insert(0, route("/admin/part", part, Access.OPERATOR))
    assert "No task, platform or account is paused." in (await olga.browser.get("/admin/part")).text
    await olga.post("/admin/pauses", {"kind": "platform", "subject": "tiktok", "reason": "<New> keys"})
    page = (await olga.browser.get("/admin/part")).text
    assert "TikTok" in page and "“&lt;New&gt; keys”" in page and "Olga" in page
    assert 'action="/admin/pauses/tiktok/end"' in page and "Let it go on" in page
    assert "<option>edit-video</option>" in page and "<option>tiktok</option>" in page
