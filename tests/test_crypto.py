from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from app import config, crypto
from app.errors import Permanent

FIRST, SECOND = "a" * 32, "b" * 32
WHERE = "accounts|7|access_token"
Use = Callable[..., None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    def put(key: str, old: str = "") -> None:
        monkeypatch.setenv("ENCRYPTION_KEY", key)
        monkeypatch.setenv("ENCRYPTION_KEYS_OLD", old)
        config.get.cache_clear()

    put(FIRST)
    yield put
    monkeypatch.undo()
    config.get.cache_clear()


def flipped(sealed: str, at: int) -> str:
    parts = sealed.split(".")
    parts[at] = ("A" if parts[at][0] != "A" else "B") + parts[at][1:]
    return ".".join(parts)


@pytest.mark.parametrize("text", ["", "act.abc", "späte Grüße 🎬", "x" * 10_000])
def test_what_is_sealed_opens_in_its_place(use: Use, text: str) -> None:
    sealed = crypto.seal(text, WHERE)
    assert crypto.unseal(sealed, WHERE) == text
    assert not text or text not in sealed
    assert sealed.startswith("v1.")
    assert sealed.count(".") == 3


def test_the_same_text_is_sealed_differently_each_time(use: Use) -> None:
    assert len({crypto.seal("same", WHERE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "where", ["accounts|8|access_token", "accounts|7|refresh_token", "users|7|access_token", ""]
)
def test_a_value_moved_to_another_place_does_not_open(use: Use, where: str) -> None:
    with pytest.raises(Permanent) as caught:
        crypto.unseal(crypto.seal("secret", WHERE), where)
    assert caught.value.code == "cannot_unseal"


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_changed_value_does_not_open(use: Use, at: int) -> None:
    with pytest.raises(Permanent):
        crypto.unseal(flipped(crypto.seal("secret", WHERE), at), WHERE)


@pytest.mark.parametrize("junk", ["", "plain text", "v1.a.b", "v1....", "v2.a.b.c", "v1.\u00e9.!.?"])
def test_junk_does_not_open(use: Use, junk: str) -> None:
    with pytest.raises(Permanent):
        crypto.unseal(junk, WHERE)


def test_old_keys_open_and_new_values_take_the_new_key(use: Use) -> None:
    before = crypto.seal("secret", WHERE)
    use(SECOND, old=FIRST)
    assert crypto.unseal(before, WHERE) == "secret"
    assert not crypto.is_current(before)
    assert crypto.is_current(crypto.seal("secret", WHERE))


def test_without_the_old_key_the_message_says_what_to_do(use: Use) -> None:
    before = crypto.seal("secret", WHERE)
    use(SECOND)
    with pytest.raises(Permanent, match="ENCRYPTION_KEYS_OLD"):
        crypto.unseal(before, WHERE)


def test_derived_keys_differ_by_purpose_and_stay_the_same(use: Use) -> None:
    assert crypto.derive("jwt") == crypto.derive("jwt")
    assert crypto.derive("jwt") != crypto.derive("links")
    assert len(crypto.derive("jwt")) == 32
    before = crypto.derive("jwt")
    use(SECOND)
    assert crypto.derive("jwt") != before


def test_tokens_are_random_and_only_their_digest_is_kept() -> None:
    tokens = {crypto.token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 43 for token in tokens)
    assert all(len(crypto.digest(token)) == 32 for token in tokens)
