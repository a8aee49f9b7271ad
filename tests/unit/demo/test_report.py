"""The demo's own account, and the comparison with what the database holds."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128
from rich.console import Console

from affidavit.demo.check import Stored, by_model, compare
from affidavit.demo.drive import Account, Answer
from affidavit.demo.overhead import summarise
from affidavit.demo.render import show
from affidavit.demo.run import Report
from affidavit.demo.settings import Price
from affidavit.demo.tamper import Act, Tampering

if TYPE_CHECKING:
    from pymongo.database import Database


def _account(*answers: tuple[int, str]) -> Account:
    account = Account()
    for status, call_id in answers:
        account.add(Answer("ana", "canned", status, call_id, 0.0, 1.0))
    return account


def _record(kind: str, call_id: str, status: str, **more: Any) -> dict[str, Any]:
    return {"event_type": kind, "call_id": call_id, "status": status, "environment": "e", **more}


def _both(call_id: str, status: str = "completed") -> list[dict[str, Any]]:
    return [
        _record("llm_request", call_id, "initiated"),
        _record("llm_response", call_id, status),
    ]


def test_what_was_called_and_is_stored_once_has_no_problem(
    database: Database[dict[str, Any]],
) -> None:
    """Other environments' records do not count."""
    database.llm_audit.insert_many([*_both("a"), *_both("b", "failed")])
    database.llm_audit.insert_one({**_both("c")[0], "environment": "other"})
    account = _account((200, "a"), (502, "b"))
    stored = compare(database, "e", account)
    assert stored.problems(account) == []
    assert (stored.records, stored.intents, stored.outcomes) == (4, 2, 2)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (_both("a")[:1], "1 records of calls are missing"),
        ([], "2 records of calls are missing"),
        ([*_both("a"), *_both("a")[1:]], "1 records are there twice"),
        (_both("a", "failed"), "1 calls have another status than the caller saw"),
        ([*_both("a"), *_both("x")], "1 calls are recorded that the driver did not make"),
    ],
)
def test_each_difference_is_named(
    database: Database[dict[str, Any]], records: list[dict[str, Any]], problem: str
) -> None:
    """Missing, doubled, different and foreign records are all problems."""
    if records:
        database.llm_audit.insert_many([dict(record) for record in records])
    account = _account((200, "a"))
    assert compare(database, "e", account).problems(account) == [problem]


def test_refusals_are_held_against_their_events(database: Database[dict[str, Any]]) -> None:
    """A 429 without its rate-limit record, a 400 without its security event: both are named."""
    account = _account((429, ""), (400, ""), (0, ""))
    problems = compare(database, "e", account).problems(account)
    assert problems == [
        "1 requests got no proper answer from the assistant",
        "1 rate-limit events are missing",
        "1 security events are missing",
    ]


def test_the_guards_events_are_held_against_the_calls_past_the_sdks(
    database: Database[dict[str, Any]],
) -> None:
    """One that was missed is a problem, and so is an alarm without a cause."""
    caught = {"event_type": "security_event", "environment": "e"}
    database.llm_audit.insert_one({**caught, "details": {"kind": "unaudited_egress"}})
    one, two = _account((299, "")), _account((299, ""), (299, ""))
    assert compare(database, "e", one).problems(one) == []
    assert compare(database, "e", two).problems(two) == ["1 unaudited calls were not caught"]
    none = _account()
    assert compare(database, "e", none).problems(none) == ["1 audited calls were caught"]


def test_a_stream_that_was_left_must_be_aborted(database: Database[dict[str, Any]]) -> None:
    """A call that its caller did not wait for has an outcome all the same."""
    database.llm_audit.insert_many(_both("a", "aborted"))
    account = _account((499, "a"))
    assert compare(database, "e", account).problems(account) == []
    assert account.count()["left"] == 1


def test_a_limit_of_the_provider_has_a_record_of_its_own(
    database: Database[dict[str, Any]],
) -> None:
    """It belongs to a call; the assistant's own limits do not."""
    database.llm_audit.insert_many(_both("a", "failed"))
    account = Account()
    account.add(Answer("ana", "canned", 502, "a", 0.0, 1.0, "fault-rate-limit"))
    assert compare(database, "e", account).problems(account) == [
        "1 limits of providers are missing"
    ]
    limit = {"event_type": "rate_limit_exceeded", "environment": "e", "call_id": "a"}
    database.llm_audit.insert_one(limit)
    stored = compare(database, "e", account)
    assert (stored.provider_limit, stored.rate_limit_exceeded) == (1, 0)
    assert stored.problems(account) == []


def test_a_record_without_a_cost_is_priced_by_its_tokens(
    database: Database[dict[str, Any]],
) -> None:
    """An aborted call counts too, with the tokens that were estimated."""
    data = {"processing_time_ms": 100.0}
    tokens = {"input_tokens": 1000, "cached_tokens": 400, "output_tokens": 100}
    more = {"provider": "p", "model": "m", "response_data": data, **tokens}
    database.llm_audit.insert_many(
        _record("llm_response", status, status, **more) for status in ("completed", "aborted")
    )
    price = Price(Decimal(3), Decimal("0.30"), Decimal(15))
    (row,) = by_model(database, "e", {"m": price})
    assert (row.cost_usd, row.aborted, row.failed) == (2 * Decimal("0.00342"), 1, 0)


def test_costs_add_up_exactly(database: Database[dict[str, Any]]) -> None:
    """Ten times a tenth of a cent is one cent, not nearly one."""
    data = {"cost_usd": Decimal128("0.001"), "processing_time_ms": 100.0}
    more = {"provider": "p", "model": "m", "response_data": data}
    records = [_record("llm_response", str(n), "completed", **more) for n in range(10)]
    database.llm_audit.insert_many(records)
    (row,) = by_model(database, "e")
    assert row.cost_usd == Decimal("0.010")
    assert (row.calls, row.failed, row.p50_ms) == (10, 0, 100.0)


def test_cached_tokens_have_their_own_price() -> None:
    """Input includes the cached tokens; they are not paid twice."""
    price = Price(Decimal(3), Decimal("0.30"), Decimal(15))
    cost = price.cost_usd(input_tokens=1000, cached_tokens=400, output_tokens=100)
    assert cost == Decimal("0.00342")


def test_the_overhead_is_the_median_of_paired_differences() -> None:
    """A drift that both calls of a pair share leaves no trace."""
    plain = [60.0 + drift for drift in range(20)]
    audited = [time + 1.5 for time in plain]
    result = summarise(plain, audited, 20)
    assert (result.added_low_ms, result.added_ms, result.added_high_ms) == (1.5, 1.5, 1.5)
    assert result.percent_of_1200_ms == 0.125


def test_the_report_fits_a_terminal_and_names_problems() -> None:
    """Within 80 columns, with the verdict at the end."""
    report = Report(
        ok=False,
        problems=["1 records of calls are missing"],
        called=dict.fromkeys((*Account().count(), "requests", "model_calls"), 1),
        stored=Stored(records=1),
        audit=dict.fromkeys(("replayed", "spooled", "lost"), 0),
        outage={"what": "", "seconds": 0.0},
        by_model=[],
        overhead=summarise([1.0], [2.0], 1),
        last_calls=[
            {
                "time": datetime.now(UTC).isoformat(),
                "call_id": "0" * 24,
                "user_id": "ana",
                "model": "canned-large",
                "status": "completed",
                "tokens": 10,
                "cost_usd": "0.001",
                "ms": 300.5,
            }
        ],
        mongodb="mongodb://127.0.0.1/x",
        own_server=True,
        environment="e",
        llm="canned",
        seconds=1.0,
        tampering=Tampering(
            leaves=400,
            acts=[
                Act("edited", "c" * 24, "ana", "canned-large", "0.01", "0.0001", "altered", "X"),
                Act("deleted", "d" * 24, "dana", "canned-small", "0.02", None, "missing", "Y"),
            ],
        ),
    )
    console = Console(width=80, record=True, file=None, quiet=False, highlight=False)
    with console.capture() as captured:
        show(report, console)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 80
    assert text.rstrip().endswith("- 1 records of calls are missing")
    said = " ".join(text.split())
    assert f"call {'c' * 24}, user ana, canned-large, 0.01 USD became 0.0001 USD" in said
    assert f"call {'d' * 24}, user dana, canned-small, 0.02 USD" in said
    assert "ALTERED X MISSING Y" in said
