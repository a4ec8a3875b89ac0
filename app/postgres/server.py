"""The server itself: making its data folder, starting, sharing, stopping, and coming back after a kill."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

from app.errors import Permanent, Retryable
from app.postgres.programs import Account, Binaries, account_for, find_binaries, major_of, runnable_by

OWNER = "backlot"
DATABASE = "backlot"
HAS_PROC = Path("/proc/self/cwd").exists()
PORT = 5432
# Crash recovery of a large database takes minutes; pg_ctl's own 60 s would call it a failure.
START_LIMIT_S = 300
STOP_LIMIT_S = 60
UNSEEN_S = 10
# sun_path holds 108 bytes with its closing zero (unix(7)); the server adds "/.s.PGSQL.5432".
LONGEST_SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432")
LARGEST_LOG_BYTES = 10 * 1024**2
# Where a server of root's keeps its data when its account cannot enter the home folder (root's own is 0700).
SYSTEM_FOLDER = Path("/var/lib/backlot")

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    # One server without replicas: smallest log of changes, nobody to send it to.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # DETAIL lines quote values of rows.
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}
# A test's database may be lost with the machine, it only has to be quick.
TEST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

StopMode = Literal["smart", "fast", "immediate"]


@dataclass
class Server:
    """A running server and this process's share in it. Leave with `release`, or use it in a `with`."""

    home: Path
    data: Path
    binaries: Binaries
    account: Account
    socket_folder: Path
    for_tests: bool
    _users: IO[bytes] | None = field(repr=False)

    @property
    def dsn(self) -> str:
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """Address of another database of this server, as tests use."""
        return f"postgresql://{OWNER}@/{database}?host={quote(str(self.socket_folder), safe='')}&port={PORT}"

    @property
    def version(self) -> str:
        return self.binaries.version

    @property
    def source(self) -> str:
        return self.binaries.source

    @property
    def log_path(self) -> Path:
        return self.data.parent / "server.log"

    def release(self) -> bool:
        """Leave; the last one out stops the server and gets True. A second call does nothing."""
        if self._users is None:
            return False
        with _turn(self.home):
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                last = True
            except BlockingIOError:
                last = False
            try:
                if last:
                    self._stop("immediate" if self.for_tests else "fast")
            finally:
                self._users.close()
                self._users = None
                atexit.unregister(self.release)
        return last

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server under everybody's feet, for outage tests; it may be stopped already."""
        with _turn(self.home):
            self._stop(mode)

    def restart(self) -> None:
        """Bring the very same server up again at the same address, stopping it first if it runs."""
        with _turn(self.home):
            self._stop("fast")
            self.socket_folder = _launch(self.data, self.binaries, self.account, self.for_tests)

    def _stop(self, mode: StopMode) -> None:
        # A killed server leaves its pid file, and pg_ctl would wait a minute for a zombie to remove it, or
        # send its signal to whoever has that number now.
        pid = _read_pid(self.data)
        if pid is None or (HAS_PROC and pid not in _postgres_processes(self.data)):
            return
        code = _pg_ctl(self, "stop", "-m", mode)
        if code != 0 and _answering(self.data):
            # Somebody holds a transaction through a fast stop; committed rows survive an immediate one.
            _pg_ctl(self, "stop", "-m", "immediate")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def start(
    home: Path, *, pg_bin: str | None = None, pg_user: str | None = None, for_tests: bool = False
) -> Server:
    """Join the server of this home folder; makes the data folder and starts the server where needed.

    Safe in many processes at once, after a kill of any of them and after a kill of the server. Blocks: about
    1 s the first time, 0.1 s later, longer after a crash. `Permanent` says what is in the way, `Retryable`
    that the server did not come up in time.
    """
    made_home = not home.exists()
    home.mkdir(parents=True, exist_ok=True)
    home = home.resolve()
    with _turn(home):
        place = _place(home, pg_user, made_home)
        data = place / "data"
        account = account_for(data, pg_user)
        binaries = runnable_by(find_binaries(pg_bin, major_of(data)), account, place)
        if not data.exists():
            _create(place, binaries, account, for_tests)
        socket_folder = _launch(data, binaries, account, for_tests)
        users = _lock_file(home / "postgres.users")
        fcntl.flock(users, fcntl.LOCK_SH)
    server = Server(home, data, binaries, account, socket_folder, for_tests, users)
    atexit.register(server.release)
    return server


def _place(home: Path, pg_user: str | None, made_home: bool) -> Path:
    """The folder that holds data, socket and log: `home/postgres`, or a link to one the account can enter."""
    link = home / "postgres"
    if not link.exists():
        account = account_for(link / "data", pg_user)
        if account.uid is not None and made_home:
            home.chmod(0o711)
        if account.enters(home):
            link.mkdir()
            link.chmod(0o711)
        else:
            SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True)
            SYSTEM_FOLDER.chmod(0o711)
            place = Path(tempfile.mkdtemp(prefix="postgres-", dir=SYSTEM_FOLDER))
            place.chmod(0o711)
            link.unlink(missing_ok=True)
            link.symlink_to(place)
    return link.resolve()


def _create(place: Path, binaries: Binaries, account: Account, for_tests: bool) -> None:
    """Make the data folder with our database in it; a start that dies halfway leaves nothing half made."""
    making = place / "data.new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    account.owns(making)
    locale = ["--locale=C.UTF-8"]
    if int(binaries.major) >= 17:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    argv = [
        str(binaries.folder / "initdb"),
        "-D",
        str(making),
        "-U",
        OWNER,
        "-A",
        "trust",
        "-E",
        "UTF8",
        *locale,
    ]
    log_path = place / "initdb.log"
    with log_path.open("wb") as log:
        code = account.run([*argv, *(["--no-sync"] if for_tests else [])], output=log)
        if code == 0:
            alone = [str(binaries.folder / "postgres"), "--single", "-j", "-D", str(making)]
            fsync = ["-c", "fsync=off"] if for_tests else []
            statement = f"CREATE DATABASE {DATABASE};\n\n".encode()
            code = account.run([*alone, *fsync, "postgres"], output=log, stdin=statement)
    said = log_path.read_text(errors="replace")
    if code != 0 or re.search(r"ERROR|FATAL|PANIC", said):
        raise Permanent(f"The database folder could not be made: {_last_line(said)}", code="initdb_failed")
    making.rename(place / "data")


def _launch(data: Path, binaries: Binaries, account: Account, for_tests: bool) -> Path:
    """Have the server up and return its socket folder. The caller has the turn."""
    began = time.monotonic()
    while True:
        answering, processes = _answering(data), _postgres_processes(data)
        # The orphans of a killed server hold its socket for a moment, so an answer alone says little. One that
        # lasts comes from a server we cannot see: no /proc here, or another container on the same folder.
        seen = not HAS_PROC or _read_pid(data) in processes
        if answering and (seen or time.monotonic() - began > UNSEEN_S):
            return answering
        if not answering and not processes:
            _forget_the_dead(data)
            break
        if time.monotonic() - began > START_LIMIT_S:
            raise Retryable(
                f"PostgreSQL in {data} neither starts nor stops: {_tail(data)}", code="postgres_busy"
            )
        # It is recovering, stopping, or its orphans are leaving after a kill.
        time.sleep(0.05)
    socket_folder = _socket_folder(data, account)
    settings = {
        **SETTINGS,
        **(TEST_SETTINGS if for_tests else {}),
        "unix_socket_directories": str(socket_folder),
    }
    if _has_statistics(binaries.folder.parent):
        settings["shared_preload_libraries"] = "pg_stat_statements"
    options = " ".join(
        shlex.quote(part) for name, value in settings.items() for part in ("-c", f"{name}={value}")
    )
    log_path = data.parent / "server.log"
    if log_path.exists() and log_path.stat().st_size > LARGEST_LOG_BYTES:
        log_path.replace(log_path.with_suffix(".log.1"))
    with log_path.open("ab") as log:
        log_path.chmod(0o600)
        code = account.run(
            [str(binaries.folder / "pg_ctl"), "start", "-w", "-t", str(START_LIMIT_S), "-o", options],
            output=log,
            env={"PGDATA": str(data)},
            limit_s=START_LIMIT_S + 30,
        )
    if code != 0 or not _answering(data):
        raise Retryable(f"PostgreSQL did not start: {_tail(data)}", code="postgres_down")
    return socket_folder


def _socket_folder(data: Path, account: Account) -> Path:
    """A folder of mode 0700 beside the data, or in the temp folder where that path is too long."""
    folder = data.parent / "socket"
    # The server reads a list here: a comma or a quote would split the path.
    if len(os.fsencode(folder)) > LONGEST_SOCKET_FOLDER_BYTES or set(",\"'\\") & set(str(folder)):
        name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"backlot-{os.geteuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), account.uid):
        raise Permanent(f"The socket folder {folder} belongs to somebody else", code="foreign_socket")
    folder.chmod(0o700)
    account.owns(folder)
    return folder


def _pg_ctl(server: Server, *words: str) -> int:
    with server.log_path.open("ab") as log:
        return server.account.run(
            [str(server.binaries.folder / "pg_ctl"), *words, "-w", "-t", str(STOP_LIMIT_S)],
            output=log,
            env={"PGDATA": str(server.data)},
        )


def _pid_lines(data: Path) -> list[str]:
    """postmaster.pid: pid, data folder, start, port, socket folder, address, memory key, status."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _read_pid(data: Path) -> int | None:
    lines = _pid_lines(data)
    return abs(int(lines[0])) if lines and lines[0].lstrip("-").isdigit() else None


def _answering(data: Path) -> Path | None:
    """Its socket folder, if it says it is ready and somebody answers there."""
    lines = _pid_lines(data)
    if len(lines) < 8 or lines[7].strip() != "ready":
        return None
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(f"{lines[4]}/.s.PGSQL.{lines[3]}")
        except OSError:
            return None
    return Path(lines[4])


def _postgres_processes(data: Path) -> list[int]:
    """Living server processes at work in this data folder; none where the system shows no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        # Gone meanwhile, a zombie, or somebody else's: none of ours.
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text().strip() == "postgres" and (entry / "cwd").readlink() == data:
                found.append(int(entry.name))
    return found


def _forget_the_dead(data: Path) -> None:
    """Remove the pid file of a server that no longer runs although its number is taken.

    A killed server stays a zombie where process 1 does not reap, and a number is soon used again in a
    container. PostgreSQL takes both for a running server and would refuse to start.
    """
    pid = _read_pid(data)
    if pid is None or not HAS_PROC:
        return
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    except PermissionError:
        pass
    lines = _pid_lines(data)
    if len(lines) > 4:
        Path(f"{lines[4]}/.s.PGSQL.{lines[3]}.lock").unlink(missing_ok=True)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _has_statistics(installed: Path) -> bool:
    return any(
        (installed / folder / f"pg_stat_statements.{suffix}").exists()
        for folder in ("lib", "lib/postgresql")
        for suffix in ("so", "dylib")
    )


@contextlib.contextmanager
def _turn(home: Path) -> Iterator[None]:
    """One process at a time starts or stops the server of this home; the kernel ends a dead one's turn."""
    with _lock_file(home / "postgres.turn") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock_file(path: Path) -> IO[bytes]:
    try:
        return path.open("ab")
    except PermissionError as error:
        raise Permanent(
            f"{path} belongs to another account: start as that one", code="foreign_data"
        ) from error


def _tail(data: Path) -> str:
    try:
        return _last_line((data.parent / "server.log").read_text(errors="replace")[-4000:])
    except OSError:
        return "no log"


def _last_line(text: str) -> str:
    """The line that says most: the last one with an error in it, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no word"]
    return next((line for line in reversed(lines) if re.search(r"ERROR|FATAL|PANIC|error", line)), lines[-1])
