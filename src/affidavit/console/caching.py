"""What a client has already, and how it takes what it has not: two headers read as HTTP says. Pure.

Answers are not to be kept (``no-store``, which the gate adds) but for what says otherwise itself:
the console's own files, and the tiles and checkpoints of the log.
"""

from __future__ import annotations

from typing import Final

FOR_EVER: Final = "public, max-age=31536000, immutable"
"""For what anybody may see, at an address that changes with it."""

FOR_EVER_MINE: Final = "private, max-age=31536000, immutable"
"""The same of what only those may see who are let in: no cache between keeps it for others."""

A_DAY: Final = "public, max-age=86400"
"""For what anybody may see, at an address that stays."""

_MOST_TAGS: Final = 50


def has_it(if_none_match: str | None, *tags: str) -> bool:
    """Whether a client has one of these already, by its ``If-None-Match``."""
    if if_none_match is None:
        return False
    given = [each.strip().removeprefix("W/") for each in if_none_match.split(",", _MOST_TAGS)]
    return given == ["*"] or any(tag in given for tag in tags)


def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether a client takes gzip, by its ``Accept-Encoding``."""
    found: dict[str, bool] = {}
    for part in (accept_encoding or "").lower().split(",")[:_MOST_TAGS]:
        name, _, parameter = part.partition(";")
        weight = parameter.replace(" ", "").removeprefix("q=")
        found[name.strip()] = not parameter or _is_more_than_none(weight)
    return found.get("gzip", found.get("*", False))


def _is_more_than_none(weight: str) -> bool:
    try:
        return float(weight) > 0
    except ValueError:
        return False
