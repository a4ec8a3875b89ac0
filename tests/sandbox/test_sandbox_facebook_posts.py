"""The simulated Facebook's uploads and posts, as strict as sections 3 and 7 of its sheet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from facebook_kit import Page, Site, a_page, bearer, one_world, refused, site
from sandbox_kit import Client, made_clip, sha256

from app import sandbox

DAY_S = 24 * 3600
SIZE = 5000
CONTENT = bytes(range(250)) * 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with one_world(tmp_path_factory.mktemp("facebook") / "world") as found:
        yield found


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A Reel of three seconds."""
    path = tmp_path_factory.mktemp("upright") / "clip.mp4"
    return made_clip(path, length_s=3, size="540x960", rate=24)


def debug(answer: Any) -> tuple[int, str, bool]:
    info = answer.json()["debug_info"]
    return answer.status_code, info["type"], info["retriable"]


# Reels


def test_a_reel_goes_through_its_phases_and_has_an_address_only_once_it_is_out(
    world: Client, upright: bytes
) -> None:
    page = a_page(world)
    begun = page.post(f"{page.id}/video_reels", {"upload_phase": "start"}).json()
    video_id = begun["video_id"]
    assert begun["upload_url"].endswith(f"/facebook/upload/video-upload/v26.0/{video_id}")
    now = page.status(video_id)
    assert now["status"]["video_status"] == "uploading" and "permalink_url" not in now
    assert page.send(video_id, upright).json()["success"] is True
    now = page.status(video_id)
    assert now["status"]["video_status"] == "upload_complete"
    assert now["status"]["uploading_phase"]["source_file_size"] == len(upright)
    assert page.seen == []
    assert page.finish(video_id).json()["success"] is True
    now = page.status(video_id)
    assert (
        now["status"]["video_status"] == "processing" and "permalink_url" not in now and "post_id" not in now
    )
    assert now["status"]["publishing_phase"]["status"] == "not_started"
    world.later(60)
    now = page.status(video_id)
    assert now["status"]["publishing_phase"]["publish_status"] == "published" and now["published"] is True
    assert video_id in now["permalink_url"]
    (entry,) = page.seen
    assert (entry["id"], entry["publishId"]) == (f"{page.id}_{now['post_id']}", video_id)
    assert (entry["bytes"], entry["sha256"], entry["title"]) == (len(upright), sha256(upright), "Knots")
    listed = page.get(f"{page.id}/video_reels").json()["data"]
    assert [each["id"] for each in listed] == [video_id]


def test_two_reels_in_a_row_are_spelt_in_two_ways(world: Client) -> None:
    page = a_page(world)
    counts = set()
    for _ in range(2):
        video_id = page.reel()
        page.send(video_id, CONTENT)
        counts |= set(page.status(video_id)["status"]["uploading_phase"]) & {
            "bytes_transfered",
            "bytes_transferred",
        }
    assert counts == {"bytes_transfered", "bytes_transferred"}


def test_offsets_and_sizes_have_to_add_up(world: Client) -> None:
    page = a_page(world)
    video_id = page.reel()
    assert debug(page.send(video_id, CONTENT, offset=1, size=SIZE)) == (400, "OffsetInvalidError", True)
    assert debug(page.send(video_id, CONTENT[:2000], size=SIZE)) == (400, "PartialRequestError", True)
    assert page.status(video_id)["status"]["uploading_phase"]["status"] == "in_progress"
    assert debug(page.send(video_id, CONTENT, size=SIZE)) == (400, "OffsetInvalidError", True)
    assert debug(page.send(video_id, CONTENT[2000:], offset=2000, size=SIZE + 1)) == (
        400,
        "ProcessingFailedError",
        False,
    )
    assert debug(page.send(video_id, CONTENT, offset=2000, size=SIZE)) == (
        400,
        "ProcessingFailedError",
        False,
    )
    for wrong in ({"offset": "x"}, {"file_size": ""}):
        assert debug(page.send(page.reel(), CONTENT, **wrong)) == (400, "ProcessingFailedError", False)
    assert debug(page.send("900", CONTENT))[0] == 404


def test_what_came_before_a_cut_stays_and_the_rest_goes_on_from_there(world: Client) -> None:
    page = a_page(world, cutAtByte=1234)
    video_id = page.reel()
    with pytest.raises(Exception, match=r"disconnected|reset"):
        page.send(video_id, CONTENT)
    uploading = page.status(video_id)["status"]["uploading_phase"]
    assert uploading.get("bytes_transfered", uploading.get("bytes_transferred")) == 1234
    assert page.send(video_id, CONTENT[1234:], offset=1234, size=SIZE).status_code == 200
    assert page.finish(video_id).status_code == 200
    assert page.taken[0]["sha256"] == sha256(CONTENT)
    assert debug(page.send(video_id, CONTENT[1234:], offset=1234, size=SIZE))[1] == "ProcessingFailedError"


def test_finishing_too_early_or_wrongly_publishes_nothing(world: Client) -> None:
    page = a_page(world)
    video_id = page.reel()
    assert refused(page.finish(video_id)) == (6000, None)
    page.send(video_id, CONTENT[:2000], size=SIZE)
    assert refused(page.finish(video_id)) == (6000, None)
    page.send(video_id, CONTENT[2000:], offset=2000, size=SIZE)
    assert refused(page.finish(video_id, video_state="PUBLIC")) == (100, None)
    assert refused(page.finish("900")) == (100, 33)
    assert refused(page.finish(video_id, description="a" * 63_207)) == (100, None)
    assert refused(page.post(f"{page.id}/video_reels", {"upload_phase": "transfer"})) == (100, None)
    assert page.seen == []
    world.later(DAY_S)
    assert page.status(video_id)["status"]["video_status"] == "expired"
    assert refused(page.finish(video_id)) == (1363041, None)


def test_a_second_finish_changes_nothing(world: Client) -> None:
    page = a_page(world)
    video_id = page.posted(CONTENT)
    assert page.finish(video_id, description="Something else").json()["success"] is True
    (entry,) = page.taken
    assert entry["title"] == "Knots"


def test_thirty_reels_in_any_24_hours_and_drafts_do_not_count(world: Client) -> None:
    page = a_page(world, reelsLast24h=28)
    page.posted(CONTENT, video_state="DRAFT")
    page.posted(CONTENT)
    late = page.reel()
    page.send(late, CONTENT)
    page.posted(CONTENT)
    assert refused(page.finish(late)) == (613, None)
    assert refused(page.post(f"{page.id}/video_reels", {"upload_phase": "start"})) == (613, None)
    page.switch(reelsLast24h=0)
    assert page.finish(late).status_code == 200
    # The draft is turned down, too: nothing of this content is a video.
    assert len(page.taken) == 4


@pytest.mark.parametrize(
    ("size", "rate", "length_s", "code"),
    [
        ("960x540", 24, 3, 1363040),
        ("360x640", 24, 3, 1363127),
        ("540x960", 24, 1, 1363128),
        ("540x960", 20, 3, 1363129),
    ],
)
def test_ffprobe_decides_what_is_a_reel(
    size: str, rate: int, length_s: float, code: int, world: Client, tmp_path: Path
) -> None:
    page = a_page(world)
    video_id = page.posted(made_clip(tmp_path / "clip.mp4", length_s=length_s, size=size, rate=rate))
    world.later(60)
    now = page.status(video_id)["status"]
    phase = now["processing_phase"]
    error = phase["error"] if "error" in phase else phase["errors"][0]
    assert (now["video_status"], phase["status"], error["code"]) == ("error", "error", code)
    assert page.seen == []
    (entry,) = page.taken
    assert entry["reason"] == str(code)


def test_what_is_no_video_at_all_is_turned_down(world: Client) -> None:
    page = a_page(world)
    video_id = page.posted(CONTENT)
    world.later(60)
    assert page.status(video_id)["status"]["video_status"] == "error" and page.seen == []


# Ordinary videos


def sent_in_chunks(page: Page, content: bytes, **fields: Any) -> tuple[str, list[tuple[int, int]]]:
    begun = page.chunked("start", file_size=len(content)).json()
    session, parts = begun["upload_session_id"], []
    start, end = begun["start_offset"], begun["end_offset"]
    while start != end:
        # All numbers come as text (section 3.2).
        assert isinstance(start, str) and isinstance(end, str)
        first, last = int(start), int(end)
        parts.append((first, last))
        told = page.chunked(
            "transfer", chunk=content[first:last], upload_session_id=session, start_offset=start
        ).json()
        start, end = told["start_offset"], told["end_offset"]
    assert page.chunked("finish", upload_session_id=session, description="Knots", **fields).json() == {
        "success": True
    }
    return begun["video_id"], parts


def test_the_server_says_how_a_video_is_cut(world: Client, clip: bytes) -> None:
    page = a_page(world, chunkBytes=4000)
    video_id, parts = sent_in_chunks(page, clip)
    assert [last - first for first, last in parts[:4]] == [4000, 4000, 8000, 4000]
    world.later(60)
    now = page.status(video_id)
    assert now["status"]["video_status"] == "ready" and now["published"] is True
    (entry,) = page.seen
    assert (entry["sha256"], entry["bytes"]) == (sha256(clip), len(clip))


def test_a_wrong_offset_or_length_is_told_the_right_one(world: Client) -> None:
    page = a_page(world, chunkBytes=1000)
    forms = set()
    for _ in range(2):
        begun = page.chunked("start", file_size=SIZE).json()
        session = {"upload_session_id": begun["upload_session_id"]}
        page.chunked("transfer", chunk=CONTENT[:1000], start_offset=0, **session)
        for start, chunk in ((0, CONTENT[:1000]), (2000, CONTENT[2000:3000]), (1000, CONTENT[1000:1500])):
            answer = page.chunked("transfer", chunk=chunk, start_offset=start, **session)
            assert 1363037 in refused(answer)
            told = answer.json()["error"]["error_data"]
            forms.add(type(told))
            offsets = re.findall(r"\d+", str(told))
            assert offsets == ["1000", "2000"]
        assert refused(page.chunked("finish", **session)) == (6000, None)
    assert forms == {dict, str}


def test_a_session_that_is_over_finished_or_dropped_takes_nothing_more(world: Client) -> None:
    page = a_page(world)

    def session() -> dict[str, str]:
        begun = page.chunked("start", file_size=SIZE).json()
        return {"upload_session_id": begun["upload_session_id"]}

    dropped, finished, late = session(), session(), session()
    assert page.chunked("cancel", **dropped).json() == {"success": True}
    page.chunked("transfer", chunk=CONTENT, start_offset=0, **finished)
    assert page.chunked("finish", **finished).status_code == 200
    for each in (dropped, finished):
        assert refused(page.chunked("finish", **each)) == (1363041, None)
        assert refused(page.chunked("transfer", chunk=CONTENT, start_offset=0, **each)) == (1363041, None)
    world.later(DAY_S)
    assert refused(page.chunked("transfer", chunk=CONTENT, start_offset=0, **late)) == (1363041, None)
    assert refused(page.chunked("transfer", chunk=CONTENT, start_offset=0, upload_session_id=1)) == (100, 33)
    assert len(page.taken) == 1


def test_sizes_are_refused_at_once(world: Client) -> None:
    page = a_page(world)
    assert page.chunked("start", file_size=2_000_000_000).status_code == 200
    assert refused(page.chunked("start", file_size=2_000_000_001)) == (352, 1363023)
    assert refused(page.chunked("start", file_size=1023)) == (1363022, None)
    assert refused(page.chunked("start")) == refused(page.chunked("begin")) == (100, None)


# Fetching by address


def test_a_file_is_really_fetched_by_its_address(world: Client, upright: bytes) -> None:
    page = a_page(world)
    with site(upright) as there:
        video_id = page.reel()
        assert page.send(video_id, b"", file_url=there.url).json() == {"success": True}
        answer = page.chunked("", file_url=there.url)
        assert refused(answer) == (100, None), "not together with upload_phase"
        body = {"file_url": there.url, "description": "Knots"}
        shot = world.http.post(
            f"/facebook/video/v26.0/{page.id}/videos", data=body, headers=bearer(page.token)
        )
    assert page.finish(video_id).status_code == 200 and shot.json()["id"]
    assert [entry["sha256"] for entry in page.seen] == [sha256(upright)] * 2
    assert set(there.agents) == {"facebookexternalhit/1.1"}


@pytest.mark.parametrize(
    "spoilt",
    [
        {"robots": "User-agent: facebookexternalhit\nDisallow: /"},
        {"robots": "User-agent: *\nDisallow: /clip"},
        {"ranges": False},
        {"redirect": "http://127.0.0.1:1/else.mp4"},
        {"kind": "text/html"},
    ],
)
def test_a_place_that_does_not_serve_as_meta_wants_it_is_389(
    spoilt: dict[str, Any], world: Client, upright: bytes
) -> None:
    page = a_page(world)
    with site(upright, **spoilt) as there:
        _refuse_to_fetch(page, there)
    assert page.seen == []


def _refuse_to_fetch(page: Page, there: Site) -> None:
    answer = page.world.http.post(
        f"/facebook/video/v26.0/{page.id}/videos", data={"file_url": there.url}, headers=bearer(page.token)
    )
    assert refused(answer) == (389, None)
    assert debug(page.send(page.reel(), b"", file_url=there.url))[1] == "ProcessingFailedError"


def test_a_place_whose_robots_allow_facebook_is_fetched(world: Client, upright: bytes) -> None:
    page = a_page(world)
    robots = "User-agent: *\nDisallow: /\n\nUser-agent: facebookexternalhit\nAllow: /"
    with site(upright, robots=robots) as there:
        assert page.send(page.reel(), b"", file_url=there.url).status_code == 200
    for wrong in (
        "ftp://example.org/a.mp4",
        "http://x:y@127.0.0.1/a.mp4",
        "http://127.0.0.1:9/a.mp4",
        "nothing",
    ):
        assert debug(page.send(page.reel(), b"", file_url=wrong))[1] == "ProcessingFailedError"


@pytest.mark.storm
def test_a_world_that_was_killed_knows_its_posts(start_process: Any, upright: bytes) -> None:
    first = start_process()
    page = a_page(first.client)
    video_id = page.reel()
    page.send(video_id, upright[:1000], size=len(upright))
    first.kill()
    page.world = start_process().client
    now = page.status(video_id)["status"]["uploading_phase"]
    assert now.get("bytes_transfered", now.get("bytes_transferred")) == 1000
    assert page.send(video_id, upright[1000:], offset=1000, size=len(upright)).status_code == 200
    assert page.finish(video_id).status_code == 200
    assert page.seen[0]["sha256"] == sha256(upright)


def test_old_files_are_let_go_and_their_posts_stay(start: Any) -> None:
    world: Client = start(settings=sandbox.Settings(kept_files=1))
    page = a_page(world)
    for number in range(3):
        page.posted(CONTENT + bytes([number]))
    world.later(60)
    assert page.seen == [] and len(world.ledger(platform="facebook", all="1")["rejected"]) == 3
    page.world.ledger(platform="facebook")
    kept = [path.name for path in (world.home / "files").glob("facebook-*") if path.suffix != ".lock"]
    assert len(kept) == 1
