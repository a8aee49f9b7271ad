"""A call's parts become the same record whichever thread builds it, and never break the writer."""

from __future__ import annotations

from typing import Any

import bson
import msgspec
import pytest
from bson.objectid import ObjectId

from affidavit._call import CallState
from affidavit.event import Dest
from affidavit.pipeline import build
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.snapshot import take

FIELDS = {"symbol": "BTCUSDT", "provider": "mine", "long": "x" * 300, "numbers": [1, 2.5, None]}


def finished_call() -> CallState:
    """A call with everything reported."""
    arguments = ("anthropic", "m", None, [{"content": "four"}], {"top_p": 0.5})
    call = CallState(arguments, FIELDS, {"user_id": "u", "ip_address": "::1"}, {"service": "s"})
    call.intent()
    call.complete(text="yes", input_tokens=3, output_tokens=4, cost_usd=0.1, fields={"text": "t"})
    return call


def stored(parts: build.Parts, *, plain: bool) -> dict[str, Any]:
    """Run parts through snapshot and chain."""
    snapshot = take(parts, plain=plain)
    return bson.decode(Chain("w", 10240, None).finish(Dest.RECORDS, b"i" * 12, snapshot, 1).body)


@pytest.mark.requirement("R3", "R12")
def test_both_ways_of_building_give_the_same_record() -> None:
    """Built by the writer, or on the caller's thread by the careful way: no difference."""
    call = finished_call()
    for parts in (call.intent(), call.outcome()):
        quick, careful = stored(parts, plain=True), stored(parts, plain=False)
        assert quick.pop("salt") != careful.pop("salt")  # drawn anew each time
        assert quick == careful


@pytest.mark.requirement("R3")
def test_the_outcome_repeats_short_fields_only() -> None:
    """Short fields serve questions on outcomes; long ones are in the intent alone."""
    call = finished_call()
    intent, outcome = (stored(p, plain=True) for p in (call.intent(), call.outcome()))
    assert intent["request_data"]["long"] == "x" * 300
    assert outcome["request_data"] == {
        "message_length": 4,
        "provider": "anthropic",
        "model": "m",
        "symbol": "BTCUSDT",
        "app_provider": "mine",
        "numbers": [1, 2.5, None],
    }
    assert outcome["response_data"]["app_text"] == "t"


@pytest.mark.requirement("R3")
def test_what_the_application_changes_during_the_call_is_not_the_request() -> None:
    """The outcome shows the fields and the length as they were when the model was asked."""
    turns, fields = [{"content": "four"}], {"symbol": "BTCUSDT"}
    call = CallState(("p", None, None, turns, None), fields, {}, {})
    call.intent()
    turns.append({"content": "an answer"})
    fields["symbol"] = "ETHUSDT"
    call.complete(text="yes")
    request = stored(call.outcome(), plain=True)["request_data"]
    assert (request["message_length"], request["symbol"]) == (4, "BTCUSDT")


@pytest.mark.requirement("R6")
def test_parts_that_cannot_be_built_leave_an_envelope() -> None:
    """Whatever breaks in the writer, the call and its time are recorded, and the reason."""
    call_id = str(ObjectId())
    broken = msgspec.msgpack.encode((build.OUTCOME, call_id, 1_700_000_000_000, "no mapping"))
    record = bson.decode(Chain("w", 10240, None).finish(Dest.RECORDS, b"i" * 12, broken, 1).body)
    assert record["call_id"] == call_id
    assert record["status"] == "aborted"
    assert record["odd"] == ["withheld_TypeError"]


COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "tokens_used")


@pytest.mark.requirement("R3")
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("said", ["many", -1, 1.5, True, float("nan"), 2**70, [3]])
@pytest.mark.parametrize("name", COUNTS)
def test_tokens_that_are_no_count_are_null_and_flagged(
    name: str, said: Any, *, plain: bool
) -> None:
    """A sum over calls must not meet a text or a negative number; the call itself is kept."""
    call = CallState(("p", None, "hi", None, None), None, {}, {})
    call.complete(text="yes", **{name: said})
    record = stored(call.outcome(), plain=plain)
    place = record["response_data"] if name == "tokens_used" else record
    assert place[name] is None
    assert record["response_data"]["tokens_used"] is None
    assert "tokens_not_a_number" in record["odd"]
    assert record["response_data"]["text"] == "yes"


@pytest.mark.requirement("R3")
def test_whole_numbers_of_tokens_are_counts_also_as_floats() -> None:
    """JSON of other languages knows one kind of number; nothing is flagged."""
    call = CallState(("p", None, "hi", None, None), None, {}, {})
    call.complete(input_tokens=300.0, output_tokens=0, cached_tokens=0)
    record = stored(call.outcome(), plain=True)
    assert (record["input_tokens"], record["output_tokens"]) == (300, 0)
    assert record["response_data"]["tokens_used"] == 300
    assert "odd" not in record
