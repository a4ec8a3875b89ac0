"""Notices to open pages: whose they are, what they carry, when they end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from starlette.types import Message

from app import db, live, postgres, users
from app.web import live as web_live
from tests.web.studio import Person, Studio, open_studio
from tests.worker import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        hub = live.Hub(database)
        opened.app.state.hub = hub
        await hub.start()
        await hub.listening.wait()
        yield opened
        await hub.stop()


class Stream:
    """An open page's stream, read as it comes; an ordinary client would wait for its end."""

    def __init__(self) -> None:
        self.text = ""
        self.status = 0
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        if not self.left.is_set() and not hasattr(self, "asked"):
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.text += message.get("body", b"").decode()

    async def told(self, text: str) -> None:
        async def there() -> bool:
            return text in self.text

        await until(there)


@contextlib.asynccontextmanager
async def opened(
    studio: Studio, person: Person, *topics: str
) -> AsyncIterator[tuple[Stream, asyncio.Task[None]]]:
    stream = Stream()
    cookies = "; ".join(f"{name}={value}" for name, value in person.browser.cookies.items())
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/live",
        "raw_path": b"/live",
        "root_path": "",
        "query_string": "&".join(f"topic={topic}" for topic in topics).encode(),
        "headers": [(b"host", b"studio.example"), (b"cookie", cookies.encode())],
        "client": ("203.0.113.7", 40_000),
        "server": ("studio.example", 443),
        "state": {},
    }
    task = asyncio.create_task(studio.app(scope, stream.receive, stream.send))
    try:
        yield stream, task
    finally:
        stream.left.set()
        await asyncio.wait({task}, timeout=5)
        task.cancel()


async def test_a_page_hears_of_its_topic_and_of_no_other(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    async with opened(studio, maya, f"workspace-{maya.workspace_id}") as (stream, _):
        await stream.told("retry:")
        async with db.owned_by(maya.workspace_id) as conn:
            await live.tell(conn, "video-999")
            await live.tell(conn, f"workspace-{maya.workspace_id}")
        await stream.told(f'event: notice\ndata: {{"topic": "workspace-{maya.workspace_id}"}}')
        assert "video-999" not in stream.text
        assert stream.status == 200


async def test_a_percent_travels_in_the_notice(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    topic = f"workspace-{maya.workspace_id}"
    async with opened(studio, maya, topic) as (stream, _):
        await stream.told("retry:")
        async with db.owned_by(maya.workspace_id) as conn:
            await live.tell_percent(conn, topic, 41.26)
        await stream.told('"percent": 41.3')


async def test_topics_of_others_unknown_ones_and_too_many_are_refused(studio: Studio) -> None:
    maya, eve = await studio.person(browser=True), await studio.person("Eve", browser=True)
    account_id = await studio.account(maya)
    for topics, status in (
        ([f"workspace-{maya.workspace_id}"], 404),
        ([f"account-{account_id}"], 404),
        ([f"workspace-{eve.workspace_id}", "video-1"], 404),
        (["job-1"], 404),
        (["nonsense"], 404),
        (["video-0"], 404),
        ([], 422),
        ([f"video-{number}" for number in range(1, 52)], 422),
    ):
        answer = await eve.browser.get("/live", params=[("topic", topic) for topic in topics])
        assert answer.status_code == status, topics
    stranger = await studio.client()
    assert (await stranger.get("/live", params={"topic": "workspace-1"})).status_code == 303


async def test_a_silent_stream_still_beats(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_live, "HEARTBEAT_S", 0.05)
    maya = await studio.person(browser=True)
    async with opened(studio, maya, f"workspace-{maya.workspace_id}") as (stream, _):
        await stream.told(": still here")


async def test_the_stream_of_a_revoked_session_ends(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_live, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(web_live, "SESSION_EVERY_S", 0.1)
    maya = await studio.person(browser=True)
    async with opened(studio, maya, f"workspace-{maya.workspace_id}") as (stream, task):
        await stream.told("retry:")
        async with db.house() as conn:
            for session in await users.sessions(conn, maya.user_id):
                await users.revoke(conn, maya.user_id, session.id)
        await asyncio.wait_for(task, 5)


async def test_every_stream_ends_at_once_when_the_house_stops(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    async with opened(studio, maya, f"workspace-{maya.workspace_id}") as (stream, task):
        await stream.told("retry:")
        began = time.monotonic()
        studio.app.state.stopping.set()
        await asyncio.wait_for(task, 2)
        assert time.monotonic() - began < 0.5


async def test_a_page_that_was_closed_is_forgotten(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    hub: live.Hub = studio.app.state.hub
    topic = f"workspace-{maya.workspace_id}"
    async with opened(studio, maya, topic) as (stream, task):
        await stream.told("retry:")
        stream.left.set()
        await asyncio.wait_for(task, 5)
    assert topic not in hub._by_topic


async def test_a_hub_listens_only_once_it_heard_itself(studio: Studio, pg: postgres.Server) -> None:
    # Notices stay in their database, so beside it they are lost as silently as behind a pooler.
    deaf = live.Hub(pg.dsn)
    await deaf.start()
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(deaf.listening.wait(), live.ECHO_S + 1)
    finally:
        await deaf.stop()


async def test_pages_of_a_deaf_hub_are_told_to_look_every_few_seconds(
    studio: Studio, pg: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "POLL_S", 2.1)
    maya = await studio.person(browser=True)
    topic = f"workspace-{maya.workspace_id}"
    studio.app.state.hub = deaf = live.Hub(pg.dsn)
    await deaf.start()
    try:
        async with opened(studio, maya, topic) as (stream, _):
            for times in (1, 2):

                async def told(times: int = times) -> bool:
                    return stream.text.count(f'{{"topic": "{topic}"}}') >= times

                await until(told, within_s=5)
    finally:
        await deaf.stop()


async def test_a_hub_whose_line_is_ended_listens_again_and_tells_what_may_have_been_missed(
    studio: Studio, database: str
) -> None:
    hub: live.Hub = studio.app.state.hub
    async with hub.subscribe(frozenset({"video-7"})) as page:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
            await conn.execute(
                """
                SELECT pg_terminate_backend(pid)
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND query LIKE 'UNLISTEN%'"""
            )
        assert await page.next(5.0) == [live.Notice("video-7")]
        assert hub.listening.is_set()
