"""Accounts on platforms: connecting them, keeping their tokens alive and sealed, saying what is wrong with
them; and our own registrations at the platforms, where operators enter them.
"""

from app.accounts import apps, choices
from app.accounts.connect import Outcome, Picked, begin, connect_simulated, finish, forget_states, pick
from app.accounts.rows import (
    CONNECTED,
    DISCONNECTED,
    NEEDS_RECONNECT,
    OUTAGE_POLICIES,
    Account,
    creator_of,
    get,
    keep_creator,
    list_for,
    pause,
    set_hold,
    set_policy,
    set_success,
    usable,
)
from app.accounts.tokens import (
    Access,
    ask,
    disconnect,
    elsewhere,
    fresh_token,
    lose,
    renew_due,
    renews_at,
)

__all__ = [
    "CONNECTED",
    "DISCONNECTED",
    "NEEDS_RECONNECT",
    "OUTAGE_POLICIES",
    "Access",
    "Account",
    "Outcome",
    "Picked",
    "apps",
    "ask",
    "begin",
    "choices",
    "connect_simulated",
    "creator_of",
    "disconnect",
    "elsewhere",
    "finish",
    "forget_states",
    "fresh_token",
    "get",
    "keep_creator",
    "list_for",
    "lose",
    "pause",
    "pick",
    "renew_due",
    "renews_at",
    "set_hold",
    "set_policy",
    "set_success",
    "usable",
]
