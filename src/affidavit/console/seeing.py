"""Questions of analytics as a visitor may ask them: kept to their scope, noted under their name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affidavit.analytics.facade import Analytics
    from affidavit.console.backend import Backend
    from affidavit.console.visitor import Scope, Visitor


def within(scope: Scope) -> Mapping[str, tuple[str, ...]]:
    """Write a scope as questions have it: for each key the values that may be seen."""
    parts = {"department": scope.departments, "tenant": scope.tenants}
    return {name: values for name, values in parts.items() if values is not None}


def analytics_of(backend: Backend, visitor: Visitor) -> Analytics:
    """Give the questions; each is noted in the ledger before its answer is given."""
    return backend.analytics.seen_by(within(visitor.scope), partial(backend.note, visitor))
