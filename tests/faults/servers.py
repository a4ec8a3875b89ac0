"""Servers that a test may kill, stop and promote: one alone on its socket, a streaming pair on ports, a pooler."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from app import postgres
from app.postgres.programs import Account, Binaries, account_for, runnable_by
from tests.world import free_port


@contextlib.contextmanager
def place(name: str) -> Iterator[Path]:
    """A folder with a short path that a server's own account may enter."""
    # A socket's path holds 108 bytes, and pytest's folders are closed to other accounts.
    folder = Path("/tmp") / f"backlot-{name}-{time.monotonic_ns()}"
    folder.mkdir(mode=0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def own_server(name: str) -> Iterator[postgres.Server]:
    """A durable server of this test alone."""
    with place(name) as home:
        server = postgres.start(home)
        try:
            yield server
        finally:
            server.release()


def socket_path(server: postgres.Server) -> str:
    return str(server.socket_folder / ".s.PGSQL.5432")


class Member:
    """One server of a streaming pair, on a port of 127.0.0.1."""

    def __init__(self, data: Path, programs: Binaries, account: Account) -> None:
        self.data, self.programs, self.account = data, programs, account
        self.port = free_port()

    @property
    def dsn(self) -> str:
        return f"postgresql://backlot@127.0.0.1:{self.port}/backlot"

    def run(self, program: str, *words: str) -> None:
        log = self.data.parent / f"{program}.log"
        with log.open("ab") as output:
            code = self.account.run([str(self.programs.folder / program), *words], output=output)
        assert code == 0, f"{program}: {log.read_text()[-2000:]}"

    def start(self, **settings: str) -> None:
        asked = {
            "port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
            "wal_level": "replica", "max_wal_senders": "5", "timezone": "UTC", **settings,
        }  # fmt: skip
        options = " ".join(f"-c {name}='{value}'" for name, value in asked.items())
        log = str(self.data.parent / f"{self.data.name}.log")
        self.run("pg_ctl", "start", "-w", "-D", str(self.data), "-l", log, "-o", options)

    def promote(self) -> None:
        self.run("pg_ctl", "promote", "-w", "-D", str(self.data))

    def kill(self) -> None:
        """As if the machine were gone: no process of it is left, and none said good-bye."""
        postmaster = self._pid()
        children = _children(postmaster) if postmaster else []
        for pid in [postmaster, *children] if postmaster else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _pid(self) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return int((self.data / "postmaster.pid").read_text().splitlines()[0])
        return None


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


class Pair:
    """A primary and its standby. `dsn` names both and takes whoever accepts writes."""

    def __init__(self, primary: Member, standby: Member) -> None:
        self.primary, self.standby = primary, standby

    @property
    def dsn(self) -> str:
        return (
            f"postgresql://backlot@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/backlot"
            "?target_session_attrs=read-write"
        )


def missing_for_pair() -> str | None:
    """Why no streaming pair can be made here, or None."""
    folder = postgres.find_binaries(os.environ.get("BACKLOT_PG_BIN")).folder
    return None if (folder / "pg_basebackup").is_file() else f"there is no pg_basebackup in {folder}"


@contextlib.contextmanager
def streaming_pair(*, synchronous: bool) -> Iterator[Pair]:
    with place("pair") as folder:
        account = account_for(folder / "one", os.environ.get("BACKLOT_PG_USER"))
        account.owns(folder)
        programs = runnable_by(postgres.find_binaries(os.environ.get("BACKLOT_PG_BIN")), account, folder)
        primary = Member(folder / "one", programs, account)
        standby = Member(folder / "two", programs, account)
        primary.run(
            "initdb",
            "-D",
            str(primary.data),
            "-U",
            "backlot",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        try:
            primary.start()
            with psycopg.connect(f"{primary.dsn[: -len('backlot')]}postgres", autocommit=True) as conn:
                conn.execute("CREATE DATABASE backlot")
            copy = f"host=127.0.0.1 port={primary.port} user=backlot application_name=two"
            standby.run(
                "pg_basebackup",
                "-D",
                str(standby.data),
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "--no-sync",
                "-d",
                copy,
            )
            standby.start(hot_standby="on")
            if synchronous:
                # On the primary's memory alone: a promoted standby must not wait for a standby of its own.
                with psycopg.connect(primary.dsn, autocommit=True) as conn:
                    conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'two'")
                    conn.execute("SELECT pg_reload_conf()")
                _wait_until_synchronous(primary)
            yield Pair(primary, standby)
        finally:
            primary.kill()
            standby.kill()


def _wait_until_synchronous(primary: Member) -> None:
    until = time.monotonic() + 20
    with psycopg.connect(primary.dsn, autocommit=True) as conn:
        while time.monotonic() < until:
            found = conn.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
            if found == [("sync",)]:
                return
            time.sleep(0.05)
    raise AssertionError("the standby did not become synchronous")


POOLER = """
[databases]
* = host={socket_folder} port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/people
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
logfile = {folder}/pooler.log
pidfile = {folder}/pooler.pid
"""


class Pooler:
    def __init__(self, port: int) -> None:
        self.port = port

    def dsn_of(self, direct_dsn: str) -> str:
        """The same database through the pooler."""
        database = psycopg.conninfo.conninfo_to_dict(direct_dsn)["dbname"]
        return f"postgresql://backlot@127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def pooler_before(server: postgres.Server, *, size: int) -> Iterator[Pooler]:
    """PgBouncer in transaction mode with `size` sessions for everybody. It refuses to run as root."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    with place("pooler") as folder:
        pooler = Pooler(free_port())
        settings = folder / "pooler.ini"
        settings.write_text(
            POOLER.format(socket_folder=server.socket_folder, port=pooler.port, folder=folder, size=size)
        )
        (folder / "people").write_text('"backlot" ""\n')
        server.account.owns(folder)
        process = subprocess.Popen(
            [program, "-q", str(settings)],
            user=server.account.uid, group=server.account.gid,
            extra_groups=None if server.account.uid is None else [], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_until_it_answers(pooler.dsn_of(server.dsn), process, folder)
            yield pooler
        finally:
            process.terminate()
            process.wait()


def _wait_until_it_answers(dsn: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            with psycopg.connect(dsn, prepare_threshold=None, connect_timeout=2) as conn:
                conn.execute("SELECT 1")
                return
        except psycopg.OperationalError as error:
            said = folder / "pooler.log"
            if process.poll() is not None or time.monotonic() > until:
                text = said.read_text() if said.exists() else ""
                raise AssertionError(f"the pooler does not answer: {error} {text[-1000:]}") from error
            time.sleep(0.05)
