"""One PostgreSQL for the whole run, from the same carrier as the product, and a fresh database for each."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from app import errors, migrate, postgres

TEMPLATE = "backlot_template"
LEFT_BEHIND_S = 3600


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def pg(testrun_uid: str) -> Iterator[postgres.Server]:
    """The server of this run; workers of `-n` share it, and the last of them removes it."""
    # Outside pytest's own folders: those are 0700, and the server's account must pass when we are root.
    # Not $TMPDIR: it may be long or closed.
    base = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    _sweep(base)
    home = base / f"backlot-tests-{testrun_uid}"
    home.mkdir(mode=0o711, exist_ok=True)
    home.chmod(0o711)
    server = postgres.start(
        home,
        pg_bin=os.environ.get("BACKLOT_PG_BIN"),
        pg_user=os.environ.get("BACKLOT_PG_USER"),
        for_tests=True,
    )
    yield server
    if server.release():
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template(pg: postgres.Server) -> str:
    """Name of a database with every migration applied; made once for the whole run."""
    with (pg.home / "template.turn").open("ab") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        with psycopg.connect(pg.dsn, autocommit=True) as conn:
            if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE]).fetchone():
                making = f"{TEMPLATE}_new"
                name = sql.Identifier(making)
                conn.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
                conn.execute(sql.SQL("CREATE DATABASE {}").format(name))
                asyncio.run(migrate.run(pg.dsn_of(making)))
                conn.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(name, sql.Identifier(TEMPLATE)))
    return TEMPLATE


@pytest.fixture
def database(pg: postgres.Server, template: str) -> Iterator[str]:
    """Address of a migrated database of this test alone; gone afterwards, whoever is still connected."""
    plain = f"test_{uuid.uuid4().hex}"
    name = sql.Identifier(plain)
    with psycopg.connect(pg.dsn, autocommit=True) as conn:
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                name, sql.Identifier(template)
            )
        )
    yield pg.dsn_of(plain)
    with psycopg.connect(pg.dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def _sweep(base: Path) -> None:
    """Stop and remove what a killed run left behind."""
    for home in base.glob("backlot-tests-*"):
        with contextlib.suppress(OSError, errors.HouseError):
            old = time.time() - home.stat().st_mtime > LEFT_BEHIND_S
            if old and postgres.start(home, for_tests=True).release():
                shutil.rmtree(home, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--storm", action="store_true", help="also run the long storms")
    parser.addoption("--storm-videos", type=int, default=40)
    parser.addoption("--storm-kills", type=int, default=20)
    parser.addoption("--storm-seed", type=int, default=1)
    parser.addoption("--storm-targets", type=int, default=40)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--storm"):
        return
    for item in items:
        if item.get_closest_marker("storm"):
            item.add_marker(pytest.mark.skip(reason="a storm: runs with --storm"))
