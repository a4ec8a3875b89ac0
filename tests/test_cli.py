"""The `backlot` command as people and platforms start it: real processes, judged by what they print and leave."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from app import migrate, postgres
from tests.world import free_port

ROOT = Path(__file__).parent.parent
BACKLOT = [sys.executable, "-m", "app"]
PLAIN_WORKER = [sys.executable, "-m", "procrastinate", "--app=tasks.procrastinate_app", "worker"]
SECRET = "hunter2hunter2"
# Nobody listens on port 1 (tcpmux) of this machine.
AWAY = f"postgresql://boss:{SECRET}@127.0.0.1:1/studio"
GONE_AT = "DATABASE_URL: the database at 127.0.0.1:1 cannot be reached: Connection refused."


class Place:
    """A data folder and the settings that point at it; `run` waits for a command, `start` leaves it running."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.env = {
            **os.environ,
            "BACKLOT_HOME": str(home),
            "TEMP_DIR": str(home / "temp"),
            "ENCRYPTION_KEY": "k" * 32,
            "LOG_FORMAT": "json",
            **settings,
        }
        self.started: list[Started] = []

    def run(self, *words: str, said: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*BACKLOT, *words],
            cwd=ROOT,
            env=self.env | settings,
            input=said,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self, argv: list[str], **settings: str) -> Started:
        self.started.append(Started(argv, self.env | settings, self.home))
        return self.started[-1]

    def end(self) -> None:
        for one in self.started:
            one.process.kill()
            one.process.wait()


class Started:
    def __init__(self, argv: list[str], env: Mapping[str, str], home: Path) -> None:
        self.log = home / f"{uuid.uuid4().hex}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def ended_within(self, seconds: float, number: int = signal.SIGTERM) -> int:
        """Send the signal; gives the exit status, fails when it takes longer."""
        self.process.send_signal(number)
        return self.process.wait(timeout=seconds)


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, as a socket may lie in it, and open to the account that an embedded server runs under."""
    made = Path("/tmp") / f"backlot-cli-{uuid.uuid4().hex[:12]}"
    made.mkdir(mode=0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def place(home: Path, database: str) -> Iterator[Place]:
    made = Place(home, DATABASE_URL=database)
    yield made
    made.end()


def until(check: Callable[[], Any], within_s: float = 20.0) -> Any:
    """What `check` gives as soon as it gives something; it looks at other processes, which give no sign."""
    end = time.monotonic() + within_s
    while not (found := check()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
    return found


def asked(port: int, path: str) -> tuple[int, str] | None:
    """Status and text, or None while nobody listens."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return None


def test_migrate_applies_everything_once(home: Path, pg: postgres.Server) -> None:
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(pg.dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    place = Place(home, DATABASE_URL=pg.dsn_of(name))
    try:
        first = place.run("migrate")
        assert (first.returncode, first.stdout.splitlines()) == (
            0,
            [f"applied {step.name}" for step in migrate.steps()],
        )
        assert place.run("migrate").stdout == "nothing to apply\n"
    finally:
        with psycopg.connect(pg.dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_every_wrong_setting_is_told_on_its_own_line_before_anything_connects(home: Path) -> None:
    wrong = {"PORT": "70000", "ENCRYPTION_KEY": "short", "LOG_LEVEL": "loud", "DATABASE_URL": "mysql://x"}
    place = Place(home, **wrong)
    for argv in ([*BACKLOT, "migrate"], PLAIN_WORKER):
        told = subprocess.run(argv, cwd=ROOT, env=place.env, capture_output=True, text=True, timeout=30)
        assert told.returncode not in (0, None)
        assert sorted(line.partition(":")[0] for line in told.stderr.splitlines()) == sorted(wrong)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("words", [("migrate",), ("up",)])
def test_a_database_that_is_away_is_one_line_that_names_it_and_the_setting(
    home: Path, words: tuple[str, ...]
) -> None:
    told = Place(home, PORT=str(free_port())).run(*words, DATABASE_URL=AWAY)
    assert (told.returncode, told.stdout, told.stderr) == (2, "", f"{GONE_AT}\n")


def test_doctor_names_the_database_that_is_away_and_no_password(home: Path) -> None:
    told = Place(home).run("doctor", DATABASE_URL=AWAY)
    assert told.returncode == 1
    assert told.stdout.splitlines()[0] == f"MEND  database: {GONE_AT}"
    assert SECRET not in told.stdout + told.stderr


def test_web_and_worker_wait_for_a_database_and_say_which_one(home: Path) -> None:
    place = Place(home, DATABASE_URL=AWAY, PORT=str(free_port()), HEALTH_CHECK_PORT=str(free_port()))
    try:
        commands = ([*BACKLOT, "web"], [*BACKLOT, "worker", "video-processor"], PLAIN_WORKER)
        waiting = [place.start(argv) for argv in commands]
        until(lambda: all(GONE_AT in one.said() for one in waiting), within_s=30)
        assert [one.process.poll() for one in waiting] == [None, None, None]
        assert SECRET not in "".join(one.said() for one in waiting)
    finally:
        place.end()


def test_a_person_is_added_with_the_password_from_standard_input(place: Place, database: str) -> None:
    def people() -> list[tuple[str, bool]]:
        with psycopg.connect(database) as conn:
            return conn.execute("SELECT email, is_operator FROM users ORDER BY id").fetchall()

    refused = place.run("user", "add", "ada@example.org", said="short\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "password: " in refused.stderr
    assert people() == []
    with psycopg.connect(database) as conn:
        # The first person of a house is operator anyway.
        conn.execute("INSERT INTO users (email, name, password_hash) VALUES ('ada@example.org', 'Ada', '-')")
    added = place.run("user", "add", "maya@example.org", "--operator", said="a long enough one\n")
    assert added.returncode == 0, added.stderr
    told = json.loads(added.stdout)
    assert (told["email"], told["operator"]) == ("maya@example.org", True)
    assert people() == [("ada@example.org", False), ("maya@example.org", True)]
    assert "a long enough one" not in added.stdout + added.stderr


def test_no_worker_starts_while_the_queue_is_switched_off(place: Place) -> None:
    off = place.start(PLAIN_WORKER, QUEUE_ENABLED="false")
    assert off.process.wait(timeout=20) == 1
    assert (
        off.said().splitlines()[-1]
        == "The queue is switched off (QUEUE_ENABLED=false): this worker does not start."
    )


def test_the_processes_are_well_tell_so_and_end_in_time(home: Path) -> None:
    web_port, health_port = free_port(), free_port()
    server = postgres.start(home / "pg", for_tests=True)
    place = Place(home, DATABASE_URL=server.dsn, PORT=str(web_port), HEALTH_CHECK_PORT=str(health_port))
    try:
        assert place.run("migrate").returncode == 0
        left_by_a_dead_run = home / "temp" / f"edit-7.99999.{'a' * 16}"
        left_by_a_dead_run.mkdir(parents=True)
        web = place.start([*BACKLOT, "web"])
        one_role = place.start([*BACKLOT, "worker", "video-processor"])
        every_queue = place.start(PLAIN_WORKER)
        status, text = until(lambda: (found := asked(health_port, "/health")) and found[0] == 200 and found)
        told = json.loads(text)
        assert set(told) == {"status", "worker", "uptime", "memory"}
        assert (told["status"], told["worker"]) == ("ok", "video-processor")
        assert set(told["memory"]) == {"rss", "heapTotal", "heapUsed", "external"}
        assert "# TYPE jobs_" in (asked(health_port, "/metrics") or (0, ""))[1]
        until(lambda: "worker connected" in every_queue.said())
        until(lambda: not left_by_a_dead_run.exists())

        doctor = place.run("doctor")
        assert doctor.returncode == 0, doctor.stdout
        assert {line[:4] for line in doctor.stdout.splitlines()} == {"ok  "}

        until(lambda: asked(web_port, "/health"))
        assert web.ended_within(3) == 0
        assert every_queue.ended_within(9) == 0

        server.stop("immediate")
        status, text = until(lambda: (found := asked(health_port, "/health")) and found[0] != 200 and found)
        told = json.loads(text)
        assert (status, told["status"], told["reason"]) == (
            503,
            "unhealthy",
            "The database does not answer.",
        )
        assert one_role.ended_within(9) == 0
    finally:
        place.end()
        server.release()


def below(home: Path) -> dict[int, str]:
    """Every living process of this house: pid → command."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            of_ours = f"BACKLOT_HOME={home}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if words and (of_ours or (folder / "cwd").readlink().is_relative_to(home)):
                found[int(folder.name)] = words.strip()
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes in /proc")
def test_up_starts_everything_restarts_what_dies_and_leaves_nothing_behind(home: Path) -> None:
    port = free_port()
    place = Place(home, PORT=str(port))
    place.env.pop("DATABASE_URL", None)

    def pid_of(words: str) -> int | None:
        return next((pid for pid, said in below(home).items() if words in said), None)

    try:
        up = place.start([*BACKLOT, "up"])
        until(lambda: f"Backlot is open at http://localhost:{port}" in up.said())
        assert "simulated  TikTok, YouTube, Instagram, Facebook" in up.said()
        second = place.run("up")
        assert (second.returncode, second.stderr[:5]) == (2, "PORT:")

        assert pid_of("postgres")
        victim = until(lambda: pid_of("procrastinate"))
        os.kill(victim, signal.SIGKILL)
        until(lambda: (found := pid_of("procrastinate")) and found != victim)
        until(lambda: up.said().count("worker connected") == 2)
        assert up.ended_within(10) == 0
        assert below(home) == {}

        up = place.start([*BACKLOT, "up"])
        until(lambda: "Backlot is open" in up.said() and "worker connected" in up.said())
        up.process.kill()
        up.process.wait()
        until(lambda: not below(home))
    finally:
        place.end()
        for pid in below(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
