"""API tokens: made once, shown once, stored as a hash."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from affidavit.console.auth import secret
from affidavit.console.visitor import Role, Scope
from affidavit.errors import ConfigError
from affidavit.store.serving import ServiceStore

KIND: Final = "token"
PREFIX: Final = "aff"
DEFAULT_DAYS: Final = 90
MOST_DAYS: Final = 366
MOST_NAME: Final = 80

MOST_LISTED: Final = 5000
"""Tokens that a list holds, the newest."""

_USED_EVERY: Final = timedelta(minutes=1)
"""A token's last use is written down this often at most."""

_FORM: Final = re.compile(r"aff_([0-9a-f]{10})_([A-Za-z0-9_-]{43})")
_BEGIN: Final = re.compile(r"aff_([0-9a-f]{10})_")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]{1,80}")


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; the secret is not."""

    id: str
    """Its public part, shown in lists and noted in the ledger."""
    name: str
    role: Role
    scope: Scope
    made_at: datetime
    made_by: str
    until: datetime
    used_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None

    @property
    def prefix(self) -> str:
        """How the token begins, by which its owner knows it."""
        return f"{PREFIX}_{self.id}_…"

    def works(self, now: datetime) -> bool:
        """Whether it lets somebody in."""
        return self.ended_at is None and now < self.until


class Tokens:
    """The tokens of one log."""

    def __init__(self, store: ServiceStore) -> None:
        self._store = store

    def make(
        self, name: str, role: Role, scope: Scope, *, by: str, days: int = DEFAULT_DAYS
    ) -> tuple[str, Token]:
        """Make one; gives its text, which is told this once, and what is kept of it.

        Raises ConfigError for a name or a time that cannot be.
        """
        name = checked_name(name)
        if not 1 <= days <= MOST_DAYS:
            msg = f"A token lasts from 1 to {MOST_DAYS} days, not {days}."
            raise ConfigError(msg)
        now = datetime.now(UTC)
        # A list shows what has ended, too: the store forgets a token a year after its end.
        ends = now + timedelta(days=days)
        for _ in range(3):  # ids are drawn from 2^40
            public, hidden = secrets.token_hex(5), secret.made()
            document = {
                "title": name,
                "hash": secret.hashed(hidden),
                "role": role.value,
                "scope": scope.as_document(),
                "made_by": by,
                "ends_at": ends,
                "used_at": None,
                "ended_at": None,
                "ended_by": None,
            }
            if self._store.add(KIND, public, document, until=ends + timedelta(days=MOST_DAYS)):
                made = Token(public, name, role, scope, now, by, ends)
                return f"{PREFIX}_{public}_{hidden}", made
        msg = "No token could be made: its ids are taken. Try again."
        raise ConfigError(msg)

    def find(self, text: str) -> Token | None:
        """Give the token of a text that works now; None for every other text alike."""
        form = _FORM.fullmatch(text)
        if form is None:
            return None
        document = self._store.get(KIND, form[1])
        if document is None or not secret.same(document["hash"], secret.hashed(form[2])):
            return None
        found = _read(document)
        return found if found.works(datetime.now(UTC)) else None

    def used(self, token: Token) -> None:
        """Note that it was used, where the last note is a minute old."""
        now = datetime.now(UTC)
        if token.used_at is None or now - token.used_at >= _USED_EVERY:
            self._store.change(KIND, token.id, {"used_at": now})

    def get(self, public: str) -> Token | None:
        """Give one by its public id, whether it works or not."""
        document = self._store.get(KIND, public)
        return None if document is None else _read(document)

    def end(self, public: str, *, by: str) -> Token | None:
        """End one for good; None where there is none that has not ended."""
        document = self._store.change(
            KIND,
            public,
            {"ended_at": datetime.now(UTC), "ended_by": by},
            where={"ended_at": None},
        )
        return None if document is None else _read(document)

    def all(self) -> list[Token]:
        """List them, newest first, with those that ended within a year."""
        return [_read(document) for document in self._store.all(KIND, limit=MOST_LISTED)]


def public_id(text: str) -> str:
    """Give the id that somebody means who writes the id, or how the token begins."""
    found = _BEGIN.match(text.strip())
    return text.strip() if found is None else found[1]


def checked_name(name: str) -> str:
    """Give a name that can be shown anywhere. Raises ConfigError."""
    name = name.strip()
    if not _NAME.fullmatch(name):
        msg = f"A name has 1 to {MOST_NAME} characters, and none that controls the display."
        raise ConfigError(msg)
    return name


def _read(document: Mapping[str, Any]) -> Token:
    return Token(
        id=document["name"],
        name=document["title"],
        role=Role(document["role"]),
        scope=Scope.read(document["scope"]),
        made_at=document["made_at"],
        made_by=document["made_by"],
        until=document["ends_at"],
        used_at=document["used_at"],
        ended_at=document["ended_at"],
        ended_by=document["ended_by"],
    )
