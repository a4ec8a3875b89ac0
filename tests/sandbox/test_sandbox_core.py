"""The straight road: connect, ask, post, see it in the ledger."""

from __future__ import annotations

import httpx2
import pytest
from sandbox_kit import Client, sha256


def test_a_posted_clip_is_in_the_ledger_with_its_hash(world: Client, clip: bytes) -> None:
    maya = world.person()
    assert maya.creator_info().json()["data"]["privacy_level_options"] == [
        "FOLLOWER_OF_CREATOR",
        "MUTUAL_FOLLOW_FRIENDS",
        "SELF_ONLY",
    ]
    publish_id = maya.posted(clip)
    assert maya.state(publish_id) == {"status": "PROCESSING_UPLOAD", "uploaded_bytes": len(clip)}
    world.later(1.1)
    assert maya.state(publish_id) == {
        "status": "PUBLISH_COMPLETE",
        "uploaded_bytes": len(clip),
        "publicaly_available_post_id": [],
    }
    (post,) = world.posts
    assert (post["account"], post["title"], post["bytes"]) == (maya.username, "Three knots", len(clip))
    assert post["sha256"] == sha256(clip)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_a_dropped_call_ends_without_one_byte_of_an_answer(world: Client, clip: bytes, fault: str) -> None:
    maya = world.person()
    world.arm(fault, step="init")
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        maya.init(len(clip))
    assert len(world.ledger(all=1)["incomplete"]) == (1 if fault == "drop_after" else 0)
