"""Carrying out an action: what stands in the text instead of what was found."""

from __future__ import annotations

import hmac
import re
from typing import Final

from affidavit.pipeline.redact import kinds
from affidavit.pipeline.redact.policy import Action
from affidavit.pipeline.redact.shadow import Shadow

WITHHELD: Final = "[withheld]"
"""Stands for a text that was not stored."""

_TOKEN_BYTES: Final = 8
_IDENTITY_BYTES: Final = 16
# Letters only: sixteen hexadecimal digits can all be decimal ones, and look like a card.
_LETTERS: Final = bytes.maketrans(b"0123456789abcdef", b"abcdefghijkmnpqr")
_SEPARATORS: Final = re.compile(r"[ ().\-/]")
_TAIL: Final = {kinds.CARD: 4, kinds.IBAN: 4, kinds.PHONE: 2}


def replacement(action: Action, kind: str, value: str, key: bytes | None) -> str:
    """Write what stands for a value; ``seal`` is numbered by the caller."""
    if action is Action.MASK:
        return mask(kind, value)
    if action is Action.PSEUDONYMIZE and key is not None:
        return f"<{kind}:{pseudonym(key, kind, value)}>"
    return f"[{kind}]"


def mask(kind: str, value: str) -> str:
    """Keep a little that does not give the value away; secrets and identifiers keep nothing."""
    plain = Shadow(value).latin
    if kind == kinds.EMAIL:
        return f"[email {plain[0]}\u2026]"
    if kind == kinds.IP:
        head = plain.split(":" if ":" in plain else ".")[:2]
        return f"[ip {(':' if ':' in plain else '.').join(head)}\u2026]"
    size = _TAIL.get(kind, 0)
    digits = _SEPARATORS.sub("", plain)
    return f"[{kind} \u2026{digits[-size:]}]" if size and len(digits) > 2 * size else f"[{kind}]"


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """Give 64 bits of HMAC-SHA256 as sixteen letters.

    The same value gives the same letters however it is written: letter case of addresses and
    separators of numbers do not count.
    """
    return _token(key, "pseudonym", kind, _canonical(kind, value), _TOKEN_BYTES)


def identity(key: bytes, name: str, value: object) -> str:
    """Give the keyed form of an identity field, 128 bits: ``keyed:`` and 32 letters."""
    return "keyed:" + _token(key, "identity", name, str(value), _IDENTITY_BYTES)


def _token(key: bytes, purpose: str, kind: str, value: str, size: int) -> str:
    message = f"affidavit/{purpose}/v1\0{kind}\0{value}".encode("utf-8", "surrogatepass")
    digest = hmac.digest(key, message, "sha256")[:size]
    return digest.hex().encode().translate(_LETTERS).decode()


def _canonical(kind: str, value: str) -> str:
    plain = Shadow(value).latin if not value.isascii() and kind in kinds.KINDS else value
    if kind == kinds.EMAIL:
        return plain.lower().replace("%40", "@")
    if kind == kinds.IP:
        return plain.lower()
    if kind in kinds.NATIONAL_IDS or kind in kinds.FINANCIAL:
        return _SEPARATORS.sub("", plain).upper()
    if kind == kinds.PHONE:
        digits = _SEPARATORS.sub("", plain)
        return "+" + digits[2:] if digits.startswith("00") else digits
    return value
