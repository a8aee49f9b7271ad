"""Cleaning, cutting, compressing and encoding on the writer's side."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import bson
import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from affidavit.event import Dest
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.compress import compress_fields, expand
from affidavit.pipeline.snapshot import take


def finish(document: dict[str, Any], chain: Chain | None = None) -> dict[str, Any]:
    """Run a record through snapshot and chain."""
    snapshot = take({"timestamp": 1_700_000_000_123, **document}, plain=True)
    chain = chain or Chain("writer", 10240, None)
    return bson.decode(chain.finish(Dest.RECORDS, ObjectId().binary, snapshot, 3).body)


@pytest.mark.requirement("R3")
def test_the_envelope_is_completed() -> None:
    """The id comes first; writer and number last; time in UTC with milliseconds."""
    stored = finish({"event_type": "annotation"})
    assert next(iter(stored)) == "_id"
    assert set(stored) == {"_id", "event_type", "timestamp", "writer", "seq", "salt"}
    assert list(stored)[-3:] == ["writer", "seq", "salt"]
    assert (stored["writer"], stored["seq"]) == ("writer", 3)
    assert stored["timestamp"].microsecond == 123_000


@pytest.mark.requirement("R3", "R13")
@pytest.mark.parametrize(
    ("given_cost", "stored"),
    [
        ("0.045", "0.045000000"),
        ("0.0000000005", "0E-9"),
        ("0.0000000015", "2E-9"),
        ("0.0000000025", "2E-9"),
        ("12345.678901234567", "12345.678901235"),
        (None, None),
        ("1e40", None),
    ],
)
def test_cost_is_quantised_once_half_even(given_cost: str | None, stored: str | None) -> None:
    """Nine decimals, ties to even; what does not fit is null, never 0."""
    cost = finish({"response_data": {"cost_usd": given_cost}})["response_data"]["cost_usd"]
    assert cost == (Decimal128(stored) if stored else None)


@pytest.mark.requirement("R11")
@given(st.text(min_size=200, max_size=3000), st.integers(256, 1024))
def test_a_cut_text_keeps_head_and_tail_within_the_limit(text: str, limit: int) -> None:
    """Whatever the script: nothing is cut below the limit, and head and tail survive above it."""
    size = len(text.encode())
    stored = finish({"details": {"value": text}}, Chain("w", limit, None))
    kept = stored["details"]["value"]
    if size <= limit:
        assert kept == text
        assert "truncated" not in stored
    else:
        half = limit // 2
        assert kept.startswith(text.encode()[:half].decode("utf-8", "ignore"))
        assert kept.endswith(text.encode()[-half:].decode("utf-8", "ignore"))
        assert len(kept.encode()) <= limit + 60
        salt = hmac.digest(stored["salt"], b"truncated", "sha256")
        digest = hashlib.sha256(salt + text.encode()).hexdigest()
        assert stored["truncated"] == [{"path": "details.value", "bytes": size, "sha256": digest}]


@pytest.mark.requirement("R10")
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200), st.integers(1, 9))
def test_compressing_and_expanding_is_the_identity(text: str, level: int) -> None:
    """Long or short, compressible or not."""
    document = {"a": text * 100, "b": [text, {"c": text * 300}], "n": 1}
    copy = {"a": text * 100, "b": [text, {"c": text * 300}], "n": 1}
    assert expand(bson.decode(bson.encode(compress_fields(copy, level)))) == document


@pytest.mark.requirement("R10")
def test_only_fields_that_shrink_are_compressed() -> None:
    """Short texts and random ones stay searchable as they are."""
    chain = Chain("w", 2**20, 9)
    stored = finish({"request_data": {"long": "price " * 2000, "short": "price " * 20}}, chain)
    assert isinstance(stored["request_data"]["long"], bytes)
    assert len(stored["request_data"]["long"]) < 1000
    assert stored["request_data"]["short"] == "price " * 20
    assert expand(stored)["request_data"]["long"] == "price " * 2000


@pytest.mark.requirement("R6")
def test_a_step_that_breaks_withholds_the_content_and_keeps_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The record is stored with its envelope, and says why the content is missing."""
    chain = Chain("w", 10240, None)
    cleaner, calls = chain._cleaner.clean, []

    def breaks_once(document: dict[str, Any], salt: bytes) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError
        cleaner(document, salt)

    monkeypatch.setattr(chain._cleaner, "clean", breaks_once)
    stored = finish({"event_type": "llm_request", "request_data": {"message": "secret"}}, chain)
    assert stored["odd"] == ["withheld_ZeroDivisionError"]
    assert stored["event_type"] == "llm_request"
    assert "request_data" not in stored
