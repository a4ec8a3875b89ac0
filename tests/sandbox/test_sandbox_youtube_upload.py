"""YouTube's sheet, section 7, items 5 to 7: sessions, ranges, probes, replays, cuts and what survives them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from sandbox_kit import Client, sha256
from youtube_kit import SENDING, STEP, Channel, a_channel, reason, refresh, still, stored

WHOLE = os.urandom(2 * STEP + 1000)
SIZE = len(WHOLE)


@pytest.fixture
def maya(world: Client) -> Channel:
    return a_channel(world)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, servers: Any) -> Iterator[Client]:
    with still(tmp_path_factory.mktemp("quiet"), servers.stop) as world:
        yield world


@pytest.fixture(scope="module")
def ann(quiet: Client) -> Channel:
    return a_channel(quiet, "Ann")


def leftovers(world: Client) -> list[str]:
    return [path.name for path in (world.home / "files").glob("part-*")]


def seen(world: Client) -> list[dict[str, Any]]:
    """What the ledger lists, also of what was turned down: random bytes are no video."""
    ledger = world.ledger(platform="youtube", all=1)
    return [*ledger["posts"], *ledger["rejected"]]


def test_chunks_in_order_make_a_video(maya: Channel) -> None:
    url = maya.session(SIZE)
    assert url.startswith(str(maya.world.http.base_url)) and "upload_id=" in url
    assert stored(maya.put(url, WHOLE[:STEP], 0, SIZE)) == STEP
    assert stored(maya.put(url, WHOLE[STEP : 2 * STEP], STEP, SIZE)) == 2 * STEP
    assert seen(maya.world) == []
    done = maya.put(url, WHOLE[2 * STEP :], 2 * STEP, SIZE)
    assert done.status_code == 201 and len(done.json()["id"]) == 11
    assert set(done.json()) == {"kind", "etag", "id", "snippet", "status"}
    (post,) = seen(maya.world)
    assert (post["sha256"], post["bytes"], post["id"]) == (sha256(WHOLE), SIZE, done.json()["id"])
    assert leftovers(maya.world) == []


def test_the_whole_file_goes_in_one_call_without_a_range(maya: Channel) -> None:
    done = maya.world.http.put(maya.session(None), content=WHOLE, headers=maya.bearer)
    assert done.status_code == 201 and seen(maya.world)[0]["bytes"] == SIZE


def test_a_probe_says_what_is_stored_and_nothing_at_first(maya: Channel) -> None:
    url = maya.session(SIZE)
    probed = maya.probe(url, SIZE)
    assert stored(probed) == 0 and "range" not in probed.headers and probed.content == b""
    maya.put(url, WHOLE[:STEP], 0, SIZE)
    assert maya.probe(url, SIZE).headers["range"] == f"bytes=0-{STEP - 1}"


def test_a_probe_and_a_repeated_last_chunk_get_the_last_answer_again(maya: Channel) -> None:
    url = maya.session(SIZE)
    done = maya.put(url, WHOLE, 0, SIZE)
    for again in (maya.probe(url, SIZE), maya.put(url, WHOLE, 0, SIZE), maya.probe(url)):
        assert (again.status_code, again.json()["id"]) == (201, done.json()["id"])
    assert len(seen(maya.world)) == 1


def test_the_last_answer_is_200_where_a_tester_says_so(maya: Channel) -> None:
    maya.world.apps(finalStatus=200)
    url = maya.session(SIZE)
    assert [maya.put(url, WHOLE, 0, SIZE).status_code, maya.probe(url, SIZE).status_code] == [200, 200]


@pytest.mark.parametrize("first", [0, 2 * STEP, STEP + 1, STEP - 1])
def test_a_chunk_that_does_not_go_on_stores_nothing(ann: Channel, first: int) -> None:
    url = ann.session(SIZE)
    ann.put(url, WHOLE[:STEP], 0, SIZE)
    end = SIZE if first + STEP > 2 * STEP else first + STEP
    assert stored(ann.put(url, WHOLE[first:end], first, SIZE)) == STEP
    assert stored(ann.probe(url, SIZE)) == STEP and seen(ann.world) == []


@pytest.mark.parametrize("length", [STEP - 1, STEP + 1, 1])
def test_a_chunk_that_is_not_the_last_must_be_a_multiple(ann: Channel, length: int) -> None:
    url = ann.session(SIZE)
    assert reason(ann.put(url, WHOLE[:length], 0, SIZE)) == (400, "badRequest")
    assert stored(ann.probe(url, SIZE)) == 0


@pytest.mark.parametrize(
    "range_",
    [
        f"bytes 0-{STEP}/{SIZE}", f"bytes 0-{STEP - 1}/{SIZE + 1}", "bytes 0-/5", "0-5/6", "bytes */5", "",
        f"bytes {SIZE}-{SIZE + STEP - 1}/{SIZE}",
    ],
)  # fmt: skip
def test_a_range_that_does_not_fit_is_refused(ann: Channel, range_: str) -> None:
    url = ann.session(SIZE)
    refused = ann.world.http.put(url, content=WHOLE[:STEP], headers=ann.bearer | {"content-range": range_})
    assert reason(refused) == (400, "badRequest")
    assert stored(ann.probe(url, SIZE)) == 0 and leftovers(ann.world) == []


def test_an_unknown_size_may_be_told_with_the_last_chunk(maya: Channel) -> None:
    url = maya.session(None)
    assert stored(maya.put(url, WHOLE[: 2 * STEP], 0, "*")) == 2 * STEP
    assert maya.put(url, WHOLE[2 * STEP :], 2 * STEP, SIZE).status_code == 201


def test_every_put_and_probe_needs_a_token_of_its_channel(maya: Channel) -> None:
    url = maya.session(SIZE)
    ranged = {"content-range": f"bytes 0-{SIZE - 1}/{SIZE}"}
    bare = maya.world.http.put(url, content=WHOLE, headers=ranged)
    false = maya.world.http.put(url, content=WHOLE, headers=ranged | {"authorization": "Bearer ya29.no"})
    assert {reason(bare), reason(false)} == {(401, "authError")}
    assert reason(a_channel(maya.world, "Leo").put(url, WHOLE, 0, SIZE)) == (403, "forbidden")
    maya.world.arm("token_expired", platform="youtube")
    assert reason(maya.probe(url, SIZE)) == (401, "authError")
    assert seen(maya.world) == []


def test_the_session_survives_a_token_that_ends_between_chunks(maya: Channel) -> None:
    url = maya.session(SIZE)
    maya.put(url, WHOLE[:STEP], 0, SIZE)
    maya.world.later(4000)
    assert reason(maya.put(url, WHOLE[STEP:], STEP, SIZE)) == (401, "authError")
    maya.tokens |= refresh(maya.world, maya.tokens["refresh_token"]).json()
    assert maya.put(url, WHOLE[STEP:], STEP, SIZE).status_code == 201


def test_a_session_ends_after_its_time(maya: Channel) -> None:
    maya.world.apps(sessionLifetimeS=60)
    url = maya.session(SIZE)
    maya.put(url, WHOLE[:STEP], 0, SIZE)
    maya.world.later(61)
    assert reason(maya.put(url, WHOLE[STEP:], STEP, SIZE)) == (404, "notFound")
    assert reason(maya.probe(url, SIZE)) == (404, "notFound")
    assert reason(maya.probe(url.replace("upload_id=", "upload_id=x"), SIZE)) == (404, "notFound")


def test_a_client_that_goes_away_in_the_middle_leaves_the_whole_steps(maya: Channel) -> None:
    url = urlsplit(maya.session(SIZE))
    head = (
        f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {SIZE}\r\n"
        f"Content-Range: bytes 0-{SIZE - 1}/{SIZE}\r\nAuthorization: {maya.bearer['authorization']}\r\n\r\n"
    )
    with socket.create_connection((url.hostname or "", url.port or 0)) as line:
        line.sendall(head.encode() + WHOLE[: STEP + 5000])
        line.shutdown(socket.SHUT_WR)
        while line.recv(4096):
            pass
    address = url.geturl()
    until = time.monotonic() + 10
    while stored(maya.probe(address, SIZE)) < STEP:
        assert time.monotonic() < until, "the bytes that came were not kept"
    assert maya.put(address, WHOLE[STEP:], STEP, SIZE).status_code == 201
    assert seen(maya.world)[0]["sha256"] == sha256(WHOLE)


def test_a_fault_before_the_act_stores_nothing_and_may_name_a_wait(maya: Channel) -> None:
    url = maya.session(SIZE)
    maya.world.arm("error_before", step="upload", seconds=7)
    refused = maya.put(url, WHOLE, 0, SIZE)
    assert reason(refused) == (503, "backendError") and refused.headers["retry-after"] == "7"
    assert stored(maya.probe(url, SIZE)) == 0


def test_a_fault_after_the_act_has_stored_everything(maya: Channel) -> None:
    url = maya.session(SIZE)
    maya.world.arm("error_after", step="last_chunk")
    refused = maya.put(url, WHOLE, 0, SIZE)
    assert reason(refused) == (503, "backendError") and "retry-after" not in refused.headers
    assert maya.probe(url, SIZE).status_code == 201 and len(seen(maya.world)) == 1


def test_a_cut_in_the_middle_of_a_chunk_keeps_its_first_half(maya: Channel) -> None:
    url = maya.session(SIZE)
    maya.world.arm("drop_after", step="half_chunk")
    with pytest.raises(httpx2.TransportError):
        maya.put(url, WHOLE, 0, SIZE)
    assert stored(maya.probe(url, SIZE)) == STEP
    maya.world.arm("slow", step="half_chunk", seconds=0)
    assert stored(maya.put(url, WHOLE[STEP:], STEP, SIZE)) == STEP  # half of the rest is less than a step
    assert maya.put(url, WHOLE[STEP:], STEP, SIZE).status_code == 201
    assert seen(maya.world)[0]["sha256"] == sha256(WHOLE)


def test_an_answer_without_its_range_has_stored_the_chunk_all_the_same(maya: Channel) -> None:
    url = maya.session(SIZE)
    maya.world.arm("slow", step="no_range", seconds=0)
    answer = maya.put(url, WHOLE[:STEP], 0, SIZE)
    assert answer.status_code == 308 and "range" not in answer.headers
    assert stored(maya.probe(url, SIZE)) == STEP


def test_a_chunk_may_take_effect_after_its_line_was_cut(maya: Channel) -> None:
    url = maya.session(SIZE)
    maya.world.arm("act_after_cut", step="last_chunk", seconds=5)
    with pytest.raises(httpx2.TransportError):
        maya.put(url, WHOLE, 0, SIZE)
    assert stored(maya.probe(url, SIZE)) == 0
    maya.world.later(6)
    assert maya.probe(url, SIZE).status_code == 201 and len(seen(maya.world)) == 1


def test_a_channel_at_its_own_limit_is_refused_before_any_byte(maya: Channel) -> None:
    full = a_channel(maya.world, "Leo", uploadLimitReached=True)
    assert reason(full.start(SIZE)) == (400, "uploadLimitExceeded")
    assert maya.start(SIZE).status_code == 200


@pytest.mark.parametrize(
    ("switches", "refusal"),
    [
        ({"closed": "channelSuspended"}, (403, "channelSuspended")),
        ({"hasChannel": False}, (401, "youtubeSignupRequired")),
    ],
)
def test_a_channel_that_may_not_post_is_told_why(
    world: Client, switches: dict[str, Any], refusal: tuple[int, str]
) -> None:
    assert reason(a_channel(world, **switches).start(SIZE)) == refusal


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ({"snippet": {"title": ""}}, (400, "invalidTitle")),
        ({"snippet": {"title": "x" * 100}}, None),
        ({"snippet": {"title": "x" * 101}}, (400, "invalidTitle")),
        ({"snippet": {"title": "😀" * 50}}, None),
        ({"snippet": {"title": "😀" * 50 + "x"}}, (400, "invalidTitle")),
        ({"snippet": {"title": "a < b"}}, (400, "invalidTitle")),
        ({"snippet": {"description": "ä" * 2500}}, None),
        ({"snippet": {"description": "ä" * 2500 + "x"}}, (400, "invalidDescription")),
        ({"snippet": {"description": "a > b"}}, (400, "invalidDescription")),
        ({"snippet": {"tags": ["x" * 498, "y"]}}, None),
        ({"snippet": {"tags": ["x" * 499, "y"]}}, (400, "invalidTags")),
        ({"snippet": {"tags": ["x y" + "z" * 495]}}, None),
        ({"snippet": {"tags": ["x y" + "z" * 496]}}, (400, "invalidTags")),
        ({"snippet": {"categoryId": "21"}}, (400, "invalidCategoryId")),
        ({"snippet": {"subject": "x"}}, (400, "badRequest")),
        ({"snippet": {"tags": "x"}}, (400, "badRequest")),
        ({"status": {"privacyStatus": "friends"}}, (403, "forbiddenPrivacySetting")),
        ({"status": {"license": "mit"}}, (403, "forbiddenLicenseSetting")),
        ({"status": {"privacyStatus": "private", "publishAt": "2026-12-01T09:00:00Z"}}, None),
        ({"status": {"privacyStatus": "private", "publishAt": "2020-01-01T09:00:00+02:00"}}, None),
        ({"status": {"privacyStatus": "private", "publishAt": "2026-12-01 09:00"}}, (400, "invalidPublishAt")),
        ({"status": {"privacyStatus": "private", "publishAt": "2026-13-01T09:00:00Z"}}, (400, "invalidPublishAt")),
        ({"status": {"publishAt": "2026-12-01T09:00:00Z"}}, (400, "invalidPublishAt")),
        ({"status": {"selfDeclaredMadeForKids": "no"}}, (400, "badRequest")),
    ],
)  # fmt: skip
def test_the_words_of_a_video_are_judged_before_a_session(
    ann: Channel, words: dict[str, Any], refusal: tuple[int, str] | None
) -> None:
    answer = ann.start(SIZE, **words)
    if refusal is None:
        assert answer.status_code == 200, answer.text
    else:
        assert reason(answer) == refusal and "location" not in answer.headers


def test_a_start_is_refused_without_its_parts_its_title_or_a_video(ann: Channel) -> None:
    def begun(params: dict[str, str], body: Any, **headers: str) -> httpx2.Response:
        whole = {"uploadType": "resumable", "part": "snippet,status"} | params
        return ann.world.http.post(f"{SENDING}/videos", params=whole, json=body, headers=ann.bearer | headers)

    assert reason(begun({}, {"status": {"privacyStatus": "private"}})) == (400, "invalidTitle")
    assert reason(begun({}, {})) == (400, "invalidTitle")
    words = {"snippet": {"title": "x"}}
    assert reason(begun({"part": ""}, words)) == (400, "missingRequiredParameter")
    assert reason(begun({"part": "snippet,subject"}, words)) == (400, "unknownPart")
    assert reason(begun({"uploadType": "multipart"}, words)) == (400, "badRequest")
    assert reason(begun({"notifySubscribers": "maybe"}, words)) == (400, "invalidParameter")
    headers = {"x-upload-content-type": "image/png"}
    assert reason(begun({}, words, **headers)) == (400, "badContent")
    assert reason(begun({}, words, **{"x-upload-content-length": str(256 * 1024**3 + 1)})) == (
        400,
        "badRequest",
    )
    assert reason(begun({}, words | {"localizations": {"de": {}}})) == (400, "defaultLanguageNotSet")
    assert begun({}, words, **{"x-upload-content-length": str(256 * 1024**3)}).status_code == 200


def test_a_swept_session_leaves_no_bytes(maya: Channel, clip: bytes) -> None:
    dead = maya.session(SIZE)
    maya.put(dead, WHOLE[:STEP], 0, SIZE)
    maya.world.later(6 * 86_400 + 3 * 3600)
    maya.tokens |= refresh(maya.world, maya.tokens["refresh_token"]).json()
    maya.video(maya.posted(clip))
    names = {path.name for path in Path(maya.world.home / "files").iterdir()}
    assert names == {"youtube-2"}
