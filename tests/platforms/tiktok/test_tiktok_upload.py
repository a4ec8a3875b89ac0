"""Sending the bytes, against a server that says exactly what a test wants TikTok to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tiktok_makers import A_GRANT, CUT, Scripted, Watch, a_media, a_post, an_app, content

from app.errors import Cancelled, HouseError, Interrupted, Permanent, Retryable, Unsure
from app.platforms import Handle, Media, tiktok

pytestmark = pytest.mark.anyio
VIDEO = "/video/"
STATUS = "/v2/post/publish/status/fetch/"
CHUNKED = 64_000_001


def at(received: int | None, status: str = "PROCESSING_UPLOAD", **more: Any) -> tuple[int, Any]:
    told = {"status": status, "uploaded_bytes": received} | more
    return 200, {"data": told, "error": {"code": "ok", "message": "", "log_id": "x"}}


async def sending(world: Scripted, watch: Watch, media: Media, from_byte: int = 0) -> None:
    handle = Handle("v_pub~1", f"{world.url}/video/?upload_id=1&upload_token=verysecret", datetime.now(UTC))
    await tiktok.send(
        an_app(world.url),
        A_GRANT,
        handle,
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
    assert "verysecret" not in repr(caught.value) + repr(caught.value.__cause__) + repr(watch.calls)
    return caught.value


def ranges(world: Scripted) -> list[str]:
    return [request.headers["content-range"] for request in world.to(VIDEO)]


@pytest.mark.parametrize("answer", [201, 200])
async def test_a_small_file_goes_in_one_call_with_exactly_these_headers(
    answer: int, tiktok_says: Scripted, watch: Watch
) -> None:
    tiktok_says.says[VIDEO] = [(answer, None)]
    await sending(tiktok_says, watch, a_media(3_145_728))
    request = tiktok_says.requests[0]
    assert request.method == "PUT" and request.query == "upload_id=1&upload_token=verysecret"
    assert request.headers["content-type"] == "video/mp4"
    assert request.headers["content-length"] == "3145728"
    assert request.headers["content-range"] == "bytes 0-3145727/3145728"
    assert "authorization" not in request.headers and "transfer-encoding" not in request.headers
    assert request.body == content(0, 3_145_728)
    assert watch.told == ["before last", "send_last ok"]
    # Told before each piece, so the last byte is told by the end of the sending.
    assert watch.progress == list(range(0, 3_145_728, 1 << 18))
    assert watch.calls[0].path == VIDEO


async def test_a_large_file_goes_chunk_after_chunk_and_asks_before_the_last(
    tiktok_says: Scripted, watch: Watch
) -> None:
    tiktok_says.says[VIDEO] = [(206, None)] * 5 + [(201, None)]
    await sending(tiktok_says, watch, a_media(CHUNKED))
    assert ranges(tiktok_says) == [
        f"bytes {start}-{start + 9_999_999}/{CHUNKED}" for start in range(0, 50_000_000, 10_000_000)
    ] + [f"bytes 50000000-64000000/{CHUNKED}"]
    assert b"".join(request.body for request in tiktok_says.requests) == content(0, CHUNKED)
    assert watch.told == ["send ok"] * 5 + ["before last", "send_last ok"]


async def test_sending_goes_on_where_it_is_told_to(tiktok_says: Scripted, watch: Watch) -> None:
    tiktok_says.says[VIDEO] = [(206, None), (201, None)]
    await sending(tiktok_says, watch, a_media(CHUNKED), from_byte=40_000_000)
    assert ranges(tiktok_says)[0].startswith("bytes 40000000-49999999/")
    assert watch.progress[0] == 40_000_000


async def test_nothing_is_sent_or_permitted_when_all_has_arrived(tiktok_says: Scripted, watch: Watch) -> None:
    await sending(tiktok_says, watch, a_media(CHUNKED), from_byte=CHUNKED)
    assert tiktok_says.requests == [] and watch.told == []


@pytest.mark.parametrize("cut", [CUT, (500, None), (503, b"<html>"), (416, None), (200, None)])
@pytest.mark.parametrize(
    ("received", "resumed"),
    [
        (10_000_000, 10_000_000),
        (20_000_000, 20_000_000),
        (0, 0),
        (None, 10_000_000),
        (15_000_000, 15_000_000),
    ],
)
async def test_after_a_cut_it_goes_on_where_tiktok_says(
    cut: Any, received: int | None, resumed: int, tiktok_says: Scripted, watch: Watch
) -> None:
    left = 5 - resumed // 10_000_000
    tiktok_says.says[VIDEO] = [(206, None), cut] + [(206, None)] * left + [(201, None)]
    tiktok_says.says[STATUS] = [at(received)]
    await sending(tiktok_says, watch, a_media(CHUNKED))
    assert len(tiktok_says.to(STATUS)) == 1
    after = ranges(tiktok_says)[-(left + 1)]
    end = (resumed // 10_000_000 + 1) * 10_000_000 - 1
    assert after == f"bytes {resumed}-{end}/{CHUNKED}"
    assert watch.told[-2:] == ["before last", "send_last ok"]


async def test_a_chunk_that_never_arrives_is_given_up_after_four_tries(
    tiktok_says: Scripted, watch: Watch
) -> None:
    tiktok_says.says[VIDEO] = [(500, None)]
    tiktok_says.says[STATUS] = [at(0)]
    error = await failure(tiktok_says, watch, a_media(CHUNKED))
    assert (type(error), error.code) == (Retryable, "upload_cut")
    assert len(tiktok_says.to(VIDEO)) == 4 and "before last" not in watch.told


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, Permanent, "upload_refused"),
        (403, Retryable, "upload_expired"),
        (404, Retryable, "upload_expired"),
        (411, Permanent, "upload_refused"),
    ],
)
async def test_a_no_to_a_chunk_ends_the_sending(
    status: int, kind: type[HouseError], code: str, tiktok_says: Scripted, watch: Watch
) -> None:
    tiktok_says.says[VIDEO] = [(status, None)]
    error = await failure(tiktok_says, watch, a_media(CHUNKED))
    assert (type(error), error.code) == (kind, code)
    assert len(tiktok_says.requests) == 1 and "before last" not in watch.told


@pytest.mark.parametrize(
    ("told", "kind", "code"),
    [
        (400, Permanent, "upload_refused"),
        (403, Unsure, "upload_expired"),
        (404, Unsure, "upload_expired"),
        (408, Unsure, "http_408"),
        (416, Unsure, "range_mismatch"),
        (429, Unsure, "rate_limit_exceeded"),
        (206, Unsure, "http_206"),
        (302, Unsure, "http_302"),
        (500, Unsure, "http_500"),
        (503, Unsure, "http_503"),
        ("html", Unsure, "http_200"),
        (CUT, Unsure, "answer_lost"),
    ],
)
@pytest.mark.parametrize("size", [3_145_728, CHUNKED])
async def test_the_last_chunk_is_sent_once_and_what_is_not_clear_is_unsure(
    size: int, told: Any, kind: type[HouseError], code: str, tiktok_says: Scripted, watch: Watch
) -> None:
    chunks = tiktok.plan(size).count
    last: Any = (200, b"<html>") if told == "html" else told if told == CUT else (told, None)
    tiktok_says.says[VIDEO] = [(206, None)] * (chunks - 1) + [last]
    error = await failure(tiktok_says, watch, a_media(size))
    assert (type(error), error.code) == (kind, code)
    assert watch.told.count("before last") == 1 and watch.told[-1] == f"send_last {code}"
    assert len(tiktok_says.to(VIDEO)) == chunks
    assert tiktok_says.to(STATUS) == []


async def test_a_last_chunk_that_could_not_be_sent_at_all_is_retryable(
    tiktok_says: Scripted, watch: Watch
) -> None:
    closed = Scripted(url="http://127.0.0.1:9")
    error = await failure(closed, watch, a_media(9))
    assert (type(error), error.code) == (Retryable, "not_reached")
    assert watch.told == ["before last", "send_last not_reached"]


async def test_a_line_that_breaks_before_the_last_byte_left_has_posted_nothing(watch: Watch) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1_000_000)
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    world = Scripted(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    error = await failure(world, watch, a_media(60_000_000))
    assert (type(error), error.code) == (Retryable, "upload_cut")
    server.close()


async def test_a_resumed_upload_that_tiktok_has_finished_meanwhile_is_done(
    tiktok_says: Scripted, watch: Watch
) -> None:
    for now in (at(CHUNKED), at(CHUNKED, "PUBLISH_COMPLETE"), at(None, "SEND_TO_USER_INBOX")):
        tiktok_says.says = {VIDEO: [(416, None)], STATUS: [now]}
        await sending(tiktok_says, watch, a_media(CHUNKED))
    assert "before last" not in watch.told


async def test_a_post_that_failed_meanwhile_says_why(tiktok_says: Scripted, watch: Watch) -> None:
    tiktok_says.says = {VIDEO: [(416, None)], STATUS: [at(0, "FAILED", fail_reason="auth_removed")]}
    assert (await failure(tiktok_says, watch, a_media(CHUNKED))).code == "auth_removed"
    gone = (400, {"data": {}, "error": {"code": "invalid_publish_id", "message": "", "log_id": ""}})
    tiktok_says.says = {VIDEO: [(416, None)], STATUS: [gone]}
    assert (await failure(tiktok_says, watch, a_media(CHUNKED))).code == "upload_expired"


async def test_a_token_that_expired_during_the_upload_is_told_as_such(
    tiktok_says: Scripted, watch: Watch
) -> None:
    dead = (401, {"data": {}, "error": {"code": "access_token_invalid", "message": "", "log_id": ""}})
    tiktok_says.says = {VIDEO: [CUT], STATUS: [dead]}
    error = await failure(tiktok_says, watch, a_media(CHUNKED))
    assert (type(error), error.code) == (Permanent, "access_token_invalid")


async def test_what_the_caller_raises_ends_the_sending_and_no_byte_follows(
    tiktok_says: Scripted, watch: Watch
) -> None:
    async def refuse() -> None:
        raise Interrupted("The lease is lost.")

    watch.before_last = refuse  # type: ignore[method-assign]  # the caller's own decision
    assert isinstance(await failure(tiktok_says, watch, a_media(9)), Interrupted)
    assert tiktok_says.requests == []


async def test_a_cancel_in_the_middle_of_a_chunk_cuts_it_short(tiktok_says: Scripted, watch: Watch) -> None:
    async def cancel(at_byte: int) -> None:
        if at_byte > 1_000_000:
            raise Cancelled("A person cancelled.")

    watch.on_progress = cancel  # type: ignore[method-assign]  # the caller's own decision
    tiktok_says.says[VIDEO] = [(201, None)]
    assert isinstance(await failure(tiktok_says, watch, a_media(3_000_000)), Cancelled)
    assert tiktok_says.requests == []


@pytest.mark.parametrize("surplus", [-1, 1])
async def test_a_stored_file_of_another_length_is_never_sent_whole(
    surplus: int, tiktok_says: Scripted, watch: Watch
) -> None:
    closed: list[bool] = []

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        try:
            yield b"x" * (end - start - 1)
            yield b"y" * (1 + surplus)
        finally:
            closed.append(True)

    tiktok_says.says[VIDEO] = [(201, None)]
    error = await failure(tiktok_says, watch, a_media(1000, read=read))
    assert (type(error), error.code) == (Permanent, "media_changed")
    assert tiktok_says.requests == [] and closed == [True]


async def test_what_stumbles_after_the_last_byte_does_not_make_a_sent_video_look_unsent(
    tiktok_says: Scripted, watch: Watch
) -> None:
    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        try:
            yield b"x" * (end - start)
            raise Retryable("The bucket is away.")
        finally:
            raise OSError("The connection to the bucket broke off.")

    tiktok_says.says[VIDEO] = [(201, None)]
    await sending(tiktok_says, watch, a_media(1000, read=read))
    assert watch.told == ["before last", "send_last ok"] and watch.progress == [0]


async def test_a_storage_failure_comes_through_and_the_chunk_is_not_posted(
    tiktok_says: Scripted, watch: Watch
) -> None:
    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        yield b"x" * (end - start - 1)
        raise Retryable("The bucket is away.", code="storage_away")

    tiktok_says.says[VIDEO] = [(201, None)]
    assert (await failure(tiktok_says, watch, a_media(1000, read=read))).code == "storage_away"
    assert tiktok_says.requests == []


async def test_cancelling_the_task_lets_go_of_the_stored_file(tiktok_says: Scripted, watch: Watch) -> None:
    reading, closed = asyncio.Event(), asyncio.Event()

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        try:
            yield b"x"
            reading.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    tiktok_says.says[VIDEO] = [(201, None)]
    task = asyncio.create_task(sending(tiktok_says, watch, a_media(1000, read=read)))
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set() and watch.told == ["before last", "send_last interrupted"]
