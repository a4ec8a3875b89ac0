"""What a tester can make the simulated Instagram do, and its metrics (section 9, items 9 and 10)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import instagram_kit
import pytest
from instagram_kit import WORDS, Account, account, error, posts, served
from sandbox_kit import Client

from app.sandbox.instagram import problems


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One world for these tests: each makes accounts of its own."""
    with served(tmp_path_factory.mktemp("world")) as client:
        yield client


@pytest.fixture(autouse=True)
def _no_fault_left(world: Client) -> Iterator[None]:
    yield
    world.http.delete("/faults")


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return instagram_kit.reel(tmp_path_factory.mktemp("reel") / "reel.mp4")


@pytest.fixture(scope="module")
def maya(world: Client) -> Account:
    return account(world)


# Metrics (item 9)


def test_metrics_are_offered_by_kind_and_grow(world: Client, reel: bytes) -> None:
    who = account(world)
    post = who.posted(reel)
    assert who.get(f"{post}/insights", metric="views,reach,saved").json() == {"data": []}, "missing is not 0"
    assert error(who.get(f"{post}/insights", metric="views,impressions"))[0] == 100
    assert error(who.get(f"{post}/insights", metric="views,replies"))[0] == 100, "that is a story's"
    numbers = []
    for hours in (1, 10, 100):
        world.later(hours * 3600)
        (found,) = who.get(f"{post}/insights", metric="views").json()["data"]
        numbers.append(found["values"][0]["value"])
    assert numbers == sorted(set(numbers)) and numbers[0] > 0
    day = {"period": "day", "metric_type": "total_value"}
    (views,) = who.get(f"{who.id}/insights", metric="views", **day).json()["data"]
    assert views["total_value"]["value"] >= 0
    assert error(who.get(f"{who.id}/insights", metric="views", period="day"))[0] == 100
    (reach,) = who.get(f"{who.id}/insights", metric="reach", period="day").json()["data"]
    assert len(reach["values"]) == 1
    assert error(who.get(f"{who.id}/insights", metric="saved", **day))[0] == 100, "the account's is `saves`"


def test_a_storys_metrics_end_with_it(world: Client, reel: bytes) -> None:
    who = account(world, insightsAfterS=0)
    made = who.made(media_type="STORIES", upload_type="resumable")
    who.upload(made["uri"], reel)
    story = who.publish(made["id"]).json()["id"]
    few = who.get(f"{story}/insights", metric="views,navigation,link_clicks,replies")
    assert error(few) == (10, None), "not enough viewers"
    world.later(20 * 3600)
    assert who.get(f"{story}/insights", metric="views,replies").status_code == 200
    world.later(4 * 3600)
    assert error(who.get(f"{story}/insights", metric="views")) == (100, 33)


# Faults (item 10)


@pytest.mark.parametrize(("code", "subcode"), sorted(problems.WORDS))
def test_an_account_or_a_caption_can_be_made_to_answer_any_code(
    code: int, subcode: int, maya: Account
) -> None:
    assert error(maya.create(**WORDS, caption=f"#sandbox-create-{code}-{subcode}")) == (code, subcode)
    maya.change(says=f"create {code}/{subcode}")
    assert error(maya.create(**WORDS)) == (code, subcode)
    maya.change(says="")
    assert maya.create(**WORDS).status_code == 200


@pytest.mark.parametrize("reason", problems.FAIL_REASONS)
def test_a_container_can_be_made_to_fail_with_any_subcode(reason: str, world: Client, reel: bytes) -> None:
    who = account(world)
    made = who.made(**WORDS, caption=f"Words #sandbox-fail-{reason}")
    who.upload(made["uri"], reel)
    assert who.state(made["id"])["status"].endswith(reason)
    world.arm("fail", platform="instagram", reason=reason, account=who.username)
    other = who.made(**WORDS)
    who.upload(other["uri"], reel)
    assert who.state(other["id"])["status"].endswith(reason)
    assert posts(world, who) == []


@pytest.mark.parametrize(
    ("tag", "answer"), [("drop", None), ("error", 500), ("junk", 200)], ids=["cut", "500", "a page"]
)
def test_a_publish_can_lose_its_answer_after_it_was_done(
    tag: str, answer: int | None, world: Client, reel: bytes
) -> None:
    who = account(world)
    made = who.made(**WORDS, caption=f"Once #sandbox-{tag}-publish")
    who.upload(made["uri"], reel)
    if answer is None:
        with pytest.raises(httpx2.HTTPError):
            who.publish(made["id"])
    else:
        assert who.publish(made["id"]).status_code == answer
    assert who.state(made["id"])["status_code"] == "PUBLISHED"
    assert len(posts(world, who)) == 1


def test_working_can_take_longer(world: Client, reel: bytes) -> None:
    who = account(world)
    made = who.made(**WORDS, caption="#sandbox-slow-processing")
    who.upload(made["uri"], reel)
    assert who.state(made["id"])["status_code"] == "IN_PROGRESS"
    world.later(31)
    assert who.state(made["id"])["status_code"] == "FINISHED"


def test_what_was_begun_and_not_published_is_listed_apart(world: Client, reel: bytes) -> None:
    who = account(world)
    made = who.made(**WORDS, caption="Begun")
    (found,) = (
        each
        for each in world.ledger(platform="instagram", all="1")["incomplete"]
        if each["publishId"] == made["id"]
    )
    assert (found["title"], found["reason"]) == ("Begun", "IN_PROGRESS")
