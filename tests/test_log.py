from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from app import config, log

KEY = "k" * 32
# Whoever finds this in a line has found a leak.
PLANTED = "pLaNtEd0123456789pLaNtEd"
LEAKS = [
    f"Authorization: Bearer {PLANTED}",
    f"authorization: Basic {PLANTED}==",
    f"bearer%20{PLANTED}",
    f'{{"access_token": "{PLANTED}", "expires_in": 1}}',
    f'{{"refresh_token":"{PLANTED}"}}',
    f'{{\\"client_secret\\":\\"{PLANTED}\\"}}',
    f"{{'password': '{PLANTED} with \\' a quote'}}",
    f"password={PLANTED}",
    f"api_key: {PLANTED}",
    f"X-Api-Key: {PLANTED}",
    f"[(b'x-api-key', b'{PLANTED}')]",
    f"Cookie: a=1; session={PLANTED}; b=2",
    f"Set-Cookie: __Host-session={PLANTED}; Path=/",
    f'{{"cookie": "a=1; b={PLANTED}"}}',
    f"https://host/upload?upload_id=1&upload_token={PLANTED}&x=1",
    f"https://bucket/o?X-Amz-Signature={PLANTED}&X-Amz-Credential={PLANTED}",
    f"https://bucket/o?AWSAccessKeyId={PLANTED}&Signature={PLANTED}",
    f"/files/1?sig={PLANTED}",
    f"/accounts/tiktok/callback?code={PLANTED}&state={PLANTED}",
    f"https%3A%2F%2Fhost%3Fupload_token%3D{PLANTED}",
    f"code_verifier={PLANTED}",
    f"postgresql://backlot:{PLANTED}@db.example:5432/backlot",
    f"redis://:{PLANTED}@cache.example",
    f"eyJhbGciOiJIUzI1NiJ9.{PLANTED}.{PLANTED}",
    f"sk-{PLANTED}",
    f"bl_abcdefgh_{PLANTED}",
    f"act.{PLANTED}!4567.u1",
    f"rft.{PLANTED}",
    f"Malformed access token ya29.{PLANTED}",
    f"Malformed access token EAA{PLANTED}",
    f"Malformed access token IGAA{PLANTED}",
    f"unknown token 1//{PLANTED}",
    f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n-----END PRIVATE KEY-----",
]


def settings(**changes: object) -> config.Config:
    given = {"encryption_key": KEY, "log_format": "json", **changes}
    return config.load({"ENCRYPTION_KEY": KEY}).model_copy(update=given)


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_secret_never_appears(leak: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert PLANTED not in log.redact(leak)
    log.setup(settings())
    log.info(leak, field=leak, deep={"a": [{"b": leak}]}, cause=ValueError(leak), raw=leak.encode())
    logging.getLogger("some.library").error("%s", leak, extra={"call": {"kwargs": (leak,)}})
    with log.bound(note=leak):
        try:
            raise RuntimeError(leak)
        except RuntimeError:
            log.error("it failed", exc_info=True)
            logging.getLogger("procrastinate.worker").exception("it failed too")
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 4
    assert PLANTED not in written


@pytest.mark.parametrize(
    "name", ["token", "accessToken", "client_secret", "password", "key", "api_key", "cookies"]
)
def test_a_field_named_like_a_secret_is_never_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(settings())
    log.info("signed in", **{name: PLANTED})
    logging.getLogger("library").warning("signed in", extra={name: PLANTED})
    assert [line[name] for line in lines(capsys)] == [log.GONE, log.GONE]


@pytest.mark.parametrize("leak", LEAKS)
def test_redacting_twice_changes_nothing_more(leak: str) -> None:
    assert log.redact(log.redact(leak)) == log.redact(leak)


@settings_of_hypothesis(deadline=None)
@given(st.text())
def test_any_text_can_be_redacted_again(text: str) -> None:
    assert log.redact(log.redact(text)) == log.redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "published",
        "videos/12/edited.mp4",
        "duplicate key value violates unique constraint",
        '{"token_type": "x", "expires_in": 86400, "open_id": "abc"}',
        "the task-runner of desk-abcdefghijk",
        "2026-11-22T07:37:04Z state=published code=rate_limit_exceeded",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert log.redact(text) == text


def test_addresses_in_our_storage_stay_readable(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(settings())
    log.info("stored", source_key="videos/1/a.mp4", bytes=5, tokens=900)
    [line] = lines(capsys)
    assert (line["source_key"], line["bytes"], line["tokens"]) == ("videos/1/a.mp4", 5, 900)


def test_a_long_hostile_text_does_not_hold_the_house_up() -> None:
    for piece in ("token", '"token":', "cookie ", "://a:", "eyJ.", "-----BEGIN ", "key   ", "a"):
        started = time.monotonic()
        log.redact((piece * 200_000)[:500_000])
        # A tenth of a second here; a pattern that goes back over the text would take minutes.
        assert time.monotonic() - started < 10


def test_a_line_is_one_json_object_with_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(settings())
    with log.bound(correlation_id="c-1", queue="video-edit", job_id=7):
        assert log.correlation_id() == "c-1"
        log.info("edited\nforged line", seconds=1.5)
    assert log.correlation_id() is None
    [line] = lines(capsys)
    assert line["event"] == "edited\nforged line"
    assert {"time", "level", "logger"} <= set(line)
    assert (line["correlation_id"], line["queue"], line["job_id"], line["seconds"]) == (
        "c-1",
        "video-edit",
        7,
        1.5,
    )


def test_readable_text_keeps_a_line_break_from_forging_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(settings(log_format="text"))
    log.info("first\nsecond", name="a\r\nb\x1b[2J")
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 1
    assert "\x1b[2J" not in written


def test_the_level_is_the_settings_and_setup_may_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(settings())
    log.setup(settings(log_level="warning"))
    log.info("hidden")
    log.warning("shown")
    assert [line["event"] for line in lines(capsys)] == ["shown"]


def test_the_plain_handler_of_a_library_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    plain = logging.StreamHandler()
    logging.getLogger().addHandler(plain)
    log.setup(settings())
    assert plain not in logging.getLogger().handlers


def test_a_failure_carries_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(settings())
    try:
        _ = [][0]
    except IndexError as error:
        log.error("failed", exc_info=error)
    [line] = lines(capsys)
    assert "IndexError" in line["exception"]
