"""The walls around one run of ffmpeg: what it may read and write, how much it may use, and that it dies with us.

Three ways, the first that works is used: bwrap (own namespaces, no network, a read-only system, one writable
folder), setpriv (dies with its parent, gains no rights), or resource limits alone. The rules are section 6 of
reliability.md.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from app import log
from app.media import ffmpeg

Way = Literal["bwrap", "setpriv", "rlimits"]

GIB = 1024**3
NICE = 15
SAID: dict[Way, str] = {
    "bwrap": "bwrap: own namespaces, no network, read-only system, only the run folder writable",
    "setpriv": "setpriv: ends with the worker, gains no rights, resource limits; sees files and network",
    "rlimits": "resource limits only: ffmpeg may outlive a killed worker",
}
# What a dynamically linked ffmpeg needs to start; the rest of the disk is not there for it.
SYSTEM_FOLDERS = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store")
SYSTEM_FILES = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/fonts",
    "/var/cache/fontconfig",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """The most that one run may use. `processes` counts threads too, as the kernel does."""

    wall_s: float = 60
    idle_s: float = 60
    cpu_s: int = 120
    address_bytes: int = 2 * GIB
    file_bytes: int = 100 * 1024**2
    processes: int = 64


@lru_cache(maxsize=1)
def way() -> Way:
    """The strongest way that really works on this machine; tried once per process and written to the log."""
    tools: tuple[Way, ...] = ("bwrap", "setpriv")
    able = [tool for tool in tools if _works(tool)]
    found: Way = able[0] if able else "rlimits"
    log.info("ffmpeg runs behind walls", isolation=SAID[found])
    return found


def isolation() -> str:
    """Which walls stand around ffmpeg on this machine, as one line for `doctor` and the start page."""
    return SAID[way()]


def environment() -> dict[str, str]:
    """All that ffmpeg sees of our environment: no setting and no key of the house."""
    return {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        # Nowhere: fontconfig would leave a cache behind in each run's folder.
        "HOME": "/nonexistent",
        "XDG_CACHE_HOME": "/nonexistent",
        "AV_LOG_FORCE_NOCOLOR": "1",
        # Each thread's own malloc arena reserves 64 MiB of address space, which the limit would count.
        "MALLOC_ARENA_MAX": "4",
    }


def wrap(
    argv: Sequence[str], limits: Limits, *, writable: Path, readable: Sequence[Path], through: Way
) -> list[str]:
    """`argv` behind its walls. With "rlimits" nothing stands in front: `before_exec` does it in the child."""
    if through == "rlimits":
        return list(argv)
    limited = [*_prlimit(limits), *_nice(), *argv]
    if through == "setpriv":
        return [_tool("setpriv"), "--pdeathsig", "KILL", "--no-new-privs", "--", *limited]
    # As process 1 it is waited for by bwrap itself, without which its CPU seconds would be counted to nobody.
    closed = [
        _tool("bwrap"),
        "--unshare-all",
        "--as-pid-1",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
    ]
    for name, value in environment().items():
        closed += ["--setenv", name, value]
    for system in (*SYSTEM_FOLDERS, *SYSTEM_FILES):
        closed += ["--ro-bind-try", system, system]
    closed += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - an empty one of its own
    closed += ["--bind", str(writable), str(writable), "--chdir", str(writable)]
    # Behind the writable folder, so that a source inside it stays read-only too.
    for place in (Path(argv[0]), *readable):
        closed += ["--ro-bind", str(place), str(place)]
    return [*closed, "--", *limited]


def before_exec(limits: Limits, through: Way) -> Callable[[], None] | None:
    """What the child does before it becomes ffmpeg, where no tool does it.

    Only for the last way: running Python between fork and exec is not safe in a program with threads, so the
    two others let `prlimit` do it.
    """
    if through != "rlimits":
        return None

    def limit() -> None:
        for kind, most in _limits(limits).items():
            resource.setrlimit(kind, (most, most))

    return limit


def _limits(limits: Limits) -> dict[int, int]:
    return {
        resource.RLIMIT_AS: limits.address_bytes,
        resource.RLIMIT_CPU: limits.cpu_s,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NPROC: _threads_here() + limits.processes,
        resource.RLIMIT_CORE: 0,
    }


def _threads_here() -> int:
    """Threads alive on this machine: the kernel counts all of a person's threads against RLIMIT_NPROC."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
    except (OSError, IndexError, ValueError):
        return 4096


def _prlimit(limits: Limits) -> list[str]:
    names = {
        resource.RLIMIT_AS: "as",
        resource.RLIMIT_CPU: "cpu",
        resource.RLIMIT_FSIZE: "fsize",
        resource.RLIMIT_NPROC: "nproc",
        resource.RLIMIT_CORE: "core",
    }
    return [_tool("prlimit"), *(f"--{names[kind]}={most}" for kind, most in _limits(limits).items())]


def _nice() -> list[str]:
    return [_tool("nice"), "-n", str(NICE)]


def _tool(name: str) -> str:
    """The full path of a system tool; FileNotFoundError if there is none."""
    if found := shutil.which(name):
        return str(Path(found).absolute())
    raise FileNotFoundError(name)


def _works(through: Way) -> bool:
    """Whether ffmpeg starts behind these walls: user namespaces are often forbidden in containers."""
    program = str(ffmpeg.program().path)
    with tempfile.TemporaryDirectory(prefix="backlot-trial-") as folder:
        try:
            argv = wrap([program, "-version"], Limits(), writable=Path(folder), readable=(), through=through)
        except FileNotFoundError:
            return False
        tried = subprocess.run(  # noqa: S603 - every word of it is ours
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=20
        )
    return tried.returncode == 0
