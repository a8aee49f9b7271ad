"""Random secrets and their hashes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

_BYTES: Final = 32


def made() -> str:
    """Make a secret of 256 bits, in letters that need no escaping anywhere."""
    return secrets.token_urlsafe(_BYTES)


def hashed(secret: str) -> str:
    """Hash a secret for the store, as 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare in a time that says nothing about where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def derived(secret: str, purpose: str) -> str:
    """Make another secret of one, from which the first cannot be found."""
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()
