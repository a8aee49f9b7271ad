"""What the headers of a refusal for too many requests say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_FIELDS: Final = ("limit", "remaining", "reset")


def read(headers: Mapping[str, str], pattern: str, whats: Sequence[str]) -> dict[str, Any]:
    """Find which limit is used up, and its ``limit``, ``remaining`` and ``reset`` as told.

    ``pattern`` makes a header's name from ``{field}`` and ``{what}``; ``headers`` have lower-case
    names. Where no limit is at nothing, the one nearest to it counts.
    """
    found: list[tuple[float, str, dict[str, Any]]] = []
    for what in whats:
        told = {
            field: value
            for field in _FIELDS
            if (value := headers.get(pattern.format(field=field, what=what))) is not None
        }
        if told:
            found.append((_share(told), what, {name: _number(v) for name, v in told.items()}))
    after = headers.get("retry-after")
    wait = {"retry_after": _number(after)} if after is not None else {}
    if not found:
        return {"limit_type": "unknown", **wait}
    _, what, nearest = min(found, key=lambda one: one[0])
    return {"limit_type": what, **nearest, **wait}


def _share(told: Mapping[str, str]) -> float:
    """Tell how much of a limit is left, from 0 to 1; beyond that where it is not said."""
    try:
        return float(told["remaining"]) / max(1.0, float(told.get("limit", "1")))
    except (KeyError, ValueError):
        return 2.0


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < 19 else text  # noqa: PLR2004 - fits in 64 bits
