"""The one form of a value: the same before and after storing, nothing ambiguous, RFC 8785."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
import pytest
import rfc8785
from bson.binary import Binary, UuidRepresentation
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.decimal128 import Decimal128, create_decimal128_context
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.son import SON
from hypothesis import given
from hypothesis import strategies as st

from affidavit.canonical import encode, from_json, normalise, to_json
from affidavit.canonical.values import MAX_INT, number
from affidavit.pipeline import compress

pytestmark = pytest.mark.requirement("R20")

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["~", "~~", "~f1", "~i9", "~u00", "~t0", "~o", "", "true", "null"]
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
TIMES = st.builds(
    lambda ms, us: datetime(1, 1, 2, tzinfo=UTC) + timedelta(milliseconds=ms, microseconds=us),
    st.integers(0, 315_000_000_000_000),
    st.integers(0, 999),
)
TIMES = (
    TIMES
    | TIMES.map(lambda time: time.replace(tzinfo=None))
    | st.builds(
        lambda time, minutes: time.astimezone(timezone(timedelta(minutes=minutes))),
        TIMES.filter(lambda time: 1 < time.year < 9000),
        st.integers(-720, 720),
    )
)
DECIMALS = st.decimals(allow_nan=False).map(
    lambda value: Decimal128(create_decimal128_context().create_decimal(value))
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | TEXTS
    | TIMES
    | DECIMALS
    | st.binary(max_size=20)
    | st.builds(Binary, st.binary(max_size=20), st.sampled_from([0, 4, 5, 9, 128, 255]))
    | st.binary(min_size=12, max_size=12).map(ObjectId)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=5)
READERS: dict[str, CodecOptions[Any]] = {
    "default": CodecOptions[dict[str, Any]](),
    "aware": CodecOptions[dict[str, Any]](tz_aware=True),
    "elsewhere": CodecOptions[dict[str, Any]](
        tz_aware=True, tzinfo=timezone(timedelta(hours=-5, minutes=-30))
    ),
    "milliseconds": CodecOptions[dict[str, Any]](
        datetime_conversion=DatetimeConversion.DATETIME_MS
    ),
    "ordered": CodecOptions(document_class=SON),
}


@given(DOCUMENTS)
def test_the_form_is_the_same_after_bson(document: dict[str, Any]) -> None:
    """However the reader of the database is set up."""
    stored = bson.encode(document)
    for options in READERS.values():
        assert encode(normalise(bson.decode(stored, options))) == encode(normalise(document))


@given(DOCUMENTS)
def test_the_form_is_the_same_after_a_line_of_json(document: dict[str, Any]) -> None:
    """And whether nulls are kept or not."""
    read = from_json(to_json(document))
    for nulls in (False, True):
        assert normalise(read, nulls=nulls) == normalise(document, nulls=nulls)


@given(DOCUMENTS)
def test_a_line_of_json_loses_nothing(document: dict[str, Any]) -> None:
    """Every value comes back as BSON would give it, types included: so two values share no form."""
    aware = CodecOptions[dict[str, Any]](tz_aware=True)
    stored = bson.decode(bson.encode(document), aware)
    line = to_json(stored)
    assert b"\n" not in line
    assert _typed(from_json(line)) == _typed(stored)


def _typed(value: Any) -> Any:
    """A value with its types, so that 1, 1.0 and True differ; NaN equals itself."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, float):
        return ("float", "nan" if value != value else struct.pack(">d", value))  # noqa: PLR0124
    if isinstance(value, int) and not isinstance(value, bool):
        return ("int", int(value))
    if isinstance(value, Binary):
        return ("binary", value.subtype, bytes(value))
    return (type(value).__name__, value)


@given(SCALARS)
def test_a_tag_cannot_be_written_as_a_text(value: object) -> None:
    """Whoever stores the text of a form gets another form."""
    form = normalise(value)
    if isinstance(form, str) and form.startswith("~"):
        assert normalise(form) == "~" + form
        assert normalise({form: 1}) != normalise({"x": 1})


@given(NAMES, NAMES)
def test_two_names_share_no_form(one: str, other: str) -> None:
    """All forms of names are ASCII."""
    forms = [*normalise({one: 1}), *normalise({other: 1})]
    assert (forms[0] == forms[1]) is (one == other)
    assert all(form.isascii() for form in forms)


@given(VALUES)
def test_the_encoding_is_rfc_8785(value: object) -> None:
    """Byte by byte what an independent implementation writes."""
    form = normalise(value)
    assert encode(form) == rfc8785.dumps(form)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_written_as_ecmascript_does(value: float) -> None:
    """But for minus zero, which is kept apart."""
    expected = rfc8785.dumps(value).decode()
    assert number(value) == ("-0" if str(value) == "-0.0" else expected)


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555555", "333333333.3333333"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_known_floats(bits: str, text: str) -> None:
    """Samples of RFC 8785, appendix B."""
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert number(value) == text


def test_forms_are_as_the_page_says() -> None:
    """One of each kind."""
    oid = ObjectId("0123456789abcdef01234567")
    assert normalise(
        {
            "text": "x", "tilde": "~x", "big": MAX_INT + 1, "float": 1.0, "nan": float("nan"),
            "less": float("-inf"), "money": Decimal("0.10"), "money2": Decimal128("0.10"),
            "time": datetime(2026, 1, 2, 3, 4, 5, 678999, UTC),
            "old": datetime(1969, 12, 31, 23, 59, tzinfo=UTC).replace(tzinfo=None),
            "bytes": b"\x00\x01", "uuid": UUID(int=1), "id": oid, "list": (1, None, {"a": None}),
            "null": None, "~": True, "größe": 0,
        }
    ) == {
        "text": "x", "tilde": "~~x", "big": "~i9007199254740992", "float": "~f1", "nan": "~fNaN",
        "less": "~f-Infinity", "money": "~d0.10", "money2": "~d0.10",
        "time": "~t1767323045678", "old": "~t-60000",
        "bytes": "~bAAE=", "uuid": "~x04.AAAAAAAAAAAAAAAAAAAAAQ==",
        "id": "~o0123456789abcdef01234567", "list": [1, None, {}],
        "~~": True, "~u6772c3b6c39f65": 0,
    }  # fmt: skip


def test_a_uuid_has_the_form_of_its_binary() -> None:
    """Whether the reader makes UUIDs of it or not."""
    options = CodecOptions[dict[str, Any]](uuid_representation=UuidRepresentation.STANDARD)
    document = {"u": UUID("12345678-1234-5678-1234-567812345678")}
    stored = bson.encode(document, codec_options=options)
    for reader in (options, READERS["default"]):
        assert normalise(bson.decode(stored, reader)) == normalise(document)


@given(st.text(st.characters(codec="utf-8"), max_size=50), st.integers(1, 9))
def test_a_compressed_text_counts_as_its_text(text: str, level: int) -> None:
    """In forms, and in lines of JSON."""
    long = text + "x" * compress.THRESHOLD
    packed = compress.compress_fields(long, level)
    assert isinstance(packed, Binary)
    assert normalise(packed) == normalise(long)
    assert from_json(to_json({"t": packed})) == {"t": long}


@pytest.mark.parametrize(
    "packed",
    [
        b"AZ1",
        b"AZ1not a stream",
        compress.MAGIC + zlib.compress(b"\xff" * 10),
        compress.MAGIC + zlib.compress(b"text") + b"hidden",
        compress.MAGIC + zlib.compress(b"text")[:-1],
        compress.MAGIC + zlib.compress(bytes(17 * 1024**2)),
    ],
    ids=["empty", "no stream", "no text", "more behind it", "cut", "bomb"],
)
def test_what_only_looks_compressed_counts_as_bytes(packed: bytes) -> None:
    """So nothing can be hidden in it, and a small field cannot fill the memory."""
    assert normalise(Binary(packed, compress.SUBTYPE)).startswith("~x80.QVox")


@pytest.mark.parametrize("value", [object(), {1, 2}, Code("f()"), Regex("x"), {1: 2}, 1j])
def test_a_type_without_a_form_is_refused(value: object) -> None:
    """At any depth."""
    with pytest.raises(TypeError, match="has no canonical form"):
        normalise([{"x": value}])


def test_a_text_that_is_no_unicode_is_refused() -> None:
    """The pipeline has replaced lone surrogates before; nothing else may pass here."""
    with pytest.raises(ValueError, match="surrogates"):
        encode(normalise({"x": "\ud800"}))
    with pytest.raises(ValueError, match="surrogates"):
        normalise({"\ud800": 1})


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b"1", b'{"a":1', b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.5}',
        b'{"a":9007199254740992}', b'{"a":"~f1.0"}', b'{"a":"~f01"}', b'{"a":"~i5"}', b'{"a":"~z"}',
        b'{"a":"~"}', b'{"a":"~bAAF="}', b'{"a":"~b AA=="}', b'{"a":"~t1.5"}', b'{"a":"~f1_0"}',
        b'{"a":"~t99999999999999999"}', b'{"a":"~oABCDEFABCDEFABCDEFABCDEF"}', b'{"a":"~o00"}',
        b'{"a":"~x1ff.AA=="}', b'{"a":"~x00.AA=="}', b'{"a":"~dtwo"}', b'{"\xc3\xb6":1}',
        b'{"~uC3B6":1}', b'{"~x":1}', b'{"a":"\\u0061"}', b'{"a":"\\ud800"}', b'{"a":"\xff"}',
        b"[" * 5000, b'{"a":' * 5000, b'{"a":NaN}',
    ],
)  # fmt: skip
def test_a_line_that_is_written_otherwise_is_refused(line: bytes) -> None:
    """There is one spelling, so two readers cannot understand one line in two ways."""
    with pytest.raises(ValueError, match="This line"):
        from_json(line)
