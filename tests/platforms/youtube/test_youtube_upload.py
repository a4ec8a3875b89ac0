"""Sending the bytes, against a server that says exactly what a test wants YouTube to say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from youtube_makers import (
    CHUNK,
    CUT,
    SESSION,
    VIDEO,
    CutAfter,
    Says,
    Scripted,
    Watch,
    a_grant,
    a_media,
    a_post,
    an_app,
    content,
    has,
    refused,
)

from app.errors import Cancelled, HouseError, Permanent, Retryable, Unsure
from app.platforms import Handle, Media, youtube

pytestmark = pytest.mark.anyio
DONE = Says(201, VIDEO)
CHUNKED = 2 * CHUNK + 1000


async def sending(
    world: Scripted, watch: Watch, media: Media, from_byte: int = 0, handle: Handle | None = None
) -> Handle | None:
    return await youtube.send(
        an_app(world.url),
        a_grant(),
        handle or world.session,
        a_post(),
        media,
        from_byte,
        on_progress=watch.on_progress,
        before_last=watch.before_last,
        on_call=watch.on_call,
    )


async def failure(world: Scripted, watch: Watch, media: Media, from_byte: int = 0) -> HouseError:
    with pytest.raises(HouseError) as caught:
        await sending(world, watch, media, from_byte)
    told = repr(caught.value) + repr(caught.value.__cause__) + repr(watch.calls)
    assert "verysecret" not in told and "ya29" not in told
    return caught.value


@pytest.mark.parametrize("answer", [201, 200])
async def test_a_small_file_goes_in_one_call_with_exactly_these_headers(
    answer: int, youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [Says(answer, VIDEO)]
    handle = await sending(youtube_says, watch, a_media(3_145_728))
    assert handle is not None and handle.remote_id == VIDEO["id"]
    assert handle.upload_url == youtube_says.session.upload_url
    (request,) = youtube_says.requests
    assert request.query == "uploadType=resumable&upload_id=verysecret"
    assert request.headers["authorization"] == "Bearer ya29.demo"
    assert request.headers["content-type"] == "video/mp4"
    assert request.headers["content-length"] == "3145728"
    assert request.headers["content-range"] == "bytes 0-3145727/3145728"
    assert "transfer-encoding" not in request.headers and request.body == content(0, 3_145_728)
    assert watch.told == ["before last", "send_last ok"]
    # Told before each piece, so the last byte is told by the end of the sending.
    assert watch.progress == list(range(0, 3_145_728, 1 << 18))


async def test_a_large_file_goes_chunk_after_chunk_and_asks_before_the_last(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [has(CHUNK), has(2 * CHUNK), DONE]
    await sending(youtube_says, watch, a_media(CHUNKED))
    assert youtube_says.ranges == [
        f"bytes 0-{CHUNK - 1}/{CHUNKED}",
        f"bytes {CHUNK}-{2 * CHUNK - 1}/{CHUNKED}",
        f"bytes {2 * CHUNK}-{CHUNKED - 1}/{CHUNKED}",
    ]
    assert all(len(request.body) % 262_144 == 0 for request in youtube_says.requests[:-1])
    assert b"".join(request.body for request in youtube_says.requests) == content(0, CHUNKED)
    assert watch.told == ["send ok"] * 2 + ["before last", "send_last ok"]


async def test_a_file_of_whole_chunks_ends_with_a_whole_chunk(youtube_says: Scripted, watch: Watch) -> None:
    youtube_says.says[SESSION] = [has(CHUNK), DONE]
    await sending(youtube_says, watch, a_media(2 * CHUNK))
    assert youtube_says.ranges[-1] == f"bytes {CHUNK}-{2 * CHUNK - 1}/{2 * CHUNK}"
    assert watch.told == ["send ok", "before last", "send_last ok"]


async def test_sending_goes_on_where_it_is_told_to(youtube_says: Scripted, watch: Watch) -> None:
    youtube_says.says[SESSION] = [has(CHUNK + 262_144), DONE]
    await sending(youtube_says, watch, a_media(CHUNKED), from_byte=262_144)
    assert youtube_says.ranges[0] == f"bytes 262144-{CHUNK + 262_143}/{CHUNKED}"
    assert watch.progress[0] == 262_144


async def test_part_of_a_chunk_may_be_stored_and_it_goes_on_behind_it(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [has(262_144 * 3), has(CHUNK + 262_144 * 3), DONE]
    await sending(youtube_says, watch, a_media(CHUNKED))
    assert youtube_says.ranges[1] == f"bytes {262_144 * 3}-{CHUNK + 262_144 * 3 - 1}/{CHUNKED}"
    assert watch.told == ["send ok"] * 2 + ["before last", "send_last ok"]


CUTS = [
    CUT, CutAfter(1_000_000), refused(503, "backendError"), Says(500), Says(502, b"<html>"), Says(504), Says(308),
    Says(308, None, {"Range": "bytes 0-7"}), Says(200, b"<html>"), Says(302, None),
]  # fmt: skip
COUNTS = [0, 262_144, CHUNK, CHUNK + 262_144, 2 * CHUNK]


@pytest.mark.parametrize(
    ("cut", "received"), [*((cut, CHUNK) for cut in CUTS), *((CUT, received) for received in COUNTS)]
)
async def test_after_a_cut_it_goes_on_where_the_probe_says(
    cut: Any, received: int, youtube_says: Scripted, watch: Watch
) -> None:
    rest = [has(at + CHUNK) for at in range(received, CHUNKED - CHUNK, CHUNK)]
    youtube_says.says[SESSION] = [has(CHUNK), cut, has(received), *rest, DONE]
    await sending(youtube_says, watch, a_media(CHUNKED))
    probe = youtube_says.to(SESSION)[2]
    assert probe.headers["content-range"] == f"bytes */{CHUNKED}"
    assert probe.headers["content-length"] == "0" and probe.headers["authorization"] == "Bearer ya29.demo"
    assert youtube_says.ranges[3].startswith(f"bytes {received}-")
    assert watch.told[-2:] == ["before last", "send_last ok"]
    assert sum(each == "before last" for each in watch.told) == 1


async def test_a_session_that_turns_out_complete_is_not_sent_to_again(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [CUT, DONE]
    handle = await sending(youtube_says, watch, a_media(CHUNKED))
    assert handle is not None and handle.remote_id == VIDEO["id"]
    assert "before last" not in watch.told and len(youtube_says.requests) == 2


async def test_nothing_is_sent_or_permitted_when_all_has_arrived(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [DONE]
    handle = await sending(youtube_says, watch, a_media(CHUNKED), from_byte=CHUNKED)
    assert handle is not None and handle.remote_id == VIDEO["id"]
    assert watch.told == ["probe ok"] and watch.progress == []


async def test_a_handle_that_knows_its_video_calls_nobody(youtube_says: Scripted, watch: Watch) -> None:
    known = replace(youtube_says.session, remote_id="a1B2c3D4e5F")
    assert await sending(youtube_says, watch, a_media(CHUNKED), CHUNKED, known) == known
    assert youtube_says.requests == []


async def test_a_count_that_was_wrong_is_put_right_by_the_probe(youtube_says: Scripted, watch: Watch) -> None:
    youtube_says.says[SESSION] = [has(2 * CHUNK), DONE]
    await sending(youtube_says, watch, a_media(CHUNKED), from_byte=CHUNKED)
    assert youtube_says.ranges == [f"bytes */{CHUNKED}", f"bytes {2 * CHUNK}-{CHUNKED - 1}/{CHUNKED}"]


async def test_a_chunk_that_never_arrives_is_given_up_after_four_tries(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [CUT, has(0)] * 6
    error = await failure(youtube_says, watch, a_media(CHUNKED))
    assert (type(error), error.code) == (Retryable, "upload_cut")
    assert len(youtube_says.requests) == 8 and "before last" not in watch.told


async def test_chunks_that_are_taken_and_never_counted_are_given_up_too(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [has(CHUNK)]
    error = await failure(youtube_says, watch, a_media(CHUNKED), from_byte=CHUNK)
    assert (type(error), error.code) == (Retryable, "upload_cut") and len(youtube_says.requests) == 4


async def test_a_wait_that_youtube_names_is_left_to_the_queue(youtube_says: Scripted, watch: Watch) -> None:
    youtube_says.says[SESSION] = [has(CHUNK), refused(503, "backendError", **{"Retry-After": "10"})]
    error = await failure(youtube_says, watch, a_media(CHUNKED))
    assert isinstance(error, Retryable) and (error.code, error.after_s) == ("upload_wait", 10.0)
    assert len(youtube_says.requests) == 2


@pytest.mark.parametrize("status", [404, 410])
async def test_an_expired_session_is_said_to_be_dead(
    status: int, youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [has(CHUNK), refused(status, "notFound")]
    error = await failure(youtube_says, watch, a_media(CHUNKED))
    assert (type(error), error.code) == (Retryable, "upload_expired")


@pytest.mark.parametrize("before", [[], [has(CHUNK)], [has(CHUNK), has(2 * CHUNK)], [CUT]])
async def test_a_token_that_ends_at_any_chunk_leaves_the_session_as_it_is(
    before: list[Any], youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [*before, refused(401, "authError", "Invalid Credentials")]
    error = await failure(youtube_says, watch, a_media(CHUNKED))
    assert (type(error), error.code) == (Permanent, "access_token_invalid")
    assert len(youtube_says.requests) == len(before) + 1


@pytest.mark.parametrize("last", [False, True])
async def test_a_refusal_of_the_bytes_is_for_good(last: bool, youtube_says: Scripted, watch: Watch) -> None:
    youtube_says.says[SESSION] = [Says(400, {"error": "Bad bytes"})]
    error = await failure(youtube_says, watch, a_media(CHUNKED), 2 * CHUNK if last else 0)
    assert (type(error), error.code) == (Permanent, "upload_refused")


async def test_a_reason_that_youtube_names_for_the_bytes_is_told(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [refused(403, "channelSuspended", "Suspended")]
    error = await failure(youtube_says, watch, a_media(CHUNKED), 2 * CHUNK)
    assert (type(error), error.code) == (Permanent, "channelSuspended")


@pytest.mark.parametrize(
    "answer",
    [
        CUT, Says(500), refused(503, "backendError"), Says(502, b"<html>"), Says(200, b"<html>"), Says(201, {}),
        Says(429), refused(429, "rateLimitExceeded"), Says(404), Says(410), Says(408), Says(302),
        Says(308, None, {"Range": "junk"}),
    ],
)  # fmt: skip
async def test_a_lost_or_unclear_answer_to_the_last_chunk_is_never_a_no(
    answer: Any, youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [has(CHUNK), has(2 * CHUNK), answer]
    error = await failure(youtube_says, watch, a_media(CHUNKED))
    assert type(error) is Unsure
    assert len(youtube_says.requests) == 3, "the last chunk goes once"


async def test_a_last_chunk_that_was_cut_in_the_middle_made_no_video(
    youtube_says: Scripted, watch: Watch
) -> None:
    async def stops(start: int, end: int) -> AsyncIterator[bytes]:
        yield content(start, start + 500)
        raise Retryable("The store went away.", code="store_away")

    youtube_says.says[SESSION] = [CUT]
    error = await failure(youtube_says, watch, a_media(1000, stops))
    assert (type(error), error.code) == (Retryable, "store_away")


async def test_a_line_that_breaks_before_the_last_bytes_left_is_a_definite_no(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [CutAfter(1000)]
    error = await failure(youtube_says, watch, a_media(CHUNK))
    assert (type(error), error.code) in ((Retryable, "upload_cut"), (Unsure, "answer_lost"))
    handed = watch.progress[-1] + (1 << 18) if watch.progress else 0
    assert (handed >= CHUNK) == (type(error) is Unsure), "only bytes that all left may have made a video"


async def test_a_last_chunk_whose_answer_says_that_bytes_are_missing_made_no_video(
    youtube_says: Scripted, watch: Watch
) -> None:
    youtube_says.says[SESSION] = [has(2 * CHUNK)]
    error = await failure(youtube_says, watch, a_media(CHUNKED), 2 * CHUNK)
    assert (type(error), error.code) == (Retryable, "upload_cut")
    assert watch.told == ["before last", "send_last upload_cut"]


async def test_what_the_caller_raises_before_the_last_chunk_stops_it(
    youtube_says: Scripted, watch: Watch
) -> None:
    async def no() -> None:
        raise Cancelled("Stop.")

    with pytest.raises(Cancelled):
        await youtube.send(
            an_app(youtube_says.url), a_grant(), youtube_says.session, a_post(), a_media(1000), 0,
            on_progress=watch.on_progress, before_last=no, on_call=watch.on_call,
        )  # fmt: skip
    assert youtube_says.requests == []


@pytest.mark.parametrize("length", [999, 1001])
async def test_a_file_that_has_changed_is_not_posted(
    length: int, youtube_says: Scripted, watch: Watch
) -> None:
    async def changed(start: int, end: int) -> AsyncIterator[bytes]:
        yield content(0, length)

    youtube_says.says[SESSION] = [CUT]
    error = await failure(youtube_says, watch, a_media(1000, changed))
    assert (type(error), error.code) == (Permanent, "media_changed")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://www.googleapis.com/upload/youtube/v3/videos?upload_id=1", True),
        ("https://youtube.googleapis.com:443/upload?upload_id=1", True),
        ("http://www.googleapis.com/upload?upload_id=1", False),
        ("https://www.googleapis.com:8443/upload?upload_id=1", False),
        ("https://www.googleapis.com.evil.example/upload?upload_id=1", False),
        ("https://evilgoogleapis.com/upload", False),
        ("https://googleapis.com/upload", False),
        ("https://user@www.googleapis.com/upload", False),
        ("https://www.googleapis.com@evil.example/upload", False),
    ],
)
def test_bytes_and_token_go_to_google_only(address: str, allowed: bool) -> None:
    app = an_app("https://www.googleapis.com", simulated=False)
    if allowed:
        youtube.publish.check_upload_address(app, address)
        return
    with pytest.raises(Permanent) as caught:
        youtube.publish.check_upload_address(app, address)
    assert caught.value.code == "upload_address_refused"


async def test_the_simulator_is_followed_to_its_own_address_only(
    youtube_says: Scripted, watch: Watch
) -> None:
    elsewhere = replace(youtube_says.session, upload_url="http://127.0.0.1:1/upload?upload_id=1")
    with pytest.raises(Permanent) as caught:
        await sending(youtube_says, watch, a_media(1000), handle=elsewhere)
    assert caught.value.code == "upload_address_refused" and youtube_says.requests == []
