"""`backlot up`: database, migrations, web, worker and simulators in one go.

Apart from the other commands, so that it loads little: the processes it starts load the rest, and a second start
takes under two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys

from app import config, db, log, migrate, platforms, supervisor
from app.errors import HouseError, Permanent, Retryable


def main() -> None:
    """The command by itself; what stops it is told in a line each."""
    try:
        log.setup(config.get())
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        raise SystemExit(up())
    except config.ConfigError as error:
        print("\n".join(error.problems), file=sys.stderr)
        raise SystemExit(1) from None
    except HouseError as error:
        print(error.message, file=sys.stderr)
        raise SystemExit(2) from None


def place() -> db.Place:
    """The database of the settings, which answers; Retryable says which one does not, and what names it."""
    found = db.locate()
    if away := asyncio.run(_unreachable(found)):
        raise Retryable(away, code="database_away")
    return found


async def _unreachable(found: db.Place) -> str | None:
    """Why one of the addresses in use cannot be reached, in one line; None when all can."""
    addresses = dict.fromkeys((found.dsn, found.direct_dsn))
    return next(filter(None, [await db.unreachable(address) for address in addresses]), None)


def up(args: argparse.Namespace | None = None) -> int:
    """Start everything and keep it running until SIGTERM or Ctrl-C."""
    settings = config.get()
    _refuse_taken_port(settings)
    found = place()
    asyncio.run(migrate.run(found.direct_dsn))
    commands = {"web": [sys.executable, "-m", "app", "web"]}
    if settings.queue_enabled:
        commands["worker"] = [
            sys.executable,
            "-m",
            "procrastinate",
            "--app=tasks.procrastinate_app",
            "worker",
        ]
    return supervisor.run(
        commands,
        say=lambda: print(_welcome(found), flush=True),
        ready_url=f"http://{_own_host(settings)}:{settings.port}/health",
    )


def _own_host(settings: config.Config) -> str:
    """Where this machine itself reaches the web."""
    if settings.bind_host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        return "127.0.0.1"
    return f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host


def _refuse_taken_port(settings: config.Config) -> None:
    """Two houses cannot open on one port; better said than tried again for ever."""
    try:
        family = socket.AF_INET6 if ":" in settings.bind_host else socket.AF_INET
        with socket.create_server((settings.bind_host, settings.port), family=family):
            pass
    except OSError as error:
        raise Permanent(
            f"PORT: {settings.bind_host}:{settings.port} cannot be opened ({error.strerror}). "
            "Is Backlot open already? Otherwise set PORT to another one.",
            code="port_taken",
        ) from error


def _welcome(found: db.Place) -> str:
    """Where it is, what is real and what is simulated."""
    settings = config.get()
    database = f"PostgreSQL {found.server.version} of its own" if found.server else "the one in DATABASE_URL"
    storage = (
        f"the bucket {settings.bucket}"
        if settings.storage_provider == "s3"
        else f"{settings.backlot_home}/storage"
    )
    simulated = [platforms.LABELS[name] for name in platforms.NAMES if settings.simulates(name)]
    real = [
        platforms.LABELS[name]
        for name in platforms.NAMES
        if not settings.simulates(name) and settings.registration(name).client_key
    ]
    worker = "one of its own" if settings.queue_enabled else "none (QUEUE_ENABLED=false)"
    return "\n".join(
        (
            "",
            f"  Backlot is open at {settings.base_url}",
            "",
            f"  database   {database}",
            f"  files      {storage}",
            f"  worker     {worker}",
            *([f"  simulated  {', '.join(simulated)}"] if simulated else []),
            *([f"  real       {', '.join(real)}"] if real else []),
            *([] if simulated or real else ["  platforms  none (no credentials are set)"]),
            "  Ctrl-C ends it; what waits goes on at the next start.",
            "",
        )
    )
