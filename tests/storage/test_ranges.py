from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.storage import Unsatisfiable, parse_range

GONE = Unsatisfiable(100)


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (None, None),
        ("", None),
        ("bytes=0-", (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=99-99", (99, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=0-1000", (0, 100)),
        ("Bytes=5-6", (5, 7)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=100-", GONE),
        ("bytes=100-200", GONE),
        ("bytes=-0", GONE),
        (f"bytes={'9' * 5000}-", GONE),
        (f"bytes=0-{'9' * 5000}", (0, 100)),
        (f"bytes={'0' * 5000}1-2", (1, 3)),
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=1", None),
        ("bytes=--1", None),
        ("bytes=٣-٤", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("0-1", None),
    ],
)
def test_a_range_header_asks_for_these_bytes(
    header: str | None, answer: tuple[int, int] | Unsatisfiable | None
) -> None:
    assert parse_range(header, 100) == answer


@pytest.mark.parametrize(
    ("header", "answer"), [("bytes=0-", Unsatisfiable(0)), ("bytes=-5", None), ("bytes=-0", Unsatisfiable(0))]
)
def test_an_empty_file_has_no_bytes_to_ask_for(header: str, answer: Unsatisfiable | None) -> None:
    assert parse_range(header, 0) == answer


@given(
    st.text(max_size=30) | st.from_regex(r"bytes=[0-9]{0,6}-[0-9]{0,6}", fullmatch=True),
    st.integers(0, 10**6),
)
def test_whatever_is_asked_the_answer_lies_inside_the_file(header: str, size: int) -> None:
    match parse_range(header, size):
        case (start, end):
            assert 0 <= start < end <= size
        case Unsatisfiable(told):
            assert told == size
