"""What the self-check finds, on a house with one thing out of order at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from app import checkup, config, crypto, db, media, migrate, postgres
from tests.makers import an_owner

pytestmark = pytest.mark.anyio

SECRET = "hunter2hunter2"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("APP_ENV", "test")
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEMP_DIR", str(tmp_path / "temp"))
    monkeypatch.setenv("ENCRYPTION_KEY", "k" * 32)
    _forget()
    yield monkeypatch
    _forget()


def _forget() -> None:
    config.get.cache_clear()
    db.locate.cache_clear()


@pytest.fixture
async def house(settings: pytest.MonkeyPatch, database: str) -> AsyncIterator[pytest.MonkeyPatch]:
    change(settings, DATABASE_URL=database)
    yield settings
    await db.close_pools()


def change(settings: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        settings.setenv(name, value)
    _forget()


async def found(what: str) -> checkup.Finding:
    return next(finding for finding in await checkup.look() if finding.what == what)


async def test_a_house_without_workers_is_fine_but_for_them(house: pytest.MonkeyPatch) -> None:
    findings = await checkup.look()
    assert [finding.what for finding in findings] == [
        "database", "migrations", "clock", "notices", "keys", "storage", "ffmpeg",
        "TikTok", "YouTube", "Instagram", "Facebook", "workers",
    ]  # fmt: skip
    assert [finding.what for finding in findings if not finding.fine] == ["workers"]
    served = "video-edit, video-processing, video-upload, social-publishing, upkeep"
    assert findings[-1].said.endswith(f"nobody serves {served}")
    assert "backlot worker" in findings[-1].mend
    assert all(bool(finding.mend) != finding.fine for finding in findings)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"postgresql://boss:{SECRET}@127.0.0.1:1/studio", "the database at 127.0.0.1:1 cannot be reached: "
         "Connection refused."),
        (f"postgresql://boss:{SECRET}@/studio?host=/nowhere", "the database at /nowhere:5432 cannot be reached: "
         "No such file or directory."),
        (f"postgresql://boss:{SECRET}@127.0.0.1:port/studio", "the database at 127.0.0.1:port cannot be reached: "
         'invalid integer value "port"'),
        (f"postgresql://boss:{SECRET}%zz@127.0.0.1:1/studio", "this is no address that PostgreSQL understands."),
        (f"postgresql://boss:{SECRET}@127.0.0.1:1,127.0.0.1:2/studio?target_session_attrs=read-write",
         "the database at 127.0.0.1:1 and 127.0.0.1:2 cannot be reached: Connection refused."),
        (f"postgresql://boss:{SECRET}@127.0.0.1:1/studio?host=/nowhere,127.0.0.1&port=5,2&target_session_attrs=primary",
         "the database at /nowhere:5 and 127.0.0.1:2 cannot be reached: /nowhere:5: No such file or directory; "
         "127.0.0.1:2: Connection refused."),
        (f"postgresql://127.0.0.1:1/studio?user=boss&password={SECRET}", "the database at 127.0.0.1:1 cannot be "),
    ],
)  # fmt: skip
async def test_a_database_that_is_away_is_named_without_its_password(
    settings: pytest.MonkeyPatch, address: str, said: str
) -> None:
    change(settings, DATABASE_URL=address)
    (only,) = await checkup.look()
    assert (only.what, only.fine) == ("database", False)
    assert only.said.startswith(f"DATABASE_URL: {said}")
    assert SECRET not in only.said
    assert "\n" not in only.said


async def test_a_database_without_a_login_for_us_says_what_it_said(
    house: pytest.MonkeyPatch, database: str
) -> None:
    change(house, DATABASE_URL=database.replace("backlot@", "stranger@"))
    (only,) = await checkup.look()
    assert only.said.endswith('cannot be reached: role "stranger" does not exist.')


async def test_the_address_past_the_pooler_is_looked_at_too(house: pytest.MonkeyPatch) -> None:
    change(house, DATABASE_DIRECT_URL=f"postgresql://boss:{SECRET}@127.0.0.1:1/studio")
    (only,) = await checkup.look()
    assert only.said.startswith("DATABASE_DIRECT_URL: the database at 127.0.0.1:1 cannot be reached")


async def test_a_database_that_was_never_migrated_lacks_everything(
    settings: pytest.MonkeyPatch, pg: postgres.Server
) -> None:
    # The carrier's own database: tests work in databases beside it.
    change(settings, DATABASE_URL=pg.dsn)
    (only,) = await checkup.look()
    assert (only.what, only.mend) == ("migrations", "Run `backlot migrate`.")
    assert only.said.startswith(f"{len(migrate.steps())} are missing")


async def test_a_missing_migration_is_named(house: pytest.MonkeyPatch, database: str) -> None:
    last = migrate.steps()[-1].name
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM schema_migrations WHERE name = %s", [last])
    migrations = await found("migrations")
    assert (migrations.fine, migrations.said) == (False, f"1 is missing, first {last}")
    assert migrations.mend == "Run `backlot migrate`."


async def test_a_secret_sealed_with_a_lost_key_is_found(house: pytest.MonkeyPatch, database: str) -> None:
    await db.open_pools(database, pages=True)
    owner = await an_owner()
    async with db.owned_by(owner.workspace_id) as conn:
        account_id = await db.value(
            conn,
            """
            INSERT INTO accounts (workspace_id, platform, remote_id, handle, display_name, state)
            VALUES (%s, 'tiktok', 'r1', 'maya', 'Maya', 'connected')
            RETURNING id""",
            [owner.workspace_id],
        )
        sealed = crypto.seal("act.1", f"accounts|{account_id}|access_token_enc")
        await conn.execute("UPDATE accounts SET access_token_enc = %s", [sealed])
    assert (await found("keys")).said == "open what is stored"
    change(house, ENCRYPTION_KEY="n" * 32)
    keys = await found("keys")
    assert not keys.fine
    assert "ENCRYPTION_KEYS_OLD" in keys.mend
    change(house, ENCRYPTION_KEYS_OLD="k" * 32)
    assert (await found("keys")).fine


async def test_a_missing_ffmpeg_is_found(house: pytest.MonkeyPatch, tmp_path: Path) -> None:
    media.program.cache_clear()
    change(house, BACKLOT_FFMPEG=str(tmp_path / "ffmpeg"))
    ffmpeg = await found("ffmpeg")
    media.program.cache_clear()
    assert not ffmpeg.fine
    assert "BACKLOT_FFMPEG" in ffmpeg.mend


async def test_a_platform_without_credentials_and_without_simulator_is_off(house: pytest.MonkeyPatch) -> None:
    change(house, SIMULATORS="off")
    tiktok = await found("TikTok")
    assert (tiktok.fine, tiktok.said) == (False, "off") and "TIKTOK_CLIENT_KEY" in tiktok.mend
    change(house, SIMULATORS="off", YOUTUBE_CLIENT_ID="id", YOUTUBE_CLIENT_SECRET="secret")
    # One is enough: those that are off are told, and are no trouble.
    assert [(one.fine, one.said) for one in (await found("TikTok"), await found("YouTube"))] == [
        (True, "off"),
        (True, "real"),
    ]


async def test_a_worker_that_fell_silent_is_named(house: pytest.MonkeyPatch, database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute(
            """
            INSERT INTO worker_leases (worker_id, name, host, process, pid, queues, version, concurrency, seen_at)
            VALUES (7, 'edit-1', 'cellar', '', 1, '{video-edit}', '3', 1, now() - interval '90 s')"""
        )
    workers = await found("workers")
    assert not workers.fine
    assert "edit-1 on cellar is silent for 90 s" in workers.said
