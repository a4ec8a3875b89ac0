"""The two stores of a run: the house's PostgreSQL and a Redis. Every measurement begins in a fresh, empty place."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from app import postgres
from benchmarks.queue.rivals import Peer, Tools

BARE_TABLE = """
    CREATE TABLE bench_bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL);
    GRANT ALL ON bench_bare TO PUBLIC"""


class Redis:
    """A redis-server with an append-only file, written out each second, on a socket in `folder`."""

    def __init__(self, program: str, folder: Path) -> None:
        folder.mkdir()
        self.address = str(folder / "redis.sock")
        self.process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", self.address, "--dir", str(folder), "--save", "",
             "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while not Path(self.address).exists():
            if self.process.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.02)

    def ask(self, *words: str) -> str:
        """One command by Redis's inline protocol; the answer's text."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self.address)
            line.sendall((" ".join(words) + "\r\n").encode())
            file = line.makefile("rb")
            head = file.readline().decode().strip()
            if head.startswith("$"):
                return file.read(int(head[1:])).decode()
            if head.startswith("-"):
                raise RuntimeError(head)
            return head[1:]

    def number(self, section: str, name: str) -> int:
        lines = self.ask("INFO", section).splitlines()
        return int(next(line.split(":")[1] for line in lines if line.startswith(f"{name}:")))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Place:
    """Where one peer works in one measurement."""

    peer: Peer
    address: dict[str, str]
    redis: Redis | None = None
    dsn: str = ""
    # Rows above this id are the measurement's own.
    base: int = 0
    _conn: psycopg.Connection[Any] | None = field(default=None, repr=False)

    @property
    def conn(self) -> psycopg.Connection[Any]:
        if self._conn is None:
            self._conn = psycopg.connect(self.dsn, autocommit=True)
        return self._conn

    def value(self, query: str) -> int:
        row = self.conn.execute(query.encode()).fetchone()
        assert row
        return int(row[0])

    def left(self) -> int:
        """Jobs the peer itself still holds as waiting or running."""
        if self.redis is not None:
            waiting = (int(self.redis.ask("LLEN", f"bull:bench:{name}")) for name in ("wait", "active"))
            return sum(waiting) + int(self.redis.ask("ZCARD", "bull:bench:prioritized"))
        return self.value(self.peer.left.format(base=self.base))

    def done(self) -> int | None:
        """Jobs the peer itself holds as done; None where it deletes them."""
        if self.redis is not None:
            return int(self.redis.ask("ZCARD", "bull:bench:completed"))
        return self.value(self.peer.done.format(base=self.base)) if self.peer.done else None

    def settle(self) -> None:
        """What autovacuum would have done in quiet hours; and no checkpoint's full pages in the middle."""
        if self.redis is None:
            self.conn.execute("VACUUM (ANALYZE)")
            self.conn.execute("CHECKPOINT")

    def counters(self) -> tuple[int, int]:
        """Statements (commands with Redis, those of scripts included) and bytes of log, so far."""
        if self.redis is not None:
            commands = self.redis.number("stats", "total_commands_processed")
            return commands, self.redis.number("persistence", "aof_current_size")
        statements = self.value(
            "SELECT /* bench */ coalesce(sum(calls), 0) FROM pg_stat_statements "
            "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND query NOT LIKE '%/* bench */%'"
        )
        return statements, self.value("SELECT /* bench */ pg_current_wal_lsn() - '0/0'")

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


class Ground:
    """Starts both stores; `fresh` gives a peer a copy of its database as its own set-up made it."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self.folder = folder
        self.tools = tools
        self.server = postgres.start(folder / "home")
        self.redis = Redis(tools.redis, folder / "redis") if tools.redis else None
        self.admin = psycopg.connect(self.server.dsn, autocommit=True)
        self.admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        self.ready: set[str] = set()
        self.place: Place | None = None

    def address(self, database: str) -> dict[str, str]:
        return {
            "PGHOST": str(self.server.socket_folder),
            "PGPORT": "5432",
            "PGUSER": postgres.server.OWNER,
            "PGDATABASE": database,
            "DATABASE_URL": self.server.dsn_of(database),
            "BACKLOT_HOME": str(self.folder / "home"),
        }

    def fresh(self, peer: Peer, template: str | None = None) -> Place:
        """An empty place for this peer (or a copy of `template`); the one before is gone."""
        self.clear()
        if peer.on_redis:
            assert self.redis
            self.redis.ask("FLUSHALL")
            self.place = Place(peer, {"BENCH_REDIS": self.redis.address}, redis=self.redis)
            return self.place
        template = template or f"empty_{peer.module}"
        self.copy(template, "bench")
        self.place = Place(peer, self.address("bench"), dsn=self.server.dsn_of("bench"))
        self.place.conn.execute("SELECT pg_stat_statements_reset()")
        return self.place

    def copy(self, template: str, name: str) -> None:
        self.drop(name)
        self.admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )

    def drop(self, name: str) -> None:
        self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def empty(self, name: str) -> str:
        """A new database with what every peer has: the bare table and the statistics."""
        self.drop(name)
        self.admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        with psycopg.connect(self.server.dsn_of(name), autocommit=True) as conn:
            conn.execute("CREATE EXTENSION pg_stat_statements")
            conn.execute(BARE_TABLE)
        return self.server.dsn_of(name)

    def clear(self) -> None:
        if self.place is not None:
            self.place.close()
            self.place = None

    def stop(self) -> None:
        self.clear()
        self.admin.close()
        if self.redis is not None:
            self.redis.stop()
        self.server.release()
