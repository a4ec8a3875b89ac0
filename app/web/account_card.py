"""What the card of an account says: how it stands, what it may do, how much it has left, what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app import accounts, platforms, publishing
from app.web import words
from app.web.words import Word

# A permission that ends within this time is told beforehand.
TOLD_AHEAD = timedelta(days=14)
MISSING = Word("Permission missing", "needs", "key-round")
HELD = Word("On hold", "needs", "hourglass")
RENEWING = Word("Renewing", "working", "refresh-cw")
DELAYED = Word("Renewal delayed", "needs", "refresh-cw")
ELSEWHERE = Word("Cannot be used", "needs", "flask-conical")
# What the outage policies of an account are called, and what each does.
POLICIES: Mapping[str, tuple[str, str]] = {
    "spread": (
        "One after another",
        "They go out by themselves as soon as it works again, in turn and apart.",
    ),
    "hold": ("Wait for my word", "They stay until you say of each whether it still goes out."),
    "miss": ("Mark as missed", "They do not go out any more; you can retry each by hand."),
}
# What else to look at where a platform's app is not approved yet (sheets: TikTok 5, YouTube 2.2, Instagram 1).
UNAUDITED: Mapping[str, str] = {
    "tiktok": "Until TikTok has audited the app, posts can be seen by their owner alone.",
    "youtube": "While the consent screen stands at “Testing”, each permission ends after seven days.",
    "instagram": "Without Meta's app review, only people with a role on the app can connect.",
    "facebook": "Without Meta's app review, only people with a role on the app can connect.",
}


@dataclass(frozen=True)
class Tested:
    """What came of a test call a moment ago."""

    fine: bool
    said: str


@dataclass(frozen=True)
class Door:
    """The way to connect an account of one platform, as its button shows it."""

    platform: str
    label: str
    ready: bool
    simulated: bool

    @property
    def settings(self) -> tuple[str, str]:
        """The two settings that open it."""
        first = "CLIENT_KEY" if self.platform == "tiktok" else "CLIENT_ID"
        return f"{self.platform}_{first}".upper(), f"{self.platform}_CLIENT_SECRET".upper()


def doors() -> list[Door]:
    """Every platform's, whether it is open or not."""
    found = []
    for name in platforms.NAMES:
        app = platforms.get(name).app()
        found.append(Door(name, platforms.LABELS[name], bool(app.client_key), app.simulated))
    return found


@dataclass(frozen=True)
class Card:
    """An account with what its card shows. `left` is how much of each limit it has left."""

    account: accounts.Account
    planned: tuple[publishing.Target, ...]
    next_title: str
    left: tuple[publishing.Left, ...] = ()
    tested: Tested | None = None

    @property
    def label(self) -> str:
        return platforms.LABELS[self.account.platform]

    @property
    def word(self) -> Word:
        account, now = self.account, datetime.now(UTC)
        if account.state != accounts.CONNECTED:
            return words.state(account.state)
        if account.missing_scopes:
            return MISSING
        if self.elsewhere:
            return ELSEWHERE
        if account.paused_at is not None:
            return words.state("paused")
        if self.trouble:
            return DELAYED
        if self.held_until is not None:
            return HELD
        if account.access_expires_at is not None and account.access_expires_at <= now:
            return RENEWING
        return words.state(accounts.CONNECTED)

    @property
    def why(self) -> str:
        """What is wrong and what to do, in sentences; empty when nothing is."""
        account = self.account
        if account.state == accounts.NEEDS_RECONNECT:
            reason = account.reason or "The platform no longer lets us post."
            return f"{reason} What falls due before then waits for it; history and plans stay."
        if account.missing_scopes:
            return "Posts cannot go out without it. Connect again and leave every box ticked."
        if self.elsewhere:
            return self.elsewhere
        if account.paused_at is not None:
            return "Nothing of this account starts until it goes on. What is due meanwhile waits."
        return self.held_reason if self.held_until is not None else ""

    @property
    def trouble(self) -> str:
        """Why the last renewal did not work; empty when it did."""
        account = self.account
        if account.state != accounts.CONNECTED or not account.reason or self.elsewhere:
            return ""
        return f"{account.reason} The account stays connected meanwhile."

    @property
    def elsewhere(self) -> str:
        """Why an account of the other world, real or simulated, cannot be used; empty when it is of this one."""
        return accounts.elsewhere(self.account)

    @property
    def held_until(self) -> datetime | None:
        """Until when the platform made this account, or all of this installation, wait."""
        ends = [self.account.held_until, *(left.held_until for left in self.left)]
        return max((at for at in ends if at is not None and at > datetime.now(UTC)), default=None)

    @property
    def held_reason(self) -> str:
        until = self.held_until
        if self.account.held_until == until and self.account.held_reason:
            return self.account.held_reason
        found = (left.reason for left in self.left if left.held_until == until and left.reason)
        return next(found, "The platform asked this account to wait.")

    @property
    def scopes_missing(self) -> list[tuple[str, str]]:
        """(what it may not do, the platform's own word for that)."""
        said = platforms.get(self.account.platform).SCOPE_WORDS
        return [(said.get(scope, scope), scope) for scope in self.account.missing_scopes]

    @property
    def access(self) -> str:
        """When the access ends and who does what about it (S0.11)."""
        account, now = self.account, datetime.now(UTC)
        if account.state != accounts.CONNECTED:
            return "none until it is connected again"
        renew_at = accounts.renews_at(account)
        if renew_at is None:
            return "does not end by itself"
        if renew_at <= now:
            return "is being renewed"
        left_s = (renew_at - now).total_seconds()
        far = words.took(left_s) if left_s < 86_400 else words.distance(renew_at).removeprefix("in ")
        return f"renews by itself in {far}"

    @property
    def ends_at(self) -> datetime | None:
        """When the permission itself ends and a person has to act; None when it has no end."""
        return self.account.refresh_expires_at if self.account.state == accounts.CONNECTED else None

    @property
    def ends_soon(self) -> bool:
        return self.ends_at is not None and (
            self.ends_at - datetime.now(UTC) < TOLD_AHEAD or bool(self.planned_beyond)
        )

    @property
    def planned_beyond(self) -> int:
        """How many planned posts fall due after the permission has ended."""
        return sum(self.ends_at is not None and target.publish_at > self.ends_at for target in self.planned)

    @property
    def next_when(self) -> datetime | None:
        """When the next post is due, if that is still to come."""
        first = self.planned[0] if self.planned else None
        if (
            first is None
            or first.state != publishing.State.SCHEDULED
            or first.publish_at <= datetime.now(UTC)
        ):
            return None
        return first.publish_at

    @property
    def creator(self) -> platforms.Creator | None:
        return accounts.creator_of(self.account)

    @property
    def privacy(self) -> list[str]:
        """Who posts can be shown to, in words; empty where the platform leaves no choice."""
        said = platforms.get(self.account.platform).PRIVACY
        return [said.get(level, level) for level in self.creator.privacy_levels] if self.creator else []

    @property
    def switched_off(self) -> list[str]:
        """What the account has switched off in the platform's own app."""
        creator = self.creator
        if creator is None:
            return []
        found = {
            "comments": creator.comment_disabled,
            "duets": creator.duet_disabled,
            "stitches": creator.stitch_disabled,
        }
        return [what for what, off in found.items() if off]

    @property
    def policy(self) -> str:
        return POLICIES[self.account.outage_policy][0]

    @property
    def policies(self) -> list[tuple[str, str, str]]:
        """(name, word, what it does) of each outage policy, for the form."""
        return [(name, word, does) for name, (word, does) in POLICIES.items()]
