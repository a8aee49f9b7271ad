"""The entry of a record: what stands in clear, what is committed to, and the leaf of both.

Every stored field is in the entry, in clear or in exactly one group; a group shows only as
SHA-256(salt, canonical JSON of its fields). The record keeps one random seed (``salt``), of which
the salts of its groups are made. To erase a group, its fields go, and so does the seed: the other
groups' salts stay (``salts``), and of the erased one its commitment (``erased``). The entry, and so
every proof, is the same as before, and nobody can test guesses against the commitment any more.

What version 1 says of each field never changes: names that come later are in ``other`` or among the
fields of the application, and a new division would be version 2.
"""

from __future__ import annotations

import hmac
import math
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, TypeAlias

from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from affidavit.canonical.values import (
    MAX_INT,
    MIN_INT,
    PLAIN_KEYS,
    encode,
    epoch_ms,
    form_of,
    key_of,
)

ENTRY_VERSION: Final = 1
ENTRY_LIMIT: Final = 64 * 1024
"""Bytes no entry reaches, because clear texts are at most :data:`LONGEST_CLEAR` characters."""

LONGEST_CLEAR: Final = 512
SALT_SIZE: Final = 16
EXEMPT: Final = frozenset({"salt", "salts", "erased"})
"""Stored fields that are not in the entry: they make the commitments."""

_REQUEST_OWN: Final = frozenset(
    {
        "message",
        "message_length",
        "messages",
        "parameters",
        "provider",
        "model",
        "tools",
        "input",
        "files",
        "requests",
        "request_count",
        "endpoint",
        "operation",
        "stream",
        "server_address",
    }
)
_RESPONSE_OWN: Final = frozenset(
    {
        "text",
        "response_length",
        "tool_calls",
        "provider_used",
        "tokens_used",
        "cost_usd",
        "processing_time_ms",
        "reasoning",
        "refusal",
        "finish_reasons",
        "response_id",
        "request_id",
        "http_status",
        "retries",
        "usage_raw",
        "usage_estimated",
        "stream",
        "body",
        "body_bytes",
        "service_tier",
        "system_fingerprint",
    }
)


class EntryError(ValueError):
    """No entry can be made of a document: what is stored there was not written so by this program.

    The text says why, and holds nothing of the document's content.
    """


_NO_FORM: Final = (TypeError, ValueError, ArithmeticError, RecursionError)


def _no_form(error: Exception) -> EntryError:
    return EntryError(f"A value of the record has no canonical form ({type(error).__name__}).")


# -- values in clear: each of one type, or else the value is committed to ------------------------

_CLEAR_TEXTS: Final = {
    "writer": "w",
    "event_type": "type",
    "call_id": "call",
    "status": "status",
    "provider": "provider",
    "model": "model",
    "finish_reason": "finish",
    "environment": "env",
    "service": "service",
    "price_book": "book",
    "cost_status": "cost_status",
}
_CLEAR_NUMBERS: Final = {
    "seq": "s",
    "schema_version": "schema",
    "input_tokens": "in",
    "output_tokens": "out",
    "cached_tokens": "cached",
    "reasoning_tokens": "reasoning",
}
_GROUPED: Final = {
    "user_id": "subject",
    "session_id": "subject",
    "conversation_id": "subject",
    "department": "subject",
    "tenant": "subject",
    "client_info": "client",
    "error_type": "error",
    "error_message": "error",
    "redactions": "findings",
    "odd": "findings",
    "truncated": "findings",
    "details": "details",
    "actor": "actor",
    "sealed": "sealed",
}
PARTS: Final = {
    "request_data": ("request", "request_fields"),
    "response_data": ("response", "response_fields"),
}
_OTHER: Final = "other"
GROUPS: Final = frozenset(
    {*_GROUPED.values(), *(group for pair in PARTS.values() for group in pair), _OTHER}
)
"""Names of all groups that an entry may commit to."""

_Groups: TypeAlias = dict[str, dict[str, Any]]

_NINE_PLACES: Final = (6176 - 9) << (49 + 64)
"""The bits of a Decimal128 that counts nano-dollars, but for the count: exponent -9."""

_NEGATIVE: Final = 1 << 127
_LONGEST_MS: Final = MAX_INT / 1000


def _nano(value: Any) -> int | None:
    """An amount as whole nano-dollars, where it is written with exactly nine decimals."""
    if type(value) is not Decimal128:
        return None
    bits = int.from_bytes(value.bid, "little") ^ _NINE_PLACES
    if bits <= MAX_INT:
        return bits
    bits ^= _NEGATIVE
    return -bits if 0 < bits <= MAX_INT else None


def _micros(value: Any) -> int | None:
    """Milliseconds as whole microseconds, where that says exactly the same."""
    if not isinstance(value, float) or not 0.0 <= value < _LONGEST_MS:
        return None
    us = round(value * 1000)
    if us / 1000 != value or (us == 0 and math.copysign(1.0, value) < 0):
        return None
    return us


def _text(value: Any) -> str | None:
    """A short text; of its own type, or of one made from it (BSON's Code is none)."""
    if type(value) is not str:
        if not isinstance(value, str) or isinstance(value, Code):
            return None
        value = str.__str__(value)
    return value if len(value) <= LONGEST_CLEAR else None


def _whole(value: Any) -> int | None:
    """A whole number, also as BSON's 64-bit integer."""
    if type(value) is not int:
        if not isinstance(value, int) or type(value) is bool:
            return None
        value = int(value)
    return value if MIN_INT <= value <= MAX_INT else None


def _time(value: Any) -> int | None:
    if isinstance(value, datetime):
        return epoch_ms(value)
    if isinstance(value, DatetimeMS) and MIN_INT <= int(value) <= MAX_INT:
        return int(value)
    return None


def _identity(value: Any) -> str | None:
    return str(value) if isinstance(value, ObjectId) else None


def _flag(value: Any) -> bool | None:
    return value if type(value) is bool else None


_Reading: TypeAlias = Callable[[Any], Any]
"""Gives the value as it stands in clear; None where it is of no type that may stand there."""

_CLEAR: Final[dict[str, tuple[str, _Reading]]] = {
    "_id": ("id", _identity),
    "timestamp": ("t", _time),
    "success": ("success", _flag),
    "time_to_first_token_ms": ("ttft_us", _micros),
    **{name: (shown, _text) for name, shown in _CLEAR_TEXTS.items()},
    **{name: (shown, _whole) for name, shown in _CLEAR_NUMBERS.items()},
}
_RESPONSE_CLEAR: Final[dict[str, tuple[str, _Reading]]] = {
    "tokens_used": ("used", _whole),
    "provider_used": ("by", _text),
    "cost_usd": ("cost_nano", _nano),
    "processing_time_ms": ("us", _micros),
}


def _divide(  # noqa: C901, PLR0912 - calls cost more here than branches
    document: Mapping[str, Any], dest: str
) -> tuple[dict[str, Any], _Groups]:
    """Put every stored field in its one place: in clear, or, normalised, in a group.

    The usual types stand first: this is the writer's time for every record.
    """
    clear: dict[str, Any] = {"v": ENTRY_VERSION, "col": "ledger" if dest == "ledger" else "records"}
    groups: _Groups = {}
    for name, value in document.items():
        kind = type(value)
        if kind is str:
            if name in _CLEAR_TEXTS and len(value) <= LONGEST_CLEAR:
                clear[_CLEAR_TEXTS[name]] = value
                continue
        elif kind is int:
            if name in _CLEAR_NUMBERS and MIN_INT <= value <= MAX_INT:
                clear[_CLEAR_NUMBERS[name]] = value
                continue
        elif value is None or name in EXEMPT:
            continue
        elif kind is datetime and name == "timestamp":
            clear["t"] = epoch_ms(value)
            continue
        elif name == "request_data" and (kind is dict or isinstance(value, Mapping)):
            if _divide_request(value, groups):
                continue
        elif name == "response_data" and (kind is dict or isinstance(value, Mapping)):
            if _divide_response(value, groups, clear):
                continue
        elif name in _CLEAR:
            shown, reading = _CLEAR[name]
            said = reading(value)
            if said is not None:
                clear[shown] = said
                continue
        if name in _GROUPED:
            group = _GROUPED[name]
        elif name in EXEMPT:
            continue
        else:
            group = _OTHER
        key = name if name in PLAIN_KEYS else key_of(name)
        form = value if kind is str and value[:1] != "~" else form_of(value, False)
        if group in groups:
            groups[group][key] = form
        else:
            groups[group] = {key: form}
    return clear, groups


def _divide_request(part: Mapping[str, Any], groups: _Groups) -> bool:
    """Divide what was asked; False where nothing is in it."""
    own: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, item in part.items():
        kind = type(item)
        if not (kind is bool or (kind is str and item[:1] != "~")):
            if item is None:
                continue
            item = form_of(item, False)  # noqa: PLW2901 - the form takes its place
        if name in _REQUEST_OWN:
            own[name] = item
        else:
            rest[name if name in PLAIN_KEYS else key_of(name)] = item
    if own:
        groups["request"] = own
    if rest:
        groups["request_fields"] = rest
    return bool(own or rest)


def _divide_response(part: Mapping[str, Any], groups: _Groups, clear: dict[str, Any]) -> bool:
    """Divide what was answered; False where nothing is in it."""
    own: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    before = len(clear)
    for name, item in part.items():
        if item is None:
            continue
        if name in _RESPONSE_CLEAR:
            shown, reading = _RESPONSE_CLEAR[name]
            said = reading(item)
            if said is None:
                own[name] = form_of(item, False)
            else:
                clear[shown] = said
        elif name in _RESPONSE_OWN:
            plain = type(item) is str and item[:1] != "~"
            own[name] = item if plain else form_of(item, False)
        else:
            rest[name if name in PLAIN_KEYS else key_of(name)] = form_of(item, False)
    if own:
        groups["response"] = own
    if rest:
        groups["response_fields"] = rest
    return bool(own or rest or len(clear) > before)


# -- commitments -----------------------------------------------------------------------------------

_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = b"\x36" * (64 - SALT_SIZE)
_OUTER_REST: Final = b"\x5c" * (64 - SALT_SIZE)
_NAMES: Final = {name: name.encode() for name in GROUPS}


def _commitments(seed: bytes, groups: _Groups) -> dict[str, str]:
    """Commit to each group: SHA-256 over HMAC-SHA256(seed, its name) and its canonical JSON.

    HMAC is written out here, with the key's two blocks hashed once: a third of the price of
    ``hmac.digest`` for each group, and those are most of the writer's time.
    """
    inner = sha256(seed.translate(_INNER) + _INNER_REST)
    outer = sha256(seed.translate(_OUTER) + _OUTER_REST)
    found = {}
    for name, group in groups.items():
        first, second = inner.copy(), outer.copy()
        first.update(_NAMES[name])
        second.update(first.digest())
        found[name] = sha256(second.digest() + encode(group)).hexdigest()
    return found


def salts_of(seed: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """Make the salt of each group: HMAC-SHA256(seed, name)."""
    return {name: hmac.digest(seed, _NAMES[name], "sha256") for name in names}


def commitment_of(salt: bytes, group: Mapping[str, Any]) -> bytes:
    """Commit to a group's fields: SHA-256 over its salt and its canonical JSON."""
    return sha256(salt + encode(group)).digest()


_drawn: list[bytes] = []
_DRAW: Final = 256
os.register_at_fork(after_in_child=_drawn.clear)  # else two processes would use the same ones


def new_salt() -> bytes:
    """Draw the random seed of a record's salts, of those drawn from the system together."""
    try:
        return _drawn.pop()
    except IndexError:
        many = os.urandom(SALT_SIZE * _DRAW)
        _drawn.extend([many[at : at + SALT_SIZE] for at in range(SALT_SIZE, len(many), SALT_SIZE)])
        return many[:SALT_SIZE]


def leaf_hash(entry: bytes) -> bytes:
    """Hash an entry as a leaf of the log (RFC 6962)."""
    return sha256(b"\x00" + entry).digest()


def entry(document: Mapping[str, Any], dest: str) -> bytes:
    """Make the entry of a record that is about to be stored; it holds its seed in ``salt``.

    ``dest`` is ``records`` or ``ledger``. Raises EntryError where a value has no canonical form, or
    the seed is not 16 bytes.
    """
    seed = document.get("salt")
    if not isinstance(seed, bytes) or len(seed) != SALT_SIZE:
        msg = f"The field `salt` must hold {SALT_SIZE} bytes."
        raise EntryError(msg)
    try:
        clear, groups = _divide(document, dest)
        clear["c"] = _commitments(seed, groups)
        return encode(clear)
    except _NO_FORM as error:
        raise _no_form(error) from error


def leaf_of(document: Mapping[str, Any], dest: str) -> bytes:
    """Make the 32-byte leaf of a record that is about to be stored. Raises as :func:`entry`."""
    return sha256(b"\x00" + entry(document, dest)).digest()


def entry_of(document: Mapping[str, Any], dest: str) -> bytes | None:
    """Make the entry of a stored record, as it was when the record was written.

    None for a record without salts: older loggers wrote such ones, and nothing proves them. Where
    the log has a leaf for its writer and number, a missing salt is an alteration like any other.
    Raises EntryError for what this program does not write; such a record was altered.
    """
    seed, salts, erased = (document.get(name) for name in ("salt", "salts", "erased"))
    if seed is not None:
        if salts is not None or erased is not None:
            msg = "The record has the seed of its salts and marks of an erasure."
            raise EntryError(msg)
        return entry(document, dest)
    if salts is None and erased is None:
        return None
    given, gone = _erasure(salts, erased)
    try:
        clear, groups = _divide(document, dest)
        made = {name: commitment_of(given.get(name, b""), group) for name, group in groups.items()}
    except _NO_FORM as error:
        raise _no_form(error) from error
    if given.keys() != groups.keys() or gone.keys() & groups.keys():
        msg = "The salts that are left are not those of the groups that are left."
        raise EntryError(msg)
    clear["c"] = {name: value.hex() for name, value in {**made, **gone}.items()}
    return encode(clear)


def _erasure(salts: Any, erased: Any) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Read what an erasure left: 32 bytes for each known group, and at least one is erased."""
    given = {} if salts is None else salts
    if not isinstance(given, Mapping) or not isinstance(erased, Mapping) or not erased:
        msg = "The marks of an erasure are not two documents, or nothing is erased."
        raise EntryError(msg)
    for name, value in (*given.items(), *erased.items()):
        if name not in GROUPS or not isinstance(value, bytes) or len(value) != sha256().digest_size:
            msg = "The marks of an erasure hold something else than 32 bytes for known groups."
            raise EntryError(msg)
    return dict(given), dict(erased)


def divided(document: Mapping[str, Any], dest: str) -> dict[str, dict[str, Any]]:
    """Give the fields of each group that a stored record has, in their form.

    Raises EntryError for a value that has no canonical form.
    """
    try:
        return _divide(document, dest)[1]
    except _NO_FORM as error:
        raise _no_form(error) from error


def openings(document: Mapping[str, Any], dest: str) -> dict[str, tuple[bytes, bytes]]:
    """Give what opens each commitment of a stored record: its salt, and the bytes committed to.

    SHA-256 over both, one after the other, is the commitment in the entry. Erased groups are left
    out: their salts are gone. Raises EntryError for a record that has no entry.
    """
    if entry_of(document, dest) is None:
        msg = "A record without salts has no commitments."
        raise EntryError(msg)
    _, groups = _divide(document, dest)
    seed = document.get("salt")
    salts = dict(document.get("salts") or {}) if seed is None else salts_of(seed, groups)
    return {name: (bytes(salts[name]), encode(group)) for name, group in groups.items()}
