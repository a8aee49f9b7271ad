"""The price step: what an outcome costs, where that is from, and that no record is lost over it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from affidavit import AuditConfig, canonical
from affidavit.errors import ConfigError
from affidavit.event import Dest
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.clean import money
from affidavit.pipeline.price import Pricer, dollars, pricer_of
from affidavit.pipeline.snapshot import take
from affidavit.pricing import Book, load
from affidavit.pricing.load import LIST
from affidavit.testing import capture_events

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requirement("R13")

AT = 1_795_000_000_000
OUTCOME: dict[str, Any] = {
    "event_type": "llm_response",
    "timestamp": AT,
    "provider": "openai",
    "model": "gpt-5",
    "input_tokens": 1000,
    "output_tokens": 100,
    "cached_tokens": 200,
    "response_data": {"text": "yes", "cost_usd": None},
}
COST = "0.002025000"
"""800 x 1.25 + 200 x 0.125 + 100 x 10 dollars per million."""


def finish(document: dict[str, Any], pricer: Pricer | None = None) -> dict[str, Any]:
    """Run a record through the chain."""
    chain = Chain("w", 10_240, None, pricer=pricer or Pricer(load))
    snapshot = take(document, plain=True)
    return bson.decode(chain.finish(Dest.RECORDS, ObjectId().binary, snapshot, 1).body)


def changed(**more: Any) -> dict[str, Any]:
    """An outcome with other fields; those of ``answer`` go into the answer."""
    answer = {**OUTCOME["response_data"], **more.pop("answer", {})}
    return {**OUTCOME, **more, "response_data": answer}


def test_an_outcome_without_a_cost_gets_one() -> None:
    """Nine decimals, where it is from, and by which book; all of it is in the entry in clear."""
    stored = finish(OUTCOME)
    assert stored["response_data"]["cost_usd"] == Decimal128(COST)
    assert stored["cost_status"] == "priced"
    assert stored["price_book"] == load().name
    entry = canonical.entry(stored, "records").decode()
    assert f'"book":"{load().name}"' in entry
    assert '"cost_nano":2025000' in entry
    assert '"cost_status":"priced"' in entry


@pytest.mark.parametrize("cost", ["0.5", "0"])
def test_what_the_application_says_stands(cost: str) -> None:
    """Also when it says 0; no book was asked."""
    stored = finish(changed(answer={"cost_usd": cost}))
    assert stored["response_data"]["cost_usd"] == money(cost)
    assert stored["cost_status"] == "reported"
    assert "price_book" not in stored


def test_a_cost_that_is_no_number_is_priced_instead() -> None:
    """The mark stays that something else was said."""
    stored = finish(changed(answer={"cost_usd": "about a cent"}))
    assert stored["response_data"]["cost_usd"] == Decimal128(COST)
    assert (stored["cost_status"], stored["odd"]) == ("priced", ["cost_not_a_number"])


@pytest.mark.parametrize(
    ("cost", "odd"),
    [
        ("1e18", True),
        ("-1000000000000", True),
        (str(10**24), True),
        ("0E+20", False),
        ("999999999999.99", False),
    ],
)
def test_a_cost_that_no_call_can_have_stands_and_is_marked(cost: str, odd: bool) -> None:
    """Sums take a trillion dollars and more for an error, and the record says so."""
    stored = finish(changed(answer={"cost_usd": cost}))
    assert stored["response_data"]["cost_usd"] == money(cost)
    assert ("cost_out_of_range" in stored.get("odd", ())) is odd


def test_an_unpriced_call_has_no_cost() -> None:
    """Null, and never 0; the book that did not know it is noted."""
    stored = finish(changed(model="llm-of-ours"))
    assert stored["response_data"]["cost_usd"] is None
    assert (stored["cost_status"], stored["price_book"]) == ("unpriced", load().name)


def test_an_estimated_usage_is_said_to_be_so() -> None:
    """The capture guessed the tokens of a stream that did not tell."""
    stored = finish(changed(answer={"usage_estimated": True}))
    assert stored["cost_status"] == "estimated"
    assert stored["response_data"]["cost_usd"] == Decimal128(COST)


def test_the_time_of_the_call_decides() -> None:
    """Not the time at which a spooled record is finished or sent: o3 was dearer then."""
    old = changed(model="o3", timestamp=1_740_000_000_000, cached_tokens=0)
    assert finish(old)["response_data"]["cost_usd"] == Decimal128("0.014000000")
    assert finish({**old, "timestamp": AT})["response_data"]["cost_usd"] == money("0.0028")


@pytest.mark.parametrize("kind", ["llm_request", "annotation", "security_event", "correction"])
def test_other_records_are_left_alone(kind: str) -> None:
    """Only outcomes cost something."""
    assert "cost_status" not in finish({**OUTCOME, "event_type": kind})


@pytest.mark.parametrize(
    "odd", [{"model": 5}, {"provider": ["x"]}, {"model": {"a": 1}}, {"response_data": "text"}]
)
def test_odd_names_lose_nothing(odd: dict[str, Any]) -> None:
    """Whatever an application calls its model."""
    stored = finish({**OUTCOME, **odd})
    assert stored.get("cost_status") in {"unpriced", None}
    assert "odd" not in stored


def test_a_damaged_list_leaves_calls_unpriced(caplog: pytest.LogCaptureFixture) -> None:
    """They are stored and marked, and the warning comes once."""
    pricer = Pricer(lambda: Book(LIST.read_bytes()[:-10]))
    with caplog.at_level(logging.WARNING, "affidavit"):
        stored = [finish(OUTCOME, pricer) for _ in range(3)]
    assert {(s["cost_status"], *s["odd"]) for s in stored} == {
        ("unpriced", "price_book_unreadable")
    }
    assert all(s["response_data"]["text"] == "yes" for s in stored)
    assert [r.message.count("Install the package again") for r in caplog.records] == [1]


def test_a_wrong_file_of_prices_stops_the_start(tmp_path: Path) -> None:
    """Where somebody can mend it; not in the middle of the day."""
    wrong = tmp_path / "prices.toml"
    wrong.write_text('[[price]]\nprovider = "openai"\ninptu = 1\n')
    with pytest.raises(ConfigError, match="inptu"), capture_events(price_overrides=str(wrong)):
        pass


def test_prices_of_ones_own_are_used(tmp_path: Path) -> None:
    """From the setting to the record."""
    own = tmp_path / "prices.toml"
    own.write_text('[[price]]\nprovider = "mine"\nmodel = "m"\ninput = 1\noutput = 2\n')
    with capture_events(price_overrides=str(own)) as captured:
        with captured.audit.call(provider="mine", model="m", message="?") as call:
            call.complete(text="!", input_tokens=10, output_tokens=5)
        (_intent, outcome) = captured.records
    assert outcome["response_data"]["cost_usd"] == Decimal128("0.000020000")
    assert outcome["price_book"].startswith(f"{load().version}+")


def test_pricing_can_be_switched_off() -> None:
    """Then a cost is what the application says, and nothing is added."""
    assert pricer_of(AuditConfig(pricing="off")) is None
    with capture_events(pricing="off") as captured:
        with captured.audit.call(provider="openai", model="gpt-5", message="?") as call:
            call.complete(text="!", input_tokens=10, output_tokens=5)
        (_intent, outcome) = captured.records
    assert outcome["response_data"]["cost_usd"] is None
    assert {"cost_status", "price_book"}.isdisjoint(outcome)


@given(st.integers(0, 2**66))
def test_nano_dollars_are_stored_as_the_same_decimal_as_dollars(nano: int) -> None:
    """One form for one amount, whoever says it: else equal costs would hash differently."""
    whole, rest = divmod(nano, 10**9)
    said = money(f"{whole}.{rest:09d}")
    assert said is not None
    assert dollars(nano).bid == said.bid
