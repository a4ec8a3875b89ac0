"""What is decided when a run ends, and what a queue's line means: pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import config, jobs, queue
from app.errors import (
    Cancelled,
    Interrupted,
    NotYet,
    Permanent,
    Refused,
    Retryable,
    Superseded,
    Unsure,
    WrongState,
)
from app.queue import policy

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LINE = policy.EffectiveQueue("line", 2, 3, 10.0, None)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("BACKLOT_HOME", str(tmp_path))
    config.get.cache_clear()
    yield monkeypatch
    config.get.cache_clear()


def decide(error: BaseException | None, tries: int = 1) -> policy.Decision:
    return policy.decide(LINE, error, tries, now=NOW)


@pytest.mark.parametrize(("tries", "seconds"), [(1, 10), (2, 20), (3, 40), (10, 3600)])
def test_the_wait_doubles_from_the_base_and_ends_at_an_hour(tries: int, seconds: float) -> None:
    assert queue.wait_s(LINE, tries, chance=lambda: 0.0) == seconds
    assert seconds <= queue.wait_s(LINE, tries, chance=lambda: 1.0) <= min(seconds * 1.1, 3600)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "done"),
        (Refused("no"), "gave_up"),
        (WrongState("no"), "gave_up"),
        (Permanent("no"), "gave_up"),
        (Retryable("later"), "failed"),
        (RuntimeError("surprise"), "failed"),
        (NotYet("later", after_s=3), "waiting"),
        (Unsure("who knows"), "unsure"),
        (Cancelled("enough"), "cancelled"),
        (Interrupted("stopping"), "handed_back"),
        (Superseded("gone"), "lost"),
        (Retryable("our own store", code=policy.DATABASE_AWAY), "handed_back"),
    ],
)
def test_the_kind_of_the_error_decides(error: BaseException | None, outcome: str) -> None:
    assert decide(error).outcome == outcome


def test_the_last_try_gives_up_and_says_the_errors_own_reason() -> None:
    decision = decide(Retryable("The bucket is away.", code="storage_away"), tries=3)
    assert (decision.outcome, decision.reason, decision.code) == (
        "gave_up",
        "The bucket is away.",
        "storage_away",
    )


def test_the_other_side_may_name_the_wait() -> None:
    assert decide(Retryable("later", after_s=77)).again_at == NOW + timedelta(seconds=77)
    assert decide(NotYet("later", until=NOW + timedelta(hours=2))).again_at == NOW + timedelta(hours=2)


def test_what_nobody_foresaw_is_not_shown_in_its_own_words() -> None:
    decision = decide(RuntimeError("token=act.secret"))
    assert "secret" not in (decision.reason or "")


def test_priorities_are_turned_round_in_one_place() -> None:
    ordered = sorted((queue.LOW, queue.HIGH, queue.NORMAL), key=policy.to_engine, reverse=True)
    assert ordered == [queue.HIGH, queue.NORMAL, queue.LOW] == [3, 5, 8]
    assert policy.from_engine(policy.to_engine(5)) == 5


def test_edit_and_upload_keep_the_contracts_figures() -> None:
    assert jobs.VIDEO_EDIT.effective() == policy.EffectiveQueue("video-edit", 2, 2, 10, (3, 60), fair=2)
    assert jobs.VIDEO_UPLOAD.effective() == policy.EffectiveQueue("video-upload", 1, 2, 10, (3, 60))
    assert jobs.SOCIAL_PUBLISHING.effective().tries == 3
    assert jobs.SOCIAL_PUBLISHING.effective().first_wait_s == 5


def test_the_environment_changes_tries_wait_and_limit(settings: pytest.MonkeyPatch) -> None:
    for name, value in (("TRIES", "5"), ("FIRST_WAIT_S", "1.5"), ("MOST", "none"), ("TOGETHER", "7")):
        settings.setenv(f"QUEUE_VIDEO_EDIT_{name}", value)
    config.get.cache_clear()
    assert jobs.VIDEO_EDIT.effective() == policy.EffectiveQueue("video-edit", 7, 5, 1.5, None, fair=2)


def test_the_environment_changes_what_holds_over_all_workers(settings: pytest.MonkeyPatch) -> None:
    for name, value in (("EVERYWHERE", "9"), ("EACH", "4"), ("FAIR", "none")):
        settings.setenv(f"QUEUE_VIDEO_EDIT_{name}", value)
    config.get.cache_clear()
    found = jobs.VIDEO_EDIT.effective()
    assert (found.everywhere, found.each, found.fair) == (9, 4, None)


def test_a_job_takes_exactly_its_arguments() -> None:
    with pytest.raises(TypeError):
        jobs.EDIT_VIDEO.check({"videoId": 1, "token": "x"})
    with pytest.raises(TypeError):
        queue.Job("x", jobs.UPKEEP, ("a",), once="{b}")


@pytest.mark.parametrize(
    ("seconds", "line"),
    [(30, "* * * * * */30"), (300, "*/5 * * * *"), (600, "*/10 * * * *"), (3600, "0 * * * *")],
)
def test_the_stalled_check_has_its_range(seconds: int, line: str) -> None:
    assert queue.cron_every(seconds) == line
    for outside in ("29", "3601"):
        with pytest.raises(config.ConfigError):
            config.load({"STALLED_CHECK_S": outside, "BACKLOT_HOME": "/nowhere"})
