"""Who asks: a role, what of the log they may see, and how they came in. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

How = Literal["session", "token", "open"]


class Role(StrEnum):
    """What somebody is here for; what each may do is in :mod:`affidavit.console.roles`."""

    WRITER = "writer"
    VIEWER = "viewer"
    ANALYST = "analyst"
    AUDITOR = "auditor"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which calls may be seen. None: of every department, or tenant; of none with an empty one."""

    departments: tuple[str, ...] | None = None
    tenants: tuple[str, ...] | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.departments is None and self.tenants is None

    def covers(self, other: Scope) -> bool:
        """Whether another scope shows nothing that this one does not."""
        return _within(other.departments, self.departments) and _within(other.tenants, self.tenants)

    def sees(self, department: object, tenant: object) -> bool:
        """Whether a record of a department and a tenant is in it."""
        return (self.departments is None or department in self.departments) and (
            self.tenants is None or tenant in self.tenants
        )

    def as_document(self) -> dict[str, Any]:
        """Give it as it is stored and noted."""
        return {
            name: list(part)
            for name, part in (("departments", self.departments), ("tenants", self.tenants))
            if part is not None
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Scope:
        """Read what :meth:`as_document` gave."""
        departments, tenants = document.get("departments"), document.get("tenants")
        return cls(
            None if departments is None else tuple(map(str, departments)),
            None if tenants is None else tuple(map(str, tenants)),
        )


def _within(inner: tuple[str, ...] | None, outer: tuple[str, ...] | None) -> bool:
    return outer is None or (inner is not None and set(inner) <= set(outer))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who was let in."""

    name: str
    """Shown, and noted in the ledger as the one who read."""
    role: Role
    scope: Scope
    how: How
    id: str
    """Public id of the token or session; no secret."""
    account: str
    """Who it is, whatever their name: ``token:`` and the token's id, also in the sessions that it
    opened; ``oidc:`` and a hash of whom the issuer means; else ``session:`` and the session's id.
    """
    csrf: str = ""
    """What a form of this session must send back; empty where a token came with the request."""

    @property
    def ids(self) -> tuple[str, ...]:
        """By what this visitor is noted: the account; and, before there were accounts, its id."""
        return tuple(dict.fromkeys((self.account, self.account.removeprefix("token:"), self.id)))

    def as_actor(self) -> dict[str, str]:
        """Give it as the ledger notes who acted."""
        return {
            "visitor": self.name,
            "role": self.role.value,
            "how": self.how,
            "visitor_id": self.id,
            "account": self.account,
        }
