"""What every provider promises: each test runs on the local folder and on a bucket."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import anyio
import pytest

from app import storage
from app.errors import NotFound, Permanent, Refused, Retryable, WrongState

pytestmark = pytest.mark.anyio
MIB = 1024**2
VIDEO = "video/mp4"


# Odd in length, so that no two parts of a file are alike.
NOISE = hashlib.shake_128(b"backlot").digest(MIB + 1)


def a_file(count: int) -> bytes:
    return (NOISE * (count // len(NOISE) + 1))[:count]


async def streamed(body: bytes, *, chunk_bytes: int = 64 * 1024) -> AsyncIterator[bytes]:
    for at in range(0, len(body), chunk_bytes):
        yield body[at : at + chunk_bytes]


async def cut(body: bytes, *, chunk_bytes: int = 64 * 1024) -> AsyncIterator[bytes]:
    """The line breaks after these bytes."""
    async for chunk in streamed(body, chunk_bytes=chunk_bytes):
        yield chunk
    raise ConnectionResetError("cut")


async def everything() -> list[str]:
    """All that is left in the storage: files, leavings and unfinished uploads."""
    found = [key async for key in storage.keys("tenants/")] + [key async for key in storage.keys("tmp/")]
    return found + await storage.sweep(-1)


async def body_of(key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in storage.read(key, start, end)])


def a_key() -> str:
    return storage.key_for(7, "originals", "mp4")


@pytest.mark.parametrize("count", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB])
async def test_a_stored_stream_comes_back_byte_for_byte(provider: str, count: int, tmp_path: Path) -> None:
    body, key = a_file(count), a_key()
    stored = await storage.put_stream(streamed(body), key, VIDEO, most_bytes=count)
    assert stored == storage.Stored(key, count, hashlib.sha256(body).hexdigest(), VIDEO)
    path = await storage.fetch(key, tmp_path, sha256=stored.sha256)
    assert path.read_bytes() == body
    assert (head := await storage.head(key)) is not None and head.bytes == count


async def test_a_local_file_is_stored_and_stays_where_it_is(provider: str, tmp_path: Path) -> None:
    path = tmp_path / "poster.jpg"
    path.write_bytes(a_file(3 * MIB))
    stored = await storage.put(path, storage.key_for(7, "posters", "jpg"), "image/jpeg")
    assert await body_of(stored.key) == path.read_bytes()


async def test_a_range_of_a_file_is_read_alone(provider: str) -> None:
    body, key = a_file(2 * MIB), a_key()
    await storage.put_stream(streamed(body), key, VIDEO, most_bytes=len(body))
    assert await body_of(key, 5, 9) == body[5:9]
    assert await body_of(key, MIB) == body[MIB:]
    assert await body_of(key, len(body) - 3, len(body) + 100) == body[-3:]
    assert await body_of(key, len(body)) == b""
    assert await body_of(key, 9, 9) == b""


async def test_leaving_a_download_early_harms_nothing(provider: str) -> None:
    body, key = a_file(3 * MIB), a_key()
    await storage.put_stream(streamed(body), key, VIDEO, most_bytes=len(body))
    for _ in range(40):
        async with aclosing(storage.read(key)) as pieces:
            assert await anext(pieces) == body[: 256 * 1024]
    assert await body_of(key) == body


async def test_a_file_is_never_overwritten(provider: str) -> None:
    key = a_key()
    await storage.put_stream(streamed(b"first"), key, VIDEO, most_bytes=9)
    for attempt in (
        storage.put_stream(streamed(b"second"), key, VIDEO, most_bytes=9),
        storage.begin(key, 9, VIDEO),
    ):
        with pytest.raises(WrongState) as refused:
            await attempt
        assert refused.value.code == "key_exists"
    assert await body_of(key) == b"first"
    assert await everything() == [key]


async def test_of_two_writers_of_one_key_the_first_to_finish_wins(provider: str) -> None:
    key = a_key()
    late = await storage.begin(key, 6, VIDEO)
    await storage.append(late, 0, streamed(b"second"), most=6)
    await storage.put_stream(streamed(b"first"), key, VIDEO, most_bytes=9)
    with pytest.raises(WrongState):
        await storage.finish(late, 6)
    await storage.abort(late)
    assert await body_of(key) == b"first"


@pytest.mark.parametrize("count", [3 * MIB, 19 * MIB])
async def test_a_cut_stream_leaves_nothing(provider: str, count: int) -> None:
    with pytest.raises(ConnectionResetError):
        await storage.put_stream(cut(a_file(count)), a_key(), VIDEO, most_bytes=99 * MIB)
    assert await everything() == []


@pytest.mark.parametrize("count", [3 * MIB, 19 * MIB])
async def test_a_cancelled_stream_leaves_nothing(provider: str, count: int) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        async for chunk in streamed(a_file(count)):
            yield chunk
        arrived.set()
        await anyio.sleep_forever()

    for by_scope in (True, False):
        arrived = anyio.Event()
        if by_scope:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: storage.put_stream(stalled(), a_key(), VIDEO, most_bytes=99 * MIB))
                await arrived.wait()
                group.cancel_scope.cancel()
        else:
            task = asyncio.create_task(storage.put_stream(stalled(), a_key(), VIDEO, most_bytes=99 * MIB))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await everything() == []


@pytest.mark.parametrize("most", [MIB, 9 * MIB])
async def test_a_stream_is_refused_one_byte_past_its_limit_and_leaves_nothing(
    provider: str, most: int
) -> None:
    with pytest.raises(Refused) as refused:
        await storage.put_stream(streamed(a_file(most + 1)), a_key(), VIDEO, most_bytes=most)
    assert refused.value.code == "too_large"
    assert await everything() == []
    await storage.put_stream(streamed(a_file(most)), a_key(), VIDEO, most_bytes=most)


HOSTILE = [
    "", "a", "/etc/passwd", "tenants/../../etc/passwd", "tenants/7/..", "tenants//x", "../x", "tenants/7/a\\b",
    "tenants/7/a\0b", "tenants/7/ä.mp4", "tenants/7/.partial", "other/7/x.mp4", ".partial/x", "tenants/7/A.mp4",
    "tenants/7/a b", "tenants/7/a\n", "tenants/" + "a" * 600, "tenants/7/" + "a" * 200, "tenants/7/x/", "tenants",
]  # fmt: skip


async def test_a_hostile_key_is_refused_everywhere(provider: str, tmp_path: Path) -> None:
    for key in HOSTILE:
        for attempt in (
            storage.head(key), storage.delete(key), storage.begin(key, 5, VIDEO), storage.fetch(key, tmp_path),
            storage.put_stream(streamed(b"x"), key, VIDEO, most_bytes=5), body_of(key),
        ):  # fmt: skip
            with pytest.raises(Refused) as refused:
                await attempt
            assert refused.value.code == "bad_key"
        with pytest.raises(Refused):
            storage.link(key, content_type=VIDEO)
    assert await everything() == []


@pytest.mark.parametrize(
    ("workspace_id", "kind", "extension"), [(0, "a", "b"), (1, "../x", "b"), (1, "a", "b/c")]
)
async def test_a_key_is_made_of_our_words_only(workspace_id: int, kind: str, extension: str) -> None:
    with pytest.raises(Refused):
        storage.key_for(workspace_id, kind, extension)


async def test_a_file_that_is_not_there_is_said_to_be_gone(provider: str, tmp_path: Path) -> None:
    key = a_key()
    assert await storage.head(key) is None
    await storage.delete(key)
    for attempt in (storage.fetch(key, tmp_path), body_of(key)):
        with pytest.raises(NotFound) as gone:
            await attempt
        assert gone.value.code == "file_gone"


async def test_a_copy_with_another_checksum_is_not_kept(provider: str, tmp_path: Path) -> None:
    key = a_key()
    await storage.put_stream(streamed(b"bytes"), key, VIDEO, most_bytes=9)
    with pytest.raises(Retryable):
        await storage.fetch(key, tmp_path, sha256="0" * 64)
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


async def test_keys_are_listed_by_their_beginning(provider: str) -> None:
    for name in ("tenants/7/a/x.mp4", "tenants/7/b/y.mp4", "tenants/70/a/z.mp4"):
        await storage.put_stream(streamed(b"x"), name, VIDEO, most_bytes=9)
    assert sorted([key async for key in storage.keys("tenants/7/")]) == [
        "tenants/7/a/x.mp4",
        "tenants/7/b/y.mp4",
    ]
    assert [key async for key in storage.keys("tenants/7/b")] == ["tenants/7/b/y.mp4"]
    assert [key async for key in storage.keys("tenants/8/")] == []


# Resumable writes


async def test_an_upload_in_many_small_pieces_is_whole(provider: str) -> None:
    body, key = a_file(18 * MIB + 5), a_key()
    upload = await storage.begin(key, len(body), VIDEO)
    at = 0
    for size in (1, 3 * MIB, 64 * 1024, 9 * MIB, 2 * MIB, len(body)):
        piece = body[at : at + size]
        at = await storage.append(upload, at, streamed(piece), most=len(piece))
        assert at == await storage.offset(upload)
    stored = await storage.finish(upload, len(body))
    assert stored == storage.Stored(key, len(body), hashlib.sha256(body).hexdigest(), VIDEO)
    assert await body_of(key) == body
    assert await everything() == [key]


async def test_an_upload_cut_again_and_again_goes_on_where_it_stood(provider: str) -> None:
    body, key = a_file(20 * MIB + 7), a_key()
    upload = await storage.begin(key, len(body), VIDEO)
    for size in (5 * MIB + 3, 11 * MIB, MIB):
        at = await storage.offset(upload)
        with pytest.raises(ConnectionResetError):
            await storage.append(upload, at, cut(body[at : at + size]), most=len(body) - at)
        assert await storage.offset(upload) == at + size
    at = await storage.offset(upload)
    await storage.append(upload, at, streamed(body[at:]), most=len(body) - at)
    stored = await storage.finish(upload, len(body))
    assert stored.sha256 == hashlib.sha256(body).hexdigest()
    assert await body_of(key) == body


async def test_an_upload_is_continued_by_another_process(provider: str) -> None:
    body, key = a_file(9 * MIB), a_key()
    upload = await storage.begin(key, len(body), VIDEO)
    await storage.append(upload, 0, streamed(body[: 8 * MIB + 9]), most=len(body))
    another_process()
    await storage.append(upload, 8 * MIB + 9, streamed(body[8 * MIB + 9 :]), most=len(body))
    assert (await storage.finish(upload, len(body))).sha256 == hashlib.sha256(body).hexdigest()


async def test_finishing_again_after_a_lost_answer_gives_the_same(provider: str) -> None:
    body, key = a_file(9 * MIB), a_key()
    upload = await storage.begin(key, len(body), VIDEO)
    await storage.append(upload, 0, streamed(body), most=len(body))
    first = await storage.finish(upload, len(body))
    assert await storage.finish(upload, len(body)) == first
    another_process()
    assert await storage.finish(upload, len(body)) == first
    assert await storage.offset(upload) == len(body)
    await storage.abort(upload)
    assert await body_of(key) == body


async def test_two_writers_at_once_cannot_mix_an_upload(provider: str) -> None:
    body, key = a_file(10 * MIB), a_key()
    upload = await storage.begin(key, len(body), VIDEO)
    inside, go_on = anyio.Event(), anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield body[:MIB]
        inside.set()
        await go_on.wait()
        yield body[MIB:]

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: storage.append(upload, 0, slow(), most=len(body)))
        await inside.wait()
        with pytest.raises(WrongState) as refused:
            await storage.append(upload, 0, streamed(b"other"), most=len(body))
        assert refused.value.code == "upload_busy"
        go_on.set()
    assert (await storage.finish(upload, len(body))).sha256 == hashlib.sha256(body).hexdigest()


async def test_bytes_for_another_place_are_refused_and_change_nothing(provider: str) -> None:
    upload = await storage.begin(a_key(), 6, VIDEO)
    await storage.append(upload, 0, streamed(b"abc"), most=6)
    for offset in (0, 2, 4, 10**9):
        with pytest.raises(WrongState) as refused:
            await storage.append(upload, offset, streamed(b"xyz"), most=6)
        assert refused.value.code == "offset_mismatch"
    await storage.append(upload, 3, streamed(b"def"), most=3)
    stored = await storage.finish(upload, 6)
    assert await body_of(stored.key) == b"abcdef" and stored.sha256 == hashlib.sha256(b"abcdef").hexdigest()


async def test_an_upload_takes_no_byte_more_than_it_was_begun_for(provider: str) -> None:
    upload = await storage.begin(a_key(), 4, VIDEO)
    with pytest.raises(Refused) as refused:
        await storage.append(upload, 0, streamed(b"abcde"), most=100)
    assert refused.value.code == "too_large"
    await storage.abort(upload)
    assert await everything() == []


async def test_an_upload_that_is_not_whole_is_not_finished(provider: str) -> None:
    upload = await storage.begin(a_key(), 6, VIDEO)
    await storage.append(upload, 0, streamed(b"abc"), most=6)
    with pytest.raises(WrongState) as refused:
        await storage.finish(upload, 6)
    assert refused.value.code == "not_whole"
    assert await storage.offset(upload) == 3


async def test_an_aborted_upload_leaves_nothing_and_stays_gone(provider: str) -> None:
    body = a_file(9 * MIB)
    upload = await storage.begin(a_key(), 10 * MIB, VIDEO)
    await storage.append(upload, 0, streamed(body), most=len(body))
    await storage.abort(upload)
    await storage.abort(upload)
    assert await everything() == []
    for attempt in (
        storage.offset(upload),
        storage.append(upload, len(body), streamed(b"x"), most=9),
        storage.finish(upload, len(body)),
    ):
        with pytest.raises(NotFound) as gone:
            await attempt
        assert gone.value.code == "upload_gone"


async def test_an_empty_upload_is_refused_at_once(provider: str) -> None:
    with pytest.raises(Refused) as refused:
        await storage.begin(a_key(), 0, VIDEO)
    assert refused.value.code == "empty"
    assert await everything() == []


async def test_an_upload_text_that_is_not_ours_opens_nothing(provider: str) -> None:
    for text in ("", "{}", "[]", "null", '{"provider":"local"}', "x" * 99):
        with pytest.raises(NotFound):
            await storage.offset(text)


async def test_an_upload_begun_in_another_provider_says_so(provider: str) -> None:
    upload = await storage.begin(a_key(), 6, VIDEO)
    other = {"local": "s3", "s3": "local"}[provider]
    with pytest.raises(Permanent):
        await storage.offset(upload.replace(f'"provider":"{provider}"', f'"provider":"{other}"'))


async def test_the_sweep_removes_old_leavings_and_spares_the_living(provider: str) -> None:
    dead = await storage.begin(a_key(), 6, VIDEO)
    alive = await storage.begin(a_key(), 6, VIDEO)
    for upload in (dead, alive):
        await storage.append(upload, 0, streamed(b"abc"), most=6)
    # The S3 server of the tests says of every upload that it began in 2010.
    if provider == "local":
        assert await storage.sweep(older_than_h=48) == []
    assert await storage.sweep(older_than_h=-1, alive=[alive])
    with pytest.raises(NotFound):
        await storage.offset(dead)
    await storage.append(alive, 3, streamed(b"def"), most=3)
    assert await body_of((await storage.finish(alive, 6)).key) == b"abcdef"


async def test_the_storage_check_finds_a_good_storage_good_and_leaves_nothing(provider: str) -> None:
    assert await storage.storage_check() == []
    assert await everything() == []


async def test_streaming_200_mb_holds_few_of_them_in_memory(provider: str) -> None:
    parts_at_once = {"local": 2 * MIB, "s3": 2 * 8 * MIB}[provider]
    assert await peak_of_a_round_trip(200 * MIB) < parts_at_once + 6 * MIB


async def peak_of_a_round_trip(count: int) -> int:
    piece = a_file(64 * 1024)

    async def long() -> AsyncIterator[bytes]:
        for _ in range(count // len(piece)):
            yield bytes(piece)

    tracemalloc.start()
    try:
        key = a_key()
        upload = await storage.begin(key, count, VIDEO)
        await storage.append(upload, 0, long(), most=count)
        await storage.finish(upload, count)
        seen = 0
        async for chunk in storage.read(key):
            seen += len(chunk)
        assert seen == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def another_process() -> None:
    """Forget everything this process knows of uploads, as a fresh one would."""
    storage._open = None


@pytest.fixture(autouse=True)
def no_open_files() -> Iterator[None]:
    """No test leaves a file open in the storage."""
    yield
    left = []
    open_files = Path("/proc/self/fd")
    for file in open_files.iterdir() if open_files.exists() else ():
        with suppress(OSError):
            left.append(str(file.readlink()))
    assert [path for path in left if "/home/storage/" in path] == []
