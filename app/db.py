"""Two doors to the database: `owned_by` sees one workspace's rows, `house` sees all. Neither opened: no rows.

A transaction is opened, told whose it is and closed here and nowhere else; what it is told ends with it, so a
pooler in front cannot carry an owner from one request to the next. Waiting is bounded: `statement_timeout`,
`lock_timeout` and `idle_in_transaction_session_timeout` (reliability, section 5).
"""

from __future__ import annotations

import dataclasses
import re
import select
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, LiteralString, Protocol, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from app import config, log, postgres
from app.errors import NotFound, Permanent, Retryable


class Row(Protocol):
    """Any dataclass: its fields are the columns it is read from."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


T = TypeVar("T", bound=Row)
Answer = TypeVar("Answer")
Params = Mapping[str, Any] | Sequence[Any] | None
Conn = AsyncConnection[Any]

# A dead server or a dead network is noticed within ten seconds (reliability, section 3, half-open
# connection).
NETWORK = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# Of several hosts the dead one must not eat the wait for the living: it is given up sooner. libpq knows no less.
CONNECT_AMONG_S = 2
GET_S = 3.0
# How much later than the server's own limit an answer still counts as on its way.
ANSWER_S = 5.0
# How far this machine's clock may be off the database's (reliability, section 4).
CLOCK_WARN_S, CLOCK_REFUSE_S = 2.0, 60.0
COLUMNS = re.compile(r"\{(\w+\.)?columns\}")
PAGE_ROLE = "backlot_page"
HOUSE_ROLE = "backlot_house"
_STATEMENT_S = {"web": 10, "work": 60}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the database is. `direct_dsn` goes past any pooler: LISTEN, migrations, workers."""

    dsn: str
    direct_dsn: str
    pooled: bool
    server: postgres.Server | None = None


@lru_cache(maxsize=1)
def locate() -> Place:
    """The database of the settings, else the embedded one, started or joined; it stops with its last user.

    Blocking (an embedded start takes up to a second): call it before the event loop, or in a thread.
    """
    settings = config.get()
    if settings.database_url:
        direct = settings.database_direct_url or settings.database_url
        return Place(settings.database_url, direct, direct != settings.database_url)
    server = postgres.start(
        settings.backlot_home, pg_bin=settings.backlot_pg_bin, pg_user=settings.backlot_pg_user
    )
    return Place(server.dsn, server.dsn, False, server)


@dataclasses.dataclass
class _Doors:
    pages: AsyncConnectionPool[Line] | None = None
    house: AsyncConnectionPool[Line] | None = None
    roles: bool = False
    statement_s: int = _STATEMENT_S["work"]


_doors = _Doors()


# Not OperationalError to the driver, yet the session is of no more use and another one is.
_GONE = (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.IdleInTransactionSessionTimeout)


class Silence(psycopg.OperationalError):
    """The other end of the line says nothing at all."""


class Line(AsyncConnection[Any]):
    """A connection that does not wait for ever: a proxy that answers TCP and forwards nothing defeats every timer
    of the network, and the server's own limits never reach us (reliability, section 3, half-open connection).
    """

    patience_s = ANSWER_S

    async def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """One exchange with the server; Silence, and the line is cut, when its answer does not come."""
        try:
            return await super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.OperationalError as error:
            # What the server refuses is over by now; only a question without its answer is still open.
            if timeout is not None or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            raise Silence(f"no answer in {self.patience_s:g} s") from error


async def open_pools(
    dsn: str, *, pages: bool, most: int = 10, pooled: bool = False, wait_s: float = 10
) -> None:
    """Open this process's pools; `pages` also for requests. `pooled` says a pooler in transaction mode is in
    front.

    Raises Retryable while the server does not answer, Permanent when the row rules are not in force.
    """
    _doors.statement_s = _STATEMENT_S["web" if pages else "work"]
    try:
        _doors.house = await _opened(
            _pool(dsn, "web house" if pages else "worker house", most, pooled), wait_s
        )
        async with _doors.house.connection() as conn:
            if not await _is_migrated(conn):
                raise Retryable("The database has no tables yet: run `backlot migrate`.", code="not_migrated")
            _doors.roles = await _has_roles(conn)
        if pages:
            _doors.pages = await _opened(_pool(dsn, "web pages", most, pooled), wait_s)
        await check_rules()
        await check_clock()
    except BaseException:
        await close_pools()
        raise


async def connect(dsn: str) -> AsyncConnection[tuple[Any, ...]]:
    """One connection of its own, in autocommit, for LISTEN; a dead network is noticed as by the pools."""
    conn = await AsyncConnection.connect(
        make_conninfo(dsn, **network(dsn), application_name="backlot web hub"), autocommit=True
    )
    await _suit(conn)
    return conn


def network(dsn: str) -> dict[str, int]:
    """How a connection to this address notices that nobody is there."""
    try:
        return NETWORK if len(hosts(dsn)) == 1 else NETWORK | {"connect_timeout": CONNECT_AMONG_S}
    except psycopg.ProgrammingError:
        # Nobody will ever be there; who connects says so.
        return NETWORK


def hosts(dsn: str) -> list[str]:
    """Every server this address names, as host:port; the folder of its socket for one on this machine.

    Raises psycopg.ProgrammingError when PostgreSQL would not understand the address.
    """
    parts = conninfo_to_dict(dsn)
    names = str(parts.get("host") or parts.get("hostaddr") or "the local socket").split(",")
    ports = str(parts.get("port") or "").split(",")
    # One port serves all hosts, else each has its own (libpq, section "Specifying Multiple Hosts").
    ports = ports * len(names) if len(ports) == 1 else ports
    return [f"{name}:{port or 5432}" for name, port in zip(names, ports, strict=False)]


async def hand(dsn: str, name: str) -> Conn:
    """One connection of its own that acts for the house, each statement in its own commit: the worker's pump and
    ear. Past any pooler, so what it is told at the start holds. Whoever asks by it sets a time limit.

    Permanent when a pooler is in front after all: it would give what we say here to somebody else (section 5).
    """
    conn: Conn = await AsyncConnection.connect(
        make_conninfo(dsn, **network(dsn), application_name=name), autocommit=True
    )
    if await _suit(conn):
        await conn.close()
        raise Permanent("A worker's address must go past the pooler: set DATABASE_DIRECT_URL.", code="pooled")
    await conn.execute(
        """
        SELECT set_config('role', %s, false), set_config('app.house', 'on', false),
               set_config('statement_timeout', %s, false), set_config('lock_timeout', '5s', false)""",
        [HOUSE_ROLE if _doors.roles else "none", f"{_STATEMENT_S['work']}s"],
    )
    return conn


async def ensure_pools(dsn: str, *, pages: bool, most: int = 10, pooled: bool = False) -> None:
    """Open the pools unless they are open."""
    if _doors.house is None:
        await open_pools(dsn, pages=pages, most=most, pooled=pooled)


async def _suit(conn: AsyncConnection[Any]) -> bool:
    """Prepare no statements when a pooler is in front: it hands each transaction to whichever session is free
    (section 5). Gives whether one is; known by the key it makes up, as a server tells its own process id.
    """
    cursor = await conn.execute("SELECT pg_backend_pid()")
    row = await cursor.fetchone()
    pooled = row is not None and row[0] != conn.info.backend_pid
    if pooled:
        conn.prepare_threshold = None
    return pooled


async def _configure(conn: Line) -> None:
    await conn.set_autocommit(True)
    await _suit(conn)
    await conn.set_autocommit(False)
    conn.patience_s = _doors.statement_s + ANSWER_S


def _pool(dsn: str, name: str, most: int, pooled: bool) -> AsyncConnectionPool[Line]:
    return AsyncConnectionPool(
        dsn,
        connection_class=Line,
        kwargs={
            **network(dsn),
            "prepare_threshold": None if pooled else 5,
            "application_name": f"backlot {name}",
        },
        configure=_configure,
        min_size=1,
        max_size=most,
        # Short, so that an outage is asked about often: the pool tries anew with each request, not by itself.
        timeout=GET_S,
        max_idle=300,
        reconnect_timeout=1.0,
        open=False,
        name=name,
    )


async def _opened(pool: AsyncConnectionPool[Line], wait_s: float) -> AsyncConnectionPool[Line]:
    try:
        await pool.open(wait=True, timeout=wait_s)
    except (PoolTimeout, psycopg.Error) as error:
        await pool.close()
        why = await unreachable(str(pool.conninfo)) or "The database does not answer."
        raise Retryable(why, code="database_away") from error
    return pool


async def unreachable(dsn: str) -> str | None:
    """Why this database cannot be reached, in one line with its host and the setting that names it; None when it
    can. The password is not told (S4.39).
    """
    settings = config.get()
    names = ("DATABASE_URL", "DATABASE_DIRECT_URL")
    setting = next((name for name in names if getattr(settings, name.lower()) == dsn), "BACKLOT_HOME")
    try:
        where = f"the database at {' and '.join(hosts(dsn))}"
        async with await connect(dsn):
            return None
    except psycopg.ProgrammingError:
        # What the driver says of it may quote the password.
        return f"{setting}: this is no address that PostgreSQL understands."
    except psycopg.Error as error:
        return f"{setting}: {where} cannot be reached: {reason(error)}"


# What the driver writes of each host when there were several.
_ATTEMPT = re.compile(r"^- host: '?(.*?)'?, port: '?(.*?)'?, hostaddr: .*?: (.*)$", re.MULTILINE)


def reason(error: psycopg.Error) -> str:
    """What the server or the system said, in one line without what the driver puts before it; of each host that
    said something of its own.
    """
    attempts = _ATTEMPT.findall(str(error))
    said = {f"{host}:{5432 if port == 'None' else port}": _said(line) for host, port, line in attempts}
    if len(set(said.values())) > 1:
        return "; ".join(f"{host}: {line}" for host, line in said.items()) + "."
    return _said((str(error).strip() or type(error).__name__).splitlines()[0]) + "."


def _said(line: str) -> str:
    line = line.rpartition(" failed: ")[2].removeprefix("connection is bad: ").removeprefix("FATAL:").strip()
    if line == "session is read-only":
        line = "it is a standby and takes no writes"
    return log.redact(line).rstrip(".")


async def close_pools() -> None:
    for pool in (_doors.pages, _doors.house):
        if pool is not None:
            await pool.close()
    _doors.pages = _doors.house = None


async def _is_migrated(conn: Conn) -> bool:
    cursor = await conn.execute("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _has_roles(conn: Conn) -> bool:
    """Whether this login may act as both of our roles, i.e. whether migrations were allowed to create them."""
    cursor = await conn.execute(
        """
        SELECT count(*) = 2
          FROM pg_roles
         WHERE rolname IN (%s, %s) AND pg_has_role(current_user, oid, 'MEMBER')
           AND (rolname = %s OR rolbypassrls)""",
        [PAGE_ROLE, HOUSE_ROLE, PAGE_ROLE],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


@asynccontextmanager
async def owned_by(workspace_id: int) -> AsyncIterator[Conn]:
    """A transaction that sees and writes the rows of this workspace only, whatever is asked of it."""
    role = PAGE_ROLE if _doors.roles else "none"
    async with _transaction(_doors.pages or _doors.house, role, str(int(workspace_id)), "off") as conn:
        yield conn


@asynccontextmanager
async def house() -> AsyncIterator[Conn]:
    """A transaction that sees every row: tasks, sign-in and the admin pages, nobody else."""
    role = HOUSE_ROLE if _doors.roles else "none"
    async with _transaction(_doors.house, role, "", "on") as conn:
        yield conn


@asynccontextmanager
async def _transaction(
    pool: AsyncConnectionPool[Line] | None, role: str, workspace: str, in_house: str
) -> AsyncIterator[Conn]:
    if pool is None:
        raise Retryable("The database is not open.", code="database_away")
    try:
        async with _borrowed(pool) as conn, conn.transaction():
            await conn.execute(
                """
                SELECT set_config('role', %s, true), set_config('app.workspace_id', %s, true),
                       set_config('app.house', %s, true), set_config('statement_timeout', %s, true),
                       set_config('lock_timeout', '5s', true),
                       set_config('idle_in_transaction_session_timeout', '30s', true)""",
                [role, workspace, in_house, f"{_doors.statement_s}s"],
            )
            yield conn
    except (PoolTimeout, PoolClosed) as error:
        raise Retryable("The database does not answer.", code="database_away") from error
    except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected) as error:
        raise Retryable("Two changes met; please try again.", code="conflict", after_s=1) from error
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise Retryable("The database is busy.", code="database_busy", after_s=2) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, *_GONE) as error:
        raise Retryable("The database went away.", code="database_away") from error


@asynccontextmanager
async def _borrowed(pool: AsyncConnectionPool[Line]) -> AsyncIterator[Line]:
    """A line of the pool that its server has not left meanwhile; what cannot be used any more does not go back."""
    until = time.monotonic() + GET_S
    # Else, when every session was ended at once, as many callers fail as there were idle lines.
    while _has_ended(conn := await pool.getconn(max(until - time.monotonic(), 0.0))):
        await conn.close()
        await pool.putconn(conn)
    try:
        async with conn:
            yield conn
    except psycopg.errors.ReadOnlySqlTransaction:
        # It became a standby under an open line: the next line finds the primary.
        await conn.close()
        raise
    except Silence:
        # The pool's other lines are of the same age and most likely as dead: nobody else waits for them.
        await pool.drain()
        raise
    finally:
        await pool.putconn(conn)


def _has_ended(conn: Line) -> bool:
    """Whether the server closed it while nobody used it: on an idle line there is nothing to read but a good-bye."""
    if conn.closed:
        return True
    look = select.poll()
    look.register(conn.fileno(), select.POLLIN)
    return bool(look.poll(0))


def _filled(cls: type[Any], query: LiteralString) -> LiteralString:
    """`{columns}` is the fields of the dataclass, `{t.columns}` the same of the table called t."""
    names = [field.name for field in dataclasses.fields(cls)]
    # Only names of our own dataclasses enter the text, never a value.
    return COLUMNS.sub(lambda found: ", ".join((found[1] or "") + name for name in names), query)


async def many(conn: Conn, cls: type[T], query: LiteralString, params: Params = None) -> list[T]:
    """Every row as a `cls`; `{columns}` in the query stands for its fields."""
    async with conn.cursor(row_factory=class_row(cls)) as cursor:
        await cursor.execute(_filled(cls, query), params)
        return await cursor.fetchall()


async def maybe(conn: Conn, cls: type[T], query: LiteralString, params: Params = None) -> T | None:
    """The one row, or None when there is none."""
    async with conn.cursor(row_factory=class_row(cls)) as cursor:
        await cursor.execute(_filled(cls, query), params)
        return await cursor.fetchone()


async def one(conn: Conn, cls: type[T], query: LiteralString, params: Params = None) -> T:
    """The one row; raises NotFound when there is none, which is also what a stranger's row looks like."""
    row = await maybe(conn, cls, query, params)
    if row is None:
        raise NotFound
    return row


async def value(conn: Conn, query: LiteralString, params: Params = None) -> Any:
    """The first column of the first row, or None when there is no row."""
    cursor = await conn.execute(query, params)
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def rows(conn: Conn, query: LiteralString, params: Params = None) -> list[tuple[Any, ...]]:
    cursor = await conn.execute(query, params)
    return list(await cursor.fetchall())


async def run(conn: Conn, query: LiteralString, params: Params = None) -> int:
    """Carry out a statement; gives the number of rows it touched."""
    return (await conn.execute(query, params)).rowcount


async def check_clock() -> None:
    """Only the database's clock decides what is due; a process whose own is far off says so, or does not start."""
    async with house() as conn:
        now: datetime = await value(conn, "SELECT clock_timestamp()")
    off_s = abs((datetime.now(UTC) - now).total_seconds())
    if off_s > CLOCK_REFUSE_S:
        raise Permanent(
            f"This machine's clock is {off_s:.0f} s off the database's: set it by NTP.", code="clock"
        )
    if off_s > CLOCK_WARN_S:
        log.warning("this machine's clock is off the database's", seconds=round(off_s, 1))


async def check_rules() -> None:
    """Refuse to start when an owned table lacks its rule, or when pages would pass it by (section 5)."""
    async with house() as conn:
        lacking = await rows(
            conn,
            """
            SELECT classes.relname
              FROM pg_class AS classes
              JOIN pg_attribute AS columns ON columns.attrelid = classes.oid AND columns.attname = 'workspace_id'
             WHERE classes.relkind IN ('r', 'p') AND classes.relnamespace = 'public'::regnamespace
               AND classes.relname NOT IN ('sessions')
               AND NOT (classes.relrowsecurity AND classes.relforcerowsecurity
                        AND EXISTS (SELECT FROM pg_policy WHERE polrelid = classes.oid))""",
        )
    if lacking:
        names = ", ".join(sorted(row[0] for row in lacking))
        raise Permanent(f"These tables have no owner rule in force: {names}.", code="row_rules")
    async with owned_by(0) as conn:
        passes = await value(
            conn, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
    if passes:
        raise Permanent(
            "The database role of the pages passes the row rules by (it is a superuser or has BYPASSRLS). "
            "Use a role that may create roles, or an ordinary one.",
            code="row_rules",
        )
    if not _doors.roles:
        log.warning("one database role serves pages and tasks; row rules hold by FORCE ROW LEVEL SECURITY")
