from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from app import db, migrate, postgres
from tests.faults.lines import Proxy
from tests.faults.servers import Pooler, own_server, pooler_before, socket_path
from tests.faults.watch import MARKS


@pytest.fixture
async def server() -> AsyncIterator[postgres.Server]:
    """A durable server of this test alone, migrated, with the table `marks` and our own pools open on it."""
    with own_server("faults") as own:
        await migrate.run(own.dsn)
        async with await psycopg.AsyncConnection.connect(own.dsn, autocommit=True) as conn:
            await conn.execute(MARKS)
        await db.open_pools(own.dsn, pages=True)
        yield own
        await db.close_pools()


@pytest.fixture
def proxy(server: postgres.Server) -> Iterator[Proxy]:
    """A line to `server` that the test holds, cuts and slows down."""
    line = Proxy(socket_path(server))
    line.start()
    yield line
    line.stop()


@pytest.fixture
def pooler(pg: postgres.Server, request: pytest.FixtureRequest) -> Iterator[Pooler]:
    """PgBouncer in transaction mode before the run's server, with one session for everybody, or as many as asked."""
    if not shutil.which("pgbouncer") and not shutil.which("/usr/sbin/pgbouncer"):
        pytest.skip("pgbouncer is not installed (Debian: apt install pgbouncer)")
    with pooler_before(pg, size=getattr(request, "param", 1)) as opened:
        yield opened
