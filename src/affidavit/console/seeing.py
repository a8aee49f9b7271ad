"""What a visitor may ask for and take away: kept to their scope, noted under their name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from affidavit.analytics.facade import Analytics
    from affidavit.console.backend import Backend
    from affidavit.console.visitor import Scope, Visitor
    from affidavit.event import Document
    from affidavit.store.sealing import SealStore


_ASKED: Final = "llm_request"


def within(scope: Scope) -> Mapping[str, tuple[str, ...]]:
    """Write a scope as questions have it: for each key the values that may be seen."""
    parts = {"department": scope.departments, "tenant": scope.tenants}
    return {name: values for name, values in parts.items() if values is not None}


def records_of(seals: SealStore, call_id: str, scope: Scope) -> list[tuple[str, Document]]:
    """Give the stored records of a call that a scope shows, each with its collection.

    Records of several departments may belong to one call. One that names neither department nor
    tenant is shown with a call that is. Raises StoreError.
    """
    records = list(seals.of_call(call_id))
    if scope.everything:
        return records

    def seen(document: Document) -> bool:
        return scope.sees(document.get("department"), document.get("tenant"))

    asked = [d for _, d in records if d.get("event_type") == _ASKED]
    if not all(map(seen, asked)):
        return []
    return [
        (dest, d)
        for dest, d in records
        if seen(d) or (asked and d.get("department") is None and d.get("tenant") is None)
    ]


def analytics_of(backend: Backend, visitor: Visitor) -> Analytics:
    """Give the questions; each is noted in the ledger before its answer is given."""
    return backend.analytics.seen_by(within(visitor.scope), partial(backend.note, visitor))
