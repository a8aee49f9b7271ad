"""Sessions: what a browser's cookie stands for. They live in the store, so every instance has them.

The cookie is a secret; the store has its hash. A session ends when nobody used it for a while, at a
fixed time after log-in, with the token that it was opened by, and on log-out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from affidavit.console.auth import secret
from affidavit.console.visitor import Role, Scope
from affidavit.store.serving import ServiceStore

KIND: Final = "session"
IDLE_S: Final = 3600
LONGEST_S: Final = 12 * 3600
MOST_LISTED: Final = 5000
"""Sessions that a list holds, the newest."""

_SEEN_EVERY: Final = timedelta(minutes=1)
_ID: Final = 12


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of a session; the cookie is not."""

    hash: str
    who: str
    role: Role
    scope: Scope
    by: str
    """How it was opened: ``link``, ``oidc``, or ``token:`` and the token's id."""
    made_at: datetime
    seen_at: datetime
    until: datetime
    account: str
    """Who it is of, whatever their name; see :class:`~affidavit.console.visitor.Visitor`."""

    @property
    def id(self) -> str:
        """A public name: part of the hash."""
        return self.hash[:_ID]


class Sessions:
    """The sessions of one log."""

    def __init__(
        self, store: ServiceStore, *, idle_s: int = IDLE_S, longest_s: int = LONGEST_S
    ) -> None:
        self._store = store
        self._idle = timedelta(seconds=idle_s)
        self._longest = timedelta(seconds=longest_s)

    def open(
        self,
        who: str,
        role: Role,
        scope: Scope,
        *,
        by: str,
        account: str | None = None,
        until: datetime | None = None,
    ) -> tuple[str, Session]:
        """Open one; gives the cookie's value. ``until``: no later than this.

        ``account`` tells who it is where the issuer knows; else a token, or this session alone.
        """
        now, cookie = datetime.now(UTC), secret.made()
        end = now + self._longest
        end = end if until is None else min(end, until)
        key = secret.hashed(cookie)
        document = {
            "who": who,
            "role": role.value,
            "scope": scope.as_document(),
            "by": by,
            "account": account or _account(by, key),
            "seen_at": now,
        }
        self._store.add(KIND, key, document, until=end)
        return cookie, _read({**document, "name": key, "made_at": now, "until": end})

    def find(self, cookie: str) -> Session | None:
        """Give the session of a cookie that has not ended."""
        document = self._store.get(KIND, secret.hashed(cookie))
        if document is None:
            return None
        found = _read(document)
        return found if datetime.now(UTC) - found.seen_at < self._idle else None

    def seen(self, session: Session) -> None:
        """Note that it is in use, where the last note is a minute old."""
        now = datetime.now(UTC)
        if now - session.seen_at >= _SEEN_EVERY:
            self._store.change(KIND, session.hash, {"seen_at": now})

    def end(self, cookie: str) -> None:
        """End the session of a cookie."""
        self._store.remove(KIND, secret.hashed(cookie))

    def end_by_id(self, public: str) -> Session | None:
        """End one by its public name; None where there is none."""
        for each in self.all():
            if each.id == public:
                self._store.remove(KIND, each.hash)
                return each
        return None

    def end_of_token(self, token_id: str) -> int:
        """End those that a token opened; says how many."""
        return self._store.clear(KIND, {"by": f"token:{token_id}"})

    def all(self) -> list[Session]:
        """List those that are open, newest first."""
        now = datetime.now(UTC)
        found = [_read(document) for document in self._store.all(KIND, limit=MOST_LISTED)]
        return [each for each in found if now - each.seen_at < self._idle]


def _read(document: Mapping[str, Any]) -> Session:
    return Session(
        hash=document["name"],
        who=document["who"],
        role=Role(document["role"]),
        scope=Scope.read(document["scope"]),
        by=document["by"],
        made_at=document["made_at"],
        seen_at=document["seen_at"],
        until=document["until"],
        # Sessions that were opened before there were accounts lack it, for twelve hours.
        account=document.get("account") or _account(document["by"], document["name"]),
    )


def _account(by: str, key: str) -> str:
    return by if by.startswith("token:") else f"session:{key[:_ID]}"
