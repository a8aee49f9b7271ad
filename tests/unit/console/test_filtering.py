"""What a list is narrowed to, from its address and back."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest

from affidavit.console.filtering import CALLS, is_drawn, read_narrowed
from affidavit.console.visitor import Scope

pytestmark = pytest.mark.requirement("R13", "R18")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_list_is_of_calls_unless_it_says() -> None:
    """Events stand beside calls where they are asked for."""
    assert read_narrowed({}, Scope(), NOW).wanted.event_type == CALLS
    assert read_narrowed({"event_type": "all"}, Scope(), NOW).wanted.event_type is None
    assert not read_narrowed({"event_type": CALLS}, Scope(), NOW).of_events


def test_a_scope_is_the_visitor_s_own() -> None:
    """No name in an address reaches it."""
    query = {"departments": "research", "tenants": "x", "department": "research"}
    found = read_narrowed(query, Scope(("sales",), None), NOW)
    assert found.wanted.departments == ("sales",)
    assert found.wanted.tenants is None
    assert found.wanted.department == "research"


def test_an_address_asks_the_same_again() -> None:
    """Filters, fields of one's own and the time go into every address of the page."""
    query = {"user_id": "ana & bob", "field:symbol": "ABC", "cost_min_usd": "0.5", "last": "24h"}
    found = read_narrowed(query, Scope(), NOW)
    again = dict(parse_qsl(urlsplit(found.address()).query))
    assert again == query
    assert read_narrowed(again, Scope(), NOW).wanted == found.wanted
    assert "user_id" not in found.without("user_id")
    assert dict(parse_qsl(urlsplit(found.having("model", "m")).query)) == {**query, "model": "m"}


def test_the_zoom_of_a_chart_leaves_its_ends_open() -> None:
    """A script puts the ends in; the filters stay, the time does not."""
    found = read_narrowed({"user_id": "ana", "last": "24h"}, Scope(), NOW)
    assert found.zoom == "/calls?user_id=ana&since=SINCE&until=UNTIL"


def test_numbers_are_read_in_both_ways_of_writing() -> None:
    """A decimal comma is one."""
    found = read_narrowed({"cost_min_usd": "0,05", "latency_max_ms": "1500"}, Scope(), NOW)
    assert found.wanted.cost_min_usd == Decimal("0.05")
    assert found.wanted.latency_max_ms == 1500.0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cost_min_usd", "NaN"),
        ("cost_min_usd", "-1"),
        ("cost_min_usd", "1e99"),
        ("tokens_min", "0.5"),
        ("latency_min_ms", "soon"),
        ("status", "$ne"),
        ("event_type", "records_lost"),
        ("user_id", "x" * 501),
    ],
)
def test_what_makes_no_sense_is_a_problem_and_no_filter(name: str, text: str) -> None:
    """It is told by its name, and what was typed stays."""
    found = read_narrowed({name: text}, Scope(), NOW)
    assert name in found.problems
    assert found.typed[name] == text


def test_too_many_fields_of_one_s_own_are_refused() -> None:
    """A question to the database has a bounded size."""
    query = {f"field:f{n}": "x" for n in range(9)}
    assert "field" in read_narrowed(query, Scope(), NOW).problems


def test_texts_and_open_calls_are_not_drawn() -> None:
    """A chart would have to read contents, or count what has not ended."""
    assert is_drawn(read_narrowed({}, Scope(), NOW).wanted)
    assert not is_drawn(read_narrowed({"text": "x"}, Scope(), NOW).wanted)
    assert not is_drawn(read_narrowed({"status": "initiated"}, Scope(), NOW).wanted)
