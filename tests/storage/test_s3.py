"""What only a bucket can do to us: lost and refused answers, broken parts, other people's objects."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from app import config, storage
from app.errors import HouseError, NotFound, Permanent, Retryable, WrongState
from app.storage.s3_errors import ANSWERS, STATUSES
from app.storage.s3_uploads import MIB, MOST_PARTS, part_bytes_for
from tests.storage.line import BUCKET, Line, a_line_to

pytestmark = pytest.mark.anyio
KEY = "tenants/7/originals/a.mp4"
BODY = hashlib.shake_128(b"video").digest(9 * MIB + 1)
SHA256 = hashlib.sha256(BODY).hexdigest()


async def chunks(body: bytes = BODY) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 300_000):
        yield body[at : at + 300_000]


def left_in(bucket: Any) -> list[str]:
    """Objects and unfinished uploads, as the operator sees them."""
    objects = bucket.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    uploads = bucket.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return [entry["Key"] for entry in (*objects, *uploads)]


@pytest.fixture
def line(bucket: Any, s3_server: str, settings: pytest.MonkeyPatch) -> Iterator[Line]:
    with a_line_to(s3_server) as line:
        settings.setenv("S3_ENDPOINT_URL", line.address)
        config.get.cache_clear()
        yield line


async def a_whole_upload() -> str:
    upload = await storage.begin(KEY, len(BODY), "video/mp4")
    await storage.append(upload, 0, chunks(), most=len(BODY))
    return upload


def test_parts_are_at_least_8_mib_and_few_enough() -> None:
    assert [part_bytes_for(count) for count in (0, 1, 4 * 1024**3)] == [8 * MIB] * 3
    for count in (MOST_PARTS * 8 * MIB, MOST_PARTS * 8 * MIB + 1, 5 * 1024**4):
        part_bytes = part_bytes_for(count)
        assert part_bytes % MIB == 0 and -(-count // part_bytes) <= MOST_PARTS
    assert part_bytes_for(MOST_PARTS * 8 * MIB + 1) == 9 * MIB


@pytest.mark.parametrize("body", [b"small", BODY])
async def test_an_object_carries_its_type_and_no_header_that_old_servers_refuse(
    line: Line, bucket: Any, body: bytes
) -> None:
    await storage.put_stream(chunks(body), KEY, "video/mp4", most_bytes=len(body))
    assert bucket.head_object(Bucket=BUCKET, Key=KEY)["ContentType"] == "video/mp4"
    for _, path, headers in line.seen:
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 ") and path.startswith(f"/{BUCKET}")
        assert not any("checksum" in name for name in headers) and "aws-chunked" not in headers.values()


async def test_a_lost_answer_at_the_end_of_an_upload_finishes_it_all_the_same(
    line: Line, bucket: Any
) -> None:
    upload = await a_whole_upload()
    line.arm("POST", "uploadId=", "lose the answer")
    stored = await storage.finish(upload, len(BODY))
    assert (stored.bytes, stored.sha256) == (len(BODY), SHA256)
    assert left_in(bucket) == [KEY]


async def test_an_upload_that_could_not_be_finished_is_finished_by_asking_again(
    line: Line, bucket: Any
) -> None:
    upload = await a_whole_upload()
    line.arm("POST", "uploadId=", "AccessDenied")
    with pytest.raises(Retryable):
        await storage.finish(upload, len(BODY))
    assert (await storage.finish(upload, len(BODY))).sha256 == SHA256
    assert left_in(bucket) == [KEY]


async def test_a_lost_answer_to_a_small_file_is_not_taken_for_somebody_elses_file(line: Line) -> None:
    line.arm("PUT", "a.mp4", "lose the answer")
    stored = await storage.put_stream(chunks(b"small"), KEY, "video/mp4", most_bytes=99)
    assert stored.bytes == 5 and line.armed == []


async def test_an_upload_ended_by_somebody_else_is_gone(bucket: Any) -> None:
    upload = await a_whole_upload()
    for entry in bucket.list_multipart_uploads(Bucket=BUCKET)["Uploads"]:
        bucket.abort_multipart_upload(Bucket=BUCKET, Key=KEY, UploadId=entry["UploadId"])
    with pytest.raises(NotFound) as gone:
        await storage.finish(upload, len(BODY))
    assert gone.value.code == "upload_gone"


async def test_another_object_of_the_same_size_is_not_taken_for_ours(bucket: Any) -> None:
    upload = await a_whole_upload()
    bucket.put_object(Bucket=BUCKET, Key=KEY, Body=bytes(len(BODY)), Metadata={"backlot-mark": "other"})
    with pytest.raises(WrongState):
        await storage.finish(upload, len(BODY))
    await storage.abort(upload)
    with pytest.raises(NotFound):
        await storage.finish(upload, len(BODY))
    assert left_in(bucket) == [KEY]


async def test_a_part_changed_behind_our_back_is_seen_in_the_checksum(bucket: Any) -> None:
    upload = await a_whole_upload()
    [entry] = bucket.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    other = bytes(len(BODY) - 8 * MIB)
    bucket.upload_part(Bucket=BUCKET, Key=KEY, UploadId=entry["UploadId"], PartNumber=2, Body=other)
    stored = await storage.finish(upload, len(BODY))
    assert stored.sha256 == hashlib.sha256(BODY[: 8 * MIB] + other).hexdigest()


async def test_a_slow_bucket_is_asked_again(line: Line) -> None:
    line.arm("PUT", "partNumber=1", "SlowDown")
    line.arm("PUT", "partNumber=2", "lose the answer")
    assert (await storage.finish(await a_whole_upload(), len(BODY))).sha256 == SHA256
    assert line.armed == []


async def test_parts_that_cannot_be_sent_leave_the_upload_where_it_stood(line: Line, bucket: Any) -> None:
    upload = await storage.begin(KEY, len(BODY), "video/mp4")
    line.arm("PUT", "partNumber=2", "AccessDenied")
    with pytest.raises(Retryable):
        await storage.append(upload, 0, chunks(), most=len(BODY))
    assert await storage.offset(upload) == 8 * MIB
    await storage.append(upload, 8 * MIB, chunks(BODY[8 * MIB :]), most=len(BODY))
    assert (await storage.finish(upload, len(BODY))).sha256 == SHA256


@pytest.mark.parametrize(("method", "piece"), [("PUT", "partNumber=2"), ("POST", "uploadId=")])
async def test_a_stream_that_the_bucket_does_not_take_leaves_nothing(
    line: Line, bucket: Any, method: str, piece: str
) -> None:
    line.arm(method, piece, "AccessDenied")
    with pytest.raises(Retryable):
        await storage.put_stream(chunks(), KEY, "video/mp4", most_bytes=len(BODY))
    assert left_in(bucket) == [] and line.armed == []


async def test_a_download_that_is_cut_goes_on_where_it_stood(line: Line, tmp_path: Path) -> None:
    await storage.put_stream(chunks(), KEY, "video/mp4", most_bytes=len(BODY))
    line.arm("GET", "a.mp4", "cut the body", times=3)
    copy = await storage.fetch(KEY, tmp_path, sha256=SHA256)
    assert copy.read_bytes() == BODY and line.armed == []
    line.arm("GET", "a.mp4", "cut the body", times=2)
    assert b"".join([piece async for piece in storage.read(KEY, 5, 8 * MIB)]) == BODY[5 : 8 * MIB]


async def test_a_server_without_conditional_writes_is_used_without_them(line: Line, bucket: Any) -> None:
    line.arm("PUT", "if-none-match", "NotImplemented", times=9)
    await storage.put_stream(chunks(b"small"), KEY, "video/mp4", most_bytes=99)
    with pytest.raises(WrongState):
        await storage.put_stream(chunks(b"other"), KEY, "video/mp4", most_bytes=99)
    assert bucket.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == b"small"


async def test_trouble_that_the_operator_must_mend_names_the_setting(line: Line, bucket: Any) -> None:
    line.arm("HEAD", KEY, "AccessDenied")
    with pytest.raises(Retryable) as told:
        await storage.head(KEY)
    assert "STORAGE_BUCKET" in told.value.message and told.value.after_s == 60
    line.arm("HEAD", "tmp/", "AccessDenied")
    [problem] = await storage.storage_check()
    assert "AWS_ACCESS_KEY_ID" in problem
    assert left_in(bucket) == []


async def test_a_missing_bucket_and_a_missing_server_are_said_in_words(bucket: Any, settings: Any) -> None:
    settings.setenv("STORAGE_BUCKET", "elsewhere")
    config.get.cache_clear()
    with pytest.raises(Permanent) as told:
        _ = [key async for key in storage.keys("tenants/")]
    assert "STORAGE_BUCKET" in told.value.message
    settings.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
    config.get.cache_clear()
    [problem] = await storage.storage_check()
    assert "S3_ENDPOINT_URL" in problem


async def test_a_link_is_signed_the_new_way_for_the_public_address_and_serves_ranges(
    bucket: Any, s3_server: str, settings: pytest.MonkeyPatch
) -> None:
    public = s3_server.replace("127.0.0.1", "localhost")
    settings.setenv("S3_PUBLIC_URL", public)
    config.get.cache_clear()
    await storage.put_stream(chunks(), KEY, "video/mp4", most_bytes=len(BODY))
    address = storage.link(KEY, seconds=300, content_type="video/mp4", filename="clip.mp4", download=True)
    asked = parse_qs(urlsplit(address).query)
    assert address.startswith(f"{public}/{BUCKET}/{KEY}?")
    assert asked["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"] and asked["X-Amz-Expires"] == ["300"]
    assert asked["response-content-disposition"] == [
        "attachment; filename=\"clip.mp4\"; filename*=UTF-8''clip.mp4"
    ]
    assert "not-secret" not in address
    async with httpx2.AsyncClient() as browser:
        answer = await browser.get(address, headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, BODY[10:20])
    assert answer.headers["content-type"] == "video/mp4"


async def test_other_peoples_uploads_in_the_bucket_are_not_touched(bucket: Any) -> None:
    bucket.create_multipart_upload(Bucket=BUCKET, Key="backups/db.tar")
    bucket.put_object(Bucket=BUCKET, Key="backups/old.tar", Body=b"x")
    assert await storage.sweep(older_than_h=-1) == []
    assert sorted(left_in(bucket)) == ["backups/db.tar", "backups/old.tar"]


async def test_unfinished_uploads_are_listed_by_the_check_and_removed_by_the_sweep(bucket: Any) -> None:
    await storage.begin(KEY, 9, "video/mp4")
    [problem] = await storage.storage_check()
    assert KEY in problem
    assert await storage.sweep() == [KEY]
    assert await storage.storage_check() == []


def test_the_local_provider_does_not_load_the_s3_client(local: Path) -> None:
    code = "import asyncio, sys; from app import storage; asyncio.run(storage.start()); print('boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_refusal_of_the_table_is_an_error_of_the_house() -> None:
    for make in (*ANSWERS.values(), *STATUSES.values()):
        assert isinstance(make(), HouseError) and make().message.endswith(".")
