"""Google's own client against the simulator: what it takes for a YouTube, our adapter may take for one."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import googleapiclient.discovery
import pytest
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError, ResumableUploadError
from googleapiclient.http import MediaIoBaseUpload
from youtube_makers import content
from youtube_world import Account, World

pytestmark = pytest.mark.anyio
SIZE = 2_000_000
CHUNK = 524_288
WORDS = {"snippet": {"title": "Three knots"}, "status": {"privacyStatus": "unlisted"}}
DOCUMENT = Path(googleapiclient.discovery.__file__).parent / "discovery_cache/documents/youtube.v3.json"


def service(world: World, account: Account) -> Any:
    """The client made of the description that comes with it, led to the simulator: no network is asked for it.

    `api_endpoint` alone does not move uploads (sheet, section 7), so the root is written anew. Uploads and the API
    stand on one host, as they do at Google.
    """
    document = json.loads(DOCUMENT.read_text())
    root = f"{world.url}/youtube/upload/"
    document |= {"rootUrl": root, "baseUrl": root, "servicePath": ""}
    del document["mtlsRootUrl"]
    tokens = account.tokens
    credentials = Credentials(
        tokens.access_token,
        refresh_token=tokens.refresh_token,
        token_uri=f"{world.url}/youtube/token/token",
        client_id="sandbox",
        client_secret="sandbox-secret",
        scopes=list(tokens.scopes),
    )
    return build_from_document(document, credentials=credentials)


class Pieces(MediaIoBaseUpload):
    """Gives its chunks as bytes. A part of a stream is used up when the client repeats a call by itself (after a cut
    or a renewed token), and it then waits for the server in vain (sheet, section 7, finding b).
    """

    def has_stream(self) -> bool:
        return False


def insertion(youtube: Any, body: dict[str, Any], clip: bytes) -> Any:
    media = Pieces(io.BytesIO(clip), "video/mp4", chunksize=CHUNK, resumable=True)
    return youtube.videos().insert(part="snippet,status", body=body, media_body=media)


def sent(request: Any) -> dict[str, Any]:
    answer = None
    while answer is None:
        _, answer = request.next_chunk()
    found: dict[str, Any] = answer
    return found


async def test_googles_client_uploads_in_chunks_and_reads_the_video(world: World) -> None:
    account = await world.connect()
    youtube = service(world, account)
    video = await asyncio.to_thread(sent, insertion(youtube, WORDS, content(0, SIZE)))
    assert video["status"]["uploadStatus"] == "uploaded" and video["snippet"]["title"] == "Three knots"
    world.ahead_s += 60
    asked = youtube.videos().list(part="status,processingDetails", id=video["id"])
    (seen,) = (await asyncio.to_thread(asked.execute))["items"]
    assert seen["status"]["uploadStatus"] == "processed"
    (channel,) = (await asyncio.to_thread(youtube.channels().list(part="snippet", mine=True).execute))[
        "items"
    ]
    assert channel["id"] == account.tokens.remote_id
    (post,) = await world.ledger()
    assert (post["id"], post["bytes"]) == (video["id"], SIZE)


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        ("error_before", "upload"),
        ("error_after", "upload"),
        ("error_after", "half_chunk"),
        ("error_after", "last_chunk"),
    ],
)
async def test_googles_client_goes_on_after_an_interruption(world: World, fault: str, step: str) -> None:
    account = await world.connect()
    request = insertion(service(world, account), WORDS, content(0, SIZE))
    interrupted = 0
    if step != "last_chunk":
        await asyncio.to_thread(request.next_chunk)
    await world.arm(fault, step)
    answer = None
    while answer is None:
        try:
            _, answer = await asyncio.to_thread(request.next_chunk)
        except HttpError as error:
            assert error.status_code == 503
            interrupted += 1
    assert interrupted == 1
    (post,) = await world.ledger()
    assert (post["id"], post["bytes"]) == (answer["id"], SIZE)


@pytest.mark.parametrize(
    ("fault", "step"), [("drop_before", "upload"), ("drop_after", "upload"), ("drop_after", "last_chunk")]
)
async def test_googles_client_goes_on_after_the_line_was_cut(world: World, fault: str, step: str) -> None:
    request = insertion(service(world, await world.connect()), WORDS, content(0, SIZE))
    await asyncio.to_thread(request.next_chunk)
    await world.arm(fault, step)
    video = await asyncio.to_thread(sent, request)
    (post,) = await world.ledger()
    assert (post["id"], post["bytes"]) == (video["id"], SIZE)


async def test_googles_client_is_told_of_a_missing_title(world: World) -> None:
    request = insertion(
        service(world, await world.connect()), {"snippet": {}, "status": {}}, content(0, SIZE)
    )
    with pytest.raises(ResumableUploadError) as caught:
        await asyncio.to_thread(request.next_chunk)
    assert caught.value.status_code == 400 and caught.value.error_details[0]["reason"] == "invalidTitle"


async def test_googles_client_renews_a_token_that_ended(world: World) -> None:
    account = await world.connect()
    youtube = service(world, account)
    request = insertion(youtube, WORDS, content(0, SIZE))
    await asyncio.to_thread(request.next_chunk)
    await world.arm("token_expired")
    video = await asyncio.to_thread(sent, request)
    assert [post["id"] for post in await world.ledger()] == [video["id"]]
