"""What players are given: playlists from rows, pieces from the storage, for those alone whose video it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import db
from tests.web import streams_kit as kit
from tests.web.studio import Person, Studio, open_studio
from tests.web.test_videos import a_video

pytestmark = pytest.mark.anyio
HTMX = {"hx-request": "true"}


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def a_streamed_video(maya: Person, **stream: object) -> tuple[int, int]:
    video_id = await a_video(maya)
    return video_id, await kit.a_stream(maya.workspace_id, maya.user_id, video_id, **stream)  # type: ignore[arg-type]  # the kit's own options


async def test_a_ready_stream_is_listed_in_full_and_every_piece_opens(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, stream_id = await a_streamed_video(maya)
    at = f"/videos/{video_id}/stream"
    master = await maya.browser.get(f"{at}/master.m3u8")
    assert master.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert master.headers["cache-control"].startswith("private, max-age=")
    assert "RESOLUTION=640x360" in master.text and "RESOLUTION=320x180" in master.text
    for track, kind in (("v0", "video/mp4"), ("v1", "video/mp4"), ("a0", "audio/mp4")):
        assert f"\n{stream_id}/{track}.m3u8" in master.text or f'"{stream_id}/{track}.m3u8"' in master.text
        listed = await maya.browser.get(f"{at}/{stream_id}/{track}.m3u8")
        assert listed.text.endswith("#EXT-X-ENDLIST\n") and "PLAYLIST-TYPE:VOD" in listed.text
        assert listed.headers["cache-control"].startswith("private, max-age=")
        names = re.findall(r'^[^#\n].*$|(?<=URI=")[^"]+', listed.text, re.MULTILINE)
        assert len(names) == 1 + len(kit.cuts()[track].segments)
        for name, wanted in zip(names, [kit.cuts()[track].init, *kit.cuts()[track].segments], strict=True):
            onward = await maya.browser.get(f"{at}/{stream_id}/{name}")
            assert onward.status_code == 302 and 0 < kept_s(onward.headers["cache-control"]) < 600
            piece = await maya.browser.get(onward.headers["location"])
            assert piece.content == wanted and piece.headers["content-type"] == kind


def kept_s(said: str) -> int:
    found = re.fullmatch(r"private, max-age=(\d+)", said)
    return int(found[1]) if found else -1


async def test_a_growing_stream_is_an_open_list_up_to_its_first_gap_and_nobody_keeps_it(
    studio: Studio,
) -> None:
    maya = await studio.person(browser=True)
    there = {"v0": (0, 2), "v1": (0, 1, 2), "a0": (0, 1, 2)}
    video_id, stream_id = await a_streamed_video(maya, state="making", there=there)
    at = f"/videos/{video_id}/stream"
    for address in ("master.m3u8", "manifest.mpd", f"{stream_id}/v0.m3u8"):
        assert (await maya.browser.get(f"{at}/{address}")).headers["cache-control"] == "no-store"
    top = (await maya.browser.get(f"{at}/{stream_id}/v0.m3u8")).text
    assert "PLAYLIST-TYPE:EVENT" in top and "ENDLIST" not in top
    assert "v0/0.m4s" in top and "v0/2.m4s" not in top
    assert "v1/2.m4s" in (await maya.browser.get(f"{at}/{stream_id}/v1.m3u8")).text
    assert 'type="dynamic"' in (await maya.browser.get(f"{at}/manifest.mpd")).text


async def test_a_stream_is_not_offered_before_its_sound_is_there(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, stream_id = await a_streamed_video(maya, state="making", there={"v1": (0,)})
    asked = await maya.browser.get(f"/videos/{video_id}/stream/master.m3u8")
    assert asked.status_code == 404 and asked.json()["error"]["code"] == "nothing_to_play"
    assert "data-hls=" not in (await maya.browser.get(f"/videos/{video_id}")).text
    await kit.a_track(maya.workspace_id, stream_id, "a0", (0,))
    assert (await maya.browser.get(f"/videos/{video_id}/stream/master.m3u8")).status_code == 200
    assert "data-hls=" in (await maya.browser.get(f"/videos/{video_id}")).text


async def test_the_dash_manifest_lists_the_same_pieces(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, stream_id = await a_streamed_video(maya)
    answer = await maya.browser.get(f"/videos/{video_id}/stream/manifest.mpd")
    assert answer.headers["content-type"] == "application/dash+xml"
    assert f"{stream_id}/$RepresentationID$/$Number$.m4s" in answer.text and 'type="static"' in answer.text
    hls_only, _ = await a_streamed_video(maya, formats=["hls"])
    assert (await maya.browser.get(f"/videos/{hls_only}/stream/manifest.mpd")).status_code == 404


async def test_captions_chapters_and_the_storyboard_stand_beside_the_stream(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, stream_id = await a_streamed_video(maya)
    at = f"/videos/{video_id}/stream/{stream_id}"
    assert (await maya.browser.get(f"{at}/storyboard.vtt")).status_code == 404
    await kit.put_beside(maya.workspace_id, video_id)
    for name, wanted in (
        ("captions-en", kit.CAPTIONS),
        ("chapters", kit.CHAPTERS),
        ("storyboard", kit.board()),
    ):
        answer = await maya.browser.get(f"{at}/{name}.vtt")
        assert answer.text == wanted and answer.headers["content-type"] == "text/vtt; charset=utf-8"
    onward = await maya.browser.get(f"{at}/storyboard-0.jpg")
    assert (await maya.browser.get(onward.headers["location"])).content == kit.sheet()
    master = (await maya.browser.get(f"/videos/{video_id}/stream/master.m3u8")).text
    assert f'URI="{stream_id}/captions-en.m3u8"' in master and 'NAME="English"' in master
    assert "captions-en.vtt" in (await maya.browser.get(f"{at}/captions-en.m3u8")).text


async def test_the_bearer_of_a_token_plays_too_and_a_stranger_is_told_so_plainly(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, stream_id = await a_streamed_video(maya)
    stranger = await studio.client()
    for address in ("master.m3u8", f"{stream_id}/v0.m3u8", f"{stream_id}/v0/0.m4s"):
        path = f"/videos/{video_id}/stream/{address}"
        assert (await maya.api.get(path)).status_code in (200, 302)
        # Not a way on to the sign-in page: a player would take that for a broken video.
        refused = await stranger.get(path)
        assert refused.status_code == 401 and refused.json()["error"]["code"] == "not_signed_in"
        forged = await stranger.get(path, headers={"authorization": "Bearer forged"})
        assert forged.status_code == 401


async def test_nothing_of_a_stream_opens_under_another_video_or_to_another_workspace(studio: Studio) -> None:
    maya, noor = await studio.person(browser=True), await studio.person("Noor", browser=True)
    video_id, stream_id = await a_streamed_video(maya)
    await kit.put_beside(maya.workspace_id, video_id)
    other_id, _ = await a_streamed_video(maya)
    hers = await a_video(noor)
    parts = (
        "v0.m3u8", "v0/init.mp4", "v0/0.m4s", "storyboard.vtt", "storyboard-0.jpg", "chapters.vtt", "captions-en.vtt",
        "captions-en.m3u8",
    )  # fmt: skip
    for part in parts:
        mine = await maya.browser.get(f"/videos/{video_id}/stream/{stream_id}/{part}")
        assert mine.status_code in (200, 302), part
        for person, video in ((maya, other_id), (noor, video_id), (noor, hers)):
            path = f"/videos/{video}/stream/{stream_id}/{part}"
            assert (await person.browser.get(path)).status_code == 404, path
    for part in ("v0/3.m4s", "v9.m3u8", "v9/init.mp4", "v0/99999999999.m4s", "v0/-1.m4s", "captions-xx.vtt"):
        path = f"/videos/{video_id}/stream/{stream_id}/{part}"
        assert (await maya.browser.get(path)).status_code == 404, path


async def test_the_newest_ready_stream_plays_while_another_is_made(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, first = await a_streamed_video(maya)
    await kit.a_stream(maya.workspace_id, maya.user_id, video_id, state="making")
    assert f"{first}/v0.m3u8" in (await maya.browser.get(f"/videos/{video_id}/stream/master.m3u8")).text


# ---- the section on the page ----


async def test_the_page_says_what_there_is_of_a_video_and_how_large_it_became(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, _ = await a_streamed_video(maya)
    await kit.put_beside(maya.workspace_id, video_id)
    page = (await maya.browser.get(f"/videos/{video_id}")).text
    for words in (
        "Ready to stream",
        "640 × 360",
        "<strong>180p</strong>",
        "H.264",
        "English",
        "to the original",
    ):
        assert words in page, words
    for found in ("Frame rate", "a second", "Standard (SDR), 8 bit", "AAC, stereo", "Length"):
        assert found in page, found
    assert "data-hls=" in page and "data-storyboard=" not in page, "the video is not edited yet"


async def test_the_page_says_which_rung_is_how_far(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    there = {"v1": (0, 1), "a0": (0, 1, 2)}
    video_id, _ = await a_streamed_video(maya, state="making", there=there, progress=33)
    section = (await maya.browser.get(f"/videos/{video_id}/streams", headers=HTMX)).text
    assert "Being made" in section and re.search(r"<b>360p</b>\s+not begun", section)
    assert re.search(r"<b>180p</b>\s+2 of 3 pieces", section)
    assert "It can be watched already" in section


async def test_a_failed_making_says_why_and_shows_what_ffmpeg_said(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, _ = await a_streamed_video(
        maya,
        state="failed",
        there={},
        reason="The encoder ran out of time.",
        log="[libx264 @ 0x1] last <words>",
    )
    section = (await maya.browser.get(f"/videos/{video_id}/streams", headers=HTMX)).text
    assert "The encoder ran out of time." in section and "last &lt;words&gt;" in section
    assert "Try again" in section


async def test_a_newer_ready_stream_ends_the_talk_of_a_failed_one(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id, _ = await a_streamed_video(maya, state="failed", there={}, reason="It broke.")
    await kit.a_stream(maya.workspace_id, maya.user_id, video_id)
    assert "It broke." not in (await maya.browser.get(f"/videos/{video_id}")).text


# ---- acts ----


async def test_streams_are_asked_for_once_however_often_the_button_is_pressed(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await an_edited_video(maya)
    assert "Make streaming versions" in (await maya.browser.get(f"/videos/{video_id}")).text
    plain = await maya.post(f"/videos/{video_id}/streams")
    assert plain.status_code == 303 and plain.headers["location"] == f"/videos/{video_id}#streams-{video_id}"
    again = await maya.post(f"/videos/{video_id}/streams", headers=HTMX)
    assert again.status_code == 200 and "The streaming versions are asked for." in again.text
    assert await jobs("process-video") == 1
    happened = (await maya.browser.get(f"/videos/{video_id}/timeline")).text
    assert happened.count("Streaming versions asked for") == 1


async def test_one_size_is_made_anew_and_one_that_is_not_there_is_refused(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await an_edited_video(maya)
    async with db.house() as conn:
        source = str(await db.value(conn, "SELECT source_key FROM videos WHERE id = %s", [video_id]))
    await kit.a_stream(maya.workspace_id, maya.user_id, video_id, source_key=source)
    assert (await maya.post(f"/videos/{video_id}/streams/rung", {"rung": "v7"})).status_code == 422
    assert await jobs("process-video") == 0
    for _ in range(2):
        assert (await maya.post(f"/videos/{video_id}/streams/rung", {"rung": "v1"})).status_code == 303
    assert await jobs("process-video") == 1


async def test_what_is_being_made_is_stopped_and_a_second_click_says_there_is_nothing_left(
    studio: Studio,
) -> None:
    maya = await studio.person(browser=True)
    video_id = await an_edited_video(maya)
    await kit.a_stream(maya.workspace_id, maya.user_id, video_id, state="making", there={"v1": (0,)})
    section = (await maya.browser.get(f"/videos/{video_id}/streams", headers=HTMX)).text
    assert "/streams/stop" in section
    stopped = await maya.post(f"/videos/{video_id}/streams/stop", headers=HTMX)
    assert "Being made" not in stopped.text and "Make streaming versions" in stopped.text
    assert (await maya.post(f"/videos/{video_id}/streams/stop")).status_code == 409


async def test_a_frame_is_picked_by_its_second_and_none_outside_of_the_video(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await an_edited_video(maya)
    for wrong in ("", "-1", "nan", "inf", "1e9", "5000", "first"):
        assert (await maya.post(f"/videos/{video_id}/poster", {"posterS": wrong})).status_code == 422, wrong
    assert await jobs("make-stills") == 0
    answer = await maya.post(f"/videos/{video_id}/poster", {"posterS": "0.52"}, headers=HTMX)
    assert "The new poster is being made" in answer.text
    async with db.house() as conn:
        args = await db.value(conn, "SELECT args FROM procrastinate_jobs WHERE task_name = 'make-stills'")
    assert args == {"videoId": video_id, "posterMs": 520}


# ---- the same for programs ----


async def test_a_program_is_told_what_plays_and_how_large_it_is(studio: Studio) -> None:
    maya = await studio.person()
    video_id, stream_id = await a_streamed_video(maya)
    await kit.put_beside(maya.workspace_id, video_id)
    told = (await maya.api.get(f"/api/videos/{video_id}")).json()["video"]["streams"]
    assert told["state"] == "ready" and told["progress"] == 100 and told["reason"] is None
    assert told["hls"] == f"https://studio.example/videos/{video_id}/stream/master.m3u8"
    assert "#EXTM3U" in (await maya.api.get(told["hls"])).text
    assert (await maya.api.get(told["dash"])).headers["content-type"] == "application/dash+xml"
    sizes = {one["name"]: (one["width"], one["height"], one["bytes"]) for one in told["renditions"]}
    assert sizes["v0"] == (640, 360, sum(len(piece) for piece in kit.cuts()["v0"].segments))
    assert sizes["a0"][:2] == (None, None)
    assert all(one["bitrateKbps"] > 0 and one["seconds"] >= 6 for one in told["renditions"])
    assert "storyboard-0" in (await maya.api.get(told["storyboard"]["vtt"])).text
    assert told["captions"] == [
        {
            "language": "en",
            "url": f"https://studio.example/videos/{video_id}/stream/{stream_id}/captions-en.vtt",
        }
    ]


async def test_a_program_is_told_how_far_a_stream_is_and_why_one_failed(studio: Studio) -> None:
    maya = await studio.person()
    video_id = await a_video(maya)
    none = (await maya.api.get(f"/api/videos/{video_id}")).json()["video"]["streams"]
    assert none["state"] == "none" and none["hls"] is None and none["renditions"] == []
    await kit.a_stream(
        maya.workspace_id, maya.user_id, video_id, state="making", there={"v1": (0,)}, progress=12.0
    )
    making = (await maya.api.get(f"/api/videos/{video_id}")).json()["video"]["streams"]
    assert making["state"] == "making" and 10 < making["progress"] < 30 and making["hls"] is None
    failed_id, _ = await a_streamed_video(
        maya, state="failed", there={}, reason="The disk is full.", reason_code="disk_full"
    )
    failed = (await maya.api.get(f"/api/videos/{failed_id}")).json()["video"]["streams"]
    assert (failed["state"], failed["reason"], failed["reasonCode"]) == (
        "failed",
        "The disk is full.",
        "disk_full",
    )


async def test_a_program_that_asks_twice_under_one_key_gets_one_job_and_the_same_answer(
    studio: Studio,
) -> None:
    maya = await studio.person()
    video_id = await an_edited_video(maya)
    for path, body, task in (
        ("process", {"formats": ["hls"], "watermark": False, "thumbnails": False}, "process-video"),
        ("poster", {"posterMs": 100}, "make-stills"),
        ("look", {"design": {"title": {"text": "Knots"}}}, "edit-video"),
    ):
        before, key = await jobs(task), {"idempotency-key": f"once-{path}"}
        address = f"/api/videos/{video_id}/{path}"
        first = await maya.api.post(address, json=body, headers=key)
        assert first.status_code == 202, first.text
        second = await maya.api.post(address, json=body, headers=key)
        assert second.json() == first.json() and await jobs(task) == before + 1, path
        other = await maya.api.post(address, json={}, headers=key)
        assert other.status_code == 422, path
    async with db.house() as conn:
        args = await db.value(conn, "SELECT args FROM procrastinate_jobs WHERE task_name = 'process-video'")
    assert args["options"] == {"formats": ["hls"], "watermark": False, "thumbnails": False}


async def test_what_a_program_cannot_have_leaves_no_job(studio: Studio) -> None:
    maya, noor = await studio.person(), await studio.person("Noor")
    video_id = await an_edited_video(maya)
    before = await jobs("process-video", "make-stills", "edit-video")
    for path, body, status in (
        ("process", {"formats": []}, 422),
        ("process", {"formats": ["avi"]}, 422),
        ("process", {"formats": ["hls", "hls"]}, 422),
        ("process", {"rung": "v1"}, 409),
        ("process", {"rung": "top"}, 422),
        ("look", {"design": {"effects": ["explode"]}}, 422),
        ("look", {"design": {"watermark": {"url": "asset:999999"}}}, 422),
        ("poster", {"posterMs": -1}, 422),
        ("poster", {"posterMs": 99_000}, 422),
    ):
        answer = await maya.api.post(f"/api/videos/{video_id}/{path}", json=body)
        assert answer.status_code == status, f"{path} {body}: {answer.text}"
    assert (await noor.api.post(f"/api/videos/{video_id}/process", json={})).status_code == 404
    assert await jobs("process-video", "make-stills", "edit-video") == before


async def jobs(*names: str) -> int:
    async with db.house() as conn:
        counted = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = ANY (%s)"
        return int(await db.value(conn, counted, [list(names)]))


async def an_edited_video(maya: Person) -> int:
    """As if a worker had branded it."""
    video_id = await a_video(maya)
    async with db.house() as conn:
        await conn.execute("UPDATE procrastinate_jobs SET status = 'succeeded', queueing_lock = NULL")
        await conn.execute("UPDATE videos SET state = 'EDITING' WHERE id = %s", [video_id])
        await conn.execute(
            "UPDATE videos SET state = 'EDITED', edited_key = source_key, edited_bytes = source_bytes,"
            " edited_sha256 = source_sha256, edited_probe = source_probe WHERE id = %s",
            [video_id],
        )
    return video_id
