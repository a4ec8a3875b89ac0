"""Names of files in the storage. They are ours: never a person's file name, always below a known root."""

from __future__ import annotations

import re
import uuid

from app.errors import Refused

# `tenants/` holds what belongs to a workspace; `tmp/` is ours to empty after two days.
ROOTS = ("tenants", "tmp")
# S3 allows 1024 bytes; a local file system 255 for one segment.
LONGEST_KEY = 512
LONGEST_SEGMENT = 128
_SEGMENT = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{LONGEST_SEGMENT - 1}}}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,39}")
_EXTENSION = re.compile(r"[a-z0-9]{1,8}")


def key_for(workspace_id: int, kind: str, extension: str) -> str:
    """A new key that nobody can guess: `tenants/<workspace>/<kind>/<uuid>.<extension>`."""
    if workspace_id < 1 or not _KIND.fullmatch(kind) or not _EXTENSION.fullmatch(extension):
        raise Refused(
            f"There is no storage place for {kind!r} files ending in {extension!r}.", code="bad_key"
        )
    return f"tenants/{workspace_id}/{kind}/{uuid.uuid4()}.{extension}"


def check_key(key: str) -> str:
    """The key itself when it is one of ours; Refused (`bad_key`) for anything else."""
    segments = key.split("/")
    good = (
        len(key) <= LONGEST_KEY
        and len(segments) > 1
        and segments[0] in ROOTS
        and all(_SEGMENT.fullmatch(segment) and ".." not in segment for segment in segments)
    )
    if not good:
        raise Refused("This is not the name of a stored file.", code="bad_key")
    return key


def check_prefix(prefix: str) -> str:
    """The beginning of keys, e.g. `tenants/7/` or `tenants/7/ori`; Refused (`bad_key`) for anything else."""
    if prefix not in {f"{root}/" for root in ROOTS}:
        check_key(prefix.removesuffix("/"))
    return prefix
