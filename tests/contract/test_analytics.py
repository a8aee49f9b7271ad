"""The contract of an engine of analytics: every answer is the oracle's, which adds in Python."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.database import Database

from affidavit.config import AuditConfig
from affidavit.store import open_log
from affidavit.store.analytics import Engine, SumQuestion, TooManyGroups
from affidavit.tally.sums import COUNTERS, MEASURES
from tests.support.documents import Numbered
from tests.support.oracle import Oracle
from tests.support.rollups import fold

pytestmark = pytest.mark.requirement("R13", "R14", "R15", "R16", "R18")

Log = Database[dict[str, Any]]
Filled = tuple[Engine, Oracle]

SINCE = datetime(2026, 10, 20, tzinfo=UTC)
UNTIL = datetime(2026, 11, 3, tzinfo=UTC)
"""Summer ends in Madrid in between."""
LEGACY = "America/New_York"
"""So does the older logger's, a week later."""
ALL = frozenset(MEASURES)

_COSTS: tuple[Any, ...] = (
    None, Decimal128("0.045"), Decimal128("0.000000001"), Decimal128("12.345678901"), 0.1, 0.0027,
    "0.25", "4.5E-2", "much", " 1", True, 3, Int64(2), float("nan"), Decimal128("Infinity"),
    Decimal128("-0.5"), Decimal128("0.0000000025"), 1e30, 1.23456789012345678, {"usd": 1},
)  # fmt: skip
_NUMBERS: tuple[Any, ...] = (
    None, 0, 1, 17, 950, 12.9, Int64(2**40), -3, "7", True, float("inf"), Decimal128("8.5"), 2**60,
)  # fmt: skip
_TIMES: tuple[Any, ...] = (
    None, 0, 0.0004, 1, 1.04, 80.125, 950, 1500.25, 60_000, -1, 1e12, "9", float("nan"),
    Decimal128("33.3"), 12.0005,
)  # fmt: skip
_NAMES: tuple[Any, ...] = (None, "", "ana", "bob", "$user", "5", 5, 5.0, True, Decimal128("5.0"))
_FIELDS: tuple[Any, ...] = (
    None, "BTC", "ETH", 1, 1.0, 0.5, False, ["BTC"], {"a": 1}, Binary(b"x"),
)  # fmt: skip


def odd_log(seed: int, calls: int = 250) -> list[dict[str, Any]]:
    """Records of every kind and oddity, from this library and from an older logger."""
    chance = random.Random(seed)
    numbered = Numbered(f"w{seed}")
    span_s = (UNTIL - SINCE).total_seconds()
    records: list[dict[str, Any]] = []
    for _ in range(calls):
        at = SINCE + timedelta(milliseconds=chance.randrange(-2 * 10**7, int(span_s * 1000)))
        outcome = _call(chance, numbered, at)
        if chance.random() < 0.3:
            outcome = _as_old(chance, outcome)
        records.append(outcome)
        if chance.random() < 0.3:
            records.append(_correction(chance, numbered, outcome))
        if chance.random() < 0.3:
            records.append(_score(chance, numbered, outcome))
        if chance.random() < 0.2:
            records.append(_hit(chance, numbered, at))
        if chance.random() < 0.1:
            records.append(numbered.intent(at))
    return records


def _call(chance: random.Random, numbered: Numbered, at: datetime) -> dict[str, Any]:
    status = chance.choice(["completed", "completed", "failed", "aborted"])
    outcome = numbered.outcome(numbered.intent(at), status)
    outcome["timestamp"] = at
    outcome |= {
        "user_id": chance.choice(_NAMES),
        "department": chance.choice([None, "research", "sales"]),
        "provider": chance.choice(["openai", "anthropic"]),
        "model": chance.choice(["m1", "m2"]),
        "finish_reason": chance.choice([None, "stop", "LENGTH", "max_tokens", 5]),
        "cost_status": chance.choice([None, "estimated", "priced"]),
        "time_to_first_token_ms": chance.choice(_TIMES),
        "session_id": chance.choice([None, "s1", "s2", "s3"]),
    }
    for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"):
        outcome[name] = chance.choice(_NUMBERS)
    outcome["request_data"] |= {"symbol": chance.choice(_FIELDS)}
    outcome["request_data"]["message_length"] = chance.choice(_NUMBERS)
    outcome["response_data"] = {
        "provider_used": chance.choice([None, outcome["provider"]]),
        "cost_usd": chance.choice(_COSTS),
        "tokens_used": chance.choice(_NUMBERS),
        "response_length": chance.choice(_NUMBERS),
        "processing_time_ms": chance.choice(_TIMES),
        "retries": chance.choice(_NUMBERS),
    }
    if chance.random() < 0.2:
        outcome["response_data"]["tool_calls"] = []
    if chance.random() < 0.2:
        del outcome["department"]
    return outcome


def _as_old(chance: random.Random, outcome: dict[str, Any]) -> dict[str, Any]:
    """The same call as an older logger leaves it: one document, local time, no model above."""
    old = {k: v for k, v in outcome.items() if k not in {"schema_version", "writer", "seq"}}
    for name in ("call_id", "provider", "model"):
        del old[name]
    old["event_type"] = chance.choice(["llm_request", "llm_request", "llm_response"])
    return old


def _correction(
    chance: random.Random, numbered: Numbered, outcome: dict[str, Any]
) -> dict[str, Any]:
    kept = ("user_id", "department", "provider", "model", "session_id", "status", "cost_status")
    details: dict[str, Any] = {
        "cost_nano_diff": chance.choice([5, -7, Int64(10**12), 3.0, None]),
        "cost_status_before": chance.choice(["priced", "unpriced"]),
    }
    return numbered.document(
        "correction",
        UNTIL + timedelta(days=1),
        call_id=outcome.get("call_id", str(outcome["_id"])),
        effective_at=outcome["timestamp"],
        request_data={"symbol": outcome["request_data"]["symbol"]},
        response_data={"provider_used": outcome["response_data"]["provider_used"]},
        details=details,
        **{name: outcome[name] for name in kept if name in outcome},
    )


def _score(chance: random.Random, numbered: Numbered, outcome: dict[str, Any]) -> dict[str, Any]:
    return numbered.document(
        "annotation",
        outcome["timestamp"] + timedelta(days=1),
        call_id=outcome.get("call_id", "none"),
        details={
            "kind": chance.choice(["score", "review"]),
            "name": chance.choice(["helpful", "correct"]),
            "value": chance.choice([True, False, 3, 0.5, -1.25, "good", None, Decimal128("0.1")]),
        },
    )


def _hit(chance: random.Random, numbered: Numbered, at: datetime) -> dict[str, Any]:
    user = chance.choice(["ana", "bob"])
    if chance.random() < 0.5:
        return numbered.document(
            "rate_limit_exceeded", at, user_id=user, details={"limit_type": "requests"}
        )
    return {
        "_id": ObjectId(),
        "event_type": "rate_limit_exceeded",
        "timestamp": at,
        "user_id": user,
        "limit_type": "daily",
    }


Fill = Callable[..., Filled]


@pytest.fixture(params=["records", "rollups"])
def filled(
    request: pytest.FixtureRequest, database: Log, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fill]:
    """Store records; give the engine over them, and the oracle."""
    monkeypatch.setattr("affidavit.store.mongo.rollup_standing.SMALL", 0)
    opened = []

    def fill(records: list[dict[str, Any]], legacy: str | None = None) -> Filled:
        database.llm_audit.insert_many(records)
        log = open_log(
            database,
            AuditConfig(
                legacy_timezone=legacy, ttl_days=20_000, reporting_timezone="Europe/Madrid"
            ),
        )
        opened.append(log)
        if request.param == "rollups":
            log.apply(log.plan())
            fold(log, database)
        return log.calls, Oracle(database.llm_audit.find(), ZoneInfo(legacy) if legacy else None)

    yield fill
    for log in opened:
        log.close()


def ask(by: tuple[str, ...] = (), **more: Any) -> SumQuestion:
    """A question about the fortnight, in Madrid."""
    asked: dict[str, Any] = {"zone": "Europe/Madrid", "measures": ALL, **more}
    return SumQuestion(asked.pop("since", SINCE), asked.pop("until", UNTIL), by, **asked)


QUESTIONS = [
    ask(),
    ask(("provider", "model")),
    ask(("user_id",)),
    ask(("department", "status")),
    ask(("day",)),
    ask(("hour",)),
    ask(("week",)),
    ask(("month", "weekday")),
    ask(("hour_of_day",)),
    ask(("hour",), zone="Australia/Lord_Howe"),
    ask(("day",), zone="Asia/Kathmandu"),
    ask(("field:symbol",)),
    ask(("error_type", "finish_reason", "cost_status")),
    ask(("day",), filters={"user_id": "ana"}),
    ask(("model",), filters={"user_id": "5"}),
    ask(("model",), filters={"user_id": "true"}),
    ask(("model",), filters={"user_id": "$user"}),
    ask(("model",), filters={"department": None}),
    ask(("day",), filters={"provider": "openai", "model": "m1"}),
    ask(("user_id",), filters={"status": "completed", "field:symbol": "BTC"}),
    ask(("model",), filters={"field:symbol": "0.5"}),
    ask(("model",), filters={"field:symbol": "false"}),
    ask(("model",), since=SINCE + timedelta(days=3, microseconds=1)),
    ask(("day",), measures=frozenset()),
    ask(("user_id",), measures=frozenset({"cost"})),
    ask(("user_id",), measures=frozenset({"tokens", "spread"})),
    ask(("model",), measures=frozenset({"speed"})),
    ask(within={"department": ("research",)}),
    ask(("model",), within={"department": ("research", "sales")}),
    ask(("department",), within={"department": ("research",)}),
    ask(("user_id",), within={"department": ("sales",)}, measures=frozenset({"cost", "tokens"})),
    ask(("day",), within={"department": ("sales",), "user_id": ("ana", "5", "bob")}),
    ask(("hour",), within={"department": ("sales",)}, measures=frozenset({"cost"})),
    ask(("day",), within={"department": ("sales", "research")}, filters={"department": "sales"}),
    ask(("day", "user_id"), within={"department": ("sales",)}, measures=frozenset({"cost"})),
]


@pytest.mark.parametrize("legacy", [None, LEGACY])
@pytest.mark.parametrize("seed", range(2))
def test_sums_are_the_oracles(filled: Fill, legacy: str | None, seed: int) -> None:
    """Every sum, of odd records of every kind, is what adding in Python gives."""
    engine, oracle = filled(odd_log(seed), legacy)
    for question in QUESTIONS:
        expected = dict(oracle.sums(question))
        found = {key: sums.only(question.measures) for key, sums in engine.sums(question)}
        assert found == expected, question


NEEDING = [
    ask(("department",), measures=frozenset({"cost"}), needs=frozenset({"cost_nano"})),
    ask(("user_id",), measures=frozenset({"cost"}), needs=frozenset({"unpriced"})),
    ask(
        ("weekday", "hour_of_day"),
        measures=frozenset({"cost", "tokens"}),
        needs=frozenset({"cost_nano", "estimated", "tokens", "output_tokens"}),
    ),
    ask(("hour_of_day",), measures=frozenset({"cost"}), filters={"provider": "openai"}),
    ask(("weekday", "model"), measures=frozenset({"cost"})),
    ask(("weekday",), zone="Asia/Kathmandu", measures=frozenset({"cost"})),
    ask(("day", "user_id"), measures=frozenset({"tokens"}), needs=frozenset({"input_tokens"})),
    ask(("model",), measures=frozenset({"latency"}), needs=frozenset({"latency_us", "empty"})),
    *(ask((), measures=frozenset(MEASURES), needs=frozenset({name})) for name in COUNTERS),
]


@pytest.mark.parametrize("legacy", [None, LEGACY])
def test_counters_that_are_needed_are_the_oracles(filled: Fill, legacy: str | None) -> None:
    """An engine may leave out counters that nobody looks at, and no others."""
    engine, oracle = filled(odd_log(0), legacy)
    for question in NEEDING:
        found, expected = (
            {
                key: {name: getattr(sums, name) for name in question.counters}
                for key, sums in each.sums(question)
                if sums.calls or question.needs & {"cost_nano", "unpriced", "priced"}
            }
            for each in (engine, oracle)
        )
        assert found == expected, question
        assert any(counts["calls"] for counts in expected.values())


def test_questions_that_are_asked_together_have_the_answers_of_each(filled: Fill) -> None:
    """Whatever answers each of them, in their order."""
    engine, oracle = filled(odd_log(1))
    for several in (QUESTIONS[:12], QUESTIONS[:1], []):
        together = engine.together(several)
        for question, found in zip(several, together, strict=True):
            cut = {key: sums.only(question.measures) for key, sums in found.items()}
            assert cut == dict(oracle.sums(question))
    with pytest.raises(TooManyGroups):
        engine.together([QUESTIONS[0], ask(("hour",), limit=3)])


def test_the_questions_have_answers() -> None:
    """Each question of this suite finds calls, so that equal answers mean something."""
    oracle = Oracle([*odd_log(0), *odd_log(1)])
    for question in QUESTIONS:
        assert any(sums.calls for _key, sums in oracle.sums(question)), question


ZONES = (
    "Europe/Madrid", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Africa/Casablanca",
    "Australia/Lord_Howe", "Pacific/Apia", "Asia/Beirut", "America/St_Johns",
)  # fmt: skip


def test_hours_days_and_months_of_every_zone(filled: Fill) -> None:
    """Over years with leap days and changes of the clock, each key is the one Python gives."""
    chance, numbered = random.Random(11), Numbered()
    start, end = datetime(2023, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
    moments = [start + (end - start) * chance.random() for _ in range(150)]
    for year in (2024, 2026, 2028):  # leap days, and the hours around changes of the clock
        for month, day in ((2, 29), (3, 29), (10, 25), (11, 1), (12, 31)):
            if (month, day) != (2, 29) or year != 2026:
                begin = datetime(year, month, day, tzinfo=UTC)
                moments += [begin + timedelta(minutes=30 * n) for n in range(-4, 8)]
    engine, oracle = filled([numbered.outcome(numbered.intent(at)) for at in moments])
    for zone in ZONES:
        for unit in ("hour", "day", "week", "month", "hour_of_day", "weekday"):
            question = ask((unit,), since=start, until=end, zone=zone, measures=frozenset())
            found = {key: sums.calls for key, sums in engine.sums(question)}
            assert found == {key: sums.calls for key, sums in oracle.sums(question)}, (zone, unit)


def test_distinct_values_are_counted(filled: Fill) -> None:
    """Users and sessions are counted once in each group."""
    engine, oracle = filled(odd_log(3))
    for of in ("user_id", "session_id", "provider"):
        for question in (ask(), ask(("model",)), ask(("hour_of_day",)), ask(("day",))):
            assert dict(engine.distinct(question, of)) == dict(oracle.distinct(question, of))
    both = ("session_id", "user_id")
    for question in (ask(), ask(("model",)), ask(("hour",), filters={"department": "sales"})):
        assert engine.counted(question, both) == oracle.counted(question, both)


def test_some_groups_can_be_asked_for(filled: Fill) -> None:
    """The first by a counter, and groups by name, have the sums they have among all."""
    engine, oracle = filled(odd_log(12))
    question = ask(("user_id", "department"), measures=frozenset({"cost"}))
    rows = [(key, s.only({"cost"})) for key, s in engine.highest(question, "cost_nano", 4)]
    assert rows == oracle.highest(question, "cost_nano", 4)
    keys = [key for key, _ in rows[1:]]
    some = {key: s.only({"cost"}) for key, s in engine.only(question, keys)}
    assert some == dict(oracle.only(question, keys)) == dict(rows[1:])


def test_the_dearest_calls_come_first(filled: Fill) -> None:
    """The dearest calls are found by what they cost after corrections."""
    engine, oracle = filled(odd_log(4))
    for question in (ask(), ask(filters={"provider": "openai"})):
        found, expected = engine.dearest(question, 20), oracle.dearest(question, 20)
        assert [(d.fact.call_id, d.cost_nano) for d in found] == [
            (d.fact.call_id, d.cost_nano) for d in expected
        ]
        assert found[0].fact.provider == expected[0].fact.provider


@pytest.mark.requirement("R16")
def test_corrections_are_counted(filled: Fill) -> None:
    """By group, and those of calls that may be seen only."""
    engine, oracle = filled(odd_log(7))
    for question in (ask(), ask(("provider", "model"), within={"department": ("research",)})):
        found = dict(engine.corrected(question))
        assert found == dict(oracle.corrected(question))
    assert dict(engine.corrected(ask()))[()] > 0


def test_scores_belong_to_their_calls(filled: Fill) -> None:
    """Scores count in the group and at the time of the call, whenever they were given."""
    engine, oracle = filled(odd_log(5))
    for question in (ask(), ask(("model",)), ask(("day",), filters={"provider": "openai"})):
        found = {(key, name): scores for key, name, scores in engine.scores(question)}
        assert found == {(key, name): scores for key, name, scores in oracle.scores(question)}
        assert found


@pytest.mark.parametrize("legacy", [None, LEGACY])
def test_rate_limits_are_counted(filled: Fill, legacy: str | None) -> None:
    """Hits are counted by who and by kind of limit, old records included."""
    engine, oracle = filled(odd_log(6), legacy)
    for question in (ask(), ask(("user_id",)), ask(("hour",))):
        found = {(key, kind): hits for key, kind, hits in engine.limits(question)}
        assert found == {(key, kind): hits for key, kind, hits in oracle.limits(question)}
        assert found


def test_nothing_outside_of_what_may_be_seen_is_found(filled: Fill) -> None:
    """No filter, key or list leads out of the departments and tenants that may be seen."""
    engine, oracle = filled(odd_log(10))
    outside = (
        {"within": {"department": ("research",)}, "filters": {"department": "sales"}},
        {"within": {"department": ("research",)}, "filters": {"department": None}},
        {"within": {"department": ()}},
        {"within": {"tenant": ("acme",)}},
        {"within": {"department": ("research", "sales"), "tenant": ("acme",)}},
    )
    for more in outside:
        for by in ((), ("department",), ("user_id",), ("hour",), ("field:symbol",)):
            question = ask(by, **more)
            assert not list(engine.sums(question)), question
            assert not list(oracle.sums(question)), question
            assert not list(engine.distinct(question, "user_id"))
            assert not list(engine.scores(question))
            assert not list(engine.limits(question))
        assert not engine.dearest(ask(**more), 5)


def test_lists_are_kept_to_what_may_be_seen(filled: Fill) -> None:
    """Values, dear calls and scores are those of the calls that may be seen, as the oracle says."""
    engine, oracle = filled(odd_log(11))
    seen = ask(("model",), within={"department": ("sales",)})
    assert dict(engine.distinct(seen, "session_id")) == dict(oracle.distinct(seen, "session_id"))
    found, expected = engine.dearest(seen, 50), oracle.dearest(seen, 50)
    assert [(d.fact.call_id, d.cost_nano) for d in found] == [
        (d.fact.call_id, d.cost_nano) for d in expected
    ]
    assert found
    assert {dear.fact.department for dear in found} == {"sales"}
    scores = {(key, name): each for key, name, each in engine.scores(seen)}
    assert scores == {(key, name): each for key, name, each in oracle.scores(seen)}


def test_too_many_groups_are_refused(filled: Fill) -> None:
    """A question with more groups than its limit is answered with what to do instead."""
    engine, oracle = filled(odd_log(7))
    for asked in (engine, oracle):
        with pytest.raises(TooManyGroups, match="By hour there are more than 5 groups"):
            list(asked.sums(ask(("hour",), limit=5)))


def test_an_empty_log_has_no_groups(filled: Fill) -> None:
    """Without calls in that time there is nothing, and no error."""
    engine, _ = filled(odd_log(8))
    never = ask(("model",), since=SINCE - timedelta(days=900), until=SINCE - timedelta(days=800))
    assert not list(engine.sums(never))
    assert not engine.dearest(never, 5)


def test_costs_are_summed_to_the_last_nano_dollar(filled: Fill) -> None:
    """A million small amounts' worth of digits stays exact, and rows add up to the total."""
    numbered, records, exact = Numbered(), [], Decimal(0)
    for n in range(500):
        outcome = numbered.outcome(numbered.intent(SINCE, user_id=f"u{n % 7}"))
        cost = Decimal(n * 123_456_789 + 1).scaleb(-9)
        exact += cost
        outcome["response_data"]["cost_usd"] = Decimal128(cost)
        records.append(outcome)
    engine, _ = filled(records)
    rows = [sums for _key, sums in engine.sums(ask(("user_id",)))]
    assert sum((sums.cost_usd for sums in rows), Decimal(0)) == exact


def test_a_source_is_named(filled: Fill) -> None:
    """An engine says where its sums come from."""
    engine, _ = filled(odd_log(9, calls=3))
    assert engine.source(ask(("field:symbol",))).name == "records"
