"""One JSON form for every value that is stored: no floats, ASCII keys, nothing ambiguous.

What JSON lacks is written as a text with a tag: ``~f0.25`` is a float, ``~t1700000000123`` a time.
A text that begins with ``~`` gets one more, so nothing can be taken for something else. A value and
its copy that went through BSON or through a line of JSON have the same form, which is why hashes
are made of it and never of BSON. Encoded, it is RFC 8785 (JCS).

Null and absent are the same in a mapping; in a list null stays, because its place counts.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.errors import InvalidId
from bson.objectid import ObjectId

MAX_INT: Final = 2**53 - 1
"""Largest magnitude of an integer that every JSON reader keeps exact."""

MIN_INT: Final = -MAX_INT
_TAG: Final = "~"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a naive time counts as UTC
_MS: Final = timedelta(milliseconds=1)
_COMPRESSED: Final = 128
"""Subtype of a compressed text; what is stored so counts as its text (see pipeline.compress)."""

_MAGIC: Final = b"AZ1"

_EXPANDED_LIMIT: Final = 16 * 1024**2
"""Bytes a compressed text may expand to: no document holds more."""

_UUID: Final = 4
_INFINITY: Final = float("inf")
_ES_DIGITS: Final = 21
_ES_ZEROS: Final = -6

encode = msgspec.json.Encoder(order="deterministic").encode
"""Write a normalised value as JSON bytes: keys sorted, no spaces, RFC 8785."""

_decode = msgspec.json.Decoder(strict=True).decode

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    InvalidId,
    RecursionError,
)
PLAIN_KEYS: Final[set[str]] = set()
"""A cache of names seen to need no change; :func:`key_of` fills and bounds it."""


def normalise(value: Any, *, nulls: bool = False) -> Any:
    """Give the one JSON form of a value that is stored, or is about to be.

    ``nulls`` keeps null values of mappings, which are left out otherwise. Raises TypeError for a
    type that has no form, and ValueError for a text that is no Unicode.
    """
    return form_of(value, nulls)


def to_json(document: Mapping[str, Any]) -> bytes:
    """Write a stored document as one line of JSON, without its newline. See :func:`from_json`.

    Nothing is lost, but for one thing: a compressed text is written as the text it stands for.
    Raises what :func:`normalise` raises.
    """
    return encode(_mapping(document, nulls=True))


def from_json(line: bytes | str) -> dict[str, Any]:
    """Read what :func:`to_json` wrote, and nothing else: times are aware, money is Decimal128.

    Raises ValueError where the line is not exactly what :func:`to_json` writes: then two readers
    could understand it in two ways.
    """
    try:
        found = _restored(_decode(line))
        same = encode(_mapping(found, nulls=True))
    except _UNREADABLE as error:
        msg = f"This line is no document in tagged JSON ({type(error).__name__})."
        raise ValueError(msg) from error
    if same != (line.encode() if isinstance(line, str) else line):
        msg = "This line is not written the one way it must be: sorted keys, no spaces, exact tags."
        raise ValueError(msg)
    return dict(found)


def epoch_ms(value: datetime) -> int:
    """Tell the whole milliseconds since 1970 of a time, rounded down; a naive one is UTC."""
    since = value - (_NAIVE_EPOCH if value.tzinfo is None else _EPOCH)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def number(value: float) -> str:
    """Write a float as ECMAScript does: the shortest digits that read back the same."""
    if value != value:  # noqa: PLR0124 - the NaN test
        return "NaN"
    if value in {_INFINITY, -_INFINITY}:
        return "Infinity" if value > 0 else "-Infinity"
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, _, power = text.partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "")
    point = int(power) + 1
    if 0 < point <= _ES_DIGITS:
        return sign + digits.ljust(point, "0")
    if _ES_ZEROS < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"


# -- to the form -----------------------------------------------------------------------------------


def _mapping(mapping: Mapping[str, Any], nulls: bool = False) -> dict[str, Any]:
    """Normalise a mapping. The usual types stand first; this is the hot path of every record."""
    form: dict[str, Any] = {}
    for name, item in mapping.items():
        key = name if name in PLAIN_KEYS else key_of(name)
        kind = type(item)
        if kind is str:
            form[key] = _TAG + item if item[:1] == _TAG else item
        elif kind is bool:
            form[key] = item
        elif item is None:
            if nulls:
                form[key] = None
        else:
            form[key] = form_of(item, nulls)
    return form


def key_of(name: str) -> str:
    """Give the form of a mapping's key. Raises TypeError for one that is no text."""
    if not isinstance(name, str):
        msg = f"A key of type {type(name).__name__} has no canonical form."  # type: ignore[unreachable]
        raise TypeError(msg)
    if not name.isascii():
        return f"~u{name.encode().hex()}"
    if name[:1] == _TAG:
        return _TAG + name
    if len(name) < 64 and len(PLAIN_KEYS) < 4096:  # noqa: PLR2004 - bounds of the cache
        PLAIN_KEYS.add(name)
    return name


def form_of(value: Any, nulls: bool) -> Any:  # noqa: C901, PLR0911 - a dispatch over types
    """Do the work of :func:`normalise`, without its keyword: this is called for each value."""
    kind = type(value)
    if kind is str:
        return _TAG + value if value[:1] == _TAG else value
    if kind is int:
        return value if MIN_INT <= value <= MAX_INT else f"~i{value}"
    if kind is float:
        return "~f" + number(value)
    if kind is bool or value is None:
        return value
    if kind is dict:
        return _mapping(value, nulls)
    if kind is list or kind is tuple:
        return [form_of(item, nulls) for item in value]
    if kind is datetime:
        return f"~t{epoch_ms(value)}"
    if kind is Decimal128 or kind is Decimal:
        return f"~d{value}"
    if kind is bytes:
        return f"~b{b64encode(value).decode()}"
    if kind is Binary:
        return _binary(value)
    if kind is ObjectId:
        return f"~o{value}"
    return _rare(value, nulls)


def _rare(value: Any, nulls: bool) -> Any:  # noqa: PLR0911 - a dispatch over types
    """Normalise other types that BSON takes or gives: subclasses, and by options of a reader."""
    if isinstance(value, Code):  # a text to Python, but program code to the store
        msg = "A value of type Code has no canonical form."
        raise TypeError(msg)
    if isinstance(value, str):
        return form_of(str.__str__(value), nulls)
    if isinstance(value, int):
        return form_of(int(value), nulls)
    if isinstance(value, float):
        return form_of(float(value), nulls)
    if isinstance(value, Mapping):
        return _mapping(value, nulls)
    if isinstance(value, list | tuple):
        return [form_of(item, nulls) for item in value]
    if isinstance(value, datetime):
        return f"~t{epoch_ms(value)}"
    if isinstance(value, DatetimeMS):
        return f"~t{int(value)}"
    if isinstance(value, UUID):
        return _binary(Binary(value.bytes, _UUID))
    msg = f"A value of type {type(value).__name__} has no canonical form."
    raise TypeError(msg)


def _binary(value: Binary) -> str:
    if value.subtype == 0:
        return f"~b{b64encode(value).decode()}"
    if value.subtype == _COMPRESSED and value.startswith(_MAGIC):
        text = _expanded(value)
        if text is not None:
            return _TAG + text if text[:1] == _TAG else text
    return f"~x{value.subtype:02x}.{b64encode(value).decode()}"


def _expanded(packed: bytes) -> str | None:
    """Give the text of a compressed field; None where it is none, or would hide something."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(packed[len(_MAGIC) :], _EXPANDED_LIMIT)
        return plain.decode() if stream.eof and not stream.unused_data else None
    except (zlib.error, UnicodeDecodeError):
        return None


# -- and back --------------------------------------------------------------------------------------


def _restored(form: Any) -> Any:
    if isinstance(form, str):
        return _untagged(form[1:]) if form[:1] == _TAG else form
    if isinstance(form, dict):
        return {_key_restored(key): _restored(item) for key, item in form.items()}
    if isinstance(form, list):
        return [_restored(item) for item in form]
    return form


def _key_restored(key: str) -> str:
    if key[:2] == "~u":
        return bytes.fromhex(key[2:]).decode()
    return key[1:] if key[:1] == _TAG else key


def _untagged(text: str) -> Any:  # noqa: PLR0911 - a dispatch over tags
    tag, rest = text[:1], text[1:]
    if tag == _TAG:
        return text
    if tag == "f":
        return float(rest)
    if tag == "i":
        return int(rest)
    if tag == "d":
        return Decimal128(rest)
    if tag == "t":
        return _EPOCH + int(rest) * _MS
    if tag == "b":
        return b64decode(rest, validate=True)
    if tag == "o":
        return ObjectId(rest)
    if tag == "x":
        subtype, _, data = rest.partition(".")
        return Binary(b64decode(data, validate=True), int(subtype, 16))
    msg = "unknown tag"
    raise ValueError(msg)


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: it holds no half of a pair of surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
