"""A network of its own for one process, joined to ours by a cable that a test can make lossy or pull."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.queue.processes import ROOT, Process

NEAR, FAR = "10.211.55.1", "10.211.55.2"


def missing() -> str | None:
    """Why no network namespace can be made here, or None."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if shutil.which("ip") is None or shutil.which("iptables") is None:
        return "ip and iptables are not installed (Debian: apt install iproute2 iptables)"
    name = f"blt{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "this system lets nobody make a network namespace"
    try:
        if subprocess.run(
            ["ip", "netns", "exec", name, "iptables", "-S"], capture_output=True, check=False
        ).returncode:
            return "this system has no iptables in a network namespace"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
    return None


class Cable:
    """`address` is this side's; the other side is inside the namespace `name`."""

    def __init__(self, name: str) -> None:
        self.name, self.near = name, f"{name}n"
        self.address = NEAR

    def lose(self, share: float) -> None:
        """Drop this share of the packets, both ways, and tell nobody; 1 is a pulled cable."""
        some = ["-m", "statistic", "--mode", "random", "--probability", str(share)] if share < 1 else []
        for chain in ("INPUT", "OUTPUT"):
            self._inside("iptables", "-w", "-A", chain, "-p", "tcp", *some, "-j", "DROP")

    def heal(self) -> None:
        self._inside("iptables", "-w", "-F")

    def _inside(self, *words: str) -> None:
        run("ip", "netns", "exec", self.name, *words)


class Inside(Process):
    """A worker inside the namespace."""

    def __init__(self, cable: Cable, dsn: str, home: Path) -> None:
        self.log = (home / f"worker-{os.urandom(4).hex()}.log").open("wb")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", cable.name, sys.executable, "-m", "procrastinate",
             "--app=tests.queue.house_app.procrastinate_app", "worker"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": dsn, "BACKLOT_HOME": str(home), "LOG_FORMAT": "json"},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    made = Cable(f"blt{os.getpid()}")
    run("ip", "netns", "add", made.name)
    try:
        run(
            "ip",
            "link",
            "add",
            made.near,
            "type",
            "veth",
            "peer",
            "name",
            f"{made.name}f",
            "netns",
            made.name,
        )
        run("ip", "addr", "add", f"{NEAR}/30", "dev", made.near)
        run("ip", "link", "set", made.near, "up")
        for words in (("addr", "add", f"{FAR}/30", "dev", f"{made.name}f"), ("link", "set", f"{made.name}f", "up"),
                      ("link", "set", "lo", "up")):  # fmt: skip
            run("ip", "-n", made.name, *words)
        yield made
    finally:
        run("ip", "netns", "del", made.name)


def run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
