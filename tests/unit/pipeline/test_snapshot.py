"""The snapshot keeps whatever it is given, and never raises."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from affidavit.event import Dest
from affidavit.pipeline.build import decimal_text
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.snapshot import SNAPSHOT_CEILING, is_plain, take

NAIVE = datetime(2026, 1, 2, 3)  # noqa: DTZ001 - a naive time is the case in question

pytestmark = pytest.mark.requirement("R1", "R6")


def through(content: Any, *, max_field_size: int = 10240, section: str = "details") -> Any:
    """Send content through snapshot and chain; return the stored document."""
    document = {"event_type": "security_event", "timestamp": 1, "schema_version": 1}
    snapshot = take({**document, section: content}, plain=False)
    chain = Chain("writer", max_field_size, None)
    return bson.decode(chain.finish(Dest.RECORDS, ObjectId().binary, snapshot, 0).body)


def test_later_changes_do_not_reach_the_record() -> None:
    """The application may go on using its list."""
    messages = [{"role": "user", "content": "before"}]
    snapshot = take({"timestamp": 1, "details": {"messages": messages}}, plain=True)
    messages[0]["content"] = "after"
    stored = bson.decode(Chain("w", 10240, None).finish(Dest.RECORDS, b"0" * 12, snapshot, 0).body)
    assert stored["details"]["messages"] == [{"role": "user", "content": "before"}]


@dataclasses.dataclass
class Order:
    """An object of the application."""

    symbol: str
    size: Decimal


class Model:
    """Looks like a pydantic model."""

    def model_dump(self) -> dict[str, str]:
        """Give the fields."""
        return {"role": "assistant"}


class Broken:
    """Raises whatever one does with it."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "stored", "flag"),
    [
        ("\ud800x", "?x", "surrogates"),
        (float("nan"), "nan", "not_a_number"),
        (float("-inf"), "-inf", "not_a_number"),
        (2**80, str(2**80), "big_integer"),
        (b"\x00\x01", b"\x00\x01", "bytes"),
        ("a\x1b[31mb", "a\x1b[31mb", "control_characters"),
        (NAIVE, NAIVE, "naive_datetime"),
        (Model(), {"role": "assistant"}, None),
        (Order("BTC", Decimal("1.10")), {"symbol": "BTC", "size": Decimal128("1.10")}, None),
        ({1}, [1], None),
        (Decimal("0.1"), Decimal128("0.1"), None),
        (Decimal("1e9999"), "1E+9999", "big_decimal"),
        (object, "<class 'object'>", "foreign_object"),
        (Broken(), "[Broken]", "foreign_object"),
        ({"$where": 1, "a.b": 2, "": 3}, {"\uff04where": 1, "a\uff0eb": 2, "_": 3}, "key_renamed"),
        ({5: "five"}, {"5": "five"}, "key_not_text"),
    ],
)
def test_odd_content_is_kept_and_flagged(value: Any, stored: Any, flag: str | None) -> None:
    """Whatever the application hands over, the record says what was changed."""
    document = through({"value": value})
    assert document["details"]["value"] == stored
    assert document.get("odd", []) == ([flag] if flag else [])


def test_times_of_other_zones_become_utc() -> None:
    """The instant stays the same."""
    madrid = timezone(timedelta(hours=2))
    stored = through({"at": datetime(2026, 6, 1, 12, tzinfo=madrid)})["details"]["at"]
    assert stored.replace(tzinfo=UTC) == datetime(2026, 6, 1, 10, tzinfo=UTC)


def test_a_cycle_is_cut_where_it_closes() -> None:
    """The rest of the object stays."""
    content: dict[str, Any] = {"a": 1}
    content["me"] = content
    assert through(content)["details"] == {"a": 1, "me": "[cycle]"}


def test_what_is_too_deep_is_cut() -> None:
    """A thousand levels neither overflow the stack nor lose the record."""
    content: Any = "bottom"
    for _ in range(1000):
        content = [content]
    assert through({"deep": content})["odd"] == ["too_deep"]


@pytest.mark.requirement("R11")
def test_fifty_megabytes_are_cut_and_their_length_is_kept() -> None:
    """Head and tail stay; the original length in bytes is noted."""
    text = "H" * 100 + "x" * 50_000_000 + "T" * 100
    document = through({"message": text}, section="request_data")
    kept = document["request_data"]["message"]
    assert kept.startswith("H" * 100)
    assert kept.endswith("T" * 100)
    assert len(kept) < 11_000
    (cut,) = document["truncated"]
    assert (cut["path"], cut["bytes"]) == ("request_data.message", len(text))


@pytest.mark.requirement("R11")
def test_a_huge_conversation_keeps_its_opening_and_its_newest_turn() -> None:
    """Old turns go first, and their number is noted."""
    turns = [{"role": "user", "content": f"turn {n} " + "x" * 9000} for n in range(4000)]
    document = through({"messages": turns}, section="request_data")
    kept = document["request_data"]["messages"]
    assert kept[0]["content"].startswith("turn 0 ")
    assert kept[-1]["content"] == turns[-1]["content"]
    dropped = sum(entry.get("turns", 0) for entry in document["truncated"])
    assert dropped + len(kept) == 4000


@pytest.mark.requirement("R11")
def test_a_record_of_many_large_values_still_fits() -> None:
    """Whatever is large beside a conversation is left out by name, the rest stays."""
    fields = {f"field{n}": "y" * 60_000 for n in range(400)}
    document = through(
        {"provider": "p", **fields}, section="request_data", max_field_size=8 * 1024**2
    )
    assert document["request_data"]["provider"] == "p"
    assert len(bson.encode(document)) < SNAPSHOT_CEILING
    assert document["truncated"]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(json_like, st.booleans())
def test_no_content_makes_the_pipeline_raise(content: Any, plain: bool) -> None:
    """Any JSON-like value ends as a document that MongoDB's encoder accepts."""
    document = {"event_type": "annotation", "timestamp": 1, "details": {"value": content}}
    snapshot = take(document, plain=plain)
    stored = bson.decode(Chain("w", 256, None).finish(Dest.RECORDS, b"0" * 12, snapshot, 7).body)
    assert stored["seq"] == 7
    assert "value" in stored["details"] or "odd" in stored


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.045, "0.045"),
        ("0.1", "0.1"),
        (Decimal("1E-9"), "1E-9"),
        (3, "3"),
        (float("nan"), None),
        ("many", None),
        (True, None),
        (None, None),
    ],
)
def test_money_is_exact_or_absent(amount: object, text: str | None) -> None:
    """A float counts as the decimal it prints as."""
    assert decimal_text(amount) == text


def test_plain_fields_are_told_from_those_that_need_care() -> None:
    """Only flat plain values take the quick way."""
    assert is_plain({"symbol": "BTC", "n": 1, "tags": ["a", 2.5], "none": None})
    for odd in ({"d": Decimal(1)}, {"t": datetime.now(UTC)}, {"x": [[1]]}, {1: "x"}):
        assert not is_plain(odd)
