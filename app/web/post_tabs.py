"""One account's part of the composer: what its platform offers, what is chosen, what is wrong, how it will look.

The platform's adapter is the only judge of a post; here its answers get the form's names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app import accounts, db, platforms, publishing, videos
from app.web import post_form

# Likenesses: templates/publications/preview.
WATCH, PHONE, FEED = "watch", "phone", "feed"
# Fields of Post that stand behind “More choices”.
MORE = (
    "tags", "category_id", "collaborators", "alt_text", "cover_ms", "use_cover", "notify", "native_at",
)  # fmt: skip
# A picture counts as upright from here on.
TALL = 1.2
SEES_A_REEL_S = 90
# How the forecast names what the platform would refuse of a post.
NOT_ACCEPTED = "not_accepted."
OF_PICTURES = ("image", "carousel")
# What the forecast says of the time is the same for every account, and told once.
FOR_ALL = ("when", "clock_change")


@dataclass(frozen=True)
class Tab:
    """An account with its panel filled in. `problems` go by the form's word, `counts` too; `fixed` says why nothing
    can be changed any more.
    """

    account: accounts.Account
    creator: platforms.Creator | None
    post: platforms.Post
    own: bool
    problems: Mapping[str, str]
    counts: Mapping[str, Sequence[platforms.Count]]
    look: str
    foretold: Sequence[publishing.Foretold] = ()
    fixed: str | None = None
    has_slots: bool = False
    is_picture: bool = False

    @property
    def _adapter(self) -> platforms.Platform:
        return platforms.get(self.account.platform)

    @property
    def label(self) -> str:
        return self._adapter.LABEL

    @property
    def offered(self) -> tuple[str, ...]:
        return self._adapter.FIELDS

    @property
    def comments(self) -> bool:
        return self._adapter.COMMENTS

    @property
    def text_field(self) -> str:
        return post_form.text_field(self.offered)

    @property
    def text(self) -> str:
        return str(getattr(self.post, self.text_field))

    @property
    def kinds(self) -> tuple[str, ...]:
        """What this file can be posted as: a picture is no reel, a video is no picture."""
        kinds = self.creator.kinds if self.creator and "kind" in self.offered else ()
        return tuple(kind for kind in kinds if (kind in OF_PICTURES) is self.is_picture or kind == "story")

    @property
    def wants_title(self) -> bool:
        return post_form.wants_title(self.offered)

    @property
    def privacy(self) -> dict[str, str]:
        """The levels to choose from, in words: those the platform says this account has, else all of them."""
        words = self._adapter.PRIVACY
        levels = self.creator.privacy_levels if self.creator and self.creator.privacy_levels else tuple(words)
        return {level: words.get(level, level) for level in levels}

    @property
    def labelled(self) -> str:
        """The label that commercial content is given."""
        return (
            "Paid partnership"
            if self.post.brand_content
            else "Promotional content"
            if self.post.brand_organic
            else ""
        )

    @property
    def to_do(self) -> dict[str, str]:
        """The problems that a person can put right in this panel."""
        return {word: text for word, text in self.problems.items() if word != "media"}

    @property
    def worst(self) -> str:
        """The one word for all that is known: `stop`, `todo`, `warn` or `ok`; `open` while nothing is."""
        kinds = {one.kind for one in self.foretold} | ({"todo"} if self.to_do else set())
        return next((kind for kind in ("stop", "todo", "warn", "ok") if kind in kinds), "open")

    @property
    def has_more(self) -> bool:
        return any(name in self.offered for name in MORE)

    def more_open(self, problems: Mapping[str, str]) -> bool:
        """Whether one of these problems stands behind “More choices”."""
        words = [post_form.word_of(name, self.offered) for name in MORE]
        return any(f"{self.account.id}-{word}" in problems for word in words)

    def counts_of(self, word: str) -> Sequence[platforms.Count]:
        return self.counts.get(word, ())

    def anchor(self, word: str) -> str:
        """The id of what a problem with this word is put right at."""
        if word == "media":
            return "video-title"
        if word == "text" and not self.own:
            return "text"
        return f"wrong-{self.account.id}-{word}"


def tab_of(
    account: accounts.Account,
    typed: post_form.Typed,
    media: publishing.Media | None,
    *,
    native_at: str = "",
    fixed: str | None = None,
) -> Tab:
    """The account's panel as it was filled in, judged by its platform. Without `media` the file is not judged."""
    adapter = platforms.get(account.platform)
    creator = accounts.creator_of(account)
    post = post_form.post_of(typed, account.id, adapter.FIELDS, native_at)
    problems: dict[str, str] = {}
    if creator is not None and fixed is None:
        post = adapter.fit(creator, post)
        found = publishing.publications.problems_of(account, post, media)
        problems = {post_form.word_of(name, adapter.FIELDS): text for name, text in found.items()}
        problems |= post_form.problems_of(typed, account.id, adapter.FIELDS, native_at)
        if "privacy_level" in problems:
            problems["privacy_level"] = _in_words(problems["privacy_level"], adapter.PRIVACY)
    return Tab(
        account=account,
        creator=creator,
        post=post,
        own=bool(typed.of(account.id, "own")),
        problems=problems,
        counts=_counts(adapter, post),
        look=look_of(account.platform, post, media),
        fixed=fixed,
    )


def _counts(adapter: platforms.Platform, post: platforms.Post) -> dict[str, list[platforms.Count]]:
    """How long the texts are, by the form's word; of one text letters, hashtags and mentions may count."""
    found: dict[str, list[platforms.Count]] = {}
    for one in adapter.counted(post):
        found.setdefault(post_form.word_of(one.field, adapter.FIELDS), []).append(one)
    return found


def _in_words(sentence: str, levels: Mapping[str, str]) -> str:
    """A sentence about privacy levels with their names as people know them."""
    known = "|".join(map(re.escape, levels))
    return re.sub(rf"\b({known})\b", lambda found: f"“{levels[found[1]]}”", sentence) if known else sentence


async def with_forecast(
    conn: db.Conn,
    tab: Tab,
    *,
    media: publishing.Media | None,
    when: publishing.When,
    video_id: int,
    target_id: int | None = None,
) -> Tab:
    """The same tab with what will happen; what has a field of its own to be put right at is told there."""
    found = await publishing.forecast(
        conn,
        account=tab.account,
        post=tab.post,
        media=media,
        when=when,
        video_id=video_id,
        target_id=target_id,
    )
    told = [
        one
        for one in found
        if one.code not in FOR_ALL
        and (not one.code.startswith(NOT_ACCEPTED) or one.code == f"{NOT_ACCEPTED}media")
    ]
    return replace(tab, foretold=told)


def media_of(shown: videos.Shown | None) -> publishing.Media | None:
    """The branded file with its poster, as the platforms are asked about it; None while there is none."""
    if shown is None or shown.video.edited_key is None or shown.video.edited_probe is None:
        return None
    poster = shown.still("poster")
    if poster is None:
        return videos.media_of(shown.video)
    size = {"bytes": poster.bytes, "width_px": poster.width_px, "height_px": poster.height_px}
    return replace(videos.media_of(shown.video), cover={"key": poster.key, "sha256": "", **size})


def shape_of(media: publishing.Media | None) -> str:
    if media is None:
        return "wide"
    if media.height_px > media.width_px * TALL:
        return "tall"
    return "wide" if media.width_px > media.height_px * TALL else "square"


def look_of(platform: str, post: platforms.Post, media: publishing.Media | None) -> str:
    """Which likeness comes nearest to how the platform shows this post."""
    if platform == "youtube":
        return WATCH
    if post.kind in OF_PICTURES or (
        post.kind != "story" and media is not None and media.content_type.startswith("image/")
    ):
        return FEED
    if platform == "facebook":
        upright = (
            media is not None
            and media.height_px > media.width_px * TALL
            and media.duration_s <= SEES_A_REEL_S
        )
        return PHONE if post.kind in ("reel", "story") or (not post.kind and upright) else FEED
    return PHONE
