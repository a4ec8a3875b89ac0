"""What Facebook may answer, as one table. Facebook sheet, section 4; what Instagram shares is in `meta.rows`.

The upload numbers stand as `code` in some answers and as `error_subcode` in others, so they have one row each.
Codes of our own stand in the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.platforms.answers import Table, again, duplicate, final, later, lost, refused, rejected
from app.platforms.base import Kind, Verdict
from app.platforms.meta import rows

HOUR_S = 3600.0

_FORMAT = "Facebook cannot read this file: {words} Export it again as MP4 with H.264 and post it anew."
_BROKE_OFF = "The upload to Facebook broke off. It goes on by itself where Facebook stopped receiving."
_ANEW = "Facebook dropped the upload that was begun: {words} It begins anew."
_REEL = "Export the video again as a Reel, or choose an ordinary video, and post it anew."
_RULES = "Facebook says that this post breaks its rules: {words} Look into Facebook for the reason."
_LINK = "Facebook cannot use a link in this post: {words} Change or remove the link and post it anew."
_ROLE = "Connect it with a person who may create content on this Page."

_ROWS: dict[str, Verdict] = {
    "389": again("Facebook could not fetch the file from us. It is tried again."),
    "506": duplicate(
        "Facebook already has this very post on the Page, so it takes no second one. Change the text to post it anew."
    ),
    "6000": again(_ANEW),
    "6001": again(_ANEW),
    # The file
    "382": rejected("The file is smaller than Facebook takes. Choose another one and post it anew."),
    "1363022": rejected("The file is smaller than Facebook takes. Choose another one and post it anew."),
    "1363023": rejected("The file is larger than the 2 GB that Facebook takes. Export it smaller."),
    "1363024": rejected(_FORMAT),
    "1363031": rejected(_FORMAT),
    "1363032": rejected(_FORMAT),
    "1363025": rejected("The video is shorter than Facebook takes. Choose a longer one."),
    "1363026": rejected("The video is longer than Facebook takes. Shorten it and post it anew."),
    "1363040": rejected(f"A Reel is upright, 9:16; this video is not. {_REEL}"),
    "1363127": rejected(f"A Reel has at least 540 × 960 pixels; this video has fewer. {_REEL}"),
    "1363128": rejected(f"A Reel lasts 3 to 90 s; this video does not. {_REEL}"),
    "1363129": rejected(f"A Reel has 24 to 60 frames a second; this video has other. {_REEL}"),
    "video_failed": rejected(
        "Facebook could not work on this video: {words} Export it again and post it anew; look into Facebook "
        "for the reason."
    ),
    # The upload
    "1363019": again(_BROKE_OFF),
    "1363021": again(_BROKE_OFF),
    "1363030": again(_BROKE_OFF),
    "1363033": again(_BROKE_OFF),
    "1363037": again("Facebook counts the bytes otherwise than we do. It goes on at its count by itself."),
    "1363041": again(_ANEW),
    "1363045": again(_ANEW),
    "upload_failed": again("Facebook could not store the upload. It begins anew."),
    # The Page and its people
    "1363042": lost(f"This person may not upload to the Page any more. {_ROLE}"),
    "no_page_left": lost(f"This person no longer manages the Page on Facebook. {_ROLE}"),
    "no_page": refused(
        "Facebook shows no Page for this sign-in. Start again and choose the Pages you want to post to."
    ),
    "no_page_task": refused(
        "You may not create content on any of the Pages you chose. Ask the Page's owner for the task, then start again."
    ),
    "1404078": final(
        "Facebook asks for Page Publishing Authorization first. Do it in the Page's settings on Facebook, then retry."
    ),
    "4854002": final("Facebook asks you to confirm your identity first. Do it at facebook.com, then retry."),
    "reels_quota": later(
        Kind.QUOTA,
        HOUR_S,
        "Facebook takes 30 Reels a day for one Page, counting other tools too. It goes on when there is room again.",
    ),
    # The words
    "1346003": rejected(_RULES),
    "1404102": rejected(_RULES),
    "1609005": rejected(_LINK),
    "1500": rejected(_LINK),
    # What is asked for is not there, or not for us
    "100/33": final("Facebook no longer knows this post; what we last heard of it stands."),
    "803": final("Facebook no longer knows this post; what we last heard of it stands."),
    # The code of a sign-in (the sheet names no number; these are what the dialog's exchange is known to answer)
    "100/36007": refused(
        "Facebook did not accept this sign-in: it was too old or already used. Start connecting again."
    ),
    "100/36009": refused(
        "Facebook did not accept this sign-in: it was too old or already used. Start connecting again."
    ),
    "191": final(
        "Facebook does not know the address that people return to: the operator has to enter it in the app's settings."
    ),
}

TABLE = Table("facebook", "Facebook", {**rows.common("Facebook"), **_ROWS})

# While connecting, what is otherwise the end of an account is only this sign-in's.
WHILE_CONNECTING: Mapping[str, str] = MappingProxyType(
    {
        "100": "connect_refused",
        "100/36007": "code_refused",
        "100/36009": "code_refused",
        **dict.fromkeys((*rows.RENEW, "190/458", "190/460"), "connect_refused"),
    }
)
# At the edge for Reels the custom limit is the one of 30 a day (sheet, section 3.1).
AT_REELS: Mapping[str, str] = MappingProxyType(
    {**dict.fromkeys(rows.RENEW, "access_token_invalid"), "613": "reels_quota"}
)
# Before the last call a session that is over is simply begun anew.
IN_UPLOAD: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(rows.RENEW, "access_token_invalid"),
        **dict.fromkeys(("1363041", "1363045", "6000", "6001"), "upload_expired"),
    }
)

verdict = TABLE.verdict
classify = TABLE.classify
