"""People, their workspaces, and how they prove who they are: by a browser's cookie or by an API token.

Owns users, workspaces, members, sessions and sign_in_failures. It knows secrets only for the moment in which
they are made or checked; what is kept of them is a hash. It knows nothing of cookies and of HTTP.
"""

from app.users import passwords
from app.users.checks import (
    EMAIL,
    LONGEST_EMAIL,
    LONGEST_NAME,
    LONGEST_PASSWORD,
    NAME,
    PASSWORD,
    SHORTEST_PASSWORD,
)
from app.users.entry import sign_in, sign_up
from app.users.failures import forget_failures
from app.users.people import (
    THEMES,
    Person,
    Workspace,
    make_operator,
    names,
    set_theme,
    set_zone,
    workspace_names,
)
from app.users.sessions import (
    Session,
    Who,
    by_session,
    forget_sessions,
    is_living,
    revoke,
    sessions,
    sign_out,
    start,
)
from app.users.tokens import TOKEN_S, by_token, issue

__all__ = [
    "EMAIL",
    "LONGEST_EMAIL",
    "LONGEST_NAME",
    "LONGEST_PASSWORD",
    "NAME",
    "PASSWORD",
    "SHORTEST_PASSWORD",
    "THEMES",
    "TOKEN_S",
    "Person",
    "Session",
    "Who",
    "Workspace",
    "by_session",
    "by_token",
    "forget_failures",
    "forget_sessions",
    "is_living",
    "issue",
    "make_operator",
    "names",
    "passwords",
    "revoke",
    "sessions",
    "set_theme",
    "set_zone",
    "sign_in",
    "sign_out",
    "sign_up",
    "start",
    "workspace_names",
]
