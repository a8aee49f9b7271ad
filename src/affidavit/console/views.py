"""Saved views: a list's filters under a name, with an address that stays.

A view holds filters and a time, no results. Whoever opens one sees through their own scope; one
that names what somebody may not see is not given to them.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from affidavit.console.visitor import Scope, Visitor
from affidavit.errors import ConfigError
from affidavit.event import Document
from affidavit.store.serving import ServiceStore

KIND: Final = "view"
LONGEST_TITLE: Final = 80
MOST: Final = 100
"""Views of one person."""

_MOST_FILTERS: Final = 40


@dataclass(frozen=True, slots=True)
class View:
    """One saved view."""

    id: str
    title: str
    owner: str
    query: Mapping[str, str]
    scope: Scope
    """What its owner could see when it was made."""
    made_at: datetime | None

    def open_to(self, visitor: Visitor) -> bool:
        """Whether somebody may open it: who sees at least as much as its owner did."""
        return visitor.scope.covers(self.scope)


def save(store: ServiceStore, visitor: Visitor, title: str, query: Mapping[str, str]) -> View:
    """Keep a view. Raises ConfigError with the word that says what is wrong with it, StoreError."""
    name = " ".join(title.split())
    if not name or len(name) > LONGEST_TITLE or not name.isprintable():
        raise ConfigError("title")
    if len(query) > _MOST_FILTERS:
        raise ConfigError("many")
    if len(own(store, visitor)) >= MOST:
        raise ConfigError("full")
    key = secrets.token_urlsafe(9)
    document = {
        "title": name,
        "owner": visitor.name,
        "query": [[each, text] for each, text in query.items()],
        "scope": visitor.scope.as_document(),
    }
    store.add(KIND, key, document)
    return View(key, name, visitor.name, query, visitor.scope, None)


def own(store: ServiceStore, visitor: Visitor) -> list[View]:
    """Give somebody's own views, newest first. Two may have one name, and see other calls."""
    found = map(_read, store.all(KIND, {"owner": visitor.name}, MOST))
    return [view for view in found if view.open_to(visitor)]


def by_name(views: Sequence[View]) -> list[View]:
    """Sort views as people look for a name, without regard to capitals and accents."""
    return sorted(views, key=lambda view: (_plain(view.title), view.id))


def _plain(title: str) -> str:
    apart = unicodedata.normalize("NFD", title.casefold())
    return "".join(each for each in apart if not unicodedata.combining(each))


def find(store: ServiceStore, key: str, visitor: Visitor) -> View | None:
    """Give a view by its address; None where there is none, or not for this visitor."""
    document = store.get(KIND, key)
    if document is None:
        return None
    view = _read(document)
    return view if view.open_to(visitor) else None


def remove(store: ServiceStore, key: str, visitor: Visitor) -> bool:
    """Remove one's own view; False where there is none."""
    view = find(store, key, visitor)
    return view is not None and view.owner == visitor.name and store.remove(KIND, key) is not None


def _read(document: Document) -> View:
    return View(
        id=str(document["name"]),
        title=str(document.get("title", "")),
        owner=str(document.get("owner", "")),
        # Pairs, not a document: names of filters may hold a colon, a dot or a dollar sign.
        query={str(name): str(text) for name, text in document.get("query", ())},
        scope=Scope.read(document.get("scope") or {}),
        made_at=document.get("made_at"),
    )
