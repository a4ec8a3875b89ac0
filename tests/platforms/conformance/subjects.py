"""The adapters that have to pass, and the little that differs between their simulators."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from app import platforms
from app.platforms import Platform, Post
from app.platforms.answers import Table

DAY_S = 86_400.0


@dataclass(frozen=True)
class Subject:
    """One platform. `steps` are the simulator's names of the calls of one post, in their order.

    The irreversible one is `last_chunk` everywhere and not among them; `sends` takes bytes, `asks` tells what
    became of the post, `links` is asked for its link alone, `doubts` first when the last
    call's answer was lost. `per_app` lifts the limits of a whole app.
    """

    name: str
    post: Post
    connects: str
    refreshes: str
    looks: str
    steps: tuple[str, ...]
    asks: str
    revokes: str = ""
    sends: str = "upload"
    links: str = ""
    doubts: str = ""
    least_scopes: tuple[str, ...] = ()
    per_app: dict[str, Any] = field(default_factory=dict)
    switches: dict[str, Any] = field(default_factory=dict)
    upload_lives_s: float = 8 * DAY_S

    @property
    def adapter(self) -> Platform:
        return platforms.get(self.name)

    @property
    def table(self) -> Table:
        found: Table = importlib.import_module(f"app.platforms.{self.name}.errors").TABLE
        return found

    @property
    def simulator(self) -> Any:
        return importlib.import_module(f"app.sandbox.{self.name}")


SUBJECTS = (
    Subject(
        "tiktok",
        Post(title="Three knots", privacy_level="SELF_ONLY"),
        connects="token",
        refreshes="token",
        looks="user_info",
        steps=("creator_info", "init"),
        asks="status",
        revokes="revoke",
        least_scopes=("user.info.basic",),
        per_app={"audited": True, "postsPerDay": 1000},
    ),
    Subject(
        "youtube",
        Post(
            title="Three knots",
            description="Every beginner needs them.",
            privacy_level="private",
            made_for_kids=False,
        ),
        connects="token",
        refreshes="token",
        looks="channels",
        steps=("channels", "start"),
        asks="videos",
        doubts="probe",
        revokes="revoke",
        least_scopes=("https://www.googleapis.com/auth/youtube.readonly",),
        per_app={"uploadsPerDay": 100_000, "unitsPerDay": 10_000_000},
    ),
    Subject(
        "instagram",
        Post(title="Three knots"),
        connects="token",
        refreshes="refresh",
        looks="me",
        steps=("limit", "create"),
        asks="container",
        links="media",
        least_scopes=("instagram_business_basic",),
        # Instagram renews what has lived for a day; here tokens die young.
        per_app={"instagramRefreshFromS": 0},
    ),
    Subject(
        "facebook",
        Post(description="Three knots"),
        connects="token",
        refreshes="token",
        looks="page",
        steps=("page", "init"),
        asks="status",
        revokes="revoke",
        least_scopes=("pages_show_list",),
        upload_lives_s=2 * DAY_S,
    ),
)


def in_a_storm(*cases: Any, first: int = 2) -> list[Any]:
    """The first of these for every run, the others in a storm."""
    return [
        pytest.param(case, marks=() if number < first else (pytest.mark.storm,))
        for number, case in enumerate(cases)
    ]
