# ruff: noqa: SIM905 - lists of words read better as text
"""What all generators of synthetic values share."""

from __future__ import annotations

import string
from random import Random
from typing import Final

LETTERS_AND_DIGITS: Final = string.ascii_letters + string.digits
HEX: Final = "0123456789abcdef"
BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
FIRST_NAMES: Final = (
    "ana bruno carla diego elena farid greta hugo ines jonas klara luca marta nadia oscar paula "
    "quentin rosa stefan teresa ursula viktor wanda xavier yara zoe"
).split()
LAST_NAMES: Final = (
    "alvarez becker costa dubois esposito ferreira garcia hansen ivanov jimenez keller lopez "
    "moreau novak oliveira perez quist rossi schmidt taylor unger vidal weber young zapata"
).split()
WORDS: Final = (
    "witch collapse practice feed shame open despair creek road again ice least orbit lumber "
    "velvet garden puzzle anchor tunnel silver"
).split()


class Drawing:
    """Draws letters and digits; repeatable for a seed."""

    def __init__(self, seed: int) -> None:
        self._r = Random(seed)

    def _pick(self, alphabet: str, size: int) -> str:
        return "".join(self._r.choices(alphabet, k=size))

    def _digits(self, size: int) -> str:
        return self._pick("0123456789", size)

    def _token(self, size: int) -> str:
        """Letters and digits, at least one of each."""
        return (
            self._pick(LETTERS_AND_DIGITS, size - 2)
            + self._r.choice("ABCdef")
            + self._r.choice("0123456789")
        )

    def _luhn(self, body: str) -> str:
        for check in "0123456789":
            total = 0
            for place, digit in enumerate(reversed(body + check)):
                value = int(digit) * (1 + place % 2)
                total += value - 9 if value > 9 else value
            if total % 10 == 0:
                return body + check
        raise AssertionError


def grouped(text: str, sizes: tuple[int, ...], sign: str) -> str:
    """Write a number in groups of these sizes."""
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return sign.join(parts)
