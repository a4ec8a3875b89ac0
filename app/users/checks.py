"""What an address, a name and a password must look like. Pure; the patterns are also the API's published ones."""

from __future__ import annotations

import re
import unicodedata

from app.errors import Refused

# What <input type=email> takes (WHATWG HTML, section 4.10.5.1.5), with at least one dot after the @.
EMAIL = (
    r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+$"
)
LONGEST_EMAIL = 254
# Control characters, line separators and marks that turn the direction of what follows (Unicode TR 36, 3.1).
_UNSEEN = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069"
NAME = rf"^[^\s{_UNSEEN}](?:[^{_UNSEEN}]*[^\s{_UNSEEN}])?$"
LONGEST_NAME = 100
PASSWORD = r"^[^\u0000-\u001f\u007f-\u009f]*$"  # noqa: S105 - a pattern, not a password
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200


def normal_email(email: str) -> str:
    """The one spelling an account is found by. Never refuses: sign-in looks for whatever was typed."""
    return email.strip().lower()


def normal_password(password: str) -> str:
    """The same letters typed on different keyboards give the same bytes (NIST SP 800-63B, section 5.1.1.2)."""
    return unicodedata.normalize("NFC", password)


def check(email: str, password: str, name: str) -> tuple[str, str, str]:
    """The three as they are kept, or Refused with a sentence for each field that is wrong."""
    email, name = normal_email(email), unicodedata.normalize("NFC", name.strip())
    problems = {
        "email": _email_problem(email),
        "name": _name_problem(name),
        "password": _password_problem(password),
    }
    fields = {field: problem for field, problem in problems.items() if problem}
    if fields:
        raise Refused("Some of this cannot be accepted yet.", code="invalid", fields=fields)
    return email, normal_password(password), name


def _email_problem(email: str) -> str | None:
    if not email:
        return "Give your e-mail address."
    if len(email) > LONGEST_EMAIL or not re.fullmatch(EMAIL, email):
        return "This is not an e-mail address."
    return None


def _name_problem(name: str) -> str | None:
    if not name:
        return "Give your name."
    if len(name) > LONGEST_NAME:
        return f"At most {LONGEST_NAME} characters."
    return None if re.fullmatch(NAME, name) and _is_text(name) else "A name holds no control characters."


def _password_problem(password: str) -> str | None:
    if len(password) < SHORTEST_PASSWORD:
        return f"At least {SHORTEST_PASSWORD} characters."
    if len(password) > LONGEST_PASSWORD:
        return f"At most {LONGEST_PASSWORD} characters."
    return (
        None
        if re.fullmatch(PASSWORD, password) and _is_text(password)
        else "A password holds no control characters."
    )


def _is_text(text: str) -> bool:
    """Half a surrogate pair is none: no encoding and no column takes it."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
