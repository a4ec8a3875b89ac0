"""What Instagram may answer, as one table: code → what it means, which error is raised, what people read.

Source: Instagram sheet, section 6. Its seven-digit subcodes are unique, and a container that failed names nothing
else, so they alone are the keys; codes without a subcode, and those Facebook shares, stand beside them.
"""

from __future__ import annotations

import re

from app.errors import HouseError, Permanent
from app.platforms.answers import Table, again, final, later, lost, refused, rejected
from app.platforms.base import Kind, Verdict
from app.platforms.meta import rows

LABEL = "Instagram"
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
# Section 7: without a number in the headers.
CALLS_WAIT_S = 15 * 60.0
_SUBCODE = re.compile(r"\b(22\d{5})\b")

_ANEW = "Instagram failed while it worked on this post. It is tried again from the start."
_FETCH = "Instagram could not fetch the file from our storage. It is tried again."
_FORMAT = (
    "Instagram does not take this video's format: it wants MP4 or MOV with H.264 or H.265, 23 to 60 frames a second, "
    "at most 1920 pixels wide. Edit the video again and post it anew."
)
_PICTURE = (
    "Instagram takes JPEG pictures of up to 8 MB, between 4:5 and 1.91:1. Choose another and post it anew."
)
_BUG = "Instagram did not accept our request: {words} Trying again will not help; please tell the operator."
_REVIEW = " Until Meta has reviewed this installation's app, only accounts with a role on that app can be connected."
_SLOW = "Instagram takes no more calls for the moment. It goes on by itself when Instagram allows it again."
_WORKING = "Instagram is still working on this post. It goes on by itself."
_CAPTION = "Instagram takes captions of 2200 characters and 30 hashtags. Shorten this one and post it anew."
_DAILY = (
    "Instagram's limit of posts in 24 hours is reached for this account, counting other tools too. It goes on by "
    "itself when the oldest of them is a day old."
)

_OWN: dict[str, Verdict] = {
    "-2": again(_FETCH),
    "-1": again(_ANEW),
    "2207003": again(_FETCH),
    "2207020": again(_ANEW),
    "2207001": again("Instagram has trouble at the moment. It is tried again by itself."),
    "2207032": again(_ANEW),
    "2207053": again(_ANEW),
    "2207057": rejected(
        "Instagram wants a moment inside the video as its cover. Choose another and post it anew."
    ),
    "2207051": later(
        Kind.QUOTA,
        DAY_S,
        "Instagram takes what this account does for spam and stopped it for a while. It is tried again after a day; "
        "post less often until then.",
    ),
    **{code: later(Kind.RETRY_AFTER, CALLS_WAIT_S, _SLOW) for code in ("4", "17", "32", "613", "80002")},
    # The moment at which a place gets free is not said; an hour finds it soon enough.
    "9": later(Kind.QUOTA, HOUR_S, _DAILY),
    "2207042": later(Kind.QUOTA, HOUR_S, _DAILY),
    "24": again(_ANEW),
    "2207006": again(_ANEW),
    "2207008": again(_ANEW, after_s=60),
    "25": final("Instagram has restricted this account. Open the Instagram app and do what it asks for."),
    "2207050": final(
        "Instagram has restricted this account. Open the Instagram app and do what it asks for."
    ),
    "100/33": final(
        "Instagram no longer knows this post, or no longer shows it to this account; what we last heard of it stands."
    ),
    "2207023": final(_BUG),
    "2207028": rejected("A carousel has 2 to 10 pictures. Change their number and post it anew."),
    **{
        code: rejected("Instagram refused the product tags: {words} Remove them and post it anew.")
        for code in ("2207035", "2207036", "2207037")
    },
    "2207040": rejected(
        "Instagram takes at most 20 tags and mentions in a post. Remove some and post it anew."
    ),
    "352": rejected(_FORMAT),
    "2207026": rejected(_FORMAT),
    "9004": again(_FETCH),
    "2207052": again(_FETCH),
    "9007": later(Kind.RETRY_AFTER, 10.0, _WORKING),
    "2207027": later(Kind.RETRY_AFTER, 10.0, _WORKING),
    "36000": rejected(f"The picture is too large. {_PICTURE}"),
    "2207004": rejected(f"The picture is too large. {_PICTURE}"),
    "36001": rejected(f"The picture is no JPEG. {_PICTURE}"),
    "2207005": rejected(f"The picture is no JPEG. {_PICTURE}"),
    "36003": rejected(f"The picture's shape is not taken. {_PICTURE}"),
    "2207009": rejected(f"The picture's shape is not taken. {_PICTURE}"),
    "36004": rejected(_CAPTION),
    "2207010": rejected(_CAPTION),
    **{code: again(_FETCH) for code in ("2207076", "2207077", "2207082", "2207085")},
    "2207081": final(
        "Instagram does not let this account post trial reels. Post it anew as an ordinary one."
    ),
    # Words of ours
    "not_ready": later(Kind.RETRY_AFTER, 10.0, _WORKING),
    "container_failed": final(
        "Instagram did not take the file and gave no reason. Look into the Instagram app, then post it anew."
    ),
    "no_public_address": final(
        "Instagram has to fetch this file by its address, and this installation's storage gives none. The operator "
        "has to make the storage reachable, or post the video as a reel."
    ),
    "renewal_refused": later(
        Kind.RETRY_AFTER, DAY_S, "Instagram does not renew this sign-in yet. It is tried again tomorrow."
    ),
    "not_professional": lost(
        "This is no professional Instagram account (business or creator), and only those can post from other programs. "
        "Change the account's type in the Instagram app, then connect it again."
    ),
    "personal_account": refused(
        "This is a personal Instagram account, and only professional ones (business or creator) can post from other "
        "programs. Change the account's type in the Instagram app, then start connecting again."
    ),
    "no_accounts": refused(
        "None of the Pages you allowed has an Instagram account behind it. Link the account to a Page, tick that Page "
        "on Facebook's screen, then start connecting again."
    ),
    "page_gone": lost(
        "The Page in front of this Instagram account is no longer among those this person manages. Connect it again."
    ),
    "comments_not_allowed": final(
        "This account did not allow writing comments. Connect it again and leave all boxes ticked."
    ),
    "connect_refused": refused(
        "Instagram did not accept the sign-in: {words} Start connecting again." + _REVIEW
    ),
    "access_denied": refused(
        "You did not allow the connection on Instagram, so nothing was connected." + _REVIEW
    ),
}
TABLE = Table("instagram", LABEL, {**rows.common(LABEL), **_OWN})

# Said in words only, in front of any code: the connection has to be made anew (section 6, last line) [M].
LOST_WORDS = {
    "session has been invalidated": "190",
    "not an instagram business account": "not_professional",
    "revoked_access_token": "190",
}
# The container is no longer known: what was last heard of it stands.
GONE = ("100/33", "2207006", "24")


def verdict(code: str) -> Verdict:
    """What this code means; the row `unknown` for a code that is in no table."""
    return TABLE.verdict(code)


def subcode_of(text: str) -> str:
    """The subcode in a container's free text; `container_failed` when there is none (section 4.4)."""
    found = _SUBCODE.search(text)
    return found[1] if found else "container_failed"


def failed(reason: str) -> HouseError:
    """The error of a container that ended as ERROR, by its subcode; an unknown one ends the attempt."""
    if reason in TABLE.rows:
        return TABLE.error(reason)
    return Permanent(
        f"Instagram did not take the file and named the reason {reason}. Look into the Instagram app, then post it "
        "anew.",
        code=reason,
    )
