"""Reading: searches and their pages, one call, the tail, writers' state, and sums."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.pipeline.compress import compress_fields
from affidavit.store import open_log
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.filters import query
from affidavit.store.mongo.read import Reader
from affidavit.store.mongo.setup import ensure
from affidavit.store.mongo.shape import plain
from affidavit.store.questions import SearchFilter
from tests.support.documents import START, Numbered, old_call, old_security, stages

if TYPE_CHECKING:
    from pymongo.database import Database

    from affidavit.store.questions import Page

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20")


@pytest.fixture
def log(database: Log) -> Log:
    """A database that is set up, with a retention that keeps the tests' fixed times."""
    config = AuditConfig(ttl_days=36500)
    ensure(locate(database, config), config, 10)
    return database


@pytest.fixture
def reader(log: Log) -> Reader:
    """A reader of it."""
    return Reader(locate(log, AuditConfig()))


def minutes(count: float) -> datetime:
    """A time some minutes after the start."""
    return START + timedelta(minutes=count)


def every_page(reader: Reader, wanted: SearchFilter, size: int) -> list[Page]:
    """All pages of a search."""
    pages = [reader.search(wanted, size)]
    while pages[-1].next is not None:
        pages.append(reader.search(wanted, size, pages[-1].next))
    return pages


def test_a_row_is_what_the_view_shows(log: Log, reader: Reader) -> None:
    """Joined by the reader and joined by the view is one and the same, old documents included."""
    records = Numbered()
    log.llm_audit.insert_many(
        [
            *records.call(minutes(1)),
            *records.call(minutes(2), status="failed"),
            records.intent(minutes(3)),
            old_call(minutes(4)),
        ]
    )
    rows = list(reader.search(SearchFilter()).rows)
    assert rows == [plain(call) for call in log.llm_calls.find()]


def test_pages_show_every_row_once_though_times_are_equal(log: Log, reader: Reader) -> None:
    """Forty calls within three milliseconds, seven to a page."""
    records, made = Numbered(), []
    for number in range(40):
        intent = records.intent(START + timedelta(milliseconds=number % 3))
        made.append(intent["_id"])
        log.llm_audit.insert_many([intent, records.outcome(intent)])
    pages = every_page(reader, SearchFilter(), 7)
    shown = [row["_id"] for page in pages for row in page.rows]
    assert sorted(shown) == sorted(made)
    assert all(len(page.rows) == 7 for page in pages[:-1])


def test_pages_stay_in_place_while_records_arrive(log: Log, reader: Reader) -> None:
    """New records do not push old ones onto the next page."""
    records = Numbered()
    for number in range(10):
        log.llm_audit.insert_many(records.call(minutes(number)))
    first = reader.search(SearchFilter(), 5)
    log.llm_audit.insert_many(records.call(minutes(99)))
    second = reader.search(SearchFilter(), 5, first.next)
    assert [row["timestamp"] for row in second.rows] == [minutes(n) for n in (4, 3, 2, 1, 0)]


def test_a_cursor_that_no_search_gave_is_refused(reader: Reader) -> None:
    """With a text that says what to do."""
    for cursor in ("nonsense", "AAAA", "LAAA"):
        with pytest.raises(ConfigError, match="cursor"):
            reader.search(SearchFilter(), 5, cursor)


def test_ids_of_any_kind_can_be_paged_over(log: Log, reader: Reader) -> None:
    """An older logger may have made its own."""
    ids: list[Any] = ["text", 7, ObjectId(), 3.5, {"a": 1}, "another"]
    log.llm_audit.insert_many([old_call(START, _id=identity) for identity in ids])
    shown = [r["_id"] for page in every_page(reader, SearchFilter(), 2) for r in page.rows]
    assert sorted(map(str, shown)) == sorted(map(str, ids))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (SearchFilter(user_id="user_2"), {"b"}),
        (SearchFilter(department="sales"), {"c"}),
        (SearchFilter(provider="openai"), {"d", "old"}),
        (SearchFilter(model="model-9"), {"e"}),
        (SearchFilter(status="failed"), {"f"}),
        (SearchFilter(status="initiated"), {"g"}),
        (SearchFilter(status="completed"), {"a", "b", "c", "d", "e", "old"}),
        (SearchFilter(event_type="llm_request", user_id="user_2"), {"b"}),
        (SearchFilter(since=minutes(6), event_type="llm_request"), {"f", "g", "old"}),
        (SearchFilter(until=minutes(2)), {"a"}),
        (SearchFilter(text="QUESTION C"), {"c"}),
        (SearchFilter(text="question", status="failed"), {"f"}),
        (SearchFilter(text="sell high", user_id="user_2"), {"b"}),
        (SearchFilter(text="question (b"), set()),
        (SearchFilter(text="old question"), {"old"}),
    ],
)
def test_each_filter_finds_exactly_its_calls(
    log: Log, reader: Reader, wanted: SearchFilter, expected: set[str]
) -> None:
    """By what was asked and by how it ended, old documents included."""
    records, names = Numbered(), dict[Any, str]()

    def call(name: str, minute: int, status: str | None = "completed", **fields: Any) -> None:
        intent = records.intent(minutes(minute), message=f"question {name}", **fields)
        if "provider" in fields:
            intent["request_data"]["provider"] = fields["provider"]
        if "model" in fields:
            intent["request_data"]["model"] = fields["model"]
        names[intent["_id"]] = name
        log.llm_audit.insert_one(intent)
        if status is not None:
            log.llm_audit.insert_one(records.outcome(intent, status))

    call("a", 1)
    call("b", 2, user_id="user_2")
    call("c", 3, department="sales")
    call("d", 4, provider="openai")
    call("e", 5, model="model-9")
    call("f", 6, "failed")
    call("g", 7, None)
    old = log.llm_audit.insert_one(old_call(minutes(8)))
    names[old.inserted_id] = "old"
    log.llm_audit.insert_one(records.document("rate_limit_exceeded", minutes(0), user_id="user_x"))
    if wanted.until is not None:
        log.llm_audit.delete_one({"user_id": "user_x"})
    found = [row["_id"] for page in every_page(reader, wanted, 3) for row in page.rows]
    assert sorted(names[identity] for identity in found) == sorted(expected)


def test_events_are_found_by_kind_old_ones_too(log: Log, reader: Reader) -> None:
    """security_<kind> of an older logger is a security event."""
    records = Numbered()
    log.llm_audit.insert_many(
        [
            records.document("security_event", minutes(1), details={"kind": "jailbreak"}),
            old_security(minutes(2)),
            records.document("rate_limit_exceeded", minutes(3), details={}),
            *records.call(minutes(4)),
        ]
    )
    rows = reader.search(SearchFilter(event_type="security_event")).rows
    assert [row["details"]["kind"] for row in rows] == ["prompt_injection", "jailbreak"]
    [limited] = reader.search(SearchFilter(event_type="rate_limit_exceeded")).rows
    assert limited["timestamp"] == minutes(3)


def test_text_is_found_wherever_it_stands(log: Log, reader: Reader) -> None:
    """In conversations, in fields of the application, in errors, and in compressed texts."""
    records = Numbered()
    turns = [{"role": "user", "content": [{"type": "text", "text": "the needle one"}]}]
    inside = records.intent(minutes(1))
    inside["request_data"] = {"message": None, "messages": turns, "provider": "p"}
    field = records.intent(minutes(2))
    field["request_data"]["notes"] = "needle two"
    failed = records.intent(minutes(3))
    error = records.outcome(failed, "failed", error_message="no NEEDLE three")
    packed = records.intent(minutes(4), message="x" * 5000 + " needle four " + "y" * 5000)
    packed["request_data"] = compress_fields(packed["request_data"], 6)
    assert not isinstance(packed["request_data"]["message"], str)
    log.llm_audit.insert_many([inside, field, failed, error, packed, records.intent(minutes(5))])
    rows = reader.search(SearchFilter(text="needle")).rows
    assert [row["timestamp"] for row in rows] == [minutes(4), minutes(3), minutes(2), minutes(1)]
    assert "needle four" in rows[0]["request_data"]["message"]


def test_a_call_that_matches_on_both_sides_is_one_row(log: Log, reader: Reader) -> None:
    """Found by its question and by its answer."""
    records = Numbered()
    intent = records.intent(message="sell high?")
    log.llm_audit.insert_many([intent, records.outcome(intent)])
    pages = every_page(reader, SearchFilter(text="sell high"), 1)
    assert sum(len(page.rows) for page in pages) == 1


def test_everything_known_of_a_call_is_shown(log: Log, reader: Reader) -> None:
    """Intent, outcome and annotations, by the call's id; by another record's id as well."""
    records = Numbered()
    intent = records.intent()
    outcome = records.outcome(intent)
    note = records.document(
        "annotation", minutes(9), call_id=intent["call_id"], details={"kind": "score", "value": 4}
    )
    log.llm_audit.insert_many([intent, outcome, note, *records.call()])
    for identity in (intent["call_id"], str(outcome["_id"]), str(note["_id"])):
        found = reader.call(identity)
        assert found is not None
        assert found.call["response_data"]["cost_usd"] == Decimal("0.045")
        assert found.intent is not None
        assert [o["_id"] for o in found.outcomes] == [outcome["_id"]]
        assert [a["details"]["value"] for a in found.annotations] == [4]
    assert reader.call("0" * 24) is None
    assert reader.call("no id at all") is None


def test_an_old_document_is_shown_by_its_id(log: Log, reader: Reader) -> None:
    """It is intent and outcome in one."""
    made = log.llm_audit.insert_one(old_call())
    found = reader.call(str(made.inserted_id))
    assert found is not None
    assert (found.call["status"], found.call["schema_version"]) == ("completed", 0)


def test_an_outcome_whose_intent_is_not_there_is_shown_all_the_same(
    log: Log, reader: Reader
) -> None:
    """It may wait in another machine's spool."""
    records = Numbered()
    outcome = records.outcome(records.intent())
    log.llm_audit.insert_one(outcome)
    found = reader.call(outcome["call_id"])
    assert found is not None
    assert found.intent is None
    [row] = reader.search(SearchFilter(status="completed")).rows
    assert row["_id"] == outcome["_id"]


def test_the_tail_shows_each_record_once_as_it_comes(log: Log, reader: Reader) -> None:
    """Oldest first; also one that arrives a little late."""
    records, seen = Numbered(), set[Any]()
    log.llm_audit.insert_many([records.intent(minutes(n)) for n in range(5)])
    shown, since = reader.tail(SearchFilter(), seen, None, 3)
    assert [row["timestamp"] for row in shown] == [minutes(2), minutes(3), minutes(4)]
    assert reader.tail(SearchFilter(), seen, since) == ([], since)
    late, new = records.intent(minutes(3.5)), records.intent(minutes(6))
    log.llm_audit.insert_many([new, late])
    shown, since = reader.tail(SearchFilter(), seen, since)
    assert [row["_id"] for row in shown] == [late["_id"], new["_id"]]


def test_what_is_older_than_the_first_lines_does_not_follow_them(log: Log, reader: Reader) -> None:
    """However close together the records are."""
    records, seen = Numbered(), set[Any]()
    log.llm_audit.insert_many([records.intent(START + timedelta(seconds=n)) for n in range(9)])
    shown, since = reader.tail(SearchFilter(), seen, None, 2)
    assert len(shown) == 2
    assert reader.tail(SearchFilter(), seen, since) == ([], since)


def beat(writer: str, ago_s: float, state: str = "running", **counters: int) -> dict[str, Any]:
    """A heartbeat."""
    return {
        "_id": ObjectId(),
        "writer": writer,
        "at": datetime.now(UTC) - timedelta(seconds=ago_s),
        "host": "h",
        "pid": 1,
        "state": state,
        "counters": counters,
        "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0},
        "breaker": "closed",
    }


def test_status_adds_up_the_newest_heartbeat_of_each_writer(log: Log, reader: Reader) -> None:
    """Older ones do not count; a running writer that is not heard is silent."""
    log.llm_audit_writers.insert_many(
        [
            beat("w1", 100, recorded=5, stored=5),
            beat("w1", 2, recorded=9, stored=7, queued=2, lost=0),
            beat("w2", 600, "stopped", recorded=20, stored=19, lost=1),
            beat("w3", 600, recorded=3, stored=3),
        ]
    )
    status = reader.status()
    assert status.totals == {"recorded": 32, "stored": 29, "queued": 2, "lost": 1}
    assert status.unaccounted == 0
    assert {w.writer: w.silent for w in status.writers} == {"w1": False, "w2": False, "w3": True}


@pytest.mark.requirement("R13")
def test_costs_add_up_exactly_by_group(log: Log, reader: Reader) -> None:
    """Also where an older logger stored dollars as binary floating point."""
    records = Numbered()
    for number in range(30):
        intent = records.intent(minutes(number), user_id=f"user_{number % 3}")
        outcome = records.outcome(intent, "failed" if number == 0 else "completed")
        outcome["response_data"]["cost_usd"] = Decimal128("0.1")
        log.llm_audit.insert_many([intent, outcome])
    log.llm_audit.insert_many([old_call(minutes(n), user_id="user_0") for n in range(10)])
    rows = reader.usage("user_id", START, minutes(60))
    assert [(r.group, r.calls, r.failed, r.cost_usd) for r in rows] == [
        ("user_0", 20, 1, Decimal("1.45")),
        ("user_1", 10, 0, Decimal("1.0")),
        ("user_2", 10, 0, Decimal("1.0")),
    ]
    [anthropic, openai] = reader.usage("provider", START, None)
    assert (anthropic.group, anthropic.cost_usd) == ("anthropic", Decimal("3.0"))
    assert (openai.group, openai.cost_usd, openai.tokens) == ("openai", Decimal("0.45"), 12_500)


def test_costs_of_no_known_kind_do_not_stop_the_sum(log: Log, reader: Reader) -> None:
    """A text, or none at all."""
    strange = [old_call(minutes(n)) for n in range(3)]
    strange[0]["response_data"]["cost_usd"] = "unknown"
    del strange[1]["response_data"]
    log.llm_audit.insert_many(strange)
    assert sum(row.cost_usd for row in reader.usage("provider", None, None)) == Decimal("0.045")


@pytest.mark.parametrize(
    "wanted",
    [
        SearchFilter(),
        SearchFilter(user_id="user_3"),
        SearchFilter(event_type="llm_request"),
        SearchFilter(event_type="security_event"),
        SearchFilter(status="failed", user_id="user_3"),
        SearchFilter(since=minutes(10), until=minutes(200)),
    ],
)
def test_a_search_never_sorts_in_memory(log: Log, wanted: SearchFilter) -> None:
    """An index gives the order, so a page costs the same however large the log is."""
    records = Numbered()
    for number in range(300):
        log.llm_audit.insert_many(records.call(minutes(number), user_id=f"user_{number % 20}"))
    command = {
        "find": "llm_audit",
        "filter": query(wanted, None),
        "sort": {"timestamp": -1},
        "limit": 50,
    }
    plan = {stage for stage, _ in stages(log, command)}
    assert "IXSCAN" in plan
    assert not {"SORT", "COLLSCAN"} & plan


@pytest.mark.requirement("R21")
def test_who_read_what_is_in_the_ledger(log: Log) -> None:
    """One record with user, filter and count."""
    with open_log(log, AuditConfig()) as opened:
        opened.note_access("search", SearchFilter(user_id="user_1").as_details(), 3)
    [noted] = log.llm_audit_ledger.find({"event_type": "audit_access"})
    assert noted["details"] == {"command": "search", "filter": {"user_id": "user_1"}, "count": 3}
    assert {"os_user", "host", "pid", "program"} <= set(noted["actor"])
    assert noted["writer"].startswith("cli-")
    assert (noted["seq"], noted["schema_version"]) == (0, 1)
