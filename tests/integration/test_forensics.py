"""Timelines, shared addresses and texts that reached a model, on a real database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig, AuditLogger
from affidavit.analytics import forensics as questions
from affidavit.cli import run
from affidavit.errors import ConfigError, StoreUnavailable
from affidavit.pipeline.said import Fingerprints
from affidavit.store.forensics import Trail
from affidavit.store.mongo import forensics
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.forensics import MongoForensics
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.setup import ensure
from bench import forensics as bench
from bench.measure import Effort
from tests.support.documents import START, Numbered, old_call, old_security, stages

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.store.forensics import Entry, TimelinePage

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20")

KEY = "hex:" + "5a" * 32


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """A database that is set up, with a retention that keeps the tests' fixed times."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    config = AuditConfig(ttl_days=36500)
    ensure(locate(database, config), config, 10)
    return database


@pytest.fixture
def store(log: Log) -> MongoForensics:
    """What answers."""
    return MongoForensics(locate(log, AuditConfig()), AuditConfig())


def minutes(count: float) -> datetime:
    """A time some minutes after the start."""
    return START + timedelta(minutes=count)


def every_entry(store: MongoForensics, trail: Trail, size: int = 200) -> list[Entry]:
    """The entries of all pages."""
    pages: list[TimelinePage] = [store.timeline(trail, size)]
    while pages[-1].next is not None:
        pages.append(store.timeline(trail, size, pages[-1].next))
    return [entry for page in pages for entry in page.entries]


def told(entries: list[Entry]) -> list[str]:
    """The kinds, in order."""
    return [str(entry.record["event_type"]) for entry in entries]


def read_by_somebody(log: Log, at: datetime, **asked: Any) -> None:
    """Note a reading at a time of the past."""
    Ledger(locate(log, AuditConfig())).record(
        kind := questions_event(), {"command": "search", "filter": asked, "count": 1}
    )
    newest = log.llm_audit_ledger.find_one({"event_type": kind.value}, sort=[("_id", -1)])
    assert newest is not None
    log.llm_audit_ledger.update_one({"_id": newest["_id"]}, {"$set": {"timestamp": at}})


def questions_event() -> Any:
    """The kind of a reading's record."""
    from affidavit.event import LedgerEvent

    return LedgerEvent.AUDIT_ACCESS


# -- the timeline of somebody ----------------------------------------------------------------------


@pytest.mark.requirement("R18", "R19")
def test_a_user_is_followed_across_all_kinds_of_records(log: Log, store: MongoForensics) -> None:
    """Calls, limits, security events, what was said of them later, and who has read of them."""
    records = Numbered()
    call = records.call(minutes(1))
    other = records.call(minutes(2), user_id="user_2")
    limit = records.document("rate_limit_exceeded", minutes(3), user_id="user_1", details={})
    attack = records.document(
        "security_event", minutes(4), user_id="user_1", details={"kind": "jailbreak"}
    )
    review = records.document(
        "annotation", minutes(900), user_id=None, call_id=call[0]["call_id"],
        details={"kind": "decision", "name": "order", "ref": "ORDER-1"},
    )  # fmt: skip
    log.llm_audit.insert_many([*call, *other, limit, attack, review, old_call(minutes(5))])
    read_by_somebody(log, minutes(6), user_id="user_1")
    read_by_somebody(log, minutes(7), user_id="user_2")
    read_by_somebody(log, minutes(8), call_id=call[0]["call_id"])
    read_by_somebody(log, minutes(9), call_id=other[0]["call_id"])
    entries = every_entry(store, Trail(user_id="user_1"))
    assert told(entries) == [
        "llm_request", "llm_response", "rate_limit_exceeded", "security_event", "llm_request",
        "audit_access", "audit_access",
    ]  # fmt: skip
    assert [linked["details"]["ref"] for linked in entries[0].linked] == ["ORDER-1"]
    assert not any(entry.linked for entry in entries[1:])
    assert [entry.record["timestamp"] for entry in entries[-2:]] == [minutes(6), minutes(8)]


def test_a_session_and_an_address_are_followed_too(log: Log, store: MongoForensics) -> None:
    """Also the address of an older logger's records, which stands elsewhere."""
    records = Numbered()
    client = {"ip_address": "10.0.0.9", "user_agent": None}
    log.llm_audit.insert_many([
        *records.call(minutes(1), session_id="s1"),
        *records.call(minutes(2), session_id="s2", client_info=client),
        old_security(minutes(3)),
    ])  # fmt: skip
    assert told(every_entry(store, Trail(session_id="s1"))) == ["llm_request"]
    address = every_entry(store, Trail(ip_address="10.0.0.9"))
    assert told(address) == ["llm_request", "llm_response", "security_event"]


@pytest.mark.parametrize("size", [1, 7, 60])
def test_pages_show_every_entry_once_and_in_order(
    log: Log, store: MongoForensics, size: int
) -> None:
    """Forty records and forty readings within three milliseconds."""
    records = Numbered()
    for number in range(40):
        at = START + timedelta(milliseconds=number % 3)
        log.llm_audit.insert_one(
            records.document("rate_limit_exceeded", at, user_id="user_1", details={})
        )
        read_by_somebody(log, at, user_id="user_1")
    entries = every_entry(store, Trail(user_id="user_1"), size)
    ids = [entry.record["_id"] for entry in entries]
    times = [entry.record["timestamp"] for entry in entries]
    assert len(ids) == len(set(ids)) == 80
    assert times == sorted(times)


def test_readings_are_looked_through_in_bounded_rounds(
    log: Log, store: MongoForensics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many readings of others cost pages, not time without end, and hide none."""
    monkeypatch.setattr(forensics, "ROUNDS", 2)
    monkeypatch.setattr(forensics, "SCAN", 3)
    records = Numbered()
    mine, theirs = records.call(minutes(1)), records.call(minutes(2), user_id="user_2")
    log.llm_audit.insert_many([*mine, *theirs])
    for number in range(20):
        read_by_somebody(log, minutes(10 + number), call_id=theirs[0]["call_id"])
    read_by_somebody(log, minutes(40), call_id=mine[0]["call_id"])
    late = records.document("security_event", minutes(50), user_id="user_1", details={})
    log.llm_audit.insert_one(late)
    first = store.timeline(Trail(user_id="user_1"))
    assert told(list(first.entries)) == ["llm_request", "llm_response"]
    assert first.next is not None
    whole = every_entry(store, Trail(user_id="user_1"))
    assert told(whole) == ["llm_request", "llm_response", "audit_access", "security_event"]


def test_an_older_loggers_local_times_are_read_as_meant(log: Log) -> None:
    """Twelve o'clock in Madrid is eleven UTC, in the window that is asked for."""
    config = AuditConfig(legacy_timezone="Europe/Madrid")
    store = MongoForensics(locate(log, config), config)
    log.llm_audit.insert_one(old_call(minutes(0)))  # November: one hour before UTC
    at = START - timedelta(hours=1)
    trail = questions.around(at, timedelta(minutes=1))
    assert [e.record["timestamp"] for e in every_entry(store, trail)] == [at]


def test_keyed_identity_is_followed_by_the_plain_name(log: Log, capsys: Any) -> None:
    """With the key, the token of the name is looked for; the ledger gets the token."""
    keyed = {"identity": "keyed", "redaction_key": KEY}
    with AuditLogger(log, **keyed) as audit, audit.context(ip_address="192.0.2.7", user_id="ana"):
        audit.rate_limit_exceeded(limit_type="requests")
    config = AuditConfig(**keyed)
    store = MongoForensics(locate(log, config), config)
    since = datetime.now(UTC) - timedelta(hours=1)
    assert len(every_entry(store, Trail(user_id="ana"))) == 1
    assert len(every_entry(store, Trail(ip_address="192.0.2.7", since=since))) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFFIDAVIT_IDENTITY", "keyed")
        patch.setenv("AFFIDAVIT_REDACTION_KEY", KEY)
        assert run(["timeline", "--ip", "192.0.2.7", "--user", "ana"]) == 0
    (noted,) = log.llm_audit_ledger.find({"details.command": "timeline"})
    assert noted["details"]["filter"]["user_id"].startswith("keyed:")
    assert noted["details"]["filter"]["ip_address"].startswith("keyed:")


# -- a moment --------------------------------------------------------------------------------------


def test_everything_around_a_moment_is_shown(log: Log, store: MongoForensics) -> None:
    """Records and ledger of ten minutes before and after, and nothing else."""
    records = Numbered()
    for at in (-11, -9, 0, 9, 11):
        log.llm_audit.insert_one(
            records.document("security_event", minutes(at), user_id=None, details={})
        )
        read_by_somebody(log, minutes(at), user_id="user_1")
    entries = every_entry(store, questions.around(START, timedelta(minutes=10)), 2)
    assert [entry.record["timestamp"] for entry in entries] == [
        at for at in (minutes(-9), START, minutes(9)) for _ in range(2)
    ]


def test_a_record_or_ledger_record_names_the_moment(
    log: Log, store: MongoForensics, capsys: Any
) -> None:
    """By its id; what is not there has none."""
    call = Numbered().call(minutes(3))
    log.llm_audit.insert_many(call)
    read_by_somebody(log, minutes(4), user_id="u")
    read = log.llm_audit_ledger.find_one({"event_type": "audit_access"})
    assert read is not None
    assert store.moment(call[0]["call_id"]) == minutes(3)
    assert store.moment(str(read["_id"])) == minutes(4)
    assert store.moment("0" * 24) is None
    assert store.moment("nothing") is None
    capsys.readouterr()
    assert run(["timeline", "--around", call[0]["call_id"], "--window", "90s", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["entries"]
    assert [each["record"]["event_type"] for each in shown] == [
        "llm_request", "llm_response", "audit_access",
    ]  # fmt: skip


# -- references ------------------------------------------------------------------------------------


def test_a_decision_leads_to_the_call_it_came_from(log: Log, capsys: Any) -> None:
    """From the order to the answer, and from the answer to the order."""
    with AuditLogger(log) as audit:
        with audit.call(provider="p", user_id="user_1", message="Buy?") as call:
            call.complete(text="Buy.")
        audit.annotate(call.call_id, kind="decision", name="order placed", ref="ORDER-1")
    assert run(["timeline", "--ref", "ORDER-1", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["record"]["details"]["name"] == "order placed"
    assert [r["event_type"] for r in entry["linked"]] == ["llm_request", "llm_response"]
    assert entry["linked"][0]["request_data"]["message"] == "Buy?"
    assert run(["show", call.call_id]) == 0
    assert "ORDER-1" in capsys.readouterr().out


def test_a_reference_that_looks_like_a_card_is_found_as_it_is_stored(
    log: Log, store: MongoForensics
) -> None:
    """Redaction masks the number; who asks with the number finds it."""
    with AuditLogger(log) as audit, audit.call(provider="p") as call:
        call.complete(text="Done.")
        audit.annotate(call.call_id, kind="decision", name="paid", ref="4111 1111 1111 1111")
    (entry,) = every_entry(store, Trail(ref="4111 1111 1111 1111"))
    assert "4111 1111" not in entry.record["details"]["ref"]
    assert run(["timeline", "--ref", "4111 1111 1111 1111"]) == 0
    assert "4111 1111" not in str(list(log.llm_audit_ledger.find()))
    assert told(every_entry(store, Trail(ref="4111 1111 1111 1111"))) == [
        "annotation", "audit_access",
    ]  # fmt: skip


# -- addresses -------------------------------------------------------------------------------------


def test_who_shared_an_address_is_told(log: Log, store: MongoForensics) -> None:
    """Of an address, and of every address that a user had."""
    records = Numbered()
    home, office = ({"ip_address": f"10.0.0.{n}", "user_agent": None} for n in (1, 2))
    log.llm_audit.insert_many([
        *records.call(minutes(1), client_info=home),
        *records.call(minutes(2), client_info=office),
        *records.call(minutes(3), client_info=office, user_id="user_2"),
        *records.call(minutes(4), client_info=office, user_id="user_2"),
        old_call(minutes(5), client_ip="10.0.0.2", user_id="user_3"),
        *records.call(minutes(6), user_id="user_4"),
    ])  # fmt: skip
    rows = store.sharers(Trail(ip_address="10.0.0.2"))
    assert [(row.user_id, row.records) for row in rows] == [
        ("user_2", 4), ("user_1", 2), ("user_3", 1),
    ]  # fmt: skip
    assert (rows[0].first, rows[0].last) == (minutes(3), minutes(4) + timedelta(seconds=1.5))
    both = store.sharers(Trail(user_id="user_1", since=START))
    assert {row.ip_address for row in both} == {"10.0.0.1", "10.0.0.2"}
    assert store.sharers(Trail(user_id="nobody")) == ()


# -- texts -----------------------------------------------------------------------------------------

SECRET = (
    "The board of Atlantis has agreed on the third of March to sell the whole northern division to "
    "Meridian for four hundred million, and nobody outside of this room may know of it yet."
)


def test_a_passage_is_found_by_keyed_hashes_though_redaction_took_some_out(log: Log) -> None:
    """Pasted into a longer prompt, in other letters and lines; the whole prompt is not known."""
    prompt = f"Dear model, translate: {SECRET.upper()} Regards, ana@example.com, and be quick."
    with AuditLogger(log, said_key=KEY) as audit:
        with audit.call(provider="p", user_id="user_1", message=prompt) as call:
            call.complete(text="No.")
        with audit.call(provider="p", message="Something else entirely, of no interest") as other:
            other.complete(text="Yes.")
    store = MongoForensics(locate(log, AuditConfig()), AuditConfig())
    prints = Fingerprints(bytes.fromhex(KEY[4:]))
    (match,) = questions.said(store, SECRET.replace(" ", "\n"), prints).matches
    assert (match.verdict, match.request["call_id"]) == ("passages", call.call_id)
    (match,) = questions.said(store, prompt, prints).matches
    assert match.verdict == "whole"
    assert questions.said(store, "What nobody ever said to any model", prints).matches == ()


def test_without_a_key_the_stored_text_is_searched_and_the_limit_told(
    log: Log, store: MongoForensics
) -> None:
    """Requests, not answers; old documents too."""
    records = Numbered()
    log.llm_audit.insert_many([*records.call(minutes(1)), old_call(minutes(2))])
    found = questions.said(store, "analyze btc", None)
    assert [match.request["request_data"]["message"] for match in found.matches] == [
        "Analyze BTCUSDT"
    ]
    assert "The stored texts were searched" in found.notes[0]
    assert questions.said(store, "old question", None).matches
    assert not questions.said(store, "sell high", None).matches  # that was the answer
    with pytest.raises(ConfigError, match="4,096 characters"):
        questions.said(store, "long " * 2000, None)


def test_what_was_asked_is_noted_by_a_hash_and_never_as_text(
    log: Log, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the key keyed, without it salted; exit code 1 where nothing is found."""
    (tmp_path / "secret.txt").write_text(SECRET, "utf-8")
    assert run(["said", "--file", "secret.txt"]) == 1
    monkeypatch.setenv("AFFIDAVIT_SAID_KEY", KEY)
    assert run(["said", SECRET]) == 1
    asked = [
        record["details"]["filter"] for record in log.llm_audit_ledger.find(
            {"details.command": "said"}
        ).sort("timestamp", 1)
    ]  # fmt: skip
    assert [sorted(each) for each in asked] == [
        ["text_length", "text_salt", "text_sha256"],
        ["text_hmac", "text_length"],
    ]
    assert "Atlantis" not in str(list(log.llm_audit_ledger.find()))
    capsys.readouterr()


def test_a_text_of_a_real_call_is_found_by_the_command(
    log: Log, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same key for the application and for the command."""
    monkeypatch.setenv("AFFIDAVIT_SAID_KEY", KEY)
    with AuditLogger() as audit, audit.call(provider="p", message=SECRET) as call:
        call.complete(text="No.")
    capsys.readouterr()
    assert run(["said", SECRET, "--json"]) == 0
    (match,) = json.loads(capsys.readouterr().out)["matches"]
    assert match["request"]["call_id"] == call.call_id
    assert "said" not in match["request"]
    assert run(["said", SECRET]) == 0
    assert call.call_id in capsys.readouterr().out
    assert run(["said", SECRET[:40], "--stored"]) == 0
    assert call.call_id in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told_"),
    [
        (["said"], "Give a text"),
        (["said", "a", "--file", "b"], "Give a text"),
        (["said", "--file", "absent.txt"], "cannot be read"),
        (["timeline"], "Say what to follow"),
        (["timeline", "--user", "u", "--around", "1h"], "leave out"),
        (["timeline", "--ref", "r", "--user", "u"], "leave out"),
        (["timeline", "--session", "s", "--shared"], "about addresses"),
        (["timeline", "--around", "nonsense"], "neither a time nor"),
        (["timeline", "--around", "1h", "--window", "9y"], "no length of time"),
        (["timeline", "--around", "1h", "--window", "9d"], "at most 7 days"),
        (["timeline", "--around", "9999-12-31T23:59", "--window", "7d"], "end of the calendar"),
        (["timeline", "--around", "0001-01-01", "--window", "7d"], "end of the calendar"),
        (["timeline", "--user", "u", "--cursor", "x"], "cursor is not one"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_next_step(
    log: Log, capsys: Any, arguments: list[str], told_: str
) -> None:
    """Exit code 2 and one line."""
    assert run(arguments) == 2
    assert told_ in capsys.readouterr().err


# -- indexes ---------------------------------------------------------------------------------------


def plan(log: Log, collection: str, wanted: dict[str, Any], way: int) -> list[tuple[str, str]]:
    """The stages of a sorted find."""
    command = {"find": collection, "filter": wanted, "sort": {"timestamp": way}, "limit": 201}
    return stages(log, command)


def test_each_question_uses_its_index(log: Log, store: MongoForensics) -> None:
    """A user, a span of time, a reference and hashes have one, and none of them sorts."""
    since, until = minutes(0), minutes(60)
    records = Numbered()
    for number in range(100):
        log.llm_audit.insert_many(records.call(minutes(number), user_id=f"user_{number}"))
    cases = {
        "user_id_1_timestamp_-1": Trail(user_id="user_1"),
        "event_type_1_timestamp_-1": Trail(ref="ORDER-1"),
    }
    for index, trail in cases.items():
        found = plan(log, "llm_audit", store._of_trail(trail), 1)
        assert ("IXSCAN", index) in found
        assert not {"SORT", "COLLSCAN"} & {stage for stage, _ in found}
    for trail in (Trail(since=since, until=until), Trail(session_id="s", since=since)):
        found = plan(log, "llm_audit", store._of_trail(trail), 1)
        assert {name for stage, name in found if stage == "IXSCAN"} <= {
            "timestamp_1", "timestamp_-1",
        }  # fmt: skip
        assert not {"SORT", "COLLSCAN"} & {stage for stage, _ in found}
    wanted = {"said.h": {"$exists": True, "$in": [1, 2, 3]}}
    assert ("IXSCAN", "said.h_1") in plan(log, "llm_audit", wanted, -1)


def test_the_ledgers_part_of_a_timeline_uses_its_index(log: Log, store: MongoForensics) -> None:
    """All kinds by time, merged and not sorted."""
    kinds = {"event_type": {"$in": forensics._LEDGER_KINDS}}
    wanted = {"$and": [{"timestamp": {"$gte": START}}, kinds]}
    found = plan(log, "llm_audit_ledger", wanted, 1)
    assert ("IXSCAN", "event_type_1_timestamp_-1") in found
    assert not {"SORT", "COLLSCAN"} & {stage for stage, _ in found}


def test_a_question_that_takes_too_long_is_stopped(
    log: Log, store: MongoForensics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error that says to ask for less."""
    monkeypatch.setattr(forensics, "MAX_TIME_MS", 1)
    records = Numbered()
    for _ in range(4):
        log.llm_audit.insert_many(
            [records.document("annotation", START, n=n, t="x" * 500) for n in range(5000)]
        )
    with pytest.raises(StoreUnavailable, match="shorter time range"):
        store.timeline(Trail(session_id="none"))


def test_a_question_without_an_index_gets_a_beginning() -> None:
    """A week, and it says so; where a user is named, nothing is added."""
    now = START
    trail, note = questions.bounded(Trail(session_id="s"), now)
    assert trail.since == now - questions.UNINDEXED
    assert note is not None
    assert "7 days" in note
    assert questions.bounded(Trail(user_id="u", session_id="s"), now) == (
        Trail(user_id="u", session_id="s"), None,
    )  # fmt: skip


@pytest.mark.requirement("R21")
def test_the_hashes_are_proved_like_the_rest_and_go_with_an_erasure(
    log: Log, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever alters them is noticed; what was erased on request is not found by them any more."""
    monkeypatch.setenv("AFFIDAVIT_SAID_KEY", KEY)
    with AuditLogger() as audit:
        for user in ("ana", "ben"):
            with audit.call(provider="p", message=SECRET, user_id=user) as call:
                call.complete(text="No.")
    assert run(["seal", "--once"]) == 0
    assert run(["verify"]) == 0
    assert run(["erase", "--user", "ana", "--reason", "TICKET-1", "--yes"]) == 0
    capsys.readouterr()
    assert run(["verify"]) == 0
    capsys.readouterr()
    assert run(["said", SECRET, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["matches"]
    assert [match["request"]["user_id"] for match in found] == ["ben"]
    log.llm_audit.update_one({"user_id": "ben", "said": {"$exists": True}}, {"$unset": {"said": 1}})
    assert run(["verify"]) == 14


@pytest.mark.requirement("R28")
def test_what_the_questions_take_can_be_measured() -> None:
    """The benchmark works, at miniature size, and gives finite figures."""
    figures = bench.run(Effort.TINY)
    assert len(figures) == 10
    assert all(0 < figure.value < 60_000 for figure in figures)
