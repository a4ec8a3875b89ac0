"""The `backlot` command. Everything it does is one of the house's own verbs; nothing is decided here."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from app import checkup, config, db, log, migrate, sidecar, up, users
from app import main as main_app
from app.errors import HouseError, Refused
from app.web import server
from app.web.protocol import Patience
from tasks import procrastinate_app

# A role is a set of queues with a health port of its own (contract, index of names).
ROLES = {
    "video-processor": ("video-edit", "video-processing"),
    "social-publisher": ("video-upload", "social-publishing"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; what stops it is told in a line each, with exit status 2 (settings: 1, by `tasks`)."""
    args = _parser().parse_args(argv)
    log.setup(config.get())
    # From here on processes may be started and a server joined: SIGTERM must run what leaves them in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        command: Callable[[argparse.Namespace], int | None] = args.run
        raise SystemExit(command(args) or 0)
    except HouseError as error:
        fields = error.fields if isinstance(error, Refused) else {}
        told = [f"{name}: {said}" for name, said in fields.items() if said != error.message]
        print("\n".join([error.message, *told]), file=sys.stderr)
        raise SystemExit(2) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backlot", description="A creator studio on one PostgreSQL and a bucket."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, what in (
        ("up", up.up, "everything in one go: database, migrations, web, worker, simulators"),
        ("web", _web, "the web process"),
        ("migrate", _migrate, "bring the database to the shape this program expects"),
        ("doctor", _doctor, "check everything and say how to mend it"),
    ):
        commands.add_parser(name, help=what).set_defaults(run=run)
    worker = commands.add_parser("worker", help="a worker, for all queues or one role")
    worker.add_argument("role", nargs="?", choices=sorted(ROLES))
    worker.set_defaults(run=_worker)
    user = commands.add_parser("user", help="people").add_subparsers(required=True, metavar="ACTION")
    add = user.add_parser("add", help="add a person; the password is asked for, or read from standard input")
    add.add_argument("email")
    add.add_argument("--name", default="")
    add.add_argument("--operator", action="store_true")
    add.set_defaults(run=_user_add)
    return parser


def _web(args: argparse.Namespace) -> int:
    settings = config.get()
    server.serve(
        main_app.create(), settings.bind_host, settings.port, replace(Patience(), trusted=settings.proxies)
    )
    return 0


def _worker(args: argparse.Namespace) -> int:
    """The stock worker of the engine, with a health port when it is one role."""
    settings = config.get()
    queues = list(ROLES[args.role]) if args.role else None
    port = settings.health_check_port or (config.ROLE_PORTS[args.role] if args.role else None)
    asyncio.run(_work(queues, args.role or "worker", port))
    # A thread stuck in a call of a library must not hold the end up; so what runs at exit runs here.
    if (own := db.locate().server) is not None:
        own.release()
    sys.stdout.flush()
    os._exit(0)


async def _work(queues: list[str] | None, name: str, port: int | None) -> None:
    async with procrastinate_app.open_async():
        health = sidecar.Sidecar(port, name, procrastinate_app) if port else None
        if health is not None:
            await health.open()
        try:
            if queues is None:
                await procrastinate_app.run_worker_async(name=name)
            else:
                await procrastinate_app.run_worker_async(name=name, queues=queues)
        finally:
            if health is not None:
                await health.close()


def _migrate(args: argparse.Namespace) -> int:
    done = asyncio.run(migrate.run(up.place().direct_dsn))
    print("\n".join(f"applied {name}" for name in done) or "nothing to apply")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    findings = asyncio.run(_looked())
    for finding in findings:
        print(f"{'ok  ' if finding.fine else 'MEND'}  {finding.what}: {finding.said}")
        if finding.mend:
            print(f"      {finding.mend}")
    return 0 if all(finding.fine for finding in findings) else 1


async def _looked() -> list[checkup.Finding]:
    try:
        return await checkup.look()
    finally:
        await db.close_pools()


def _user_add(args: argparse.Namespace) -> int:
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    place = up.place()
    person = asyncio.run(_with_database(place, lambda: _add(args, password)))
    print(json.dumps({"id": person.id, "email": person.email, "operator": person.is_operator}))
    return 0


async def _add(args: argparse.Namespace, password: str) -> users.Person:
    person, _ = await users.sign_up(args.email, password, args.name or args.email.partition("@")[0])
    if args.operator and not person.is_operator:
        async with db.house() as conn:
            await users.make_operator(conn, person.id)
        return replace(person, is_operator=True)
    return person


async def _with_database(place: db.Place, work: Callable[[], Awaitable[users.Person]]) -> users.Person:
    await migrate.run(place.direct_dsn)
    await db.open_pools(place.direct_dsn, pages=False, most=2)
    try:
        with log.bound(correlation_id=uuid.uuid4().hex):
            return await work()
    finally:
        await db.close_pools()
