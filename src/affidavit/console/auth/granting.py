"""Making and ending tokens, within what whoever does it may see: one way for page, API and command.

Each act is noted in the ledger before it is done: nobody comes in by a token that the ledger does
not know of. Nothing here needs the packages of the HTTP service, so that the command works without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from affidavit.console.auth.sessions import Sessions
from affidavit.console.auth.tokens import DEFAULT_DAYS, MOST_DAYS, Token, Tokens, checked_name
from affidavit.console.visitor import Role, Scope
from affidavit.errors import AffidavitError, ConfigError

MOST_NAMES: Final = 100
"""Departments, or tenants, that one token may be limited to."""

LONGEST: Final = 500
"""Characters of the name of a department or tenant, as records have them."""

WIDER: Final = (
    "It sees departments or tenants that you do not. An administrator without limits can end it."
)
_LONGEST_ID: Final = 40

Note = Callable[[str, Mapping[str, Any], int], None]
"""Writes an act into the ledger: what, with what, how many. Raises StoreError where it cannot."""


class NotYours(AffidavitError):  # noqa: N818 - what is answered
    """Whoever asks may not do this to that token."""


class NoSuchToken(AffidavitError):  # noqa: N818 - what is answered
    """There is none, or it has ended."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A token that somebody asks for."""

    name: str
    role: Role
    scope: Scope = field(default_factory=Scope)
    days: int = DEFAULT_DAYS

    def checked(self) -> Grant:
        """Give it with its name as it is kept. Raises ConfigError."""
        if not 1 <= self.days <= MOST_DAYS:
            msg = f"A token lasts from 1 to {MOST_DAYS} days."
            raise ConfigError(msg)
        return Grant(checked_name(self.name), self.role, self.scope, self.days)


def grant(
    tokens: Tokens, wanted: Grant, *, by: str, within: Scope, note: Note
) -> tuple[str, Token]:
    """Make a token; gives its text, told this once, and what is kept of it.

    ``within`` is what its maker may see. Raises ConfigError, StoreError.
    """
    wanted = wanted.checked()
    if not within.covers(wanted.scope):
        msg = (
            "You see some departments or tenants only, so a token of yours is limited to those. "
            "Name them, or ask an administrator without limits."
        )
        raise ConfigError(msg)
    _keep_apart(tokens.all(), wanted)
    told = {"name": wanted.name, "role": wanted.role.value, "days": wanted.days}
    note("token make", {**told, **wanted.scope.as_document()}, 1)
    return tokens.make(wanted.name, wanted.role, wanted.scope, by=by, days=wanted.days)


def revoke(
    tokens: Tokens, sessions: Sessions, public: str, *, by: str, within: Scope, note: Note
) -> Token:
    """End a token for good, and the sessions that it opened; gives what it was.

    Raises NotYours for one that sees more than ``within``, NoSuchToken, StoreError.
    """
    found = tokens.get(public)
    if found is not None and not within.covers(found.scope):
        raise NotYours(WIDER)
    note("token end", {"id": public[:_LONGEST_ID]}, 1)
    ended = tokens.end(public, by=by)
    if ended is None:
        raise NoSuchToken("There is no token of this id that has not ended.")
    sessions.end_of_token(public)
    return ended


def names(given: Iterable[str], what: str) -> tuple[str, ...] | None:
    """Read departments or tenants; none: no limit. Raises ConfigError, also for blanks alone.

    Blanks are no limit that could be meant, as of a variable of a script that was never set.
    """
    parts = list(given)
    found = tuple(dict.fromkeys(name for part in parts if (name := part.strip())))
    if parts and not found:
        msg = (
            f"The {what} that were given name none, which would be a token without that limit. "
            "Name some, or leave them out for all."
        )
        raise ConfigError(msg)
    if len(found) > MOST_NAMES or any(len(name) > LONGEST for name in found):
        msg = (
            f"A token is limited to {MOST_NAMES} {what} at most, each of up to {LONGEST} "
            "characters. Name fewer, or make a second token."
        )
        raise ConfigError(msg)
    return found or None


def state(token: Token, now: datetime) -> str:
    """Say what a token is good for: ``works``, ``ended`` or ``expired``."""
    if token.ended_at is not None:
        return "ended"
    return "works" if token.works(now) else "expired"


def shown(token: Token, now: datetime) -> dict[str, Any]:
    """Give what is known of a token as plain values; the secret is not."""
    scope = token.scope
    return {
        "id": token.id,
        "prefix": token.prefix,
        "name": token.name,
        "role": token.role.value,
        "departments": None if scope.departments is None else list(scope.departments),
        "tenants": None if scope.tenants is None else list(scope.tenants),
        "state": state(token, now),
        "made_at": token.made_at,
        "made_by": token.made_by,
        "until": token.until,
        "used_at": token.used_at,
        "ended_at": token.ended_at,
        "ended_by": token.ended_by,
    }


def _keep_apart(held: Iterable[Token], wanted: Grant) -> None:
    """Keep people apart, whose views are kept by name. Raises ConfigError."""
    now = datetime.now(UTC)
    if any(
        each.name == wanted.name and each.works(now) and each.scope != wanted.scope for each in held
    ):
        msg = (
            "A token of this name is limited to other departments or tenants. Choose another "
            "name: what somebody has saved is kept by it."
        )
        raise ConfigError(msg)
