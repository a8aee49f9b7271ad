"""Compressing single text fields, and expanding them again on reading.

Acts only where the store's blocks are not compressed well already: inside zstd blocks it was
measured to make a collection larger (2 KB texts) or to change nothing (10 to 50 KB).
Stored form: BSON binary, subtype 128, the three bytes ``AZ1``, then a zlib stream of the UTF-8.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from bson.binary import Binary

SUBTYPE: Final = 128
MAGIC: Final = b"AZ1"
THRESHOLD: Final = 4096
"""Characters from which a text is tried."""


def compress_fields(value: Any, level: int) -> Any:
    """Replace long texts below ``value`` by their compressed form where that saves a tenth."""
    kind = type(value)
    if kind is str:
        if len(value) < THRESHOLD:
            return value
        plain = value.encode("utf-8")
        packed = MAGIC + zlib.compress(plain, level)
        return Binary(packed, SUBTYPE) if len(packed) < 0.9 * len(plain) else value
    if kind is dict:
        for key, item in value.items():
            if type(item) in {str, dict, list}:
                value[key] = compress_fields(item, level)
    elif kind is list:
        value[:] = [compress_fields(item, level) for item in value]
    return value


def expand(value: Any) -> Any:
    """Return the value with every compressed text expanded; other values are left as they are."""
    if isinstance(value, Binary) and value.subtype == SUBTYPE and value.startswith(MAGIC):
        return zlib.decompress(value[len(MAGIC) :]).decode("utf-8")
    if isinstance(value, dict):
        return {key: expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item) for item in value]
    return value
