from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import media
from app.config import POSITIONS
from app.errors import Refused

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
        "title": {
            "text": "Hi",
            "position": "center",
            "sizePercent": 8.0,
            "colour": "#ffcc00",
            "font": "Vollkorn",
            "opacity": 0.7,
            "marginPx": 40,
        },
        "captions": {
            "enabled": True,
            "srt": SRT,
            "mode": "both",
            "language": "pt-BR",
            "sizePercent": 5.0,
            "position": "top",
            "colour": "#ffee00",
            "background": "#102030",
            "font": "Kaushan Script",
        },
        "effects": ["fade-in", "warm", "blur-fill", "loudness"],
        "frame": {"aspect": "4:5", "fit": "crop", "focusX": 0.2, "focusY": 1.0, "colour": "#ffffff"},
        "intro": {"url": "asset:7"},
        "outro": {"url": "asset:8"},
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
        ({"captions": {"enabled": True, "srt": "WEBVTT\n\nno times here"}}, "design.captions.srt"),
        ({"captions": {"srt": "x" * 500_001}}, "design.captions.srt"),
        ({"captions": {"mode": "aside"}}, "design.captions.mode"),
        ({"captions": {"language": "en/../x"}}, "design.captions.language"),
        ({"captions": {"language": 7}}, "design.captions.language"),
        ({"captions": {"sizePercent": 15.1}}, "design.captions.sizePercent"),
        ({"captions": {"sizePercent": 0.9}}, "design.captions.sizePercent"),
        ({"captions": {"position": "under"}}, "design.captions.position"),
        ({"captions": {"background": "transparent"}}, "design.captions.background"),
        ({"captions": {"font": "Comic Sans"}}, "design.captions.font"),
        ({"title": {"text": "x", "font": ["Noto Sans"]}}, "design.title.font"),
        ({"title": {"text": "x", "opacity": -0.1}}, "design.title.opacity"),
        ({"title": {"text": "x", "marginPx": 1001}}, "design.title.marginPx"),
        ({"frame": "9:16"}, "design.frame"),
        ({"frame": {"aspect": "9:17"}}, "design.frame.aspect"),
        ({"frame": {"fit": "stretch"}}, "design.frame.fit"),
        ({"frame": {"focusX": 1.01}}, "design.frame.focusX"),
        ({"frame": {"focusY": -0.01}}, "design.frame.focusY"),
        ({"frame": {"colour": "black"}}, "design.frame.colour"),
        ({"frame": {"ratio": 1}}, "design.frame.ratio"),
        ({"intro": {}}, "design.intro.url"),
        ({"intro": {"url": "https://example.com/a.mp4"}}, "design.intro.url"),
        ({"intro": {"url": "asset:0"}}, "design.intro.url"),
        ({"outro": {"url": 7}}, "design.outro.url"),
        ({"outro": "asset:7"}, "design.outro"),
        ({"outro": {"url": "asset:7", "length": 3}}, "design.outro.length"),
        ({"effects": ["explode"]}, "design.effects.0"),
        ({"effects": ["fade-in", {"a": 1}]}, "design.effects.1"),
        ({"effects": "fade-in"}, "design.effects"),
    ],
)
def test_what_cannot_be_drawn_is_refused_under_its_full_name(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        media.read_design(asked)
    assert list(refused.value.fields) == [field]


def test_an_old_design_is_read_and_written_in_its_old_words() -> None:
    old = {
        "watermark": {"position": "topleft", "opacity": 0.5, "marginPx": 10, "scale": 0.2},
        "title": {"text": "Hi", "position": "center", "sizePercent": 8.0, "colour": "#ffcc00"},
        "captions": {"enabled": True, "srt": SRT},
        "effects": ["fade-in", "blur-fill"],
    }
    assert media.read_design(old).to_json() == old


def test_blur_fill_is_a_blurred_frame_of_nine_to_sixteen_unless_the_frame_says_otherwise() -> None:
    design = media.read_design({"effects": ["blur-fill"]})
    assert (design.framed.aspect, design.framed.fit) == ("9:16", "blur")
    design = media.read_design({"effects": ["blur-fill"], "frame": {"aspect": "1:1"}})
    assert (design.framed.aspect, design.framed.fit) == ("1:1", "blur")
    design = media.read_design({"frame": {"aspect": "16:9", "fit": "pad"}})
    assert design.framed == design.frame


@pytest.mark.parametrize(
    ("asked", "picture", "sound"),
    [
        ({}, False, False),
        ({"frame": {}}, False, False),
        ({"frame": {"aspect": "1:1"}}, True, False),
        ({"effects": ["blur-fill"]}, True, False),
        ({"effects": ["vivid"]}, True, False),
        ({"effects": ["loudness"]}, False, True),
        ({"effects": ["fade-out"]}, True, True),
        ({"intro": {"url": "asset:1"}}, True, True),
        ({"outro": {"url": "asset:1"}}, True, True),
        ({"title": {"text": "x"}}, True, False),
        ({"captions": {"enabled": True, "srt": SRT}}, True, False),
        ({"captions": {"enabled": True, "srt": SRT, "mode": "both"}}, True, False),
        ({"captions": {"enabled": True, "srt": SRT, "mode": "side"}}, False, False),
        ({"captions": {"enabled": False, "srt": SRT, "mode": "both"}}, False, False),
    ],
)
def test_a_design_knows_what_it_changes(asked: dict[str, Any], picture: bool, sound: bool) -> None:
    design = media.read_design(asked)
    assert (design.changes_picture, design.changes_sound) == (picture, sound)


def test_captions_go_where_they_were_asked_for() -> None:
    for mode, burned, side in (("burned", SRT, None), ("side", None, SRT), ("both", SRT, SRT)):
        design = media.read_design({"captions": {"enabled": True, "srt": SRT, "mode": mode}})
        assert (design.burned_text, design.side_text) == (burned, side)


def test_every_limit_is_taken_itself() -> None:
    for asked in (
        {"frame": {"focusX": 0, "focusY": 1}},
        {"captions": {"sizePercent": 1}},
        {"captions": {"sizePercent": 15, "language": "und"}},
        {"title": {"text": "x" * 300, "sizePercent": 30, "opacity": 0, "marginPx": 1000}},
        {"intro": {"url": "asset:999999999999999999"}},
        *({"effects": [name]} for name in media.EFFECTS),
        *({"frame": {"aspect": aspect, "fit": fit}} for aspect in media.ASPECTS for fit in media.FITS),
        *({"captions": {"mode": mode}} for mode in media.MODES),
        *({"title": {"text": "x", "font": font}} for font in media.FONTS),
    ):
        assert media.read_design(media.read_design(asked).to_json()) == media.read_design(asked)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(Refused) as refused:
        media.read_design({"title": {"text": ""}, "effects": ["explode"], "music": 1, "intro": {"url": ""}})
    assert set(refused.value.fields) == {
        "design.title.text",
        "design.effects.0",
        "design.music",
        "design.intro.url",
    }


colours = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)
positions = st.sampled_from(POSITIONS)
parts = st.floats(0, 1)
clips = st.builds(media.Bookend, st.integers(1, 10**18 - 1).map("asset:{}".format))
designs = st.builds(
    media.Design,
    watermark=st.none()
    | st.builds(
        media.Watermark,
        st.none() | st.just("asset:7"),
        positions,
        parts,
        st.integers(0, 1000),
        st.floats(0.01, 1),
    ),
    title=st.none()
    | st.builds(
        media.Title,
        st.text(min_size=1, max_size=300).filter(str.strip),
        positions,
        st.floats(1, 30),
        colours,
        st.sampled_from(media.FONTS),
        parts,
        st.none() | st.integers(0, 1000),
    ),
    captions=st.none()
    | st.builds(
        media.Captions,
        st.booleans(),
        st.none() | st.just(SRT),
        st.sampled_from(media.MODES),
        st.sampled_from(("und", "en", "pt-BR", "zh-Hant")),
        st.floats(1, 15),
        positions,
        colours,
        st.none() | colours,
        st.sampled_from(media.FONTS),
    ),
    effects=st.sets(st.sampled_from(media.EFFECTS)).map(
        lambda names: tuple(name for name in media.EFFECTS if name in names)
    ),
    frame=st.none()
    | st.builds(
        media.Frame, st.sampled_from(tuple(media.ASPECTS)), st.sampled_from(media.FITS), parts, parts, colours
    ),
    intro=st.none() | clips,
    outro=st.none() | clips,
)


@settings(max_examples=100, deadline=None)
@given(designs)
def test_every_design_is_read_again_as_it_was_written(design: media.Design) -> None:
    assert media.read_design(json.loads(json.dumps(design.to_json()))) == design
