"""Cleaning and cutting a decoded record in one walk, on the writer's thread.

What MongoDB cannot hold or a reader would stumble over is replaced and named in ``odd``; a text
over ``max_field_size`` keeps its head and tail and is listed in ``truncated`` with its original
length in bytes and a salted hash, by which whoever has the original can show that it was this one.
If the whole record is still too large, the oldest turns of the conversation go first, so that its
opening and its newest turn survive.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation, localcontext
from typing import Any, Final

import msgspec
from bson.decimal128 import Decimal128, create_decimal128_context

from affidavit import canonical
from affidavit.event import Document
from affidavit.pipeline.snapshot import DECIMAL_EXT, MAX_DEPTH, drop_turns, rough_size

RECORD_LIMIT: Final = 8 * 1024**2
"""Bytes of text in one record; MongoDB itself stops at 16 MB."""

COST_QUANTUM: Final = Decimal("1e-9")
"""Costs are quantised once, here, to nano-dollars (half-even)."""

_MONEY: Final = Context(prec=38, rounding=ROUND_HALF_EVEN)
_DECIMAL128: Final = create_decimal128_context()
_CONTROLS: Final = bytes([*range(9), 11, 12, *range(14, 32), 127])
_SHORT: Final = 48
"""Characters up to which ``isprintable`` is the cheapest look at a text."""

_INT64: Final = 2**63
_UINT64: Final = 2**64
_EXPONENT_BITS: Final = (6176 - 9) << 49
_BID: Final = struct.Struct("<QQ")
_INFINITY: Final = float("inf")
_LISTED: Final = 200
"""Entries ``truncated`` may have; the rest is summed up in one."""

_good_keys: set[str] = set()  # a cache of names seen to be harmless; bounded below


class Cleaner:
    """Cleans records one at a time; owned by the writer's thread."""

    def __init__(self, max_field_size: int) -> None:
        self._limit = max_field_size
        self._odd: set[str] = set()
        self._cut: list[dict[str, Any]] = []
        self._text_bytes = 0
        self._depth = 0
        self._salt = b""

    def clean(self, document: Document, salt: bytes) -> None:
        """Clean one decoded record in place; adds ``odd`` and ``truncated`` where needed.

        ``salt`` is the record's: with it go the hashes of what was cut.
        """
        self._salt = salt
        self._odd = set(document.pop("odd", ()))
        self._cut = list(document.pop("truncated", ()))
        self._text_bytes = self._depth = 0
        self._mapping(document, "")
        if self._text_bytes > RECORD_LIMIT:
            self._shrink(document)
        if self._odd:
            document["odd"] = sorted(self._odd)
        if self._cut:
            document["truncated"] = self._listed()

    def _listed(self) -> list[dict[str, Any]]:
        whole: dict[str, dict[str, Any]] = {}
        for entry in self._cut:  # the snapshot's entry, if any, knows the true original length
            whole[entry["path"]] = {**entry, **whole.get(entry["path"], {})}
        entries = list(whole.values())
        if len(entries) > _LISTED:
            rest = entries[_LISTED:]
            entries = entries[:_LISTED]
            entries.append(
                {"path": "*", "count": len(rest), "bytes": sum(e["bytes"] for e in rest)}
            )
        return entries

    def _mapping(self, mapping: dict[str, Any], path: str) -> None:
        renamed = False
        for key, value in mapping.items():
            if key not in _good_keys and self._is_bad(key):
                renamed = True
            kind = type(value)
            if kind is str:
                if len(value) <= _SHORT and value.isprintable():
                    self._text_bytes += len(value)
                else:
                    mapping[key] = self._text(value, f"{path}{key}")
            elif kind is int:
                if not -_INT64 <= value < _INT64:
                    mapping[key] = self._big(value)
            elif kind is dict:
                mapping[key] = self._inner(value, f"{path}{key}")
            elif value is not None and kind is not bool:
                mapping[key] = self._other(value, f"{path}{key}")
        if renamed:
            self._rename(mapping)

    def _other(self, value: Any, path: str) -> Any:  # noqa: PLR0911 - a dispatch over types
        kind = type(value)
        if kind is dict or kind is list:
            return self._inner(value, path)
        if kind is str:
            return self._text(value, path)
        if kind is float:
            return self._float(value)
        if kind is int:
            return value if -_INT64 <= value < _INT64 else self._big(value)
        if kind is bytes:
            return self._bytes(value, path)
        if kind is msgspec.msgpack.Ext:
            return self._extension(value)
        if kind is datetime:
            return value
        return str(value)

    def _inner(self, value: Any, path: str) -> Any:
        """Clean what is inside; what is nested deeper than MongoDB takes is left out."""
        if self._depth >= MAX_DEPTH:
            self._odd.add("too_deep")
            return "[too deep]"
        self._depth += 1
        if type(value) is dict:
            self._mapping(value, path + ".")
        else:
            for index, item in enumerate(value):
                item_kind = type(item)
                if item_kind is not bool and item is not None:
                    value[index] = self._other(item, f"{path}.{index}")
        self._depth -= 1
        return value

    def _float(self, value: float) -> float | str:
        if value == value and value not in (_INFINITY, -_INFINITY):  # noqa: PLR0124 - the NaN test
            return value
        self._odd.add("not_a_number")
        return str(value)

    def _big(self, value: int) -> str:
        self._odd.add("big_integer")
        return str(value)

    def _bytes(self, value: bytes, path: str) -> bytes:
        self._odd.add("bytes")
        if len(value) > self._limit:
            self._note_cut(path, len(value), value)
            value = value[: self._limit]
        self._text_bytes += len(value)
        return value

    def _extension(self, value: msgspec.msgpack.Ext) -> Any:
        if value.code != DECIMAL_EXT:
            return bytes(value.data)
        text = bytes(value.data).decode("ascii")
        try:
            with localcontext(_DECIMAL128):
                return Decimal128(Decimal(text))
        except (ArithmeticError, ValueError):
            self._odd.add("big_decimal")
            return text

    def _text(self, value: str, path: str) -> str:
        encoded = value.encode("utf-8")
        size = len(encoded)
        # Deleting them and looking at the length is a quarter of the price of a search.
        if len(encoded.translate(None, _CONTROLS)) != size:
            self._odd.add("control_characters")
        if size <= self._limit:
            self._text_bytes += size
            return value
        value = self._shorten(encoded, path, size)
        self._text_bytes += len(value)
        return value

    def _shorten(self, encoded: bytes, path: str, size: int) -> str:
        half = self._limit // 2
        self._note_cut(path, size, encoded)
        head = encoded[:half].decode("utf-8", "ignore")
        tail = encoded[-half:].decode("utf-8", "ignore")
        return f"{head}{_mark(size - 2 * half)}{tail}"

    def _is_bad(self, key: str) -> bool:
        if "." in key or "\x00" in key or key.startswith("$") or not key:
            return True
        if len(key) < 64 and len(_good_keys) < 4096:  # noqa: PLR2004 - bounds of the cache
            _good_keys.add(key)
        return False

    def _rename(self, mapping: dict[str, Any]) -> None:
        """Give keys MongoDB cannot query a look-alike name; order and values stay."""
        self._odd.add("key_renamed")
        copy = dict(mapping)
        mapping.clear()
        for key, value in copy.items():
            good = key.replace("\x00", "").replace(".", "\uff0e")
            if good.startswith("$"):
                good = "\uff04" + good[1:]
            good = good or "_"
            while good in mapping:
                good += "_"
            mapping[good] = value

    def _shrink(self, document: Document) -> None:
        """Bring a record under the limit: old turns first, then the largest values."""
        for section in ("request_data", "response_data", "details"):
            part = document.get(section)
            if not isinstance(part, dict):
                continue
            turns = part.get("messages")
            if isinstance(turns, list):
                self._drop_turns(turns, f"{section}.messages")
            while self._text_bytes > RECORD_LIMIT and part:
                key = max(part, key=lambda name: rough_size(part[name]))
                size = rough_size(part[key])
                self._text_bytes -= size
                self._note_cut(f"{section}.{key}", size, _form(part[key]))
                part[key] = None

    def _drop_turns(self, turns: list[Any], path: str) -> None:
        before = list(turns)
        dropped, size = drop_turns(turns, self._text_bytes - RECORD_LIMIT)
        if dropped:
            self._text_bytes -= size
            self._note_cut(path, size, _form(before[1 : 1 + dropped]), turns=dropped)

    def _note_cut(self, path: str, size: int, original: bytes, **more: int) -> None:
        salt = hmac.digest(self._salt, b"truncated", "sha256")
        digest = hashlib.sha256(salt + original).hexdigest()
        self._cut.append({"path": path, "bytes": size, "sha256": digest, **more})


def _form(value: Any) -> bytes:
    """Write a value that is no text the way it is hashed everywhere."""
    return canonical.encode(canonical.normalise(value))


def _mark(left_out: int) -> str:
    return f"\n[… {left_out} bytes left out …]\n"


def money(text: str) -> Decimal128 | None:
    """Quantise an amount to nano-dollars, half-even; None where it does not fit."""
    try:
        amount = Decimal(text).quantize(COST_QUANTUM, context=_MONEY)
        nano = int(amount.scaleb(9, _MONEY))
        if 0 < nano < _UINT64:
            # The same bits as below, a third of the price: coefficient low, exponent -9 high.
            return Decimal128.from_bid(_BID.pack(nano, _EXPONENT_BITS))
        return Decimal128(amount)
    except (InvalidOperation, ArithmeticError, ValueError):
        return None
