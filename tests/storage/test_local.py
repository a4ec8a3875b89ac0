"""What only a folder of this machine promises: modes, whole files, and a full disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import storage
from app.errors import WrongState

pytestmark = pytest.mark.anyio
KEY = "tenants/7/originals/a.mp4"

# Writes 64 MiB into a house that has less room, and prints what it is told and what is left.
TOO_MUCH = """
import asyncio, os, sys
from pathlib import Path
from app import errors, storage
home = Path(os.environ["BACKLOT_HOME"])
async def chunks():
    for _ in range(64):
        yield bytes(1024**2)
async def main():
    try:
        await storage.put_stream(chunks(), "tenants/7/originals/a.mp4", "video/mp4", most_bytes=64 * 1024**2)
    except errors.Retryable as error:
        print(error.code, error.message)
    print([p.name for p in home.rglob("*") if p.is_file() and p.name != "encryption.key"])
    upload = await storage.begin("tenants/7/originals/b.mp4", 64 * 1024**2, "video/mp4")
    try:
        await storage.append(upload, 0, chunks(), most=64 * 1024**2)
    except errors.Retryable as error:
        print(error.code)
    at = await storage.offset(upload)
    print(at % 1024**2, 0 < at < 64 * 1024**2)
    await storage.abort(upload)
    print([p.name for p in home.rglob("*") if p.is_file() and p.name != "encryption.key"])
asyncio.run(main())
"""
TOLD = [
    "disk_full The disk of BACKLOT_HOME is full: free some space.",
    "[]",
    "disk_full",
    "0 True",
    "[]",
]


async def one(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def test_files_and_folders_are_for_our_eyes_only(local: Path) -> None:
    os.umask(before := os.umask(0))
    await storage.put_stream(one(b"x"), KEY, "video/mp4", most_bytes=1)
    os.umask(before)
    assert (local / KEY).stat().st_mode & 0o777 == 0o600
    for folder in (local, *(path for path in local.rglob("*") if path.is_dir())):
        assert folder.stat().st_mode & 0o777 == 0o700, folder


async def test_another_process_cannot_write_into_an_upload_that_is_being_written(local: Path) -> None:
    upload = await storage.begin(KEY, 6, "video/mp4")
    other = (
        "import asyncio, sys\nfrom app import errors, storage\n"
        "async def x():\n    yield b'xyz'\n"
        "try:\n    asyncio.run(storage.append(sys.argv[1], 0, x(), most=6))\n"
        "except errors.WrongState as error:\n    print(error.code)\n"
    )

    async def chunks() -> AsyncIterator[bytes]:
        yield b"abc"
        assert said_by(sys.executable, "-c", other, upload) == ["upload_busy"]
        yield b"def"

    await storage.append(upload, 0, chunks(), most=6)
    await storage.finish(upload, 6)
    assert (local / KEY).read_bytes() == b"abcdef"


async def test_a_process_killed_while_publishing_leaves_a_file_that_can_be_finished(local: Path) -> None:
    upload = await storage.begin(KEY, 3, "video/mp4")
    await storage.append(upload, 0, one(b"abc"), most=3)
    [unfinished] = (local / ".partial").iterdir()
    (local / KEY).parent.mkdir(parents=True)
    os.link(unfinished, local / KEY)
    stored = await storage.finish(upload, 3)
    assert stored.bytes == 3 and (local / KEY).read_bytes() == b"abc"
    assert list((local / ".partial").iterdir()) == []


async def test_a_taken_key_is_noticed_when_the_upload_begins(local: Path) -> None:
    await storage.put_stream(one(b"x"), KEY, "video/mp4", most_bytes=1)
    with pytest.raises(WrongState):
        await storage.begin(KEY, 1, "video/mp4")
    assert list((local / ".partial").iterdir()) == []


async def test_a_file_that_the_system_forbids_to_grow_counts_as_a_full_disk(local: Path) -> None:
    limited = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024**2,) * 2)\n{TOO_MUCH}"
    assert said_by(sys.executable, "-c", limited) == TOLD


async def test_a_full_disk_is_said_and_leaves_nothing(
    local: Path, tmp_path: Path, settings: pytest.MonkeyPatch
) -> None:
    own_disk = (shutil.which("unshare") or "unshare", "--map-root-user", "--mount", "sh", "-c")
    home = tmp_path / "small"
    home.mkdir()
    mount = f"mount -t tmpfs -o size=16m none '{home}'"
    if not works(*own_disk, mount):
        pytest.skip("this machine lets us make no small disk")
    settings.setenv("BACKLOT_HOME", str(home))
    assert said_by(*own_disk, f'{mount} && exec "$0" -c "$1"', sys.executable, TOO_MUCH) == TOLD


def said_by(*command: str) -> list[str]:
    """The lines that another process prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def works(*command: str) -> bool:
    return bool(shutil.which(command[0])) and subprocess.run(command, capture_output=True).returncode == 0
