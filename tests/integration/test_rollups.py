"""Rollups are what the records add up to: after crashes, races, late records and corrections."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from affidavit.analytics.facade import Analytics
from affidavit.analytics.keeper import Keeper, rebuild
from affidavit.config import AuditConfig
from affidavit.errors import StoreRefused
from affidavit.sealer.run import seal_once
from affidavit.store import open_log
from affidavit.store.analytics import SumQuestion
from affidavit.store.mongo.analytics import MongoCalls
from affidavit.store.mongo.rollup_standing import Stand
from affidavit.store.mongo.rollup_tail import Tail
from affidavit.store.mongo.rollup_totals import RollupCalls
from affidavit.tally.sums import MEASURES
from tests.support.documents import Numbered
from tests.support.oracle import Oracle
from tests.support.rollups import cells, fold, keeper, send_leaves, set_up
from tests.support.sealing import sealer_of
from tests.support.servers import fresh_database

if TYPE_CHECKING:
    from pymongo.database import Database

    from affidavit.store.mongo.log import MongoLog

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R13", "R14", "R15", "R16")

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
ALL = frozenset(MEASURES)


@pytest.fixture(autouse=True)
def _however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rollups answer although there are few records."""
    monkeypatch.setattr("affidavit.store.mongo.rollup_standing.SMALL", 0)


def test_few_records_are_added_up_themselves(
    log: MongoLog, database: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small log is answered from the records, which know the last second, too."""
    monkeypatch.setattr("affidavit.store.mongo.rollup_standing.SMALL", 20_000)
    store(database)
    fold(log, database)
    source = log.calls.source(FITTING[0])
    assert (source.name, source.notes) == ("records", ())


@pytest.fixture
def log(database: Log) -> Iterator[MongoLog]:
    """A log that is set up, with days of Madrid."""
    with set_up(database) as opened:
        yield opened


def call(numbered: Numbered, chance: random.Random, at: datetime | None = None) -> dict[str, Any]:
    """An outcome of the last fortnight, in which summer ended."""
    moment = at or NOW - timedelta(milliseconds=chance.randrange(14 * 86_400_000))
    outcome = numbered.outcome(numbered.intent(moment), chance.choice(["completed", "failed"]))
    outcome |= {
        "timestamp": moment,
        "user_id": f"u{chance.randrange(5)}",
        "department": chance.choice(["research", "sales", None]),
        "model": chance.choice(["m1", "m2"]),
        "input_tokens": chance.randrange(1000),
    }
    outcome["response_data"]["cost_usd"] = Decimal128(str(chance.randrange(10**6) / 10**6))
    outcome["response_data"]["processing_time_ms"] = chance.random() * 2000
    return outcome


def correction(numbered: Numbered, outcome: dict[str, Any], nano: int) -> dict[str, Any]:
    """A correction of a call's cost, made later."""
    kept = ("user_id", "department", "provider", "model", "status", "call_id")
    return numbered.document(
        "correction",
        NOW + timedelta(days=1),
        effective_at=outcome["timestamp"],
        details={"cost_nano_diff": Int64(nano), "cost_status_before": "priced"},
        response_data={"provider_used": outcome["response_data"].get("provider_used")},
        **{name: outcome[name] for name in kept},
    )


def store(database: Log, writers: int = 3, calls: int = 40, seed: int = 1) -> list[dict[str, Any]]:
    """Store calls of some writers, and corrections of some."""
    chance, made = random.Random(seed), list[dict[str, Any]]()
    for number in range(writers):
        numbered = Numbered(f"w{seed}-{number}")
        for _ in range(calls):
            made.append(call(numbered, chance))
            if chance.random() < 0.2:
                made.append(correction(numbered, made[-1], chance.randrange(-1000, 1000)))
    database.llm_audit.insert_many(made)
    return made


def ask(by: tuple[str, ...] = (), **more: Any) -> SumQuestion:
    """A question about the fortnight, in Madrid."""
    asked: dict[str, Any] = {"zone": "Europe/Madrid", **more}
    since = asked.pop("since", NOW - timedelta(days=15))
    return SumQuestion(since, asked.pop("until", NOW + timedelta(days=1)), by, **asked)


FITTING = (
    ask(measures=ALL),
    ask(("provider", "model"), measures=ALL),
    ask(("hour",), measures=frozenset({"counts", "cost", "latency"})),
    ask(("day", "department"), measures=ALL),
    ask(("user_id",)),
    ask(("month", "user_id")),
    ask(("day",), filters={"user_id": "u1"}),
    ask(("status", "error_type")),
)


def agree(log: MongoLog, database: Log, questions: Iterable[SumQuestion] = FITTING) -> None:
    """Check that rollups answer, and as adding in Python does."""
    oracle = Oracle(database.llm_audit.find())
    for question in questions:
        assert log.calls.source(question).name == "rollups", log.calls.source(question)
        found = {key: sums.only(question.measures) for key, sums in log.calls.sums(question)}
        assert found == dict(oracle.sums(question)), question


def calls_held(database: Log) -> dict[str, int]:
    """How many calls the cells of each shape have in all."""
    held = cells(database).items()
    return {
        letter: sum(cell.get("calls", 0) for name, cell in held if name[0] == letter)
        for letter in "hmtu"
    }


def calls_by_day(log: MongoLog) -> Counter[str | None]:
    """How many calls each day of Madrid has, as rollups answer it."""
    return Counter({key[0]: sums.calls for key, sums in log.calls.sums(ask(("day",)))})


def same_when_rebuilt(log: MongoLog, database: Log) -> None:
    """Check that building the other side from the log gives the same documents."""
    current = log.rollups.current()
    assert current is not None
    before = cells(database, current["side"])
    rebuild(log.seals, log.rollups)
    other = log.rollups.current()
    assert other is not None
    assert other["side"] != current["side"]
    assert cells(database, other["side"]) == before


def test_rollups_are_what_records_add_up_to(log: MongoLog, database: Log) -> None:
    """Hours, days, departments, months of users: each question is answered from rollups."""
    store(database)
    assert fold(log, database) > 0
    agree(log, database)
    same_when_rebuilt(log, database)


def test_folding_goes_on_where_it_was(log: MongoLog, database: Log) -> None:
    """New seals are added to the cells there are, and nothing is added twice."""
    for seed in range(4):
        store(database, calls=15, seed=seed)
        fold(log, database, most=7)
        assert keeper(log).catch_up() == 0
    agree(log, database)
    same_when_rebuilt(log, database)


def fold_without_merging(log: MongoLog, database: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal and fold what is stored, and leave all users in bundles."""
    send_leaves(database)
    seal_once(sealer_of(log.seals))
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "_merge_next", lambda _keeper, _state: False)
        assert keeper(log).catch_up() > 0


def test_users_whose_months_wait_count_too(
    log: MongoLog, database: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in bundles is added to what users' months have, whatever is asked of them."""
    store(database)
    fold(log, database)
    users = {name: cell for name, cell in cells(database).items() if name[0] == "u"}
    for seed in (2, 3):
        store(database, seed=seed)
        fold_without_merging(log, database, monkeypatch)
    assert {name: cell for name, cell in cells(database).items() if name[0] == "u"} == users
    teams = ("user_id", "department")
    questions = [
        *FITTING,
        ask(("day", "user_id")),
        ask(("month",), filters={"user_id": "u3"}),
        ask(teams, within={"department": ("sales",)}),
        ask(teams, filters={"department": "research"}),
        ask(("user_id",), since=NOW - timedelta(days=6, hours=3)),
        ask(("user_id",), until=NOW - timedelta(days=3, hours=12)),
    ]
    agree(log, database, questions)
    oracle = Oracle(database.llm_audit.find())
    for question in (q for q in questions if "user_id" in q.by and len(q.by) < 2):
        every = sorted(oracle.sums(question), key=lambda row: (-row[1].cost_nano, row[0][0] or ""))
        highest = log.calls.highest(question, "cost_nano", 2)
        assert [(key, sums.only(question.measures)) for key, sums in highest] == every[:2]
    assert dict(log.calls.distinct(ask(), "user_id")) == dict(oracle.distinct(ask(), "user_id"))
    for _ in range(20):
        keeper(log).step()
    agree(log, database, questions)
    assert not [name for name in cells(database) if name[0] == "b"]
    same_when_rebuilt(log, database)


def test_whoever_is_lifted_by_what_waits_is_ranked(
    log: MongoLog, database: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first by cost are right although what waits lifts one from below all that are ranked."""
    monkeypatch.setattr("affidavit.store.mongo.rollup_bundles._MORE", 0)
    chance = random.Random(1)
    for part, users in enumerate((["u1", "u2", "u3", "u4"], ["u4", "u9", "u3", "u4"])):
        numbered, made = Numbered(f"lifted{part}"), []
        for place, user in enumerate(users):
            made.append(call(numbered, chance, NOW - timedelta(days=2)))
            made[-1]["user_id"] = user
            made[-1]["response_data"]["cost_usd"] = Decimal128(str(10 - 2 * place))
        database.llm_audit.insert_many(made)
        fold_without_merging(log, database, monkeypatch)
        if not part:
            keeper(log).settle()
    question = ask(("user_id",))
    oracle = Oracle(database.llm_audit.find())
    every = sorted(oracle.sums(question), key=lambda row: (-row[1].cost_nano, row[0][0] or ""))
    for count in range(1, 6):
        highest = log.calls.highest(question, "cost_nano", count)
        assert [(key, sums.cost_nano) for key, sums in highest] == [
            (key, sums.cost_nano) for key, sums in every[:count]
        ]


def test_a_bundle_that_comes_too_late_adds_nothing(
    log: MongoLog, database: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keeper that slept writes a bundle that others have merged long ago: it counts no more."""
    store(database)
    fold_without_merging(log, database, monkeypatch)
    bundles = [cell for name, cell in cells(database).items() if name[0] == "b"]
    assert bundles
    keeper(log).settle()
    database.llm_audit_rollups_a.insert_many(bundles)
    agree(log, database)
    store(database, seed=2)
    fold_without_merging(log, database, monkeypatch)
    agree(log, database)
    keeper(log).settle()
    agree(log, database)


def test_a_record_that_is_sent_again_is_counted_once(log: MongoLog, database: Log) -> None:
    """A writer that does not know whether a record is stored sends it again, and so its leaves."""
    made = store(database, writers=2, calls=20)
    fold(log, database)
    batches = list(database.llm_audit_leaf_batches.find())
    for again in (made, batches):
        target = database.llm_audit if again is made else database.llm_audit_leaf_batches
        for document in again:
            with pytest.raises(DuplicateKeyError):
                target.insert_one(document)
    # Copied by hand under another id, its number is in the log already.
    with pytest.raises(DuplicateKeyError):
        database.llm_audit.insert_one(made[0] | {"_id": ObjectId()})
    assert fold(log, database) == 0
    # A keeper that has forgotten how far it was, as after a backup was put back, reads all again.
    before = cells(database)
    database.llm_audit_rollup_states.update_one({"_id": "a"}, {"$set": {"k": -1}})
    assert keeper(log).catch_up() == len(made)
    assert cells(database) == before
    agree(log, database)
    outcomes = sum(each["event_type"] == "llm_response" for each in made)
    for letter in "hmtu":
        held = [cell for name, cell in cells(database).items() if name[0] == letter]
        assert sum(cell.get("calls", 0) for cell in held) == outcomes


def test_a_call_that_is_about_another_day_counts_there(log: MongoLog, database: Log) -> None:
    """A record that arrives days late is counted at its own time, once."""
    numbered, chance = Numbered("late"), random.Random(4)
    store(database)
    fold(log, database)
    held, before = calls_held(database), calls_by_day(log)
    late = [call(numbered, chance, NOW - timedelta(days=10, hours=n)) for n in range(5)]
    database.llm_audit.insert_many(late)
    fold(log, database)
    assert calls_held(database) == {letter: count + 5 for letter, count in held.items()}
    zone = ZoneInfo("Europe/Madrid")
    added = Counter(f"{each['timestamp'].astimezone(zone):%Y-%m-%d}" for each in late)
    assert calls_by_day(log) - before == added
    agree(log, database)
    same_when_rebuilt(log, database)


@pytest.mark.parametrize("seed", range(2))
def test_a_keeper_may_be_killed_at_any_moment(
    log: MongoLog, database: Log, mongodb_uri: str, seed: int
) -> None:
    """SIGKILL again and again: whoever comes next finishes the group, and nothing counts twice."""
    chance = random.Random(seed)
    for part in range(10):
        store(database, writers=2, calls=12, seed=100 * seed + part)
        send_leaves(database, 5)
        seal_once(sealer_of(log.seals))
    killed = 0
    while killed < 6:
        command = [sys.executable, "-m", "tests.support.rollup_worker", mongodb_uri]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
            time.sleep(chance.random() * 0.03)
            worker.kill()
            killed += 1
            if "done" in worker.stdout.read():
                break
    assert killed > 1
    keeper(log).catch_up()
    agree(log, database)
    same_when_rebuilt(log, database)


def test_two_keepers_do_no_harm(log: MongoLog, database: Log) -> None:
    """Several at once, in groups of one seal: each group is in each cell once."""
    for seed in range(8):
        store(database, writers=2, calls=10, seed=seed)
        send_leaves(database)
        seal_once(sealer_of(log.seals))

    def keep() -> None:
        one = keeper(log, most_leaves=1, clock=lambda: datetime.now(UTC) + timedelta(days=1))
        for _ in range(60):
            one.step()

    threads = [threading.Thread(target=keep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keeper(log).catch_up()
    outcomes = database.llm_audit.count_documents({"event_type": "llm_response"})
    assert calls_held(database) == dict.fromkeys("hmtu", outcomes)
    agree(log, database)
    same_when_rebuilt(log, database)


def test_a_record_behind_its_leaf_is_waited_for_and_then_counted_once(
    log: MongoLog, database: Log
) -> None:
    """A sealed number without a record holds its seal up for a minute; later it is added alone."""
    made = store(database, writers=1, calls=20)
    behind = made[7]
    send_leaves(database)
    seal_once(sealer_of(log.seals))
    database.llm_audit.delete_one({"_id": behind["_id"]})
    assert keeper(log).step() is None
    later = keeper(log, clock=lambda: datetime.now(UTC) + timedelta(minutes=2))
    assert later.step() is not None
    state = log.rollups.state("a")
    assert state is not None
    [[_, writer, seq, many]] = state["missing"]
    assert (writer, seq, many) == (behind["writer"], behind["seq"], 1)
    database.llm_audit.insert_one(behind)
    fresh = keeper(log, clock=lambda: datetime.now(UTC) + timedelta(minutes=4))
    assert fresh.step() == 1
    assert fresh.step() is None
    state = log.rollups.state("a")
    assert state is not None
    assert state["missing"] == []
    agree(log, database)
    before = {name: {k: v for k, v in cell.items() if k != "late"}
              for name, cell in cells(database).items()}  # fmt: skip
    rebuild(log.seals, log.rollups)
    assert cells(database, "b") == before


def test_only_one_rebuilds(log: MongoLog, database: Log) -> None:
    """A second rebuilding is refused while the first is under way, and not after it died."""
    store(database)
    fold(log, database)
    log.rollups.start_over("b", "Europe/Madrid", None, -1)
    with pytest.raises(StoreRefused, match="made anew at the moment"):
        rebuild(log.seals, log.rollups)
    later = datetime.now(UTC) + timedelta(minutes=3)
    rebuild(log.seals, log.rollups, clock=lambda: later)
    assert cells(database, "b") == cells(database, "a")


class CrashError(Exception):
    """Stands for the end of a process."""


class Failing:
    """A rollup store whose user dies before or after one of its writes."""

    def __init__(self, store: Any, at: int) -> None:
        self._store, self._left = store, at

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in {"write_down", "add", "hold", "forget", "finish"}:
            return found

        def act(*arguments: Any, **named: Any) -> Any:
            self._tick()
            answer = found(*arguments, **named)
            self._tick()
            return answer

        return act

    def _tick(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise CrashError


def test_a_keeper_may_die_at_each_of_its_writes(log: MongoLog, database: Log) -> None:
    """Before and after each step of adding a group and of bringing users up to date."""
    for at in range(40):
        store(database, writers=1, calls=3, seed=500 + at)
        send_leaves(database)
        seal_once(sealer_of(log.seals))
        failing: Any = Failing(log.rollups, at)
        with contextlib.suppress(CrashError):
            Keeper(log.seals, failing).catch_up()
    keeper(log).catch_up()
    agree(log, database)
    same_when_rebuilt(log, database)


ACTIONS = st.one_of(
    st.tuples(st.just("store"), st.integers(0, 10**6)),
    st.tuples(st.just("seal"), st.just(0)),
    st.tuples(st.just("fold"), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 40)),
)


@given(actions=st.lists(ACTIONS, min_size=3, max_size=9))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_rebuilding_gives_the_same(
    mongod: Any, actions: list[tuple[str, int]]
) -> None:
    """Recording, sealing, folding and crashes in any order: as if folded once, at the end."""
    with fresh_database(mongod.uri) as database, set_up(database) as log:
        for place, (act, number) in enumerate(actions):
            if act == "store":
                store(database, writers=1, calls=4, seed=100 * number + place)
            elif act == "seal":
                send_leaves(database, 3)
                seal_once(sealer_of(log.seals))
            elif act == "fold":
                keeper(log, most_leaves=5).step()
            else:
                failing: Any = Failing(log.rollups, number)
                try:
                    Keeper(log.seals, failing, most_leaves=5).catch_up()
                except CrashError:
                    continue
        store(database, writers=1, calls=2, seed=99)
        fold(log, database)
        agree(log, database)
        same_when_rebuilt(log, database)


TIMES = st.integers(0, 16 * 86_400_000).map(lambda ms: NOW - timedelta(days=15, milliseconds=-ms))


@given(since=TIMES, until=TIMES, by=st.sampled_from(FITTING))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_span_is_answered_exactly(
    asked: tuple[RollupCalls, Oracle], since: datetime, until: datetime, by: SumQuestion
) -> None:
    """A span may begin and end anywhere: ends inside a day or an hour are added up beside it."""
    if since >= until:
        since, until = until, since + timedelta(milliseconds=1)
    engine, oracle = asked
    question = ask(by.by, since=since, until=until, measures=by.measures, filters=by.filters)
    found = {key: sums.only(question.measures) for key, sums in engine.sums(question)}
    assert found == dict(oracle.sums(question))


def test_what_is_not_folded_yet_counts_too(log: MongoLog, database: Log) -> None:
    """Sealed and not folded, or not even sealed: an answer has it, and has nothing twice."""
    store(database, writers=2, calls=30)
    fold(log, database)
    store(database, writers=2, calls=20, seed=2)
    send_leaves(database)
    seal_once(sealer_of(log.seals))
    store(database, writers=2, calls=10, seed=3)
    send_leaves(database)
    engine, oracle = log.calls, Oracle(database.llm_audit.find())
    assert isinstance(engine, RollupCalls)
    for by in FITTING:
        for since in (NOW - timedelta(days=20), NOW - timedelta(days=3, minutes=7)):
            question = ask(by.by, since=since, measures=by.measures, filters=by.filters)
            assert engine.source(question).name == "rollups"
            found = {key: sums.only(question.measures) for key, sums in engine.sums(question)}
            assert found == dict(oracle.sums(question))
    question = ask(("user_id",), since=NOW - timedelta(days=20))
    every = sorted(oracle.sums(question), key=lambda row: (-row[1].cost_nano, row[0][0] or ""))
    highest = engine.highest(question, "cost_nano", 3)
    assert [(key, sums.only(question.measures)) for key, sums in highest] == every[:3]
    assert dict(engine.distinct(ask(), "user_id")) == dict(oracle.distinct(ask(), "user_id"))


def test_readings_that_are_noted_cost_later_questions_nothing(log: MongoLog, database: Log) -> None:
    """Each leaves a batch with a leaf of the ledger, in which no call can be."""
    store(database)
    fold(log, database)
    tail = Tail(log.location)
    current = log.rollups.current()
    assert current is not None
    state = log.rollups.state(current["side"])
    assert state is not None
    before = tail.look(state)
    for _ in range(5):
        log.note_access("search", {}, 1)
    assert tail.look(state) == before


def test_a_group_that_is_being_added_is_waited_for(log: MongoLog, database: Log) -> None:
    """Cells hold a part of it meanwhile; where it does not end, the records are asked."""
    store(database, calls=20)
    fold(log, database)
    store(database, calls=20, seed=2)
    send_leaves(database)
    seal_once(sealer_of(log.seals))
    engine, oracle = log.calls, Oracle(database.llm_audit.find())
    failing = Failing(log.rollups, 3)
    with pytest.raises(CrashError):
        Keeper(log.seals, failing).step()
    question = ask(("provider",), since=NOW - timedelta(days=20))
    finishing = threading.Timer(0.5, lambda: keeper(log).catch_up())
    finishing.start()
    assert {k: s.only(question.measures) for k, s in engine.sums(question)} == dict(
        oracle.sums(question)
    )
    finishing.join()


@pytest.fixture(scope="module")
def asked(mongod: Any) -> Iterator[tuple[RollupCalls, Oracle]]:
    """A log of a fortnight, to ask things of."""
    with fresh_database(mongod.uri) as database, set_up(database) as log:
        store(database, writers=3, calls=60)
        fold(log, database)
        engine = log.calls
        assert isinstance(engine, RollupCalls)
        yield engine, Oracle(database.llm_audit.find())


@pytest.mark.parametrize("counter", ["cost_nano", "calls", "input_tokens"])
@pytest.mark.parametrize("by", [("user_id",), ("user_id", "department"), ("model",)])
def test_the_highest_are_those_of_all(
    asked: tuple[RollupCalls, Oracle], by: tuple[str, ...], counter: str
) -> None:
    """Ranking in the store gives what ranking every group gives, exact sums included.

    So does asking for some groups alone.
    """
    engine, oracle = asked
    for since in (NOW - timedelta(days=20), datetime(2026, 10, 24, 22, tzinfo=UTC)):
        question = ask(by, since=since)
        every = sorted(
            oracle.sums(question),
            key=lambda row: (-getattr(row[1], counter), tuple(v or "" for v in row[0])),
        )
        found = engine.highest(question, counter, 3)
        assert [(key, sums.only(question.measures)) for key, sums in found] == every[:3]
        keys = [key for key, _ in every[1:4]]
        some = {key: sums.only(question.measures) for key, sums in engine.only(question, keys)}
        assert some == dict(every[1:4])


def test_the_questions_of_a_page_are_planned_from_one_look(
    asked: tuple[RollupCalls, Oracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for the source, and then for sums, looks once how far the rollups are."""
    engine, oracle = asked
    looked = []
    look = Stand.look

    def counted(self: Stand) -> Any:
        looked.append(self)
        return look(self)

    monkeypatch.setattr(Stand, "look", counted)
    for times in (1, 2):
        assert engine.source(ask(("model",))).name == "rollups"
        for question in (ask(("model",)), ask(("user_id",)), ask(), *FITTING):
            found = {key: sums.only(question.measures) for key, sums in engine.sums(question)}
            assert found == dict(oracle.sums(question))
        assert engine.highest(ask(("user_id",)), "calls", 1)
        assert len(looked) == times


def test_the_answers_of_a_page_are_of_one_moment(log: MongoLog, database: Log) -> None:
    """A call that is stored between two questions of a page is in neither, or is in both."""
    store(database, calls=20)
    fold(log, database)
    engine, before = log.calls, database.llm_audit.count_documents({"event_type": "llm_response"})
    assert engine.source(FITTING[0]).name == "rollups"
    assert dict(engine.sums(ask()))[()].calls == before
    store(database, calls=20, seed=2)
    send_leaves(database)
    by_model = dict(engine.sums(ask(("model",))))
    assert sum(sums.calls for sums in by_model.values()) == before
    fold(log, database)  # what was seen is gone: a page goes on with what is there now
    after = database.llm_audit.count_documents({"event_type": "llm_response"})
    by_model = dict(engine.sums(ask(("model",))))
    assert sum(sums.calls for sums in by_model.values()) == after
    assert engine.source(FITTING[0]).name == "rollups"


class Sent(CommandListener):
    """Notes what is sent to the database."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Note it."""
        if event.command_name not in {"ping", "endSessions", "hello"}:
            self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to note."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to note."""


@pytest.mark.parametrize(
    ("by", "most"),
    [("department", 28), ("user", 36), ("day", 28), (("weekday", "hour_of_day"), 28)],
)
def test_an_answer_about_costs_asks_little(
    log: MongoLog, database: Log, mongodb_uri: str, by: Any, most: int
) -> None:
    """With trend, totals and notes, about any span: so many messages to the database, at most."""
    store(database)
    fold(log, database)
    sent = Sent()
    with MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[sent]) as client:
        opened = open_log(client[database.name], AuditConfig(seal="off"))
        asked = Analytics(lambda: opened)
        span = {"since": NOW - timedelta(days=7, hours=3), "until": NOW - timedelta(minutes=7)}
        asked.cost(by, top=100, **span)  # what is known of the log from then on is asked once
        sent.names.clear()
        answer = asked.cost(by, top=100, **span)
    assert answer.source == "rollups"
    assert answer.rows
    assert len(sent.names) <= most, sent.names


def test_readings_that_nobody_seals_leave_the_rollups_as_they_are(
    log: MongoLog, database: Log
) -> None:
    """Noting who reads is no news of calls: rollups that have every call are not behind."""
    store(database)
    fold(log, database)
    for _ in range(3):
        log.note_access("analytics", {}, 1)
    old = {"$set": {"sent_at": datetime.now(UTC) - timedelta(minutes=9)}}
    newest = database.llm_audit_seals.find_one({"_id": {"$gte": 0}}, sort=[("_id", -1)])
    assert newest is not None
    waiting = {"sent_at": {"$gt": newest["mark"]}}
    assert database.llm_audit_leaf_batches.count_documents(waiting) == 3
    database.llm_audit_leaf_batches.update_many(waiting, old)
    database.llm_audit_seals.update_many(
        {"_id": {"$gte": 0}}, {"$set": {"mark": datetime.now(UTC) - timedelta(minutes=20)}}
    )
    sent = {"w": {"$not": {"$regex": "^cli-"}}}
    earlier = {"$set": {"sent_at": datetime.now(UTC) - timedelta(minutes=30)}}
    database.llm_audit_leaf_batches.update_many(sent, earlier)
    source = log.calls.source(FITTING[0])
    assert (source.name, source.notes) == ("rollups", ())


def test_users_are_counted(asked: tuple[RollupCalls, Oracle]) -> None:
    """Once each, whatever department they are of."""
    engine, oracle = asked
    for question in (ask(), ask(filters={"department": "sales"}), ask(filters={"user_id": "u1"})):
        assert dict(engine.distinct(question, "user_id")) == dict(
            oracle.distinct(question, "user_id")
        )


def test_expired_days_leave_the_rollups_too(log: MongoLog, database: Log) -> None:
    """When a day's records have expired its cells go, and days of users out of their months."""
    store(database)
    fold(log, database)
    since = datetime(2026, 10, 28, 23, tzinfo=UTC)
    log.rollups.note("a", {"since": since})
    assert log.rollups.prune("a", since, "Europe/Madrid") > 0
    assert log.rollups.prune("a", since, "Europe/Madrid") == 0
    kept = cells(database)
    assert all(cell["at"] >= since for name, cell in kept.items() if name[0] != "u")
    assert not any("d" in cell and set(cell["d"]) & {"20", "28"} for cell in kept.values())
    for question in FITTING:  # whoever asks for more gets the rest from the records
        found = {key: sums.only(question.measures) for key, sums in log.calls.sums(question)}
        assert found == dict(Oracle(database.llm_audit.find()).sums(question))
    database.llm_audit.delete_many({"timestamp": {"$lt": since}})
    later = datetime.now(UTC) + timedelta(minutes=2)  # or it would wait for what is missing
    rebuild(log.seals, log.rollups, since, clock=lambda: later)
    built = cells(database, "b")
    for cell in (*built.values(), *kept.values()):
        del cell["k"]  # a seal of which only expired records are gone may have been the newest
    assert built == kept


def test_a_correction_does_not_count_without_its_call(log: MongoLog, database: Log) -> None:
    """A correction was written after its call and expires after it; until then it adds nothing."""
    store(database)
    fold(log, database)
    since = datetime(2026, 10, 28, 23, tzinfo=UTC)
    database.llm_audit.delete_many({"timestamp": {"$lt": since}})
    log.rollups.note("a", {"since": since})
    log.rollups.prune("a", since, "Europe/Madrid")
    alone = {"event_type": "correction", "effective_at": {"$lt": since}}
    assert database.llm_audit.count_documents(alone)
    oracle = Oracle(database.llm_audit.find({"$nor": [alone]}))
    raw = MongoCalls(log.location)
    for question in FITTING:
        expected = dict(oracle.sums(question))
        for engine in (raw, log.calls):
            found = {key: sums.only(question.measures) for key, sums in engine.sums(question)}
            assert found == expected
    assert [(d.fact.call_id, d.cost_nano) for d in raw.dearest(ask(), 9)] == [
        (d.fact.call_id, d.cost_nano) for d in oracle.dearest(ask(), 9)
    ]


def test_a_log_that_is_not_sealed_is_asked_itself(log: MongoLog, database: Log) -> None:
    """Without seals or rollups, or far behind them, the records answer, and the source says why."""
    engine = log.calls
    store(database)
    assert "no rollups yet" in engine.source(FITTING[0]).notes[0]
    fold(log, database)
    assert engine.source(FITTING[0]).name == "rollups"
    assert "days of Europe/Madrid" in engine.source(ask(zone="UTC")).notes[0]
    store(database, seed=2)
    send_leaves(database)
    old = {"$set": {"sent_at": datetime.now(UTC) + timedelta(seconds=-90)}}
    database.llm_audit_leaf_batches.update_many({"w": {"$regex": "^w2"}}, old)
    database.llm_audit_seals.update_many(
        {"_id": {"$gte": 0}}, {"$set": {"mark": datetime.now(UTC) - timedelta(minutes=9)}}
    )
    assert "behind the log" in engine.source(FITTING[0]).notes[0]
    seal_once(sealer_of(log.seals))
    assert engine.source(FITTING[0]).name == "rollups"
    aged = {"$set": {"at": datetime.now(UTC) - timedelta(minutes=9)}}
    database.llm_audit_seals.update_many({"_id": {"$gte": 0}}, aged)
    assert "seals behind" in engine.source(FITTING[0]).notes[0]
    found = dict(engine.sums(FITTING[0]))
    outcomes = {"event_type": "llm_response"}
    assert found[()].calls == database.llm_audit.count_documents(outcomes)


def test_an_absurd_amount_does_not_stop_it(log: MongoLog, database: Log) -> None:
    """Sums beyond 64 bits are kept as decimals, exactly."""
    numbered, made = Numbered("huge"), []
    for _ in range(20):
        outcome = call(numbered, random.Random(1), NOW)
        outcome["response_data"]["cost_usd"] = Decimal128("999999999999.000000001")
        made.append(outcome)
        database.llm_audit.insert_one(outcome)
        fold(log, database)
    [(_key, total)] = log.calls.sums(ask())
    assert total.cost_nano == 20 * 999_999_999_999_000_000_001
    assert total.cost_nano > 2**63
    agree(log, database, [ask(("user_id",)), ask(("model",)), ask()])
