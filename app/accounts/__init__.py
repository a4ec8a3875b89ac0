"""Accounts on platforms: connecting them, keeping their tokens alive and sealed, saying what is wrong with
them.
"""

from app.accounts.connect import begin, connect_simulated, finish
from app.accounts.rows import (
    CONNECTED,
    DISCONNECTED,
    NEEDS_RECONNECT,
    Account,
    creator_of,
    get,
    keep_creator,
    list_for,
    pause,
    set_hold,
    set_success,
    usable,
)
from app.accounts.tokens import Access, disconnect, forget_states, fresh_token, lose, renew_due

__all__ = [
    "CONNECTED",
    "DISCONNECTED",
    "NEEDS_RECONNECT",
    "Access",
    "Account",
    "begin",
    "connect_simulated",
    "creator_of",
    "disconnect",
    "finish",
    "forget_states",
    "fresh_token",
    "get",
    "keep_creator",
    "list_for",
    "lose",
    "pause",
    "renew_due",
    "set_hold",
    "set_success",
    "usable",
]
