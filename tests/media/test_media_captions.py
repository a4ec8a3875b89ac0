from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import media
from app.media.captions import MOST_CAPTIONS, Caption

SRT = "1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i>\nthere\n\n2\n00:03.1 --> 00:04.25\nAgain\n"
WEB = """WEBVTT - made by hand
Kind: captions

NOTE
00:00:00.000 --> 00:00:09.000 is only talked about here

STYLE
::cue { color: red }

REGION
id:left

intro
00:01.000 --> 00:02.500 align:start position:10% line:-1
<v Roger Bingham><c.loud>Hello</c></v> &amp; <00:00:01.500>bye &lt;3

100:00:03.000 --> 100:00:04.000
Late
"""


def said(text: str) -> list[tuple[int, int, str]]:
    return [(caption.start_ms, caption.end_ms, caption.text) for caption in media.read_captions(text)]


def test_subrip_is_read_without_its_marks() -> None:
    assert said(SRT) == [(1000, 2500, "Hello\nthere"), (3100, 4250, "Again")]
    assert said("1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<font color=red>Up</font> {here}\n") == [
        (1000, 2000, "Up {here}")
    ]


def test_webvtt_is_read_without_notes_styles_settings_and_voices() -> None:
    hour_ms = 3_600_000
    assert said(WEB) == [
        (1000, 2500, "Hello & bye <3"),
        (100 * hour_ms + 3000, 100 * hour_ms + 4000, "Late"),
    ]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("text", [SRT, WEB])
def test_marks_at_the_beginning_and_ends_of_lines_change_nothing(text: str, ends: str) -> None:
    assert said("\ufeff" + text.replace("\n", ends)) == said(text)


def test_what_is_damaged_is_left_out_and_the_rest_is_read() -> None:
    damaged = (
        "00:00:05,000 --> 00:00:04,000\nbackwards\n\n"
        "00:00:01,000 --> 00:00:02,000\n\n"
        "00:00:xx --> 00:00:02,000\nno time\n\n"
        "7\n00:00:06 --> 00:00:07\nwithout parts of a second\n8\n00:00:08,5 --> 00:00:09,5\nno empty line before\n"
        "00:00:10,000 --> 00:00:11,000"
    )
    assert said(damaged) == [
        (6000, 7000, "without parts of a second"),
        (8500, 9500, "no empty line before"),
    ]


def test_captions_come_in_the_order_of_their_times() -> None:
    assert [text for _, _, text in said("00:02.0 --> 00:03.0\nb\n\n00:01.0 --> 00:09.0\na\n")] == ["a", "b"]


def test_no_more_captions_are_read_than_can_be_drawn() -> None:
    many = "00:01.0 --> 00:02.0\nx\n\n" * (MOST_CAPTIONS + 1)
    assert len(media.read_captions(many)) == MOST_CAPTIONS


@pytest.mark.parametrize(
    "part",
    ["<", "<b ", "WEBVTT\n<c", "00:", "0:00:00,0 -->", "&", "{\\an", " ", "\r", "9" * 50, "-->", "\x1c"],
)
def test_a_hostile_file_is_read_as_quickly_as_any_other(part: str) -> None:
    text = ("WEBVTT\n\n00:01.0 --> 00:02.0\n" + part * (500_000 // len(part)))[:500_000]
    started = time.process_time()
    media.read_captions(text)
    media.read_captions(part * (500_000 // len(part)))
    assert time.process_time() - started < 2


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                [
                    "WEBVTT",
                    "\n",
                    "\n\n",
                    "00:01.000",
                    " --> ",
                    "00:02.000",
                    "NOTE ",
                    "<b>",
                    "&amp;",
                    "1",
                    "x",
                    "\ufeff",
                ]
            )
        ).map("".join),
    )
)
def test_nothing_that_is_sent_makes_reading_fail(text: str) -> None:
    for caption in media.read_captions(text):
        assert caption.end_ms > caption.start_ms >= 0
        assert caption.text.strip()
    media.read_captions("WEBVTT\n\n00:01.000 --> 00:02.000\n" + text)


captions = st.lists(
    st.builds(
        Caption,
        start_ms=st.integers(0, 10**7),
        end_ms=st.integers(10**7 + 1, 2 * 10**7),
        text=st.text(st.characters(codec="utf-8"), max_size=40),
    ),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(captions, st.integers(0, 10**6))
def test_what_is_written_is_read_again_as_it_was_but_later(given_: list[Caption], shift_ms: int) -> None:
    written = media.vtt(given_, shift_ms=shift_ms)
    again = media.read_captions(written)
    assert written.startswith("WEBVTT\n")
    assert media.vtt(again) == written
    spoken = [
        caption for caption in given_ if any(ch.isprintable() and not ch.isspace() for ch in caption.text)
    ]
    assert sorted(caption.start_ms for caption in again) == sorted(c.start_ms + shift_ms for c in spoken)


def test_words_become_no_marks_of_webvtt() -> None:
    written = media.vtt([Caption(0, 1000, "<b>a</b> & --> \n\n\x00 00:00.000 --> 00:09.000")])
    assert written == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n"
        "&lt;b&gt;a&lt;/b&gt; &amp; --&gt;\n00:00.000 --&gt; 00:09.000\n"
    )
    assert len(re.findall("-->", written)) == 1


def test_side_captions_come_later_by_the_intro_and_end_with_the_clip() -> None:
    three = [Caption(0, 1000, "a"), Caption(1500, 9000, "b"), Caption(3000, 4000, "c")]
    assert said(media.vtt(three, shift_ms=5000, until_ms=2000)) == [(5000, 6000, "a"), (6500, 7000, "b")]
