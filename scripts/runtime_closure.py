"""Everything that `pip install affidavit` brings along, as installed in this environment."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable


def applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Whether a requirement holds on this platform, with one of these extras or without any."""
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def direct_requirements(name: str = "affidavit") -> list[Requirement]:
    """What the package itself asks for, without extras."""
    stated = [Requirement(text) for text in distribution(name).requires or []]
    return [requirement for requirement in stated if applies(requirement, ())]


def closure(name: str = "affidavit", extras: Iterable[str] = ()) -> dict[str, Distribution]:
    """The installed distributions that ``name`` needs, directly or not, without itself.

    Raises:
        LookupError: one of them is not installed, so that the answer would be incomplete.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(name, frozenset(extras))]
    while waiting:
        current, wanted = waiting.pop()
        if (current, wanted) in seen:
            continue
        seen.add((current, wanted))
        try:
            found[current] = distribution(current)
        except PackageNotFoundError:
            raise LookupError(f"{current} is not installed: run `make setup` first.") from None
        for text in found[current].requires or []:
            requirement = Requirement(text)
            if applies(requirement, wanted):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    del found[name]
    return found
