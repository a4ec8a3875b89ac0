"""What TikTok may answer, as one table: code → what it means, which error is raised, what people read.

Source: TikTok sheet, sections 2.2 (OAuth), 4.3 (upload), 4.4 (reasons of a failed post), 7 (all others).
Codes of our own stand in the same table, so that a stored code can always be looked up again with `verdict`.
"""

from __future__ import annotations

import random

from app import log
from app.errors import Cancelled, HouseError, NotYet, Permanent, Refused, Retryable, Unsure
from app.platforms.base import Kind, Verdict

DAY_S = 24 * 3600.0
# Long enough not to knock all day, short enough to notice that somebody made room.
HOLD_S = 6 * 3600.0
RATE_WAIT_S = 60.0
RATE_JITTER_S = 15.0
LONGEST_WORDS = 300


def _again(sentence: str, after_s: float | None = None) -> Verdict:
    return Verdict(Kind.RETRY_NOW, Retryable, sentence, after_s)


def _later(kind: Kind, after_s: float, sentence: str) -> Verdict:
    return Verdict(kind, NotYet, sentence, after_s)


def _lost(sentence: str) -> Verdict:
    return Verdict(Kind.AUTHORISATION_LOST, Permanent, sentence)


def _rejected(sentence: str) -> Verdict:
    return Verdict(Kind.CONTENT_REJECTED, Permanent, sentence)


def _final(sentence: str) -> Verdict:
    return Verdict(Kind.PERMANENT, Permanent, sentence)


def _unsure(sentence: str) -> Verdict:
    return Verdict(Kind.AMBIGUOUS, Unsure, sentence)


_NOT_OURS = "TikTok did not accept our request: {words} Trying again will not help; please tell the operator."
_NO_SCOPE = (
    "TikTok says this account did not allow what is needed. Connect it again and leave all boxes ticked."
)
_CHOSE_AGAIN = (
    "The privacy choices of this account have changed on TikTok. Choose again who may see the post and retry."
)
_SPAM = (
    "TikTok takes this post for spam and will not show it. Change the video or its caption and post it anew."
)
_DAILY = (
    "TikTok's limit of posts for this account is reached, counting other tools too. It goes on when TikTok "
    "allows it again, within 24 hours."
)
_BUSY = "TikTok has trouble at the moment. It is tried again by itself."
_LIMITS = "Export the video again within TikTok's limits and post it anew."
_OPERATOR = (
    "TikTok does not accept this installation's client key or secret: the operator has to correct them."
)
_SETTING = "TikTok did not accept the request of this installation: {words} The operator has to look into it."

ANSWERS: dict[str, Verdict] = {
    # The sheet's section 7
    "invalid_param": _final(_NOT_OURS),
    "invalid_params": _final(_NOT_OURS),
    "invalid_file_upload": _rejected(
        "TikTok cannot take this file: {words} Export it again as MP4 and retry."
    ),
    "scope_permission_missed": _lost(_NO_SCOPE),
    "scope_not_authorized": _lost(_NO_SCOPE),
    "access_token_invalid": _lost(
        "TikTok no longer accepts this account's sign-in. Connect the account again."
    ),
    "invalid_publish_id": _final("TikTok no longer knows this post; what we last heard of it stands."),
    "token_not_authorized_for_specified_publish_id": _final(
        "This post belongs to another TikTok account than the connected one; what we last heard of it stands."
    ),
    "publish_not_cancellable": _final("It is too late to cancel: TikTok is already publishing."),
    "app_version_check_failed": _final("The TikTok app on the phone is too old: update it, then retry."),
    "spam_risk_too_many_posts": _later(Kind.QUOTA, DAY_S, _DAILY),
    "spam_risk_too_many_pending_share": _later(
        Kind.QUOTA,
        HOLD_S,
        "Too many drafts wait in this account's TikTok inbox. Finish some; it then goes on by itself.",
    ),
    "spam_risk_user_banned_from_posting": _final(
        "TikTok has banned this account from posting. Look into the TikTok app for the reason."
    ),
    "reached_active_user_cap": _later(
        Kind.QUOTA,
        HOLD_S,
        "This installation has posted for as many TikTok accounts as TikTok allows in 24 hours. It goes on "
        "by itself; the operator can ask TikTok for an audit to lift the limit.",
    ),
    "unaudited_client_can_only_post_to_private_accounts": _final(
        "TikTok has not audited this installation yet: make the TikTok account private and choose “only me”, "
        "or have the operator get the audit."
    ),
    "url_ownership_unverified": _final(
        "TikTok does not know the address to fetch the video from: the operator has to verify the domain."
    ),
    "privacy_level_option_mismatch": _rejected(_CHOSE_AGAIN),
    "rate_limit_exceeded": _later(
        Kind.RETRY_AFTER, RATE_WAIT_S, "TikTok asked us to slow down. It goes on by itself in about a minute."
    ),
    "internal_error": _again(_BUSY),
    # Reasons of a failed post, section 4.4
    "file_format_check_failed": _rejected(
        "TikTok cannot read this video's format: it takes MP4, WebM and MOV with H.264, H.265, VP8 or VP9. "
        + _LIMITS
    ),
    "duration_check_failed": _rejected("The video is longer than TikTok allows this account. " + _LIMITS),
    "frame_rate_check_failed": _rejected(
        "TikTok takes 23 to 60 frames a second; this video has other. " + _LIMITS
    ),
    "picture_size_check_failed": _rejected("TikTok takes pictures of 360 to 4096 pixels a side. " + _LIMITS),
    "internal": _again("TikTok failed while it worked on the video. It is tried again from the start."),
    "video_pull_failed": _again("TikTok could not fetch the video from us. It is tried again."),
    "photo_pull_failed": _again("TikTok could not fetch the pictures from us. It is tried again."),
    "publish_cancelled": Verdict(
        Kind.PERMANENT, Cancelled, "The post was cancelled before TikTok published it."
    ),
    "auth_removed": _lost(
        "The account took its permission back while TikTok worked on the post. Connect the account again."
    ),
    "spam_risk_text": _rejected("TikTok takes this caption for spam. Change the caption and post it anew."),
    "spam_risk": _rejected(_SPAM),
    # The upload address, section 4.3
    "upload_refused": _final(
        "TikTok refused the bytes of the video as we sent them. Retry; tell the operator if it happens again."
    ),
    "upload_expired": _again(
        "TikTok's upload address has expired. We ask TikTok what arrived and begin anew."
    ),
    "range_mismatch": _unsure(
        "TikTok counts the bytes it has otherwise than we do. We ask TikTok before going on."
    ),
    "upload_cut": _again("The upload to TikTok broke off. It goes on where TikTok stopped receiving."),
    "upload_address_refused": _final(
        "TikTok named an upload address outside TikTok, so nothing was sent. Please tell the operator."
    ),
    "media_changed": _final(
        "The stored video is not as long as it was. Edit the video again and post it anew."
    ),
    # What the line does
    "not_reached": _again("We could not reach TikTok, so nothing was sent. It is tried again by itself."),
    "answer_lost": _unsure(
        "TikTok's answer was lost. We ask TikTok what happened before anything is repeated."
    ),
    "init_answer_lost": _unsure(
        "TikTok's answer was lost before any of the video was sent; nothing was posted."
    ),
    "no_answer": _again("TikTok did not answer in time. It is tried again by itself."),
    "unreadable_answer": _again(
        "TikTok answered with something we cannot read. It is tried again by itself."
    ),
    # OAuth, section 2.2
    "code_refused": Verdict(
        Kind.PERMANENT,
        Refused,
        "TikTok did not accept this sign-in: it was too old or already used. Start connecting again.",
    ),
    "connect_refused": Verdict(
        Kind.PERMANENT, Refused, "TikTok did not accept the sign-in: {words} Start connecting again."
    ),
    "connect_answer_lost": Verdict(
        Kind.PERMANENT, Refused, "TikTok's answer was lost, so nothing was connected. Start connecting again."
    ),
    "access_denied": Verdict(
        Kind.PERMANENT, Refused, "You did not allow the connection on TikTok, so nothing was connected."
    ),
    "invalid_grant": _lost("TikTok has ended this account's permission. Connect the account again."),
    "invalid_request": _final(_SETTING),
    "invalid_client": _final(_OPERATOR),
    "unauthorized_client": _final(_OPERATOR),
    "invalid_scope": _final(_SETTING),
    "unsupported_grant_type": _final(_SETTING),
    "unsupported_response_type": _final(_SETTING),
    "server_error": _again(_BUSY, after_s=2),
    "temporarily_unavailable": _again(_BUSY, after_s=2),
    "refresh_answer_lost": _again("TikTok's answer was lost while renewing the sign-in. It is tried again."),
}
UNKNOWN = Verdict(
    Kind.UNKNOWN,
    Retryable,
    "TikTok answered something we do not know: {words} It is tried again a few times.",
)
# The same word means something else while an account is being connected.
WHILE_CONNECTING = {"invalid_grant": "code_refused", "invalid_request": "connect_refused"}


def verdict(code: str) -> Verdict:
    """What this code means; the row `unknown` for a code that is in no table."""
    if code.startswith("http_5"):
        return ANSWERS["internal_error"]
    return ANSWERS.get(code, UNKNOWN)


def classify(http_status: int, code: str, message: str, *, irreversible: bool = False) -> HouseError:
    """The error for an answer of TikTok, ready to raise; its `code` is TikTok's or else `http_<status>`.

    A definite no stays definite. What asks us to try again, and what we do not know, is Unsure when the call
    was irreversible: it may have worked all the same.
    """
    if code not in ANSWERS and http_status == 429:
        code = "rate_limit_exceeded"
    elif code not in ANSWERS and http_status >= 500:
        code = f"http_{http_status}"
    return error(code or f"http_{http_status}", message, irreversible=irreversible)


def failed(reason: str) -> HouseError:
    """The error of a post that TikTok gave up, by its `fail_reason`; an unknown one ends the attempt."""
    if reason in ANSWERS:
        return error(reason)
    return Permanent(
        f"TikTok did not publish the post and named the reason “{log.redact(reason)[:LONGEST_WORDS]}”. "
        "Look into the TikTok app, then post it anew.",
        code=reason,
    )


def error(code: str, words: str = "", *, irreversible: bool = False) -> HouseError:
    """The error of this row of the table. `words` are TikTok's own; secrets in them are taken out."""
    row = verdict(code)
    quoted = log.redact(" ".join(words.split()))[:LONGEST_WORDS].rstrip(".")
    sentence = row.sentence.replace("{words}", f"“{quoted}”." if quoted else f"“{code}”.")
    if irreversible and issubclass(row.error, (Retryable, NotYet)):
        return Unsure(ANSWERS["answer_lost"].sentence, code=code)
    if issubclass(row.error, NotYet):
        jitter_s = random.uniform(0, RATE_JITTER_S) if row.kind is Kind.RETRY_AFTER else 0.0
        return row.error(sentence, code=code, after_s=(row.after_s or 0.0) + jitter_s)
    if issubclass(row.error, Retryable):
        return row.error(sentence, code=code, after_s=row.after_s)
    return row.error(sentence, code=code)
