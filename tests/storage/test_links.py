from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import config, storage
from app.errors import Refused

KEY = "tenants/7/originals/a.mp4"


def token_of(address: str) -> str:
    assert address.startswith("/media/")
    return address.removeprefix("/media/")


def test_a_link_opens_with_all_it_was_given(local: Path) -> None:
    address = storage.link(KEY, content_type="video/mp4", filename='my "best"/clip; é\r\n.mp4', download=True)
    opened = storage.open_link(token_of(address))
    assert opened is not None
    assert (opened.key, opened.content_type) == (KEY, "video/mp4")
    assert opened.disposition == (
        "attachment; filename=\"my _best__clip_ _.mp4\"; filename*=UTF-8''my%20%22best%22_clip%3B%20%C3%A9.mp4"
    )
    assert opened.expires_at <= datetime.now(UTC) + timedelta(seconds=900)


def test_a_link_dies_when_its_time_is_over(local: Path) -> None:
    token = token_of(storage.link(KEY, seconds=60, content_type="video/mp4"))
    opened = storage.open_link(token)
    assert opened is not None and opened.disposition == "inline"
    assert storage.open_link(token, now=opened.expires_at - timedelta(seconds=1)) == opened
    assert storage.open_link(token, now=opened.expires_at) is None


def test_a_page_drawn_again_gets_the_same_link(local: Path) -> None:
    assert len({storage.link(KEY, content_type="video/mp4") for _ in range(50)}) <= 2


def test_a_forged_link_opens_nothing(local: Path) -> None:
    token = token_of(storage.link(KEY, content_type="video/mp4"))
    other = token_of(storage.link("tenants/8/originals/b.mp4", content_type="video/mp4"))
    forged = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        for place in range(len(token) - 1)
    ]
    forged += [
        "",
        ".",
        "..",
        token[:-1],
        token + "A",
        token + ".x",
        "é.ü",
        "\0",
        "x" * 10_000,
        "\ud800.\ud800",
    ]
    forged += [f"{token.partition('.')[0]}.{other.partition('.')[2]}", f".{token.partition('.')[2]}"]
    assert [text for text in forged if storage.open_link(text) is not None] == []


def test_a_link_of_another_house_opens_nothing(local: Path, settings: pytest.MonkeyPatch) -> None:
    token = token_of(storage.link(KEY, content_type="video/mp4"))
    settings.setenv("ENCRYPTION_KEY", "another key of thirty-two signs!")
    config.get.cache_clear()
    assert storage.open_link(token) is None


@pytest.mark.parametrize("seconds", [0, -1, 901])
def test_a_link_lives_at_most_15_minutes(local: Path, seconds: int) -> None:
    with pytest.raises(Refused):
        storage.link(KEY, seconds=seconds, content_type="video/mp4")


@pytest.mark.parametrize(
    "content_type", ["", "video", "video/mp4\r\nX: y", "text/html; charset=x y", "a/b,c/d"]
)
def test_a_link_carries_no_odd_content_type(local: Path, content_type: str) -> None:
    with pytest.raises(Refused):
        storage.link(KEY, content_type=content_type)
