"""Publications on pages: the list, one publication with all its posts, and everything that can be done with a post.

A post is a target: one publication on one account. Every act is a plain form that leads back to where it stood; with
script the piece of the page comes instead, and moving on the calendar is answered in JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app import accounts, db, events, publishing, videos
from app.errors import Refused
from app.platforms import Kind
from app.web import guard, words
from app.web.calendar import first_line
from app.web.pages import page

A_PAGE = 24
SOURCES = {
    "composer": "in the composer",
    "api": "by the API",
    "import": "by an import",
    "upload": "with its upload",
}
# How many of a publication's posts stand where: the words for one and for several, in the order of reading.
STANDING: dict[str, tuple[str, str]] = {
    "published": ("is out", "are out"),
    "failed": ("failed", "failed"),
    "missed": ("missed its time", "missed their time"),
    "held": ("is held back", "are held back"),
    "publishing": ("is being posted", "are being posted"),
    "unconfirmed": ("is being confirmed", "are being confirmed"),
    "queued": ("is in line", "are in line"),
    "scheduled": ("is planned", "are planned"),
    "draft": ("is a draft", "are drafts"),
    "cancelled": ("was cancelled", "were cancelled"),
}


@dataclass(frozen=True)
class Step:
    """What a person can do next about a post; `href` where a link leads there."""

    text: str
    href: str | None = None


@dataclass(frozen=True)
class Post:
    """One post of a publication as pages show it."""

    target: publishing.Target
    account: accounts.Account
    attempts: int = 0

    @property
    def id(self) -> int:
        return self.target.id

    @property
    def platform(self) -> str:
        return self.target.platform

    @property
    def state(self) -> str:
        return self.target.state

    @property
    def word(self) -> words.Word:
        return words.target_state(self.target)

    @property
    def waits(self) -> bool:
        """Whether it waits for a person's word: it missed its time, or is held back."""
        held = self.target.held_at is not None and self.state == publishing.State.SCHEDULED
        return held or self.state == publishing.State.MISSED

    @property
    def movable(self) -> bool:
        return self.target.can_change

    @property
    def can_cancel(self) -> bool:
        return self.target.can_cancel

    @property
    def can_retry(self) -> bool:
        return self.target.can_retry

    @property
    def when(self) -> str:
        """The time that was chosen, in words with its zone."""
        target = self.target
        chosen = target.when
        soon = chosen.wall == "" and target.publish_at - target.created_at < timedelta(minutes=1)
        return "As soon as it is ready" if soon else chosen.words()

    @property
    def wall(self) -> str:
        """What a form of another time begins with."""
        local = publishing.When.instant(self.target.publish_at, self.target.zone)
        return self.target.when.wall or local.wall[:16]

    @property
    def visible_to(self) -> str | None:
        """Who sees it, where the platform has a choice of that."""
        return words.visible_to(self.target)

    @property
    def next(self) -> Step | None:
        """What to do about it, or None when nothing has to be done."""
        return next_of(self.target)


def next_of(target: publishing.Target) -> Step | None:
    """The next action on a post, in a sentence (S0.37); None when all goes by itself."""
    place = words.next_step(target.reason_code)
    if target.state == publishing.State.PUBLISHED or target.state == publishing.State.CANCELLED:
        return None
    if place is not None:
        return Step(f"{place[1]}.", place[0])
    if target.held_at is not None or target.state == publishing.State.MISSED:
        return Step("Post it now, give it another time, or skip it.")
    if target.state == publishing.State.UNCONFIRMED:
        return Step(
            "Nothing to do: the platform is asked until it answers. If you have looked there, say so below."
        )
    if target.state != publishing.State.FAILED:
        return None
    if target.verdict in (Kind.CONTENT_REJECTED, Kind.DUPLICATE):
        return Step("Edit the post, then retry it.", f"/publications/{target.publication_id}/edit")
    if target.verdict == Kind.AUTHORISATION_LOST:
        return Step("Connect the account again, then retry.", "/accounts")
    return Step("Retry it: nothing of it is out, so it cannot go out twice.")


def summary(states: Sequence[str]) -> str:
    """How a whole publication stands: `2 of 4 are out; 1 failed; 1 is planned.`"""
    counts = Counter(states)
    told = [(counts[name], one, many) for name, (one, many) in STANDING.items() if counts[name]]
    if not told:
        return "It goes to no account."
    if len(told) == 1:
        count, one, many = told[0]
        return f"It {one}." if count == 1 else f"All {count} {many}."
    total = sum(counts.values())
    parts = [
        f"{count} of {total} {one if count == 1 else many}"
        if not place
        else f"{count} {one if count == 1 else many}"
        for place, (count, one, many) in enumerate(told)
    ]
    return f"{'; '.join(parts)}."


# ---- the list ----


@dataclass(frozen=True)
class Line:
    """One publication in the list."""

    found: publishing.Publication
    title: str
    shown: videos.Shown
    targets: tuple[Post, ...]

    @property
    def word(self) -> words.Word:
        return word_of(self.found, self.targets)


async def listed(request: Request) -> Response:
    """GET /publications?state=&account=&before=: the filters live in the address."""
    about = await _list(request)
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        about["connected"] = await accounts.list_for(conn)
    about["states"] = publishing.publications.SHOWN
    return page(request, "publications/list.html", **about)


async def rows(request: Request) -> Response:
    """GET /publications/rows: the list alone, for its live update."""
    return page(request, "publications/list_rows.html", **await _list(request))


async def _list(request: Request) -> dict[str, Any]:
    query = request.query_params
    state = query.get("state") or None
    if state is not None and state not in publishing.publications.SHOWN:
        raise Refused("There is no such state.", code="invalid", fields={"state": "is not known"}, status=404)
    account_id, before_id = _number(query.get("account", "")), _number(query.get("before", ""))
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await publishing.publications.list_for(
            conn, before_id=before_id, most=A_PAGE + 1, state=state, account_id=account_id
        )
        known: dict[int, accounts.Account] = {one.id: one for one in await accounts.list_for(conn)}
        lines = [await _line(conn, one, known) for one in found[:A_PAGE]]
    return {
        "rows": lines,
        "state": state,
        "account_id": account_id,
        "before": before_id,
        "older": lines[-1].found.id if len(found) > A_PAGE else None,
        "compose": "/compose",
    }


async def _line(conn: db.Conn, found: publishing.Publication, known: dict[int, accounts.Account]) -> Line:
    shown = (await videos.show_many(conn, [found.video_id]))[found.video_id]
    posts = await posts_of(conn, found, known)
    return Line(found, title_of(found, shown), shown, posts)


async def posts_of(
    conn: db.Conn, found: publishing.Publication, known: dict[int, accounts.Account]
) -> tuple[Post, ...]:
    """The publication's posts with their accounts. `known` is added to."""
    for target in found.targets:
        if target.account_id not in known:
            known[target.account_id] = await accounts.get(conn, target.account_id)
    return tuple(Post(target, known[target.account_id]) for target in found.targets)


def title_of(found: publishing.Publication, shown: videos.Shown) -> str:
    """What a publication is called in one line."""
    own = next((target.choices.title for target in found.targets if target.choices.title), "")
    return first_line(own or found.text) or shown.video.title


def word_of(found: publishing.Publication, posts: Sequence[Post]) -> words.Word:
    """The word of a whole publication; one that waits for a person says so."""
    held = found.state == publishing.State.SCHEDULED and any(one.waits for one in posts)
    return words.state("held" if held else found.state)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


# ---- one publication ----


@dataclass(frozen=True)
class Happened:
    """An event of one of the posts, and on which account it was."""

    event: events.Event
    where: str


async def publication(request: Request) -> Response:
    """GET /publications/7: every post with its state, reason, next action, attempts and link."""
    return page(
        request, "publications/show.html", **await _about(request, request.path_params["publication_id"])
    )


async def view(request: Request) -> Response:
    """GET /publications/7/view: the same without the page around it, for its live update."""
    return await piece(request, request.path_params["publication_id"])


async def piece(request: Request, publication_id: int) -> Response:
    """One publication without the page around it."""
    return page(request, "publications/_publication.html", **await _about(request, publication_id))


async def _about(request: Request, publication_id: int) -> dict[str, Any]:
    async with db.owned_by(guard.who_acts(request).workspace.id) as conn:
        found = await publishing.publications.get(conn, publication_id)
        shown = await videos.show(conn, found.video_id)
        posts = [
            Post(one.target, one.account, len(await publishing.attempts(conn, one.id)))
            for one in await posts_of(conn, found, {})
        ]
        names = {f"target-{one.id}": one.account.display_name for one in posts}
        happened = await events.timeline(conn, [found.topic, *names])
    return {
        "found": found,
        "shown": shown,
        "title": title_of(found, shown),
        "word": word_of(found, posts),
        "targets": posts,
        "failed": [one for one in posts if one.state == publishing.State.FAILED],
        "summary": summary([_standing(one) for one in posts]),
        "happened": [Happened(one, names.get(one.topic, "")) for one in reversed(happened)],
        "sources": SOURCES,
        "month": f"{(found.when.local or found.created_at):%Y-%m}",
    }


def _standing(post: Post) -> str:
    return "held" if post.waits and post.state != publishing.State.MISSED else post.state
