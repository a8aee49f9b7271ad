"""What the page of costs asks: read from an address, and written into the one of a download."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.analytics.cost import cost
from affidavit.analytics.questions import read as read_question
from affidavit.console import costs
from tests.support.calls import Calls
from tests.support.documents import START
from tests.support.oracle import Oracle

pytestmark = pytest.mark.requirement("R13")

NOW = START + timedelta(days=5)
text = st.text(max_size=30)


@given(
    st.dictionaries(
        st.sampled_from(
            ["view", "by", "last", "since", "until", "month", "who", "measure", "user", "model_to"]
        )
        | text,
        text,
        max_size=8,
    )
)
def test_any_address_is_read(query: dict[str, str]) -> None:
    """Whatever stands there, a question comes of it, and it can be asked again by its address."""
    asked = costs.read(query, NOW)
    assert asked.view in costs.VIEWS
    assert costs.read(asked.query, NOW).query == asked.query


def test_an_address_asks_again_what_it_asked() -> None:
    """View, keys, time and filters come back."""
    query = {"view": "spend", "by": "model", "last": "7d", "department": "research"}
    asked = costs.read(query, NOW)
    assert asked.query == query
    assert asked.keys == ("model",)
    assert dict(asked.where) == {"department": "research"}


def test_a_download_has_the_answers_own_time() -> None:
    """Both ends are written out, so that later records are not in it."""
    asked = costs.read({"last": "24h", "by": "user"}, NOW)
    since = datetime(2026, 11, 5, 1, 2, 3, tzinfo=UTC)
    answer: Any = SimpleNamespace(since=since, until=since + timedelta(days=1))
    fixed = asked.fixed(answer)
    assert "last" not in fixed
    assert fixed["since"] == "2026-11-05T01:02:03.000Z"
    again = costs.read(dict(fixed), NOW)
    assert (again.span.since, again.span.until) == (answer.since, answer.until)
    assert urlencode(fixed)


def test_unknown_words_fall_back_to_what_is_usual() -> None:
    """A link may be old, or made up."""
    asked = costs.read({"view": "nothing", "by": "field:secret", "measure": "x"}, NOW)
    assert (asked.view, asked.by, asked.measure) == ("spend", "department", "calls")


def test_the_map_has_every_hour_of_every_weekday() -> None:
    """Hours without calls are nothing, the largest is the deepest shade."""
    calls = Calls()  # a Sunday, at noon
    calls.add(times=9)
    calls.add(after=timedelta(hours=1))
    asked = read_question(("weekday", "hour_of_day"), {"last": "10d"}, "UTC", NOW)
    found = costs.heat(cost(Oracle(calls.records), asked), "calls")
    assert [day for day, _ in found] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert all(len(cells) == 24 for _, cells in found)
    sunday = dict(found)["Sun"]
    assert sum(cell.value for cell in sunday) == 10
    assert sorted(cell.level for cell in sunday if cell.value) == [1, 9]
    assert {cell.level for cell in dict(found)["Mon"]} == {0}


@pytest.mark.parametrize(
    ("value", "most", "level"),
    [(0, 9, 0), (1, 900, 1), (9, 9, 9), (5, 10, 5), (-1, 3, 0), (1, 0, 0)],
)
def test_shades_grow_with_values(value: int, most: int, level: int) -> None:
    """Anything at all has a shade; nothing has none."""
    assert costs.level(value, most) == level


def test_only_groups_without_a_price_are_listed_as_such() -> None:
    """The most first; totals stay those of all."""
    calls = Calls()
    calls.add(model="priced")
    calls.add(model="new", cost=None, times=2)
    calls.add(model="odd", cost=None)
    oracle = Oracle(calls.records)
    asked = costs.read({"view": "unpriced", "since": "2026-10-01", "until": "2026-12-01"}, NOW)
    asking: Any = SimpleNamespace(
        cost=lambda by, **more: cost(oracle, read_question(by, more, "UTC", NOW))
    )
    found = costs.ask(asked, asking)
    assert found is not None
    assert [(row.key["model"], row.unpriced) for row in found.rows] == [("new", 2), ("odd", 1)]
    assert found.totals.calls == 4
