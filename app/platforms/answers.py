"""What a platform may answer, as one table: code → what it means, which error is raised, what people read.

A platform brings the rows of its own sheet; the rows of the line, of connecting and of uploading are the same for
all and are made from its name. A stored code can always be looked up again with `verdict`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal

from app import log
from app.errors import HouseError, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms.base import Kind, Verdict

RATE_WAIT_S = 60.0
RATE_JITTER_S = 15.0
LONGEST_WORDS = 300


def again(sentence: str, after_s: float | None = None) -> Verdict:
    return Verdict(Kind.RETRY_NOW, Retryable, sentence, after_s)


def later(
    kind: Kind, after_s: float, sentence: str, *, scope: Literal["account", "app"] = "account"
) -> Verdict:
    return Verdict(kind, NotYet, sentence, after_s, scope)


def lost(sentence: str) -> Verdict:
    return Verdict(Kind.AUTHORISATION_LOST, Permanent, sentence)


def rejected(sentence: str) -> Verdict:
    return Verdict(Kind.CONTENT_REJECTED, Permanent, sentence)


def duplicate(sentence: str) -> Verdict:
    return Verdict(Kind.DUPLICATE, Permanent, sentence)


def final(sentence: str) -> Verdict:
    return Verdict(Kind.PERMANENT, Permanent, sentence)


def refused(sentence: str) -> Verdict:
    return Verdict(Kind.PERMANENT, Refused, sentence)


def unsure(sentence: str) -> Verdict:
    return Verdict(Kind.AMBIGUOUS, Unsure, sentence)


def _of_all(label: str) -> dict[str, Verdict]:
    """What every platform's table holds: the line, an upload that breaks off, connecting and renewing."""
    busy = f"{label} has trouble at the moment. It is tried again by itself."
    return {
        "rate_limit_exceeded": later(
            Kind.RETRY_AFTER,
            RATE_WAIT_S,
            f"{label} asked us to slow down. It goes on by itself in about a minute.",
        ),
        "internal_error": again(busy),
        "access_token_invalid": lost(
            f"{label} no longer accepts this account's sign-in. Connect the account again."
        ),
        # The upload
        "upload_refused": final(
            f"{label} refused the bytes of the video as we sent them. Retry; tell the operator if it happens again."
        ),
        "upload_expired": again(
            f"{label}'s upload address has expired. We ask {label} what arrived and begin anew."
        ),
        "range_mismatch": unsure(
            f"{label} counts the bytes it has otherwise than we do. We ask {label} before going on."
        ),
        "upload_cut": again(
            f"The upload to {label} broke off. It goes on where {label} stopped receiving.", after_s=10
        ),
        "upload_address_refused": final(
            f"{label} named an upload address outside {label}, so nothing was sent. Please tell the operator."
        ),
        "media_changed": final(
            "The stored video is not as long as it was. Edit the video again and post it anew."
        ),
        # The line
        "not_reached": again(
            f"We could not reach {label}, so nothing was sent. It is tried again by itself."
        ),
        "answer_lost": unsure(
            f"{label}'s answer was lost. We ask {label} what happened before anything is repeated."
        ),
        "init_answer_lost": unsure(
            f"{label}'s answer was lost before any of the video was sent; nothing was posted."
        ),
        "no_answer": again(f"{label} did not answer in time. It is tried again by itself."),
        "unreadable_answer": again(
            f"{label} answered with something we cannot read. It is tried again by itself."
        ),
        "comments_not_offered": final(f"{label} takes no comments from other programs."),
        # Connecting and renewing
        "code_refused": refused(
            f"{label} did not accept this sign-in: it was too old or already used. Start connecting again."
        ),
        "connect_refused": refused(f"{label} did not accept the sign-in: {{words}} Start connecting again."),
        "connect_answer_lost": refused(
            f"{label}'s answer was lost, so nothing was connected. Start connecting again."
        ),
        "access_denied": refused(f"You did not allow the connection on {label}, so nothing was connected."),
        "refresh_answer_lost": again(
            f"{label}'s answer was lost while renewing the sign-in. It is tried again."
        ),
    }


class Table:
    """A platform's answers. `rows` go before the rows that all platforms share; `unknown` is for all other codes."""

    def __init__(
        self, platform: str, label: str, rows: Mapping[str, Verdict], *, unknown: Verdict | None = None
    ) -> None:
        self.platform, self.label = platform, label
        self.rows: Mapping[str, Verdict] = {**_of_all(label), **rows}
        self.unknown = unknown or Verdict(
            Kind.UNKNOWN,
            Retryable,
            f"{label} answered something we do not know: {{words}} It is tried again a few times.",
        )

    def verdict(self, code: str) -> Verdict:
        """What this code means; the row `unknown` for a code that is in no table."""
        if code.startswith("http_5"):
            return self.rows["internal_error"]
        return self.rows.get(code, self.unknown)

    def classify(
        self, http_status: int, code: str, message: str, *, irreversible: bool = False
    ) -> HouseError:
        """The error for an answer, ready to raise; its `code` is the platform's or else `http_<status>`.

        A definite no stays definite. What asks us to try again, and what we do not know, is Unsure when the call
        was irreversible: it may have worked all the same.
        """
        if code not in self.rows and http_status == 429:
            code = "rate_limit_exceeded"
        elif code not in self.rows and http_status >= 500:
            code = f"http_{http_status}"
        return self.error(code or f"http_{http_status}", message, irreversible=irreversible)

    def error(self, code: str, words: str = "", *, irreversible: bool = False) -> HouseError:
        """The error of this row of the table. `words` are the platform's own; secrets in them are taken out."""
        row = self.verdict(code)
        quoted = log.redact(" ".join(words.split()))[:LONGEST_WORDS].rstrip(".")
        sentence = row.sentence.replace("{words}", f"“{quoted}”." if quoted else f"“{code}”.")
        if irreversible and issubclass(row.error, (Retryable, NotYet)):
            return Unsure(self.rows["answer_lost"].sentence, code=code)
        if issubclass(row.error, NotYet):
            jitter_s = random.uniform(0, RATE_JITTER_S) if row.kind is Kind.RETRY_AFTER else 0.0
            return row.error(sentence, code=code, after_s=(row.after_s or 0.0) + jitter_s)
        if issubclass(row.error, Retryable):
            return row.error(sentence, code=code, after_s=row.after_s)
        return row.error(sentence, code=code)
