from __future__ import annotations

from typing import Any

import pytest

from app import media
from app.errors import Refused
from app.media.lettering import JOINER, letter, plain
from app.media.srt import read_srt

SRT = "1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i>\nthere\n\n2\n00:03.1 --> 00:04.25\nAgain\n"


def test_nothing_is_on_until_it_is_asked_for() -> None:
    nothing: tuple[dict[str, Any] | None, ...] = (
        None,
        {},
        {"watermark": None, "effects": []},
        {"captions": {"enabled": False, "srt": SRT}},
    )
    for asked in nothing:
        assert not media.read_design(asked).changes_picture
    assert not media.read_design({"captions": {"enabled": True}}).changes_picture


def test_a_full_design_is_read_and_written_the_same() -> None:
    asked = {
        "watermark": {
            "url": "https://example.com/logo.png",
            "position": "topleft",
            "opacity": 0.5,
            "marginPx": 10,
            "scale": 0.2,
        },
        "title": {"text": "Hi", "position": "center", "sizePercent": 8.0, "colour": "#ffcc00"},
        "captions": {"enabled": True, "srt": SRT},
        "effects": ["fade-in", "blur-fill"],
    }
    design = media.read_design(asked)
    assert design.changes_picture
    assert design.to_json() == asked
    assert media.read_design(design.to_json()) == design


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"colour": "red"}, "design.colour"),
        ({"watermark": {"url": "https://a.b/c", "position": "middle"}}, "design.watermark.position"),
        ({"watermark": {"url": "https://a.b/c", "position": ["top"]}}, "design.watermark.position"),
        ({"watermark": {"url": "file:///etc/passwd"}}, "design.watermark.url"),
        ({"watermark": {"url": "https://[bad"}}, "design.watermark.url"),
        ({"watermark": {"url": "https://a.b/c", "opacity": 1.1}}, "design.watermark.opacity"),
        ({"watermark": {"url": "https://a.b/c", "opacity": True}}, "design.watermark.opacity"),
        ({"watermark": {"url": "https://a.b/c", "scale": float("nan")}}, "design.watermark.scale"),
        ({"watermark": {"url": "https://a.b/c", "marginPx": -1}}, "design.watermark.marginPx"),
        ({"watermark": {"url": "https://a.b/c", "drop": 1}}, "design.watermark.drop"),
        ({"watermark": "logo.png"}, "design.watermark"),
        ({"title": {}}, "design.title.text"),
        ({"title": {"text": "x" * 301}}, "design.title.text"),
        ({"title": {"text": "x", "colour": "red'"}}, "design.title.colour"),
        ({"title": {"text": "x", "sizePercent": "6"}}, "design.title.sizePercent"),
        ({"captions": {"enabled": "yes"}}, "design.captions.enabled"),
        ({"captions": {"enabled": True, "srt": "no times here"}}, "design.captions.srt"),
        ({"effects": ["explode"]}, "design.effects.0"),
        ({"effects": ["fade-in", {"a": 1}]}, "design.effects.1"),
        ({"effects": "fade-in"}, "design.effects"),
    ],
)
def test_what_cannot_be_drawn_is_refused_under_its_full_name(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        media.read_design(asked)
    assert list(refused.value.fields) == [field]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(Refused) as refused:
        media.read_design({"title": {"text": ""}, "effects": ["explode"], "music": 1})
    assert set(refused.value.fields) == {"design.title.text", "design.effects.0", "design.music"}


def test_captions_are_read_without_their_marks() -> None:
    first, second = read_srt(SRT)
    assert (first.start_ms, first.end_ms, first.text) == (1000, 2500, "Hello\nthere")
    assert (second.start_ms, second.end_ms, second.text) == (3100, 4250, "Again")


@pytest.mark.parametrize(
    "text", ["{\\an8}x", "a\\Nb\\hc\\nd", "\\{", "{", "x\\", "{\\p1}m 0 0{\\p0}", "\\\\N"]
)
def test_no_words_become_a_command_of_the_lettering(text: str) -> None:
    written = plain(text)
    rest = written.replace("\\" + JOINER, "").replace("\\{", "")
    assert "\\" not in rest
    assert "{" not in rest
    assert written.replace(JOINER, "").replace("\\{", "{") == text


def test_a_line_break_in_a_title_starts_no_new_event() -> None:
    title = media.Title("one\r\ntwo\u2028Dialogue: 0,0:00:00.00,0:00:09.00,Title,,0,0,0,,three\x00\x1b")
    written = letter(title, (), width_px=640, height_px=360, duration_s=1)
    assert sum(line.startswith("Dialogue:") for line in written.splitlines()) == 1
    assert "one\\Ntwo\\N" in written


def test_lone_surrogates_and_direction_marks_do_not_reach_the_file() -> None:
    assert plain("a\ud800b\u202ec").encode() == b"a b c"
