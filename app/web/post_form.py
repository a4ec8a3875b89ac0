"""The choices of a post, read from the composer's form into what a platform's adapter takes, and written back.

What stands for all accounts has a plain name (`text`, `at`, …). What belongs to one account begins with its number:
`7-privacy_level`. An account's words are the fields of `platforms.Post`, but where people say it the other way round
(`allow_comment` for `disable_comment`), in other units (`cover_s`), or as a list (`tags`). Knows no row and no page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import Refused
from app.platforms import Post

SHARED = ("video", "text", "when", "at", "zone", "fold", "key", "draft")
TICKED_FIRST = ("notify", "share_to_feed")
TICKS = ("ai_generated", "notify", "share_to_feed", "use_cover")
PLAIN = ("privacy_level", "kind", "category_id", "alt_text", "first_comment")
# A story shows the file and nothing beside it.
NOT_IN_STORY = ("title", "description", "collaborators", "first_comment", "alt_text", "tags", "pictures")
# Ticked is allowed; what the platform is told is the opposite.
ALLOWED = {
    "disable_comment": "allow_comment",
    "disable_duet": "allow_duet",
    "disable_stitch": "allow_stitch",
}
# Where a problem with a field of Post is shown, when the form calls it otherwise.
WORD_OF = {
    **ALLOWED,
    "cover_ms": "cover_s",
    "native_at": "native",
    "brand_content": "commercial",
    "brand_organic": "commercial",
}
# `open` is sent by every panel, so that a box that is not ticked is told from a panel that was not there;
# `native_kept` is the time that the platform was given before.
WORDS = (
    "open",
    "own",
    "text",
    "title",
    "commercial",
    "brand_organic",
    "brand_content",
    "cover_s",
    "native",
    "native_kept",
    "tags",
    "collaborators",
    "pictures",
    "made_for_kids",
    *PLAIN,
    *TICKS,
    *ALLOWED.values(),
)
OWN_NAME = re.compile(rf"^([1-9][0-9]{{0,17}})-({'|'.join(WORDS)})$")
MOST_ACCOUNTS = 50
NEEDS_ONE = "Tick at least one: your own brand, or branded content."
KIDS = {"yes": True, "no": False}
NEEDS_KIDS = "Say whether the video is made for kids: the law wants every creator to."
NO_TIME = "Choose a day and a time under “When” first."
NO_SECONDS = "Give the second of the video, for example 1.5."


@dataclass(frozen=True)
class Typed:
    """Everything that was typed into the form so far, and the accounts that were ticked."""

    fields: Mapping[str, str] = field(default_factory=dict)
    accounts: tuple[int, ...] = ()

    def get(self, name: str, otherwise: str = "") -> str:
        return self.fields.get(name) or otherwise

    def of(self, account_id: int, word: str) -> str:
        """What stands in an account's own field; empty for a box that is not ticked."""
        return self.fields.get(f"{account_id}-{word}", "")

    def opened(self, account_id: int) -> bool:
        return bool(self.of(account_id, "open"))

    @property
    def video_id(self) -> int | None:
        return number(self.get("video"))

    def having(self, fields: Mapping[str, str], accounts: Iterable[int] = ()) -> Typed:
        """The same with these fields filled in and these accounts ticked, too."""
        return Typed({**self.fields, **fields}, tuple(dict.fromkeys((*self.accounts, *accounts))))

    def to_json(self) -> dict[str, Any]:
        """What a draft keeps; `from_json` reads it. The key of the form and the number of the draft are not part
        of it.
        """
        kept = {name: text for name, text in self.fields.items() if text and name not in ("key", "draft")}
        return {"fields": kept, "accounts": list(self.accounts)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Typed:
        fields = kept.get("fields")
        accounts = kept.get("accounts")
        pairs = fields.items() if isinstance(fields, Mapping) else ()
        given = [("account", str(one)) for one in accounts] if isinstance(accounts, Sequence) else []
        return read([*((str(name), str(text)) for name, text in pairs), *given])


def read(pairs: Iterable[tuple[str, object]]) -> Typed:
    """What was typed, from the pairs of a form; names it does not know are left out.

    Lines end in one character, however the browser sent them: platforms count them as one.
    """
    fields: dict[str, str] = {}
    accounts: list[int] = []
    for name, value in pairs:
        if not isinstance(value, str):
            continue
        if name == "account":
            if (account_id := number(value)) is not None:
                accounts.append(account_id)
        elif name.endswith("-pictures") and OWN_NAME.match(name):
            # A box for each: together they are one field.
            fields[name] = ",".join(part for part in (fields.get(name), value) if part)
        elif name in SHARED or OWN_NAME.match(name):
            fields[name] = value.replace("\r\n", "\n").replace("\r", "\n")
    ticked = tuple(dict.fromkeys(accounts))
    if len(ticked) > MOST_ACCOUNTS:
        too_many = f"At most {MOST_ACCOUNTS} accounts at once; these are {len(ticked)}."
        raise Refused(too_many, code="too_many", fields={"account": too_many})
    return Typed(fields, ticked)


def number(text: str) -> int | None:
    """A positive number that fits an id; None for anything else."""
    found = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
    return found or None


def text_field(offered: Sequence[str]) -> str:
    """The field of Post that the common text goes to on a platform that offers these fields."""
    return "description" if "description" in offered else "title"


def wants_title(offered: Sequence[str]) -> bool:
    """Whether the platform wants a title beside the text, as where people search and watch."""
    return text_field(offered) == "description" and "tags" in offered


def fresh(account_id: int, offered: Sequence[str], title: str) -> dict[str, str]:
    """What a panel starts with: nothing chosen for the person but what the platform does by itself anyway.

    `title` is the video's; it is offered where the platform wants a title beside the text.
    """
    first = {word: "1" for word in TICKED_FIRST if word in offered}
    if wants_title(offered):
        first["title"] = title
    return {f"{account_id}-{word}": text for word, text in {"open": "1", **first}.items()}


def own_text(typed: Typed, account_id: int) -> str:
    """The words of this account's post: its own where they were asked for, else those of all."""
    return typed.of(account_id, "text") if typed.of(account_id, "own") else typed.get("text")


def pictures_of(typed: Typed, account_id: int) -> tuple[int, ...]:
    """The further pictures of a carousel, in their order."""
    numbers = map(number, _split(typed.of(account_id, "pictures"), ","))
    return tuple(found for found in numbers if found is not None)


def post_of(typed: Typed, account_id: int, offered: Sequence[str], native_at: str = "") -> Post:
    """What an account's panel asks for; only `offered` fields count. `native_at` is the time for the platform's own
    schedule, when one is chosen.

    A cover that cannot be read is left out: `problems_of` names it.
    """

    def said(word: str) -> str:
        return typed.of(account_id, word)

    values: dict[str, Any] = {word: said(word).strip() for word in PLAIN}
    values |= {word: bool(said(word)) for word in TICKS}
    values |= {name: not said(word) for name, word in ALLOWED.items()}
    branded = bool(said("commercial"))
    values["brand_organic"] = branded and bool(said("brand_organic"))
    values["brand_content"] = branded and bool(said("brand_content"))
    values["made_for_kids"] = KIDS.get(said("made_for_kids"))
    values["tags"] = _split(said("tags"), ",\n")
    values["collaborators"] = tuple(name.lstrip("@") for name in _split(said("collaborators"), ", \n"))
    values["pictures"] = pictures_of(typed, account_id)
    values["cover_ms"] = _cover_ms(said("cover_s"))
    values["native_at"] = (native_at or said("native_kept")) if said("native") else ""
    if text_field(offered) == "description":
        values["title"] = said("title").strip()
    values[text_field(offered)] = own_text(typed, account_id).strip()
    left_out = NOT_IN_STORY if values["kind"] == "story" else ()
    return Post(**{name: value for name, value in values.items() if name in offered and name not in left_out})


def problems_of(typed: Typed, account_id: int, offered: Sequence[str], native_at: str = "") -> dict[str, str]:
    """What cannot be meant, before any platform is asked; by the account's word."""
    problems = {}
    branded = typed.of(account_id, "brand_organic") or typed.of(account_id, "brand_content")
    if "brand_content" in offered and typed.of(account_id, "commercial") and not branded:
        problems["commercial"] = NEEDS_ONE
    if "made_for_kids" in offered and typed.of(account_id, "made_for_kids") not in KIDS:
        problems["made_for_kids"] = NEEDS_KIDS
    cover = typed.of(account_id, "cover_s").strip()
    if "cover_ms" in offered and cover and _cover_ms(cover) is None:
        problems["cover_s"] = NO_SECONDS
    native = "native_at" in offered and typed.of(account_id, "native")
    if native and not (native_at or typed.of(account_id, "native_kept")):
        problems["native"] = NO_TIME
    return problems


def word_of(name: str, offered: Sequence[str]) -> str:
    """The form's word for a field of Post, where a problem with it is shown."""
    return "text" if name == text_field(offered) else WORD_OF.get(name, name)


def written(post: Post, account_id: int, offered: Sequence[str], text: str) -> dict[str, str]:
    """The fields that `post_of` reads this post from again. `text` is the common one; words that differ are own."""
    words: dict[str, str] = {"open": "1"}
    words |= {word: str(getattr(post, word)) for word in PLAIN if word in offered}
    words |= {word: _tick(getattr(post, word)) for word in TICKS if word in offered}
    words |= {word: _tick(not getattr(post, name)) for name, word in ALLOWED.items() if name in offered}
    if "brand_content" in offered:
        words["brand_organic"], words["brand_content"] = _tick(post.brand_organic), _tick(post.brand_content)
        words["commercial"] = _tick(post.brand_organic or post.brand_content)
    words["made_for_kids"] = next((word for word, kids in KIDS.items() if kids is post.made_for_kids), "")
    words["tags"], words["collaborators"] = ", ".join(post.tags), ", ".join(post.collaborators)
    words["pictures"] = ",".join(map(str, post.pictures))
    words["cover_s"] = "" if post.cover_ms is None else f"{post.cover_ms / 1000:g}"
    words["native"], words["native_kept"] = _tick(bool(post.native_at)), post.native_at
    own = str(getattr(post, text_field(offered)))
    if text_field(offered) == "description":
        words["title"] = post.title
    if own != text:
        words |= {"own": "1", "text": own}
    return {f"{account_id}-{word}": said for word, said in words.items() if said}


def _tick(on: bool) -> str:
    return "1" if on else ""


def _split(text: str, signs: str) -> tuple[str, ...]:
    parts = re.split(f"[{re.escape(signs)}]", text)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _cover_ms(text: str) -> int | None:
    found = re.fullmatch(r"(\d{1,6})(?:[.,](\d{1,3}))?", text.strip())
    return None if found is None else int(found[1]) * 1000 + int((found[2] or "").ljust(3, "0"))
