"""What YouTube and Google may answer, as one table: code → what it means, which error is raised, what people read.

Source: YouTube sheet, sections 2.2 (OAuth), 3.4 (what becomes of a video), 4 (its words), 5 (the Data API).
Codes of our own stand in the same table, so that a stored code can always be looked up again with `verdict`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app import http, log
from app.errors import HouseError, NotYet, Permanent, Retryable
from app.platforms import answers
from app.platforms.answers import LONGEST_WORDS, again, duplicate, final, later, lost, refused, rejected
from app.platforms.base import Kind, Verdict

DAY_S = 24 * 3600.0
THUMBNAIL_WAIT_S = 15 * 60.0
# Quotas begin anew at midnight there, by the zone's own rules (sheet, section 1).
PACIFIC = ZoneInfo("America/Los_Angeles")
LONGEST_RETRY_AFTER_S = 3600.0

_SPENT = (
    "This installation has used up what YouTube allows its project for today. It goes on by itself after midnight "
    "Pacific time."
)
_CLOSED = "YouTube does not let this account post: {words} Look into YouTube for the reason."
_FIELD = "YouTube does not accept {what} of this video. Change it and retry."
_OPERATOR = (
    "Google does not accept this installation's client id or secret: the operator has to correct them."
)
_SETTING = "Google did not accept the request of this installation: {words} The operator has to look into it."
_EXPORT = "Export it as MP4 with H.264 and AAC and post it anew."
_BROKEN = "YouTube failed while it worked on the video. Post it anew."
_RIGHTS = "YouTube has rejected this video ({why}). Look into YouTube Studio for the details."


def _field(what: str) -> Verdict:
    return rejected(_FIELD.replace("{what}", what))


def _rights(why: str) -> Verdict:
    return rejected(_RIGHTS.replace("{why}", why))


ROWS: dict[str, Verdict] = {
    # The Data API, section 5
    "authError": lost("YouTube no longer accepts this account's sign-in. Connect the account again."),
    "authorizationRequired": lost(
        "YouTube no longer accepts this account's sign-in. Connect the account again."
    ),
    "youtubeSignupRequired": refused(
        "This Google account has no YouTube channel. Create one on YouTube, then connect it again."
    ),
    "insufficientPermissions": lost(
        "YouTube says this account did not allow what is needed. Connect it again and leave every box ticked."
    ),
    "quotaExceeded": later(Kind.QUOTA, DAY_S, _SPENT, scope="app"),
    "dailyLimitExceeded": later(Kind.QUOTA, DAY_S, _SPENT, scope="app"),
    # Our own word for rateLimitExceeded that speaks of the day, not of the pace.
    "upload_quota_exceeded": later(
        Kind.QUOTA,
        DAY_S,
        "This installation has used up the uploads YouTube allows its project for today. It goes on by itself "
        "after midnight Pacific time.",
        scope="app",
    ),
    "rateLimitExceeded": later(
        Kind.RETRY_AFTER, 60.0, "YouTube asked us to slow down. It goes on by itself in about a minute."
    ),
    "userRateLimitExceeded": later(
        Kind.RETRY_AFTER, 60.0, "YouTube asked us to slow down. It goes on by itself in about a minute."
    ),
    "uploadLimitExceeded": later(
        Kind.QUOTA,
        DAY_S,
        "This channel has uploaded as many videos as YouTube lets it for now. It goes on by itself in a day.",
    ),
    "forbidden": final("YouTube does not allow this: {words} Look into YouTube for the reason."),
    "channelClosed": final(_CLOSED),
    "channelSuspended": final(_CLOSED),
    "authenticatedUserAccountClosed": final(_CLOSED),
    "authenticatedUserAccountSuspended": final(_CLOSED),
    "accessNotConfigured": final(
        "The YouTube Data API is not switched on in this installation's Google project: the operator has to do it."
    ),
    "videoNotFound": final(
        "YouTube no longer knows this video: it was deleted there. Post it anew if it should be seen."
    ),
    "uploadRateLimitExceeded": later(
        Kind.RETRY_AFTER,
        THUMBNAIL_WAIT_S,
        "YouTube takes no more thumbnails from this channel for a while. It is tried again in 15 minutes.",
    ),
    "backendError": again("YouTube has trouble at the moment. It is tried again by itself."),
    # The words of a video and its thumbnail, sections 4 and 5
    "invalidTitle": _field("the title"),
    "invalidDescription": _field("the description"),
    "invalidTags": _field("the tags"),
    "invalidCategoryId": _field("the category"),
    "invalidPublishAt": _field("the time to make it public"),
    "invalidVideoMetadata": _field("title or category"),
    "invalidFilename": _field("the file name"),
    "defaultLanguageNotSet": _field("the language"),
    "forbiddenPrivacySetting": _field("who may see it, the privacy"),
    "forbiddenLicenseSetting": _field("the licence"),
    "mediaBodyRequired": final("YouTube got no file. Retry; tell the operator if it happens again."),
    "invalidImage": rejected(
        "YouTube does not take this picture as a thumbnail. Choose another one: JPEG or PNG up to 50 MB."
    ),
    "badRequest": final(
        "YouTube did not accept our request: {words} Trying again will not help; please tell the operator."
    ),
    # A 503 that names a wait; the session keeps what it has.
    "upload_wait": again("YouTube asked us to wait before the upload goes on. It goes on where it stopped."),
    # What becomes of a video, section 3.4: failureReason
    "conversion": rejected(f"YouTube could not convert this video. {_EXPORT}"),
    "invalidFile": rejected(f"YouTube cannot read this file as a video. {_EXPORT}"),
    "emptyFile": rejected(f"YouTube got an empty file. {_EXPORT}"),
    "tooSmall": rejected(f"The file is too small to be a video. {_EXPORT}"),
    "codec": rejected(f"YouTube does not know this video's codec. {_EXPORT}"),
    "uploadAborted": again("The upload to YouTube was stopped. It is tried again from the start."),
    # rejectionReason
    "copyright": _rights("copyright"),
    "inappropriate": _rights("inappropriate content"),
    "duplicate": duplicate(
        "YouTube has rejected this video: the same file is on the channel already. Look into YouTube Studio, or change "
        "the video and post it anew."
    ),
    "termsOfUse": _rights("against its terms of use"),
    "uploaderAccountSuspended": final(
        "YouTube has suspended this account. Look into YouTube for the reason."
    ),
    "uploaderAccountClosed": final("This YouTube account is closed. Connect another one."),
    "length": rejected(
        "YouTube has rejected this video: it is too long for the channel. Confirm the channel's phone number at "
        "youtube.com/verify, or shorten the video."
    ),
    "claim": _rights("somebody's rights were claimed"),
    "trademark": _rights("a trademark"),
    "legal": _rights("a legal complaint"),
    # processingFailureReason
    "uploadFailed": again(_BROKEN),
    "transcodeFailed": rejected(f"YouTube could not convert this video. {_EXPORT}"),
    "streamingFailed": again(_BROKEN),
    "other": again(_BROKEN),
    # OAuth, section 2.2
    "invalid_grant": lost("Google has ended this account's permission. Connect the account again."),
    "invalid_client": final(_OPERATOR),
    "unauthorized_client": final(_OPERATOR),
    "deleted_client": final(_OPERATOR),
    "redirect_uri_mismatch": final(
        "The return address of this installation is not registered at Google: the operator has to correct it."
    ),
    "invalid_request": final(_SETTING),
    "invalid_scope": final(_SETTING),
    "unsupported_grant_type": final(_SETTING),
    "unsupported_response_type": final(_SETTING),
    "admin_policy_enforced": refused(
        "The administrator of this Google account does not allow the connection. Ask them, or use another account."
    ),
    "org_internal": refused(
        "This installation's Google project is open to its own organisation only: the operator has to change that."
    ),
    "no_lasting_permission": refused(
        "Google gave a permission for one hour only, so nothing was connected. Start connecting again."
    ),
}
TABLE = answers.Table("youtube", "YouTube", ROWS)
# The same word means something else while an account is being connected.
WHILE_CONNECTING = {"invalid_grant": "code_refused", "invalid_request": "connect_refused"}
# A token that does not work, by every name that Google has for it: renewed once, then the call is repeated.
TOKEN_REFUSED = ("authError", "authorizationRequired")
UNTIL_MIDNIGHT = ("quotaExceeded", "dailyLimitExceeded", "upload_quota_exceeded")
_TAG = re.compile(r"<[^<>]*>")


def verdict(code: str) -> Verdict:
    """What this code means; the row `unknown` for a code that is in no table."""
    return TABLE.verdict(code)


def error(code: str, words: str = "", *, irreversible: bool = False) -> HouseError:
    """The error of this row of the table. Quotas of the day wait for midnight Pacific time."""
    found = TABLE.error(code, words, irreversible=irreversible)
    if code in UNTIL_MIDNIGHT and isinstance(found, NotYet):
        found.after_s = until_midnight_s(datetime.now(UTC))
    return found


def classify(http_status: int, reason: str, message: str, *, irreversible: bool = False) -> HouseError:
    """The error for an answer of the Data API, by its reason and then by its status (section 5)."""
    words = html.unescape(_TAG.sub("", message))
    code = reason
    if reason in TOKEN_REFUSED or (http_status == 401 and reason not in ROWS):
        code = "access_token_invalid"
    elif reason == "rateLimitExceeded" and "per day" in words.lower():
        code = "upload_quota_exceeded"
    elif reason not in ROWS and http_status == 403:
        code = "forbidden"
    elif reason not in ROWS and http_status == 400:
        code = "badRequest"
    elif reason not in TABLE.rows:
        # Only the table's own way knows which statuses stand for trouble of the other side.
        found = TABLE.classify(http_status, reason, words, irreversible=irreversible)
        return error(found.code, words, irreversible=irreversible)
    return error(code, words, irreversible=irreversible)


def refusal(
    answer: http.Answer, *, irreversible: bool = False, oauth: Mapping[str, str] | None = None
) -> HouseError:
    """The error for an answer that is no success, in whichever of Google's two shapes it comes.

    `oauth` gives a code of the token endpoint the row of the table that it stands for in this step. A wait that
    the answer names goes before the table's.
    """
    reason, message = "", ""
    try:
        said = answer.json()
    except Retryable:
        said = None
    told = said.get("error") if isinstance(said, dict) else None
    if isinstance(told, dict):
        listed = told.get("errors")
        first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
        reason = str(first.get("reason") or "")
        message = str(told.get("message") or first.get("message") or "")
    elif isinstance(told, str) and isinstance(said, dict):
        reason, message = told, str(said.get("error_description") or "")
    if oauth is not None:
        code = oauth.get(reason, reason)
        found = TABLE.classify(answer.status, code, message)
    else:
        found = classify(answer.status, reason, message, irreversible=irreversible)
    wait_s = retry_after_s(answer)
    if (
        wait_s is not None
        and isinstance(found, (Retryable, NotYet))
        and verdict(found.code).kind is not Kind.QUOTA
    ):
        found.after_s = wait_s
    return found


def retry_after_s(answer: http.Answer) -> float | None:
    """How long the answer asks us to wait, at most an hour; None when it does not say in seconds."""
    said = answer.headers.get("retry-after", "")
    return min(float(said), LONGEST_RETRY_AFTER_S) if said.isdigit() else None


def failed(reason: str) -> HouseError:
    """The error of a video that YouTube turned down, by its reason; an unknown one ends the attempt."""
    if reason in ROWS:
        return error(reason)
    return Permanent(
        f"YouTube did not publish the video and named the reason “{log.redact(reason)[:LONGEST_WORDS]}”. Look into "
        "YouTube Studio, then post it anew.",
        code=reason,
    )


def cut_off(answer: http.Answer | None = None) -> HouseError:
    """The upload broke off, and what arrived can be asked: a definite no to the call that broke.

    `upload_wait` when the answer names a wait: that is the queue's to keep, not ours.
    """
    wait_s = retry_after_s(answer) if answer else None
    found = error("upload_cut" if wait_s is None else "upload_wait")
    if wait_s is not None and isinstance(found, Retryable):
        found.after_s = wait_s
    return found


def until_midnight_s(now: datetime) -> float:
    """Seconds until the quotas begin anew."""
    here = now.astimezone(PACIFIC)
    midnight = datetime.combine(here.date() + timedelta(days=1), time(), PACIFIC)
    return (midnight - now).total_seconds()
