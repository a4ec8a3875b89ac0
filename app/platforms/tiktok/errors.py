"""What TikTok may answer, as one table: code → what it means, which error is raised, what people read.

Source: TikTok sheet, sections 2.2 (OAuth), 4.3 (upload), 4.4 (reasons of a failed post), 7 (all others).
Codes of our own stand in the same table, so that a stored code can always be looked up again with `verdict`.
"""

from __future__ import annotations

from app import log
from app.errors import Cancelled, HouseError, Permanent
from app.platforms import answers
from app.platforms.answers import LONGEST_WORDS, again, final, later, lost, rejected
from app.platforms.base import Kind, Verdict

DAY_S = 24 * 3600.0
# Long enough not to knock all day, short enough to notice that somebody made room.
HOLD_S = 6 * 3600.0

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

ROWS: dict[str, Verdict] = {
    # The sheet's section 7
    "invalid_param": final(_NOT_OURS),
    "invalid_params": final(_NOT_OURS),
    "invalid_file_upload": rejected(
        "TikTok cannot take this file: {words} Export it again as MP4 and retry."
    ),
    "scope_permission_missed": lost(_NO_SCOPE),
    "scope_not_authorized": lost(_NO_SCOPE),
    "invalid_publish_id": final("TikTok no longer knows this post; what we last heard of it stands."),
    "token_not_authorized_for_specified_publish_id": final(
        "This post belongs to another TikTok account than the connected one; what we last heard of it stands."
    ),
    "publish_not_cancellable": final("It is too late to cancel: TikTok is already publishing."),
    "app_version_check_failed": final("The TikTok app on the phone is too old: update it, then retry."),
    "spam_risk_too_many_posts": later(Kind.QUOTA, DAY_S, _DAILY),
    "spam_risk_too_many_pending_share": later(
        Kind.QUOTA,
        HOLD_S,
        "Too many drafts wait in this account's TikTok inbox. Finish some; it then goes on by itself.",
    ),
    "spam_risk_user_banned_from_posting": final(
        "TikTok has banned this account from posting. Look into the TikTok app for the reason."
    ),
    "reached_active_user_cap": later(
        Kind.QUOTA,
        HOLD_S,
        "This installation has posted for as many TikTok accounts as TikTok allows in 24 hours. It goes on "
        "by itself; the operator can ask TikTok for an audit to lift the limit.",
        scope="app",
    ),
    "unaudited_client_can_only_post_to_private_accounts": final(
        "TikTok has not audited this installation yet: make the TikTok account private and choose “only me”, "
        "or have the operator get the audit."
    ),
    "url_ownership_unverified": final(
        "TikTok does not know the address to fetch the video from: the operator has to verify the domain."
    ),
    "privacy_level_option_mismatch": rejected(_CHOSE_AGAIN),
    # Reasons of a failed post, section 4.4
    "file_format_check_failed": rejected(
        "TikTok cannot read this video's format: it takes MP4, WebM and MOV with H.264, H.265, VP8 or VP9. "
        + _LIMITS
    ),
    "duration_check_failed": rejected("The video is longer than TikTok allows this account. " + _LIMITS),
    "frame_rate_check_failed": rejected(
        "TikTok takes 23 to 60 frames a second; this video has other. " + _LIMITS
    ),
    "picture_size_check_failed": rejected("TikTok takes pictures of 360 to 4096 pixels a side. " + _LIMITS),
    "internal": again("TikTok failed while it worked on the video. It is tried again from the start."),
    "video_pull_failed": again("TikTok could not fetch the video from us. It is tried again."),
    "photo_pull_failed": again("TikTok could not fetch the pictures from us. It is tried again."),
    "publish_cancelled": Verdict(
        Kind.PERMANENT, Cancelled, "The post was cancelled before TikTok published it."
    ),
    "auth_removed": lost(
        "The account took its permission back while TikTok worked on the post. Connect the account again."
    ),
    "spam_risk_text": rejected("TikTok takes this caption for spam. Change the caption and post it anew."),
    "spam_risk": rejected(_SPAM),
    # OAuth, section 2.2
    "invalid_grant": lost("TikTok has ended this account's permission. Connect the account again."),
    "invalid_request": final(_SETTING),
    "invalid_client": final(_OPERATOR),
    "unauthorized_client": final(_OPERATOR),
    "invalid_scope": final(_SETTING),
    "unsupported_grant_type": final(_SETTING),
    "unsupported_response_type": final(_SETTING),
    "server_error": again(_BUSY, after_s=2),
    "temporarily_unavailable": again(_BUSY, after_s=2),
}
TABLE = answers.Table("tiktok", "TikTok", ROWS)
# The same word means something else while an account is being connected.
WHILE_CONNECTING = {"invalid_grant": "code_refused", "invalid_request": "connect_refused"}

verdict = TABLE.verdict
classify = TABLE.classify
error = TABLE.error
ANSWERS = TABLE.rows


def failed(reason: str) -> HouseError:
    """The error of a post that TikTok gave up, by its `fail_reason`; an unknown one ends the attempt."""
    if reason in ANSWERS:
        return error(reason)
    return Permanent(
        f"TikTok did not publish the post and named the reason “{log.redact(reason)[:LONGEST_WORDS]}”. "
        "Look into the TikTok app, then post it anew.",
        code=reason,
    )
