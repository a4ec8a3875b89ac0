"""Signed links to files of the local folder, and what a link may ask a browser to do with a file.

The key for signing is `crypto.derive("media-links")`; a link carries everything it needs, no row is kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from app import crypto
from app.errors import Refused
from app.storage.keys import check_key

PURPOSE = "media-links"
LONGEST_TOKEN = 4096
LONGEST_NAME = 200
_CONTENT_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,80}(?:; charset=[a-z0-9-]{1,20})?")
_NOT_FOR_QUOTES = re.compile(r"[^ !#-\[\]-~]|[%\\/:*?<>|;]")


@dataclass(frozen=True)
class Link:
    """What an opened link allows: this one file, with this type and disposition, until then."""

    key: str
    content_type: str
    disposition: str
    expires_at: datetime


def check_content_type(content_type: str) -> str:
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise Refused("This is not a content type.", code="bad_content_type")
    return content_type


def disposition_for(filename: str | None, *, download: bool) -> str:
    """The Content-Disposition value; a person's file name is cleaned and spelled both ways of RFC 6266."""
    kind = "attachment" if download else "inline"
    printable = "".join(letter for letter in filename or "" if letter.isprintable())
    name = printable.replace("/", "_")[:LONGEST_NAME]
    if not name.strip(" ."):
        return kind
    spelled = quote(name, safe="", errors="replace")
    return f"{kind}; filename=\"{_NOT_FOR_QUOTES.sub('_', name)}\"; filename*=UTF-8''{spelled}"


def sign(link: Link) -> str:
    """The token that `open_link` opens until the link expires."""
    said = [link.key, int(link.expires_at.timestamp()), link.content_type, link.disposition]
    body = _to_text(json.dumps(said, separators=(",", ":")).encode())
    return f"{body}.{_to_text(_signature(body))}"


def open_token(token: str, now: datetime) -> Link | None:
    """The link a token stands for; None when it is forged, damaged or too old."""
    if len(token) > LONGEST_TOKEN:
        return None
    body, _, signature = token.partition(".")
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), _to_text(_signature(body)).encode()):
        return None
    try:
        key, expires, content_type, disposition = json.loads(_to_bytes(body))
        link = Link(check_key(key), content_type, disposition, datetime.fromtimestamp(expires, UTC))
    except (ValueError, TypeError, binascii.Error, Refused):
        return None
    return link if now < link.expires_at else None


def _signature(body: str) -> bytes:
    return hmac.digest(crypto.derive(PURPOSE), body.encode("utf-8", "replace"), hashlib.sha256)


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _to_bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
