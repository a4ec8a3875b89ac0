"""Finds and installs what the peers need, outside the repository; says what is missing and how to install it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from benchmarks.queue.rivals import PEERS, Tools

# What graphile-worker 0.18 asks for; an older Node is replaced, for these peers only, by npm's package of Node itself.
NODE_LEAST = (22, 18)
NODE_PACKAGE = "22.23.3"


def cache() -> Path:
    """One folder for each state of the lists of packages."""
    lists = [path.read_bytes() for path in (PEERS / "package.json", PEERS / "requirements.txt")]
    stamp = hashlib.sha256(b"".join([*lists, platform.python_version().encode()])).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "backlot-queue-benchmark" / stamp


def prepare() -> Tools:
    """The peers' programs, installed where they are not yet. A second run installs nothing."""
    missing: dict[str, str] = {}
    folder = cache()
    node, venv = None, None
    try:
        node = _node(folder / "node")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        missing["node"] = str(error)
    try:
        venv = _venv(folder / "python")
    except (OSError, subprocess.SubprocessError) as error:
        missing["python"] = (
            f"the Python peers could not be installed ({error}); pip must reach a package index"
        )
    redis = shutil.which("redis-server")
    if redis is None:
        missing["redis"] = "redis-server is not installed: apt install redis-server"
    return Tools(node, folder / "node", venv, redis, missing)


def _node(folder: Path) -> Path:
    system, npm = shutil.which("node"), shutil.which("npm")
    if system is None or npm is None:
        raise RuntimeError("node and npm are not installed: apt install nodejs npm")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PEERS / "package.json", folder)
    install = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    if not (folder / "installed").exists():
        print(f"installing the Node peers in {folder}", file=sys.stderr)
        subprocess.run(install, cwd=folder, check=True, stdout=sys.stderr)
        (folder / "installed").touch()
    # Node looks for packages from the place of the file that imports them.
    for path in PEERS.glob("*.mjs"):
        shutil.copy(path, folder)
    if _node_version(Path(system)) >= NODE_LEAST:
        return Path(system)
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise RuntimeError(f"node is older than {'.'.join(map(str, NODE_LEAST))}: install a newer one")
    package = f"node-linux-{machine}"
    newer = folder / "newer" / "node_modules" / package / "bin" / "node"
    if not newer.exists():
        print(f"node is too old for the peers; installing {package} {NODE_PACKAGE} from npm", file=sys.stderr)
        (folder / "newer").mkdir(exist_ok=True)
        (folder / "newer" / "package.json").write_text('{"private": true}')
        subprocess.run(
            [*install, f"{package}@{NODE_PACKAGE}"], cwd=folder / "newer", check=True, stdout=sys.stderr
        )
    return newer


def _node_version(node: Path) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said)[:3])


def _venv(folder: Path) -> Path:
    if not (folder / "installed").exists():
        print(f"installing the Python peers in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r",
             PEERS / "requirements.txt"],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        (folder / "installed").touch()
    return folder


def machine() -> str:
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    gib = int(memory[1]) / 1024**2 if memory else 0
    name = cpu[1] if cpu else platform.machine()
    return (
        f"{name}, {os.cpu_count()} cores, {gib:.0f} GiB of memory, {platform.system()} {platform.release()}"
    )


def flush_us(folder: Path, times: int = 300) -> float:
    """Microseconds of writing 8 KiB and flushing them to this folder's disk: what each commit here waits for."""
    path = folder / "flush"
    took = []
    with path.open("wb") as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(8192))
            file.flush()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(took) * 1e6


def versions(tools: Tools, server: str) -> dict[str, str]:
    """Name → version of everything that took part."""
    found = {
        "PostgreSQL": server,
        "Python": platform.python_version(),
        "psycopg": metadata.version("psycopg"),
    }
    if tools.redis:
        said = subprocess.run([tools.redis, "--version"], capture_output=True, text=True, check=True).stdout
        found["Redis"] = (re.search(r"v=(\S+)", said) or ["", said])[1]
    if tools.node:
        found["Node"] = ".".join(map(str, _node_version(tools.node)))
        for name in json.loads((PEERS / "package.json").read_text())["dependencies"]:
            package = tools.node_peers / "node_modules" / name / "package.json"
            found[name] = json.loads(package.read_text())["version"]
    for line in (PEERS / "requirements.txt").read_text().split() if tools.venv else ():
        name, _, version = line.partition("==")
        found[name.partition("[")[0]] = version
    return found
