"""The codes that mean the same on Instagram and Facebook. Facebook sheet, section 4; instagram sheet, section 6."""

from __future__ import annotations

from app.platforms.answers import again, final, later, lost
from app.platforms.base import Kind, Verdict

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
# Codes of a whole class that has one row: permissions run from 200 to 299.
PERMISSION = range(200, 300)
# One of these and the token is dead, but a renewed one may live: the platforms' calls say access_token_invalid.
RENEW = ("102", "190", "190/463", "190/467")


def common(label: str) -> dict[str, Verdict]:
    """Rows by `code`, `code/subcode` or `/subcode`. A platform adds its own and may replace any of these."""
    busy = f"{label} has trouble at the moment. It is tried again by itself."
    slow = f"{label} takes no more calls for the moment. It goes on by itself when {label} allows it again."
    removed = (
        f"{label} says that a permission of this account is missing or was taken back. Connect it again and leave "
        "all boxes ticked."
    )
    ended = f"{label} no longer accepts this account's sign-in. Connect the account again."
    look = (
        f"{label} wants this person to confirm who they are. Sign in at facebook.com, then connect it again."
    )
    return {
        "1": again(busy),
        "2": again(busy),
        "3": final(
            f"This installation's app may not do this at {label}: the operator has to correct its settings there."
        ),
        "4": later(Kind.RETRY_AFTER, HOUR_S, slow),
        "17": later(Kind.RETRY_AFTER, HOUR_S, slow),
        "32": later(Kind.RETRY_AFTER, HOUR_S, slow),
        "341": later(Kind.RETRY_AFTER, HOUR_S, slow),
        "613": later(Kind.RETRY_AFTER, HOUR_S, slow),
        "80001": later(Kind.RETRY_AFTER, HOUR_S, slow),
        "80002": later(Kind.RETRY_AFTER, HOUR_S, slow),
        "10": lost(removed),
        "200": lost(removed),
        "100": final(
            f"{label} did not accept our request: {{words}} Trying again will not help; please tell the operator."
        ),
        "101": final(
            f"{label} does not accept this installation's app id or secret: the operator has to correct them."
        ),
        "102": lost(ended),
        "190": lost(ended),
        "190/458": lost(f"This installation was removed in {label}'s settings. Connect the account again."),
        "190/459": lost(look),
        "190/460": lost(
            f"The password was changed, so {label} ended the sign-in. Connect the account again."
        ),
        "190/463": lost(f"{label}'s sign-in of this account has run out. Connect the account again."),
        "190/464": lost(look),
        "190/467": lost(ended),
        "/492": lost(
            "The person who connected this account has no role on it any more. Let somebody with a role connect it."
        ),
        "368": later(
            Kind.QUOTA,
            DAY_S,
            f"{label} has blocked posting on this account for a while: {{words}} It is tried again after a day; "
            f"look into {label} for the reason.",
        ),
        "368/1390008": later(
            Kind.QUOTA,
            DAY_S,
            f"{label} says this account posts too fast and has stopped it for a while. It is tried again after a day.",
        ),
        # What the upload host says (facebook sheet, section 4; instagram sheet, section 4.3)
        "OffsetInvalidError": again(
            f"{label} counts the bytes otherwise than we do. It goes on at its count by itself."
        ),
        "PartialRequestError": again(
            f"The upload to {label} broke off. It goes on by itself where {label} stopped."
        ),
        "ProcessingFailedError": again(f"{label} could not work on the bytes it got. It is tried again."),
        "NotAuthorizedError": lost(ended),
    }
