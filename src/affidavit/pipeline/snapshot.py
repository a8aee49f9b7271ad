"""Taking a record out of the application's hands: a copy that later changes cannot reach.

Runs on the caller's thread, so it must be cheap: in the usual case it is one MessagePack encoding
(1 to 2 µs). Whatever the encoder cannot take (lone surrogates, cycles, foreign objects, dates
without a zone, huge texts) goes through :func:`_freeze`, which keeps what it can, notes what it
changed in ``odd`` and never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from affidavit.event import Document
from affidavit.pipeline import build
from affidavit.pipeline.build import Parts

TEXT_CEILING: Final = 4 * 1024**2
"""Characters of one text that enter the queue; its middle is left out beyond that."""

SNAPSHOT_CEILING: Final = 16 * 1024**2
"""Bytes of one snapshot; beyond it, each text is cut to :data:`SMALL_TEXT`."""

SMALL_TEXT: Final = 64 * 1024
MAX_DEPTH: Final = 48
MAX_ITEMS: Final = 100_000

DECIMAL_EXT: Final = 1
"""MessagePack extension type of a decimal number, as ASCII text."""

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_INT64: Final = 2**63


def _foreign(value: object) -> object:
    """Let the encoder take objects that SDKs hand around (pydantic models)."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump()
    raise TypeError(type(value).__name__)


_encode = msgspec.msgpack.Encoder(enc_hook=_foreign).encode


def is_plain(fields_: Mapping[str, Any]) -> bool:
    """Whether the application's fields need no closer look: plain values, or flat lists of them."""
    for key, value in fields_.items():
        if type(value) not in _PLAIN:
            if type(value) is not list:
                return False
            for item in value:  # not all(...): a generator costs more than the whole look
                if type(item) not in _PLAIN:
                    return False
        if type(key) is not str:
            return False
    return True


def take(said: Document | Parts, *, plain: bool) -> bytes:
    """Encode a record, or the parts of one that the writer builds (see :mod:`.build`).

    ``plain`` promises that :func:`is_plain` holds for the application's part. What cannot be kept
    as it is gets replaced and named in ``odd``.
    """
    if plain:
        try:
            snapshot = _encode(said)
        except Exception:
            return _carefully(said)
        if len(snapshot) <= TEXT_CEILING:
            return snapshot
    return _carefully(said)


def _carefully(said: Document | Parts) -> bytes:
    document = said if isinstance(said, dict) else build.document(said)
    for ceiling in (TEXT_CEILING, SMALL_TEXT, 256):
        frozen = _Freezer(ceiling)
        copy = frozen.mapping(document, "", 0)
        _drop_old_turns(copy, frozen.cut)
        if frozen.odd:
            copy["odd"] = sorted({*copy.get("odd", ()), *frozen.odd})
        if frozen.cut:
            copy["truncated"] = frozen.cut
        snapshot = _encode(copy)
        if len(snapshot) <= SNAPSHOT_CEILING:
            return snapshot
    envelope = {k: v for k, v in copy.items() if type(v) in _PLAIN}
    envelope["odd"] = ["withheld_too_large"]
    envelope["truncated"] = [{"path": "*", "bytes": len(snapshot)}]
    return _encode(envelope)


def _drop_old_turns(copy: Document, cut: list[dict[str, Any]]) -> None:
    """Let a conversation that would not fit lose old turns before anything else is cut."""
    for section in ("request_data", "response_data", "details"):
        part = copy.get(section)
        turns = part.get("messages") if isinstance(part, dict) else None
        if isinstance(turns, list):
            dropped, size = drop_turns(turns, rough_size(turns) - SNAPSHOT_CEILING // 2)
            if dropped:
                cut.append({"path": f"{section}.messages", "bytes": size, "turns": dropped})


def drop_turns(turns: list[Any], excess: int) -> tuple[int, int]:
    """Drop turns worth ``excess`` bytes from the second on; return how many and their size.

    The first turn is usually the system's and the last is the newest: these two stay.
    """
    dropped = size = 0
    while size < excess and len(turns) - dropped > 2:  # noqa: PLR2004 - first and last stay
        size += rough_size(turns[1 + dropped])
        dropped += 1
    del turns[1 : 1 + dropped]
    return dropped, size


def rough_size(value: Any) -> int:
    """Estimate the size of a value in bytes: exact for ASCII texts, near enough otherwise."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(len(k) + rough_size(v) for k, v in value.items())
    if isinstance(value, list):
        return sum(map(rough_size, value))
    return 8


class _Freezer:
    """One careful copy. Owns the notes of what it had to change."""

    def __init__(self, text_ceiling: int) -> None:
        self.odd: set[str] = set()
        self.cut: list[dict[str, Any]] = []
        self._ceiling = text_ceiling
        self._above: set[int] = set()
        self._items = 0

    def mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, item in list(value.items()):
            self._items += 1
            if self._items > MAX_ITEMS:
                self.odd.add("too_many_items")
                break
            name = self.text(key, path) if isinstance(key, str) else self._key(key)
            copy[name] = self.value(item, f"{path}.{name}" if path else name, depth + 1)
        return copy

    def _key(self, key: object) -> str:
        self.odd.add("key_not_text")
        return self.text(_shown(key), "")

    def value(self, value: Any, path: str, depth: int) -> Any:  # noqa: PLR0911 - a dispatch over types
        kind = type(value)
        if kind is str:
            return self.text(value, path)
        if kind is bool or value is None:
            return value
        if isinstance(value, int):
            return self._int(int(value))
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return self.text(str.__str__(value), path)
        if isinstance(value, Decimal):
            return msgspec.msgpack.Ext(DECIMAL_EXT, str(value).encode("ascii"))
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(bytes(value), path)
        if isinstance(value, datetime):
            return self._time(value)
        if isinstance(value, date):
            return value.isoformat()
        return self._container(value, path, depth)

    def _int(self, value: int) -> int | str:
        if -_INT64 <= value < _INT64:
            return value
        self.odd.add("big_integer")
        # Python refuses to print integers of more than 4,300 digits in decimal.
        return str(value) if value.bit_length() < 10_000 else hex(value)[:1000]  # noqa: PLR2004 - see above

    def _bytes(self, value: bytes, path: str) -> bytes:
        self.odd.add("bytes")
        if len(value) > self._ceiling:
            self.cut.append({"path": path, "bytes": len(value)})
            return value[: self._ceiling]
        return value

    def _time(self, value: datetime) -> datetime:
        if value.tzinfo is None or value.utcoffset() is None:
            self.odd.add("naive_datetime")
            return value.replace(tzinfo=UTC)
        return value.astimezone(UTC)

    def text(self, value: str, path: str) -> str:
        size = len(value)
        if size > self._ceiling:
            half = self._ceiling // 2
            original = size if value.isascii() else len(value.encode("utf-8", "replace"))
            self.cut.append({"path": path, "bytes": original})
            value = f"{value[:half]}\n[… {size - 2 * half} characters left out …]\n{value[-half:]}"
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            self.odd.add("surrogates")
            value = value.encode("utf-8", "replace").decode("utf-8")
        return value

    def _container(self, value: Any, path: str, depth: int) -> Any:
        if id(value) in self._above:
            self.odd.add("cycle")
            return "[cycle]"
        if depth > MAX_DEPTH:
            self.odd.add("too_deep")
            return "[too deep]"
        self._above.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self.mapping(value, path, depth)
            if isinstance(value, list | tuple | set | frozenset):
                return self._list(value, path, depth)
            return self._foreign(value, path, depth)
        except Exception as error:
            self.odd.add("unreadable_object")
            return f"[unreadable {type(value).__name__}: {type(error).__name__}]"
        finally:
            self._above.discard(id(value))

    def _list(self, value: Any, path: str, depth: int) -> list[Any]:
        copy = []
        for index, item in enumerate(list(value)):
            self._items += 1
            if self._items > MAX_ITEMS:
                self.odd.add("too_many_items")
                break
            copy.append(self.value(item, f"{path}.{index}", depth + 1))
        return copy

    def _foreign(self, value: Any, path: str, depth: int) -> Any:
        dump = getattr(value, "model_dump", None)
        if callable(dump):
            return self.value(dump(), path, depth + 1)
        if is_dataclass(value) and not isinstance(value, type):
            shallow = {field.name: getattr(value, field.name, None) for field in fields(value)}
            return self.mapping(shallow, path, depth)
        if isinstance(value, msgspec.Struct):
            return self.mapping(msgspec.structs.asdict(value), path, depth)
        self.odd.add("foreign_object")
        return self.text(_shown(value), path)


def _shown(value: object) -> str:
    try:
        return str(value)[:1000]
    except Exception:
        return f"[{type(value).__name__}]"
