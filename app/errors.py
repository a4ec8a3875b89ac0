"""The kinds of failure the house knows. The kind is the decision; the message is for the person who reads it.

Six kinds say what happens to a job (`queue` acts on them and on nothing else):

    Refused, WrongState, Permanent   the job ends; trying again would give the same answer
    Retryable(after_s=)              try again, after the time told or after the queue's own doubling wait
    NotYet(until / after_s)          wait without using a try: a limit, a turn, a pause, a resource
    Unsure                           an effect may have happened: ask the world, never repeat

Everything unforeseen counts as `Retryable`, or as `Unsure` once an irreversible call may have left the house.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime


class HouseError(Exception):
    """A failure with a sentence for the person, a `code` for the machine and a status for the web."""

    code = "error"
    status = 500

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class Refused(HouseError):
    """The request or the input cannot be accepted as it is. `fields` names what is wrong, field by field."""

    code = "refused"
    status = 422

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        fields: Mapping[str, str] | None = None,
        after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.fields = dict(fields or {})
        self.after_s = after_s
        if status is not None:
            self.status = status


class NotFound(Refused):
    """There is no such thing, or it belongs to somebody else: the two are told apart to nobody."""

    code = "not_found"
    status = 404

    def __init__(self, message: str = "There is nothing here.", *, code: str | None = None) -> None:
        super().__init__(message, code=code, status=404)


class WrongState(HouseError):
    """The thing is in a state from which this move is not allowed, e.g. cancelling what is already published."""

    code = "wrong_state"
    status = 409


class Permanent(HouseError):
    """The world has answered no for good; a person has to change something first."""

    code = "permanent"
    status = 409


class Retryable(HouseError):
    """It failed now and may work later. `after_s` is the wait the other side asked for, in seconds."""

    code = "retryable"
    status = 503

    def __init__(self, message: str, *, code: str | None = None, after_s: float | None = None) -> None:
        super().__init__(message, code=code)
        self.after_s = after_s


class NotYet(HouseError):
    """Nothing failed: it is not this job's turn. Give `until` (aware UTC) or `after_s` (seconds from now)."""

    code = "not_yet"
    status = 503

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        until: datetime | None = None,
        after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.until = until
        self.after_s = after_s


class Unsure(HouseError):
    """An irreversible call was made and its answer is not known."""

    code = "unsure"
    status = 503


class Superseded(HouseError):
    """Another run has taken over this work; this one writes nothing more and settles nothing."""

    code = "superseded"
    status = 409


class Cancelled(HouseError):
    """A person cancelled the work while it ran."""

    code = "cancelled"
    status = 409


class Interrupted(HouseError):
    """The worker is stopping or lost its lease: the work is handed back and no try is used."""

    code = "interrupted"
    status = 503
