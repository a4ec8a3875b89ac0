"""Section 9, item 6: the bytes, in order and whole, and what survives a kill."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sandbox_kit import Client, Process, sha256

CHUNK = 5_242_880
WHOLE = os.urandom(2 * CHUNK + 1000)


def begun(world: Client) -> tuple[str, str, Callable[[], int]]:
    """An upload of two chunks: its publish_id, its address, and how far the platform says it is."""
    maya = world.person()
    answer = maya.init(len(WHOLE), CHUNK, 2).json()["data"]
    publish_id = answer["publish_id"]
    return publish_id, answer["upload_url"], lambda: int(maya.state(publish_id)["uploaded_bytes"])


def first(world: Client, url: str, **headers: str) -> httpx2.Response:
    return world.put(url, WHOLE[:CHUNK], 0, len(WHOLE), **headers)


def last(world: Client, url: str) -> httpx2.Response:
    return world.put(url, WHOLE[CHUNK:], CHUNK, len(WHOLE))


def leftovers(world: Client) -> list[str]:
    return [path.name for path in (world.home / "files").glob("part-*")]


def test_chunks_in_order_make_a_post(world: Client) -> None:
    _, url, uploaded = begun(world)
    stored = first(world, url)
    assert stored.status_code == 206
    assert stored.headers["content-range"] == f"bytes 0-{CHUNK}/{len(WHOLE)}"
    assert uploaded() == CHUNK and world.posts == []
    assert last(world, url).status_code == 201
    (post,) = world.ledger(all=1)["rejected"]  # random bytes are no video, but they have arrived whole
    assert (post["sha256"], post["bytes"]) == (sha256(WHOLE), len(WHOLE))
    assert leftovers(world) == []


def test_the_world_has_the_post_with_the_last_byte(world: Client, clip: bytes) -> None:
    maya = world.person()
    url = maya.init(len(clip)).json()["data"]["upload_url"]
    assert world.posts == []
    assert world.put(url, clip).status_code == 201
    assert [post["sha256"] for post in world.posts] == [sha256(clip)]


def test_a_chunk_out_of_order_is_refused(world: Client) -> None:
    _, url, uploaded = begun(world)
    assert last(world, url).status_code == 416
    assert uploaded() == 0


def test_a_chunk_one_byte_short_or_long_is_refused(world: Client) -> None:
    _, url, uploaded = begun(world)
    assert world.put(url, WHOLE[: CHUNK - 1], 0, len(WHOLE)).status_code == 416
    assert world.put(url, WHOLE[: CHUNK + 1], 0, len(WHOLE)).status_code == 416
    one_short = {"content_range": f"bytes 0-{CHUNK - 1}/{len(WHOLE)}"}
    assert world.put(url, WHOLE[: CHUNK - 1], 0, len(WHOLE), **one_short).status_code == 400
    assert uploaded() == 0 and leftovers(world) == []
    assert first(world, url).status_code == 206
    assert world.put(url, WHOLE[CHUNK:-1], CHUNK, len(WHOLE)).status_code == 416
    assert last(world, url).status_code == 201


def test_a_chunk_sent_again_does_not_count_twice(world: Client) -> None:
    publish_id, url, uploaded = begun(world)
    assert first(world, url).status_code == 206
    assert first(world, url).status_code == 416
    assert uploaded() == CHUNK
    assert last(world, url).status_code == 201
    assert last(world, url).status_code == 416
    assert [entry["publishId"] for entry in world.ledger(all=1)["rejected"]] == [publish_id]


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/octet-stream"},
        {"content_range": ""},
        {"content_range": f"bytes 0-{CHUNK}/{len(WHOLE)}"},
        {"content_range": f"bytes 0-{CHUNK - 1}/{len(WHOLE) + 1}"},
        {"content_range": f"bytes 0-{CHUNK - 1}/*"},
        {"content_range": "bytes 5-2/10"},
    ],
)
def test_wrong_headers_are_refused(world: Client, headers: dict[str, str]) -> None:
    _, url, uploaded = begun(world)
    assert first(world, url, **headers).status_code == 400
    assert uploaded() == 0 and leftovers(world) == []


def test_a_body_without_a_length_is_refused(world: Client) -> None:
    _, url, _ = begun(world)
    headers = {"content-type": "video/mp4", "content-range": f"bytes 0-{CHUNK - 1}/{len(WHOLE)}"}

    def pieces() -> Iterator[bytes]:
        yield WHOLE[:CHUNK]

    assert world.http.put(url, content=pieces(), headers=headers).status_code == 400


def test_an_unknown_upload_and_a_guessed_token_are_not_found(world: Client) -> None:
    _, url, _ = begun(world)
    assert first(world, url[:-1] + ("a" if url[-1] != "a" else "b")).status_code == 404
    assert first(world, url.replace("upload_id=7", "upload_id=8")).status_code == 404


def test_an_address_expires_after_an_hour_but_outlives_the_token(world: Client) -> None:
    _, url, _ = begun(world)
    world.arm("token_expired")
    assert first(world, url).status_code == 206
    world.later(3601)
    assert last(world, url).status_code == 403
    (unfinished,) = world.ledger(all=1)["incomplete"]
    assert unfinished["receivedBytes"] == CHUNK


def test_the_same_chunk_sent_by_four_at_once_is_stored_once(world: Client) -> None:
    _, url, uploaded = begun(world)
    gate = threading.Barrier(4)

    def send(_: int) -> int:
        gate.wait(10)
        return httpx2.put(
            url,
            content=WHOLE[:CHUNK],
            headers={"content-type": "video/mp4", "content-range": f"bytes 0-{CHUNK - 1}/{len(WHOLE)}"},
            timeout=30,
            trust_env=False,
        ).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(send, range(4))) == [206, 416, 416, 416]
    assert uploaded() == CHUNK and leftovers(world) == []
    assert last(world, url).status_code == 201
    assert world.ledger(all=1)["rejected"][0]["sha256"] == sha256(WHOLE)


def test_many_uploads_at_once_do_not_mix(world: Client, clip: bytes) -> None:
    people = [world.person(f"Person {number}") for number in range(4)]
    clips = [clip + bytes([number]) * 1000 for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: pair[0].posted(pair[1]), zip(people, clips, strict=True)))
    found = {post["account"]: post["sha256"] for post in world.posts}
    assert found == {person.username: sha256(each) for person, each in zip(people, clips, strict=True)}


def test_a_line_that_breaks_inside_a_chunk_leaves_nothing(world: Client) -> None:
    _, url, uploaded = begun(world)
    headers = {
        "content-type": "video/mp4",
        "content-length": str(CHUNK),
        "content-range": f"bytes 0-{CHUNK - 1}/{len(WHOLE)}",
    }

    def half() -> Iterator[bytes]:
        yield WHOLE[: CHUNK // 2]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        world.http.put(url, content=half(), headers=headers)
    assert uploaded() == 0
    assert first(world, url).status_code == 206


def test_what_was_stored_before_a_kill_is_there_afterwards(
    start_process: Callable[[], Process], clip: bytes
) -> None:
    before = start_process()
    maya = before.client.person()
    done = maya.posted(clip)
    answer = maya.init(len(WHOLE), CHUNK, 2).json()["data"]
    assert first(before.client, answer["upload_url"]).status_code == 206
    halfway = threading.Event()
    headers = {
        "content-type": "video/mp4",
        "content-length": str(len(WHOLE) - CHUNK),
        "content-range": f"bytes {CHUNK}-{len(WHOLE) - 1}/{len(WHOLE)}",
    }

    def slowly() -> Iterator[bytes]:
        yield WHOLE[CHUNK : 2 * CHUNK]
        before.kill()
        halfway.set()
        yield WHOLE[2 * CHUNK :]

    with pytest.raises(httpx2.TransportError):
        before.client.http.put(answer["upload_url"], content=slowly(), headers=headers)
    assert halfway.is_set()

    after = start_process().client
    maya.world = after
    assert [post["publishId"] for post in after.posts] == [done]
    assert maya.state(answer["publish_id"])["uploaded_bytes"] == CHUNK
    url = answer["upload_url"].replace(f":{before.client.port}/", f":{after.port}/")
    assert last(after, url).status_code == 201
    assert after.ledger(all=1)["rejected"][0]["sha256"] == sha256(WHOLE)


def test_two_processes_share_one_world(start_process: Callable[[], Process], clip: bytes) -> None:
    one, two = start_process().client, start_process().client
    maya = one.person()
    maya.posted(clip)
    maya.world = two
    publish_id = maya.posted(clip)
    assert len(one.posts) == len(two.posts) == 2
    one.later(1.1)
    assert maya.state(publish_id)["status"] == "PUBLISH_COMPLETE"


def test_a_new_instance_on_the_same_home_keeps_the_ledger(start: Any, tmp_path: Path, clip: bytes) -> None:
    one = start(tmp_path / "same")
    one.person().posted(clip)
    assert start(tmp_path / "same").posts == one.posts
