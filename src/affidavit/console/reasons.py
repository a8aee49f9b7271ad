"""Why content is read: the one rule for what is a reason, in the console and over HTTP. Pure."""

from __future__ import annotations

from typing import Final, Literal

SHORTEST: Final = 4
"""Characters that somebody can see."""

LONGEST: Final = 500


def told(given: str) -> str:
    """Give a reason as it is noted: in one line, without space around it."""
    return " ".join(given.split())


def problem(given: str) -> Literal["short", "long"] | None:
    """Say what is wrong with a reason; None where nothing is."""
    if visible(given) < SHORTEST:
        return "short"
    return "long" if len(told(given)) > LONGEST else None


def visible(text: str) -> int:
    """Count the characters of a text that somebody can see."""
    return sum(letter.isprintable() and not letter.isspace() for letter in text)
