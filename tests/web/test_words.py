"""The words people read: every state has one, and sizes, times and distances read well."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import accounts, publishing, videos
from app.web import words

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TONES = {"waiting", "working", "done", "needs", "failed", "off"}


def test_every_state_people_meet_has_a_word_a_tone_and_an_icon_that_exists() -> None:
    sprite = (Path(__file__).parents[2] / "static/icons.svg").read_text()
    icons = set(re.findall(r'symbol id="([^"]+)"', sprite))
    met = [
        *videos.SHOWN,
        *publishing.State,
        accounts.CONNECTED,
        accounts.NEEDS_RECONNECT,
        accounts.DISCONNECTED,
    ]
    for name in met:
        assert words.state(name) is not words.UNKNOWN, name
    for word in (*words.STATES.values(), *words.EVENTS.values(), words.UNKNOWN, words.EDITED_PLANNED):
        assert word.tone in TONES and word.icon in icons, word


def test_every_move_of_a_machine_has_a_sentence_for_the_timeline() -> None:
    moves = {f"video.{to.lower()}" for tos in videos.MACHINE.moves.values() for to in tos if to}
    moves |= {f"target.{to.lower()}" for tos in publishing.MACHINE.moves.values() for to in tos if to}
    assert moves - set(words.EVENTS) <= {"target.draft"}


def test_an_event_without_a_sentence_is_shown_by_its_name() -> None:
    assert words.event("account.token_renewed").text == "Account token renewed"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (99_600, "100 kB"),
        (22_700_000, "22.7 MB"),
        (4 * 1024**3, "4.3 GB"),
    ],
)
def test_sizes_read_as_phones_show_them(count: int, said: str) -> None:
    assert words.size(count) == said


@pytest.mark.parametrize(("seconds", "said"), [(4.6, "0:05"), (754, "12:34"), (3723, "1:02:03")])
def test_lengths_read_as_players_show_them(seconds: float, said: str) -> None:
    assert words.clock(seconds) == said


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=30), "in a moment"),
        (timedelta(minutes=-3), "3 minutes ago"),
        (timedelta(hours=5), "in 5 hours"),
        (timedelta(days=2), "in 2 days"),
        (timedelta(days=-90), "3 months ago"),
    ],
)
def test_a_distance_is_said_in_the_unit_people_use(away: timedelta, said: str) -> None:
    assert words.distance(NOW + away, NOW) == said


def test_a_time_carries_its_zone_and_the_year_only_when_it_is_another() -> None:
    at = datetime(2001, 3, 3, 7, 0, tzinfo=UTC)
    assert words.moment(at, "Europe/Kyiv") == "Sat 3 Mar 2001, 09:00 Europe/Kyiv"
    assert words.moment(at, "No/Where").endswith("07:00 No/Where")


def test_a_browser_is_called_what_people_call_it() -> None:
    agent = (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36"
    )
    assert words.browser(agent) == "Chrome on Linux"
    assert words.browser("curl/8.0") == "curl/8.0"
