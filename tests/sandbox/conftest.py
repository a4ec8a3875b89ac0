"""A fresh simulated world for each test, with a real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sandbox_serve
import uvicorn
from sandbox_kit import Client, Process, answering, free_port, made_clip

from app import sandbox

Start = Callable[..., Client]


class Running:
    """Servers in threads of this process. A stopping one takes a fifth of a second: nobody waits for the last few."""

    def __init__(self) -> None:
        self.stopping: deque[tuple[uvicorn.Server, threading.Thread]] = deque()

    def stop(self, server: uvicorn.Server, thread: threading.Thread) -> None:
        server.should_exit = server.force_exit = True
        self.stopping.append((server, thread))
        if len(self.stopping) > 8:
            self.finish()

    def finish(self) -> None:
        server, thread = self.stopping.popleft()
        thread.join(10)
        asyncio.run(sandbox_serve.close(server))


@pytest.fixture(scope="session")
def servers() -> Iterator[Running]:
    found = Running()
    yield found
    while found.stopping:
        found.finish()


@pytest.fixture
def start(tmp_path: Path, servers: Running) -> Iterator[Start]:
    """Starts a server in this process on a home of its own (or the one given) and stops it afterwards."""
    running: list[tuple[uvicorn.Server, threading.Thread, Client]] = []

    def begin(home: Path | None = None, settings: sandbox.Settings | None = None) -> Client:
        where, port = home or tmp_path / "world", free_port()
        where.mkdir(exist_ok=True)
        server = sandbox_serve.server(where, port, settings)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        client = answering(where, port)
        running.append((server, thread, client))
        return client

    yield begin
    for server, thread, client in running:
        client.http.close()
        servers.stop(server, thread)


@pytest.fixture
def world(start: Start) -> Client:
    return start()


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    running: list[Process] = []

    def begin() -> Process:
        home, port = tmp_path / "world", free_port()
        home.mkdir(exist_ok=True)
        root = Path(__file__).parents[2]
        program = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("sandbox_serve.py")), str(home), str(port)],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
        )
        running.append(Process(answering(home, port), program))
        return running[-1]

    yield begin
    for each in running:
        each.kill()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")
