"""The command on a real database: what each prints, notes in the ledger, and exits with."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from affidavit import AuditLogger
from affidavit.cli import run
from affidavit.event import Dest
from affidavit.spool.dead import DeadLetters
from affidavit.spool.owner import dataset_folder, default_directory
from affidavit.store import connect
from affidavit.store.base import Encoded
from tests.support.documents import Numbered, old_call
from tests.support.hang_up import run_into_closed_pipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20", "R21")

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Log:
    """A database that is set up, its address in the environment, an empty working directory."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    assert run(["setup"]) == 0
    return database


def accesses(log: Log) -> list[dict[str, Any]]:
    """The details of access records."""
    found = log.llm_audit_ledger.find({"event_type": "audit_access"}).sort("_id", 1)
    return [record["details"] for record in found]


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command with --json and read what it prints."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_recorded_call_is_searched_and_shown(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the logger to the terminal."""
    with AuditLogger(log) as audit, audit.context(user_id="user_123", department="research"):
        with audit.call(provider="anthropic", model="model-1", message="Analyze BTCUSDT") as call:
            call.complete(text="Buy low.", input_tokens=300, output_tokens=950, cost_usd="0.045")
        audit.security_event(user_id="user_9", kind="jailbreak", severity="high")
    found = asked(capsys, "search", "--user", "user_123")
    [row] = found["rows"]
    assert (row["call_id"], row["status"], found["next"]) == (call.call_id, "completed", None)
    assert Decimal(row["response_data"]["cost_usd"]) == Decimal("0.045")
    assert row["timestamp"].endswith("Z")
    assert run(["show", call.call_id]) == 0
    shown = capsys.readouterr().out
    assert "Analyze BTCUSDT" in shown
    assert "Buy low." in shown
    assert run(["search"]) == 0
    table = capsys.readouterr().out
    assert "user_123" in table
    assert "kind=jailbreak" in table
    status = asked(capsys, "status")
    assert status["totals"]["recorded"] == 3
    assert status["unaccounted"] == 0


def test_every_reading_is_noted_once_with_filter_and_count(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """tail, search, show and stats; not set-up, status, doctor and config."""
    intent = Numbered().intent(NOW)
    log.llm_audit.insert_one(intent)
    run(["search", "--user", "user_1", "--since", "2h", "--json"])
    run(["show", intent["call_id"]])
    run(["show", "0" * 24])
    run(["tail", "-n", "5"])
    run(["stats"])
    for command in ("status", "doctor", "config", "setup"):
        run([command])
    noted = accesses(log)
    assert [(n["command"], n["count"]) for n in noted] == [
        ("search", 1),
        ("show", 1),
        ("show", 0),
        ("tail", 1),
        ("analytics", 0),
    ]
    assert noted[0]["filter"]["user_id"] == "user_1"
    assert isinstance(noted[0]["filter"]["since"], datetime)


def test_pages_of_a_search_go_on_with_the_cursor(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table's note says how."""
    log.llm_audit.insert_many([Numbered(f"w{n}").intent(NOW) for n in range(5)])
    first = asked(capsys, "search", "-n", "3")
    second = asked(capsys, "search", "-n", "3", "--cursor", first["next"])
    ids = [row["call_id"] for page in (first, second) for row in page["rows"]]
    assert (len(ids), len(set(ids)), second["next"]) == (5, 5, None)
    run(["search", "-n", "3"])
    assert "--cursor" in capsys.readouterr().err
    assert run(["search", "--cursor", "nonsense"]) == 2


def test_content_cannot_steer_the_terminal(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """In tables, in full, and as JSON."""
    evil = "\x1b[2J\x1b]0;owned\x07\u202egnp\r\x9b31m"
    intent = Numbered().intent(NOW, message=evil, user_id=evil, model=evil)
    log.llm_audit.insert_one(intent)
    capsys.readouterr()
    for command in (["search"], ["tail"], ["show", intent["call_id"]], ["search", "--json"]):
        assert run(command) == 0
        shown = capsys.readouterr().out
        assert not set(shown) & {"\x1b", "\x07", "\u202e", "\r", "\x9b"}
        assert "1b" in shown


def test_set_up_is_finished_also_when_its_reader_hangs_up(database: Log, mongodb_uri: str) -> None:
    """`affidavit setup | head` makes the last index as well as the first, and notes it."""
    assert run_into_closed_pipe("setup", "--uri", mongodb_uri) == (0, "")
    assert "outcome_costs" in database.llm_audit.index_information()
    assert {"llm_calls", "llm_outcomes"} <= set(database.list_collection_names())
    assert database.llm_audit_ledger.count_documents({"event_type": "setup"}) == 1


@pytest.mark.parametrize(
    "command", [["tail"], ["tail", "--follow"], ["search"], ["status", "--watch"], ["stats"]]
)
def test_reading_into_a_pipe_that_is_closed_ends_quietly(log: Log, command: list[str]) -> None:
    """`affidavit tail | head` exits with 0; what follows without end does end."""
    with AuditLogger(log) as audit, audit.call(provider="p", message="hello") as call:
        call.complete(text="answer")
    assert run_into_closed_pipe(*command) == (0, "")


def test_an_unknown_call_is_exit_code_1(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """With the next step."""
    assert run(["show", "0" * 24]) == 1
    assert "affidavit search" in capsys.readouterr().err


@pytest.mark.requirement("R13")
def test_stats_are_exact_and_end_with_the_sum(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Money as text in JSON."""
    records = Numbered()
    for number in range(10):
        intent = records.intent(NOW - timedelta(minutes=1), user_id=f"user_{number % 2}")
        outcome = records.outcome(intent)
        outcome["response_data"]["cost_usd"] = Decimal128("0.1")
        log.llm_audit.insert_many([intent, outcome])
    found = asked(capsys, "stats", "--by", "user")
    assert {g["user"]: (g["calls"], g["cost_usd"]) for g in found["rows"]} == {
        "user_0": (5, "0.5"),
        "user_1": (5, "0.5"),
    }
    run(["stats", "--by", "user"])
    lines = capsys.readouterr().out.splitlines()
    last = next(line for line in lines if line.startswith("all"))
    assert last.split()[:4] == ["all", "10", "12,500", "1"]
    assert run(["stats", "--by", "colour"]) == 2


@pytest.mark.requirement("R4", "R5")
def test_a_plan_is_shown_and_a_clash_exits_with_1(
    database: Log, mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exact command; --change-ttl then does it."""
    database.llm_audit.insert_one(old_call(NOW))
    database.llm_audit.create_index("timestamp", expireAfterSeconds=30 * 86_400)
    assert run(["setup", "--plan", "--uri", mongodb_uri]) == 1
    planned = capsys.readouterr().out
    assert "Nothing was changed" in planned
    assert "collMod" in planned
    assert database.list_collection_names() == ["llm_audit"]
    assert run(["setup", "--uri", mongodb_uri]) == 1
    told = capsys.readouterr()
    assert "1 documents of an older logger" in told.out
    assert "expireAfterSeconds: 7776000" in told.err
    assert run(["setup", "--uri", mongodb_uri, "--change-ttl"]) == 0
    assert run(["setup", "--uri", mongodb_uri, "--ttl-days", "120"]) == 0
    held = database.llm_audit.index_information()["timestamp_1"]
    assert held["expireAfterSeconds"] == 120 * 86_400


@pytest.mark.requirement("R35")
@pytest.mark.parametrize("kind", ["view", "timeseries", "capped"])
def test_a_name_taken_by_what_cannot_hold_the_log_exits_with_1(
    database: Log, mongodb_uri: str, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """The database answers, and the remedy is said; nothing is made beside it."""
    options: dict[str, Any] = {
        "view": {"viewOn": "calls", "pipeline": []},
        "timeseries": {"timeseries": {"timeField": "timestamp"}},
        "capped": {"capped": True, "size": 10_000},
    }[kind]
    database.create_collection("llm_audit", **options)
    before = set(database.list_collection_names())
    assert run(["setup", "--uri", mongodb_uri]) == 1
    said = capsys.readouterr()
    assert f"llm_audit is a {kind}" in said.err
    assert "--collection" in said.err
    assert said.out == ""
    assert set(database.list_collection_names()) == before
    assert run(["setup", "--plan", "--uri", mongodb_uri]) == 1
    assert run(["setup", "--uri", mongodb_uri, "--collection", "llm_calls_log"]) == 0


def test_the_doctor_is_content_with_what_set_up_made(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each thing is looked at, and nothing is wrong."""
    findings = asked(capsys, "doctor")
    assert not [f for f in findings if f["level"] == "wrong"]
    assert {"connection", "versions", "clock", "write concern", "rights", "set-up", "collections",
            "validators", "indexes", "retention", "views", "writers", "spool", "clients",
            "guard", "sealing", "anchors"} == {
        f["check"] for f in findings
    }  # fmt: skip


def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dropped index, a changed retention, lost records, a silent writer, no spool."""
    log.llm_audit.drop_index("call_id_1")
    log.command("collMod", "llm_audit", index={"name": "timestamp_1", "expireAfterSeconds": 60})
    beat = {"writer": "w1", "at": datetime.now(UTC) - timedelta(minutes=9), "state": "running",
            "counters": {"lost": 3}, "host": "h"}  # fmt: skip
    log.llm_audit_writers.insert_one(beat)
    monkeypatch.setenv("AFFIDAVIT_SPOOL_DIR", "/proc/no-such")
    capsys.readouterr()
    assert run(["doctor", "--json"]) == 1
    wrong = [f for f in json.loads(capsys.readouterr().out) if f["level"] == "wrong"]
    assert {"indexes", "retention", "writers", "spool"} == {f["check"] for f in wrong}
    assert all(f["remedy"] for f in wrong)
    texts = " ".join(f["text"] for f in wrong)
    assert "3 records were lost" in texts
    assert "silent" in texts
    assert run(["doctor"]) == 1


@pytest.mark.requirement("R6")
def test_the_doctor_names_a_spool_directory_open_to_others(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """With its mode and the command that closes it, which helps."""
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o750)
    monkeypatch.setenv("AFFIDAVIT_SPOOL_DIR", str(loose))
    capsys.readouterr()
    assert run(["doctor", "--json"]) == 1
    [wrong] = [f for f in json.loads(capsys.readouterr().out) if f["level"] == "wrong"]
    assert (wrong["check"], "0750" in wrong["text"]) == ("spool", True)
    assert f"chmod 700 {loose}" in wrong["remedy"]
    loose.chmod(0o700)
    assert run(["doctor"]) == 0


def test_the_doctor_without_a_server_says_so_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """And still looks at the spool and the clients."""
    uri = "mongodb://u:hunter2@127.0.0.1:9/wadm?serverSelectionTimeoutMS=200"
    assert run(["doctor", "--uri", uri, "--json"]) == 1
    shown = capsys.readouterr().out
    checks = {f["check"] for f in json.loads(shown)}
    assert checks == {"connection", "spool", "clients", "guard"}
    assert "hunter2" not in shown


def test_status_with_lost_records_exits_with_1(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a script can watch it."""
    assert run(["status"]) == 0
    beat = {"writer": "w1", "at": datetime.now(UTC), "state": "stopped", "host": "h",
            "counters": {"recorded": 5, "stored": 4, "lost": 1}, "latency_ms": {}}  # fmt: skip
    log.llm_audit_writers.insert_one(beat)
    capsys.readouterr()
    assert run(["status"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        "all", "5", "0", "4", "0", "0", "0", "1",
    ]  # fmt: skip


@pytest.mark.requirement("R6")
def test_dead_letters_are_listed_shown_and_retried(
    log: Log, mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same bytes; what is refused again stays."""
    import bson

    from affidavit.config import AuditConfig

    store = connect(mongodb_uri, AuditConfig())
    folder = dataset_folder(default_directory(), store.dataset)
    store.close()
    folder.mkdir(parents=True)
    good, bad = Numbered("w1").intent(NOW), {**Numbered("w2").intent(NOW), "status": "done"}
    for writer, record in (("w1", good), ("w2", bad)):
        letter = Encoded(Dest.RECORDS, ObjectId(record["_id"]).binary, 0, bson.encode(record))
        DeadLetters(folder).bury(writer, [(letter, "validation")])
    assert len(asked(capsys, "dead-letters", "list")) == 2
    assert run(["dead-letters", "show", str(good["_id"])]) == 0
    assert "Analyze BTCUSDT" in capsys.readouterr().out
    assert run(["dead-letters", "retry"]) == 1
    assert "1 stored, 1 refused again" in capsys.readouterr().out
    assert log.llm_audit.find_one({"_id": good["_id"]}) == good
    [left] = asked(capsys, "dead-letters", "list")
    assert (left["writer"], left["reason"]) == ("w2", "validation")
    [retried] = log.llm_audit_ledger.find({"event_type": "dead_letter"})
    assert retried["details"] == {"retried_stored": 1, "retried_refused": 1}


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("writer", ["running", "stopped"])
def test_dead_letters_that_a_retry_stored_are_not_dead_any_more(
    log: Log, capsys: pytest.CaptureFixture[str], writer: str
) -> None:
    """Status and doctor are content at once, whether the writer lives or not; the law holds."""
    permissive = log.llm_audit.options()["validator"]
    log.command("collMod", "llm_audit", validator={"user_id": {"$ne": "refused"}})
    audit = AuditLogger(log)
    for user in ("u", "refused"):
        with audit.call(provider="p", message="hello", user_id=user) as call:
            call.complete(text="answer")
    assert audit.stats().dead_lettered == 2
    if writer == "stopped":
        audit.close()
    else:  # a heartbeat that tells of them
        running = audit._engine._running
        assert running is not None
        running.shipper._next_heartbeat_s = 0.0
        assert eventually(lambda: totals(log, capsys).get("dead_lettered") == 2)
    assert run(["status"]) == 1
    log.command("collMod", "llm_audit", validator=permissive)
    assert run(["dead-letters", "retry"]) == 0
    found = asked(capsys, "status")
    assert (found["totals"]["dead_lettered"], found["unaccounted"]) == (0, 0)
    assert found["totals"]["stored"] == found["totals"]["recorded"] == 4
    assert run(["doctor"]) == 0, capsys.readouterr().out
    if writer == "running":
        assert eventually(lambda: audit.stats().dead_lettered == 0)
        assert audit.stats().stored == 4
        audit.close()
        assert asked(capsys, "status")["totals"]["stored"] == 4
    assert run(["dead-letters", "retry"]) == 0
    assert asked(capsys, "status")["totals"]["stored"] == 4


def totals(log: Log, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """What `affidavit status` adds up, whatever it exits with."""
    capsys.readouterr()
    run(["status", "--json"])
    found: dict[str, int] = json.loads(capsys.readouterr().out)["totals"]
    return found


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Wait for a condition."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("command", [["checkpoint"], ["seal", "--once"], ["keys", "show"]])
def test_what_asks_for_seals_does_not_wait_long_for_a_server_that_is_away(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The address says how long to look for a server."""
    uri = "mongodb://127.0.0.1:9/wadm?serverSelectionTimeoutMS=200"
    started_s = time.monotonic()
    assert run([*command, "--uri", uri]) == 3
    assert time.monotonic() - started_s < 10


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["said", ""], "The text is empty"),
        (["said", " \n"], "The text is empty"),
        (["search", ""], "leave it out to see all calls"),
        (["show", " "], "`affidavit search` lists calls"),
    ],
)
def test_an_empty_text_or_id_is_an_error_and_not_everything(
    log: Log, capsys: pytest.CaptureFixture[str], command: list[str], says: str
) -> None:
    """The text names the cause and what to do, and nothing is read."""
    before = len(accesses(log))
    capsys.readouterr()
    assert run(command) == 2
    assert says in capsys.readouterr().err
    assert len(accesses(log)) == before


def test_what_was_said_of_a_call_that_is_not_there_is_told_from_a_call(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """An annotation of a mistyped id is shown, with a note that there is no such call."""
    with AuditLogger(log, seal="off") as audit:
        audit.annotate("f" * 24, kind="score", name="helpful", value=4)
        with audit.call(provider="p", message="hi") as call:
            call.complete(text="ho")
        audit.annotate(call.call_id, kind="score", name="helpful", value=4)
    assert run(["show", "f" * 24]) == 0
    found = capsys.readouterr()
    assert "helpful" in found.out
    assert "The call itself is not stored" in found.err
    assert run(["show", call.call_id]) == 0
    assert "not stored" not in capsys.readouterr().err


def test_long_names_in_a_search_stay_distinct(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that differ in their middle alone too; --json has them whole."""
    users = [f"{'u' * 90}{n}{'v' * 90}" for n in range(3)]
    with AuditLogger(log, seal="off") as audit:
        for name in users:
            model = f"{'m' * 60}{name[90]}"
            with audit.call(provider="p", model=model, message="hi", user_id=name) as call:
                call.complete(text="ho")
    assert run(["search"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 200
    lines = [line.split() for line in out.splitlines() if "uuuu" in line]
    shown = [word for line in lines for word in line if word.startswith("uuuu")]
    assert len({*shown}) == len(shown) == 3
    assert {row["user_id"] for row in asked(capsys, "search")["rows"]} == {*users}
