"""A house with a storage of its own for each test: a local folder, or a bucket of a real S3 server on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3.session
import pytest

from app import config
from tests.storage.line import BUCKET


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Sets the environment of this test; the house reads it on first use."""
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEMP_DIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("STORAGE_PROVIDER", "local")
    config.get.cache_clear()
    yield monkeypatch
    config.get.cache_clear()


@pytest.fixture
def local(settings: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that holds everything of the local provider."""
    return tmp_path / "home" / "storage"


# A process of its own, so that what the server keeps in memory is not taken for ours. It ends with its stdin.
S3_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", S3_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin and server.stdout
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.stdin.close()


@pytest.fixture
def bucket(s3_server: str, settings: pytest.MonkeyPatch) -> Iterator[Any]:
    """An operator's own client on a fresh bucket, with the house configured for it."""
    settings.setenv("STORAGE_PROVIDER", "s3")
    settings.setenv("STORAGE_BUCKET", BUCKET)
    settings.setenv("S3_ENDPOINT_URL", s3_server)
    settings.setenv("AWS_ACCESS_KEY_ID", "operator")
    settings.setenv("AWS_SECRET_ACCESS_KEY", "not-secret")
    config.get.cache_clear()
    client = boto3.session.Session().client(
        "s3", endpoint_url=s3_server, region_name="us-east-1",
        aws_access_key_id="operator", aws_secret_access_key="not-secret",
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    yield client
    for page in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=page["Key"], UploadId=page["UploadId"])
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["local", "s3"])
def provider(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it runs on both providers."""
    request.getfixturevalue("local" if request.param == "local" else "bucket")
    return str(request.param)
