"""What each role may do: one table, for routes, templates, documents and tests."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from affidavit.console.visitor import Role


class Right(StrEnum):
    """Something that a route asks for."""

    INGEST = "ingest"
    METADATA = "metadata"
    CONTENT = "content"
    INTEGRITY = "integrity"
    EXPORT = "export"
    ALERTS = "alerts"
    SILENCE = "silence"
    COST = "cost"
    SETTINGS = "settings"
    TOKENS = "tokens"


MEANS: Final[Mapping[Right, str]] = {
    Right.INGEST: "add records",
    Right.METADATA: "see calls without their texts",
    Right.CONTENT: "read requests and answers, with a reason",
    Right.INTEGRITY: "verify the log, and see who read what",
    Right.EXPORT: "export calls, and download evidence",
    Right.ALERTS: "see metrics and alerts",
    Right.SILENCE: "silence and test alerts",
    Right.COST: "see costs and use",
    Right.SETTINGS: "see the configuration in force and its history",
    Right.TOKENS: "make and end tokens and sessions",
}
"""Each right in words: "the right to …"."""

_VIEWER: Final = frozenset({Right.METADATA, Right.COST, Right.ALERTS})
_ANALYST: Final = _VIEWER | {Right.CONTENT}
_AUDITOR: Final = _ANALYST | {Right.INTEGRITY, Right.EXPORT, Right.SETTINGS}

RIGHTS: Final[Mapping[Role, frozenset[Right]]] = {
    Role.WRITER: frozenset({Right.INGEST}),
    Role.VIEWER: _VIEWER,
    Role.ANALYST: _ANALYST,
    Role.AUDITOR: _AUDITOR,
    Role.ADMIN: frozenset(Right),
}
"""The table."""


def may(role: Role, right: Right) -> bool:
    """Whether a role has a right."""
    return right in RIGHTS[role]


def roles_with(right: Right) -> tuple[Role, ...]:
    """Name the roles that have a right, those with least first."""
    return tuple(role for role in Role if may(role, right))
