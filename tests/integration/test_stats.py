"""`affidavit stats` and `audit.analytics` over a real server, as people use them."""

from __future__ import annotations

import asyncio
import csv
import inspect
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from affidavit import AsyncAuditLogger, AuditLogger
from affidavit.analytics.facade import Analytics, AsyncAnalytics
from affidavit.cli import run
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError, StoreUnavailable
from affidavit.store import open_log
from tests.support.calls import Calls
from tests.support.documents import stages

Log = Database[dict[str, Any]]

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log with some calls, addressed by the environment."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    assert run(["setup"]) == 0
    calls = Calls(start=NOW - timedelta(hours=2))
    calls.add(user_id="ana", department="research", cost="0.045", times=3, session_id="s1")
    (dear,) = calls.add(user_id="bob", department="sales", cost="0.9", model="model-2")
    calls.add(user_id="bob", department="sales", cost=None, status="failed", tokens_used=0)
    calls.score(dear, "helpful", 4)
    calls.hit("bob")
    database.llm_audit.insert_many(calls.records)
    return database


def accesses(log: Log) -> list[dict[str, Any]]:
    """What the ledger says of readings."""
    found = log.llm_audit_ledger.find({"event_type": "audit_access"}).sort("_id", 1)
    return [record["details"] for record in found]


def asked(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    """The JSON that a command prints."""
    capsys.readouterr()
    assert run([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.requirement("R13")
def test_cost_by_user_has_keys_and_money_as_text(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows carry the key and cost_usd as a decimal string; the total is their sum."""
    found = asked(capsys, "stats", "cost", "--by", "user", "--last", "30d")
    assert [(row["user"], row["key"], row["cost_usd"]) for row in found["rows"]] == [
        ("bob", "bob", "0.9"),
        ("ana", "ana", "0.135"),
    ]
    assert (found["totals"]["cost_usd"], found["timezone"]) == ("1.035", "UTC")


@pytest.mark.requirement("R13")
def test_a_table_ends_with_totals_time_and_zone(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """People see the total, shares, the trend, the time that was asked for and its zone."""
    capsys.readouterr()
    assert run(["stats", "cost", "--by", "department,model"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["department", "model", "calls", "tokens"]
    assert lines[1].split()[:2] == ["sales", "model-2"]
    total = next(line for line in lines if line.startswith("all"))
    assert total.split()[1:4] == ["5", "5,000", "1.035"]
    assert any(", UTC; from " in line for line in lines)


@pytest.mark.requirement("R13")
def test_csv_can_be_read_by_a_spreadsheet(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Names first, a line for each row, nothing else on standard output."""
    capsys.readouterr()
    assert run(["stats", "cost", "--by", "user", "--csv"]) == 0
    header, *rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert header[0] == "user"
    assert [(row[0], row[header.index("cost_usd")]) for row in rows] == [
        ("bob", "0.9"),
        ("ana", "0.135"),
    ]


@pytest.mark.requirement("R13")
def test_calls_and_budgets(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dearest calls one by one, and this month against its budget."""
    found = asked(capsys, "stats", "cost", "--calls", "--top", "2", "--last", "1d")
    assert [row["cost_usd"] for row in found["rows"]] == ["0.9", "0.045"]
    monkeypatch.setenv("AFFIDAVIT_BUDGETS", '{"user": {"bob": "0.5", "*": 1000}}')
    month = (NOW - timedelta(hours=2)).strftime("%Y-%m")
    stand = asked(capsys, "stats", "cost", "--budget", "--month", month)
    first = stand["rows"][0]
    assert (first["user"], first["state"], first["actual_usd"]) == (
        "bob",
        "over",
        "0.9",
    )
    for command in (
        ["--calls"],
        ["--budget", "--month", month],
        ["--budget", "--by", "department"],
    ):
        assert run(["stats", "cost", *command]) == 0


@pytest.mark.requirement("R14", "R15", "R16", "R18")
def test_the_other_questions_are_answered(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Use, people, performance, providers and limits: as JSON and as tables."""
    found = asked(capsys, "stats", "usage", "--by", "department", "--last", "1d")
    assert {row["department"]: (row["calls"], row["users"]) for row in found["rows"]} == {
        "research": (3, 1),
        "sales": (2, 1),
    }
    people = asked(capsys, "stats", "usage", "--people", "--last", "1d")
    assert people["totals"] == {"new": 2, "kept": 0, "lapsed": 0}
    speed = asked(capsys, "stats", "performance", "--by", "model")
    assert speed["rows"][1]["scores"] == {"helpful": {"n": 1, "mean": 4.0}}
    assert speed["totals"]["latency_p50_ms"] == pytest.approx(1500.25, rel=0.02)
    compared = asked(capsys, "stats", "providers", "--where", "department=sales")
    assert compared["totals"]["failure_rate"]["value"] == 0.5
    hits = asked(capsys, "stats", "limits")
    assert [(row["user"], row["hits"]) for row in hits["rows"]] == [("bob", 1)]
    for what in ("usage", "performance", "providers", "limits"):
        assert run(["stats", what, "--last", "1d"]) == 0
    assert run(["stats", "usage", "--people"]) == 0
    assert run(["stats", "usage", "--last", "1m"]) == 0
    assert "No calls." in capsys.readouterr().out


@pytest.mark.requirement("R14", "R15")
def test_calls_that_have_none_of_a_key_are_chosen(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--without`` is what ``where`` with None is: whose cost nobody is told to bear."""
    with AuditLogger(log, seal="off") as audit:
        for user in ("eve", None):
            with audit.context(user_id=user), audit.call(provider="openai", model="m9") as call:
                call.complete(text="yes", cost_usd="0.25")
    every = asked(capsys, "stats", "cost", "--by", "department", "--last", "1d")
    [row] = [row for row in every["rows"] if row["department"] is None]
    found = asked(capsys, "stats", "cost", "--without", "department", "--last", "1d")
    assert {each["user"]: each["cost_usd"] for each in found["rows"]} == {
        "eve": "0.25",
        None: "0.25",
    }
    assert (found["totals"]["cost_usd"], found["totals"]["calls"]) == (row["cost_usd"], 2)
    assert found["asked"]["department"] is None
    both = ["--without", "department", "--without", "user", "--where", "model=m9"]
    assert asked(capsys, "stats", "usage", *both, "--last", "1d")["totals"]["calls"] == 1
    assert accesses(log)[-1]["filter"]["user_id"] is None


@pytest.mark.requirement("R16")
def test_calls_at_another_models_prices(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Actual cost beside what the same tokens would have cost."""
    command = ["stats", "providers", "--what-if", "openai/gpt-5-mini", "--last", "1d"]
    found = asked(capsys, *command)
    totals = found["totals"]
    assert (totals["calls"], totals["actual_usd"]) == (5, "1.035")
    # Five times 300 input tokens at $0.25 and 950 output tokens at $2 a million.
    assert totals["what_if_usd"] == "0.009875"
    assert totals["difference_usd"] == "-1.025125"
    assert run(command) == 0
    assert "what if USD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["stats", "beauty"], "cost, usage, performance, providers, limits"),
        (["stats", "cost", "--by", "colour"], "'colour' is no key"),
        (["stats", "cost", "--last", "soon"], "is no time"),
        (
            ["stats", "cost", "--since", "2026-11-02", "--until", "2026-11-01"],
            "does not lie before",
        ),
        (["stats", "cost", "--month", "2026-11", "--last", "1d"], "month is a time by itself"),
        (["stats", "cost", "--people"], "takes --calls or --budget"),
        (["stats", "limits", "--calls"], "takes none of those"),
        (["stats", "cost", "--calls", "--budget"], "takes --calls or --budget"),
        (["stats", "cost", "--where", "user"], "chooses nothing"),
        (["stats", "cost", "--without", "department=x"], "names no key"),
        (["stats", "cost", "--without", "colour"], "'colour' is no key"),
        (["stats", "cost", "--without", "user", "--where", "user=bob"], "has a user and has none"),
        (["stats", "cost", "--budget", "--without", "user"], "Budgets are by month"),
        (["stats", "providers", "--what-if", "gpt-5"], "takes a provider and a model"),
        (["stats", "providers", "--what-if", "openai/gpt-0"], "no prices for 'gpt-0'"),
        (["stats", "cost", "--budget", "--by", "model"], "Use one of user, department"),
        (["stats", "cost", "--budget", "--last", "1d"], "Budgets are by month"),
        (["stats", "cost", "--calls", "--by", "user"], "Leave --by out"),
        (["stats", "cost", "--json", "--csv"], "two ways"),
        (["stats", "--people"], "takes --calls or --budget"),
        (["stats", "--month", "2026-11", "--last", "1d"], "month is a time by itself"),
    ],
)
def test_a_question_that_makes_no_sense_exits_with_2(
    log: Log, capsys: pytest.CaptureFixture[str], command: list[str], says: str
) -> None:
    """The text says what is wrong, and nothing is noted as read."""
    before = len(accesses(log))
    capsys.readouterr()
    assert run(command) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert len(accesses(log)) == before


@pytest.mark.requirement("R13")
def test_without_an_argument_it_is_cost_by_provider(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same answer, whatever is chosen: corrections count, and time and zone are told."""
    calls = Calls(writer="w2", start=NOW - timedelta(hours=1))
    (priced,) = calls.add(cost="18", provider="llm.internal")
    calls.correct(priced, 8 * 10**9)
    log.llm_audit.insert_many(calls.records)
    for chosen in ([], ["--by", "user"], ["--where", "user=bob"], ["--month", "this"]):
        by = [] if "--by" in chosen else ["--by", "provider"]
        plain = asked(capsys, "stats", *chosen)
        whole = asked(capsys, "stats", "cost", *by, *chosen)
        moving = ("as_of", "since", "until", "asked", "notes")
        assert {**plain, **dict.fromkeys(moving)} == {**whole, **dict.fromkeys(moving)}
    found = asked(capsys, "stats")
    assert [(row["key"], row["cost_usd"]) for row in found["rows"]] == [
        ("llm.internal", "26"),
        ("anthropic", "1.035"),
    ]
    assert run(["stats"]) == 0
    assert ", UTC; from records." in capsys.readouterr().out


def test_each_question_is_noted_in_the_ledger(log: Log) -> None:
    """Who asked what, with filters, times and the number of rows."""
    with AuditLogger(log, seal="off") as audit:
        audit.analytics.cost(by="model", where={"user": "bob"}, last="1d")
        audit.analytics.people(last="1d")
    first, second = accesses(log)
    assert (first["command"], first["count"]) == ("analytics", 2)
    assert (first["filter"]["question"], first["filter"]["user_id"]) == ("cost", "bob")
    assert first["filter"]["by"] == ["model"]
    assert isinstance(first["filter"]["since"], datetime)
    assert second["filter"]["question"] == "people"


@pytest.fixture
def audit(log: Log, mongodb_uri: str) -> Iterator[AuditLogger]:
    """A logger over its own connection."""
    with AuditLogger(mongodb_uri, seal="off") as opened:
        yield opened


@pytest.mark.requirement("R13")
def test_an_application_asks_in_python(audit: AuditLogger) -> None:
    """Rows are typed, money is Decimal, and the answer says from where and when it is."""
    found = audit.analytics.cost(by=["department"], last="30d")
    assert {row.key["department"]: row.cost_usd for row in found.rows} == {
        "sales": Decimal("0.9"),
        "research": Decimal("0.135"),
    }
    assert found.until > found.since
    assert (found.timezone, found.source in {"rollups", "records"}) == ("UTC", True)
    with pytest.raises(ConfigError, match="'colour' is no key"):
        audit.analytics.usage("colour")
    with pytest.raises(ConfigError, match="by user or by department"):
        audit.analytics.budget("model")  # type: ignore[arg-type]


@pytest.mark.requirement("R13")
async def test_an_asynchronous_application_asks_without_blocking(
    log: Log, mongodb_uri: str
) -> None:
    """Each question is answered by a thread, with the same answer."""
    async with AsyncAuditLogger(mongodb_uri, seal="off") as audit:
        asked = audit.analytics
        answers: Any = await asyncio.gather(
            asked.cost(last="1d"),
            asked.calls(last="1d"),
            asked.budget(),
            asked.usage(last="1d"),
            asked.people(last="1d"),
            asked.limits(last="1d"),
            asked.performance(last="1d"),
            asked.providers(last="1d"),
        )
        await asked.close()
    cost, calls, budget, usage, people, limits, performance, providers = answers
    assert cost.totals.calls == usage.totals.calls == performance.totals.calls == 5
    assert (len(calls.rows), budget.question, people.totals.new) == (4, "budget", 2)
    assert (limits.totals.hits, providers.totals.calls) == (1, 5)


def test_both_facades_ask_alike() -> None:
    """What one learns of one holds for the other."""

    def public(kind: type) -> dict[str, list[str]]:
        return {
            name: [str(p) for p in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(kind, callable)
            if not name.startswith("_")
        }

    assert public(Analytics) == public(AsyncAnalytics)


def test_this_month_and_the_last_are_months(audit: AuditLogger) -> None:
    """They need no date."""
    this, last = (audit.analytics.cost(month=month) for month in ("this", "last"))
    assert this.since == last.until
    assert "The time asked for is not over yet." in this.notes


def test_people_are_found_by_name_where_identity_is_keyed(log: Log, tmp_path: Path) -> None:
    """Who holds the key asks for a name; the records, and the ledger, hold the token."""
    key = tmp_path / "key"
    key.write_bytes(b"k" * 40)
    with AuditLogger(log, seal="off", identity="keyed", redaction_key=str(key)) as audit:
        with audit.call(provider="p", message="hello", user_id="ana") as call:
            call.complete(text="hi", cost_usd="0.5")
        found = audit.analytics.cost(by="user", where={"user": "ana"}, last="1d")
    (row,) = found.rows
    assert row.cost_usd == Decimal("0.5")
    assert str(row.key["user"]).startswith("keyed:")
    assert accesses(log)[-1]["filter"]["user_id"] == row.key["user"]


def test_what_is_chosen_by_a_field_is_noted_without_personal_data(
    audit: AuditLogger, log: Log
) -> None:
    """The ledger never expires, so a mail address that was looked for does not get into it."""
    where = {"field:customer": "ana@example.com", "field:symbol": "BTC"}
    audit.analytics.cost(where=where, last="1d")
    noted = accesses(log)[-1]["filter"]
    assert noted["field:symbol"] == "BTC"
    assert "ana@" not in noted["field:customer"]


def test_another_zone_in_the_settings_is_said(
    audit: AuditLogger, log: Log, mongodb_uri: str
) -> None:
    """The answer is in the zone of the log, and a note names the one that was asked for."""
    with AuditLogger(mongodb_uri, seal="off", reporting_timezone="Asia/Tokyo") as other:
        found = other.analytics.cost(last="1d")
    assert found.timezone == "UTC"
    assert "The log was set up with UTC; the setting says Asia/Tokyo." in found.notes
    assert not any("was set up" in note for note in audit.analytics.cost(last="1d").notes)


class Commands(CommandListener):
    """Remembers the aggregations that are sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Keep those of questions."""
        if event.command_name == "aggregate" and event.command["aggregate"] == "llm_audit":
            self.sent.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to keep."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to keep."""


def test_every_question_is_bounded_and_uses_an_index(log: Log, mongodb_uri: str) -> None:
    """Each aggregation over records has a limit of time, and none reads the whole collection."""
    commands = Commands()
    with MongoClient[dict[str, Any]](mongodb_uri, event_listeners=[commands]) as client:
        opened = open_log(client.get_default_database(), AuditConfig())
        asked = Analytics(lambda: opened)
        raw: dict[str, Any] = {"where": {"tenant": None}, "last": "1d"}
        for question in (asked.cost, asked.usage, asked.performance, asked.providers, asked.limits):
            question(by="field:symbol" if question != asked.limits else "user", **raw)
        asked.calls(**raw)
    assert len(commands.sent) > 15
    for command in commands.sent:
        assert 0 < command["maxTimeMS"] <= 60_000
        plain = {name: command[name] for name in ("aggregate", "pipeline", "cursor")}
        reading = {stage for stage, _index in stages(log, plain)}
        assert "COLLSCAN" not in reading
        assert "IXSCAN" in reading


def test_a_database_that_is_away_is_said(tmp_path: Any) -> None:
    """A question without a database ends in an error of ours, soon."""
    audit = AuditLogger(
        "mongodb://127.0.0.1:1/wadm?serverSelectionTimeoutMS=200", spool_dir=str(tmp_path)
    )
    with audit, pytest.raises(StoreUnavailable):
        audit.analytics.cost()


@pytest.mark.requirement("R13")
def test_shares_of_a_table_add_up(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """To what the line of all says; a note tells that one was moved, --json has it whole."""
    calls = Calls(writer="w2", start=NOW - timedelta(hours=1))
    for name in "abc":
        calls.add(tenant=name, cost="1", user_id=name)
    log.llm_audit.insert_many(calls.records)
    since, until = ((NOW - timedelta(minutes=age)).isoformat() for age in (65, 5))
    by = ["stats", "cost", "--by", "tenant,user", "--since", since, "--until", until]
    assert run(by) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines[0].split("  ")
    assert "share %" in [name.strip() for name in at]
    shares = [line.split()[5] for line in lines[1:4]]
    assert sorted(shares) == ["33.3", "33.3", "33.4"]
    assert any("Shares are rounded so that they add up" in line for line in lines)
    assert asked(capsys, *by)["rows"][0]["share"] == 0.333333


@pytest.mark.requirement("R13")
def test_long_names_are_shortened_in_tables_and_stay_distinct(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beginning and end are kept, --json has them whole, and no line is wider than the screen."""
    calls = Calls(writer="w2", start=NOW - timedelta(hours=1))
    users = [f"{'u' * 150}{n}{'v' * 150}" for n in range(3)]
    for name in users:
        calls.add(user_id=name, model=f"m{'n' * 300}", cost="3")
    log.llm_audit.insert_many(calls.records)
    for command in (["--by", "user,model"], ["--calls"]):
        assert run(["stats", "cost", *command]) == 0
        out = capsys.readouterr().out
        rows = [line for line in out.splitlines() if "uuuu" in line]
        assert len(rows) == len({line.split("vvv")[0] for line in rows}) == 3
        assert max(map(len, out.splitlines())) <= 200
        assert "Long names are shortened in their middle" in out
    found = asked(capsys, "stats", "cost", "--by", "user")
    assert {row["user"] for row in found["rows"]} >= {*users}
