"""Parameters of a search: all of them, each once, and nothing that a database would act on."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson.regex import Regex
from starlette.datastructures import QueryParams

from affidavit.console.api import paging
from affidavit.console.api.problems import Problem, body_of, refusal_of
from affidavit.console.visitor import Scope
from affidavit.errors import ConfigError, StoreUnavailable
from affidavit.store.mongo.filters import Cursor, query
from affidavit.store.questions import SearchFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.requirement("R13", "R31")

EVERYTHING = Scope()


def read(given: Mapping[str, str], scope: Scope = EVERYTHING) -> SearchFilter:
    """Read a search."""
    return paging.read_filter(given, scope)


def test_every_filter_reaches_the_search() -> None:
    """None of the table is left out, and none of the search's own is missing in it."""
    given = {
        name: {
            "since": "2026-11-01",
            "until": "2026-11-02T00:00:00Z",
            "event_type": "llm_request",
            "status": "failed",
        }.get(name, "12")
        for name in paging.FILTERS
    }
    found = read(given).as_details()
    assert set(found) == set(paging.FILTERS)
    assert read({"cost_min_usd": "0.10"}).cost_min_usd == Decimal("0.10")
    assert read({"field:symbol": "ABC"}).as_details() == {"field:symbol": "ABC"}


@pytest.mark.parametrize(
    "query_",
    ["user_id[$ne]=x", "user_id.$ne=x", "$where=1", "nonsense=1", "user_id=a&user_id=b", "field=x"],
)
def test_an_unknown_parameter_is_an_error(query_: str) -> None:
    """A filter with a mistake in its name does not show everything."""
    with pytest.raises(Problem) as caught:
        paging.single(QueryParams(query_), paging.names(paging.FILTERS), own=True)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("since", "yesterday"),
        ("since", "0001-01-01T00:00:00+14:00"),
        ("status", "hush-value"),
        ("event_type", '{"$ne": 1}'),
        ("cost_min_usd", "NaN"),
        ("cost_min_usd", "1e400"),
        ("latency_min_ms", "-1"),
        ("tokens_min", "9" * 40),
        ("user_id", "u" * 501),
        ("user_id", ""),
        ("text", "t" * 501),
        ("field:a.b", "x"),
        ("field:$where", "x"),
        ("field:message", "x"),
        ("field:a", "x" * 501),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_without_repeating_it(name: str, value: str) -> None:
    """Names of fields are checked too: they become part of a question to the database."""
    with pytest.raises((Problem, ConfigError)) as caught:
        read({name: value})
    refusal = refusal_of(caught.value)
    assert refusal.status == 400
    assert "hush-value" not in str(body_of(refusal))


@pytest.mark.parametrize("value", ['{"$ne": null}', "$where", "a.*(b+)+$", "^", "x\0y"])
def test_a_value_is_compared_as_it_is(value: str) -> None:
    """Nothing in it is an operator or a pattern."""
    made = query(read({"user_id": value, "field:note": value}), None)
    assert {"user_id": value} in made["$and"]
    assert {"$or": [{"request_data.note": value}, {"response_data.note": value}]} in made["$and"]


def test_a_field_is_found_as_text_and_as_number() -> None:
    """`field:try=2` finds the number 2 as well."""
    for value, alike in (("2", ["2", 2]), ("-1.5", ["-1.5", -1.5]), ("true", ["true", True])):
        own = query(read({"field:try": value}), None)["$and"][1]["$or"][0]
        assert own == {"request_data.try": {"$in": alike}}


def test_what_may_be_seen_stands_in_every_question() -> None:
    """Beside the filter, whatever that says; none is none."""
    made = query(read({"department": "sales"}, Scope(("research",), ())), None)
    assert {"department": {"$in": ["research"]}, "tenant": {"$in": []}} in made["$and"]
    assert {"department": "sales"} in made["$and"]


def test_a_text_is_looked_for_as_it_is() -> None:
    """A pattern that would take for ever is only characters."""
    made = str(query(read({"text": "(a+)+$"}), None))
    assert r"\\(a\\+\\)\\+\\$" in made


@pytest.mark.parametrize(
    "shown",
    [
        [Regex(".*")],
        [{"$ne": 1}],
        [{"a": {"$regex": "x"}}],
        [bson.Code("1")],
        "text",
        [["list"]],
    ],
)
def test_a_forged_cursor_brings_nothing_into_the_question(shown: Any) -> None:
    """No pattern, no operator, no code."""
    forged = bson.encode({"at": datetime(2026, 1, 1, tzinfo=UTC), "shown": shown})
    with pytest.raises(ConfigError):
        Cursor.decode(base64.urlsafe_b64encode(forged).decode())


@pytest.mark.parametrize("text", ["", "x", "!!!!", "A" * 70_000, "AAAA"])
def test_what_is_no_cursor_is_told_so(text: str) -> None:
    """And nothing breaks."""
    with pytest.raises(ConfigError):
        Cursor.decode(text or "=")


def test_an_error_of_the_store_says_what_to_do_and_when() -> None:
    """Problem+json has the members that RFC 9457 names."""
    refusal = refusal_of(StoreUnavailable("MongoDB does not answer."))
    assert refusal.headers["Retry-After"]
    told = body_of(refusal)
    assert {"type", "title", "status", "detail"} <= told.keys()
    assert told["status"] == 503


def test_an_unexpected_error_tells_its_kind_only() -> None:
    """Its text could hold an address with a password, or a record."""
    told = str(body_of(refusal_of(RuntimeError("mongodb://user:hush-value@host"))))
    assert "RuntimeError" in told
    assert "hush-value" not in told
