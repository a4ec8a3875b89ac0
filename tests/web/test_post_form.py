"""The composer's form and a platform's post say the same thing, whichever is made from the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app import platforms
from app.errors import Refused
from app.platforms import Post
from app.web import post_form
from app.web.post_form import Typed

FULL = Post(
    title="Three knots 🪢",
    description="Practise with 2 m of rope.\nThen again.",
    privacy_level="SELF_ONLY",
    disable_duet=True,
    cover_ms=1500,
    brand_content=True,
    ai_generated=True,
    kind="reel",
    tags=("sailing", "learn to sail"),
    category_id="26",
    made_for_kids=False,
    notify=False,
    share_to_feed=False,
    alt_text="A rope",
    collaborators=("noor", "kai"),
    first_comment="Which one do you use?",
    native_at="2027-03-02T07:00:00+00:00",
    use_cover=True,
    pictures=(4, 2),
)
PLAIN = Post(disable_comment=True, disable_duet=True, disable_stitch=True)


def only(post: Post, offered: tuple[str, ...]) -> Post:
    """The post with what a platform offers, and nothing else."""
    return Post(**{name: getattr(post, name) for name in offered})


@pytest.mark.parametrize("platform", platforms.NAMES)
@pytest.mark.parametrize("post", [FULL, PLAIN, replace(FULL, brand_content=False, made_for_kids=True)])
def test_a_post_written_into_the_form_is_read_from_it_again(platform: str, post: Post) -> None:
    offered = platforms.get(platform).FIELDS
    wanted = only(post, offered)
    for common in ("", "Words for all", str(getattr(wanted, post_form.text_field(offered)))):
        fields = {"text": common, **post_form.written(wanted, 7, offered, common)}
        typed = post_form.read([*fields.items(), ("account", "7")])
        assert post_form.post_of(typed, 7, offered) == wanted
        kept = Typed.from_json(typed.having({"key": "k", "draft": "3"}).to_json())
        assert post_form.post_of(kept, 7, offered) == wanted
        assert kept.accounts == (7,) and "key" not in kept.fields and "draft" not in kept.fields


def test_a_line_ends_in_one_character_however_the_browser_sends_it() -> None:
    typed = post_form.read([("text", "one\r\ntwo\rthree\nfour")])
    assert typed.get("text") == "one\ntwo\nthree\nfour"


def test_names_that_the_form_does_not_have_are_left_out() -> None:
    typed = post_form.read(
        [("text", "a"), ("7-title", "b"), ("7-state", "c"), ("0-title", "d"), ("csrf", "e"), ("x-title", "f")]
    )
    assert dict(typed.fields) == {"text": "a", "7-title": "b"}


def test_fifty_accounts_are_taken_and_one_more_is_refused() -> None:
    fifty = [("account", str(number)) for number in range(1, 51)]
    assert len(post_form.read([*fifty, ("account", "50")]).accounts) == 50
    with pytest.raises(Refused) as refused:
        post_form.read([*fifty, ("account", "51")])
    assert "account" in refused.value.fields


@pytest.mark.parametrize(
    ("said", "cover_ms"),
    [("", None), ("0", 0), ("1.5", 1500), ("1,25", 1250), ("-1", None), ("1.2345", None), ("soon", None)],
)
def test_the_second_of_the_cover_is_read_or_named(said: str, cover_ms: int | None) -> None:
    typed = Typed({"7-cover_s": said})
    assert post_form.post_of(typed, 7, ("title", "cover_ms")).cover_ms == cover_ms
    wrong = bool(said) and cover_ms is None
    assert ("cover_s" in post_form.problems_of(typed, 7, ("title", "cover_ms"))) is wrong


def test_commercial_content_names_whose_it_is_and_is_nothing_when_switched_off() -> None:
    offered = ("title", "brand_content", "brand_organic")
    on = Typed({"7-commercial": "1"})
    assert post_form.problems_of(on, 7, offered) == {"commercial": post_form.NEEDS_ONE}
    named = on.having({"7-brand_organic": "1"})
    assert post_form.problems_of(named, 7, offered) == {}
    assert post_form.post_of(named, 7, offered).brand_organic
    off = Typed({"7-brand_organic": "1", "7-brand_content": "1"})
    assert post_form.post_of(off, 7, offered) == Post()


def test_a_platforms_own_schedule_needs_a_time() -> None:
    offered = ("title", "native_at")
    ticked = Typed({"7-native": "1"})
    assert post_form.problems_of(ticked, 7, offered) == {"native": post_form.NO_TIME}
    at = "2027-03-02T07:00:00+00:00"
    assert post_form.problems_of(ticked, 7, offered, at) == {}
    assert post_form.post_of(ticked, 7, offered, at).native_at == at
    assert post_form.post_of(Typed(), 7, offered, at).native_at == ""


def test_a_story_goes_out_without_the_words_for_all() -> None:
    typed = Typed({"text": "For all", "7-kind": "story", "7-first_comment": "Mine"})
    assert post_form.post_of(typed, 7, ("title", "kind", "first_comment")) == Post(kind="story")


def test_own_words_stand_in_place_of_the_words_for_all_only_where_they_were_asked_for() -> None:
    typed = Typed({"text": "For all", "7-text": "For one"})
    assert post_form.post_of(typed, 7, ("title",)).title == "For all"
    assert post_form.post_of(typed.having({"7-own": "1"}), 7, ("title",)).title == "For one"
    described = post_form.post_of(typed.having({"7-title": "Knots"}), 7, ("title", "description"))
    assert (described.title, described.description) == ("Knots", "For all")
