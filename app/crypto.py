"""The only place that sees the house's key: sealing of secrets, derived keys, random tokens, digests.

Knows nothing of where a sealed value is kept; the caller says it with `where`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app import config
from app.errors import Permanent

KEY_BYTES = 32
TOKEN_BYTES = 32
# 96 bits, the length AES-GCM is specified for: NIST SP 800-38D, section 5.2.1.1.
NONCE_BYTES = 12
SEAL_PURPOSE = "seal"


def seal(text: str, where: str) -> str:
    """Lock `text` to the place `where` ("table|id|column"): `v1.<key id>.<nonce>.<text>`, new each time.

    A sealed value moved to another row or column does not open there.
    """
    key_id = _key_id(config.get().encryption_key)
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(_ring()[key_id]).encrypt(nonce, text.encode(), where.encode())
    return ".".join(("v1", key_id, _to_text(nonce), _to_text(sealed)))


def unseal(sealed: str, where: str) -> str:
    """The text that was sealed for this very place. Permanent (`cannot_unseal`) for anything else.

    Opens with the key it was sealed with, as long as that is ENCRYPTION_KEY or in ENCRYPTION_KEYS_OLD.
    """
    try:
        version, key_id, nonce, text = sealed.split(".")
        if version != "v1":
            raise ValueError("unknown version")
        return AESGCM(_ring()[key_id]).decrypt(_to_bytes(nonce), _to_bytes(text), where.encode()).decode()
    except KeyError as error:
        raise Permanent(
            "A stored secret was sealed with a key this house no longer has: add it to ENCRYPTION_KEYS_OLD",
            code="cannot_unseal",
        ) from error
    except (ValueError, binascii.Error, InvalidTag) as error:
        raise Permanent("A stored secret is damaged or in the wrong place", code="cannot_unseal") from error


def is_current(sealed: str) -> bool:
    """Whether this was sealed with today's ENCRYPTION_KEY; what was not is sealed anew by upkeep."""
    return sealed.startswith(f"v1.{_key_id(config.get().encryption_key)}.")


def derive(purpose: str) -> bytes:
    """A key of 32 bytes for one purpose ("jwt", "links"), always the same for the same ENCRYPTION_KEY."""
    return _derived(config.get().encryption_key, purpose)


def token() -> str:
    """256 random bits, safe in addresses and cookies. Give it away once and keep its `digest`."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(token: str) -> bytes:
    """What is stored of a token: SHA-256, 32 bytes. Enough without salt, as the token is random."""
    return hashlib.sha256(token.encode()).digest()


@lru_cache(maxsize=32)
def _derived(key: str, purpose: str) -> bytes:
    if not key:
        raise Permanent("ENCRYPTION_KEY is not set", code="no_key")
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"backlot/{purpose}".encode()).derive(key.encode())


def _key_id(key: str) -> str:
    """Eight characters that name a key and say nothing about it: they come from a derived key."""
    return hashlib.sha256(_derived(key, "key id")).hexdigest()[:8]


def _ring() -> dict[str, bytes]:
    """Every key that may open something, by its id."""
    keys = (config.get().encryption_key, *config.get().old_keys)
    return {_key_id(key): _derived(key, SEAL_PURPOSE) for key in keys}


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _to_bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
