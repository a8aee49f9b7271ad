"""What is advised about indexes and said of plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from affidavit.monitor.advice import Advice, advise, plan_findings
from affidavit.store.monitoring import IndexUse, Plan, Size, SlowShape

pytestmark = pytest.mark.requirement("R26")

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SIZES = [Size("llm_audit", 10_000, 1, 1)]


def index(name: str, *keys: tuple[str, int], uses: int = 0, **options: Any) -> IndexUse:
    """An index that has been watched for a month."""
    since = NOW - timedelta(days=30)
    return IndexUse("llm_audit", name, keys, 4096, uses, since, options)


def plan(shape: str = "search by user", by: str | None = "by_user", **more: Any) -> Plan:
    """A question that an index answers."""
    return replace(Plan(shape, "llm_audit", by, ("FETCH", "IXSCAN"), 50, 50, 50), **more)


def advised(*indexes: IndexUse, plans: Any = (), shapes: Any = ()) -> list[Advice]:
    """What there is to consider."""
    return advise(indexes, plans, shapes, SIZES, NOW)


def test_an_index_nobody_uses_may_go_with_the_exact_commands() -> None:
    """Hidden first, since that is undone at once."""
    [found] = advised(index("by_symbol", ("symbol", 1)))
    assert (found.kind, found.index, found.sure) == ("unused", "by_symbol", True)
    assert found.commands[1] == 'db.getCollection("llm_audit").dropIndex("by_symbol")'
    assert "hideIndex" in found.commands[0]
    assert "4.0 KiB" in found.cost
    assert "10,000 documents" in found.cost


def test_an_index_that_a_question_would_go_by_is_not_unused() -> None:
    """Although nobody has asked that question yet."""
    assert advised(index("by_user", ("user_id", 1)), plans=[plan()]) == []


def test_of_an_index_that_set_up_makes_its_purpose_is_said() -> None:
    """And nothing before it has been watched for long enough."""
    ours = replace(index("call_id_1", ("call_id", 1)), purpose="joins a call with its outcome")
    [found] = advised(ours)
    assert "set-up makes it: joins a call with its outcome; it would" in found.evidence[-1]
    assert advised(replace(ours, since=NOW - timedelta(days=1))) == []


def test_an_index_that_is_used_stays() -> None:
    """Once is enough."""
    assert advised(index("by_symbol", ("symbol", 1), uses=1)) == []


def test_an_index_watched_for_a_day_is_not_judged_for_sure() -> None:
    """The count begins again with the server."""
    young = replace(index("by_symbol", ("symbol", 1)), since=NOW - timedelta(days=1))
    [found] = advised(young)
    assert not found.sure
    assert "1.0 days are too few" in found.why


def test_nothing_is_said_of_uses_that_the_server_withholds() -> None:
    """Unknown is not unused."""
    assert advised(replace(index("by_symbol", ("symbol", 1)), uses=None)) == []


@pytest.mark.parametrize("option", [{"unique": True}, {"expireAfterSeconds": 60}])
def test_an_index_that_does_more_than_answer_stays(option: dict[str, Any]) -> None:
    """It keeps numbers apart, or lets records expire."""
    assert advised(index("bound", ("a", 1), **option)) == []


def test_an_index_that_another_begins_with_is_redundant() -> None:
    """Used or not."""
    [found] = advised(
        index("short", ("user_id", 1), uses=9), index("long", ("user_id", 1), ("t", -1), uses=9)
    )
    assert (found.kind, found.index) == ("redundant", "short")
    assert "long" in found.why


def test_an_index_in_the_opposite_order_is_redundant() -> None:
    """A server walks an index both ways."""
    [found] = advised(
        index("down", ("t", -1), uses=9), index("expires", ("t", 1), uses=9, expireAfterSeconds=60)
    )
    assert found.index == "down"


def test_an_index_over_some_documents_makes_none_redundant() -> None:
    """It does not hold the others."""
    partial = index("long", ("user_id", 1), ("t", -1), uses=9, partialFilterExpression={"a": 1})
    assert advised(index("short", ("user_id", 1), uses=9), partial) == []


def test_a_slow_question_without_an_index_gets_one_proposed() -> None:
    """Equal fields, then the order, then ranges."""
    shape = SlowShape(
        "llm_audit", ("department",), ("cost",), (("timestamp", -1),), 7, 310, "COLLSCAN"
    )
    [found] = advised(index("timestamp_-1", ("timestamp", -1), uses=5), shapes=[shape])
    assert found.kind == "missing"
    assert '{"department": 1, "timestamp": -1, "cost": 1}' in found.commands[0]
    assert "310 ms" in found.evidence[0]
    assert "reads 10,000 documents once" in found.cost


def test_a_slow_question_that_has_its_index_gets_none() -> None:
    """It is slow for another reason."""
    shape = SlowShape("llm_audit", ("user_id",), (), (("t", -1),), 7, 310, "IXSCAN { user_id: 1 }")
    assert advised(index("by_user", ("user_id", 1), ("t", -1), uses=5), shapes=[shape]) == []


def test_a_question_of_the_read_side_that_reads_everything_needs_set_up() -> None:
    """Somebody dropped its index."""
    [found] = advised(plans=[plan(by=None, stages=("COLLSCAN",))])
    assert "affidavit setup" in found.commands
    assert found.about == 'an index of llm_audit for the question "search by user"'
    assert found.index == ""


def test_plans_are_judged_by_scan_change_and_cost() -> None:
    """Each with what there is to say."""
    plans = [
        plan("a", by=None, stages=("COLLSCAN",)),
        plan("b", by="other"),
        plan("c", examined=5001, returned=50),
        plan("d", examined=5000, returned=50),
    ]
    found = plan_findings(plans, {"b": "by_user", "c": "by_user"}, ["other"])
    assert [(each.shape, each.kind) for each in found] == [
        ("a", "scan"), ("b", "changed"), ("c", "costly"),
    ]  # fmt: skip


def test_another_index_is_said_where_the_accepted_one_is_gone_or_it_costs() -> None:
    """A small collection's plan may change from day to day, and nobody has to know."""
    cheap, dear = plan(by="other"), plan(by="other", keys=2000, examined=50)
    before = {"search by user": "by_user"}
    assert plan_findings([cheap], before, ["by_user", "other"]) == []
    assert [f.kind for f in plan_findings([dear], before, ["by_user", "other"])] == ["changed"]
    [gone] = plan_findings([cheap], before, ["other"])
    assert "not there any more" in gone.text


def test_questions_that_walk_by_time_are_not_called_costly() -> None:
    """That is how they are meant."""
    walking = plan("search by department", by="timestamp_-1", examined=90_000, returned=1)
    assert plan_findings([walking], {}) == []
