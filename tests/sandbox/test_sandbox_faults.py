"""Section 9, item 11: what goes wrong when asked to, on a real line with a real client."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from sandbox_kit import CLIENT, POSTING, REDIRECT, Client, Process, sha256

CUT = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)


def raw(world: Client, request: bytes) -> bytes:
    """Send bytes on a bare socket and give every byte that comes back until the line ends."""
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as line:
        line.sendall(request)
        answer = b""
        try:
            while piece := line.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def incomplete(world: Client) -> int:
    return len(world.ledger(all=1)["incomplete"])


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "act_after_cut"])
@pytest.mark.parametrize("close", [b"close", b"keep-alive"])
def test_a_cut_line_carries_not_one_byte(world: Client, fault: str, close: bytes) -> None:
    world.arm(fault, step="user_info", times=2)
    request = b"GET /sandbox/tiktok/v2/user/info/ HTTP/1.1\r\nHost: x\r\nConnection: " + close + b"\r\n\r\n"
    assert raw(world, request) == b""
    assert raw(world, request) == b""
    assert raw(world, request.replace(b"keep-alive", b"close")).startswith(b"HTTP/1.1 401")


def test_a_cut_hits_its_own_line_only(world: Client) -> None:
    maya = world.person()
    world.arm("drop_before", step="status")
    with httpx2.Client(base_url=world.http.base_url, trust_env=False) as other:
        assert other.get("/faults").status_code == 200
        with pytest.raises(CUT):
            maya.status("v_pub_file~x")
        assert other.get("/faults").json() == {"faults": []}


def test_dropped_before_nothing_is_done_dropped_after_it_is(world: Client, clip: bytes) -> None:
    maya = world.person()
    url = maya.init(len(clip)).json()["data"]["upload_url"]
    world.arm("drop_before", step="upload")
    with pytest.raises(CUT):
        world.put(url, clip)
    assert world.posts == []
    world.arm("stored_no_answer")
    with pytest.raises(CUT):
        world.put(url, clip)
    assert [post["sha256"] for post in world.posts] == [sha256(clip)]
    assert world.put(url, clip).status_code == 416


@pytest.mark.parametrize(
    ("fault", "status", "done"),
    [
        ("error_before", 500, False),
        ("error_after", 500, True),
        ("junk_after", 200, True),
        ("rate_limit", 429, False),
    ],
)
def test_answers_that_lie_or_tell(world: Client, clip: bytes, fault: str, status: int, done: bool) -> None:
    maya = world.person()
    url = maya.init(len(clip)).json()["data"]["upload_url"]
    world.arm(fault, step="init")
    assert maya.init(100).status_code == status
    assert incomplete(world) == (2 if done else 1)
    world.arm(fault, step="last_chunk")
    assert world.put(url, clip).status_code == status
    assert len(world.posts) == (1 if done else 0)


def test_oauth_errors_stay_flat(world: Client) -> None:
    maya = world.person()
    world.arm("error_before", step="token")
    answer = world.refresh(maya.tokens["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    world.arm("drop_after", step="token")
    with pytest.raises(CUT):
        world.refresh(maya.tokens["refresh_token"])
    assert world.refresh(maya.tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_the_last_chunk_can_be_hit_alone(world: Client) -> None:
    chunk, whole = 5_242_880, b"x" * (2 * 5_242_880)
    url = world.person().init(len(whole), chunk, 2).json()["data"]["upload_url"]
    world.arm("drop_after", step="last_chunk")
    assert world.put(url, whole[:chunk], 0, len(whole)).status_code == 206
    with pytest.raises(CUT):
        world.put(url, whole[chunk:], chunk, len(whole))
    assert world.put(url, whole[chunk:], chunk, len(whole)).status_code == 416


def test_a_slow_answer_comes_after_the_act(world: Client) -> None:
    maya = world.person()
    world.arm("slow", step="init", seconds=0.3)
    started = time.monotonic()
    assert maya.init(100).status_code == 200
    assert time.monotonic() - started >= 0.3


def test_tokens_can_be_expired_at_once_or_right_before_a_step(world: Client) -> None:
    maya, ben = world.person(), world.person("Ben")
    answer = world.http.post("/faults", json={"fault": "token_expired", "account": maya.username})
    assert answer.json()["expired"] == 1
    assert maya.creator_info().status_code == 401
    assert ben.creator_info().status_code == 200
    world.arm("token_expired", step="status")
    publish_id = ben.init(100).json()["data"]["publish_id"]
    assert ben.status(publish_id).status_code == 401
    ben.tokens = world.refresh(ben.tokens["refresh_token"]).json()
    assert ben.status(publish_id).status_code == 200


def test_the_last_chunk_can_take_effect_after_the_cut(world: Client, clip: bytes) -> None:
    maya = world.person()
    begun = maya.init(len(clip)).json()["data"]
    world.arm("act_after_cut", step="upload", afterS=20)
    with pytest.raises(CUT):
        world.put(begun["upload_url"], clip)
    assert maya.state(begun["publish_id"])["uploaded_bytes"] == 0 and world.posts == []
    world.later(21)
    (post,) = world.posts
    assert post["sha256"] == sha256(clip)
    assert maya.state(begun["publish_id"])["uploaded_bytes"] == len(clip)


def test_a_resend_before_the_late_act_counts_once(world: Client, clip: bytes) -> None:
    maya = world.person()
    url = maya.init(len(clip)).json()["data"]["upload_url"]
    world.arm("act_after_cut", step="upload", afterS=20)
    with pytest.raises(CUT):
        world.put(url, clip)
    assert world.put(url, clip).status_code == 201
    world.later(21)
    assert len(world.posts) == 1
    assert list((world.home / "files").glob("part-*")) == []


def test_an_init_and_a_refresh_can_take_effect_after_the_cut(world: Client) -> None:
    maya = world.person()
    world.arm("act_after_cut", step="init", afterS=20)
    with pytest.raises(CUT):
        maya.init(100)
    assert incomplete(world) == 0
    world.later(21)
    assert incomplete(world) == 1
    world.arm("act_after_cut", step="token", afterS=20)
    with pytest.raises(CUT):
        world.refresh(maya.tokens["refresh_token"])
    world.later(21)
    assert world.refresh(maya.tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_late_act_survives_a_kill(start_process: Callable[[], Process], clip: bytes) -> None:
    before = start_process()
    maya = before.client.person()
    before.client.arm("act_after_cut", step="upload", afterS=30)
    with pytest.raises(CUT):
        maya.posted(clip)
    before.kill()
    after = start_process().client
    assert after.posts == []
    after.later(31)
    assert [post["sha256"] for post in after.posts] == [sha256(clip)]


def test_a_share_of_calls_falls_out_the_same_for_the_same_seed(start: Any, tmp_path: Any) -> None:
    def run(name: str) -> list[bool]:
        world = start(tmp_path / name)
        world.arm("error_before", step="user_info", rate=0.3, seed=7)
        return [world.http.get("/tiktok/v2/user/info/").status_code == 500 for _ in range(40)]

    first, second = run("one"), run("two")
    assert first == second
    assert 4 <= sum(first) <= 20


def test_a_fault_hits_its_account_its_step_and_its_times_only(world: Client) -> None:
    maya, ben = world.person(), world.person("Ben")
    world.arm("error_before", step="creator_info", account=maya.username, times=2)
    assert ben.creator_info().status_code == 200
    assert maya.init(100).status_code == 200
    assert [maya.creator_info().status_code for _ in range(3)] == [500, 500, 200]


def test_faults_are_listed_and_cleared(world: Client) -> None:
    armed = world.arm("drop_after", rate=0.5, seed=1)
    assert armed["rate"] == 0.5 and "remaining" not in armed
    assert [each["fault"] for each in world.http.get("/faults").json()["faults"]] == ["drop_after"]
    assert "drop_after" in world.http.get("/").text
    assert world.http.delete("/faults").json() == {"cleared": 1}
    assert world.http.get("/faults").json() == {"faults": []}


@pytest.mark.parametrize(
    "body",
    [
        {"fault": "explode"},
        {"fault": "slow", "step": "nowhere"},
        {"fault": "slow", "times": 0},
        {"fault": "slow", "rate": 2},
        {"fault": "slow", "seconds": -1},
        {"fault": "fail", "reason": "because"},
        {"fault": "slow", "color": "red"},
        [],
    ],
)
def test_a_fault_that_cannot_be_is_refused(world: Client, body: Any) -> None:
    assert world.http.post("/faults", json=body).status_code == 400
    assert world.http.get("/faults").json() == {"faults": []}


@pytest.mark.parametrize(
    ("fault", "tag"), [("internal", ""), ("spam_risk_text", ""), ("", "#sandbox-internal")]
)
def test_a_post_can_be_made_to_fail(world: Client, clip: bytes, fault: str, tag: str) -> None:
    maya = world.person()
    if fault:
        world.arm(fault)
    publish_id = maya.posted(clip, title=f"Knots {tag}")
    assert maya.state(publish_id)["status"] == "PROCESSING_UPLOAD"
    world.later(1.1)
    state = maya.state(publish_id)
    assert (state["status"], state["fail_reason"]) == ("FAILED", fault or "internal")
    assert world.posts == [] and len(world.ledger(all=1)["rejected"]) == 1
    assert maya.state(maya.posted(clip))["status"] == "PROCESSING_UPLOAD"
    assert len(world.posts) == 1


def test_caption_tags_break_the_init_and_the_last_chunk(world: Client, clip: bytes) -> None:
    maya = world.person()
    assert maya.init(100, title="a #sandbox-error-before").status_code == 500
    assert incomplete(world) == 0
    assert maya.init(100, title="#sandbox-error-after\nb").status_code == 500
    assert incomplete(world) == 1
    assert maya.init(100, title="#sandbox-rate-limit").status_code == 429
    with pytest.raises(CUT):
        maya.posted(clip, title="#sandbox-drop-last-chunk")
    assert len(world.posts) == 1
    assert maya.init(100, title="not#sandbox-error-before").status_code == 200


def test_processing_and_moderation_can_be_slow(world: Client, clip: bytes) -> None:
    world.apps(audited=True)
    maya = world.person(private=False)
    world.arm("processing_delay", seconds=100)
    world.arm("moderation_delay", seconds=1000)
    publish_id = maya.posted(clip, privacy_level="PUBLIC_TO_EVERYONE")
    world.later(95)
    assert maya.state(publish_id)["status"] == "PROCESSING_UPLOAD"
    world.later(10)
    assert maya.state(publish_id)["publicaly_available_post_id"] == []
    world.later(1000)
    assert len(maya.state(publish_id)["publicaly_available_post_id"]) == 1


def test_the_ledger_counts_calls_by_step(world: Client, clip: bytes) -> None:
    world.person().posted(clip)
    assert world.ledger(all=1)["calls"] == {"token": 1, "init": 1, "upload": 1, "last_chunk": 1}
    assert set(world.ledger()) == {"posts"}


def test_a_cut_during_authorize_and_revoke(world: Client) -> None:
    maya = world.person()
    world.arm("drop_before", step="authorize")
    with pytest.raises(CUT):
        world.http.get(
            "/tiktok/v2/auth/authorize/", params={"client_key": "sandbox", "redirect_uri": REDIRECT}
        )
    world.arm("drop_after", step="revoke")
    with pytest.raises(CUT):
        world.http.post("/tiktok/v2/oauth/revoke/", data=CLIENT | {"token": maya.tokens["access_token"]})
    assert maya.creator_info().status_code == 401
    assert maya.call(f"{POSTING}/cancel/", {"publish_id": "x"}).status_code == 401
