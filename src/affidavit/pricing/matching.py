"""Which names of models and providers an entry of the price book means.

A rule is a text (that name, whatever the case), a list (any of these rules), or one of
``{"starts": …}``, ``{"ends": …}``, ``{"contains": …}``, ``{"regex": …}``, ``{"all": […]}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")


def matches(rule: Any, name: str) -> bool:
    """Whether a rule means this name, which is in lower case.

    Raises ValueError for what is no rule, and for a pattern that cannot be read.
    """
    if isinstance(rule, str):
        return rule.lower() == name
    if isinstance(rule, list):
        return any(matches(part, name) for part in rule)
    try:
        ((kind, said),) = rule.items()
        return _KINDS[kind](said, name)
    except (AttributeError, KeyError, TypeError, re.error) as error:
        msg = "A rule of the price book cannot be read."
        raise ValueError(msg) from error


def with_dashes(name: str) -> str:
    """Write a date in a model's name as 2025-12-11 where it is 20251211."""
    return _COMPACT_DATE.sub(r"-\1-\2-\3", name)


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


_KINDS: Final[Mapping[str, Callable[[Any, str], bool]]] = {
    "starts": lambda said, name: name.startswith(said.lower()),
    "ends": lambda said, name: name.endswith(said.lower()),
    "contains": lambda said, name: said.lower() in name,
    "regex": lambda said, name: _pattern(said).search(name) is not None,
    "all": lambda said, name: all(matches(part, name) for part in said),
}
