"""Files lent for reading: nothing is copied that a link can do, and a bucket's file comes to a machine once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import config, storage
from app.errors import NotFound, NotYet, Retryable
from app.storage import lending
from tests.storage.line import Line, a_line_to

pytestmark = pytest.mark.anyio
KEY = "tenants/7/originals/a.mp4"
BODY = hashlib.shake_128(b"a source").digest(900_001)
SHA256 = hashlib.sha256(BODY).hexdigest()
GIB = 1024**3

BORROWER = """
import asyncio, sys
from pathlib import Path
from app import storage
async def main():
    with storage.scratch("part") as folder:
        path = await storage.borrow(sys.argv[1], into=folder, bytes_total=int(sys.argv[2]), sha256=sys.argv[3])
        print(len(path.read_bytes()), flush=True)
        sys.stdin.read()
asyncio.run(main())
"""


def a_borrower() -> subprocess.Popen[str]:
    """Another process that borrows the file and keeps it until its stdin ends."""
    return subprocess.Popen(
        [sys.executable, "-c", BORROWER, KEY, str(len(BODY)), SHA256],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


async def a_source(body: bytes = BODY) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield body

    await storage.put_stream(once(), KEY, "video/mp4", most_bytes=len(body))


def sources() -> list[Path]:
    """What lies on this machine for all runs."""
    return sorted((config.get().temp_dir / "sources").glob("*/*"))


def downloads(line: Line) -> int:
    return len([path for method, path, _ in line.seen if method == "GET" and path.endswith(KEY)])


@pytest.fixture
def line(bucket: Any, s3_server: str, settings: pytest.MonkeyPatch) -> Iterator[Line]:
    with a_line_to(s3_server) as line:
        settings.setenv("S3_ENDPOINT_URL", line.address)
        config.get.cache_clear()
        yield line


async def test_a_borrowed_file_is_whole_and_may_be_borrowed_again(provider: str) -> None:
    await a_source()
    with storage.scratch("part") as folder:
        for _ in range(2):
            path = await storage.borrow(KEY, into=folder, sha256=SHA256)
            assert path == folder / "a.mp4" and path.read_bytes() == BODY
    with storage.scratch("part") as folder:
        path = await storage.borrow(KEY, into=folder, bytes_total=len(BODY))
        assert path.read_bytes() == BODY
        path.unlink()
        assert (await storage.borrow(KEY, into=folder)).read_bytes() == BODY
    await storage.delete(KEY)
    assert await storage.head(KEY) is None


async def test_in_the_local_storage_the_very_file_is_lent(local: Path) -> None:
    await a_source()
    with storage.scratch("part") as folder:
        path = await storage.borrow(KEY, into=folder, bytes_total=len(BODY), sha256=SHA256)
        assert path.samefile(local / KEY)
        await storage.delete(KEY)
        assert path.read_bytes() == BODY, "who has borrowed a file keeps it"
    assert not sources()


@pytest.fixture
def elsewhere(local: Path, settings: pytest.MonkeyPatch) -> Iterator[Path]:
    """TEMP_DIR on another file system than the stored files."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == local.parents[1].stat().st_dev:
        pytest.skip("there is no second file system in /dev/shm")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        settings.setenv("TEMP_DIR", folder)
        config.get.cache_clear()
        yield Path(folder)


async def test_where_no_link_can_be_made_one_copy_serves_all_runs(elsewhere: Path, local: Path) -> None:
    await a_source()
    with storage.scratch("part") as one, storage.scratch("part") as other:
        paths = [await storage.borrow(KEY, into=folder, sha256=SHA256) for folder in (one, other)]
        assert paths[0].samefile(paths[1]) and paths[0].read_bytes() == BODY
        assert not paths[0].samefile(local / KEY) and len(sources()) == 1


async def test_a_file_that_is_not_there_cannot_be_borrowed(provider: str) -> None:
    with storage.scratch("part") as folder:
        for told in ({}, {"bytes_total": 5, "sha256": SHA256}):
            with pytest.raises(NotFound):
                await storage.borrow(KEY, into=folder, **told)
        assert list(folder.iterdir()) == [] and not sources()


async def test_sixty_runs_of_one_machine_fetch_a_buckets_file_once(line: Line) -> None:
    await a_source()
    other = a_borrower()
    with storage.scratch("parts") as folder:
        folders = [folder / str(number) for number in range(60)]
        for each in folders:
            each.mkdir()
        told = {"bytes_total": len(BODY), "sha256": SHA256}
        paths = await asyncio.gather(*(storage.borrow(KEY, into=each, **told) for each in folders))
        assert all(path.samefile(paths[0]) for path in paths)
        assert paths[0].read_bytes() == BODY and paths[0].stat().st_mode & 0o222 == 0
        said, _ = other.communicate()
    assert int(said) == len(BODY)
    assert downloads(line) == 1


async def test_a_killed_maker_leaves_nothing_that_counts_as_whole(line: Line) -> None:
    await a_source()
    line.arm("GET", KEY, "hold the body")
    killed = a_borrower()
    assert await asyncio.to_thread(line.holds.wait, 30)
    waiting = a_borrower()
    killed.kill()
    killed.communicate()
    said, _ = waiting.communicate()
    assert int(said) == len(BODY) and downloads(line) == 2
    assert [path.read_bytes() == BODY for path in sources()] == [True]


async def test_what_a_killed_maker_left_half_is_removed_with_the_dead_runs(line: Line) -> None:
    await a_source()
    line.arm("GET", KEY, "hold the body")
    killed = a_borrower()
    assert await asyncio.to_thread(line.holds.wait, 30)
    await storage.clear_dead_scratch()
    assert sources(), "the folder of a living maker"
    killed.kill()
    killed.communicate()
    await storage.clear_dead_scratch()
    assert not sources()


async def test_a_frozen_maker_holds_nobody_up(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "STILL_S", 0.3)
    await a_source()
    line.arm("GET", KEY, "hold the body")
    frozen = a_borrower()
    assert await asyncio.to_thread(line.holds.wait, 30)
    with storage.scratch("part") as folder:
        path = await storage.borrow(KEY, into=folder, bytes_total=len(BODY), sha256=SHA256)
        assert path.read_bytes() == BODY
    line.let_go.set()
    frozen.communicate()


async def test_a_file_that_is_not_what_was_stored_is_lent_to_nobody(line: Line) -> None:
    await a_source()
    with storage.scratch("part") as folder:
        for told in (
            {"sha256": "0" * 64, "bytes_total": len(BODY)},
            {"sha256": SHA256, "bytes_total": len(BODY) - 1},
        ):
            with pytest.raises(Retryable) as damaged:
                await storage.borrow(KEY, into=folder, **told)
            assert damaged.value.code == "checksum_mismatch"
        assert list(folder.iterdir()) == [] and not sources()


async def test_a_file_stays_while_it_is_used_and_a_quarter_of_an_hour_longer(line: Line) -> None:
    await a_source()
    with storage.scratch("part") as folder:
        await storage.borrow(KEY, into=folder, sha256=SHA256)
        assert lending.clear_sources(0) == 0
    await storage.sweep()
    assert len(sources()) == 1 and lending.KEPT_S == 900
    with storage.scratch("part") as folder:
        await storage.borrow(KEY, into=folder, sha256=SHA256)
    assert downloads(line) == 1
    assert lending.clear_sources(0) == 1 and not sources()


async def test_space_is_asked_for_only_what_is_not_there_yet(provider: str) -> None:
    await a_source()
    # Three of these do not fit, two do.
    large = int((shutil.disk_usage(config.get().temp_dir.parent).free - GIB) / 2.5)
    with pytest.raises(NotYet):
        storage.need_space(large)
    if provider == "s3":
        with pytest.raises(NotYet):
            await storage.need_space_for(KEY, bytes_total=large)
        return
    await storage.need_space_for(KEY, bytes_total=large)
    with pytest.raises(NotYet):
        await storage.need_space_for(KEY, bytes_total=2 * large)


async def test_when_space_is_short_files_that_nobody_uses_go_first(line: Line) -> None:
    await a_source()
    with storage.scratch("part") as folder:
        await storage.borrow(KEY, into=folder, sha256=SHA256)
    assert len(sources()) == 1
    with pytest.raises(NotYet):
        storage.need_space(shutil.disk_usage(config.get().temp_dir).free)
    assert not sources()
