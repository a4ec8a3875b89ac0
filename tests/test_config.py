from __future__ import annotations

import multiprocessing
import re
import stat
from pathlib import Path

import pytest

from app import config

EXAMPLE = Path(__file__).parent.parent / ".env.example"
KEY = "k" * config.KEY_CHARACTERS
PRODUCTION = {"APP_ENV": "production", "DATABASE_URL": "postgresql://db/x", "ENCRYPTION_KEY": KEY}


def problems(env: dict[str, str]) -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        config.load(env)
    return caught.value.problems


def example() -> dict[str, str]:
    lines = EXAMPLE.read_text().splitlines()
    return {
        name: value
        for name, equals, value in (line.partition("=") for line in lines)
        if name.isupper() and equals
    }


def made_key(home: Path) -> str:
    return config.load({"BACKLOT_HOME": str(home)}).encryption_key


def test_a_bare_laptop_needs_no_settings(tmp_path: Path) -> None:
    settings = config.load({"BACKLOT_HOME": str(tmp_path / "home")})
    assert settings.port == 3000
    assert len(settings.encryption_key) == config.KEY_CHARACTERS
    assert stat.S_IMODE((tmp_path / "home" / "encryption.key").stat().st_mode) == 0o600


def test_the_made_key_stays_the_same(tmp_path: Path) -> None:
    assert made_key(tmp_path) == made_key(tmp_path)


def test_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert len(set(pool.map(made_key, [tmp_path] * 12))) == 1


def test_a_damaged_key_file_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "encryption.key").write_text("short")
    assert problems({"BACKLOT_HOME": str(tmp_path)})[0].startswith("ENCRYPTION_KEY: ")
    assert (tmp_path / "encryption.key").read_text() == "short"


def test_malformed_and_missing_settings_are_told_in_one_go() -> None:
    told = problems(
        {
            "APP_ENV": "production",
            "PORT": "x",
            "ENCRYPTION_KEY": "short",
            "STORAGE_PROVIDER": "s3",
            "QUEUE_VIDEO_EDIT_TRIES": "0",
            "TIKTOK_CLIENT_KEY": "k",
        }
    )
    assert [line.split(":")[0] for line in told] == [
        "DATABASE_URL",
        "ENCRYPTION_KEY",
        "STORAGE_BUCKET",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "TIKTOK_CLIENT_SECRET",
        "PORT",
        "QUEUE_VIDEO_EDIT_TRIES",
    ]
    assert "this one has 5" in told[1]


def test_a_refused_start_leaves_no_folder(tmp_path: Path) -> None:
    problems({"BACKLOT_HOME": str(tmp_path / "home"), "PORT": "0"})
    assert not (tmp_path / "home").exists()


def test_a_problem_never_shows_the_secret() -> None:
    told = problems(
        {**PRODUCTION, "ENCRYPTION_KEY": "planted-secret", "DATABASE_URL": "mysql://u:planted@h/d"}
    )
    assert len(told) == 2
    assert "planted" not in "".join(told)


@pytest.mark.parametrize(("port", "accepted"), [("0", False), ("1", True), ("65535", True), ("65536", False)])
def test_ports_at_and_past_the_limit(port: str, accepted: bool) -> None:
    if accepted:
        assert config.load({**PRODUCTION, "PORT": port}).port == int(port)
    else:
        assert problems({**PRODUCTION, "PORT": port})[0].startswith("PORT: ")


def test_an_empty_value_counts_as_unset() -> None:
    assert config.load({**PRODUCTION, "PORT": " ", "PUBLIC_URL": ""}).port == 3000


def test_older_names_are_read_when_the_new_ones_are_not_set() -> None:
    assert config.load({**PRODUCTION, "APP_ENV": "", "NODE_ENV": "production", "S3_BUCKET": "old"}).production
    settings = config.load({**PRODUCTION, "S3_BUCKET": "old", "STORAGE_BUCKET": "new"})
    assert (settings.bucket, settings.s3_bucket) == ("new", "old")


@pytest.mark.parametrize(
    ("quality", "read"),
    [("9", "refused"), ("10", 10), ("40", 40), ("41", "refused"), ("off", None), ("", 21)],
)
def test_the_quality_of_the_picture_at_and_past_its_limits(quality: str, read: object) -> None:
    if read == "refused":
        assert problems({**PRODUCTION, "VIDEO_QUALITY": quality})[0].startswith("VIDEO_QUALITY: ")
    else:
        assert config.load({**PRODUCTION, "VIDEO_QUALITY": quality}).video_quality == read


def test_what_videos_are_made_into_is_some_of_three() -> None:
    assert config.load(PRODUCTION).video_formats == ("hls", "dash", "mp4")
    assert config.load({**PRODUCTION, "VIDEO_FORMATS": "mp4, hls"}).video_formats == ("hls", "mp4")
    assert problems({**PRODUCTION, "VIDEO_FORMATS": "hls,avi"})[0].startswith("VIDEO_FORMATS: ")


def test_the_environment_changes_one_queue() -> None:
    settings = config.load({**PRODUCTION, "QUEUE_VIDEO_EDIT_MOST": "3/60", "QUEUE_VIDEO_EDIT_TRIES": "4"})
    changed = settings.queues["video-edit"]
    assert (changed.tries, changed.most, changed.together) == (4, (3, 60.0), None)


def test_old_keys_may_hold_commas() -> None:
    odd = ",".join(["a" * 15, "b" * 16])
    assert config.load({**PRODUCTION, "ENCRYPTION_KEYS_OLD": f"{odd},{KEY}"}).old_keys == (odd, KEY)
    assert problems({**PRODUCTION, "ENCRYPTION_KEYS_OLD": f"{odd}, {KEY}"})
    assert problems({**PRODUCTION, "ENCRYPTION_KEYS_OLD": f"{odd},"})


def test_a_localhost_cache_is_ignored_in_production() -> None:
    address = "redis://localhost:6379"
    assert config.load({**PRODUCTION, "REDIS_URL": address}).redis is None
    assert config.load({"ENCRYPTION_KEY": KEY, "REDIS_URL": address}).redis == address


def test_simulators_never_stand_in_by_themselves_in_production() -> None:
    assert config.load({"ENCRYPTION_KEY": KEY}).simulates("tiktok")
    assert not config.load(PRODUCTION).simulates("tiktok")
    assert config.load({**PRODUCTION, "SIMULATORS": "on"}).simulates("tiktok")


SEVERAL = "postgresql://u:p@h1:5432,h2:5433/db"


@pytest.mark.parametrize(
    "address",
    [
        f"{SEVERAL}?target_session_attrs=read-write",
        f"{SEVERAL}?sslmode=require&target_session_attrs=primary",
        "postgresql://u:a,b@h1/db?application_name=a,b",
    ],
)
def test_an_address_may_name_several_hosts(address: str) -> None:
    assert config.load({**PRODUCTION, "DATABASE_URL": address}).database_url == address


@pytest.mark.parametrize(
    "address",
    [SEVERAL, f"{SEVERAL}?target_session_attrs=any", "postgresql://u:p@/db?host=h1,h2"],
)
def test_several_hosts_without_a_word_on_who_takes_writes_are_refused(address: str) -> None:
    for name in ("DATABASE_URL", "DATABASE_DIRECT_URL"):
        assert problems({**PRODUCTION, name: address}) == [
            f"{name}: names several hosts and needs target_session_attrs=read-write"
        ]


def test_the_example_lists_every_setting_and_nothing_else() -> None:
    assert set(example()) == {field.upper() for field in config.Config.model_fields} - {"QUEUES"}


def test_every_setting_of_the_example_has_one_comment_line() -> None:
    lines = EXAMPLE.read_text().splitlines()
    settings = [at for at, line in enumerate(lines) if re.match(r"[A-Z]", line)]
    assert all(re.match(r"# \S", lines[at - 1]) for at in settings)
    assert all(len(line) <= 110 for line in lines)


def test_the_example_holds_the_defaults() -> None:
    settings = {**example(), "ENCRYPTION_KEY": KEY}
    assert config.load(settings) == config.load({"ENCRYPTION_KEY": KEY})


def test_the_environment_sets_what_holds_over_all_workers() -> None:
    settings = config.load(
        {
            **PRODUCTION,
            "QUEUE_VIDEO_EDIT_EVERYWHERE": "12",
            "QUEUE_VIDEO_EDIT_EACH": "3",
            "QUEUE_VIDEO_EDIT_FAIR": "none",
        }
    )
    assert settings.queues["video-edit"] == config.QueueOverride(
        together=None, tries=None, first_wait_s=None, everywhere=12, each=3, fair=0
    )


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "10001", "٣"])
def test_places_that_make_no_sense_are_refused(value: str) -> None:
    for what in ("EVERYWHERE", "EACH", "FAIR"):
        assert problems({**PRODUCTION, f"QUEUE_VIDEO_EDIT_{what}": value}) == [
            f"QUEUE_VIDEO_EDIT_{what}: write a number from 1 to 10000, or none"
        ]


@pytest.mark.parametrize("value", ["0/60", "3", "3/", "/60", "x/60", "3/x"])
def test_a_rate_is_so_many_in_so_many_seconds(value: str) -> None:
    for name in ("QUEUE_VIDEO_EDIT_MOST", "ACCOUNT_UPLOADS_MOST"):
        assert problems({**PRODUCTION, name: value}) == [
            f"{name}: write it as 3/60 (three in sixty seconds) or none"
        ]


@pytest.mark.parametrize("value", ["3/0", "3/-1", "3/nan", "3/inf", "3/86401"])
def test_a_rate_is_counted_over_a_day_at_most(value: str) -> None:
    assert problems({**PRODUCTION, "QUEUE_VIDEO_EDIT_MOST": value}) == [
        "QUEUE_VIDEO_EDIT_MOST: write it as 3/60 (three in sixty seconds, a day at most) or none"
    ]
