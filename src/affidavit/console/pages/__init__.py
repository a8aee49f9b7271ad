"""The pages of the console: one module each, with a ``router``.

Lives here: what a page asks of the backend, and what it shows. Does not live here: who may ask
(:mod:`affidavit.console.doors`), how figures are written (:mod:`affidavit.console.figures`), and
queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from affidavit.console.roles import Right

if TYPE_CHECKING:
    from fastapi import APIRouter

__all__ = ["NAV", "Entry", "routers"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the navigation; its word is ``nav.<name>``."""

    name: str
    path: str
    right: Right
    """Who lacks it does not see the line."""
    key: str
    """The letter that goes there, after ``g``."""


NAV: Final = (
    Entry("overview", "/", Right.METADATA, "o"),
    Entry("calls", "/calls", Right.METADATA, "c"),
    Entry("cost", "/cost", Right.COST, "p"),
    Entry("integrity", "/integrity", Right.INTEGRITY, "i"),
    Entry("reports", "/reports", Right.INTEGRITY, "r"),
    Entry("monitoring", "/monitoring", Right.ALERTS, "m"),
    Entry("settings", "/settings", Right.SETTINGS, "s"),
)

_PAGES: Final = (
    "static",
    "login",
    "settings",
    "preferences",
    "overview",
    "exports",
    "calls",
    "call",
    "cost",
    "integrity",
    "reports",
    "monitoring",
)
"""Modules here that have routes; a page adds its own with its first commit."""


def routers() -> list[APIRouter]:
    """Give the routes of every page, in the order in which they are matched."""
    found: list[APIRouter] = []
    for name in _PAGES:
        module = import_module(f"{__name__}.{name}")
        found.append(module.router)
    return found
