"""The first administrator: a link that works once, for an hour, printed where the service starts.

Whoever can start the service on the log's database can have one made; so nobody is locked out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from affidavit.console.auth import secret
from affidavit.console.auth.tokens import Tokens
from affidavit.console.visitor import Role
from affidavit.store.serving import ServiceStore

KIND: Final = "bootstrap"
USED: Final = "bootstrap-used"
LASTS: Final = timedelta(hours=1)
PATH: Final = "/login/first"
_FIRST: Final = "first"


class Bootstrap:
    """The links of one log."""

    def __init__(self, store: ServiceStore) -> None:
        self._store = store

    def is_needed(self) -> bool:
        """Whether nobody has ever come in by one, and no administrator's token works."""
        if self._store.get(USED, _FIRST) is not None:
            return False
        now = datetime.now(UTC)
        return not any(
            token.role is Role.ADMIN and token.scope.everything and token.works(now)
            for token in Tokens(self._store).all()
        )

    def make(self) -> str:
        """Make a link's secret; several may be open, as of instances that start together."""
        made = secret.made()
        until = datetime.now(UTC) + LASTS
        self._store.add(KIND, secret.hashed(made), {}, until=until)
        return made

    def use(self, given: str) -> bool:
        """Whether a secret is one, which no link is any more afterwards."""
        if self._store.remove(KIND, secret.hashed(given)) is None:
            return False
        self._store.put(USED, _FIRST, {"used_at": datetime.now(UTC)})
        self._store.clear(KIND)
        return True
